//! The allow-list of what a policy may want to see: exact read-only commands. Observations are logged and
//! pasted into issues, so nothing here may return a secret, a key, a value or a client's command (never ACL,
//! SLOWLOG, MONITOR, `CONFIG GET *`).

use crate::contract::{InstanceKind, Topology, Want};

/// Whether the host will run it. Words count as written: commands in capitals, sections and directives in
/// small letters, so that one command has one name in every observation.
pub fn is_allowed(want: &Want) -> bool {
    let words: Vec<&str> = want.arguments.iter().map(String::as_str).collect();
    match (want.kind, words.as_slice()) {
        (InstanceKind::Redis, ["ROLE"]) => true,
        (InstanceKind::Redis, ["INFO", section]) => INFO_SECTIONS.contains(section),
        (InstanceKind::Redis, ["CONFIG", "GET", directive]) => DIRECTIVES.contains(directive),
        (InstanceKind::Redis, ["CLUSTER", about]) => {
            want.topology == Topology::Cluster && CLUSTER.contains(about)
        }
        (InstanceKind::Sentinel, ["INFO", section]) => *section == "server" || *section == "sentinel",
        (InstanceKind::Sentinel, ["SENTINEL", about]) => {
            want.topology == Topology::Sentinel && SENTINEL.contains(about)
        }
        (InstanceKind::Redis | InstanceKind::Sentinel, _) => false,
    }
}

/// All that are small and about the server itself. Not `commandstats`, `modules` or `everything`: long, and
/// of no use here.
const INFO_SECTIONS: [&str; 10] = [
    "clients",
    "cluster",
    "cpu",
    "errorstats",
    "keyspace",
    "memory",
    "persistence",
    "replication",
    "server",
    "stats",
];

/// What a failover may hang on. The two patterns match nothing else in Redis 5 to 8 and Valkey.
const DIRECTIVES: [&str; 20] = [
    "appendonly",
    "cluster-node-timeout",
    "cluster-require-full-coverage",
    "maxclients",
    "maxmemory",
    "maxmemory-policy",
    "min-replicas-*",
    "min-slaves-*",
    "repl-backlog-size",
    "repl-diskless-load",
    "repl-diskless-sync",
    "repl-diskless-sync-delay",
    "repl-ping-replica-period",
    "repl-timeout",
    "replica-priority",
    "replica-read-only",
    "replica-serve-stale-data",
    "save",
    "tcp-keepalive",
    "timeout",
];

const CLUSTER: [&str; 6] = ["INFO", "LINKS", "MYID", "NODES", "SHARDS", "SLOTS"];
/// The rows of MASTERS show names, addresses, flags and timers, and never `auth-pass`.
const SENTINEL: [&str; 2] = ["MASTERS", "MYID"];

#[cfg(test)]
mod tests {
    use super::*;

    fn want(topology: Topology, kind: InstanceKind, command: &str) -> Want {
        Want { topology, kind, arguments: command.split(' ').map(str::to_owned).collect() }
    }

    #[test]
    fn harmless_commands_are_allowed_where_they_have_a_meaning() {
        use InstanceKind::{Redis, Sentinel as Watcher};
        for (topology, kind, command) in [
            (Topology::Replication, Redis, "ROLE"),
            (Topology::Replication, Redis, "INFO stats"),
            (Topology::Replication, Redis, "CONFIG GET min-replicas-*"),
            (Topology::Cluster, Redis, "CLUSTER NODES"),
            (Topology::Sentinel, Watcher, "SENTINEL MASTERS"),
        ] {
            assert!(is_allowed(&want(topology, kind, command)), "{command}");
        }
    }

    #[test]
    fn secrets_keys_writes_and_other_spellings_are_refused() {
        for command in [
            "CONFIG GET *",
            "CONFIG GET requirepass",
            "CONFIG GET masterauth",
            "CONFIG SET timeout 0",
            "ACL LIST",
            "SLOWLOG GET",
            "KEYS *",
            "GET a",
            "INFO everything",
            "INFO",
            "info stats",
            "INFO stats keyspace",
            "CLUSTER NODES",
            "SENTINEL MASTERS",
            "REPLICAOF NO ONE",
            "",
        ] {
            assert!(!is_allowed(&want(Topology::Replication, InstanceKind::Redis, command)), "{command}");
        }
        assert!(!is_allowed(&want(Topology::Sentinel, InstanceKind::Sentinel, "ROLE")));
    }
}
