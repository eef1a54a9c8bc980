//! What a scenario says of the Sentinels: how many there are, how they are to watch the group, and what
//! differs at each.

use super::short::with;
use crate::group::World;
use crate::has::id40;
use crate::sentinel::Sentinel;
use failover_core::contract::{FailureKind, LinkState, SentinelMode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Something that happened to a Sentinel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    /// Its process ended 2 ms ago, and a fresh connection was refused.
    Dead,
    /// No reply for 1.2 s (`for_us`); its connection stands.
    Hung,
    /// No route to it for 0.5 s (`for_us`).
    Unreachable,
    /// It does not let the host ask it: every SENTINEL command is refused.
    Barred,
    /// No instance of the observation: its Pod does not exist.
    Gone,
}

/// The fields of one Sentinel. Absent: as it was.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    is: Option<Word>,
    for_us: Option<u64>,
    /// A server, `host:port`, or `nothing`.
    names: Option<String>,
    /// The tag of the master's `runid` in its row.
    run: Option<String>,
    epoch: Option<u64>,
    flags: Option<Vec<String>>,
    state: Option<String>,
    down_ms: Option<u64>,
    role_ms: Option<u64>,
    tilt_s: Option<u64>,
    peers: Option<Vec<String>>,
    claims: Option<u64>,
    voted_epoch: Option<u64>,
    /// `host:port` each.
    ghosts: Option<Vec<String>>,
    /// The same, which answer it.
    strangers: Option<Vec<String>>,
    quorum: Option<u16>,
    age_us: Option<u64>,
    /// Fields of its Pod that differ from one in good order; `{}` for one in good order.
    pod: Option<Map<String, Value>>,
}

/// Sentinels as the field `sentinels` has them: settings by their names, `all`, and each by its id.
pub(super) fn read(world: &mut World, value: Value) -> Result<(), String> {
    let Value::Object(mut fields) = value else { return Err("it is an object".into()) };
    let text = |error: serde_json::Error| error.to_string();
    let count = fields.remove("count").map_or(Ok(3), usize::deserialize).map_err(text)?;
    let mode = fields.remove("mode").map_or(Ok(SentinelMode::Assisted), SentinelMode::deserialize);
    world.watch(count.min(SENTINELS_MAX), mode.map_err(text)?);
    let all = fields.remove("all");
    let ids: Vec<String> = world.sentinels.iter().map(|sentinel| sentinel.id.clone()).collect();
    let each: Vec<(String, Value)> =
        ids.iter().filter_map(|id| Some((id.clone(), fields.remove(id)?))).collect();
    if let Some(settings) = world.rest.group.sentinel.take() {
        let settings = with(&settings, fields)?;
        world.sentinels.iter_mut().for_each(|sentinel| sentinel.settings = settings.clone());
        world.rest.group.sentinel = Some(settings);
    }
    let of_all = ids.into_iter().filter_map(|id| Some((id, all.clone()?)));
    for (id, value) in of_all.chain(each).collect::<Vec<_>>() {
        apply(world, &id, value).map_err(|error| format!("{id}: {error}"))?;
    }
    Ok(())
}

fn apply(world: &mut World, id: &str, value: Value) -> Result<(), String> {
    let value = if value.is_string() { serde_json::json!({ "is": value }) } else { value };
    let given = Given::deserialize(value).map_err(|error| error.to_string())?;
    let place = given.names.as_ref().map(|name| place(world, name)).transpose()?;
    let Some(sentinel) = world.sentinels.iter_mut().find(|sentinel| sentinel.id == id) else { return Ok(()) };
    if let Some(word) = given.is {
        word.happen(sentinel, given.for_us);
    }
    if let Some(place) = place {
        sentinel.master = place;
    }
    sentinel.master_run_id = given.run.as_deref().map(id40).or(sentinel.master_run_id.take());
    sentinel.epoch = given.epoch.unwrap_or(sentinel.epoch);
    sentinel.flags = given.flags.unwrap_or(std::mem::take(&mut sentinel.flags));
    sentinel.failover_state = given.state.or(sentinel.failover_state.take());
    sentinel.down_ms = given.down_ms.or(sentinel.down_ms);
    sentinel.role_ms = given.role_ms.unwrap_or(sentinel.role_ms);
    sentinel.tilt_s = given.tilt_s.or(sentinel.tilt_s);
    sentinel.peers = given.peers.or(sentinel.peers.take());
    sentinel.claims = given.claims.or(sentinel.claims);
    sentinel.voted_epoch = given.voted_epoch.unwrap_or(sentinel.voted_epoch);
    let places =
        |all: Vec<String>| all.iter().map(|one| super::given::address(one)).collect::<Result<_, _>>();
    if let Some(ghosts) = given.ghosts {
        sentinel.ghosts = places(ghosts)?;
    }
    if let Some(strangers) = given.strangers {
        sentinel.strangers = places(strangers)?;
    }
    sentinel.settings.quorum = given.quorum.unwrap_or(sentinel.settings.quorum);
    sentinel.seen.age_us = given.age_us.or(sentinel.seen.age_us);
    if let Some(fields) = given.pod {
        let pod = world.servers.first_mut().map(|server| server.clone().in_pod().clone());
        let uid = format!("uid-{id}");
        let pod = pod.map(|pod| failover_core::contract::Pod { uid, ..pod });
        sentinel.seen.pod = pod.map(|pod| with(&pod, fields)).transpose()?;
    }
    Ok(())
}

impl Word {
    fn happen(self, sentinel: &mut Sentinel, for_us: Option<u64>) {
        let seen = &mut sentinel.seen;
        match self {
            Self::Dead => seen.dead(),
            Self::Hung => seen.hung(for_us.unwrap_or(1_200_000)),
            Self::Unreachable => {
                seen.lost(LinkState::Unreachable, for_us.unwrap_or(500_000), FailureKind::Unreachable);
            }
            Self::Barred => sentinel.is_barred = true,
            Self::Gone => seen.is_listed = false,
        }
    }
}

fn place(world: &mut World, name: &str) -> Result<Option<(String, u16)>, String> {
    if name == "nothing" {
        return Ok(None);
    }
    match world.find(name) {
        Some(server) => Ok(Some((server.host.clone(), server.port))),
        None => super::given::address(name)
            .map(Some)
            .map_err(|_| format!("names: {name} is neither a server, host:port nor nothing")),
    }
}

const SENTINELS_MAX: usize = 30;
