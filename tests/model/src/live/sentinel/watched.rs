//! A server or another Sentinel, as a Sentinel has it (`sentinel.c`, `sentinelRedisInstance`), and the
//! link to it. Times are microseconds of the Sentinel's own clock; 0 means never.

/// One instance.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub host: String,
    pub port: u16,
    /// `runid`; of a Sentinel its id.
    pub run_id: Option<String>,
    pub link: Link,
    /// A hello was last published through it.
    pub published_us: u64,
    /// Of a Sentinel: its last hello.
    pub hello_us: u64,
    /// Of a Sentinel: its last answer on whether the master is down.
    pub asked_us: u64,
    /// `s_down`. The moment stays when the flag goes.
    pub is_down: bool,
    pub down_us: u64,
    /// `o_down`, of a master.
    pub is_odown: bool,
    pub odown_us: u64,
    /// The last INFO, and what it said.
    pub info_us: u64,
    pub is_master: bool,
    pub role_us: u64,
    pub follows: Option<(String, u16)>,
    pub follows_us: u64,
    pub is_linked: bool,
    /// `master_link_down_since_seconds`, in milliseconds: -1000 for a link that never was up.
    pub link_down_ms: i64,
    pub priority: u64,
    pub offset: u64,
    /// Of a Sentinel: it calls the master down.
    pub calls_it_down: bool,
    /// Of a Sentinel: its vote. Of a master: this Sentinel's own.
    pub leader: Option<String>,
    pub leader_epoch: u64,
    pub turn: Turn,
    pub turn_us: u64,
}

/// How far a replica is in a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    None,
    /// It is the one that becomes master.
    Promoted,
    /// It was sent the new master.
    Sent,
    /// It names the new master.
    Changing,
    /// It is linked to it, or was waited for long enough.
    Done,
}

/// The connections to an instance, by their numbers.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub commands: Option<u64>,
    pub subscription: Option<u64>,
    pub is_disconnected: bool,
    pub commands_us: u64,
    pub subscription_us: u64,
    pub heard_us: u64,
    /// `act_ping_time`: of the first PING that is not answered.
    pub waits_us: u64,
    pub pinged_us: u64,
    /// The last good answer to a PING, and the last one of any kind.
    pub good_us: u64,
    pub answered_us: u64,
    pub dialled_us: u64,
}

impl Watched {
    /// One that was not connected yet.
    pub fn new(host: &str, port: u16, is_master: bool, now_us: u64) -> Self {
        Self {
            host: host.into(),
            port,
            run_id: None,
            link: Link::new(now_us),
            published_us: now_us,
            hello_us: now_us,
            asked_us: now_us,
            is_down: false,
            down_us: 0,
            is_odown: false,
            odown_us: 0,
            info_us: 0,
            is_master,
            role_us: now_us,
            follows: None,
            follows_us: now_us,
            is_linked: false,
            link_down_ms: 0,
            priority: 100,
            offset: 0,
            calls_it_down: false,
            leader: None,
            leader_epoch: 0,
            turn: Turn::None,
            turn_us: 0,
        }
    }

    pub fn is_at(&self, host: &str, port: u16) -> bool {
        (self.host.as_str(), self.port) == (host, port)
    }

    pub fn place(&self) -> (String, u16) {
        (self.host.clone(), self.port)
    }

    /// It was neither `s_down` nor `o_down` within this time.
    pub fn is_up_for(&self, us: u64, now_us: u64) -> bool {
        let newest_us = self.down_us.max(self.odown_us);
        newest_us == 0 || now_us - newest_us > us
    }
}

impl Link {
    fn new(now_us: u64) -> Self {
        Self {
            commands: None,
            subscription: None,
            is_disconnected: true,
            commands_us: 0,
            subscription_us: 0,
            heard_us: 0,
            waits_us: now_us,
            pinged_us: 0,
            good_us: now_us,
            answered_us: now_us,
            dialled_us: 0,
        }
    }

    /// Whether a connection is one of its.
    pub fn has(&self, connection: u64) -> bool {
        self.commands == Some(connection) || self.subscription == Some(connection)
    }

    /// A connection has ended.
    pub fn lose(&mut self, connection: u64) {
        if self.commands == Some(connection) {
            self.commands = None;
        }
        if self.subscription == Some(connection) {
            self.subscription = None;
        }
        self.is_disconnected = true;
    }
}
