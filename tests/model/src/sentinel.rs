//! A Sentinel and what it says, row by row as Redis prints them (taken from a real 7.0.15; a test of the
//! facts has the replies of other versions). Nothing here behaves.

use crate::group::World;
use crate::has::{Role, Server, id40};
use crate::says::RespText;
use crate::seen::Seen;
use failover_core::contract::{
    Address, Failure, FailureKind, Instance, InstanceKind, Nested, Reply, Sample, SentinelMode,
    SentinelSettings, Text, Topology, Value,
};
use failover_core::facts::{
    INFO_SENTINEL, INFO_SERVER, SENTINEL_MASTERS, SENTINEL_MYID, SENTINEL_PEERS, SENTINEL_REPLICAS,
};

/// A Sentinel, and how its host sees it. Times are its own, in milliseconds.
#[derive(Clone, Debug)]
pub struct Sentinel {
    /// Its `id` in an observation.
    pub id: String,
    /// Where it listens.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// `run_id`.
    pub run_id: String,
    /// `SENTINEL MYID`. None: a Sentinel before 6.2, to which the command is unknown.
    pub my_id: Option<String>,
    /// For how long it has been in TILT. None: it is not.
    pub tilt_s: Option<u64>,
    /// Where it says that the master is. None: it watches none.
    pub master: Option<(String, u16)>,
    /// `runid` in the row of the master. None: that of the server at the address.
    pub master_run_id: Option<String>,
    /// Flags of the master beside `master`.
    pub flags: Vec<String>,
    /// `failover-state`, while one is under way.
    pub failover_state: Option<String>,
    /// `s-down-time` of the master.
    pub down_ms: Option<u64>,
    /// `role-reported-time` of the master.
    pub role_ms: u64,
    /// `config-epoch`.
    pub epoch: u64,
    /// `num-other-sentinels`. None: as many as it lists.
    pub claims: Option<u64>,
    /// Replicas that it knows beside the members that are none of its master.
    pub ghosts: Vec<(String, u16)>,
    /// The same, which answer it.
    pub strangers: Vec<(String, u16)>,
    /// Ids of the other Sentinels that it knows, or `host:port` of one that is gone. None: all that exist.
    pub peers: Option<Vec<String>>,
    /// `voted-leader-epoch` of each of its peers.
    pub voted_epoch: u64,
    /// What it has of the settings.
    pub settings: SentinelSettings,
    /// The host may not ask it.
    pub is_barred: bool,
    /// How its host sees it.
    pub seen: Seen,
}

impl Sentinel {
    /// At 10.0.9.N:26379, of epoch 1.
    fn new(number: usize, settings: SentinelSettings, master: (String, u16)) -> Self {
        Self {
            id: format!("sentinel-{number}"),
            host: format!("10.0.9.{number}"),
            port: 26_379,
            run_id: id40(&format!("srun-{number}")),
            my_id: Some(id40(&format!("sid-{number}"))),
            tilt_s: None,
            master: Some(master),
            master_run_id: None,
            flags: vec![],
            failover_state: None,
            down_ms: None,
            role_ms: 3_600_000,
            epoch: 1,
            claims: None,
            ghosts: vec![],
            strangers: vec![],
            peers: None,
            voted_epoch: 0,
            settings,
            is_barred: false,
            seen: Seen::default(),
        }
    }

    /// As an observation has it.
    pub fn instance(&self, world: &World) -> Instance {
        let seen = &self.seen;
        let lost = seen.failure.map(|kind| (kind, "no reply in time"));
        let failure = |barred: bool| {
            let barred = barred.then_some((FailureKind::ErrorReply, "NOPERM no permissions to run it"));
            lost.or(barred).map(|(kind, text)| Failure {
                kind,
                text: text.into(),
                age_us: seen.link.state_age_us,
            })
        };
        let reply = |command: &str, value: Option<Value>| Reply {
            command: command.into(),
            newest: value
                .zip(seen.age_us)
                .filter(|_| !self.is_barred || command == INFO_SERVER)
                .map(|(value, age_us)| Sample { value, age_us }),
            earlier: None,
            failure: failure(self.is_barred && command != INFO_SERVER),
        };
        let text = |text: String| Some(Value::Text(Text { text, truncated: false }));
        let nested = |resp: String| Some(Value::Nested(Nested { resp, truncated: false }));
        let info = info_sentinel(self.master.is_some(), self.tilt_s);
        let server = info_server(&self.run_id, self.port);
        Instance {
            id: self.id.clone(),
            kind: InstanceKind::Sentinel,
            shard: None,
            address: Address { host: self.host.clone(), port: self.port },
            aliases: vec![],
            link: seen.link,
            replies: vec![
                reply(INFO_SENTINEL, text(info)),
                reply(INFO_SERVER, text(server)),
                reply(SENTINEL_MASTERS, nested(self.masters(world))),
                reply(SENTINEL_MYID, self.my_id.clone().and_then(text)),
                reply(SENTINEL_REPLICAS, nested(self.replicas(world))),
                reply(SENTINEL_PEERS, nested(self.sentinels(world))),
            ],
            pod: seen.pod.clone(),
            extras: vec![],
        }
    }

    /// The reply to `SENTINEL MASTERS`.
    fn masters(&self, world: &World) -> String {
        let Some((host, port)) = &self.master else { return "*0\r\n".into() };
        let run_id = self.master_run_id.clone().unwrap_or_else(|| {
            world
                .servers
                .iter()
                .find(|server| server.is_at(host, *port))
                .map(|server| server.run_id.clone())
                .unwrap_or_default()
        });
        let flags = [&["master".to_owned()][..], &self.flags].concat().join(",");
        let mut row = RespText::table();
        row.pair("name", &self.settings.master_name).pair("ip", host).pair("port", port);
        row.pair("runid", run_id).pair("flags", flags);
        row.pair("link-pending-commands", 0).pair("link-refcount", 1);
        if let Some(state) = &self.failover_state {
            row.pair("failover-state", state);
        }
        row.pair("last-ping-sent", 0).pair("last-ok-ping-reply", 400).pair("last-ping-reply", 400);
        if let Some(down_ms) = self.down_ms {
            row.pair("s-down-time", down_ms);
        }
        let settings = &self.settings;
        row.pair("down-after-milliseconds", settings.down_after_ms).pair("info-refresh", 4_000);
        row.pair("role-reported", "master").pair("role-reported-time", self.role_ms);
        row.pair("config-epoch", self.epoch).pair("num-slaves", self.known_replicas(world).len());
        row.pair("num-other-sentinels", self.claims.unwrap_or(self.known_peers(world).len() as u64));
        row.pair("quorum", settings.quorum).pair("failover-timeout", settings.failover_timeout_ms);
        row.pair("parallel-syncs", settings.parallel_syncs);
        RespText::list(vec![row])
    }

    /// The reply to `SENTINEL REPLICAS`.
    fn replicas(&self, world: &World) -> String {
        let row = |(host, port, run_id, is_lost): (String, u16, String, bool)| {
            let mut row = RespText::table();
            row.pair("name", format!("{host}:{port}"))
                .pair("ip", host)
                .pair("port", port)
                .pair("runid", run_id);
            row.pair("flags", if is_lost { "s_down,slave,disconnected" } else { "slave" });
            row.pair("role-reported", "slave").pair("role-reported-time", self.role_ms);
            row.pair("slave-priority", 100).pair("replica-announced", 1);
            row
        };
        RespText::list(self.known_replicas(world).into_iter().map(row).collect())
    }

    fn known_replicas(&self, world: &World) -> Vec<(String, u16, String, bool)> {
        let is_master =
            |server: &Server| self.master.as_ref().is_some_and(|(host, port)| server.is_at(host, *port));
        let of_group =
            world.servers.iter().filter(|server| !is_master(server) && server.role != Role::Unsaid);
        let of_group = of_group.map(|server| {
            (server.host.clone(), server.port, server.run_id.clone(), server.seen.failure.is_some())
        });
        let ghost = |(host, port): &(String, u16), is_lost| (host.clone(), *port, String::new(), is_lost);
        let ghosts = self.ghosts.iter().map(|place| ghost(place, true));
        let strangers = self.strangers.iter().map(|place| ghost(place, false));
        if self.master.is_none() { vec![] } else { of_group.chain(ghosts).chain(strangers).collect() }
    }

    /// The reply to `SENTINEL SENTINELS`.
    fn sentinels(&self, world: &World) -> String {
        let row = |(id, host, port, is_lost): (String, String, u16, bool)| {
            let mut row = RespText::table();
            row.pair("name", &id).pair("ip", host).pair("port", port).pair("runid", id);
            row.pair("flags", if is_lost { "s_down,sentinel,disconnected" } else { "sentinel" });
            row.pair("down-after-milliseconds", self.settings.down_after_ms);
            row.pair("last-hello-message", if is_lost { 60_000 } else { 900 });
            row.pair("voted-leader", "?").pair("voted-leader-epoch", self.voted_epoch);
            row
        };
        RespText::list(self.known_peers(world).into_iter().map(row).collect())
    }

    fn known_peers(&self, world: &World) -> Vec<(String, String, u16, bool)> {
        let known = |sentinel: &Self| {
            let my_id = sentinel.my_id.clone().unwrap_or_else(|| id40(&sentinel.id));
            (my_id, sentinel.host.clone(), sentinel.port, sentinel.seen.failure.is_some())
        };
        let others = || world.sentinels.iter().filter(|other| other.id != self.id);
        let one = |name: &String| match others().find(|other| other.id == *name) {
            Some(other) => known(other),
            None => {
                let (host, port) = name.rsplit_once(':').unwrap_or((name, "26379"));
                (id40(name), host.to_owned(), port.parse().unwrap_or(26_379), true)
            }
        };
        match (&self.master, &self.peers) {
            (None, _) => vec![],
            (Some(_), None) => others().map(known).collect(),
            (Some(_), Some(peers)) => peers.iter().map(one).collect(),
        }
    }
}

/// `INFO sentinel`, of one that watches a master or none, and has been in TILT for so many seconds.
pub(crate) fn info_sentinel(watches: bool, tilt_s: Option<u64>) -> String {
    let since = tilt_s.map_or_else(|| "-1".into(), |seconds| seconds.to_string());
    format!(
        "# Sentinel\r\nsentinel_masters:{}\r\nsentinel_tilt:{}\r\nsentinel_tilt_since_seconds:{since}\r\n\
         sentinel_running_scripts:0\r\nsentinel_scripts_queue_length:0\r\nsentinel_simulate_failure_flags:0\r\n",
        u8::from(watches),
        u8::from(tilt_s.is_some()),
    )
}

/// `INFO server`.
pub(crate) fn info_server(run_id: &str, port: u16) -> String {
    format!(
        "# Server\r\nredis_version:7.0.15\r\nredis_mode:sentinel\r\nprocess_id:1\r\nrun_id:{run_id}\r\n\
         tcp_port:{port}\r\nuptime_in_seconds:3600\r\n"
    )
}

impl World {
    /// Sentinels watch its first server, or the one on record, under the name `mymaster`.
    pub fn watch(&mut self, count: usize, mode: SentinelMode) {
        let quorum = u16::try_from(count / 2 + 1).unwrap_or(u16::MAX);
        let settings = SentinelSettings {
            master_name: "mymaster".into(),
            sentinels_desired: u16::try_from(count).unwrap_or(u16::MAX),
            quorum,
            down_after_ms: 5_000,
            failover_timeout_ms: 10_000,
            parallel_syncs: 1,
            mode,
        };
        let recorded = self.shard().published.as_ref().map(|published| published.master.clone());
        let watched = self.servers.iter().find(|server| recorded.as_ref().is_none_or(|id| *id == server.id));
        let place = watched.map_or(("127.0.0.1".into(), 6_379), |server| (server.host.clone(), server.port));
        self.sentinels =
            (1..=count).map(|number| Sentinel::new(number, settings.clone(), place.clone())).collect();
        self.rest.group.topology = Topology::Sentinel;
        self.rest.group.sentinel = Some(settings);
    }
}
