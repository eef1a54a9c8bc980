//! Hello: what a Sentinel says of itself and of the master, and what it believes of others.

use super::watched::Watched;
use super::{Master, Sentinel};

impl Sentinel {
    /// Its message (`sentinelSendHello`).
    pub(super) fn hello(&self, master: &Master) -> String {
        let named = master.named();
        format!(
            "{},{},{},{},{},{},{},{}",
            self.host,
            self.port,
            self.id,
            self.epoch,
            master.settings.name,
            named.host,
            named.port,
            master.config_epoch
        )
    }

    /// `sentinelProcessHelloMessage`.
    pub(super) fn believe(&mut self, text: &str) {
        let words: Vec<&str> = text.split(',').collect();
        let [host, port, id, epoch, name, master_host, master_port, config_epoch] = words[..] else { return };
        let Some(mut master) = self.master.take() else { return };
        if master.settings.name == name {
            let number = |word: &str| word.parse::<u64>().unwrap_or(0);
            let port_of = |word: &str| word.parse::<u16>().unwrap_or(0);
            self.meet(&mut master, host, port_of(port), id);
            if number(epoch) > self.epoch {
                self.epoch = number(epoch);
                self.flush(&master);
                self.event("+new-epoch", epoch.into());
            }
            if master.config_epoch < number(config_epoch) {
                master.config_epoch = number(config_epoch);
                let to = (master_host.to_owned(), port_of(master_port));
                if master.own.place() != to {
                    self.event("+config-update-from", id.into());
                    self.switch(&mut master, &to);
                }
            }
            let now_us = self.now_us;
            let speaker = master.peers.iter_mut().find(|peer| peer.run_id.as_deref() == Some(id));
            speaker.into_iter().for_each(|speaker| speaker.hello_us = now_us);
        }
        self.master = Some(master);
    }

    /// A peer that is new, or has another address.
    fn meet(&mut self, master: &mut Master, host: &str, port: u16, id: &str) {
        let is_it = |peer: &Watched| peer.run_id.as_deref() == Some(id);
        if master.peers.iter().any(|peer| is_it(peer) && peer.is_at(host, port)) {
            return;
        }
        let is_known = master.peers.iter().any(is_it);
        // Else another one that had this address is gone.
        let goes = |peer: &Watched| if is_known { is_it(peer) } else { peer.is_at(host, port) };
        let (gone, kept) = std::mem::take(&mut master.peers).into_iter().partition(|peer| goes(peer));
        master.peers = kept;
        for mut peer in gone {
            self.close_all(&mut peer);
        }
        let peer = Watched { run_id: Some(id.into()), ..Watched::new(host, port, false, self.now_us) };
        master.peers.push(peer);
        if !is_known {
            self.event("+sentinel", id.into());
        }
        self.flush(master);
    }

    /// `sentinelResetMasterAndChangeAddress`: another master, and all that was known of replicas but their
    /// addresses is forgotten.
    pub(super) fn switch(&mut self, master: &mut Master, to: &(String, u16)) {
        let old = master.own.place();
        let text = format!("{} {} {} {} {}", master.settings.name, old.0, old.1, to.0, to.1);
        self.event("+switch-master", text);
        let mut places: Vec<(String, u16)> =
            master.replicas.iter().map(Watched::place).filter(|place| place != to).collect();
        if old != *to {
            places.push(old);
        }
        let mut before = std::mem::take(&mut master.replicas);
        before.iter_mut().for_each(|replica| self.close_all(replica));
        self.close_all(&mut master.own);
        let now_us = self.now_us;
        let own = &mut master.own;
        (own.host, own.port) = to.clone();
        (own.run_id, own.follows, own.leader) = (None, None, None);
        (own.is_down, own.down_us, own.is_odown, own.odown_us) = (false, 0, false, 0);
        let link = &mut own.link;
        (link.waits_us, link.pinged_us, link.good_us, link.answered_us) = (now_us, 0, now_us, now_us);
        (own.role_us, own.is_master) = (now_us, true);
        (master.failover, master.failover_start_us) = (None, 0);
        for (host, port) in places {
            self.event("+slave", format!("{host}:{port}"));
            master.replicas.push(Watched::new(&host, port, false, now_us));
        }
        self.flush(master);
    }
}
