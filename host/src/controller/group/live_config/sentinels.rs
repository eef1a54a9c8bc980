//! The password by which Sentinels log in to the instances (`auth-pass`): each start of each Sentinel gets it
//! once, and anew when it changes. What a Sentinel has is in none of its replies.

use super::Snapshot;
use super::plan::Start;
use crate::controller::group::secrets::Passwords;
use crate::controller::group::step::StepResult;
use crate::redis::{Endpoint, Logins, Session};
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// What each Sentinel was given.
#[derive(Default)]
pub struct SentinelLogins(BTreeMap<String, (Start, String)>);

impl SentinelLogins {
    /// Gives it to those that were not given it since they started.
    pub async fn settle(&mut self, snapshot: &Snapshot, passwords: &Passwords) -> StepResult {
        self.0.retain(|name, _| snapshot.sentinel_pods.contains_key(name));
        let Some(watched) = snapshot.resource.settings.group.sentinel.as_ref() else {
            return StepResult::done();
        };
        if !passwords.matter() {
            return StepResult::done();
        }
        let password = passwords.wanted.clone().unwrap_or_default();
        let mut result = StepResult::done();
        for pod in snapshot.sentinel_pods.values() {
            let member = snapshot.resource.managed.sentinels(&[pod], Timestamp::now());
            let Some((member, start)) = member.into_iter().next().zip(Start::of(pod)) else { continue };
            let given = (start, password.clone());
            if self.0.get(&member.id) == Some(&given) {
                continue;
            }
            let endpoint = Endpoint { host: member.address.host, port: member.address.port };
            match give(&endpoint, &watched.master_name, &password).await {
                Ok(()) => _ = self.0.insert(member.id, given),
                Err(error) => {
                    let (namespace, pod) = (snapshot.namespace(), member.id);
                    tracing::info!(namespace, pod, error, "password not given to Sentinel, will retry");
                    result.add(StepResult::again());
                }
            }
        }
        result
    }
}

async fn give(endpoint: &Endpoint, master_name: &str, password: &str) -> Result<(), String> {
    let session = Session::open(endpoint, &Logins::from(None), None, SESSION_LIMIT).await?;
    session.set_auth_pass(master_name, password).await
}

const SESSION_LIMIT: Duration = Duration::from_secs(1);
