//! A command of a client to its reply. Reads; changes nothing but the client's own session, and asks for a
//! switchover where that is allowed.

use super::glob;
use super::group::{Fields, Group, Node, ms};
use super::peers::Known;
use super::resp::Reply;
use crate::group::Moment;
use std::collections::BTreeSet;

/// One client's connection.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    /// Of the protocol.
    pub version: u8,
    is_logged_in: bool,
    name: String,
    channels: BTreeSet<String>,
    patterns: BTreeSet<String>,
}

/// What a command is answered from.
pub(super) trait Desk {
    /// The group that clients know by this name.
    fn group(&self, name: &str) -> Option<Group>;
    /// All groups, by these names.
    fn groups(&self) -> Vec<(String, Group)>;
    /// The present moment of these groups.
    fn now(&self) -> Moment;
    /// This face's identity among others: forty hexadecimal digits.
    fn id(&self) -> &str;
    /// Other faces.
    fn peers(&self) -> Vec<Known>;
    /// Whether user and password are right. None: no login is wanted.
    fn admits(&self, login: Option<(&str, &str)>) -> Option<bool>;
    /// Asks for a planned change of master. None: that is not allowed here. The error is why it cannot be.
    fn switch_over(&self, name: &str) -> Option<Result<(), String>>;
    /// How many clients are connected.
    fn clients(&self) -> usize;
}

/// What becomes of the connection after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    Close,
}

impl Session {
    /// A new connection.
    pub fn new(id: u64, desk: &impl Desk) -> Self {
        Self {
            id,
            version: 2,
            is_logged_in: desk.admits(None).is_none(),
            name: String::new(),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
        }
    }

    /// Whether it has logged in, or need not.
    pub fn is_logged_in(&self) -> bool {
        self.is_logged_in
    }

    /// It waits for events.
    pub fn is_subscribed(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    /// What it is sent of an event: once for the channel, and once for each pattern.
    pub fn pushes(&self, channel: &str, message: &str) -> Vec<Reply> {
        let push = |words: &[&str]| Reply::Push(words.iter().map(|word| Reply::text(*word)).collect());
        let by_name = self.channels.contains(channel).then(|| push(&["message", channel, message]));
        let patterns = self.patterns.iter().filter(|pattern| glob::matches(pattern, channel));
        let by_pattern = patterns.map(|pattern| push(&["pmessage", pattern, channel, message]));
        by_name.into_iter().chain(by_pattern).collect()
    }

    /// Answers a command.
    pub fn answer(&mut self, words: &[String], desk: &impl Desk) -> (Vec<Reply>, Next) {
        let upper: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
        let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
        let Some(&name) = upper.first() else { return (vec![], Next::Stay) };
        if !self.is_logged_in && !["AUTH", "HELLO", "QUIT", "RESET"].contains(&name) {
            return (vec![Reply::Error("NOAUTH Authentication required.".into())], Next::Stay);
        }
        let is_of_subscribers =
            ["SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "PING", "QUIT", "RESET"]
                .contains(&name);
        if self.version == 2 && self.is_subscribed() && !is_of_subscribers {
            let text = format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                 allowed in this context",
                name.to_ascii_lowercase()
            );
            return (vec![Reply::Error(text)], Next::Stay);
        }
        let reply = match upper.as_slice() {
            ["QUIT", ..] => return (vec![OK], Next::Close),
            ["SUBSCRIBE" | "PSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE", ..] => {
                return (self.subscribe(name, &words[1..]), Next::Stay);
            }
            ["PING"] if self.version == 2 && self.is_subscribed() => {
                Reply::texts(["pong".into(), String::new()])
            }
            ["PING", _] if self.version == 2 && self.is_subscribed() => {
                Reply::texts(["pong".into(), words[1].clone()])
            }
            ["PING"] => Reply::Status("PONG"),
            ["PING", _] => Reply::text(&words[1]),
            ["RESET"] => {
                *self = Self::new(self.id, desk);
                Reply::Status("RESET")
            }
            ["AUTH", _] => self.log_in("default", &words[1], desk),
            ["AUTH", _, _] => self.log_in(&words[1], &words[2], desk),
            ["HELLO", ..] => self.hello(words, &upper, desk),
            ["CLIENT", ..] => self.client(words, &upper),
            ["COMMAND", "DOCS", ..] => Reply::Map(vec![]),
            ["COMMAND", "COUNT"] => Reply::Integer(0),
            ["COMMAND", ..] => Reply::Array(vec![]),
            ["INFO", sections @ ..] => Reply::Text(info(sections, desk)),
            ["ROLE"] => {
                let names = desk.groups().into_iter().map(|(name, _)| name);
                Reply::Array(vec![Reply::text("sentinel"), Reply::texts(names)])
            }
            ["SENTINEL", ..] => sentinel(words, &upper, desk),
            ["PUBLISH", ..] => refused("PUBLISH"),
            _ => {
                let rest: String = words[1..].iter().take(16).map(|word| format!("'{word:.128}' ")).collect();
                Reply::Error(format!(
                    "ERR unknown command '{:.128}', with args beginning with: {rest}",
                    words[0]
                ))
            }
        };
        (vec![reply], Next::Stay)
    }

    fn log_in(&mut self, user: &str, password: &str, desk: &impl Desk) -> Reply {
        match desk.admits(Some((user, password))) {
            None => Reply::Error(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                 your configuration is correct?"
                    .into(),
            ),
            Some(true) => {
                self.is_logged_in = true;
                OK
            }
            Some(false) => {
                Reply::Error("WRONGPASS invalid username-password pair or user is disabled.".into())
            }
        }
    }

    fn hello(&mut self, words: &[String], upper: &[&str], desk: &impl Desk) -> Reply {
        let version = match upper.get(1) {
            None => self.version,
            Some(&"2") => 2,
            Some(&"3") => 3,
            Some(_) => return Reply::Error("NOPROTO unsupported protocol version".into()),
        };
        let mut at = 2;
        while at < words.len() {
            match upper[at] {
                "AUTH" if at + 2 < words.len() => {
                    let reply = self.log_in(&words[at + 1], &words[at + 2], desk);
                    if reply != OK {
                        return reply;
                    }
                    at += 3;
                }
                "SETNAME" if at + 1 < words.len() => {
                    self.name.clone_from(&words[at + 1]);
                    at += 2;
                }
                _ => return Reply::Error(format!("ERR Syntax error in HELLO option '{:.64}'", words[at])),
            }
        }
        if !self.is_logged_in {
            return Reply::Error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                 <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
                 RESP protocol version at the same time"
                    .into(),
            );
        }
        self.version = version;
        let id = i64::try_from(self.id).unwrap_or(i64::MAX);
        let text = |name: &str, value: Reply| (Reply::text(name), value);
        Reply::Map(vec![
            text("server", Reply::text("redis")),
            text("version", Reply::text(VERSION)),
            text("proto", Reply::Integer(version.into())),
            text("id", Reply::Integer(id)),
            text("mode", Reply::text("sentinel")),
            text("role", Reply::text("master")),
            text("modules", Reply::Array(vec![])),
        ])
    }

    fn client(&mut self, words: &[String], upper: &[&str]) -> Reply {
        match upper {
            ["CLIENT", "SETNAME", _] => {
                self.name.clone_from(&words[2]);
                OK
            }
            ["CLIENT", "GETNAME"] if self.name.is_empty() => Reply::NoText,
            ["CLIENT", "GETNAME"] => Reply::text(&self.name),
            ["CLIENT", "ID"] => Reply::Integer(i64::try_from(self.id).unwrap_or(i64::MAX)),
            ["CLIENT", "SETINFO", _, _] | ["CLIENT", "NO-EVICT" | "NO-TOUCH", _] => OK,
            _ => {
                let word = words.get(1).map_or("", String::as_str);
                Reply::Error(format!("ERR unknown subcommand '{word:.128}'. Try CLIENT HELP."))
            }
        }
    }

    /// One reply for each channel or pattern, with how many there are now.
    fn subscribe(&mut self, command: &str, names: &[String]) -> Vec<Reply> {
        let kind = command.to_ascii_lowercase();
        let is_pattern = command.starts_with('P');
        let is_end = command.contains("UNSUB");
        let own = if is_pattern { &self.patterns } else { &self.channels };
        let names = if is_end && names.is_empty() { own.iter().cloned().collect() } else { names.to_vec() };
        if names.is_empty() && !is_end {
            let text = format!("ERR wrong number of arguments for '{kind}' command");
            return vec![Reply::Error(text)];
        }
        let reply = |name: Reply, count: usize| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            Reply::Push(vec![Reply::text(&kind), name, Reply::Integer(count)])
        };
        if names.is_empty() {
            return vec![reply(Reply::NoText, self.channels.len() + self.patterns.len())];
        }
        let mut replies = vec![];
        for name in names {
            let is_more = !is_end && self.channels.len() + self.patterns.len() >= SUBSCRIPTIONS_MAX;
            if is_more || name.len() > CHANNEL_BYTES_MAX {
                let text = format!("ERR at most {SUBSCRIPTIONS_MAX} channels of {CHANNEL_BYTES_MAX} bytes");
                replies.push(Reply::Error(text));
                break;
            }
            let own = if is_pattern { &mut self.patterns } else { &mut self.channels };
            if is_end {
                own.remove(&name);
            } else {
                own.insert(name.clone());
            }
            replies.push(reply(Reply::Text(name), self.channels.len() + self.patterns.len()));
        }
        replies
    }
}

fn sentinel(words: &[String], upper: &[&str], desk: &impl Desk) -> Reply {
    let (faces, now) = (desk.peers().len(), desk.now());
    let find = |name: &String| desk.group(name);
    let unknown = || Reply::Error("ERR No such master with that name".into());
    match upper {
        ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", _] => match find(&words[2]).and_then(|group| group.master) {
            Some(master) => Reply::texts([master.host, master.port.to_string()]),
            None => Reply::NoArray,
        },
        ["SENTINEL", "MASTERS"] => {
            let groups = desk.groups();
            let masters = groups.iter().filter_map(|(name, group)| group.master_fields(name, faces, now));
            Reply::Array(masters.collect())
        }
        ["SENTINEL", "MASTER", _] => {
            let fields = find(&words[2]).and_then(|group| group.master_fields(&words[2], faces, now));
            fields.unwrap_or_else(unknown)
        }
        ["SENTINEL", "REPLICAS" | "SLAVES", _] => {
            find(&words[2]).map_or_else(unknown, |group| group.replica_fields(now))
        }
        ["SENTINEL", "SENTINELS", _] => match find(&words[2]) {
            Some(group) => Reply::Array(
                desk.peers().iter().map(|peer| peer_fields(peer, group.hang_limit_ms, now)).collect(),
            ),
            None => unknown(),
        },
        ["SENTINEL", "CKQUORUM", _] => match find(&words[2]) {
            Some(_) => {
                Reply::Status("OK 1 usable Sentinels. Quorum and failover authorization can be reached")
            }
            None => unknown(),
        },
        ["SENTINEL", "MYID"] => Reply::text(desk.id()),
        // It has no vote, and what it knows of a master is in the fields.
        ["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", _, _, _, _] => {
            Reply::Array(vec![Reply::Integer(0), Reply::text("*"), Reply::Integer(0)])
        }
        ["SENTINEL", "CONFIG", "GET", patterns @ ..] if !patterns.is_empty() => {
            let is_one = |pattern: &String, name| glob::matches(&pattern.to_ascii_lowercase(), name);
            let found = CONFIG.iter().filter(|(name, _)| words[3..].iter().any(|it| is_one(it, name)));
            Reply::Map(found.map(|(name, value)| (Reply::text(*name), Reply::text(*value))).collect())
        }
        ["SENTINEL", "INFO-CACHE" | "PENDING-SCRIPTS", ..] => Reply::Array(vec![]),
        ["SENTINEL", "FAILOVER", _] | ["SENTINEL", "FAILOVER", _, "COORDINATED"] => match find(&words[2]) {
            Some(group) => fail_over(&words[2], &group, desk),
            None => unknown(),
        },
        [
            "SENTINEL",
            name @ ("MONITOR" | "REMOVE" | "SET" | "RESET" | "FLUSHCONFIG" | "SIMULATE-FAILURE"),
            ..,
        ]
        | ["SENTINEL", name @ "CONFIG", "SET", ..] => refused(&format!("SENTINEL {name}")),
        _ => {
            let word = words.get(1).map_or("", String::as_str);
            Reply::Error(format!(
                "ERR unknown subcommand or wrong number of arguments for '{word:.128}'. Try SENTINEL HELP."
            ))
        }
    }
}

/// A handover without loss, where Sentinel would promote a replica and tell the master later.
fn fail_over(name: &str, group: &Group, desk: &impl Desk) -> Reply {
    let may_stand = |replica: &Node| replica.down.is_none() && replica.priority > 0;
    if group.is_in_failover {
        return Reply::Error("INPROG Failover already in progress".into());
    }
    if !group.replicas.iter().any(may_stand) {
        return Reply::Error("NOGOODSLAVE No suitable replica to promote".into());
    }
    match desk.switch_over(name) {
        Some(Ok(())) => OK,
        Some(Err(text)) => Reply::Error(format!("ERR {text}")),
        None => Reply::Error(
            "ERR SENTINEL FAILOVER is not allowed at this endpoint: ask the operator for a switchover, or allow \
             it there"
                .into(),
        ),
    }
}

fn peer_fields(Known { peer, id, answered, down }: &Known, hang_limit_ms: u32, now: Moment) -> Reply {
    let flags: &[&str] = if down.is_some() { &["s_down", "sentinel", "disconnected"] } else { &["sentinel"] };
    let mut fields = Fields::new(id, &peer.host, peer.port, id, flags);
    let answered_ms = ms(*answered, now);
    fields.heard(answered_ms);
    if down.is_some() {
        fields.add("s-down-time", ms(*down, now));
    }
    fields
        .add("down-after-milliseconds", hang_limit_ms)
        .add("last-hello-message", answered_ms)
        .add("voted-leader", "?")
        .add("voted-leader-epoch", 0);
    fields.reply()
}

fn refused(command: &str) -> Reply {
    Reply::Error(format!(
        "ERR {command} has no effect here: this endpoint shows what redis-operator does, and is configured there"
    ))
}

fn info(sections: &[&str], desk: &impl Desk) -> String {
    let has = |name: &str| {
        sections.is_empty()
            || sections.iter().any(|section| ["ALL", "DEFAULT", "EVERYTHING", name].contains(section))
    };
    let mut parts: Vec<String> = vec![];
    if has("SERVER") {
        parts.push(format!(
            "# Server\r\nredis_version:{VERSION}\r\nredis_mode:sentinel\r\nrun_id:{}\r\nredis_operator_version:{}\r\n",
            desk.id(),
            env!("CARGO_PKG_VERSION")
        ));
    }
    if has("CLIENTS") {
        parts.push(format!("# Clients\r\nconnected_clients:{}\r\n", desk.clients()));
    }
    if has("SENTINEL") {
        let (groups, faces) = (desk.groups(), desk.peers().len());
        let named: Vec<_> = groups.iter().filter(|(_, group)| group.master.is_some()).collect();
        let rows =
            named.iter().enumerate().filter_map(|(number, (name, group))| group.row(number, name, faces));
        let rows: String = rows.map(|row| row + "\r\n").collect();
        parts.push(format!(
            "# Sentinel\r\nsentinel_masters:{}\r\nsentinel_tilt:0\r\nsentinel_tilt_since_seconds:-1\r\n\
             sentinel_running_scripts:0\r\nsentinel_scripts_queue_length:0\r\n\
             sentinel_simulate_failure_flags:0\r\n{rows}",
            named.len()
        ));
    }
    parts.join("\r\n")
}

const OK: Reply = Reply::Status("OK");
/// Whose Sentinel it speaks like: clients choose their commands by it.
const VERSION: &str = "7.2.0";
/// Of Sentinel's configuration, what a client may read.
const CONFIG: &[(&str, &str)] = &[
    ("announce-hostnames", "no"),
    ("announce-ip", ""),
    ("announce-port", "0"),
    ("resolve-hostnames", "no"),
    ("sentinel-user", ""),
];
/// A client library has a handful.
const SUBSCRIPTIONS_MAX: usize = 64;
const CHANNEL_BYTES_MAX: usize = 256;
