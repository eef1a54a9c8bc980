//! Carries out one order on the connections that it names, and sends what came of it. Never retries: a
//! failure leads to a new look, and the policy chooses anew.

use super::GroupHandle;
use super::links::Links;
use crate::contract::Action;
use crate::group::{Event, Order, Outcome};
use crate::redis::act::{
    ActFailure, HandoverTerms, configure, fence, follow, handover, kick_clients, promote, unfence,
};
use crate::redis::{Connection, Endpoint};
use std::time::{Duration, Instant};

/// Starts it.
pub fn carry_out(links: &Links, order: Order, handle: GroupHandle) {
    let Order { number, action, links: numbers, place } = order;
    let connections: Option<Vec<Connection>> =
        numbers.iter().map(|(id, link)| links.connection(id, *link)).collect();
    tokio::spawn(async move {
        let outcome = match connections.as_deref() {
            Some([first, rest @ ..]) => outcome(
                run(
                    &action,
                    first,
                    rest.first(),
                    place.map(|place| Endpoint { host: place.host, port: place.port }),
                )
                .await,
            ),
            Some([]) | None => {
                Outcome::Failed("not sent: the connection that reported what it rests on has ended".into())
            }
        };
        handle.send(Event::Finished { order: number, outcome });
    });
}

async fn run(
    action: &Action,
    connection: &Connection,
    target: Option<&Connection>,
    place: Option<Endpoint>,
) -> Result<Note, ActFailure> {
    let deadline = Instant::now() + ACTION_DEADLINE;
    let missing = |step| ActFailure::Precondition { step, why: "it names no other member".into() };
    match action {
        Action::Promote(_) => promote(connection, deadline).await.map(|promoted| {
            Note::new(format!("it was {} and is master at offset {}", promoted.was, promoted.offset))
        }),
        Action::Follow(_) => {
            let master = place.ok_or_else(|| missing("follow"))?;
            let followed = follow(connection, &master, deadline).await?;
            let kicked = match followed.kicked {
                Some(Ok(kicked)) => {
                    format!("; {} clients were told to look again", kicked.normal + kicked.pubsub)
                }
                Some(Err(error)) => format!("; its clients keep their connections: {error}"),
                None => String::new(),
            };
            Ok(Note::new(format!("it was {} and follows {master}{kicked}", followed.was)))
        }
        Action::Handover(terms) => {
            let (target, place) = target.zip(place).ok_or_else(|| missing("handover"))?;
            let pause_max = Duration::from_millis(u64::from(terms.pause_max_ms));
            let report = handover(
                connection,
                target,
                &HandoverTerms { target: place, pause_max, deadline: Instant::now() + pause_max },
            )
            .await?;
            Ok(Note {
                text: format!(
                    "writes paused for {:.1} ms, nothing lost at offset {}",
                    report.pause_us as f64 / 1000.0,
                    report.offset
                ),
                pause_us: Some(report.pause_us),
            })
        }
        Action::Fence(terms) => fence(connection, Duration::from_millis(terms.max_ms.into()), deadline)
            .await
            .map(|was| Note::new(format!("it is {was} and holds its writes"))),
        Action::Unfence(_) => {
            unfence(connection, deadline).await.map(|()| Note::new("it takes writes".into()))
        }
        Action::KickClients(_) => kick_clients(connection, deadline).await.map(|kicked| {
            Note::new(format!("{} clients were told to look again", kicked.normal + kicked.pubsub))
        }),
        Action::Configure(terms) => configure(connection, &terms.directive, &terms.to, deadline)
            .await
            .map(|()| Note::new(format!("{} is {}", terms.directive, terms.to))),
        // The guard lets through none of these: no topology is served that has them.
        Action::Sentinel(_) | Action::Cluster(_) => Err(ActFailure::Precondition {
            step: action.name(),
            why: "no topology here is served with it".into(),
        }),
        Action::Restart(_) => Err(ActFailure::Precondition {
            step: "restart",
            why: "there is no orchestrator here that could do it".into(),
        }),
    }
}

struct Note {
    text: String,
    pause_us: Option<u64>,
}

impl Note {
    fn new(text: String) -> Self {
        Self { text, pause_us: None }
    }
}

fn outcome(result: Result<Note, ActFailure>) -> Outcome {
    match result {
        Ok(Note { text, pause_us }) => Outcome::Done { note: text, pause_us },
        Err(failure @ (ActFailure::InDoubt { .. } | ActFailure::Unconfirmed { .. })) => {
            Outcome::InDoubt(failure.to_string())
        }
        Err(
            failure @ (ActFailure::Gone { .. }
            | ActFailure::Precondition { .. }
            | ActFailure::Refused { .. }
            | ActFailure::Undone { .. }),
        ) => Outcome::Failed(failure.to_string()),
    }
}

/// No server that lives takes longer for REPLICAOF; one that does is in doubt from then on.
const ACTION_DEADLINE: Duration = Duration::from_millis(1000);
