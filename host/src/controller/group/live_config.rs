//! Directives, passwords and certificates of running servers, changed without a restart. Each start of each
//! Pod is told once; a server that cannot take a directive while it runs is left to the rollout.

use super::super::Context;
use super::secrets::{Identity, Passwords};
use super::snapshot::Snapshot;
use super::step::StepResult;
use crate::kubernetes::error::message;
use crate::kubernetes::objects::{AUTHORITIES_FILE, PORT, REPLICATES, live_directives, replication_user};
use crate::kubernetes::pods::running;
use crate::kubernetes::status::Problem;
use crate::redis::{Endpoint, Session, Set, shows_ours};
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Who was told what.
#[derive(Default)]
pub struct LiveConfig {
    told: BTreeMap<String, Told>,
    /// Somebody is from before ACLs, so nobody has a user for replication.
    knows_no_users: bool,
}

struct Told {
    start: Start,
    directives: BTreeMap<String, String>,
    passwords: Passwords,
    /// As whom it logs in to its master. None: as any client does.
    user: Option<String>,
    /// The digest of the certificate that it uses.
    certificate: Option<String>,
    /// What it refused.
    refused: Vec<String>,
    needs_a_start: bool,
}

/// One start of one Pod's Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Start {
    uid: String,
    restarts: i32,
}

impl Start {
    /// None: it does not run.
    fn of(pod: &Pod) -> Option<Self> {
        Some(Self { uid: pod.uid()?, restarts: running(pod)?.restart_count })
    }
}

impl LiveConfig {
    /// Whether a directive waits for the next start of a Pod that runs.
    pub fn needs_a_start(&self, pod: &Pod) -> bool {
        self.told
            .get(&pod.name_any())
            .is_some_and(|told| told.needs_a_start && Start::of(pod).as_ref() == Some(&told.start))
    }

    /// As whom all that run log in to their master, if it is the same for all.
    pub fn replication_user(&self, snapshot: &Snapshot) -> Option<String> {
        let user = self.wanted_user(snapshot)?;
        let is_running = |pod: &Arc<Pod>| Start::of(pod).is_some();
        let is_so = |name: &String| self.told.get(name).is_some_and(|told| told.user.as_ref() == Some(&user));
        (!self.told.is_empty() && snapshot.pods.iter().all(|(name, pod)| !is_running(pod) || is_so(name)))
            .then_some(user)
    }

    fn wanted_user(&self, snapshot: &Snapshot) -> Option<String> {
        replication_user(&snapshot.redis).filter(|_| !self.knows_no_users)
    }

    /// Tells those who were not told yet.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) -> StepResult {
        self.told.retain(|name, _| snapshot.pods.contains_key(name));
        let Some(secrets) = &snapshot.secrets else { return StepResult::done() };
        let (passwords, tls) = (&secrets.passwords, secrets.tls.as_ref().map(|identity| &identity.tls));
        let directives = live_directives(&snapshot.redis);
        let user = self.wanted_user(snapshot);
        let is_news = |name: &str, start: &Start| {
            let is_given = |told: &Told| {
                told.directives == directives && told.passwords == *passwords && told.user == user
            };
            self.told.get(name).is_none_or(|told| {
                told.start != *start || !is_given(told) || told.certificate != secrets.certificate()
            })
        };
        let due: Vec<(&String, &Arc<Pod>, Start)> = snapshot
            .pods
            .iter()
            .filter_map(|(name, pod)| Some((name, pod, Start::of(pod)?)))
            .filter(|(name, pod, start)| pod.metadata.deletion_timestamp.is_none() && is_news(name, start))
            .collect();
        let sessions = join_all(due.into_iter().map(async |(name, pod, start)| {
            let endpoint = Endpoint { host: snapshot.address(name).unwrap_or_default(), port: PORT as u16 };
            (
                name,
                pod,
                start,
                endpoint.clone(),
                Session::open(&endpoint, &passwords.logins(), tls, SESSION_LIMIT).await,
            )
        }))
        .await;
        let mut step = StepResult::done();
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for (name, pod, start, endpoint, session) in sessions {
            match session {
                Ok(session) => open.push((name, pod, start, endpoint, session)),
                Err(error) => closed.push(error),
            }
        }
        // Starting, loading, hung, cut off: it is told when it answers.
        step.is_done = closed.is_empty();
        // Who is not let in by its master does not follow it: nobody asks before all were told once.
        let user = user.filter(|_| closed.is_empty() || snapshot.replication_user().is_some());
        let sessions: Vec<&Session> = open.iter().map(|(.., session)| session).collect();
        let user = match self.change_login(&sessions, passwords, user).await {
            Ok(user) => user,
            Err(error) => return StepResult::blocked(Problem { reason: "LoginNotChanged", message: error }),
        };
        for (name, pod, start, endpoint, session) in open {
            let certificate = match &secrets.tls {
                None => None,
                Some(identity) => match reload_certificate(&session, &endpoint, identity).await {
                    Ok(()) => Some(identity.digest.clone()),
                    Err(why) => {
                        step.is_done = false;
                        step.problems.extend(why.map(|why| Problem {
                            reason: "CertificateNotTaken",
                            message: format!("{name}: {why}"),
                        }));
                        None
                    }
                },
            };
            match set_directives(context, snapshot, pod, &session, &directives).await {
                Ok((refused, needs_a_start)) => {
                    let (directives, passwords) = (directives.clone(), passwords.clone());
                    self.told.insert(
                        name.clone(),
                        Told {
                            start,
                            directives,
                            passwords,
                            user: user.clone(),
                            certificate,
                            refused,
                            needs_a_start,
                        },
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        namespace = snapshot.namespace(),
                        pod = name,
                        error,
                        "directives not set; it is tried again"
                    );
                    step.is_done = false;
                }
            }
        }
        let refusals = self
            .told
            .iter()
            .flat_map(|(name, told)| told.refused.iter().map(move |refusal| format!("{name}: {refusal}")));
        step.problems.extend(refusals.map(|message| Problem { reason: "DirectiveRefused", message }));
        step
    }

    /// The password, and as whom the instances log in to their master: all let the new one in target the old
    /// before anybody uses it, and use it before anybody refuses the old. Returns the user that it came
    /// to.
    async fn change_login(
        &mut self,
        sessions: &[&Session],
        passwords: &Passwords,
        user: Option<String>,
    ) -> Result<Option<String>, String> {
        let new = passwords.wanted.as_deref().unwrap_or_default();
        if !new.is_empty() {
            join_all(sessions.iter().map(|session| session.add_password(new)))
                .await
                .into_iter()
                .collect::<Result<(), _>>()?;
        }
        if let Some(user) = &user {
            let let_in = join_all(sessions.iter().map(|session| session.allow_user(user, new, REPLICATES)))
                .await
                .into_iter()
                .collect::<Result<Vec<_>, _>>()?;
            self.knows_no_users |= let_in.contains(&false);
        }
        let user = user.filter(|_| !self.knows_no_users);
        join_all(sessions.iter().map(|session| session.set_master_auth(user.as_deref(), new)))
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        if let Some(user) = &user {
            join_all(sessions.iter().map(|session| session.set_user(user, new)))
                .await
                .into_iter()
                .collect::<Result<(), _>>()?;
        }
        if passwords.matter() {
            join_all(sessions.iter().map(|session| session.replace_password(new)))
                .await
                .into_iter()
                .collect::<Result<(), _>>()?;
        }
        Ok(user)
    }
}

/// Has it read its files anew, once they are there: the kubelet brings them when it does. None: it takes its
/// time, as usual.
async fn reload_certificate(
    session: &Session,
    endpoint: &Endpoint,
    identity: &Identity,
) -> Result<(), Option<String>> {
    let is_time = identity.since.elapsed() >= KUBELET_TIME_MAX;
    let late = |why: String| is_time.then_some(why);
    session.read_certificates(AUTHORITIES_FILE).await.map_err(late)?;
    match shows_ours(endpoint, &identity.tls, SESSION_LIMIT).await {
        // Other authorities under the same certificate cannot be told from the old ones.
        Ok(true) if is_time || !identity.is_another => Ok(()),
        Ok(true) => Err(None),
        Ok(false) => Err(late(
            "it shows another certificate than the Secret's: delete the Pod, and it starts with the new one"
                .into(),
        )),
        Err(why) => Err(late(why)),
    }
}

/// Sets the directives, and notes their names on the Pod: one that is taken away later needs a restart.
async fn set_directives(
    context: &Context,
    snapshot: &Snapshot,
    pod: &Pod,
    session: &Session,
    directives: &BTreeMap<String, String>,
) -> Result<(Vec<String>, bool), String> {
    let (mut refused, mut needs_a_start) = (Vec::new(), false);
    for (directive, value) in directives {
        match session.set(directive, value).await? {
            Set::Done => {}
            Set::AtStart => needs_a_start = true,
            Set::Refused(error) => refused.push(format!("{directive} {value}: {error}")),
        }
    }
    let mut names = directive_names(pod);
    names.extend(snapshot.redis.spec.config.keys().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    let text = names.join(" ");
    if pod.annotations().get(NAMES_ANNOTATION).map(String::as_str).unwrap_or_default() != text {
        let patch = json!({ "metadata": { "annotations": { NAMES_ANNOTATION: text } } });
        let api: Api<Pod> = Api::namespaced(context.client.clone(), &snapshot.namespace());
        api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(|error| message(&error))?;
    }
    Ok((refused, needs_a_start))
}

/// The user's directives that a Pod has been given since it was made.
pub fn directive_names(pod: &Pod) -> Vec<&str> {
    pod.annotations()
        .get(NAMES_ANNOTATION)
        .map(|names| names.split(' ').filter(|name| !name.is_empty()).collect())
        .unwrap_or_default()
}

const NAMES_ANNOTATION: &str = "k8s.amaiz.com/directives";
/// For the connection, the login and all that is set.
const SESSION_LIMIT: Duration = Duration::from_secs(2);
/// Until a changed Secret is in the Pods that mount it: its sync period and the time to live of its cache, a
/// minute each.
const KUBELET_TIME_MAX: Duration = Duration::from_secs(120);
