//! One pass over a group: when it is over, what came of it, and the exit code that says so.

use super::{Exit, Format, print, print_json};
use crate::contract::{Decision, Failure, FailureKind, Instance, LinkState, Observation, Verdict};
use crate::group::{Decided, Moment, Outcome as Ended, Report};
use std::time::Duration;

/// What came of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do.
    Healthy,
    /// Something was done, and nothing is left to do.
    Acted,
    /// Something is wrong and not yet proven, or under way.
    Waiting,
    /// A person must decide.
    Refused,
    /// An action failed, or no policy gave an answer.
    Failed,
}

impl Outcome {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Failed => 1,
            Self::Acted => 10,
            Self::Waiting => 11,
            Self::Refused => 12,
        }
    }

    /// What a decision alone comes to.
    pub fn of(decision: &Decision) -> Self {
        match decision.verdict {
            Verdict::Healthy => Self::Healthy,
            Verdict::Act => Self::Acted,
            Verdict::Wait => Self::Waiting,
            Verdict::Refuse => Self::Refused,
        }
    }
}

/// Follows the reports of one pass.
pub struct Pass {
    /// A pass that only looks is over with its first whole look.
    acts: bool,
    began: Option<Moment>,
    patience_us: u64,
    decided: Option<Decided>,
    has_acted: bool,
    has_failed: bool,
}

impl Pass {
    /// A pass that acts: over when nothing is left to do, or nothing more comes of waiting.
    pub fn new(hang_limit: Duration) -> Self {
        // A hang is known after its limit, and an action that gets no answer is in doubt after a second.
        let patience_us = u64::try_from(hang_limit.as_micros())
            .unwrap_or(u64::MAX)
            .saturating_mul(2)
            .saturating_add(2_000_000);
        Self { acts: true, began: None, patience_us, decided: None, has_acted: false, has_failed: false }
    }

    /// A pass that only looks: over when every server has answered or failed to.
    pub fn looking(hang_limit: Duration) -> Self {
        Self { acts: false, ..Self::new(hang_limit) }
    }

    /// Takes a report.
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
                self.has_failed |= matches!(outcome, Ended::Failed(_) | Ended::InDoubt(_));
                false
            }
            Report::Held => waited_us >= self.patience_us,
            Report::Link { .. } | Report::Fault { .. } | Report::Sent { .. } | Report::Withheld { .. } => {
                false
            }
        }
    }

    /// What came of it.
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

/// There is no master, and the next look may tell more.
fn is_on_its_way(decision: &Decision) -> bool {
    decision.verdict == Verdict::Wait && decision.master().is_none()
}

/// What makes every further look useless is bad input: said at once, and nothing is touched.
///
/// # Errors
/// [`Exit::Input`], naming the server and the way out.
pub fn check_input(observation: &Observation) -> Result<(), Exit> {
    if let Some(why) = wrong_input(observation) {
        return Err(Exit::Input(why));
    }
    let silent: Vec<&str> = failures(observation)
        .filter(|(instance, failure)| is_absence(failure.kind) && instance.link.state != LinkState::Answering)
        .map(|(_, failure)| failure.text.as_str())
        .collect();
    match silent.first() {
        Some(first) if silent.len() == observation.instances.len() => {
            Err(Exit::Input(format!("no Redis answers at any address; {first}; check --redis")))
        }
        Some(_) | None => Ok(()),
    }
}

/// What no further look can make right: wrong credentials, no Redis, no member of a replication group.
fn wrong_input(observation: &Observation) -> Option<String> {
    let is_wrong = |kind| matches!(kind, FailureKind::Unauthorized | FailureKind::ProtocolError);
    let wrong = failures(observation)
        .find(|(_, failure)| is_wrong(failure.kind))
        .map(|(_, failure)| failure.text.clone());
    wrong.or_else(|| {
        let modes =
            observation.instances.iter().filter_map(|instance| Some((instance, super::mode(instance)?)));
        let (instance, mode) = modes.into_iter().find(|(_, mode)| *mode != "standalone")?;
        Some(format!(
            "{} runs in {mode} mode, so it is no member of a replication group; take it off --redis",
            instance.id
        ))
    })
}

/// The first failure of every instance that has one.
fn failures(observation: &Observation) -> impl Iterator<Item = (&Instance, &Failure)> {
    observation.instances.iter().filter_map(|instance| {
        instance.replies.iter().find_map(|reply| reply.failure.as_ref()).map(|failure| (instance, failure))
    })
}

/// Nobody was reached; somebody may be later.
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

/// The plan, for people or programs.
///
/// # Errors
/// [`Exit`] when nobody reads it.
pub fn print_plan(decision: &Decision, format: Format) -> Result<(), Exit> {
    if format == Format::Json {
        return print_json(decision);
    }
    let mut text = format!("{:?}: {}\n{}\n", decision.verdict, decision.reason, decision.explanation)
        .replace("Verdict::", "");
    for member in &decision.members {
        let rank = member.rank.map_or_else(
            || member.ineligible.clone().unwrap_or_else(|| "-".into()),
            |rank| format!("heir {rank}"),
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
