//! A link between a replica and its master: how far it is, as each of the two has it, and what is sent on it.

/// A replica's link to its master.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Numbers the attempts: what belongs to another one is ignored.
    pub(super) link: u64,
    /// The server at the address that it names. None: there is none.
    pub(super) master: Option<usize>,
    pub(super) phase: LinkPhase,
    pub(super) last_io_us: u64,
    /// The copy that is being read.
    pub(super) copy: Option<Copy>,
}

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPhase {
    /// There is no connection.
    Down,
    /// A handshake was begun.
    Connecting,
    /// A full copy was promised.
    Copying,
    /// The stream flows.
    Up,
}

/// A replica, as its master has it.
#[derive(Clone, Debug)]
pub struct Attached {
    pub(super) link: u64,
    /// The stream is sent to it.
    pub(super) is_online: bool,
    pub(super) is_sent: bool,
    pub(super) acked: u64,
    pub(super) acked_us: u64,
    /// What it has said to have on its disk. None: it writes no append-only file.
    pub(super) synced: Option<u64>,
}

/// What a full copy brings.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) master: usize,
    pub(super) stream: usize,
    pub(super) replid: String,
    pub(super) offset: u64,
}

#[derive(Clone, Debug)]
pub(super) enum LinkEvent {
    /// A replica asks for the stream.
    Asked { replica: usize, link: u64, master: usize, replid: String, offset: u64 },
    /// It is refused.
    Refused { replica: usize, link: u64 },
    /// It continues.
    Continues { replica: usize, link: u64, stream: usize, replid: String, offset: u64 },
    /// It is to wait for a full copy.
    Promised { replica: usize, link: u64 },
    /// The master takes the snapshot.
    Snapshot { master: usize, run: u64, replica: usize, link: u64 },
    /// The whole copy has arrived.
    Copied { replica: usize, link: u64, copy: Copy },
    /// The stream up to this offset, and whether an acknowledgement is asked for.
    Stream { replica: usize, link: u64, offset: u64, asks: bool },
    /// The master's side has ended.
    Ended { replica: usize, link: u64 },
    /// An acknowledgement.
    Acked { master: usize, replica: usize, link: u64, offset: u64, synced: Option<u64> },
    /// The replica's side has ended.
    Detached { master: usize, replica: usize, link: u64 },
}

impl Upstream {
    pub(super) fn new(master: Option<usize>, now_us: u64) -> Self {
        Self { link: 0, master, phase: LinkPhase::Down, last_io_us: now_us, copy: None }
    }

    /// How far it is.
    pub fn phase(&self) -> LinkPhase {
        self.phase
    }
}

impl Attached {
    pub(super) fn state(&self) -> &'static str {
        match (self.is_online, self.is_sent) {
            (true, _) => "online",
            (false, true) => "send_bulk",
            (false, false) => "wait_bgsave",
        }
    }
}
