//! What a Sentinel says of the group now. Reads and parses; must not judge.

use super::{Master, Sentinel, Watch, is_same};
use crate::redis::Endpoint;
use crate::redis::act::text_of;
use crate::redis::clock::now;
use crate::redis::connection::Question;
use crate::redis::probe::{error_text, fields};
use failover_core::facts::Place;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One Sentinel's view of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The master that it names.
    pub master: Endpoint,
    /// The epoch of that.
    pub config_epoch: u64,
    /// The greatest epoch that it shows: that one, and those in which its peers voted.
    pub epoch: u64,
    /// Its peers with a valid address.
    pub peers: Vec<Peer>,
    /// `num-other-sentinels`: all of its peers, which is what it takes a majority of.
    pub peers_claimed: usize,
    /// The replicas that it knows, in its own spelling.
    pub replicas: Vec<Endpoint>,
    /// `SENTINEL MYID`. None: before 6.2.
    pub own_id: Option<String>,
    /// It runs a failover itself.
    pub is_failing_over: bool,
    /// It starts scripts on its events.
    pub has_scripts: bool,
}

/// A Sentinel, as another knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub id: String,
    pub place: Endpoint,
}

/// Asks one Sentinel.
///
/// # Errors
/// Why it gives no view: no answer in time, an error reply, or it watches no master of that name.
pub(super) async fn see(sentinel: &Sentinel, name: &str, deadline: Instant) -> Result<Seen, String> {
    let question = Question::new(&[
        &["SENTINEL", "MASTER", name][..],
        &["SENTINEL", "SENTINELS", name],
        &["SENTINEL", "REPLICAS", name],
        &["SENTINEL", "MYID"],
    ]);
    let replies = sentinel.connection.ask(&question, deadline).await.map_err(|why| why.to_string())?;
    // Only the last may fail: MYID came with 6.2.
    if let Some(why) = replies[..3].iter().find_map(error_text) {
        return Err(why);
    }
    let master = fields(&replies[0]).ok_or("SENTINEL MASTER: no row of fields")?;
    let peers = rows(&replies[1]).ok_or("SENTINEL SENTINELS: no rows of fields")?;
    let replicas = rows(&replies[2]).ok_or("SENTINEL REPLICAS: no rows of fields")?;
    let config_epoch = number(&master, "config-epoch").ok_or("SENTINEL MASTER: no config-epoch")?;
    let voted = peers.iter().filter_map(|peer| number(peer, "voted-leader-epoch"));
    let flags = master.get("flags").map(String::as_str).unwrap_or_default();
    Ok(Seen {
        master: place(&master).ok_or("SENTINEL MASTER: no address")?,
        config_epoch,
        epoch: voted.chain([config_epoch]).max().unwrap_or_default(),
        peers_claimed: number(&master, "num-other-sentinels")
            .and_then(|count| count.try_into().ok())
            .unwrap_or(peers.len()),
        peers: peers
            .iter()
            .filter_map(|peer| Some(Peer { id: peer.get("runid")?.clone(), place: place(peer)? }))
            .filter(|peer| peer.id.len() == ID_LENGTH)
            .collect(),
        replicas: replicas.iter().filter_map(place).collect(),
        own_id: text_of(&replies[3]).filter(|id| id.len() == ID_LENGTH),
        is_failing_over: flags.split(',').any(|flag| flag == "failover_in_progress")
            || master.contains_key("failover-state"),
        has_scripts: master.contains_key("notification-script")
            || master.contains_key("client-reconfig-script"),
    })
}

/// Asks all Sentinels at once. Does not wait for the last ones longer than [`LATECOMERS`] once as many have
/// answered as a majority may need: one that hangs costs no more.
pub(super) async fn see_all(watch: &Watch, deadline: Instant) -> Vec<Result<Seen, String>> {
    let late = || Err("no answer in time".to_owned());
    let mut seen: Vec<Result<Seen, String>> = watch.sentinels.iter().map(|_| late()).collect();
    let ask = |(place, sentinel)| async move { (place, see(sentinel, watch.name(), deadline).await) };
    let mut asked: FuturesUnordered<_> = watch.sentinels.iter().enumerate().map(ask).collect();
    let enough = usize::from(watch.settings.sentinels_desired) / 2 + 1;
    let mut until = deadline;
    while let Ok(Some((place, view))) = tokio::time::timeout_at(until.into(), asked.next()).await {
        seen[place] = view;
        if seen.iter().filter(|view| view.is_ok()).count() >= enough {
            until = until.min(now() + LATECOMERS);
        }
    }
    seen
}

/// Who may speak to this Sentinel: a peer that it knows; if it knows none, another Sentinel of the group,
/// which it then knows as well. None: it is alone.
pub(super) fn speaker(watch: &Watch, seen: &[Option<&Seen>], place: usize) -> Option<Peer> {
    let known = seen[place].and_then(|view| view.peers.first().cloned());
    known.or_else(|| {
        (0..seen.len()).filter(|other| *other != place).find_map(|other| peer(watch, seen, other))
    })
}

/// A Sentinel as its peers know it. None: its id is not known.
pub(super) fn peer(watch: &Watch, seen: &[Option<&Seen>], place: usize) -> Option<Peer> {
    let at = &watch.sentinels[place].place;
    let own_id = seen[place].and_then(|view| view.own_id.clone());
    let rows = || seen.iter().flatten().flat_map(|view| &view.peers);
    let named =
        rows().find(|row| own_id.as_ref().map_or_else(|| is_same(&row.place, at), |id| row.id == *id));
    named.cloned().or_else(|| own_id.map(|id| Peer { id, place: at.clone() }))
}

/// The address under which a Sentinel is told of a master: as it knows that member already, else an address
/// that it need not resolve.
///
/// # Errors
/// Why there is none that it could use.
pub(super) fn place_for(seen: Option<&Seen>, master: &Master) -> Result<Endpoint, String> {
    let known = seen.into_iter().flat_map(|view| [&view.master].into_iter().chain(&view.replicas));
    if let Some(known) = known.into_iter().find(|known| master.is_at(known)) {
        return Ok(known.clone());
    }
    let of = |place: &Endpoint| Place::new(&place.host, place.port);
    // A loopback address is right only for a Sentinel of the same machine: elsewhere it is another server.
    let is_local = seen.is_none_or(|view| of(&view.master).is_nowhere());
    let may_stand = |place: &&Endpoint| is_local || !of(place).is_nowhere();
    // A Sentinel that names its master by a host name resolves names.
    let resolves = seen.is_some_and(|view| !of(&view.master).is_ip());
    let mut places = master.places.iter().filter(may_stand);
    let found = places.clone().find(|place| of(place).is_ip()).or_else(|| places.find(|_| resolves));
    found.cloned().ok_or_else(|| {
        format!("{} has no address that the Sentinel could use: list it by its IP address", master.id)
    })
}

fn rows(value: &Value) -> Option<Vec<BTreeMap<String, String>>> {
    let Value::Array(rows) = value else { return None };
    rows.iter().map(fields).collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> Option<u64> {
    row.get(name)?.parse().ok()
}

/// None: no address, or one that the Sentinel itself calls invalid (port 0).
fn place(row: &BTreeMap<String, String>) -> Option<Endpoint> {
    let port = row.get("port")?.parse().ok().filter(|port| *port != 0)?;
    Some(Endpoint { host: row.get("ip")?.clone(), port })
}

/// Hex digits of an id of Sentinel (`CONFIG_RUN_ID_SIZE`).
pub(super) const ID_LENGTH: usize = 40;
/// Ten times a round trip within a zone.
const LATECOMERS: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_by_its_names() {
        let resp = b"*4\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n$4\r\n6379\r\n";
        let row = fields(&redis::parse_redis_value(resp).unwrap()).unwrap();
        assert_eq!(place(&row), Some(Endpoint { host: "127.0.0.1".into(), port: 6379 }));
        assert!(fields(&Value::Okay).is_none());
    }
}
