//! What a Sentinel keeps over a restart: `sentinel.conf`, as it rewrites it.

use super::Master;
use super::watched::Watched;

/// How a master is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// `quorum`.
    pub quorum: u64,
    /// `down-after-milliseconds`.
    pub down_after_ms: u64,
    /// `failover-timeout`.
    pub failover_timeout_ms: u64,
    /// `parallel-syncs`.
    pub parallel_syncs: u64,
}

/// The file, and as it was at first.
#[derive(Clone, Debug)]
pub(super) struct File {
    epoch: u64,
    master: Option<Saved>,
    first: Saved,
}

#[derive(Clone, Debug)]
struct Saved {
    settings: Settings,
    place: (String, u16),
    config_epoch: u64,
    leader_epoch: u64,
    replicas: Vec<(String, u16)>,
    peers: Vec<(String, u16, String)>,
}

impl File {
    pub fn new(settings: Settings, place: (String, u16)) -> Self {
        let first =
            Saved { settings, place, config_epoch: 0, leader_epoch: 0, replicas: vec![], peers: vec![] };
        Self { epoch: 0, master: Some(first.clone()), first }
    }

    pub fn reset(&mut self) {
        (self.epoch, self.master) = (0, Some(self.first.clone()));
    }

    pub fn save(&mut self, epoch: u64, master: Option<&Master>) {
        self.epoch = epoch;
        self.master = master.map(|master| {
            let named = master.named();
            // While a failover is under way the promoted one stands as the master, and the master in its
            // place.
            let place = |replica: &Watched| {
                if replica.is_at(&named.host, named.port) { master.own.place() } else { replica.place() }
            };
            let peers = master
                .peers
                .iter()
                .filter_map(|peer| Some((peer.host.clone(), peer.port, peer.run_id.clone()?)));
            Saved {
                settings: master.settings.clone(),
                place: named.place(),
                config_epoch: master.config_epoch,
                leader_epoch: master.own.leader_epoch,
                replicas: master.replicas.iter().map(place).collect(),
                peers: peers.collect(),
            }
        });
    }

    /// The epoch, and the master as a new process has it.
    pub fn load(&self, now_us: u64) -> (u64, Option<Master>) {
        let master = self.master.as_ref().map(|saved| {
            let mut master = Master::new(saved.settings.clone(), &saved.place, now_us);
            (master.config_epoch, master.own.leader_epoch) = (saved.config_epoch, saved.leader_epoch);
            let replica = |(host, port): &(String, u16)| Watched::new(host, *port, false, now_us);
            master.replicas = saved.replicas.iter().map(replica).collect();
            master.peers = saved
                .peers
                .iter()
                .map(|(host, port, id)| Watched {
                    run_id: Some(id.clone()),
                    ..Watched::new(host, *port, false, now_us)
                })
                .collect();
            master
        });
        (self.epoch, master)
    }
}

impl Master {
    /// One that nothing is known of.
    pub(super) fn new(settings: Settings, (host, port): &(String, u16), now_us: u64) -> Self {
        Self {
            settings,
            config_epoch: 0,
            own: Watched::new(host, *port, true, now_us),
            replicas: vec![],
            peers: vec![],
            failover: None,
            failover_start_us: 0,
        }
    }
}
