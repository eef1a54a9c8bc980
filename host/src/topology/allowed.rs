//! What a policy may make the host send: read-only commands, directives of servers and options of Sentinels.
//! The one list of each, used by the check of descriptions, the guard and the executor. Observations are
//! logged and pasted into issues, so no listed command may return a secret, a key, a value or a client's
//! command (never ACL, SLOWLOG, MONITOR, `CONFIG GET *`).

use crate::contract::{InstanceKind, Topology, Want};

/// A directive that `configure` may set. No secrets, no directive that touches data or disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Directive {
    /// `min-replicas-max-lag`: part of the self-fence.
    MinReplicasMaxLag,
    /// `min-replicas-to-write`: part of the self-fence.
    MinReplicasToWrite,
    /// `repl-ping-replica-period`: the heartbeat of a master's links.
    ReplPingReplicaPeriod,
    /// `replica-priority`: preference in an election.
    ReplicaPriority,
}

impl Directive {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::MinReplicasMaxLag,
        Self::MinReplicasToWrite,
        Self::ReplPingReplicaPeriod,
        Self::ReplicaPriority,
    ];

    /// The directive with that name of `CONFIG SET`, since Redis 5.
    ///
    /// # Errors
    /// One sentence with the name and the list of directives that may be set.
    pub fn parse(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|directive| directive.name() == name);
        found.ok_or_else(|| format!("directive {name:?} may not be set; allowed are {}", names()))
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MinReplicasMaxLag => "min-replicas-max-lag",
            Self::MinReplicasToWrite => "min-replicas-to-write",
            Self::ReplPingReplicaPeriod => "repl-ping-replica-period",
            Self::ReplicaPriority => "replica-priority",
        }
    }

    /// Checks the value: each directive needs a plain 32-bit number.
    ///
    /// # Errors
    /// One sentence with the directive and the value.
    pub fn check(self, value: &str) -> Result<(), String> {
        let is_number = value.parse::<u32>().is_ok_and(|number| number.to_string() == value);
        if is_number {
            Ok(())
        } else {
            Err(format!("directive {} needs a number, not {value:?}", self.name()))
        }
    }
}

/// An option that `SENTINEL SET` may set. No secrets, no scripts, no names of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SentinelOption {
    /// `down-after-milliseconds`.
    DownAfterMilliseconds,
    /// `failover-timeout`.
    FailoverTimeout,
    /// `parallel-syncs`.
    ParallelSyncs,
    /// `quorum`.
    Quorum,
}

impl SentinelOption {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::DownAfterMilliseconds, Self::FailoverTimeout, Self::ParallelSyncs, Self::Quorum];

    /// The option with that name of `SENTINEL SET`, and of the rows of `SENTINEL MASTERS`.
    ///
    /// # Errors
    /// One sentence with the name and the list of options that may be set.
    pub fn parse(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|option| option.name() == name);
        found.ok_or_else(|| format!("Sentinel option {name:?} may not be set; allowed are {}", names()))
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DownAfterMilliseconds => "down-after-milliseconds",
            Self::FailoverTimeout => "failover-timeout",
            Self::ParallelSyncs => "parallel-syncs",
            Self::Quorum => "quorum",
        }
    }

    /// Checks the value: each option needs a number of 1 or more that a C `int` holds.
    ///
    /// # Errors
    /// One sentence with the option and the value.
    pub fn check(self, value: &str) -> Result<(), String> {
        let is_number = value.parse::<i32>().is_ok_and(|number| number > 0 && number.to_string() == value);
        if is_number {
            Ok(())
        } else {
            Err(format!("Sentinel option {} needs a number of 1 or more, not {value:?}", self.name()))
        }
    }
}

/// The least `down-after-milliseconds` with which Sentinels that are told of a new master do not take it for
/// down before they have dialled it: a second between two attempts (`SENTINEL_PING_PERIOD`), up to 100 ms to
/// the next tick of the timer (`hz` 10 to 20), the round trip, and as much again for a busy machine.
pub const DOWN_AFTER_MIN_MS: u32 = 1500;

/// Stands in a wanted command for the name under which Sentinels watch the group. The host fills it in at the
/// sending; the reply keeps it in its `command`.
pub const MASTER_NAME: &str = "{master}";

/// True if the host will send it. Case counts: commands in upper case, sections and directives in lower case,
/// so that one command has one name in every Observation.
pub fn is_allowed(want: &Want) -> bool {
    let words: Vec<&str> = want.arguments.iter().map(String::as_str).collect();
    match (want.kind, words.as_slice()) {
        // The second shows this very connection and no other; the third names of functions, and no code.
        (InstanceKind::Redis, ["ROLE"] | ["CLIENT", "INFO"] | ["FUNCTION", "LIST"]) => true,
        (InstanceKind::Redis, ["INFO", section]) => INFO_SECTIONS.contains(section),
        (InstanceKind::Redis, ["CONFIG", "GET", directive]) => READABLE.contains(directive),
        (InstanceKind::Redis, ["CLUSTER", about]) => {
            want.topology == Topology::Cluster && CLUSTER.contains(about)
        }
        (InstanceKind::Sentinel, ["INFO", section]) => *section == "server" || *section == "sentinel",
        (InstanceKind::Sentinel, ["SENTINEL", about]) => {
            want.topology == Topology::Sentinel && SENTINEL.contains(about)
        }
        (InstanceKind::Sentinel, ["SENTINEL", about, MASTER_NAME]) => {
            want.topology == Topology::Sentinel && SENTINEL_OF_MASTER.contains(about)
        }
        (InstanceKind::Redis | InstanceKind::Sentinel, _) => false,
    }
}

/// The short sections about the server itself. Not `commandstats`, `modules` or `everything`: long and not
/// needed.
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

/// Directives that matter for a failover. The patterns match no other directive in Redis 5 to 8 and Valkey:
/// `s[at][vo][ep]*` only `save` and `stop-writes-on-bgsave-error`.
const READABLE: [&str; 21] = [
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
    "s[at][vo][ep]*",
    "save",
    "tcp-keepalive",
    "timeout",
];

const CLUSTER: [&str; 6] = ["INFO", "LINKS", "MYID", "NODES", "SHARDS", "SLOTS"];
/// The rows of MASTERS, SENTINELS and REPLICAS show names, addresses, ids, flags, timers and the paths of
/// scripts, and never `auth-pass` (`sentinel.c`, `addReplySentinelRedisInstance`).
const SENTINEL: [&str; 2] = ["MASTERS", "MYID"];
const SENTINEL_OF_MASTER: [&str; 2] = ["REPLICAS", "SENTINELS"];

#[cfg(test)]
mod tests {
    use super::*;

    fn want(topology: Topology, kind: InstanceKind, command: &str) -> Want {
        Want { topology, kind, arguments: command.split(' ').map(str::to_owned).collect() }
    }

    #[test]
    fn a_listed_directive_needs_a_number_and_no_other_is_set() {
        for directive in Directive::ALL {
            assert_eq!(Directive::parse(directive.name()), Ok(directive));
            assert_eq!(directive.check("10"), Ok(()));
        }
        for name in ["repl-timeout", "requirepass", "dir", "MIN-REPLICAS-TO-WRITE", ""] {
            assert!(Directive::parse(name).unwrap_err().contains("min-replicas-to-write"), "{name}");
        }
        for value in ["", "-1", "01", "1 ", "4294967296", "yes"] {
            assert!(Directive::ReplicaPriority.check(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn four_options_of_sentinels_are_set_to_positive_numbers() {
        for option in SentinelOption::ALL {
            assert_eq!(SentinelOption::parse(option.name()), Ok(option));
            assert_eq!(option.check("2"), Ok(()));
        }
        for name in ["auth-pass", "notification-script", "rename-command", "QUORUM", ""] {
            assert!(SentinelOption::parse(name).unwrap_err().contains("parallel-syncs"), "{name}");
        }
        for value in ["", "0", "-1", "01", "2 ", "2147483648", "yes"] {
            assert!(SentinelOption::Quorum.check(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn harmless_commands_are_allowed_where_they_have_a_meaning() {
        use InstanceKind::{Redis, Sentinel};
        for (topology, kind, command) in [
            (Topology::Replication, Redis, "ROLE"),
            (Topology::Replication, Redis, "INFO stats"),
            (Topology::Replication, Redis, "CLIENT INFO"),
            (Topology::Replication, Redis, "CONFIG GET min-replicas-*"),
            (Topology::Cluster, Redis, "CLUSTER NODES"),
            (Topology::Sentinel, Sentinel, "INFO sentinel"),
            (Topology::Sentinel, Sentinel, "SENTINEL MASTERS"),
            (Topology::Sentinel, Sentinel, "SENTINEL MYID"),
            (Topology::Sentinel, Sentinel, "SENTINEL REPLICAS {master}"),
            (Topology::Sentinel, Sentinel, "SENTINEL SENTINELS {master}"),
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
            "CLIENT LIST",
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
        for command in [
            "ROLE",
            "SENTINEL MASTER {master}",
            "SENTINEL REPLICAS mymaster",
            "SENTINEL SENTINELS",
            "SENTINEL FAILOVER {master}",
            "SENTINEL RESET {master}",
            "SENTINEL REMOVE {master}",
            "SENTINEL INFO-CACHE {master}",
            "SENTINEL IS-MASTER-DOWN-BY-ADDR {master}",
        ] {
            assert!(!is_allowed(&want(Topology::Sentinel, InstanceKind::Sentinel, command)), "{command}");
        }
        let replicas = "SENTINEL REPLICAS {master}";
        assert!(!is_allowed(&want(Topology::Replication, InstanceKind::Sentinel, replicas)));
        assert!(!is_allowed(&want(Topology::Sentinel, InstanceKind::Redis, replicas)));
    }
}
