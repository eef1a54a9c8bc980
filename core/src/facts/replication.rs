//! `INFO replication`: role, master, history, and the replicas that are attached. Redis 5 to 8 and Valkey.

use super::History;
use super::info::{flag, info_fields, unsigned};
use std::net::IpAddr;

/// What a server says that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportedRole {
    /// `role:master`.
    Master,
    /// `role:slave`.
    Replica,
    /// Neither, or no `role` at all.
    #[default]
    Unknown,
}

/// A host and a port, comparable across spellings: IP addresses by value, names without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    host: Host,
    /// TCP port.
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Place {
    /// `host` in any spelling, with or without the brackets of IPv6.
    pub fn new(host: &str, port: u16) -> Self {
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        let host = match bare.parse::<IpAddr>() {
            Ok(ip) => Host::Ip(ip.to_canonical()),
            Err(_) => Host::Name(bare.trim_end_matches('.').to_ascii_lowercase()),
        };
        Self { host, port }
    }

    /// The host as text, IPv6 without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// An address, and no name.
    pub fn is_ip(&self) -> bool {
        matches!(self.host, Host::Ip(_))
    }

    /// A loopback or unspecified address, or no host at all: it names no server unless a member is dialled
    /// there.
    pub fn is_nowhere(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.is_loopback() || ip.is_unspecified(),
            Host::Name(name) => name.is_empty() || name == "localhost",
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// A `slaveN:` row of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedReplica {
    /// Where the replica says that it listens; port 0 for a client that only copies (`redis-cli --rdb`).
    pub place: Place,
    /// `state=online`: the stream flows. Anything else is a sync under way.
    pub online: bool,
    /// `offset`: what it has acknowledged, once a second.
    pub offset: Option<u64>,
    /// `lag`: whole seconds since its last acknowledgement.
    pub lag_s: Option<u64>,
}

/// No server was up for thirty years.
const NEVER_UP_S: u64 = 1_000_000_000;

/// What `INFO replication` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicationFacts<'a> {
    /// `role`.
    pub role: ReportedRole,
    /// `master_host` and `master_port`. None on a master.
    pub master: Option<Place>,
    /// `master_link_status` is `up`. None on a master.
    pub link_up: Option<bool>,
    /// `master_last_io_seconds_ago`, whole seconds. None while the link is down (`-1`).
    pub last_io_s: Option<u64>,
    /// `master_link_down_since_seconds`. None while up, and for a link that was never up: `-1`, and before
    /// 6.2 the seconds since 1970.
    pub link_down_s: Option<u64>,
    /// `master_sync_in_progress`: a full copy is arriving; the old data may already be gone.
    pub is_syncing: bool,
    /// `slave_priority`: 0 is never to be promoted, lower is better. None on a master.
    pub priority: Option<u64>,
    /// `replica_announced` is not `0` (Redis 6.2 and later; older ones have no such field).
    pub is_announced: bool,
    /// `master_failover_state` is present and not `no-failover` (Redis 6.2 and later): hands off.
    pub in_failover: bool,
    /// Replication id and offset, own and former. None when `master_replid` or the offset is missing.
    pub history: Option<History<'a>>,
    /// `connected_slaves`: counts every replication client, strangers included.
    pub connected_replicas: Option<u64>,
    /// `min_slaves_good_slaves`: present while `min-replicas-to-write` and its lag are set.
    pub good_replicas: Option<u64>,
    /// The `slaveN:` rows, in the order of the text.
    pub attached: Vec<AttachedReplica>,
}

impl<'a> ReplicationFacts<'a> {
    /// Reads the section out of any INFO text.
    pub fn parse(text: &'a str) -> Self {
        let mut facts = Self { is_announced: true, ..Self::default() };
        let (mut host, mut port) = (None, None);
        let (mut replid, mut former, mut former_end) = (None, None, None);
        let (mut own_offset, mut processed) = (None, None);
        for (name, value) in info_fields(text) {
            match name {
                "role" => {
                    facts.role = match value {
                        "master" => ReportedRole::Master,
                        "slave" => ReportedRole::Replica,
                        _ => ReportedRole::Unknown,
                    }
                }
                "master_host" => host = Some(value),
                "master_port" => port = value.parse().ok(),
                "master_link_status" => facts.link_up = Some(value == "up"),
                "master_last_io_seconds_ago" => facts.last_io_s = unsigned(value),
                "master_link_down_since_seconds" => {
                    facts.link_down_s = unsigned(value).filter(|age_s| *age_s < NEVER_UP_S)
                }
                "master_sync_in_progress" => facts.is_syncing = flag(value) == Some(true),
                "slave_priority" => facts.priority = unsigned(value),
                "replica_announced" => facts.is_announced = flag(value) != Some(false),
                "master_failover_state" => facts.in_failover = value != "no-failover",
                "master_replid" => replid = replication_id(value),
                "master_replid2" => former = replication_id(value),
                "second_repl_offset" => former_end = unsigned(value),
                "master_repl_offset" => own_offset = unsigned(value),
                "slave_repl_offset" => processed = unsigned(value),
                "connected_slaves" => facts.connected_replicas = unsigned(value),
                "min_slaves_good_slaves" => facts.good_replicas = unsigned(value),
                _ if name.strip_prefix("slave").and_then(unsigned).is_some() => {
                    facts.attached.extend(attached_replica(value))
                }
                _ => {}
            }
        }
        facts.master = host.zip(port).map(|(host, port)| Place::new(host, port));
        let offset = match facts.role {
            ReportedRole::Replica => processed,
            ReportedRole::Master => own_offset,
            ReportedRole::Unknown => None,
        };
        facts.history = replid.zip(offset).map(|(replid, offset)| History {
            replid,
            offset,
            former: former.zip(former_end.and_then(|end| end.checked_sub(1))),
        });
        facts
    }
}

/// Forty zeros are Redis' way of saying that there is none.
fn replication_id(value: &str) -> Option<&str> {
    (!value.is_empty() && value.bytes().any(|byte| byte != b'0')).then_some(value)
}

/// `ip=…,port=…,state=…,offset=…,lag=…`, and whatever else a version adds (Valkey 8: `type=`). A row without
/// a readable place or state is skipped.
fn attached_replica(row: &str) -> Option<AttachedReplica> {
    let (mut host, mut port, mut state, mut offset, mut lag) = (None, None, None, None, None);
    for (name, value) in row.split(',').filter_map(|pair| pair.split_once('=')) {
        let field = match name {
            "ip" => &mut host,
            "port" => &mut port,
            "state" => &mut state,
            "offset" => &mut offset,
            "lag" => &mut lag,
            _ => continue,
        };
        // The first counts.
        field.get_or_insert(value);
    }
    Some(AttachedReplica {
        place: Place::new(host?, port?.parse().ok()?),
        online: state? == "online",
        offset: offset.and_then(unsigned),
        lag_s: lag.and_then(unsigned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLICA: &str = "# Replication\r\nrole:slave\r\nmaster_host:fd00::1\r\nmaster_port:6379\r\n\
                           master_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n\
                           master_sync_in_progress:0\r\nslave_repl_offset:9223372036854775808\r\n\
                           master_link_down_since_seconds:3\r\nslave_priority:100\r\nslave_read_only:1\r\n\
                           replica_announced:1\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\
                           \nmaster_replid:aa\r\nmaster_replid2:0000000000000000000000000000000000000000\r\n\
                           master_repl_offset:9223372036854775808\r\nsecond_repl_offset:-1\r\n";

    #[test]
    fn a_replica_with_ipv6_and_an_offset_of_two_to_the_63() {
        let facts = ReplicationFacts::parse(REPLICA);
        assert_eq!(facts.role, ReportedRole::Replica);
        assert_eq!(facts.master, Some(Place::new("[fd00:0::1]", 6379)));
        assert_eq!(
            (facts.link_up, facts.last_io_s, facts.link_down_s, facts.priority),
            (Some(false), None, Some(3), Some(100))
        );
        assert_eq!(facts.history, Some(History { replid: "aa", offset: 1 << 63, former: None }));
        assert!(facts.is_announced && !facts.in_failover && !facts.is_syncing);
    }

    #[test]
    fn a_link_that_was_never_up_has_no_age_in_any_version() {
        for never in ["-1", "1795801701"] {
            let text = REPLICA.replace("since_seconds:3", &format!("since_seconds:{never}"));
            assert_eq!(ReplicationFacts::parse(&text).link_down_s, None, "{never}");
        }
    }

    #[test]
    fn rows_of_redis_and_valkey_host_names_and_copying_clients() {
        let facts = ReplicationFacts::parse(
            "role:master\r\nslave0:ip=10.0.0.1,port=6379,state=online,offset=7,lag=0\r\nslave1:ip=Redis-1.\
             svc.,port=6380,state=wait_bgsave,offset=0,lag=1,type=replica\r\nslave2:ip=::1,port=0,\
             state=online,offset=0,lag=0\r\nslave3:nonsense\r\nslave_priority:1\r\n",
        );
        let places: Vec<_> = facts.attached.iter().map(|row| (row.place.to_string(), row.online)).collect();
        assert_eq!(
            places,
            [("10.0.0.1:6379".into(), true), ("redis-1.svc:6380".into(), false), ("[::1]:0".into(), true)]
        );
    }

    #[test]
    fn missing_fields_are_absent_not_zero() {
        let facts = ReplicationFacts::parse("role:slave\r\nmaster_replid:aa\r\n");
        assert_eq!((facts.priority, facts.history, facts.link_up, facts.master), (None, None, None, None));
        assert_eq!(ReplicationFacts::parse("").role, ReportedRole::Unknown);
    }

    #[test]
    fn a_promoted_replica_tells_where_the_former_history_ends() {
        let facts = ReplicationFacts::parse(
            "role:master\nmaster_replid:bb\nmaster_replid2:aa\nmaster_repl_offset:120\nsecond_repl_offset:\
             101\n",
        );
        assert_eq!(facts.history, Some(History { replid: "bb", offset: 120, former: Some(("aa", 100)) }));
    }
}
