//! Hops between operators and servers: a proxy, a mapped port, a sidecar. Operators dial the hop, servers and
//! clients reach the server itself. A hop accepts connections whether its server runs or not, and ends them
//! when it restarts, whatever its server does.

use super::Cluster;
use super::network::Peer;

/// What passes on the bytes of operators to one server.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    host: String,
    is_up: bool,
}

impl Cluster {
    /// Operators reach a server at this host from now on, through a hop.
    pub fn add_hop(&mut self, server: usize, host: &str) {
        self.hops.insert(server, Hop { host: host.into(), is_up: true });
    }

    /// Where operators dial a server.
    pub fn dialled_host(&self, server: usize) -> &str {
        self.hops.get(&server).map_or(&self.processes[server].server.host, |hop| &hop.host)
    }

    /// The server or the Sentinel that is dialled there by operators, and whether a hop is between.
    pub fn find_dialled(&self, host: &str, port: u16) -> Option<(Peer, bool)> {
        let is_at = |(server, hop): (&usize, &Hop)| {
            (hop.host == host && self.processes[*server].server.port == port).then_some(*server)
        };
        match self.hops.iter().find_map(is_at) {
            Some(server) => Some((Peer::Server(server), true)),
            None => self.find_peer(host, port).map(|peer| (peer, false)),
        }
    }

    /// The hop ends: its connections do, and new ones are refused.
    pub fn stop_hop(&mut self, server: usize) {
        if let Some(hop) = self.hops.get_mut(&server).filter(|hop| hop.is_up) {
            hop.is_up = false;
            self.end_operators(Peer::Server(server), None);
        }
    }

    /// It accepts connections again.
    pub fn start_hop(&mut self, server: usize) {
        self.hops.get_mut(&server).into_iter().for_each(|hop| hop.is_up = true);
    }

    /// Operators reach the server's process, if it runs: nothing is between, or a hop that works.
    pub fn is_passed_on(&self, server: usize) -> bool {
        self.hops.get(&server).is_none_or(|hop| hop.is_up)
    }

    /// Whether a hop accepts a connection to that server.
    pub(super) fn hop_accepts(&self, to: Peer) -> bool {
        matches!(to, Peer::Server(server) if self.hops.get(&server).is_some_and(|hop| hop.is_up))
    }
}
