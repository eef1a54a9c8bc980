//! What a Sentinel says: of itself (`INFO sentinel`), and of each server that it watches (`SENTINEL MASTERS`,
//! `REPLICAS`, `SENTINELS`).

use super::Place;
use super::info::{Initials, flag, info_fields_of, unsigned};
use super::resp::tables;

/// What `INFO sentinel` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentinelFacts {
    /// `sentinel_tilt`: its clock or its loop jumped. For thirty seconds it observes and starts nothing.
    pub is_in_tilt: Option<bool>,
    /// `sentinel_tilt_since_seconds`, since 7.0. None: it is not in TILT, or does not say since when.
    pub tilt_s: Option<u64>,
}

impl SentinelFacts {
    /// Reads the section out of any INFO text.
    pub fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        for (name, value) in info_fields_of(text, const { Initials::of(b"s") }) {
            match name {
                "sentinel_tilt" => facts.is_in_tilt = flag(value),
                "sentinel_tilt_since_seconds" => facts.tilt_s = unsigned(value),
                _ => {}
            }
        }
        facts
    }
}

/// A row of `SENTINEL MASTERS`, `REPLICAS` or `SENTINELS`. Times are milliseconds, counted by the Sentinel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched<'a> {
    /// `name`: of a master, the name under which it is watched.
    pub name: &'a str,
    /// `ip` and `port`. None: it has none, or port 0.
    pub place: Option<Place>,
    /// `runid`; of a Sentinel its `SENTINEL MYID`. None: not known yet.
    pub run_id: Option<&'a str>,
    /// `flags`, separated by commas.
    pub flags: &'a str,
    /// Flag `failover_in_progress`, or a `failover-state`.
    pub is_in_failover: bool,
    /// `s-down-time`: since it counts as down for this Sentinel. None: it does not.
    pub down_ms: Option<u64>,
    /// `role-reported-time`: since the Sentinel watches it at this address, or since it changed its role.
    pub role_ms: Option<u64>,
    /// `config-epoch` of a master.
    pub config_epoch: Option<u64>,
    /// `num-other-sentinels` of a master: the Sentinels that are asked for their votes.
    pub peers: Option<u64>,
    /// `quorum` of a master.
    pub quorum: Option<u64>,
    /// `down-after-milliseconds`.
    pub down_after_ms: Option<u64>,
    /// `failover-timeout` of a master.
    pub failover_timeout_ms: Option<u64>,
    /// `parallel-syncs` of a master.
    pub parallel_syncs: Option<u64>,
    /// `last-hello-message` of a Sentinel.
    pub hello_ms: Option<u64>,
    /// `voted-leader-epoch` of a Sentinel: of the last vote that it gave to the one that says this.
    pub voted_epoch: Option<u64>,
}

impl<'a> Watched<'a> {
    /// All rows. None unless the reply is whole: half a list is another list.
    pub fn parse(resp: &'a str) -> Option<Vec<Self>> {
        Some(tables(resp)?.into_iter().map(Self::of).collect())
    }

    fn of(row: Vec<(&'a str, &'a str)>) -> Self {
        let mut server = Self::default();
        let (mut host, mut port) = ("", 0);
        for (name, value) in row {
            let number = || unsigned(value);
            match name {
                "name" => server.name = value,
                "ip" => host = value,
                "port" => port = value.parse().unwrap_or(0),
                "runid" => server.run_id = Some(value).filter(|id| !id.is_empty()),
                "flags" => server.flags = value,
                "failover-state" => server.is_in_failover |= value != "none",
                "s-down-time" => server.down_ms = number(),
                "role-reported-time" => server.role_ms = number(),
                "config-epoch" => server.config_epoch = number(),
                "num-other-sentinels" => server.peers = number(),
                "quorum" => server.quorum = number(),
                "down-after-milliseconds" => server.down_after_ms = number(),
                "failover-timeout" => server.failover_timeout_ms = number(),
                "parallel-syncs" => server.parallel_syncs = number(),
                "last-hello-message" => server.hello_ms = number(),
                "voted-leader-epoch" => server.voted_epoch = number(),
                _ => {}
            }
        }
        server.place = (!host.is_empty() && port != 0).then(|| Place::new(host, port));
        server.is_in_failover |= server.has_flag("failover_in_progress");
        server
    }

    /// Whether that flag is set.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(',').any(|set| set == flag)
    }

    /// It does not answer this Sentinel: down, or without a connection.
    pub fn is_lost(&self) -> bool {
        ["s_down", "o_down", "disconnected"].into_iter().any(|flag| self.has_flag(flag))
    }
}

/// The standing wants of topology `sentinel`, as replies name them; the host fills in the master's name.
pub const INFO_SENTINEL: &str = "INFO sentinel";
/// See [`INFO_SENTINEL`].
pub const SENTINEL_MASTERS: &str = "SENTINEL MASTERS";
/// See [`INFO_SENTINEL`].
pub const SENTINEL_MYID: &str = "SENTINEL MYID";
/// See [`INFO_SENTINEL`].
pub const SENTINEL_REPLICAS: &str = "SENTINEL REPLICAS {master}";
/// See [`INFO_SENTINEL`].
pub const SENTINEL_PEERS: &str = "SENTINEL SENTINELS {master}";

#[cfg(test)]
mod tests {
    use super::*;

    /// Replies of real Sentinels: while one of them fails over, and after it.
    macro_rules! samples {
        ($($version:literal),*) => {
            [$((
                $version,
                include_str!(concat!("samples/", $version, ".masters.resp")),
                include_str!(concat!("samples/", $version, ".sentinels.resp")),
                include_str!(concat!("samples/", $version, ".replicas.resp")),
            )),*]
        };
    }

    const REAL: [(&str, &str, &str, &str); 4] = samples!["6.0", "7.0", "8.0", "valkey-8.1"];

    #[test]
    fn rows_of_real_sentinels() {
        for (version, masters, sentinels, replicas) in REAL {
            let masters = Watched::parse(masters).expect(version);
            let [master] = &masters[..] else { panic!("{version}: {} masters", masters.len()) };
            assert_eq!(
                (master.name, master.quorum, master.peers),
                ("mymaster", Some(2), Some(2)),
                "{version}"
            );
            assert!(master.is_in_failover && master.has_flag("master"), "{version}: {}", master.flags);
            assert!(master.place.is_some() && master.config_epoch.is_some(), "{version}");
            assert_eq!((master.down_after_ms, master.failover_timeout_ms), (Some(1_000), Some(3_000)));
            assert_eq!(master.parallel_syncs, Some(1));
            assert!(master.role_ms.is_some(), "{version}");
            let sentinels = Watched::parse(sentinels).expect(version);
            assert_eq!(sentinels.len(), 2, "{version}");
            for peer in &sentinels {
                assert!(peer.run_id == Some(peer.name) && peer.name.len() == 40, "{version}: {}", peer.name);
                assert!(peer.hello_ms.is_some() && peer.voted_epoch.is_some(), "{version}");
            }
            let replicas = Watched::parse(replicas).expect(version);
            assert_eq!(replicas.len(), 2, "{version}");
            let lost: Vec<_> = replicas.iter().filter(|replica| replica.is_lost()).collect();
            let [lost] = &lost[..] else { panic!("{version}: {} lost replicas", lost.len()) };
            assert!(lost.run_id.is_none() && lost.down_ms.is_some() && lost.role_ms.is_some(), "{version}");
        }
    }

    #[test]
    fn a_list_that_was_cut_is_not_a_shorter_list() {
        for (version, _, sentinels, _) in REAL {
            for end in 0..sentinels.len() {
                assert_eq!(Watched::parse(&sentinels[..end]), None, "{version} {end}");
            }
        }
        assert_eq!(Watched::parse("*0\r\n"), Some(vec![]));
    }

    #[test]
    fn tilt_and_since_when() {
        let info =
            |tilt: &str| format!("# Sentinel\r\nsentinel_masters:1\r\n{tilt}\r\nmaster0:name=mymaster\r\n");
        let facts = |tilt| SentinelFacts::parse(&info(tilt));
        let of_7 = facts("sentinel_tilt:1\r\nsentinel_tilt_since_seconds:12");
        assert_eq!((of_7.is_in_tilt, of_7.tilt_s), (Some(true), Some(12)));
        let of_6 = facts("sentinel_tilt:1");
        assert_eq!((of_6.is_in_tilt, of_6.tilt_s), (Some(true), None));
        let quiet = facts("sentinel_tilt:0\r\nsentinel_tilt_since_seconds:-1");
        assert_eq!((quiet.is_in_tilt, quiet.tilt_s), (Some(false), None));
        assert_eq!(SentinelFacts::parse("garbage"), SentinelFacts::default());
    }
}
