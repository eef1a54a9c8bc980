//! What a command or a restart does to a server's state, as Redis does it: replication ids, offsets, partial
//! and full copies. Which server copies from which is the caller's affair; nothing here knows of time.

use crate::has::{Role, Server, id40};

impl Server {
    /// `REPLICAOF NO ONE`: a new replication id, and the old one as the former up to the present offset.
    pub fn promote(&mut self, tag: &str) {
        self.former = Some((std::mem::replace(&mut self.replid, id40(tag)), self.offset));
        self.role = Role::Master;
    }

    /// `REPLICAOF host port`: the link is down until a copy begins.
    pub fn replicate(&mut self, host: &str, port: u16) {
        let link = self.follow(host, port);
        (link.up, link.last_io_s) = (false, None);
    }

    /// Whether a partial copy from `master` is legal: one history, or the one that it grew out of, not
    /// beyond the fork (`masterTryPartialResynchronization` in replication.c).
    pub fn can_continue(&self, master: &Self) -> bool {
        self.replid == master.replid && self.offset <= master.offset
            || master.former.as_ref().is_some_and(|(id, end)| *id == self.replid && self.offset <= *end)
    }

    /// A copy from `master` has ended, in part or in full: the same history, offset and keys, and the link is
    /// up. On `+CONTINUE` under a new id, what it had so far is its former history; a full copy brings one
    /// history and no former one.
    pub fn copied(&mut self, master: &Self) {
        if self.replid != master.replid {
            self.former = self.can_continue(master).then(|| (self.replid.clone(), self.offset));
        } else if !self.can_continue(master) {
            self.former = None;
        }
        (self.replid, self.offset, self.keys) = (master.replid.clone(), master.offset, master.keys);
        if let Some(link) = self.master_link() {
            (link.up, link.syncing, link.last_io_s, link.down_s) = (true, false, Some(0), None);
        }
    }

    /// A master takes writes: so many bytes of the stream, one key each.
    pub fn write(&mut self, bytes: u64) {
        self.offset = self.offset.saturating_add(bytes);
        self.keys = self.keys.saturating_add(bytes);
    }

    /// A new process without data: new run id, up for this long, a history of its own at offset 0. Its role
    /// is what its configuration says, and stays.
    pub fn restart(&mut self, uptime_s: u64) -> &mut Self {
        (self.run_id, self.uptime_s) = (id40(&format!("{}+", self.id)), uptime_s);
        (self.replid, self.offset, self.former, self.keys) = (id40(&format!("own {}+", self.id)), 0, None, 0);
        self.loaded = 0;
        self
    }

    /// A new process with an RDB file: history, offset and keys stand in it.
    pub fn restart_with_rdb(&mut self, uptime_s: u64) {
        self.loaded = self.keys;
        (self.run_id, self.uptime_s) = (id40(&format!("{}+", self.id)), uptime_s);
    }

    /// A new process with AOF: a new history at offset 1, and the data all there.
    pub fn restart_with_aof(&mut self, uptime_s: u64) -> &mut Self {
        let keys = self.keys;
        self.restart(uptime_s);
        (self.offset, self.keys, self.aof, self.loaded) = (1, keys, true, keys);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promotion_grows_out_of_the_old_history_and_a_replica_at_the_fork_continues() {
        let mut master = Server::new(1);
        master.history("a", 100);
        let mut replica = master.clone();
        master.promote("b");
        master.write(50);
        assert!(replica.can_continue(&master));
        replica.replicate("10.0.0.1", 6379);
        replica.copied(&master);
        assert_eq!((replica.replid, replica.offset), (id40("b"), 150));
        assert_eq!(replica.former, Some((id40("a"), 100)));
    }

    #[test]
    fn bytes_beyond_the_fork_need_a_full_copy() {
        let mut master = Server::new(1);
        master.history("a", 100);
        let mut replica = master.clone();
        replica.write(1);
        master.promote("b");
        assert!(!replica.can_continue(&master));
    }
}
