//! Clients that write, one write at a time, and what they were told. A client writes to the server that it is
//! connected to until that connection ends or the server refuses; then it connects to the one that is
//! published.

use super::data::WriteAt;
use super::disk::Files;
use super::network::Peer;
use super::process::{Life, SECOND_US};
use super::{Cluster, Event};
use crate::has::Role;

/// One client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Between the end of a write and the next one.
    pub pace_us: u64,
    /// How many replicas it waits for.
    pub wait: Wait,
    /// The server and the process that it writes to, until that one refuses or ends the connection.
    connection: Option<(usize, u64)>,
    /// The write that it waits for.
    pending: Option<u64>,
    attempts: u64,
}

/// How long a write is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Wait {
    /// Until the master replies.
    Master,
    /// `WAIT` for so many replicas.
    Replicas(usize),
    /// `WAITAOF` for the disk of the master and those of so many replicas.
    Disks(usize),
}

/// A write that a server carried out.
#[derive(Clone, Debug)]
pub struct Write {
    /// The server.
    pub server: usize,
    /// Its place in the tree.
    pub at: WriteAt,
    /// When it was carried out.
    pub done_us: u64,
    /// When its client knew, and how many replicas had acknowledged it. None: the client never knew.
    pub acknowledged: Option<(u64, usize)>,
    /// What its client waited for. Without the disk of the master, what it knows is no more than a reply.
    pub wait: Wait,
}

#[derive(Clone, Debug)]
pub(super) enum ClientEvent {
    /// The client's next step.
    Turn { client: usize },
    /// A write arrives at a server.
    Asked { client: usize, attempt: u64, server: usize, run: u64 },
    /// Its reply arrives. None: it was refused.
    Answered { client: usize, attempt: u64, write: Option<(usize, usize)> },
    /// The client waits no longer, or the connection has ended.
    GaveUp { client: usize, attempt: u64 },
    /// `WAIT` is over.
    WaitOver { server: usize, run: u64, number: u64 },
}

/// A client whose write waits at a server.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    client: usize,
    attempt: u64,
    server: usize,
    run: u64,
    kind: Waits,
}

#[derive(Clone, Debug)]
enum Waits {
    /// For the end of a pause.
    Pause,
    /// For acknowledgements of a write that was carried out.
    Replicas { write: usize, offset: u64, wanted: usize, number: u64 },
}

impl Cluster {
    /// Adds a client, which begins at once.
    pub fn add_client(&mut self, pace_us: u64, wait: Wait) -> usize {
        self.clients.push(Client { pace_us, wait, connection: None, pending: None, attempts: 0 });
        let client = self.clients.len() - 1;
        self.at(self.now_us, Event::Client(ClientEvent::Turn { client }));
        client
    }

    /// A `SET` of a new key that is carried out at once, if the server takes writes now: so many bytes of its
    /// stream.
    pub fn set(&mut self, server: usize, bytes: u64) -> bool {
        let is_taken = self.is_writable(server);
        if is_taken {
            self.append_write(server, bytes, 1);
        }
        is_taken
    }

    pub(super) fn on_client(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Turn { client } => self.on_turn(client),
            ClientEvent::Asked { client, attempt, server, run } => {
                self.on_write(client, attempt, server, run)
            }
            ClientEvent::Answered { client, attempt, write } => {
                if self.clients[client].pending != Some(attempt) {
                    return;
                }
                match write {
                    Some((write, replicas)) => {
                        self.writes[write].acknowledged = Some((self.now_us, replicas));
                        self.turn_after(client, self.clients[client].pace_us);
                    }
                    None => self.start_over(client),
                }
            }
            ClientEvent::GaveUp { client, attempt } => {
                if self.clients[client].pending == Some(attempt) {
                    self.start_over(client);
                }
            }
            ClientEvent::WaitOver { server, run, number } => {
                if self.takes(server, run, || Event::Client(ClientEvent::WaitOver { server, run, number })) {
                    self.finish_waits(server, Some(number));
                }
            }
        }
    }

    fn turn_after(&mut self, client: usize, us: u64) {
        self.clients[client].pending = None;
        self.at(self.now_us + us, Event::Client(ClientEvent::Turn { client }));
    }

    fn start_over(&mut self, client: usize) {
        self.clients[client].connection = None;
        self.turn_after(client, RECONNECT_US);
    }

    fn on_turn(&mut self, client: usize) {
        if self.clients[client].pending.is_some() {
            return;
        }
        let connection = self.clients[client].connection.or_else(|| {
            let server = self.service?;
            (self.processes[server].life != Life::Down).then(|| (server, self.processes[server].run))
        });
        let Some((server, run)) = connection else { return self.start_over(client) };
        let state = &mut self.clients[client];
        state.attempts += 1;
        let attempt = state.attempts;
        (state.connection, state.pending) = (connection, Some(attempt));
        let asked = ClientEvent::Asked { client, attempt, server, run };
        self.send(Peer::Client(client), Peer::Server(server), Event::Client(asked));
        self.at(self.now_us + PATIENCE_US, Event::Client(ClientEvent::GaveUp { client, attempt }));
    }

    fn on_write(&mut self, client: usize, attempt: u64, server: usize, run: u64) {
        if self.processes[server].life == Life::Down || self.processes[server].run != run {
            return self.give_up(client, attempt, server);
        }
        let asked = || Event::Client(ClientEvent::Asked { client, attempt, server, run });
        if !self.takes(server, run, asked) {
            return;
        }
        // A connection that was ended in the meantime carries nothing.
        if self.clients[client].connection != Some((server, run)) {
            return;
        }
        let process = &self.processes[server];
        if process.paused_until_us > self.now_us && process.server.role == Role::Master {
            self.waiting.push(Waiting { client, attempt, server, run, kind: Waits::Pause });
            return;
        }
        if !self.is_writable(server) {
            return self.answer(client, attempt, server, None);
        }
        let new_keys = u64::from(attempt.is_multiple_of(4));
        // Nothing is streamed before the first replica; since 7.2 an append-only file counts on.
        let process = &self.processes[server];
        let bytes = match process.backlog {
            Some(_) => WRITE_BYTES,
            None => u64::from(process.disk.files == Files::Aof),
        };
        let at = self.append_write(server, bytes, new_keys);
        let wait = self.clients[client].wait;
        let (done_us, offset) = (self.now_us, self.processes[server].server.offset);
        self.writes.push(Write { server, at, done_us, acknowledged: None, wait });
        let write = self.writes.len() - 1;
        match wait {
            Wait::Master => self.answer(client, attempt, server, Some((write, 0))),
            Wait::Replicas(wanted) | Wait::Disks(wanted) => {
                let number = self.number();
                let kind = Waits::Replicas { write, offset, wanted, number };
                self.waiting.push(Waiting { client, attempt, server, run, kind });
                self.feed(server, true);
                let over = ClientEvent::WaitOver { server, run, number };
                let wait_us = if matches!(wait, Wait::Disks(_)) { WAITAOF_US } else { WAIT_US };
                self.at(self.now_us + wait_us, Event::Client(over));
            }
        }
    }

    fn answer(&mut self, client: usize, attempt: u64, server: usize, write: Option<(usize, usize)>) {
        let answered = ClientEvent::Answered { client, attempt, write };
        self.send(Peer::Server(server), Peer::Client(client), Event::Client(answered));
    }

    fn give_up(&mut self, client: usize, attempt: u64, server: usize) {
        let gave_up = ClientEvent::GaveUp { client, attempt };
        self.send(Peer::Server(server), Peer::Client(client), Event::Client(gave_up));
    }

    /// A pause is over, or a master has lost its role: the writes that waited are carried out or refused.
    pub(super) fn run_paused(&mut self, server: usize) {
        let waiting = std::mem::take(&mut self.waiting);
        let (now, later): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|waiting| waiting.server == server && matches!(waiting.kind, Waits::Pause));
        self.waiting = later;
        for Waiting { client, attempt, server, run, .. } in now {
            self.on_write(client, attempt, server, run);
        }
        self.run_postponed(server);
    }

    pub(super) fn on_acknowledged(&mut self, server: usize) {
        self.finish_waits(server, None);
    }

    /// Answers those whose replicas have acknowledged, and the one whose time is over.
    fn finish_waits(&mut self, server: usize, over: Option<u64>) {
        if self.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        for one in waiting {
            let Waits::Replicas { write, offset, wanted, number } = one.kind else {
                self.waiting.push(one);
                continue;
            };
            if one.server != server {
                self.waiting.push(one);
                continue;
            }
            let (is_local, replicas) = match self.writes[write].wait {
                Wait::Disks(_) => self.on_disks(server, offset),
                Wait::Master | Wait::Replicas(_) => (true, self.acknowledged(server, offset)),
            };
            if is_local && replicas >= wanted {
                self.answer(one.client, one.attempt, server, Some((write, replicas)));
            } else if over == Some(number) {
                let known = if is_local { replicas } else { 0 };
                if !is_local {
                    self.writes[write].wait = Wait::Master;
                }
                self.answer(one.client, one.attempt, server, Some((write, known)));
            } else {
                self.waiting.push(one);
            }
        }
    }

    /// The server's side ends all connections of clients. Returns how many.
    pub(super) fn end_client_connections(&mut self, server: usize) -> usize {
        self.waiting.retain(|waiting| waiting.server != server);
        let mut ended = 0;
        for client in 0..self.clients.len() {
            let state = &mut self.clients[client];
            if state.connection.is_some_and(|(at, _)| at == server) {
                state.connection = None;
                ended += 1;
                if let Some(attempt) = state.pending {
                    self.give_up(client, attempt, server);
                }
            }
        }
        ended
    }
}

/// A `SET` of a short value.
const WRITE_BYTES: u64 = 40;
/// Until a client that was refused, or whose connection has ended, tries again.
const RECONNECT_US: u64 = 20_000;
/// A client waits so long for a reply.
const PATIENCE_US: u64 = 2 * SECOND_US;
/// `WAIT` waits so long.
const WAIT_US: u64 = 200_000;
/// `WAITAOF` waits so long: for the second of the master's disk, and for that of a replica.
const WAITAOF_US: u64 = 1_500_000;
