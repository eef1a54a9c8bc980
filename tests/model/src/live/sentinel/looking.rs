//! What a Sentinel does ten times a second and more: connects, asks, and finds who is down.

use super::failover::Failover;
use super::watched::{Turn, Watched};
use super::{Answer, Ask, Kind, Master, Out, Sentinel, TILT_US};

/// What is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Master,
    Replica,
    Peer,
}

impl Sentinel {
    /// `sentinelHandleDictOfRedisInstances`.
    pub(super) fn look_after_all(&mut self, master: &mut Master) {
        let hello = self.hello(master);
        // The master first, then what it decides, then the others.
        let down_after_us = master.settings.down_after_ms * 1_000;
        self.look_after(&mut master.own, Of::Master, down_after_us, false, &hello);
        if !self.is_tilting() {
            self.check_odown(master);
            if self.starts_failover(master) {
                self.ask_peers(master, true);
            }
            self.go_on(master);
            self.ask_peers(master, false);
        }
        let is_close = master.own.is_odown || master.failover.is_some();
        for replica in &mut master.replicas {
            self.look_after(replica, Of::Replica, down_after_us, is_close, &hello);
        }
        for peer in &mut master.peers {
            self.look_after(peer, Of::Peer, down_after_us, false, &hello);
        }
        if master.failover.as_ref().is_some_and(Failover::is_over) {
            self.switch_to_promoted(master);
        }
    }

    fn is_tilting(&self) -> bool {
        self.tilt_us.is_some_and(|since_us| self.now_us - since_us < TILT_US)
    }

    fn look_after(&mut self, one: &mut Watched, of: Of, down_after_us: u64, is_close: bool, hello: &str) {
        self.reconnect(one, of);
        self.ask_periodically(one, of, down_after_us, is_close, hello);
        if self.is_tilting() {
            return;
        }
        if self.tilt_us.take().is_some() {
            self.event("-tilt", String::new());
        }
        self.check_down(one, of, down_after_us);
    }

    /// `sentinelReconnectInstance`.
    fn reconnect(&mut self, one: &mut Watched, of: Of) {
        let now_us = self.now_us;
        if !one.link.is_disconnected || one.port == 0 || now_us - one.link.dialled_us < SECOND_US {
            return;
        }
        one.link.dialled_us = now_us;
        if one.link.commands.is_none() {
            let connection = self.dial(one, Kind::Commands);
            (one.link.commands, one.link.commands_us) = (Some(connection), now_us);
            self.ping(one, connection);
        }
        if of != Of::Peer && one.link.subscription.is_none() {
            let connection = self.dial(one, Kind::Subscription);
            (one.link.subscription, one.link.subscription_us) = (Some(connection), now_us);
        }
        one.link.is_disconnected = false;
    }

    fn dial(&mut self, one: &Watched, kind: Kind) -> u64 {
        self.connections += 1;
        let (connection, (host, port)) = (self.connections, one.place());
        self.out.push(Out::Dial { connection, host, port, kind });
        connection
    }

    fn ping(&mut self, one: &mut Watched, connection: u64) {
        self.ask(connection, Ask::Ping);
        one.link.pinged_us = self.now_us;
        if one.link.waits_us == 0 {
            one.link.waits_us = self.now_us;
        }
    }

    /// `sentinelSendPeriodicCommands`.
    fn ask_periodically(
        &mut self,
        one: &mut Watched,
        of: Of,
        down_after_us: u64,
        is_close: bool,
        hello: &str,
    ) {
        let Some(connection) = one.link.commands.filter(|_| !one.link.is_disconnected) else { return };
        let now_us = self.now_us;
        let is_watched_closely = of == Of::Replica && (is_close || one.link_down_ms != 0);
        let info_us = if is_watched_closely { SECOND_US } else { INFO_US };
        let ping_us = down_after_us.min(SECOND_US);
        if of != Of::Peer && (one.info_us == 0 || now_us - one.info_us > info_us) {
            self.ask(connection, Ask::Info);
        }
        if now_us - one.link.answered_us > ping_us && now_us - one.link.pinged_us > ping_us / 2 {
            self.ping(one, connection);
        }
        if now_us - one.published_us > PUBLISH_US {
            self.ask(connection, Ask::Hello(hello.to_owned()));
        }
    }

    /// `sentinelCheckSubjectivelyDown`.
    fn check_down(&mut self, one: &mut Watched, of: Of, down_after_us: u64) {
        let now_us = self.now_us;
        let link = &one.link;
        let elapsed_us = match (link.waits_us, link.is_disconnected) {
            (0, false) => 0,
            (0, true) => now_us - link.good_us,
            (since_us, _) => now_us - since_us,
        };
        let is_half_over = |since_us: u64| now_us - since_us > down_after_us / 2;
        let is_stale = now_us - link.commands_us > RECONNECT_MIN_US
            && link.waits_us != 0
            && is_half_over(link.waits_us)
            && is_half_over(link.answered_us);
        if let Some(connection) = link.commands.filter(|_| is_stale) {
            self.close(one, connection);
        }
        let link = &one.link;
        let is_quiet =
            now_us - link.subscription_us > RECONNECT_MIN_US && now_us - link.heard_us > 3 * PUBLISH_US;
        if let Some(connection) = link.subscription.filter(|_| is_quiet) {
            self.close(one, connection);
        }
        let is_demoted =
            of == Of::Master && !one.is_master && now_us - one.role_us > down_after_us + 2 * INFO_US;
        let is_down = elapsed_us > down_after_us || is_demoted;
        if is_down && !one.is_down {
            self.event("+sdown", format!("{}:{}", one.host, one.port));
            one.down_us = now_us;
        } else if !is_down && one.is_down {
            self.event("-sdown", format!("{}:{}", one.host, one.port));
        }
        one.is_down = is_down;
    }

    fn close(&mut self, one: &mut Watched, connection: u64) {
        one.link.lose(connection);
        self.out.push(Out::Close { connection });
    }

    /// `instanceLinkCloseConnection` of both.
    pub(super) fn close_all(&mut self, one: &mut Watched) {
        for connection in [one.link.commands, one.link.subscription].into_iter().flatten() {
            self.close(one, connection);
        }
    }

    /// `sentinelCheckObjectivelyDown`.
    fn check_odown(&mut self, master: &mut Master) {
        let agree = 1 + master.peers.iter().filter(|peer| peer.calls_it_down).count() as u64;
        let is_odown = master.own.is_down && agree >= master.settings.quorum;
        if is_odown && !master.own.is_odown {
            self.event("+odown", format!("{agree}/{}", master.settings.quorum));
            master.own.odown_us = self.now_us;
        } else if !is_odown && master.own.is_odown {
            self.event("-odown", String::new());
        }
        master.own.is_odown = is_odown;
    }

    /// `sentinelAskMasterStateToOtherSentinels`.
    pub(super) fn ask_peers(&mut self, master: &mut Master, is_forced: bool) {
        let now_us = self.now_us;
        let ((host, port), epoch) = (master.own.place(), self.epoch);
        let id = master.failover.is_some().then(|| self.id.clone());
        for peer in &mut master.peers {
            let elapsed_us = now_us - peer.asked_us;
            if elapsed_us > 5 * SECOND_US {
                (peer.calls_it_down, peer.leader) = (false, None);
            }
            let Some(connection) = peer.link.commands.filter(|_| !peer.link.is_disconnected) else {
                continue;
            };
            if master.own.is_down && (is_forced || elapsed_us >= SECOND_US) {
                self.ask(connection, Ask::Down { host: host.clone(), port, epoch, id: id.clone() });
            }
        }
    }

    pub(super) fn on_answered(&mut self, connection: u64, answer: Answer) {
        let now_us = self.now_us;
        let Some(one) = self.by_connection(connection) else { return };
        match answer {
            Answer::Pong { is_good } => {
                if is_good {
                    (one.link.good_us, one.link.waits_us) = (now_us, 0);
                }
                one.link.answered_us = now_us;
            }
            Answer::Published => one.published_us = now_us,
            Answer::Down { is_down, leader, epoch } => {
                (one.asked_us, one.calls_it_down) = (now_us, is_down);
                if leader.is_some() {
                    (one.leader, one.leader_epoch) = (leader, epoch);
                }
            }
            Answer::Info(said) => {
                let Some(mut master) = self.master.take() else { return };
                if master.own.link.has(connection) {
                    self.learn_of_master(&mut master, &said);
                } else if let Some(index) = master.replicas.iter().position(|one| one.link.has(connection)) {
                    self.learn_of_replica(&mut master, index, &said);
                }
                self.master = Some(master);
            }
        }
    }

    /// `sentinelSendSlaveOf`.
    pub(super) fn send_follow(&mut self, one: &Watched, master: Option<(String, u16)>) {
        if let Some(connection) = one.link.commands {
            self.ask(connection, Ask::Follow(master));
        }
    }
}

impl Watched {
    /// It is in no state of a failover.
    pub(super) fn is_promoted(&self) -> bool {
        self.turn == Turn::Promoted
    }
}

pub(super) const SECOND_US: u64 = 1_000_000;
/// `sentinel_info_period`.
pub(super) const INFO_US: u64 = 10 * SECOND_US;
/// `sentinel_publish_period`.
pub(super) const PUBLISH_US: u64 = 2 * SECOND_US;
/// `sentinel_min_link_reconnect_period`.
const RECONNECT_MIN_US: u64 = 15 * SECOND_US;
