//! What a scenario says of one server: words for what happened to it, then fields that differ.

use crate::group::World;
use crate::has::{Dialect, Role, Row, id40};
use failover_core::contract::{FailureKind, LinkState, Pod, Refusals};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Something that happened to a server, and what the others make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Its process ended 2 ms ago (`for_us`): the connection closed, a fresh one was refused, and its
    /// replicas' links are down.
    Dead,
    /// Its connection ended 0.7 ms ago, and no new attempt has ended yet; its replicas' links are down.
    Closed,
    /// It stands still for 1.2 s (`for_us`): no reply, no byte on its replicas' links, which stay up.
    Hung,
    /// No route to it for 0.5 s (`for_us`).
    Unreachable,
    /// It has wanted another password for 5 s (`for_us`).
    Locked,
    /// A script has kept it busy for 5 s (`for_us`).
    Busy,
    /// It has answered LOADING and nothing else for 5 s (`for_us`).
    Reloading,
    /// It answers INFO, and loads its data: `loading:1`.
    Loading,
    /// No connection to it was ever made; two were refused, 6 ms and 0.9 ms ago. Its replicas' links are
    /// down.
    NeverSeen,
    /// No instance of the observation: its Pod does not exist. Its replicas' links are down.
    Gone,
    /// A new process without data, up for 1 s; role and link as before.
    Restarted,
    /// A new process with an RDB file, up for 1 s: history, offset and keys as before.
    RestartedWithRdb,
    /// A new process with AOF, up for 1 s: a new history at offset 1, all its keys.
    RestartedWithAof,
    /// No data, a history of its own at offset 0.
    Empty,
    /// It says master, whatever it was.
    Master,
    /// A replica of itself, as the operator starts every Redis that knows no master.
    OwnReplica,
    /// A replica that never had data: a history of its own at offset 1, its link never up.
    NeverSynced,
    /// The deletion of its Pod was requested.
    Terminating,
    /// Its container has ended; nothing was heard of it for 0.3 s, and its replicas' links stand.
    Terminated,
}

/// The fields that a server may have in `given`. Absent: as the base and the words have it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    /// What happened to it.
    is: Option<serde_json::Value>,
    /// For how long the word holds, where it has a time.
    for_us: Option<u64>,
    /// Its id in the observation, where it is another than the name that it has here.
    id: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    /// `host:port` each.
    aliases: Option<Vec<String>>,
    version: Option<Dialect>,
    mode: Option<String>,
    /// Makes it a replica of this server or `host:port`.
    follows: Option<String>,
    /// How the link to its master is.
    link: Option<LinkWord>,
    /// `master_link_down_since_seconds`; the link is down.
    link_down_s: Option<u64>,
    /// `master_last_io_seconds_ago`.
    last_io_s: Option<u64>,
    /// The tag of its `run_id`.
    run: Option<String>,
    uptime_s: Option<u64>,
    /// The tag of its `master_replid`.
    history: Option<String>,
    /// `TAG@OFFSET`: the history before, and the last offset that it shares.
    former: Option<String>,
    offset: Option<u64>,
    priority: Option<u64>,
    keys: Option<u64>,
    loading: Option<bool>,
    aof: Option<bool>,
    loaded: Option<u64>,
    announced: Option<bool>,
    in_failover: Option<bool>,
    /// `repl-ping-replica-period`.
    heartbeat_s: Option<u64>,
    /// `host:port`: its own end of the operator's connection.
    own_end: Option<String>,
    good_replicas: Option<u64>,
    /// Rows of attached replicas, `host:port state offset lag`; one of a member replaces its own.
    attached: Option<Vec<String>>,
    /// `min-replicas-to-write` and `min-replicas-max-lag`.
    fence: Option<(u32, u32)>,
    /// Libraries of functions.
    libraries: Option<usize>,
    /// `save` and `stop-writes-on-bgsave-error`.
    save: Option<(String, String)>,
    /// INFO rows in other words; null leaves one out.
    rows: Option<BTreeMap<String, Option<String>>>,
    /// Age of its newest replies.
    age_us: Option<u64>,
    /// Since when its offset stands still.
    still_us: Option<u64>,
    /// Fields of its Pod that differ from one in good order; `{}` for one in good order.
    pod: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LinkWord {
    Up,
    Down,
    /// There was never one.
    Never,
    /// A copy is under way.
    Syncing,
}

impl Given {
    /// Of the value that stands at a server's name: a word, several, or fields.
    pub(super) fn parse(value: serde_json::Value) -> Result<Self, String> {
        if value.is_object() {
            return Self::deserialize(value).map_err(|error| error.to_string());
        }
        Ok(Self { is: Some(value), ..Self::default() })
    }

    pub(super) fn words(&self) -> Result<Vec<Word>, String> {
        let Some(is) = &self.is else { return Ok(vec![]) };
        let one = |value: &serde_json::Value| Word::deserialize(value).map_err(|error| error.to_string());
        match is {
            serde_json::Value::Array(words) => words.iter().map(one).collect(),
            word => Ok(vec![one(word)?]),
        }
    }

    /// Its addresses, which others may name.
    pub(super) fn place(&self, world: &mut World, id: &str) -> Result<(), String> {
        let server = world.at(id);
        server.host = self.host.clone().unwrap_or_else(|| server.host.clone());
        server.port = self.port.unwrap_or(server.port);
        if let Some(aliases) = &self.aliases {
            server.aliases = aliases.iter().map(|alias| address(alias)).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// What happened to it.
    pub(super) fn happen(&self, world: &mut World, id: &str) -> Result<(), String> {
        self.words()?.into_iter().for_each(|word| word.happen(world, id, self.for_us));
        Ok(())
    }

    /// What differs, field by field.
    pub(super) fn apply(self, world: &mut World, id: &str) -> Result<(), String> {
        if let Some(master) = &self.follows {
            let (host, port) = match world.find(master) {
                Some(master) => (master.host.clone(), master.port),
                None => address(master)
                    .map_err(|_| format!("follows: {master} is neither a server nor host:port"))?,
            };
            world.at(id).follow(&host, port);
        }
        let server = world.at(id);
        if let Some(master) = server.master_link() {
            if let Some(link) = self.link {
                (master.up, master.syncing, master.last_io_s, master.down_s) = match link {
                    LinkWord::Up => (true, false, Some(0), None),
                    LinkWord::Down => (false, false, None, Some(0)),
                    LinkWord::Never => (false, false, None, None),
                    LinkWord::Syncing => (false, true, None, None),
                };
                server.seen.still_us = None;
            }
        } else if self.link.is_some() || self.link_down_s.is_some() || self.last_io_s.is_some() {
            return Err("link: it follows no master".into());
        }
        if let Some(seconds) = self.link_down_s {
            server.link_down(seconds);
        }
        if let (Some(link), Some(seconds)) = (server.master_link(), self.last_io_s) {
            link.last_io_s = Some(seconds);
        }
        if let Some(former) = self.former {
            let (tag, end) = former.split_once('@').ok_or("former: it is TAG@OFFSET")?;
            let end = end.parse().map_err(|_| format!("former: {end} is no offset"))?;
            server.former = Some((id40(tag), end));
        }
        if let Some(rows) = self.attached {
            server.attached = rows.iter().map(|text| row(text)).collect::<Result<_, _>>()?;
        }
        set(&mut server.id, self.id);
        set(&mut server.dialect, self.version);
        set(&mut server.mode, self.mode);
        set(&mut server.run_id, self.run.as_deref().map(id40));
        set(&mut server.uptime_s, self.uptime_s);
        set(&mut server.replid, self.history.as_deref().map(id40));
        set(&mut server.offset, self.offset);
        set(&mut server.priority, self.priority);
        set(&mut server.keys, self.keys);
        set(&mut server.loading, self.loading);
        set(&mut server.aof, self.aof);
        set(&mut server.loaded, self.loaded);
        set(&mut server.announced, self.announced);
        set(&mut server.in_failover, self.in_failover);
        set(&mut server.rows, self.rows);
        server.good_replicas = self.good_replicas.or(server.good_replicas);
        server.fence = self.fence.or(server.fence);
        server.libraries = self.libraries.or(server.libraries);
        server.save = self.save.or(server.save.take());
        server.heartbeat_s = self.heartbeat_s.or(server.heartbeat_s);
        server.own_end = self.own_end.or(server.own_end.take());
        server.seen.age_us = self.age_us.or(server.seen.age_us);
        server.seen.still_us = self.still_us.or(server.seen.still_us);
        if let Some(fields) = self.pod {
            *server.in_pod() = pod(server.in_pod(), fields)?;
        }
        Ok(())
    }
}

impl Word {
    fn happen(self, world: &mut World, id: &str, for_us: Option<u64>) {
        let mut lost = |state, usual_us, kind| {
            world.at(id).seen.lost(state, for_us.unwrap_or(usual_us), kind);
        };
        match self {
            Self::Dead => {
                world.kill(id);
                if let Some(age_us) = for_us {
                    let seen = &mut world.at(id).seen;
                    seen.lost(LinkState::Refused, age_us, FailureKind::Refused);
                    seen.link.closed_age_us = Some(age_us);
                    // A fresh attempt every few milliseconds.
                    let count = u16::try_from(age_us / 3_000).unwrap_or(u16::MAX).max(1);
                    let last_age_us = age_us.min(900);
                    seen.link.refusals = Some(Refusals { count, first_age_us: age_us, last_age_us });
                }
            }
            Self::Closed => {
                world.kill(id);
                let age_us = for_us.unwrap_or(700);
                let seen = &mut world.at(id).seen;
                seen.lost(LinkState::Closed, age_us, FailureKind::Reset);
                seen.link.closed_age_us = Some(age_us);
                seen.link.alive_age_us = Some(age_us + 200);
            }
            Self::Hung => world.hang(id, for_us.unwrap_or(1_200_000)),
            Self::Unreachable => lost(LinkState::Unreachable, 500_000, FailureKind::Unreachable),
            Self::Locked => lost(LinkState::Unauthorized, 5_000_000, FailureKind::Unauthorized),
            Self::Busy => lost(LinkState::Busy, 5_000_000, FailureKind::Busy),
            Self::Reloading => lost(LinkState::Loading, 5_000_000, FailureKind::Loading),
            Self::Loading => world.at(id).loading = true,
            Self::NeverSeen => {
                world.kill(id);
                let seen = &mut world.at(id).seen;
                seen.lost(LinkState::Refused, 6_000, FailureKind::Refused);
                let first_age_us = for_us.unwrap_or(6_000);
                seen.link.refusals = Some(Refusals { count: 2, first_age_us, last_age_us: 900 });
                (seen.link.alive_age_us, seen.age_us) = (None, None);
            }
            Self::Gone => {
                world.replicas_of(id).for_each(|replica| _ = replica.link_down(0));
                world.at(id).seen.is_listed = false;
            }
            Self::Restarted => _ = world.at(id).restart(1),
            Self::RestartedWithRdb => world.at(id).restart_with_rdb(1),
            Self::RestartedWithAof => _ = world.at(id).restart_with_aof(1),
            Self::Empty => {
                let server = world.at(id);
                server.history(&own(id), 0).keys = 0;
            }
            Self::Master => world.at(id).role = Role::Master,
            Self::OwnReplica => _ = world.at(id).follow_itself(),
            Self::NeverSynced => {
                let server = world.at(id);
                server.history(&own(id), 1).keys = 0;
                if let Some(link) = server.master_link() {
                    (link.up, link.last_io_s, link.down_s) = (false, None, None);
                }
            }
            Self::Terminating => world.at(id).in_pod().terminating = true,
            Self::Terminated => {
                world.at(id).in_pod().running = false;
                world.at(id).seen.hung(for_us.unwrap_or(300_000));
            }
        }
    }
}

/// The tag of a server's history of its own.
fn own(id: &str) -> String {
    format!("own-{}", id.rsplit_once('-').map_or(id, |(_, number)| number))
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

pub(super) fn address(text: &str) -> Result<(String, u16), String> {
    let invalid = || format!("{text} is not host:port");
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    Ok((host.to_owned(), port.parse().map_err(|_| invalid())?))
}

/// `host:port state offset lag`.
fn row(text: &str) -> Result<Row, String> {
    let invalid = || format!("attached: {text} is not `host:port state offset lag`");
    let [place, state, offset, lag] = text.split(' ').collect::<Vec<_>>()[..] else { return Err(invalid()) };
    let (host, port) = address(place).map_err(|_| invalid())?;
    let (offset, lag_s) = (offset.parse().map_err(|_| invalid())?, lag.parse().map_err(|_| invalid())?);
    Ok(Row { host, port, state: state.into(), offset, lag_s })
}

/// A Pod with some fields otherwise.
fn pod(pod: &Pod, fields: serde_json::Map<String, serde_json::Value>) -> Result<Pod, String> {
    super::short::with(pod, fields).map_err(|error| format!("pod: {error}"))
}
