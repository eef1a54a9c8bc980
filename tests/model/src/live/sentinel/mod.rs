//! A Sentinel that lives: it watches servers, talks with its peers, is elected and fails over, as
//! `sentinel.c` of Redis 7.0 does. It is a state machine: what happens comes in with its time, what it
//! does goes out as [`Out`]; [`super::watch`] carries that to servers and peers.
//!
//! | module | owns |
//! |--|--|
//! | `watched` | a server or a peer, as this Sentinel has it |
//! | `looking` | connections, PING, INFO, who is down |
//! | `learning` | what an INFO changes |
//! | `hello` | what it publishes, and what it believes of others |
//! | `failover` | votes, the election, the states of a failover |
//! | `file` | what it keeps over a restart |
//! | `commands`, `rows` | what it is asked, and its words |
//!
//! Simplified: it watches one master; a write of its file takes no time; no scripts, passwords and host
//! names.

mod commands;
mod failover;
mod file;
mod hello;
mod learning;
mod looking;
mod rows;
mod watched;

use super::process::Life;
use crate::dice::Dice;
use crate::has::id40;
use failover::Failover;
use file::File;
pub use file::Settings;
use watched::Watched;

/// A Sentinel, running or not.
#[derive(Clone, Debug)]
pub struct Sentinel {
    pub(super) host: String,
    pub(super) port: u16,
    /// Numbers its processes.
    pub(super) run: u64,
    pub(super) life: Life,
    /// Its timer was due while it stood still.
    pub(super) timer_is_due: bool,
    /// What is ahead of the world's time: its clock may jump.
    pub(super) ahead_us: u64,
    id: String,
    run_id: String,
    /// The moment of its clock at which it does something now.
    now_us: u64,
    dice: Dice,
    /// `current_epoch`.
    epoch: u64,
    master: Option<Master>,
    tilt_us: Option<u64>,
    previous_us: u64,
    connections: u64,
    file: File,
    out: Vec<Out>,
}

/// What it watches.
#[derive(Clone, Debug)]
struct Master {
    settings: Settings,
    config_epoch: u64,
    own: Watched,
    replicas: Vec<Watched>,
    peers: Vec<Watched>,
    failover: Option<Failover>,
    /// When the last failover started, or may start.
    failover_start_us: u64,
}

/// What it does to the world.
#[derive(Clone, Debug)]
pub(super) enum Out {
    /// Connects.
    Dial { connection: u64, host: String, port: u16, kind: Kind },
    /// Sends something on a connection.
    Ask { connection: u64, ask: Ask },
    /// Closes one.
    Close { connection: u64 },
    /// Publishes an event to whoever listens to it.
    Event { channel: &'static str, text: String },
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Commands,
    /// To the hello channel of a server.
    Subscription,
}

/// What it asks a server or a peer.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Ping,
    Info,
    /// PUBLISH on the hello channel.
    Hello(String),
    /// SENTINEL IS-MASTER-DOWN-BY-ADDR; of the last one without asking for a vote.
    Down {
        host: String,
        port: u16,
        epoch: u64,
        id: Option<String>,
    },
    /// SLAVEOF in a transaction. None: NO ONE.
    Follow(Option<(String, u16)>),
}

/// What it is answered.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// To a PING: PONG or LOADING, or an error that counts as none of them.
    Pong {
        is_good: bool,
    },
    Info(Box<Said>),
    Published,
    Down {
        is_down: bool,
        leader: Option<String>,
        epoch: u64,
    },
}

/// What INFO of a server says.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub run_id: String,
    /// None: it is a master.
    pub follows: Option<(String, u16)>,
    pub is_linked: bool,
    /// `master_link_down_since_seconds`. None: the row is not there.
    pub link_down_s: Option<i64>,
    pub priority: u64,
    pub offset: u64,
    pub replicas: Vec<(String, u16)>,
}

/// What happens to it.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Timer,
    Answered { connection: u64, answer: Answer },
    Ended { connection: u64 },
    Heard { connection: u64, text: String },
}

impl Sentinel {
    /// One that does not run yet, with this file.
    pub(super) fn new(
        number: usize,
        host: String,
        port: u16,
        settings: Settings,
        master: (String, u16),
    ) -> Self {
        Self {
            host,
            port,
            run: 0,
            life: Life::Down,
            timer_is_due: false,
            ahead_us: CLOCK_US,
            id: id40(&format!("sid-{number}")),
            run_id: String::new(),
            now_us: 0,
            dice: Dice::new(number as u64),
            epoch: 0,
            master: None,
            tilt_us: None,
            previous_us: 0,
            connections: 0,
            file: File::new(settings, master),
            out: vec![],
        }
    }

    /// Where it listens.
    pub fn place(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whether it runs.
    pub fn life(&self) -> Life {
        self.life
    }

    /// `SENTINEL MYID`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The master that it names.
    pub fn names(&self) -> Option<(&str, u16)> {
        let own = self.master.as_ref()?.named();
        Some((&own.host, own.port))
    }

    /// The configuration's epoch.
    pub fn config_epoch(&self) -> u64 {
        self.master.as_ref().map_or(0, |master| master.config_epoch)
    }

    /// The replicas that it knows.
    pub fn replicas(&self) -> impl Iterator<Item = (&str, u16)> {
        let known = self.master.iter().flat_map(|master| &master.replicas);
        known.map(|one| (one.host.as_str(), one.port))
    }

    /// The ids of the other Sentinels that it knows.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        self.master.iter().flat_map(|master| &master.peers).filter_map(|peer| peer.run_id.as_deref())
    }

    /// It is in TILT.
    pub fn is_in_tilt(&self) -> bool {
        self.tilt_us.is_some()
    }

    /// A failover of its own is under way.
    pub fn is_failing_over(&self) -> bool {
        self.master.as_ref().is_some_and(|master| master.failover.is_some())
    }

    /// A new process, from its file.
    pub(super) fn boot(&mut self, number: u64, now_us: u64) {
        self.now_us = now_us + self.ahead_us;
        self.run += 1;
        self.life = Life::Up;
        self.run_id = id40(&format!("srun{number}"));
        self.dice = Dice::new(self.dice.number() ^ number);
        (self.epoch, self.master) = self.file.load(self.now_us);
        (self.tilt_us, self.previous_us, self.timer_is_due) = (None, self.now_us, false);
        self.out.clear();
    }

    /// Its file is lost: it starts as it was set up, as a Sentinel that nobody knows.
    pub(super) fn forget(&mut self, number: u64) {
        self.id = id40(&format!("sid+{number}"));
        self.file.reset();
    }

    /// Until its timer is due again: `server.hz` is changed at random with each (`sentinelTimer`).
    pub(super) fn period_us(&mut self) -> u64 {
        1_000_000 / (10 + self.dice.below(10))
    }

    /// Takes in what happens.
    pub(super) fn on(&mut self, now_us: u64, input: Input) -> Vec<Out> {
        self.now_us = now_us + self.ahead_us;
        match input {
            Input::Timer => self.on_timer(),
            Input::Answered { connection, answer } => self.on_answered(connection, answer),
            Input::Ended { connection } => {
                if let Some(one) = self.by_connection(connection) {
                    one.link.lose(connection);
                }
            }
            Input::Heard { connection, text } => {
                let now_us = self.now_us;
                if let Some(one) = self.by_connection(connection) {
                    one.link.heard_us = now_us;
                    // It hears itself, too.
                    if !text.contains(&self.id) {
                        self.believe(&text);
                    }
                }
            }
        }
        std::mem::take(&mut self.out)
    }

    /// What a peer asks.
    pub(super) fn answer(&mut self, now_us: u64, ask: &Ask) -> (Option<Answer>, Vec<Out>) {
        self.now_us = now_us + self.ahead_us;
        let answer = match ask {
            Ask::Ping => Some(Answer::Pong { is_good: true }),
            Ask::Hello(text) => {
                self.believe(text);
                Some(Answer::Published)
            }
            Ask::Down { host, port, epoch, id } => {
                let (is_down, leader, epoch) = self.on_asked_down(host, *port, *epoch, id.as_deref());
                Some(Answer::Down { is_down, leader, epoch })
            }
            Ask::Info | Ask::Follow(_) => None,
        };
        (answer, std::mem::take(&mut self.out))
    }

    /// A command of an operator, or of a person.
    pub(super) fn command(&mut self, now_us: u64, words: &[String], reply: &mut String) -> (bool, Vec<Out>) {
        self.now_us = now_us + self.ahead_us;
        let is_change = self.carry_out(words, reply);
        (is_change, std::mem::take(&mut self.out))
    }

    fn on_timer(&mut self) {
        if self.now_us - self.previous_us > TILT_TRIGGER_US {
            self.tilt_us = Some(self.now_us);
            self.event("+tilt", String::new());
        }
        self.previous_us = self.now_us;
        if let Some(mut master) = self.master.take() {
            self.look_after_all(&mut master);
            self.master = Some(master);
        }
    }

    fn event(&mut self, channel: &'static str, text: String) {
        self.out.push(Out::Event { channel, text });
    }

    fn ask(&mut self, connection: u64, ask: Ask) {
        self.out.push(Out::Ask { connection, ask });
    }

    /// The instance that a connection belongs to.
    fn by_connection(&mut self, connection: u64) -> Option<&mut Watched> {
        let master = self.master.as_mut()?;
        let all = std::iter::once(&mut master.own).chain(&mut master.replicas).chain(&mut master.peers);
        all.into_iter().find(|one| one.link.has(connection))
    }

    /// Writes its file.
    fn flush(&mut self, master: &Master) {
        self.file.save(self.epoch, Some(master));
    }
}

impl Master {
    /// The one that it names: after a promotion that was seen, the promoted one
    /// (`sentinelGetCurrentMasterAddress`).
    fn named(&self) -> &Watched {
        let failover = self.failover.as_ref().filter(|failover| failover.is_promoted());
        failover.and_then(|failover| self.replicas.get(failover.promoted?)).unwrap_or(&self.own)
    }
}

/// `SENTINEL_TILT_TRIGGER`.
const TILT_TRIGGER_US: u64 = 2_000_000;
/// `SENTINEL_TILT_PERIOD`.
const TILT_US: u64 = 30_000_000;
/// Its clock at the start of the world: moments are never 0.
const CLOCK_US: u64 = 1_000_000_000_000;
