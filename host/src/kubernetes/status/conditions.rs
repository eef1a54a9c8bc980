//! The conditions of a Redis resource, made from the decision and from the obstacles that were found.

use super::{Problem, camel, shortened, text};
use crate::contract::{Decision, Progress, Verdict};
use crate::kubernetes::crd::{Condition, RedisStatus};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

/// What a status says of its resource, of whichever kind.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Label selector of the Pods, as text.
    pub selector: String,
    /// The StatefulSet.
    pub set: String,
    /// The Deployment of its Sentinels. None: there is none.
    pub sentinels: Option<String>,
    /// Desired instances. 0: the group hibernates.
    pub desired: i32,
    /// The Secret by which clients find the group. None: there is none.
    pub binding: Option<String>,
    /// Generation of the spec.
    pub generation: Option<i64>,
    /// The operator observes, and does not act.
    pub is_paused: bool,
}

/// The input of the conditions.
pub struct State<'a> {
    /// The resource.
    pub about: &'a About,
    /// The last decision. None: there was none yet.
    pub decision: Option<&'a Decision>,
    /// What runs is what the resource asks for.
    pub is_settled: bool,
    /// What is missing of that, in words. None: nothing, or it is not known yet.
    pub awaits: Option<&'static str>,
    /// A switchover was requested and is not done.
    pub is_switching: bool,
    /// Obstacles to the desired state.
    pub problems: Vec<Problem>,
}

/// The status with its conditions. `now` is the transition time of those that change.
pub fn with_conditions(before: RedisStatus, state: &State<'_>, now: Timestamp) -> RedisStatus {
    let generation = state.about.generation;
    let conditions = conditions(&before.conditions, state, now);
    RedisStatus { observed_generation: generation, conditions, ..before }
}

fn conditions(before: &[Condition], state: &State<'_>, now: Timestamp) -> Vec<Condition> {
    // Of a group whose Pods are away a decision says nothing.
    let hibernates = state.about.desired == 0;
    let decision = state.decision.filter(|_| !hibernates);
    let is = |progress: Progress| decision.is_some_and(|decision| decision.progress == progress);
    let has_master = decision.is_some_and(|decision| decision.master().is_some());
    let (is_progressing, is_degraded) = (is(Progress::Changing), is(Progress::Hindered));
    let why = match decision {
        None if hibernates && state.is_settled => (camel(HIBERNATED), ALL_AWAY.to_owned()),
        None if hibernates => ("Hibernating".into(), "the Pods are to end, and to save their data".into()),
        Some(decision) => (camel(&decision.reason), decision.explanation.clone()),
        None => ("Starting".into(), "no decision yet: no instance has been observed".into()),
    };
    // First what the user can solve.
    let hindrance = state.problems.first().map(|first| {
        let all: Vec<&str> = state.problems.iter().map(|problem| problem.message.as_str()).collect();
        (first.reason.to_owned(), shortened(&all.join("; "), MESSAGE_BYTES_MAX))
    });
    let first = hindrance.clone().unwrap_or(why.clone());
    let generation = state.about.generation;
    // A group that was made once stays ready while a change is on its way. Ready is about the spec that runs,
    // so that who waits for the next one waits until that runs.
    let ran = settled_generation(before);
    let runs = if state.is_settled { generation } else { ran.or(Some(NEVER)) };
    let is_ready = match hibernates {
        true => state.is_settled,
        false => has_master && (state.is_settled || ran.is_some()),
    };
    // While a group is made, what is refused now is done as soon as its Pods answer.
    let is_refused = decision.is_some_and(|decision| decision.verdict == Verdict::Refuse) && ran.is_some();
    let is_stalled =
        is_refused || state.problems.iter().any(|problem| NEED_A_PERSON.contains(&problem.reason));
    let reconciling = if state.is_settled {
        ("Settled".to_owned(), "what the resource asks for is what runs".to_owned())
    } else {
        let (reason, message) = first.clone();
        (reason, state.awaits.map_or_else(|| message.clone(), |awaits| format!("{awaits}; {message}")))
    };
    let all = [
        (READY, is_ready, if is_ready { why.clone() } else { first.clone() }),
        ("Progressing", is_progressing || hibernates && !state.is_settled, why.clone()),
        ("Degraded", is_degraded || hindrance.is_some(), first.clone()),
        ("Paused", state.about.is_paused, why.clone()),
        ("SwitchoverInProgress", state.is_switching, why),
        (RECONCILING, !state.is_settled, reconciling),
        ("Stalled", is_stalled, first),
    ];
    all.into_iter()
        .map(|(type_, holds, why)| {
            let generation = if type_ == READY { runs } else { generation };
            condition(before, type_, holds, why, generation, now)
        })
        .collect()
}

/// The generation of the spec that ran when these conditions were written. None: none was seen through.
pub fn settled_generation(conditions: &[Condition]) -> Option<i64> {
    let ready = conditions.iter().find(|condition| condition.type_ == READY)?;
    // Before there was Reconciling, Ready said only that there is a master.
    let is_known = conditions.iter().any(|condition| condition.type_ == RECONCILING);
    ready.observed_generation.filter(|generation| *generation > NEVER && (is_known || ready.status == "True"))
}

/// The reason of a group whose Pods are away on request.
pub const HIBERNATED: &str = "hibernated";
/// The same as one sentence.
pub const ALL_AWAY: &str =
    "all Pods are away on request, and the claims keep the data: spec.hibernate: false brings them back";
const READY: &str = "Ready";
const RECONCILING: &str = "Reconciling";
/// Kubernetes counts from 1.
const NEVER: i64 = 0;
/// Problems that neither time nor the operator solves: whoever waits for the resource waits in vain.
const NEED_A_PERSON: &[&str] = &[
    "CertificateNotTaken",
    "CreateContainerConfigError",
    "DirectiveRefused",
    "ErrImageNeverPull",
    "InvalidImageName",
    "InvalidSpec",
    "LoginNotChanged",
    "NameTaken",
    "NotAdopted",
    "ObjectsNotMade",
    "OtherOperator",
    "OtherOperatorUnknown",
    "RolloutBlocked",
    "SecretInvalid",
    "SecretMissing",
    "SentinelEndpointUnavailable",
];

/// One condition, which keeps its transition time while its status is as it was `before`.
pub fn condition(
    before: &[Condition],
    type_: &str,
    holds: bool,
    (reason, message): (String, String),
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let status = if holds { "True" } else { "False" };
    let unchanged = before.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason,
        message,
        last_transition_time: unchanged
            .map_or_else(|| text(now), |condition| condition.last_transition_time.clone()),
        observed_generation: generation,
    }
}

/// Problems that the Pods report, and missing Pods.
pub fn pod_problems<'a>(about: &About, pods: impl Iterator<Item = &'a Pod> + Clone) -> Vec<Problem> {
    let (count, desired) = (pods.clone().count(), usize::try_from(about.desired).unwrap_or_default());
    let is_terminating = pods.clone().any(|pod| pod.metadata.deletion_timestamp.is_some());
    let missing = (count < desired && !is_terminating).then(|| Problem {
        reason: "PodsMissing",
        message: format!(
            "{count} of {desired} Pods exist: kubectl describe statefulset {} shows why the others are \
             missing",
            about.set
        ),
    });
    pods.filter_map(pod_problem).chain(missing).collect()
}

fn pod_problem(pod: &Pod) -> Option<Problem> {
    let problem = |what: &str, message: &str| {
        let reason = WAITING.iter().find(|reason| **reason == what)?;
        Some(Problem {
            reason,
            message: format!("{}: {}", pod.name_any(), if message.is_empty() { what } else { message }),
        })
    };
    let status = pod.status.as_ref()?;
    let containers =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let mut waiting =
        containers.filter_map(|container| Some((container, container.state.as_ref()?.waiting.as_ref()?)));
    let unschedulable = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.reason.as_deref() == Some("Unschedulable"));
    waiting
        .find_map(|(container, waiting)| {
            let reason = waiting.reason.as_deref()?;
            let message = waiting.message.as_deref().unwrap_or_default();
            match last_words(container).filter(|_| reason == "CrashLoopBackOff") {
                Some(words) => problem(reason, &format!("{message}: {words}")),
                None => problem(reason, message),
            }
        })
        .or_else(|| problem("Unschedulable", unschedulable?.message.as_deref().unwrap_or_default()))
}

/// Why a container ended: the last lines of Redis' log.
fn last_words(container: &ContainerStatus) -> Option<String> {
    let ended = container.last_state.as_ref()?.terminated.as_ref()?;
    if ended.reason.as_deref() == Some("OOMKilled") {
        return Some("OOMKilled: raise the memory limit of its resources, or set maxmemory below it".into());
    }
    let lines: Vec<&str> =
        ended.message.as_deref()?.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let words = lines[lines.len().saturating_sub(LAST_LINES)..].join(" ");
    (!words.is_empty()).then(|| shortened(&words, LAST_WORDS_BYTES_MAX))
}

/// Reasons of the kubelet and the scheduler that do not pass by themselves, or not soon.
const WAITING: &[&str] = &[
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "Unschedulable",
];
const LAST_LINES: usize = 3;
const LAST_WORDS_BYTES_MAX: usize = 300;
/// Kubernetes allows 32 KiB, far more than is readable.
const MESSAGE_BYTES_MAX: usize = 2048;
