//! Directives, passwords and certificates of running servers, changed without a restart. Each start of each Pod is told once; a
//! server that cannot take a directive while it runs is left to the rollout.

use super::super::Common;
use super::objects::in_short;
use super::picture::Picture;
use super::secrets::{Identity, Passwords};
use super::upkeep::Step;
use crate::kubernetes::objects::{AUTHORITIES_FILE, PORT, live_directives};
use crate::kubernetes::told::Trouble;
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
pub struct Tuned(BTreeMap<String, Told>);

struct Told {
    start: Start,
    directives: BTreeMap<String, String>,
    passwords: Passwords,
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
        let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
        let redis = containers.iter().find(|container| container.name == "redis")?;
        redis.state.as_ref()?.running.as_ref()?;
        Some(Self { uid: pod.uid()?, restarts: redis.restart_count })
    }
}

impl Tuned {
    /// Whether a directive waits for the next start of a Pod that runs.
    pub fn needs_a_start(&self, pod: &Pod) -> bool {
        self.0.get(&pod.name_any()).is_some_and(|told| told.needs_a_start && Start::of(pod).as_ref() == Some(&told.start))
    }

    /// Tells those who were not told yet.
    pub async fn settle(&mut self, common: &Common, picture: &Picture) -> Step {
        self.0.retain(|name, _| picture.pods.contains_key(name));
        let Some(secrets) = &picture.secrets else { return Step::done() };
        let (passwords, tls) = (&secrets.passwords, secrets.tls.as_ref().map(|identity| &identity.tls));
        let directives = live_directives(&picture.redis);
        let is_news = |name: &str, start: &Start| {
            let is_so = |told: &Told| told.directives == directives && told.passwords == *passwords && told.certificate == secrets.certificate();
            self.0.get(name).is_none_or(|told| told.start != *start || !is_so(told))
        };
        let due: Vec<(&String, &Arc<Pod>, Start)> = picture
            .pods
            .iter()
            .filter_map(|(name, pod)| Some((name, pod, Start::of(pod)?)))
            .filter(|(name, pod, start)| pod.metadata.deletion_timestamp.is_none() && is_news(name, start))
            .collect();
        let sessions = join_all(due.into_iter().map(async |(name, pod, start)| {
            let endpoint = Endpoint { host: picture.address(name).unwrap_or_default(), port: PORT as u16 };
            (name, pod, start, endpoint.clone(), Session::open(&endpoint, &passwords.logins(), tls, SESSION_LIMIT).await)
        }))
        .await;
        let mut step = Step::done();
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for (name, pod, start, endpoint, session) in sessions {
            match session {
                Ok(session) => open.push((name, pod, start, endpoint, session)),
                Err(error) => closed.push(error),
            }
        }
        // Starting, loading, hung, cut off: it is told when it answers.
        step.is_done = closed.is_empty();
        if passwords.matter()
            && let Err(error) = change_password(open.iter().map(|(.., session)| session).collect(), passwords).await
        {
            return Step::hindered("PasswordNotChanged", error);
        }
        for (name, pod, start, endpoint, session) in open {
            let certificate = match &secrets.tls {
                None => None,
                Some(identity) => match renew(&session, &endpoint, identity).await {
                    Ok(()) => Some(identity.digest.clone()),
                    Err(why) => {
                        step.is_done = false;
                        step.troubles.extend(why.map(|why| Trouble { reason: "CertificateNotTaken", message: format!("{name}: {why}") }));
                        None
                    }
                },
            };
            match give(common, picture, pod, &session, &directives).await {
                Ok((refused, needs_a_start)) => {
                    let told = Told { start, directives: directives.clone(), passwords: passwords.clone(), certificate, refused, needs_a_start };
                    self.0.insert(name.clone(), told);
                }
                Err(error) => {
                    tracing::warn!(namespace = picture.namespace(), pod = name, error, "directives not set; it is tried again");
                    step.is_done = false;
                }
            }
        }
        let refusals = self.0.iter().flat_map(|(name, told)| told.refused.iter().map(move |refusal| format!("{name}: {refusal}")));
        step.troubles.extend(refusals.map(|message| Trouble { reason: "DirectiveRefused", message }));
        step
    }
}

/// Has it read its files anew, once they are there: the kubelet brings them when it does. None: it takes its time, as usual.
async fn renew(session: &Session, endpoint: &Endpoint, identity: &Identity) -> Result<(), Option<String>> {
    let is_time = identity.since.elapsed() >= KUBELET_TIME_MAX;
    let late = |why: String| is_time.then_some(why);
    session.read_certificates(AUTHORITIES_FILE).await.map_err(late)?;
    match shows_ours(endpoint, &identity.tls, SESSION_LIMIT).await {
        // Other authorities under the same certificate cannot be told from the old ones.
        Ok(true) if is_time || !identity.is_another => Ok(()),
        Ok(true) => Err(None),
        Ok(false) => Err(late("it shows another certificate than the Secret's: delete the Pod, and it starts with the new one".into())),
        Err(why) => Err(late(why)),
    }
}

/// All take the new one beside the old before anybody uses it, and use it before anybody refuses the old.
async fn change_password(sessions: Vec<&Session>, passwords: &Passwords) -> Result<(), String> {
    let new = passwords.wanted.as_deref().unwrap_or_default();
    if !new.is_empty() {
        join_all(sessions.iter().map(|session| session.take_also(new))).await.into_iter().collect::<Result<(), _>>()?;
    }
    join_all(sessions.iter().map(|session| session.give(new))).await.into_iter().collect::<Result<(), _>>()?;
    join_all(sessions.iter().map(|session| session.take_only(new))).await.into_iter().collect()
}

/// Sets the directives, and notes their names on the Pod: one that is taken away later needs a restart.
async fn give(
    common: &Common,
    picture: &Picture,
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
    let mut names = names_given(pod);
    names.extend(picture.redis.spec.config.keys().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    let text = names.join(" ");
    if pod.annotations().get(NAMES_ANNOTATION).map(String::as_str).unwrap_or_default() != text {
        let patch = json!({ "metadata": { "annotations": { NAMES_ANNOTATION: text } } });
        let api: Api<Pod> = Api::namespaced(common.client.clone(), &picture.namespace());
        api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.map_err(|error| in_short(&error))?;
    }
    Ok((refused, needs_a_start))
}

/// The user's directives that a Pod has been given since it was made.
pub fn names_given(pod: &Pod) -> Vec<&str> {
    pod.annotations().get(NAMES_ANNOTATION).map(|names| names.split(' ').filter(|name| !name.is_empty()).collect()).unwrap_or_default()
}

const NAMES_ANNOTATION: &str = "k8s.amaiz.com/directives";
/// For the connection, the login and all that is set.
const SESSION_LIMIT: Duration = Duration::from_secs(2);
/// Until a changed Secret is in the Pods that mount it: its sync period and the time to live of its cache, a minute each.
const KUBELET_TIME_MAX: Duration = Duration::from_secs(120);
