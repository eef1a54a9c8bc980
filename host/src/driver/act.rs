//! Carries out one order on the connections that it lists, and sends the outcome as an event. Must not retry:
//! after a failure the next round leads to a new decision.

use super::GroupHandle;
use super::links::Links;
use super::sentinels::{Sentinels, votes};
use crate::authority::Authority;
use crate::contract::{Action, Promotion, Restart};
use crate::group::{Event, Order, Outcome};
use crate::redis::act::sentinel::{Elected, Votes};
use crate::redis::act::{
    ActFailure, HandoverTerms, configure, demote, fence, follow, handover, handover_with, kick_clients,
    promote, unfence,
};
use crate::redis::{Connection, Endpoint, now};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// Restarts an instance through its orchestrator: ends the given incarnation; the orchestrator starts the
/// next one.
pub type Restarter = Arc<dyn Fn(Restart) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// Starts an order, if the authority lasts for as long as it may take. Its outcome is one
/// [`Event::Finished`].
pub fn carry_out(
    links: &Links,
    order: Order,
    authority: &Authority,
    restarter: Option<&Restarter>,
    handle: GroupHandle,
) {
    let Order { number, action, links: numbers, place, watch } = order;
    let longest = longest(&action);
    let Some(in_progress) = authority.begin(longest) else {
        let text = format!(
            "not sent: the authority of this operator lasts for {} ms, and the action may take {} ms",
            authority.left().as_millis(),
            longest.as_millis()
        );
        tokio::spawn(async move {
            // The group sends nothing else to the target until then.
            tokio::time::sleep(AUTHORITY_PACE).await;
            handle.send(Event::Finished { order: number, outcome: Outcome::NotSent(text) });
        });
        return;
    };
    if let Action::Restart(restart) = action {
        let restarting = restarter.map(|restarter| restarter(restart));
        tokio::spawn(async move {
            let outcome = match restarting {
                Some(restarting) => tokio::time::timeout(RESTART_DEADLINE, settled(restarting))
                    .await
                    .unwrap_or_else(|_| Outcome::InDoubt("restart: the orchestrator gave no answer".into())),
                None => Outcome::Failed("restart: no orchestrator runs this instance".into()),
            };
            handle.finish(Event::Finished { order: number, outcome }, in_progress);
        });
        return;
    }
    let connections: Option<Vec<Connection>> =
        numbers.iter().map(|(id, link)| links.connection(id, *link)).collect();
    let sentinels = watch.map(|watch| Sentinels::of(links, *watch));
    tokio::spawn(async move {
        let Ended { outcome, elected } = match connections.as_deref() {
            Some([first, rest @ ..]) => {
                let place = place.map(|place| Endpoint { host: place.host, port: place.port });
                settled(run(&action, first, rest.first(), place, sentinels.as_ref()).map(Ended::from)).await
            }
            Some([]) | None => {
                let text = "not sent: the connection that reported its precondition has ended";
                Outcome::NotSent(text.into()).into()
            }
        };
        // Beside what follows: the other replicas need not wait for the disks of the Sentinels. It may
        // outlive the authority: a Sentinel believes the later epoch, and a later operator is elected in
        // one.
        if let Some((sentinels, elected)) = sentinels.zip(elected) {
            let part = in_progress.part();
            tokio::spawn(async move {
                sentinels.tell(elected).await;
                drop(part);
            });
        }
        handle.finish(Event::Finished { order: number, outcome }, in_progress);
    });
}

/// How an action ended, and the votes that it was carried out with.
struct Ended {
    outcome: Outcome,
    elected: Option<Elected>,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, elected: None }
    }
}

/// The end of an action, whatever happens: a panic leaves it open, as a lost reply does.
async fn settled<T: From<Outcome>>(end: impl Future<Output = T>) -> T {
    let settled = AssertUnwindSafe(end).catch_unwind().await;
    settled.unwrap_or_else(|_| Outcome::InDoubt("the operator panicked; its log says where".into()).into())
}

async fn run(
    action: &Action,
    connection: &Connection,
    target: Option<&Connection>,
    place: Option<Endpoint>,
    sentinels: Option<&Sentinels>,
) -> Result<Note, ActFailure> {
    let deadline = now() + ACTION_DEADLINE;
    let missing = |step| ActFailure::Precondition { step, why: "the action needs a second member".into() };
    let unserved = |step| ActFailure::Precondition {
        step,
        why: "the action belongs to a topology that is not served".into(),
    };
    match action {
        Action::Promote(terms) => {
            let needed = match terms.how {
                Promotion::ReplicaofNoOne => None,
                Promotion::Votes => Some(Votes::Majority),
                Promotion::AvailableVotes => Some(Votes::Available),
                Promotion::Takeover | Promotion::Force => return Err(unserved("promote")),
            };
            let elected = match needed {
                None => None,
                Some(needed) => Some(sentinels.ok_or_else(|| unserved("promote"))?.elect(needed).await?),
            };
            let promoted = promote(connection, deadline).await?;
            let votes = elected.as_ref().map(votes).unwrap_or_default();
            let text = format!("was {}, now master at offset {}{votes}", promoted.was, promoted.offset);
            Ok(Note { elected, ..Note::new(text) })
        }
        Action::Follow(_) => {
            let master = place.ok_or_else(|| missing("follow"))?;
            let followed = follow(connection, &master, deadline).await?;
            let kicked = match followed.kicked {
                Some(Ok(kicked)) => {
                    format!("; {} clients disconnected", kicked.normal + kicked.pubsub)
                }
                Some(Err(error)) => format!("; its clients stay connected: {error}"),
                None => String::new(),
            };
            Ok(Note::new(format!("was {}, now follows {master}{kicked}", followed.was)))
        }
        Action::Demote(_) => {
            let followed = demote(connection, deadline).await?;
            Ok(Note::new(format!("was {}, now takes no writes and keeps its data", followed.was)))
        }
        Action::Handover(terms) => {
            let (target, place) = target.zip(place).ok_or_else(|| missing("handover"))?;
            let pause_max = Duration::from_millis(u64::from(terms.pause_max_ms));
            let terms = HandoverTerms { target: place, pause_max, deadline: now() + pause_max };
            let mut elected = None;
            let report = match sentinels {
                None => handover(connection, target, &terms).await?,
                Some(sentinels) => {
                    let permission = async {
                        elected = Some(sentinels.elect(Votes::Majority).await?);
                        Ok(())
                    };
                    handover_with(connection, target, &terms, permission).await?
                }
            };
            let votes = elected.as_ref().map(votes).unwrap_or_default();
            let text = format!(
                "writes paused for {:.1} ms, no bytes lost, handed over at offset {}{votes}",
                report.pause_us as f64 / 1000.0,
                report.offset
            );
            Ok(Note { text, pause_us: Some(report.pause_us), elected })
        }
        Action::Fence(terms) => fence(connection, Duration::from_millis(terms.max_ms.into()), deadline)
            .await
            .map(|role| Note::new(format!("{role}, writes paused"))),
        Action::Unfence(_) => {
            unfence(connection, deadline).await.map(|()| Note::new("writes resumed".into()))
        }
        Action::KickClients(_) => kick_clients(connection, deadline)
            .await
            .map(|kicked| Note::new(format!("{} clients disconnected", kicked.normal + kicked.pubsub))),
        Action::Configure(terms) => configure(connection, &terms.directive, &terms.to, deadline)
            .await
            .map(|()| Note::new(format!("{} set to {}", terms.directive, terms.to))),
        Action::Sentinel(terms) => {
            let sentinels = sentinels.ok_or_else(|| unserved(action.name()))?;
            sentinels.change(terms, deadline).await.map(Note::new)
        }
        // The guard refuses it: no served topology has it.
        Action::Cluster(_) => Err(unserved(action.name())),
        // `carry_out` sends it to the orchestrator.
        Action::Restart(_) => Err(ActFailure::Precondition {
            step: action.name(),
            why: "a restart goes to the orchestrator, not to the instance".into(),
        }),
    }
}

struct Note {
    text: String,
    pause_us: Option<u64>,
    elected: Option<Elected>,
}

impl Note {
    fn new(text: String) -> Self {
        Self { text, pause_us: None, elected: None }
    }
}

impl From<Result<Note, ActFailure>> for Ended {
    fn from(result: Result<Note, ActFailure>) -> Self {
        match result {
            Ok(Note { text, pause_us, elected }) => {
                Self { outcome: Outcome::Done { note: text, pause_us }, elected }
            }
            Err(failure @ (ActFailure::InDoubt { .. } | ActFailure::Unconfirmed { .. })) => {
                Outcome::InDoubt(failure.to_string()).into()
            }
            Err(failure @ (ActFailure::Gone { .. } | ActFailure::NotInTime { .. })) => {
                Outcome::NotSent(failure.to_string()).into()
            }
            Err(
                failure @ (ActFailure::Precondition { .. }
                | ActFailure::Refused { .. }
                | ActFailure::Undone { .. }),
            ) => Outcome::Failed(failure.to_string()).into(),
        }
    }
}

/// How long an action is in progress at most.
fn longest(action: &Action) -> Duration {
    match action {
        // A handover that must be undone takes as long again.
        Action::Handover(terms) => 2 * Duration::from_millis(terms.pause_max_ms.into()),
        Action::Restart(_) => RESTART_DEADLINE,
        Action::Promote(_)
        | Action::Follow(_)
        | Action::Demote(_)
        | Action::Fence(_)
        | Action::Unfence(_)
        | Action::KickClients(_)
        | Action::Configure(_)
        | Action::Sentinel(_)
        | Action::Cluster(_) => ACTION_DEADLINE,
    }
}

/// A live server answers REPLICAOF sooner; after this the action is in doubt.
const ACTION_DEADLINE: Duration = Duration::from_millis(1000);
/// For a request to the orchestrator's API.
const RESTART_DEADLINE: Duration = Duration::from_secs(5);
/// Without enough authority an action is tried again after this.
const AUTHORITY_PACE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_action_that_panics_is_in_doubt() {
        let outcome: Outcome = settled(async { panic!("an executor") }).await;
        assert!(matches!(outcome, Outcome::InDoubt(text) if text.contains("panicked")));
    }
}
