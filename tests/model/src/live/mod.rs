//! Servers that live: processes, replication, disks, connections and clients, on a clock that the caller
//! sets.
//!
//! [`Cluster::advance`] lets everything happen that is due, in the order of its time. A fault is a call. What
//! a server has (`data`) is kept apart from what it says (`has`, `says`), so a test can compare the two.
//!
//! | module | owns |
//! |--|--|
//! | `data` | the writes that servers have |
//! | `process` | one server: role, configuration; start, end, standstill |
//! | `trouble` | what people and machines do to a server |
//! | `disk` | what its disk has |
//! | `link` | a link between two servers, as each has it |
//! | `replication` | what happens on links: handshake, copies, the stream, acknowledgements |
//! | `commands` | what a command does, and its reply |
//! | `network` | connections of operators, and edges that are cut |
//! | `hops` | proxies and mapped ports between operators and servers |
//! | `sentinel`, `watch` | Sentinels that watch the servers, and their connections |
//! | `clients` | clients that write, and which of their writes were acknowledged |
//!
//! Simplified: a server carries out a command in no time; every byte takes one latency; a cut edge holds
//! bytes back and loses none, as TCP does; no output buffer is limited.

mod clients;
mod commands;
mod data;
mod disk;
mod hops;
mod link;
mod network;
mod process;
mod replication;
mod sentinel;
mod trouble;
mod watch;

pub use clients::{Client, Wait, Write};
pub use commands::Session;
pub use data::{Place, Streams, Tree, WriteAt};
pub use disk::{Disk, Files};
pub use link::LinkPhase;
pub use network::{DialEnd, Edge, Peer};
pub use process::{Boot, Life, Process};
pub use replication::PING_BYTES;
pub use sentinel::{Sentinel, Settings as Watching};

use network::Network;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// All servers of a group, the network between them and their clients.
#[derive(Debug)]
pub struct Cluster {
    now_us: u64,
    timing: Timing,
    processes: Vec<Process>,
    /// By number in the group: the server that has it now.
    members: Vec<usize>,
    /// By server: its number in the group, also if another one has it now. None: it is of another group.
    numbers_in_group: Vec<Option<usize>>,
    tree: Tree,
    streams: Streams,
    network: Network,
    /// By server: what passes on the operators' bytes.
    hops: BTreeMap<usize, hops::Hop>,
    clients: Vec<Client>,
    waiting: Vec<clients::Waiting>,
    writes: Vec<Write>,
    sentinels: Vec<Sentinel>,
    /// By Sentinel: what arrived while it stood still.
    unread: BTreeMap<usize, Vec<Event>>,
    /// The connections of Sentinels.
    routes: BTreeMap<watch::Key, watch::Route>,
    /// The server that new connections of clients are sent to.
    service: Option<usize>,
    events: BinaryHeap<Reverse<Due>>,
    numbers: u64,
    happened: Vec<(u64, Happened)>,
}

/// How long things take, in microseconds.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Timing {
    /// One way, between any two.
    pub latency_us: u64,
    /// `repl-diskless-sync-delay`, and the fork.
    pub copy_delay_us: u64,
    /// The transfer of a full copy.
    pub transfer_us: u64,
    /// Reading a data set, from a file or from a master.
    pub load_us: u64,
    /// `repl-timeout`.
    pub repl_timeout_us: u64,
    /// `repl-ping-replica-period`.
    pub ping_us: u64,
    /// `repl-backlog-size`, in bytes.
    pub backlog_bytes: u64,
}

/// What only the truth of the model shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A server became master by a command.
    Promoted {
        /// The server.
        server: usize,
        /// Its data.
        data: Place,
    },
    /// A full copy replaced the data of a server.
    Overwritten {
        /// The server.
        server: usize,
        /// The server that it copied from.
        master: usize,
        /// Its data before.
        before: Place,
        /// Its data now.
        after: Place,
    },
    /// A process started from its files.
    Booted {
        /// The server.
        server: usize,
        /// The data of the process before.
        before: Place,
        /// Its data now.
        after: Place,
    },
    /// A server carried out a command of an operator that changes it.
    Commanded {
        /// The server.
        server: usize,
        /// The operator.
        operator: usize,
        /// The command.
        command: String,
    },
    /// A server carried out a command of a Sentinel that changes its master.
    Repointed {
        /// The server.
        server: usize,
        /// The Sentinel.
        sentinel: usize,
        /// The command.
        command: String,
    },
    /// A Sentinel published an event.
    Sentinel {
        /// The Sentinel.
        sentinel: usize,
        /// The channel, `+switch-master`.
        channel: &'static str,
        /// The message: shorter than that of a real one.
        text: String,
    },
}

/// Something that happens at a moment.
#[derive(Clone, Debug)]
enum Event {
    /// The second of a server's own clock.
    Cron {
        server: usize,
        run: u64,
    },
    /// A file was read.
    Loaded {
        server: usize,
        run: u64,
    },
    /// The end of a write pause.
    PauseOver {
        server: usize,
        run: u64,
    },
    Link(link::LinkEvent),
    Network(network::NetworkEvent),
    Client(clients::ClientEvent),
    Watch(watch::WatchEvent),
}

#[derive(Debug)]
struct Due {
    at_us: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

impl Cluster {
    /// No servers yet.
    pub fn new(timing: Timing) -> Self {
        Self {
            now_us: 0,
            timing,
            processes: vec![],
            members: vec![],
            numbers_in_group: vec![],
            tree: Tree::default(),
            streams: Streams::default(),
            network: Network::default(),
            hops: BTreeMap::new(),
            clients: vec![],
            waiting: vec![],
            writes: vec![],
            sentinels: vec![],
            unread: BTreeMap::new(),
            routes: BTreeMap::new(),
            service: None,
            events: BinaryHeap::new(),
            numbers: 0,
            happened: vec![],
        }
    }

    /// The moment up to which everything has happened.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// When something is due next.
    pub fn next_us(&self) -> Option<u64> {
        self.events.peek().map(|Reverse(due)| due.at_us)
    }

    /// Lets everything happen that is due by then.
    pub fn advance(&mut self, to_us: u64) {
        while self.next_us().is_some_and(|at_us| at_us <= to_us) {
            let Some(Reverse(Due { at_us, event, .. })) = self.events.pop() else { break };
            self.now_us = self.now_us.max(at_us);
            match event {
                Event::Cron { server, run } => self.on_cron(server, run),
                Event::Loaded { server, run } => self.on_loaded(server, run),
                Event::PauseOver { server, run } => self.on_pause_over(server, run),
                Event::Link(event) => self.on_link(event),
                Event::Network(event) => self.on_network(event),
                Event::Client(event) => self.on_client(event),
                Event::Watch(event) => self.on_watch(event),
            }
        }
        self.now_us = self.now_us.max(to_us);
    }

    /// The servers, in order.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The servers of the group, in the order of their numbers.
    pub fn members(&self) -> impl Iterator<Item = usize> + Clone + use<'_> {
        self.members.iter().copied()
    }

    /// The server that has that number in the group now.
    pub fn member(&self, number: usize) -> usize {
        self.members[number]
    }

    /// The number in the group that a server has or had. None: it is of another group.
    pub fn number_in_group(&self, server: usize) -> Option<usize> {
        self.numbers_in_group[server]
    }

    /// Whether a server is one of the group now.
    pub fn is_member(&self, server: usize) -> bool {
        self.members.contains(&server)
    }

    /// Servers of another group.
    pub fn strangers(&self) -> impl Iterator<Item = usize> + use<'_> {
        (0..self.processes.len()).filter(|server| self.numbers_in_group[*server].is_none())
    }

    /// The server whose process has that run id, or had it last.
    pub fn find_run(&self, run_id: &str) -> Option<usize> {
        self.processes.iter().position(|process| process.server().run_id == run_id)
    }

    /// All writes that a server carried out.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The tree of all data.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What happened since the last call, with its moment.
    pub fn take_happened(&mut self) -> Vec<(u64, Happened)> {
        std::mem::take(&mut self.happened)
    }

    /// Sends new connections of clients to this server.
    pub fn set_service(&mut self, server: Option<usize>) {
        self.service = server;
    }

    /// The index of the server at this address.
    pub fn find(&self, host: &str, port: u16) -> Option<usize> {
        self.processes.iter().position(|process| process.server().is_at(host, port))
    }

    /// The server or the Sentinel at this address.
    pub fn find_peer(&self, host: &str, port: u16) -> Option<Peer> {
        let sentinel = || self.sentinels.iter().position(|sentinel| sentinel.place() == (host, port));
        self.find(host, port).map(Peer::Server).or_else(|| sentinel().map(Peer::Sentinel))
    }

    /// What a server that runs has in memory.
    pub fn data(&self, server: usize) -> Place {
        self.processes[server].data(&self.streams).0
    }

    /// What would be read if the server were started now: for one that runs, what its disk has.
    pub fn stored(&self, server: usize) -> Option<Place> {
        self.processes[server].stored()
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn at(&mut self, at_us: u64, event: Event) {
        let number = self.number();
        self.events.push(Reverse(Due { at_us, number, event }));
    }

    fn note(&mut self, happened: Happened) {
        self.happened.push((self.now_us, happened));
    }
}
