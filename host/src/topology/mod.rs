//! The facts about topologies that the host needs: the standard commands, the fingerprint of a reply, and the
//! allowed commands and directives. One file per topology. Must not choose or judge.

pub mod allowed;
mod replication;
pub mod sentinel;

use crate::contract::{InstanceKind, Topology, Value, Want};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The commands of every probe of an instance, as words: the standard ones, then those that policies want for
/// its kind.
pub fn commands(topology: Topology, kind: InstanceKind, wants: &[Want]) -> Vec<Vec<String>> {
    let words = |command: &&str| command.split(' ').map(str::to_owned).collect();
    let mut commands: Vec<Vec<String>> = standard_commands(kind).iter().map(words).collect();
    for want in wants.iter().filter(|want| want.topology == topology && want.kind == kind) {
        if !commands.contains(&want.arguments) {
            commands.push(want.arguments.clone());
        }
    }
    commands
}

/// The commands of every probe, as the Observation writes them. Guard and host need their replies.
pub fn standard_commands(kind: InstanceKind) -> &'static [&'static str] {
    match kind {
        InstanceKind::Redis => &replication::COMMANDS,
        InstanceKind::Sentinel => &["INFO server"],
    }
}

/// Facts about a reply that the host needs besides its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// A hash of everything that a decision may turn on, except offsets, lags and ages: those change all the
    /// time in a healthy group. The whole text of a reply that the host does not know.
    pub fingerprint: u64,
    /// The replication offset, if the reply shows one.
    pub offset: Option<u64>,
}

/// Parses a reply.
pub fn shown(command: &str, value: &Value) -> Shown {
    let mut hasher = DefaultHasher::new();
    let offset = match value {
        Value::Text(text) => replication::read(command, &text.text, &mut hasher).unwrap_or_else(|| {
            text.text.hash(&mut hasher);
            None
        }),
        Value::Integer(integer) => {
            integer.number.hash(&mut hasher);
            None
        }
        Value::Nil(nil) => {
            nil.of.hash(&mut hasher);
            None
        }
        Value::Nested(nested) => {
            sentinel::read(command, &nested.resp, &mut hasher)
                .unwrap_or_else(|| nested.resp.hash(&mut hasher));
            None
        }
    };
    Shown { fingerprint: hasher.finish(), offset }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Nested, Text};

    fn text(text: &str) -> Value {
        Value::Text(Text { text: text.into(), truncated: false })
    }

    #[test]
    fn a_want_is_asked_of_its_kind_only_and_once() {
        let want = |kind, command: &str| Want {
            topology: Topology::Sentinel,
            kind,
            arguments: command.split(' ').map(str::to_owned).collect(),
        };
        let wants = [
            want(InstanceKind::Redis, "ROLE"),
            want(InstanceKind::Sentinel, "SENTINEL MASTERS"),
            want(InstanceKind::Redis, "ROLE"),
            want(InstanceKind::Redis, "INFO server"),
        ];
        let of = |topology, kind| {
            let commands = commands(topology, kind, &wants);
            commands.iter().map(|words| words.join(" ")).collect::<Vec<_>>()
        };
        let redis = ["INFO replication", "INFO server", "INFO persistence", "INFO keyspace"];
        assert_eq!(of(Topology::Sentinel, InstanceKind::Redis), [&redis[..], &["ROLE"]].concat());
        assert_eq!(of(Topology::Sentinel, InstanceKind::Sentinel), ["INFO server", "SENTINEL MASTERS"]);
        assert_eq!(of(Topology::Replication, InstanceKind::Redis), redis);
    }

    #[test]
    fn a_wanted_reply_counts_whole_and_a_moving_offset_does_not() {
        let nested = |resp: &str| Value::Nested(Nested { resp: resp.into(), truncated: false });
        let config = |to: &str| shown("CONFIG GET min-replicas-*", &nested(to)).fingerprint;
        assert_ne!(config("*2 1"), config("*2 0"));
        assert_ne!(
            shown("CLUSTER NODES", &text("a")).fingerprint,
            shown("CLUSTER NODES", &text("b")).fingerprint
        );
        let master = |offset: u64| {
            let rows =
                format!("role:master\r\nmaster_replid:{}\r\nmaster_repl_offset:{offset}\r\n", "a".repeat(40));
            shown("INFO replication", &text(&rows))
        };
        assert_eq!((master(1).fingerprint, master(1).offset), (master(2).fingerprint, Some(1)));
    }
}
