//! The rows of SENTINEL MASTERS, REPLICAS and SENTINELS, in the words and the order of `sentinel.c`,
//! `addReplySentinelRedisInstance`.

use super::watched::{Turn, Watched};
use super::{Master, Sentinel};
use crate::says::RespText;

impl Sentinel {
    /// The row of the master.
    pub(super) fn row_of_master(&self, master: &Master) -> RespText {
        let (own, settings) = (&master.own, &master.settings);
        let mut row = RespText::table();
        row.pair("name", &settings.name);
        let mut flags = vec!["master"];
        if master.failover.is_some() {
            flags.push("failover_in_progress");
        }
        if master.failover.as_ref().is_some_and(|failover| failover.is_forced) {
            flags.push("force_failover");
        }
        let state = master.failover.as_ref().map(|failover| failover.state.name());
        self.common(&mut row, own, &flags, state, master);
        self.role(&mut row, own);
        row.pair("config-epoch", master.config_epoch).pair("num-slaves", master.replicas.len());
        row.pair("num-other-sentinels", master.peers.len()).pair("quorum", settings.quorum);
        row.pair("failover-timeout", settings.failover_timeout_ms);
        row.pair("parallel-syncs", settings.parallel_syncs);
        row
    }

    /// The row of a replica.
    pub(super) fn row_of_replica(&self, master: &Master, one: &Watched) -> RespText {
        let mut row = RespText::table();
        row.pair("name", format!("{}:{}", one.host, one.port));
        let mut flags = vec!["slave"];
        flags.extend(match one.turn {
            Turn::None => None,
            Turn::Promoted => Some("promoted"),
            Turn::Sent => Some("reconf_sent"),
            Turn::Changing => Some("reconf_inprog"),
            Turn::Done => Some("reconf_done"),
        });
        self.common(&mut row, one, &flags, None, master);
        self.role(&mut row, one);
        let (host, port) = one.follows.clone().unwrap_or_else(|| ("?".into(), 0));
        row.pair("master-link-down-time", one.link_down_ms);
        row.pair("master-link-status", if one.is_linked { "ok" } else { "err" });
        row.pair("master-host", host).pair("master-port", port);
        row.pair("slave-priority", one.priority).pair("slave-repl-offset", one.offset);
        row.pair("replica-announced", 1);
        row
    }

    /// The row of another Sentinel.
    pub(super) fn row_of_peer(&self, master: &Master, one: &Watched) -> RespText {
        let mut row = RespText::table();
        row.pair("name", one.run_id.as_deref().unwrap_or_default());
        let mut flags = vec!["sentinel"];
        if one.calls_it_down {
            flags.push("master_down");
        }
        self.common(&mut row, one, &flags, None, master);
        row.pair("last-hello-message", self.ms_since(one.hello_us));
        row.pair("voted-leader", one.leader.as_deref().unwrap_or("?"));
        row.pair("voted-leader-epoch", one.leader_epoch);
        row
    }

    /// What all rows have after the name. `disconnected` stands after the kind.
    fn common(
        &self,
        row: &mut RespText,
        one: &Watched,
        flags: &[&str],
        state: Option<&str>,
        master: &Master,
    ) {
        let mut all = vec![];
        if one.is_down {
            all.push("s_down");
        }
        if one.is_odown {
            all.push("o_down");
        }
        let (kind, rest) = flags.split_at(1);
        all.extend(kind);
        if one.link.is_disconnected {
            all.push("disconnected");
        }
        all.extend(rest);
        row.pair("ip", &one.host).pair("port", one.port);
        row.pair("runid", one.run_id.as_deref().unwrap_or_default()).pair("flags", all.join(","));
        row.pair("link-pending-commands", 0).pair("link-refcount", 1);
        if let Some(state) = state {
            row.pair("failover-state", state);
        }
        let link = &one.link;
        let waits_ms = if link.waits_us == 0 { 0 } else { self.ms_since(link.waits_us) };
        row.pair("last-ping-sent", waits_ms).pair("last-ok-ping-reply", self.ms_since(link.good_us));
        row.pair("last-ping-reply", self.ms_since(link.answered_us));
        if one.is_down {
            row.pair("s-down-time", self.ms_since(one.down_us));
        }
        if one.is_odown {
            row.pair("o-down-time", self.ms_since(one.odown_us));
        }
        row.pair("down-after-milliseconds", master.settings.down_after_ms);
    }

    fn role(&self, row: &mut RespText, one: &Watched) {
        let info_ms = if one.info_us == 0 { 0 } else { self.ms_since(one.info_us) };
        row.pair("info-refresh", info_ms);
        row.pair("role-reported", if one.is_master { "master" } else { "slave" });
        row.pair("role-reported-time", self.ms_since(one.role_us));
    }

    fn ms_since(&self, us: u64) -> u64 {
        self.now_us.saturating_sub(us) / 1_000
    }
}
