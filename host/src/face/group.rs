//! What clients are told of a group: its master, its replicas, in the fields and flags of Sentinel.

use super::resp::Reply;
use crate::contract::{Health, Instance, Member, Value};
use crate::group::Moment;
use failover_core::facts::{ReplicationFacts, ReportedRole, ServerFacts};

/// A group, as clients are told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// None: nobody is master, or nothing is known yet.
    pub master: Option<Node>,
    /// Sorted by member.
    pub replicas: Vec<Node>,
    /// Of the published master.
    pub epoch: u64,
    /// The evidence that the master is lost.
    pub is_master_lost: bool,
    /// An action that replaces the master was sent.
    pub is_in_failover: bool,
    /// `hang-limit-ms`.
    pub hang_limit_ms: u32,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub member: String,
    pub host: String,
    pub port: u16,
    pub run_id: String,
    /// The role that it reports, since when.
    pub role: Option<(ReportedRole, Moment)>,
    /// When it was last heard.
    pub heard: Option<Moment>,
    /// It gives no reply, since when.
    pub down: Option<Moment>,
    pub priority: u64,
    pub offset: u64,
    pub is_announced: bool,
    /// The master that it names, whether that link is up, and for how long it has not been.
    pub follows: Option<(String, u16)>,
    pub is_link_up: bool,
    pub link_down_s: u64,
}

impl Node {
    /// A server as the newest observation shows it, and `before` of what that leaves open.
    pub fn of(
        instance: &Instance,
        member: &Member,
        before: Option<&Self>,
        now: Moment,
        names: Names,
    ) -> Self {
        let (host, port) = place(instance, names);
        let text = |command: &str| {
            let reply = instance.replies.iter().find(|reply| reply.command == command)?;
            match &reply.newest.as_ref()?.value {
                Value::Text(text) => Some(text.text.as_str()),
                Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
            }
        };
        let replication = text("INFO replication").map(ReplicationFacts::parse);
        let run_id = text("INFO server").and_then(|text| ServerFacts::parse(text).run_id.map(str::to_owned));
        let is_down = matches!(member.health, Health::Silent | Health::Dead);
        let since = |age_us: u64| Moment(now.0.saturating_sub(age_us));
        let mut node = before.filter(|before| (&before.host, before.port) == (&host, port)).cloned();
        let node = node.get_or_insert_with(|| Self {
            member: instance.id.clone(),
            host,
            port,
            run_id: String::new(),
            role: None,
            heard: None,
            down: None,
            priority: 100,
            offset: 0,
            is_announced: true,
            follows: None,
            is_link_up: false,
            link_down_s: 0,
        });
        node.heard = instance.link.alive_age_us.map(since).or(node.heard);
        node.down = is_down.then(|| node.down.unwrap_or(now));
        node.run_id = run_id.unwrap_or_else(|| std::mem::take(&mut node.run_id));
        if let Some(facts) = replication.filter(|_| !is_down) {
            if node.role.is_none_or(|(role, _)| role != facts.role) {
                node.role = Some((facts.role, now));
            }
            node.priority = facts.priority.unwrap_or(node.priority);
            node.offset = facts.history.map_or(node.offset, |history| history.offset);
            node.is_announced = facts.is_announced;
            node.follows = facts.master.map(|place| (place.host(), place.port));
            node.is_link_up = facts.link_up == Some(true);
            node.link_down_s = facts.link_down_s.unwrap_or(0);
        }
        node.clone()
    }

    /// Its address, as clients dial it.
    pub fn address(&self) -> String {
        format!("{} {}", self.host, self.port)
    }

    /// Its name among replicas.
    pub fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn is_slave(&self) -> bool {
        !matches!(self.role, Some((ReportedRole::Master, _)))
    }
}

/// Whether servers are announced by name or by address, where both are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// As addresses: what Sentinel does by default, and clients that know no resolver need.
    Addresses,
    /// As names: `announce-hostnames`, for certificates that hold names.
    Hosts,
}

fn place(instance: &Instance, names: Names) -> (String, u16) {
    let is_ip = |host: &str| host.parse::<std::net::IpAddr>().is_ok();
    let own = &instance.address;
    let resolved = instance.aliases.iter().find(|alias| is_ip(&alias.host));
    match (names, resolved) {
        (Names::Addresses, Some(alias)) if !is_ip(&own.host) => (alias.host.clone(), alias.port),
        (Names::Addresses | Names::Hosts, _) => (own.host.clone(), own.port),
    }
}

/// Names and values, in Sentinel's order.
pub(super) struct Fields(Vec<(Reply, Reply)>);

impl Fields {
    pub fn new(name: &str, host: &str, port: u16, run_id: &str, flags: &[&str]) -> Self {
        let mut fields = Self(Vec::with_capacity(24));
        fields.add("name", name).add("ip", host).add("port", port).add("runid", run_id);
        fields.add("flags", flags.join(","));
        fields.add("link-pending-commands", 0).add("link-refcount", 1);
        fields
    }

    pub fn add(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.0.push((Reply::text(name), Reply::text(value.to_string())));
        self
    }

    pub fn heard(&mut self, heard_ms: u64) -> &mut Self {
        self.add("last-ping-sent", 0).add("last-ok-ping-reply", heard_ms).add("last-ping-reply", heard_ms)
    }

    pub fn reply(self) -> Reply {
        Reply::Map(self.0)
    }
}

impl Group {
    /// `SENTINEL MASTER`. None: nobody is master.
    pub fn master_fields(&self, name: &str, faces: usize, now: Moment) -> Option<Reply> {
        let master = self.master.as_ref()?;
        let mut flags = vec![];
        if self.is_master_lost {
            flags.extend(["s_down", "o_down"]);
        } else if master.down.is_some() {
            flags.push("s_down");
        }
        flags.push("master");
        if master.down.is_some() {
            flags.push("disconnected");
        }
        if self.is_in_failover {
            flags.push("failover_in_progress");
        }
        let mut fields = Fields::new(name, &master.host, master.port, &master.run_id, &flags);
        if self.is_in_failover {
            fields.add("failover-state", "wait_promotion");
        }
        fields.heard(ms(master.heard, now));
        let down_ms = ms(master.down, now);
        if flags.contains(&"s_down") {
            fields.add("s-down-time", down_ms);
        }
        if self.is_master_lost {
            fields.add("o-down-time", down_ms);
        }
        fields.add("down-after-milliseconds", self.hang_limit_ms).add("info-refresh", ms(master.heard, now));
        self.role_fields(&mut fields, master, "master", now);
        fields
            .add("config-epoch", self.epoch)
            .add("num-slaves", self.replicas.len())
            .add("num-other-sentinels", faces)
            .add("quorum", 1)
            .add("failover-timeout", FAILOVER_TIMEOUT_MS)
            .add("parallel-syncs", self.replicas.len().max(1));
        Some(fields.reply())
    }

    /// `SENTINEL REPLICAS`.
    pub fn replica_fields(&self, now: Moment) -> Reply {
        let one = |node: &Node| {
            let mut flags = vec![];
            if node.down.is_some() {
                flags.push("s_down");
            }
            flags.push("slave");
            if node.down.is_some() {
                flags.push("disconnected");
            }
            let mut fields = Fields::new(&node.name(), &node.host, node.port, &node.run_id, &flags);
            fields.heard(ms(node.heard, now));
            if node.down.is_some() {
                fields.add("s-down-time", ms(node.down, now));
            }
            fields
                .add("down-after-milliseconds", self.hang_limit_ms)
                .add("info-refresh", ms(node.heard, now));
            self.role_fields(&mut fields, node, "slave", now);
            let (host, port) = node.follows.clone().unwrap_or(("?".into(), 0));
            let is_up = node.is_link_up && node.down.is_none() && node.is_slave();
            fields
                .add("master-link-down-time", if is_up { 0 } else { node.link_down_s.saturating_mul(1000) })
                .add("master-link-status", if is_up { "ok" } else { "err" })
                .add("master-host", host)
                .add("master-port", port)
                .add("slave-priority", node.priority)
                .add("slave-repl-offset", node.offset)
                .add("replica-announced", u8::from(node.is_announced));
            fields.reply()
        };
        Reply::Array(self.replicas.iter().filter(|node| node.is_announced).map(one).collect())
    }

    fn role_fields(&self, fields: &mut Fields, node: &Node, otherwise: &str, now: Moment) {
        let role = match node.role {
            Some((ReportedRole::Master, _)) => "master",
            Some((ReportedRole::Replica, _)) => "slave",
            Some((ReportedRole::Unknown, _)) | None => otherwise,
        };
        fields.add("role-reported", role).add("role-reported-time", ms(node.role.map(|(_, at)| at), now));
    }

    /// The row of `INFO sentinel`.
    pub fn row(&self, number: usize, name: &str, faces: usize) -> Option<String> {
        let master = self.master.as_ref()?;
        let status = match (self.is_master_lost, master.down) {
            (true, _) => "odown",
            (false, Some(_)) => "sdown",
            (false, None) => "ok",
        };
        let (host, port, slaves) = (&master.host, master.port, self.replicas.len());
        Some(format!(
            "master{number}:name={name},status={status},address={host}:{port},slaves={slaves},sentinels={}",
            faces + 1
        ))
    }
}

/// Since then, in milliseconds.
pub(super) fn ms(since: Option<Moment>, now: Moment) -> u64 {
    since.map_or(0, |since| since.age_us(now) / 1000)
}

/// Sentinel's default; no client acts by it.
const FAILOVER_TIMEOUT_MS: u64 = 180_000;
