//! Free TCP ports of this machine. They are found, not reserved.

use std::net::{Ipv4Addr, TcpListener};

/// Below Linux' ephemeral range (32768): a client that connects to a dead server never connects to itself,
/// and no outgoing connection uses the port of a server that restarts.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// `count` different free ports. The search starts at a port chosen by `seed`, so that concurrent searches
/// with different seeds rarely find the same ports. None: there are not that many.
pub fn free_ports(seed: u64, count: usize) -> Option<Vec<u16>> {
    let length = u64::from(PORTS.end - PORTS.start);
    // Spread neighbouring seeds (process ids, counters) over the range: Knuth's multiplicative hashing, 2^64
    // / phi.
    let start = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % length;
    let ports = (0..length)
        .filter_map(|step| u16::try_from((start + step) % length).ok().map(|place| PORTS.start + place));
    // All are bound until all are found, so that none is found twice.
    let held: Vec<_> = ports
        .filter_map(|port| Some((port, TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?)))
        .take(count)
        .collect();
    (held.len() == count).then(|| held.iter().map(|(port, _)| *port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_free_and_below_the_ephemeral_range() {
        let mut ports = free_ports(7, 5).unwrap();
        assert!(ports.iter().all(|port| PORTS.contains(port)));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 5);
    }

    #[test]
    fn a_port_in_use_is_not_offered() {
        let first = free_ports(11, 1).unwrap()[0];
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert_ne!(free_ports(11, 1).unwrap()[0], first);
    }
}
