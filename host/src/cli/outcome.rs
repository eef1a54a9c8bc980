//! One pass over a group: its end, its outcome, and the exit code for it.

use super::{Exit, Format, print, print_json};
use crate::contract::{
    Decision, Failure, FailureKind, Instance, InstanceKind, LinkState, Observation, Verdict,
};
use crate::group::{Decided, Moment, Outcome as Ended, Report};
use std::time::Duration;

/// The outcome of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do.
    Healthy,
    /// Actions were carried out, and nothing is left to do.
    Acted,
    /// Something is wrong and not proven yet, or being repaired.
    Waiting,
    /// A person must decide.
    Refused,
    /// An action failed, or no policy gave an answer.
    Failed,
}

impl Outcome {
    /// The exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Failed => 1,
            Self::Acted => 10,
            Self::Waiting => 11,
            Self::Refused => 12,
        }
    }

    /// One word for people.
    fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Acted => "acted",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// The outcome of a decision alone.
    pub fn of(decision: &Decision) -> Self {
        match decision.verdict {
            Verdict::Healthy => Self::Healthy,
            Verdict::Act => Self::Acted,
            Verdict::Wait => Self::Waiting,
            Verdict::Refuse => Self::Refused,
        }
    }
}

/// Follows a pass by its reports.
pub struct Pass {
    /// False: the pass only observes, and ends with its first complete round.
    acts: bool,
    began: Option<Moment>,
    patience_us: u64,
    decided: Option<Decided>,
    has_acted: bool,
    has_failed: bool,
}

impl Pass {
    /// A pass with actions. It ends when nothing is left to do, or when waiting longer changes nothing.
    pub fn new(hang_limit: Duration) -> Self {
        // A hang is known after the hang limit, and an unanswered action is in doubt after a second.
        let patience_us = u64::try_from(hang_limit.as_micros())
            .unwrap_or(u64::MAX)
            .saturating_mul(2)
            .saturating_add(2_000_000);
        Self { acts: true, began: None, patience_us, decided: None, has_acted: false, has_failed: false }
    }

    /// A pass that only observes. It ends when every server has answered or failed to.
    pub fn looking(hang_limit: Duration) -> Self {
        Self { acts: false, ..Self::new(hang_limit) }
    }

    /// Whether the pass ends with this report.
    pub fn is_over(&mut self, now: Moment, report: &Report) -> bool {
        let waited_us = self.began.get_or_insert(now).age_us(now);
        match report {
            Report::Decided(decided) => {
                self.decided = Some(decided.as_ref().clone());
                let is_patient = waited_us < self.patience_us;
                let is_whole = decided
                    .observation
                    .instances
                    .iter()
                    .all(|instance| instance.link.state != LinkState::Unknown);
                match decided.decision.verdict {
                    _ if !is_patient => true,
                    _ if !self.acts => {
                        (is_whole && !is_on_its_way(&decided.decision))
                            || wrong_input(&decided.observation).is_some()
                    }
                    Verdict::Act => false,
                    Verdict::Wait => !is_on_its_way(&decided.decision),
                    Verdict::Healthy | Verdict::Refuse => true,
                }
            }
            Report::Finished { outcome, .. } => {
                self.has_acted |= matches!(outcome, Ended::Done { .. });
                self.has_failed |=
                    matches!(outcome, Ended::Failed(_) | Ended::NotSent(_) | Ended::InDoubt(_));
                false
            }
            Report::Held => waited_us >= self.patience_us,
            Report::Link { .. } | Report::Fault { .. } | Report::Sent { .. } | Report::Withheld { .. } => {
                false
            }
        }
    }

    /// The outcome of the pass.
    pub fn outcome(&self) -> Outcome {
        match self.decided.as_ref().map(|decided| Outcome::of(&decided.decision)) {
            None => Outcome::Failed,
            Some(Outcome::Refused) => Outcome::Refused,
            Some(_) if self.has_failed => Outcome::Failed,
            Some(Outcome::Healthy | Outcome::Waiting | Outcome::Acted) if self.has_acted => Outcome::Acted,
            Some(outcome) => outcome,
        }
    }

    /// The last decision of the pass.
    pub fn into_decided(self) -> Option<Decided> {
        self.decided
    }
}

/// There is no master, and the next round may show more.
fn is_on_its_way(decision: &Decision) -> bool {
    decision.verdict == Verdict::Wait && decision.master().is_none()
}

/// Refuses input that no further round can make right. Nothing has been changed yet.
///
/// # Errors
/// [`Exit::Input`], naming the server and the way out.
pub fn check_input(observation: &Observation) -> Result<(), Exit> {
    if let Some(why) = wrong_input(observation) {
        return Err(Exit::Input(why));
    }
    let servers = servers(observation).count();
    let silent: Vec<&str> = failures(observation)
        .filter(|(instance, failure)| is_absence(failure.kind) && instance.link.state != LinkState::Answering)
        .map(|(_, failure)| failure.text.as_str())
        .collect();
    match silent.first() {
        Some(first) if silent.len() == servers => {
            Err(Exit::Input(format!("no Redis answers at any address: {first}: check --redis")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Why no server can be operated: each is none of a replication group, or does not accept the credentials;
/// the first error is given. None: one of them may be, and the rest is that member's own fault, which every
/// decision names.
fn wrong_input(observation: &Observation) -> Option<String> {
    let mut all = servers(observation).map(fault);
    let first = all.next()??;
    all.all(|fault| fault.is_some()).then_some(first)
}

/// The error of wrong credentials, of a server that is not Redis, or not in replication mode.
fn fault(instance: &Instance) -> Option<String> {
    let failure = instance.replies.iter().find_map(|reply| reply.failure.as_ref());
    let is_wrong = |kind| matches!(kind, FailureKind::Unauthorized | FailureKind::ProtocolError);
    if let Some(failure) = failure.filter(|failure| is_wrong(failure.kind)) {
        return Some(failure.text.clone());
    }
    let mode = super::mode(instance).filter(|mode| *mode != "standalone")?;
    Some(format!(
        "{} runs in {mode} mode and cannot be a member of a replication group: remove it from --redis",
        instance.id
    ))
}

/// The instances that are no Sentinels.
fn servers(observation: &Observation) -> impl Iterator<Item = &Instance> {
    observation.instances.iter().filter(|instance| instance.kind == InstanceKind::Redis)
}

/// The first failure of every server that has one.
fn failures(observation: &Observation) -> impl Iterator<Item = (&Instance, &Failure)> {
    servers(observation).filter_map(|instance| {
        instance.replies.iter().find_map(|reply| reply.failure.as_ref()).map(|failure| (instance, failure))
    })
}

/// The server was not reached, but may be later.
fn is_absence(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Refused | FailureKind::Unreachable | FailureKind::TimedOut | FailureKind::Reset => true,
        FailureKind::Unauthorized
        | FailureKind::Loading
        | FailureKind::Busy
        | FailureKind::ErrorReply
        | FailureKind::ProtocolError => false,
    }
}

/// The outcome of a pass in one line.
///
/// # Errors
/// [`Exit`] when standard output is closed.
pub fn print_verdict(outcome: Outcome, decision: Option<&Decision>) -> Result<(), Exit> {
    let last = decision.map(|decision| format!(": {}: {}", decision.reason, decision.explanation));
    print(&format!("{}{}\n", outcome.word(), last.unwrap_or_else(|| ": no policy gave an answer".into())))
}

/// Prints a decision with its plan.
///
/// # Errors
/// [`Exit`] if standard output is closed.
pub fn print_plan(decision: &Decision, format: Format) -> Result<(), Exit> {
    if format == Format::Json {
        return print_json(decision);
    }
    let mut text = format!("{:?}: {}\n{}\n", decision.verdict, decision.reason, decision.explanation)
        .replace("Verdict::", "");
    for member in &decision.members {
        let rank = member.rank.map_or_else(
            || member.ineligible.clone().unwrap_or_else(|| "-".into()),
            |rank| format!("rank {rank}"),
        );
        text += &format!(
            "  {:<24} {:<8} {:<10} {rank:<16} {}\n",
            member.id,
            format!("{:?}", member.role).replace("Role::", ""),
            format!("{:?}", member.health).replace("Health::", ""),
            member.proof
        );
    }
    for (number, stage) in decision.stages.iter().enumerate() {
        text += &format!("  {}. {}\n", number + 1, stage.summary);
    }
    print(&text)
}
