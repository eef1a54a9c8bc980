//! The few facts about topologies that the host itself needs: the replies that it always asks for, what a decision
//! may turn on in a reply, and what may be sent at all. A topology is a file here. Must not choose or judge.

pub mod allowed;
mod replication;

use crate::contract::{InstanceKind, Topology, Value, Want};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The commands of every probe of an instance, as words: the standard ones first, then those that policies want
/// of its kind.
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

/// What every probe asks, in the words of the observation: what guard and host themselves rest on.
pub fn standard_commands(kind: InstanceKind) -> &'static [&'static str] {
    match kind {
        InstanceKind::Redis => &replication::COMMANDS,
        InstanceKind::Sentinel => &["INFO server"],
    }
}

/// What a reply shows beside its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Everything in it that a decision may turn on but for offsets, lags and ages, which move all the time in a
    /// healthy group: one number. A reply that the host does not know counts whole.
    pub fingerprint: u64,
    /// The place in the replication stream, if the reply shows one.
    pub offset: Option<u64>,
}

/// Reads a reply once, when it comes.
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
            nested.resp.hash(&mut hasher);
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
