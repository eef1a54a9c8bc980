//! Connections of operators to servers and Sentinels, byte by byte, and the edges between any two peers
//! that can be cut.

use super::commands::Session;
use super::{Cluster, Event};
use crate::wire;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::task::Waker;

/// Whoever sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A server, by index.
    Server(usize),
    /// A process of an operator, by number.
    Operator(usize),
    /// A client, by index.
    Client(usize),
    /// A Sentinel, by index.
    Sentinel(usize),
}

/// One direction between two peers.
pub type Edge = (Peer, Peer);

#[derive(Debug, Default)]
pub(super) struct Network {
    connections: BTreeMap<u64, Connection>,
    dials: BTreeMap<u64, Dial>,
    cut: BTreeSet<Edge>,
    /// What was sent on an edge while it was cut, in order.
    held: Vec<(Edge, Event)>,
    /// Servers and Sentinels whose next command of an operator loses its reply.
    loses_reply: BTreeSet<Peer>,
}

#[derive(Debug)]
struct Connection {
    from: Peer,
    to: Peer,
    run: u64,
    /// The server's side is open.
    is_open: bool,
    asked: Vec<u8>,
    session: Session,
    /// What has arrived at the operator and was not read.
    inbox: Vec<u8>,
    /// The end has arrived at the operator.
    is_over: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Dial {
    from: Peer,
    to: Peer,
    /// Through a hop.
    is_passed_on: bool,
    end: Option<DialEnd>,
    waker: Option<Waker>,
}

/// How an attempt to connect ended: the number of the connection, or the error.
pub type DialEnd = Result<u64, ErrorKind>;

#[derive(Clone, Debug)]
pub(super) enum NetworkEvent {
    /// A SYN arrives at a server.
    Dialled { dial: u64 },
    /// Its answer arrives.
    DialEnded { dial: u64, end: DialEnd },
    /// Bytes arrive at a server.
    Asked { connection: u64, bytes: Vec<u8> },
    /// Bytes arrive at an operator.
    Answered { connection: u64, bytes: Vec<u8> },
    /// The end arrives at an operator.
    Ended { connection: u64 },
    /// The end arrives at a server.
    Left { connection: u64 },
}

impl Cluster {
    /// Begins to connect, to the peer itself or through its hop.
    pub fn dial(&mut self, from: Peer, to: Peer, is_passed_on: bool) -> u64 {
        let dial = self.number();
        self.network.dials.insert(dial, Dial { from, to, is_passed_on, end: None, waker: None });
        self.send(from, to, Event::Network(NetworkEvent::Dialled { dial }));
        dial
    }

    /// How the attempt ended. None: it has not, and wakes the waker when it has.
    pub fn dial_end(&mut self, dial: u64, waker: &Waker) -> Option<DialEnd> {
        let state = self.network.dials.get_mut(&dial)?;
        match state.end {
            Some(end) => {
                self.network.dials.remove(&dial);
                Some(end)
            }
            None => {
                state.waker = Some(waker.clone());
                None
            }
        }
    }

    /// Sends bytes on a connection.
    pub fn write(&mut self, connection: u64, bytes: Vec<u8>) {
        let Some(state) = self.network.connections.get(&connection) else { return };
        let (from, to) = (state.from, state.to);
        self.send(from, to, Event::Network(NetworkEvent::Asked { connection, bytes }));
    }

    /// What has arrived on a connection. Some and empty: its end. None: nothing yet; the waker is woken.
    pub fn read(&mut self, connection: u64, waker: &Waker, at_most: usize) -> Option<Vec<u8>> {
        let Some(state) = self.network.connections.get_mut(&connection) else { return Some(vec![]) };
        if !state.inbox.is_empty() {
            let rest = state.inbox.split_off(state.inbox.len().min(at_most));
            return Some(std::mem::replace(&mut state.inbox, rest));
        }
        if state.is_over {
            return Some(vec![]);
        }
        state.waker = Some(waker.clone());
        None
    }

    /// The operator's side closes a connection.
    pub fn close(&mut self, connection: u64) {
        let Some(state) = self.network.connections.get_mut(&connection) else { return };
        state.waker = None;
        let (from, to) = (state.from, state.to);
        self.send(from, to, Event::Network(NetworkEvent::Left { connection }));
    }

    /// All connections of a peer end, as those of a process that was killed. What was sent still arrives.
    pub fn end_peer(&mut self, peer: Peer) {
        let of: Vec<u64> = self
            .network
            .connections
            .iter()
            .filter(|(_, state)| state.from == peer)
            .map(|(number, _)| *number)
            .collect();
        for connection in of {
            if let Some(state) = self.network.connections.get_mut(&connection) {
                state.is_over = true;
                state.waker.take().into_iter().for_each(Waker::wake);
            }
            self.close(connection);
        }
        self.network.dials.retain(|_, dial| dial.from != peer);
    }

    /// Cuts an edge: what is sent on it is held back. What is on its way arrives.
    pub fn cut(&mut self, edge: Edge) {
        self.network.cut.insert(edge);
    }

    /// Mends an edge: what was held back arrives now.
    pub fn mend(&mut self, edge: Edge) {
        if self.network.cut.remove(&edge) {
            let held = std::mem::take(&mut self.network.held);
            for (on, event) in held {
                if on == edge {
                    self.at(self.now_us + self.timing.latency_us, event);
                } else {
                    self.network.held.push((on, event));
                }
            }
        }
    }

    /// Mends every edge.
    pub fn mend_all(&mut self) {
        self.network.cut.clone().into_iter().for_each(|edge| self.mend(edge));
    }

    /// Whether an edge is cut.
    pub fn is_cut(&self, edge: Edge) -> bool {
        self.network.cut.contains(&edge)
    }

    /// The server or Sentinel carries out the next command of an operator that changes it, and the
    /// connection ends before the reply.
    pub fn lose_reply(&mut self, of: Peer) {
        self.network.loses_reply.insert(of);
    }

    pub(super) fn send(&mut self, from: Peer, to: Peer, event: Event) {
        if self.network.cut.contains(&(from, to)) {
            self.network.held.push(((from, to), event));
        } else {
            self.at(self.now_us + self.timing.latency_us, event);
        }
    }

    pub(super) fn on_network(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Dialled { dial } => self.on_dialled(dial),
            NetworkEvent::DialEnded { dial, end } => match self.network.dials.get_mut(&dial) {
                Some(state) => {
                    state.end = Some(end);
                    state.waker.take().into_iter().for_each(Waker::wake);
                }
                None => end.into_iter().for_each(|connection| self.close(connection)),
            },
            NetworkEvent::Asked { connection, bytes } => self.on_asked(connection, bytes),
            NetworkEvent::Answered { connection, bytes } => {
                if let Some(state) = self.network.connections.get_mut(&connection) {
                    state.inbox.extend_from_slice(&bytes);
                    state.waker.take().into_iter().for_each(Waker::wake);
                }
            }
            NetworkEvent::Ended { connection } => {
                if let Some(state) = self.network.connections.get_mut(&connection) {
                    state.is_over = true;
                    state.waker.take().into_iter().for_each(Waker::wake);
                }
            }
            NetworkEvent::Left { connection } => drop(self.network.connections.remove(&connection)),
        }
    }

    /// The kernel of a process that stands still accepts a connection, too.
    fn on_dialled(&mut self, dial: u64) {
        let Some(&Dial { from, to, is_passed_on, .. }) = self.network.dials.get(&dial) else { return };
        let running = self.running(to);
        // A hop accepts first, and learns then that nothing accepts behind it.
        let accepted = if is_passed_on {
            self.hop_accepts(to).then_some(running.unwrap_or(NO_PROCESS))
        } else {
            running
        };
        let end = if let Some(run) = accepted {
            let connection = self.number();
            let state = Connection {
                from,
                to,
                run,
                is_open: true,
                asked: vec![],
                session: Session::default(),
                inbox: vec![],
                is_over: false,
                waker: None,
            };
            self.network.connections.insert(connection, state);
            Ok(connection)
        } else {
            Err(ErrorKind::ConnectionRefused)
        };
        self.send(to, from, Event::Network(NetworkEvent::DialEnded { dial, end }));
        if let (Ok(connection), None) = (end, running) {
            self.end(connection);
        }
    }

    fn on_asked(&mut self, connection: u64, bytes: Vec<u8>) {
        let Some(state) = self.network.connections.get(&connection) else { return };
        let (to, run) = (state.to, state.run);
        if !state.is_open || self.running(to).is_some_and(|running| running != run) {
            return self.end(connection);
        }
        let asked = || Event::Network(NetworkEvent::Asked { connection, bytes: bytes.clone() });
        let is_taken = match to {
            Peer::Server(server) => self.takes(server, run, asked),
            Peer::Sentinel(sentinel) => self.sentinel_takes(sentinel, run, asked),
            Peer::Operator(_) | Peer::Client(_) => false,
        };
        if !is_taken {
            return;
        }
        let Some(state) = self.network.connections.get_mut(&connection) else { return };
        state.asked.extend_from_slice(&bytes);
        let (from, mut asked) = (state.from, std::mem::take(&mut state.asked));
        let mut session = std::mem::take(&mut state.session);
        let (mut reply, mut taken, mut is_change) = (String::new(), 0, false);
        while let Ok(Some((words, length))) = wire::request(&asked[taken..]) {
            taken += length;
            is_change |= match to {
                Peer::Server(server) => {
                    self.command(server, from, connection, &mut session, words, &mut reply)
                }
                Peer::Sentinel(sentinel) => self.command_sentinel(sentinel, &words, &mut reply),
                Peer::Operator(_) | Peer::Client(_) => false,
            };
        }
        asked.drain(..taken);
        let is_lost = is_change && self.network.loses_reply.remove(&to);
        // The command may have ended its own connection.
        let Some(state) = self.network.connections.get_mut(&connection) else { return };
        (state.asked, state.session) = (asked, session);
        if is_lost {
            state.is_open = false;
            return self.end(connection);
        }
        if !reply.is_empty() {
            let bytes = reply.into_bytes();
            let answered = NetworkEvent::Answered { connection, bytes };
            self.send(to, from, Event::Network(answered));
        }
    }

    /// The server's side ends a connection.
    pub(super) fn end(&mut self, connection: u64) {
        let Some(state) = self.network.connections.get_mut(&connection) else { return };
        state.is_open = false;
        let (from, to) = (state.from, state.to);
        self.send(to, from, Event::Network(NetworkEvent::Ended { connection }));
    }

    /// The server's side ends all connections of operators but one.
    pub(super) fn end_operators(&mut self, of: Peer, but: Option<u64>) -> usize {
        let is_one = |(number, state): (&u64, &Connection)| {
            (state.to == of && state.is_open && Some(*number) != but).then_some(*number)
        };
        let ended: Vec<u64> = self.network.connections.iter().filter_map(is_one).collect();
        ended.iter().for_each(|connection| self.end(*connection));
        ended.len()
    }

    pub(super) fn end_connections(&mut self, server: usize) {
        self.end_operators(Peer::Server(server), None);
        self.end_routes(Peer::Server(server), None, None);
    }
}

/// Of a connection that a hop accepted while no process ran: none has that number.
const NO_PROCESS: u64 = u64::MAX;
