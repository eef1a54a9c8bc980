//! What a scenario file says of a decision: everything that an operator would act on, one line a stage. Texts
//! for people are no part of it; a golden file of their own pins them.

use failover_core::contract::{
    Action, Decision, Evidence, Progress, Promotion, RequestAnswer, RequestState, Verdict,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

/// A decision in short.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct Answer {
    /// `Healthy`, `Act`, `Wait` or `Refuse`.
    pub verdict: Verdict,
    /// One of `wit/REASONS.md`.
    pub reason: String,
    /// `Settled`, `Changing` or `Hindered`.
    pub progress: Progress,
    /// The master now.
    pub master: Option<String>,
    /// The master when the plan has ended.
    pub goal: Option<String>,
    /// Bytes that the change of master gives up. None: it changes no master; `Unknown`: not known.
    pub loss: Option<Loss>,
    /// The answer to a switchover: state and reason.
    pub request: Option<String>,
    /// The plan, one line a stage.
    pub plan: Vec<String>,
}

/// Bytes that a change of master gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Loss {
    /// So many.
    Bytes(u64),
    /// Not known.
    Unknown(Unknown),
}

/// The word for a loss that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// `"unknown"`.
    Unknown,
}

/// As it stands in a file, with what may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    verdict: Verdict,
    reason: String,
    progress: Option<Progress>,
    master: Option<String>,
    #[serde(default, deserialize_with = "given")]
    goal: Option<Option<String>>,
    loss: Option<Loss>,
    request: Option<String>,
    #[serde(default)]
    plan: Vec<String>,
}

/// `null` is given, too.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl From<Written> for Answer {
    fn from(written: Written) -> Self {
        let Written { verdict, reason, progress, master, goal, loss, request, plan } = written;
        let progress = progress.unwrap_or(usual_progress(verdict));
        let goal = goal.unwrap_or_else(|| master.clone());
        Self { verdict, reason, progress, master, goal, loss, request, plan }
    }
}

impl Answer {
    /// Of a decision. What it says of shards is that of the first.
    pub fn of(decision: &Decision) -> Self {
        let shard = decision.shards.first();
        let stage = |stage: &failover_core::contract::Stage| {
            stage.actions.iter().map(action_text).collect::<Vec<_>>().join("; ")
        };
        let request = |answer: &RequestAnswer| {
            let state = match answer.state {
                RequestState::Done => "done",
                RequestState::Waiting => "waiting",
                RequestState::Refused => "refused",
            };
            format!("{state}: {}", answer.reason)
        };
        Self {
            verdict: decision.verdict,
            reason: decision.reason.clone(),
            progress: decision.progress,
            master: shard.and_then(|shard| shard.master.clone()),
            goal: shard.and_then(|shard| shard.master_goal.clone()),
            loss: shard
                .and_then(|shard| shard.loss.as_ref())
                .map(|loss| loss.bytes.map_or(Loss::Unknown(Unknown::Unknown), Loss::Bytes)),
            request: decision.request.as_ref().map(request),
            plan: decision.stages.iter().map(stage).collect(),
        }
    }

    /// As it stands in a file: what may be left out is.
    pub fn json(&self) -> Value {
        let Self { verdict, reason, progress, master, goal, loss, request, plan } = self;
        let mut written = json!({ "verdict": verdict, "reason": reason });
        let mut put = |field: &str, value: Value| written[field] = value;
        if *progress != usual_progress(*verdict) {
            put("progress", json!(progress));
        }
        put("master", json!(master));
        if goal != master {
            put("goal", json!(goal));
        }
        if loss.is_some() {
            put("loss", json!(loss));
        }
        if request.is_some() {
            put("request", json!(request));
        }
        if !plan.is_empty() {
            put("plan", json!(plan));
        }
        written
    }
}

fn usual_progress(verdict: Verdict) -> Progress {
    match verdict {
        Verdict::Healthy => Progress::Settled,
        Verdict::Act => Progress::Changing,
        Verdict::Wait | Verdict::Refuse => Progress::Hindered,
    }
}

/// The first field in which two answers differ.
pub(super) fn differs(expected: &Answer, given: &Answer) -> Option<String> {
    first_difference(&expected.json(), &given.json())
}

/// The first field in which two decisions differ, texts for people left aside.
pub fn difference(expected: &Decision, given: &Decision) -> Option<String> {
    let bare = |decision: &Decision| {
        let mut decision = decision.clone();
        decision.explanation.clear();
        decision.members.iter_mut().for_each(|member| member.proof.clear());
        decision.request.iter_mut().for_each(|request| request.text.clear());
        decision.stages.iter_mut().for_each(|stage| stage.summary.clear());
        serde_json::to_value(decision).unwrap_or_default()
    };
    first_difference(&bare(expected), &bare(given))
}

pub(super) fn first_difference(expected: &Value, given: &Value) -> Option<String> {
    let (Value::Object(expected), Value::Object(given)) = (expected, given) else {
        return (expected != given).then(|| format!("it is {given}, expected {expected}"));
    };
    let fields = expected.keys().chain(given.keys());
    let absent = |value: Option<&Value>| value.cloned().unwrap_or_default();
    fields
        .map(|field| (field, absent(expected.get(field)), absent(given.get(field))))
        .find(|(_, expected, given)| expected != given)
        .map(|(field, expected, given)| format!("{field} is {given}, expected {expected}"))
}

/// An action in one line. What it expects to hold is left out: it is what its target reports.
pub fn action_text(action: &Action) -> String {
    match action {
        Action::Promote(action) => {
            let meant = meant_for(&action.id, &action.meant_for);
            let source = action.source.as_ref().map(|source| format!("{source} ")).unwrap_or_default();
            let how = match action.how {
                Promotion::ReplicaofNoOne => "",
                Promotion::Votes => ", by votes",
                Promotion::AvailableVotes => ", by the votes there are",
                Promotion::Takeover => ", by takeover",
                Promotion::Force => ", by force",
            };
            let slots = if action.completes.is_empty() {
                String::new()
            } else {
                format!(", completing {}", Value::from(action.completes.len()))
            };
            format!("promote {}{meant}, {source}{}{how}{slots}", action.id, evidence(action.evidence))
        }
        Action::Follow(action) => {
            let discards = match action.discards_bytes {
                Some(0) => String::new(),
                Some(bytes) => format!(", discards {bytes}"),
                None => ", discards unknown".into(),
            };
            format!("{} follows {}{discards}", action.id, action.master)
        }
        Action::Handover(action) => {
            let meant = meant_for(&action.target, &action.meant_for);
            let (source, target, max_ms) = (&action.source, &action.target, action.pause_max_ms);
            format!("{source} hands over to {target}{meant} within {max_ms} ms")
        }
        Action::Demote(action) => format!("demote {}", action.id),
        Action::Fence(action) => format!("fence {} for {} ms", action.id, action.max_ms),
        Action::Unfence(action) => format!("unfence {}", action.id),
        Action::KickClients(action) => format!("kick clients of {}", action.id),
        Action::Configure(action) => format!("set {} {} at {}", action.directive, action.to, action.id),
        Action::Restart(action) => format!("restart {}", action.id),
        Action::Sentinel(action) => format!("{} {}", action.id, json!(action.change)),
        Action::Cluster(action) => format!("{} {}", action.id, json!(action.change)),
    }
}

fn meant_for(id: &str, meant_for: &str) -> String {
    if id == meant_for { String::new() } else { format!(" for {meant_for}") }
}

fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Requested => "requested",
        Evidence::Dead => "dead",
        Evidence::Replaced => "replaced",
        Evidence::Elected => "elected",
        Evidence::Abdicated => "abdicated",
        Evidence::Amnesic => "amnesic",
        Evidence::Silent => "silent",
        Evidence::Bootstrap => "bootstrap",
    }
}
