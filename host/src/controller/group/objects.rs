//! The objects of a resource: applied when they should be otherwise, and when somebody else changed or
//! deleted them.

use super::super::Context;
use super::maintain::{StepResult, SwitchoverRequest};
use super::snapshot::{ObjectKey, Snapshot};
use crate::kubernetes::apply::{apply, delete_secret, is_foreign};
use crate::kubernetes::objects::{Desired, GROUP_LABEL, KINDS, name, objects};
use crate::kubernetes::status::Problem;
use kube::{Client, ResourceExt};
use serde_json::Value;
use std::collections::BTreeMap;

/// What was applied last, and the version that came of it.
#[derive(Default)]
pub struct Objects(BTreeMap<ObjectKey, (Value, u64)>);

impl Objects {
    /// Makes them as they should be.
    pub async fn settle(
        &mut self,
        context: &Context,
        snapshot: &Snapshot,
        switchover: &mut SwitchoverRequest,
    ) -> StepResult {
        // Nobody starts without the password that is wanted.
        let Some(secrets) = &snapshot.secrets else { return StepResult::done() };
        let passwords = &secrets.passwords;
        let mut step = StepResult::done();
        let (replicas, in_the_way) = replicas(snapshot);
        if in_the_way {
            step.is_done &=
                switchover.move_master(snapshot, Some(format!("{}-0", name(&snapshot.redis)))).is_done;
        }
        let master = snapshot.master().and_then(|master| snapshot.address(master));
        let desired = Desired {
            redis: &snapshot.redis,
            replicas,
            master: master.as_deref(),
            password: passwords.wanted.as_deref(),
            replication_user: snapshot.replication_user(),
            previous: passwords.before(),
        };
        let all = match objects(&desired) {
            Ok(all) => all,
            Err(error) => return StepResult::blocked("ObjectsNotMade", error.to_string()),
        };
        for object in all {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let kind = KINDS.iter().find(|kind| **kind == text("/kind")).copied().unwrap_or_default();
            let key = (kind, text("/metadata/name").to_owned());
            if self.is_so(snapshot, &key, &object) {
                continue;
            }
            // Nobody is started on what is not ours, or not made.
            if kind == "StatefulSet" && !step.problems.is_empty() && !snapshot.seen.contains_key(&key) {
                break;
            }
            let _turn = context.turns.acquire().await;
            match self.make(&context.client, snapshot, &key, &object).await {
                Ok(Some(version)) => {
                    self.0.insert(key, (object, version));
                }
                Ok(None) => {
                    step.is_done = false;
                    step.problems.push(name_taken(snapshot, &key));
                }
                Err(error) => {
                    let refused =
                        StepResult::failed("ObjectRefused", &format!("{} {}", key.0, key.1), &error);
                    step.is_done = false;
                    step.problems.extend(refused.problems);
                }
            }
        }
        // The last copy of a password that is not wanted any more.
        let secret = ("Secret", name(&snapshot.redis));
        if passwords.wanted.is_none()
            && snapshot.seen.contains_key(&secret)
            && snapshot.is_healthy()
            && is_rolled(snapshot)
        {
            if let Err(error) = delete_secret(&context.client, &snapshot.namespace(), &secret.1).await {
                return StepResult::failed("ObjectRefused", &format!("Secret {}", secret.1), &error);
            }
            self.0.remove(&secret);
        }
        step
    }

    /// The version that it has then. None: it is somebody else's.
    async fn make(
        &self,
        client: &Client,
        snapshot: &Snapshot,
        key: &ObjectKey,
        object: &Value,
    ) -> Result<Option<u64>, kube::Error> {
        let namespace = snapshot.namespace();
        if !snapshot.seen.contains_key(key) && is_foreign(client, &namespace, object).await? {
            return Ok(None);
        }
        apply(client, &namespace, object).await.map(Some)
    }

    fn is_so(&self, snapshot: &Snapshot, key: &ObjectKey, object: &Value) -> bool {
        let is_touched = |version: u64| {
            snapshot.missing.contains(key) || snapshot.seen.get(key).is_some_and(|seen| *seen > version)
        };
        self.0.get(key).is_some_and(|(before, version)| before == object && !is_touched(*version))
    }
}

fn name_taken(snapshot: &Snapshot, (kind, name): &ObjectKey) -> Problem {
    let resource = snapshot.redis.name_any();
    let message = format!(
        "{kind} {name} is there and not this resource's, so it is left alone: remove it, or set_directives \
         this resource another name; to hand it over with all that is in it, set_directives it the label \
         {GROUP_LABEL}={resource}"
    );
    Problem { reason: "NameTaken", message }
}

/// As many as are wanted; as there are, while the master is among those that would go, and so in the way: it
/// hands over first.
fn replicas(snapshot: &Snapshot) -> (i32, bool) {
    let wanted = snapshot.redis.spec.replicas;
    let ordinal = |name: &str| name.rsplit('-').next().and_then(|ordinal| ordinal.parse::<i32>().ok());
    let master = snapshot.master().filter(|master| snapshot.pods.contains_key(*master)).and_then(ordinal);
    if master.is_none_or(|master| master < wanted) {
        return (wanted, false);
    }
    (snapshot.pods.keys().filter_map(|name| ordinal(name)).max().map_or(wanted, |last| last + 1), true)
}

fn is_rolled(snapshot: &Snapshot) -> bool {
    snapshot.pods.values().all(|pod| pod.labels().get("controller-revision-hash") == Some(&snapshot.revision))
}

/// The API server's own sentence, where it said one.
pub fn in_short(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}
