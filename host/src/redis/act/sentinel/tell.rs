//! Hello: tells Sentinels where the master is. See the rules in `sentinel/mod.rs`.

use super::seen::{ID_LENGTH, Peer, Seen, place_for, see, speaker};
use super::{Elected, Master, Sentinel, Watch, precondition, rewrite};
use crate::redis::Endpoint;
use crate::redis::act::replicaof::NOWHERE;
use crate::redis::act::{ActFailure, text_of};
use crate::redis::clock::now;
use crate::redis::connection::{AskFailure, Question};
use crate::redis::probe::error_text;
use futures_util::future::join_all;
use redis::Value;
use std::time::{Duration, Instant};

/// What came of telling all Sentinels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `id`s of those that name the master now.
    pub told: Vec<String>,
    /// The others, and why.
    pub untold: Vec<(String, ActFailure)>,
}

/// Tells all Sentinels of the master that was promoted with these votes, at once.
pub async fn tell(watch: &Watch, elected: &Elected, master: &Master, deadline: Instant) -> Told {
    let one = |place: usize| async move {
        let sentinel = &watch.sentinels[place];
        let mut seen = elected.seen.clone();
        if seen[place].is_none() {
            // It was silent before, and may have woken.
            seen[place] = see(sentinel, watch.name(), deadline).await.ok();
        }
        let seen: Vec<Option<&Seen>> = seen.iter().map(Option::as_ref).collect();
        (sentinel.id.clone(), switch(watch, &seen, place, master, elected.epoch, deadline).await)
    };
    let mut told = Told::default();
    for (id, outcome) in join_all((0..watch.sentinels.len()).map(one)).await {
        match outcome {
            Ok(()) => told.told.push(id),
            Err(failure) => told.untold.push((id, failure)),
        }
    }
    told
}

/// Tells one Sentinel of a master that answers as one, with this config epoch. One that names it already, in
/// that epoch or a later one, is not told again.
///
/// # Errors
/// [`ActFailure`]. `Precondition`: the member does not answer as a master, the Sentinel knows a later epoch,
/// or runs a failover itself.
pub async fn announce(
    watch: &Watch,
    id: &str,
    master: &Master,
    config_epoch: u64,
    deadline: Instant,
) -> Result<(), ActFailure> {
    let no = |why| precondition(STEP, why);
    let sentinel = watch.sentinel(id).map_err(no)?;
    // The others are asked for the id of one that may speak to it.
    let others = deadline.min(now() + LOOK);
    let (is_master, looked) = tokio::join!(
        master.must_be_master(STEP, deadline),
        join_all(watch.sentinels.iter().map(|it| see(it, watch.name(), others)))
    );
    is_master?;
    let place = watch.sentinels.iter().position(|it| it.id == sentinel.id).unwrap_or_default();
    let view = looked[place].as_ref().map_err(|why| no(why.clone()))?;
    if view.is_failing_over {
        return Err(no("it runs a failover".into()));
    }
    if !master.is_at(&view.master) && view.config_epoch >= config_epoch {
        return Err(no(format!(
            "it names {} in config epoch {}, and takes only a later one than that",
            view.master, view.config_epoch
        )));
    }
    let seen: Vec<Option<&Seen>> = looked.iter().map(|view| view.as_ref().ok()).collect();
    switch(watch, &seen, place, master, config_epoch, deadline).await
}

/// Tells one Sentinel, and confirms that it names the master.
async fn switch(
    watch: &Watch,
    seen: &[Option<&Seen>],
    place: usize,
    master: &Master,
    epoch: u64,
    deadline: Instant,
) -> Result<(), ActFailure> {
    let no = |why: String| precondition(STEP, why);
    let (sentinel, view) = (&watch.sentinels[place], seen[place]);
    if view.is_some_and(|view| master.is_at(&view.master) && view.config_epoch >= epoch) {
        return Ok(());
    }
    let to = place_for(view, master).map_err(no)?;
    let commands = match speaker(watch, seen, place) {
        Some(peer) => vec![hello(&peer, epoch, watch.name(), &to)],
        None => alone(watch, view, epoch, &to).map_err(no)?,
    };
    send(sentinel, commands, watch.name(), master, deadline).await
}

/// For a Sentinel without peers: a hello of an invented one, and in the same write the rewrite that
/// forgets it again. Clients that subscribe hear `+switch-master`, and no voter is left that does not
/// exist.
///
/// # Errors
/// Why it cannot be told.
fn alone(watch: &Watch, view: Option<&Seen>, epoch: u64, to: &Endpoint) -> Result<Vec<Vec<String>>, String> {
    let view = view.ok_or("it gives no view, and no other Sentinel that could speak to it is known")?;
    if view.has_scripts {
        return Err("it is alone, so telling it takes a rewrite, which would lose its scripts".into());
    }
    let [host, port] = NOWHERE;
    let place = Endpoint { host: host.into(), port: port.parse().unwrap_or_default() };
    let invented = Peer { id: "0".repeat(ID_LENGTH), place };
    let mut commands = vec![hello(&invented, epoch, watch.name(), to)];
    commands.extend(rewrite::monitor(watch, to));
    Ok(commands)
}

/// Sends the commands and a question in one write. Ok: it names the master.
pub(super) async fn send(
    sentinel: &Sentinel,
    mut commands: Vec<Vec<String>>,
    name: &str,
    master: &Master,
    deadline: Instant,
) -> Result<(), ActFailure> {
    commands.push(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name].map(str::to_owned).to_vec());
    let words: Vec<Vec<&str>> =
        commands.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
    let asked = sentinel.connection.ask(&Question::new(&words), deadline).await;
    let replies = asked.map_err(|failure| match failure {
        AskFailure::Gone => ActFailure::Gone { step: STEP },
        AskFailure::Ended | AskFailure::Late => ActFailure::InDoubt { step: STEP, why: failure.to_string() },
    })?;
    // REMOVE of what it does not watch changes nothing.
    let errors = replies.iter().filter_map(error_text);
    if let Some(reply) = errors.into_iter().find(|reply| !reply.contains("No such master")) {
        return Err(ActFailure::Refused { step: STEP, reply });
    }
    match replies.last().and_then(address) {
        Some(named) if master.is_at(&named) => Ok(()),
        named => {
            let named = named.map_or("no master".into(), |named| named.to_string());
            Err(ActFailure::Unconfirmed { step: STEP, why: format!("it names {named} all the same") })
        }
    }
}

/// The message of a Sentinel to its peers.
pub(super) fn hello(speaker: &Peer, epoch: u64, name: &str, master: &Endpoint) -> Vec<String> {
    let Peer { id, place: Endpoint { host, port } } = speaker;
    let text = format!("{host},{port},{id},{epoch},{name},{},{},{epoch}", master.host, master.port);
    vec!["PUBLISH".into(), "__sentinel__:hello".into(), text]
}

/// The reply to GET-MASTER-ADDR-BY-NAME.
fn address(value: &Value) -> Option<Endpoint> {
    let Value::Array(parts) = value else { return None };
    let [host, port] = parts.as_slice() else { return None };
    Some(Endpoint { host: text_of(host)?, port: text_of(port)?.parse().ok()? })
}

const STEP: &str = "tell";
/// For the other Sentinels: one that is silent has no word to lend.
const LOOK: Duration = Duration::from_millis(50);
