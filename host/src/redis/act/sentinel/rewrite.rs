//! A Sentinel starts anew with one master: what it knew of other replicas and Sentinels is forgotten.
//!
//! REMOVE, MONITOR, SET and a hello of each peer go out in one write, so that clients never see a Sentinel
//! without a master: Sentinel carries out a pipeline before it serves anybody else. `SENTINEL RESET` would do
//! the same within 4 to 7 seconds, in which a dead master stays dead.
//!
//! Of the settings, SENTINEL MASTER shows the four that are set again. It does not show the password, which
//! the host has, and renamed commands, which it has not.

use super::seen::{Seen, peer, place_for, see};
use super::tell::{hello, send};
use super::{Master, Watch, precondition};
use crate::redis::Endpoint;
use crate::redis::act::ActFailure;
use crate::redis::clock::now;
use futures_util::future::join_all;
use std::time::{Duration, Instant};

/// A rewrite that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// How many peers it was taught. The others introduce themselves within two seconds.
    pub peers: usize,
}

/// Rewrites one Sentinel for a master that answers as one.
///
/// # Errors
/// [`ActFailure`]. `Precondition`: the member does not answer as a master, the Sentinel runs a failover, or
/// starts scripts, which would be lost.
pub async fn rewrite(
    watch: &Watch,
    id: &str,
    master: &Master,
    deadline: Instant,
) -> Result<Rewritten, ActFailure> {
    let no = |why: String| precondition(STEP, why);
    let sentinel = watch.sentinel(id).map_err(no)?;
    let until = deadline.min(now() + LOOK);
    let (is_master, looked) = tokio::join!(
        master.must_be_master(STEP, deadline),
        join_all(watch.sentinels.iter().map(|it| see(it, watch.name(), until)))
    );
    is_master?;
    let seen: Vec<Option<&Seen>> = looked.iter().map(|view| view.as_ref().ok()).collect();
    let place = watch.sentinels.iter().position(|it| it.id == sentinel.id).unwrap_or_default();
    // One that watches nothing by that name has no view, and needs none.
    let view = seen[place];
    if view.is_some_and(|view| view.is_failing_over) {
        return Err(no("it runs a failover".into()));
    }
    if view.is_some_and(|view| view.has_scripts) {
        return Err(no(
            "it has a notification-script or a client-reconfig-script, which a rewrite loses".into()
        ));
    }
    // As another Sentinel spells it: it is the spelling that works.
    let to = place_for(view, master)
        .or_else(|why| seen.iter().flatten().find_map(|view| place_for(Some(*view), master).ok()).ok_or(why));
    let to = to.map_err(no)?;
    let names_it = |view: &&&Seen| master.is_at(&view.master);
    let epoch =
        seen.iter().flatten().filter(names_it).map(|view| view.config_epoch).max().unwrap_or_default();
    let others = (0..watch.sentinels.len()).filter(|other| *other != place);
    let peers: Vec<_> = others.filter_map(|other| peer(watch, &seen, other)).collect();
    let mut commands = monitor(watch, &to);
    commands.extend(peers.iter().map(|peer| hello(peer, epoch, watch.name(), &to)));
    match send(sentinel, commands, watch.name(), master, deadline).await {
        Ok(()) => Ok(Rewritten { peers: peers.len() }),
        Err(refused @ ActFailure::Refused { .. }) => {
            // MONITOR may have been refused after REMOVE: better the old master than none.
            if let Some(view) = view
                && see(sentinel, watch.name(), deadline).await.is_err()
            {
                let old = Master { places: vec![view.master.clone()], ..master.clone() };
                send(sentinel, monitor(watch, &view.master), watch.name(), &old, deadline).await?;
            }
            Err(refused)
        }
        Err(failure) => Err(failure),
    }
}

/// REMOVE, MONITOR and SET.
pub(super) fn monitor(watch: &Watch, master: &Endpoint) -> Vec<Vec<String>> {
    let settings = &watch.settings;
    let (name, quorum, port) = (watch.name(), settings.quorum.to_string(), master.port.to_string());
    let pairs = [
        ("down-after-milliseconds", settings.down_after_ms.to_string()),
        ("failover-timeout", settings.failover_timeout_ms.to_string()),
        ("parallel-syncs", settings.parallel_syncs.to_string()),
    ];
    let mut set: Vec<String> = ["SENTINEL", "SET", name].map(str::to_owned).to_vec();
    set.extend(pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]));
    let login = watch.login.as_ref().map(|login| login.sentinel_options()).unwrap_or_default();
    set.extend(login.into_iter().map(str::to_owned));
    vec![
        ["SENTINEL", "REMOVE", name].map(str::to_owned).to_vec(),
        ["SENTINEL", "MONITOR", name, &master.host, &port, &quorum].map(str::to_owned).to_vec(),
        set,
    ]
}

const STEP: &str = "rewrite";
/// For the other Sentinels: one that is silent is not taught, and introduces itself.
const LOOK: Duration = Duration::from_millis(50);
