//! What an INFO changes (`sentinelRefreshInstanceInfo`): replicas that are new, roles that are not as they
//! should be, and how far a failover is.

use super::looking::{INFO_US, PUBLISH_US};
use super::watched::{Turn, Watched};
use super::{Master, Said, Sentinel};

impl Sentinel {
    pub(super) fn learn_of_master(&mut self, master: &mut Master, said: &Said) {
        self.learn(&mut master.own, said);
        for (host, port) in &said.replicas {
            if !master.replicas.iter().any(|known| known.is_at(host, *port)) {
                master.replicas.push(Watched::new(host, *port, false, self.now_us));
                self.event("+slave", format!("{host}:{port}"));
                self.flush(master);
            }
        }
    }

    pub(super) fn learn_of_replica(&mut self, master: &mut Master, index: usize, said: &Said) {
        self.learn(&mut master.replicas[index], said);
        if self.tilt_us.is_some() {
            return;
        }
        if said.follows.is_none() {
            self.on_master_among_replicas(master, index);
        } else {
            self.on_replica(master, index);
        }
    }

    /// The half that is the same in TILT.
    fn learn(&mut self, one: &mut Watched, said: &Said) {
        let now_us = self.now_us;
        one.run_id = Some(said.run_id.clone());
        one.link_down_ms = said.link_down_s.map_or(0, |seconds| seconds * 1_000);
        if said.follows.is_some() {
            if one.follows != said.follows {
                one.follows.clone_from(&said.follows);
                one.follows_us = now_us;
            }
            (one.is_linked, one.priority, one.offset) = (said.is_linked, said.priority, said.offset);
        }
        one.info_us = now_us;
        let is_master = said.follows.is_none();
        if is_master != one.is_master {
            (one.is_master, one.role_us) = (is_master, now_us);
            if !is_master {
                one.follows_us = now_us;
            }
        }
    }

    /// It was promoted by this Sentinel, or is made a replica again.
    fn on_master_among_replicas(&mut self, master: &mut Master, index: usize) {
        let one = &master.replicas[index];
        if one.is_promoted() && self.has_been_promoted(master) {
            return;
        }
        let one = &master.replicas[index];
        let is_old = one.is_up_for(4 * PUBLISH_US, self.now_us) && self.now_us - one.role_us > 4 * PUBLISH_US;
        if !one.is_promoted() && self.looks_sane(&master.own) && is_old {
            self.event("+convert-to-slave", format!("{}:{}", one.host, one.port));
            self.send_follow(one, Some(master.own.place()));
        }
    }

    fn on_replica(&mut self, master: &mut Master, index: usize) {
        let timeout_us = master.settings.failover_timeout_ms * 1_000;
        let one = &master.replicas[index];
        let is_elsewhere = one.follows.as_ref() != Some(&master.own.place());
        let is_old = one.is_up_for(timeout_us, self.now_us) && self.now_us - one.follows_us > timeout_us;
        if is_elsewhere && self.looks_sane(&master.own) && is_old {
            self.event("+fix-slave-config", format!("{}:{}", one.host, one.port));
            self.send_follow(one, Some(master.own.place()));
        }
        let promoted = master.failover.as_ref().and_then(|failover| failover.promoted);
        let to = promoted.map(|promoted| master.replicas[promoted].place());
        let one = &mut master.replicas[index];
        if one.turn == Turn::Sent && to.is_some() && one.follows == to {
            one.turn = Turn::Changing;
        }
        if one.turn == Turn::Changing && one.is_linked {
            one.turn = Turn::Done;
        }
    }

    /// `sentinelMasterLooksSane`.
    fn looks_sane(&self, master: &Watched) -> bool {
        master.is_master && !master.is_down && !master.is_odown && self.now_us - master.info_us < 2 * INFO_US
    }
}
