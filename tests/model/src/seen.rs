//! How a host sees a server: its connection, the age of what it last replied, and its Pod. The server itself
//! knows nothing of this; a simulator leaves it out, because there a real host looks.

use crate::has::Server;
use crate::says;
use failover_core::contract::{
    Address, Failure, FailureKind, Instance, InstanceKind, Link, LinkState, Nested, Pod, Refusals, Reply,
    Sample, Text, Value,
};
use failover_core::facts::{
    CLIENT_INFO, FUNCTION_LIST, HEARTBEAT, INFO_KEYSPACE, INFO_PERSISTENCE, INFO_REPLICATION, INFO_SERVER,
};

/// The host's view of one server.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The host's connection.
    pub link: Link,
    /// What the newest attempt brought instead of replies.
    pub failure: Option<FailureKind>,
    /// Age of the newest good replies. None: there never was one.
    pub age_us: Option<u64>,
    /// Since when the offset is what it is. None: since the newest sample.
    pub still_us: Option<u64>,
    /// What the orchestrator says.
    pub pod: Option<Pod>,
    /// It is an instance of the observation. A Pod that does not exist is none.
    pub is_listed: bool,
}

impl Default for Seen {
    /// It answered 0.4 ms ago, on a connection of an hour.
    fn default() -> Self {
        let link = Link {
            state: LinkState::Answering,
            state_age_us: 3_600_000_000,
            closed_age_us: None,
            refusals: None,
            alive_age_us: Some(400),
        };
        Self { link, failure: None, age_us: Some(400), still_us: None, pod: None, is_listed: true }
    }
}

impl Seen {
    /// The connection is not what it was, for this long; the last replies are at least as old.
    pub fn lost(&mut self, state: LinkState, age_us: u64, kind: FailureKind) {
        self.link = Link {
            state,
            state_age_us: age_us,
            closed_age_us: None,
            refusals: None,
            alive_age_us: Some(age_us),
        };
        self.failure = Some(kind);
        self.age_us = self.age_us.map(|own| own.max(age_us));
    }

    /// The process ended 2 ms ago: the connection closed, a fresh one was refused.
    pub fn dead(&mut self) {
        self.lost(LinkState::Refused, 2_000, FailureKind::Refused);
        self.link.closed_age_us = Some(2_000);
        self.link.refusals = Some(Refusals { count: 1, first_age_us: 1_500, last_age_us: 1_500 });
    }

    /// It stopped answering this long ago, and its connection stands.
    pub fn hung(&mut self, age_us: u64) {
        self.lost(LinkState::TimedOut, age_us, FailureKind::TimedOut);
    }
}

impl Server {
    /// Its Pod; a Pod in good order where it had none.
    pub fn in_pod(&mut self) -> &mut Pod {
        let (uid, started_us) = (format!("uid-{}", self.id), self.uptime_s.saturating_mul(1_000_000));
        self.seen.pod.get_or_insert_with(|| Pod {
            uid,
            ready: true,
            terminating: false,
            running: true,
            restarts: 0,
            started_age_us: Some(started_us),
            node: Some("node-a".into()),
            node_ready: Some(true),
            zone: None,
            revision: "r1".into(),
            revision_target: "r1".into(),
        })
    }

    /// As an observation has it.
    pub fn instance(&self) -> Instance {
        let seen = &self.seen;
        let sample = |value: Value| seen.age_us.map(|age_us| Sample { value, age_us });
        let text = |text: String| Value::Text(Text { text, truncated: false });
        let failure = seen.failure.map(|kind| Failure {
            kind,
            text: words(kind).into(),
            age_us: seen.link.state_age_us,
        });
        let reply = |command: &str, value: Value| Reply {
            command: command.into(),
            newest: sample(value),
            earlier: None,
            failure: failure.clone(),
        };
        let mut replication = reply(INFO_REPLICATION, text(says::replication(self)));
        replication.earlier =
            seen.still_us.map(|age_us| Sample { value: text(says::replication(self)), age_us });
        let nested = |resp: String| Value::Nested(Nested { resp, truncated: false });
        let fence = says::fence(self).map(|resp| reply("CONFIG GET min-replicas-*", nested(resp)));
        let functions = says::functions(self).map(|resp| reply(FUNCTION_LIST, nested(resp)));
        let save = says::save(self).map(|resp| reply("CONFIG GET s[at][vo][ep]*", nested(resp)));
        let heartbeat = says::heartbeat(self).map(|resp| reply(HEARTBEAT, nested(resp)));
        let client = says::client(self).map(|line| reply(CLIENT_INFO, text(line)));
        let standard = [
            reply(INFO_KEYSPACE, text(says::keyspace(self))),
            reply(INFO_PERSISTENCE, text(says::persistence(self))),
            replication,
            reply(INFO_SERVER, text(says::server(self))),
        ];
        let address = |(host, port): (&String, u16)| Address { host: host.clone(), port };
        Instance {
            id: self.id.clone(),
            kind: InstanceKind::Redis,
            shard: Some(0),
            address: address((&self.host, self.port)),
            aliases: self.aliases.iter().map(|(host, port)| address((host, *port))).collect(),
            link: seen.link,
            replies: client
                .into_iter()
                .chain(fence)
                .chain(heartbeat)
                .chain(save)
                .chain(functions)
                .chain(standard)
                .collect(),
            pod: seen.pod.clone(),
            extras: vec![],
        }
    }
}

/// The words of a failure, as a socket or a server has them.
fn words(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Refused => "Connection refused",
        FailureKind::Reset => "Connection reset by peer",
        FailureKind::Unreachable => "No route to host",
        FailureKind::TimedOut => "no reply in time",
        FailureKind::Unauthorized => "NOAUTH Authentication required.",
        FailureKind::Loading => "LOADING Redis is loading the dataset in memory",
        FailureKind::Busy => {
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
        }
        FailureKind::ErrorReply => "ERR unknown command",
        FailureKind::ProtocolError => "no RESP",
    }
}
