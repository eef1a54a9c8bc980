//! A bound on how often something may happen: so many in a second, and a burst after a pause. The clock is an
//! argument.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How often something may happen.
#[derive(Debug)]
pub struct RateLimit {
    interval: Duration,
    /// How far `due` may lie ahead of the clock.
    ahead_max: Duration,
    /// When the next one would be due if all came at the even pace. None: there was none.
    due: Option<Instant>,
}

impl RateLimit {
    /// At most `per_second` in the long run, and `burst` at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, ahead_max: interval * burst.max(1).saturating_sub(1), due: None }
    }

    /// Whether one more may happen now. It counts if it may.
    pub fn admits(&mut self, now: Instant) -> bool {
        let due = self.due.map_or(now, |due| due.max(now));
        let may = due.duration_since(now) <= self.ahead_max;
        if may {
            self.due = Some(due + self.interval);
        }
        may
    }
}

/// A bound for each peer, so that one of them takes nothing from another.
#[derive(Debug)]
pub struct PeerLimit {
    per_second: u32,
    burst: u32,
    peers: BTreeMap<IpAddr, RateLimit>,
}

impl PeerLimit {
    /// For each peer as [`RateLimit::new`].
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst, peers: BTreeMap::new() }
    }

    /// Whether one more of that peer may happen now. Of more peers than are remembered at once, those that
    /// paused are forgotten; if none did, a new one has to wait.
    pub fn admits(&mut self, peer: IpAddr, now: Instant) -> bool {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            self.peers.retain(|_, limit| limit.due.is_some_and(|due| due > now));
            if self.peers.len() >= PEERS_MAX {
                return false;
            }
        }
        let new = || RateLimit::new(self.per_second, self.burst);
        self.peers.entry(peer).or_insert_with(new).admits(now)
    }
}

/// More nodes, scrapers and API servers than ask one operator within a second.
const PEERS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_floods_takes_nothing_from_another_and_their_number_is_bounded() {
        let (mut limit, now) = (PeerLimit::new(10, 3), Instant::now());
        let peer = |number: u32| IpAddr::from(number.to_be_bytes());
        assert_eq!((0..20).filter(|_| limit.admits(peer(1), now)).count(), 3);
        assert!(limit.admits(peer(2), now));
        for number in 0..2 * PEERS_MAX {
            limit.admits(peer(u32::try_from(number).unwrap()), now);
            assert!(limit.peers.len() <= PEERS_MAX);
        }
        assert!(!limit.admits(peer(u32::MAX), now), "all others are busy");
        assert!(limit.admits(peer(u32::MAX), now + Duration::from_secs(1)), "and have paused since");
        assert_eq!(limit.peers.len(), 1);
    }

    #[test]
    fn a_burst_is_admitted_and_then_an_even_pace() {
        let (mut limit, start) = (RateLimit::new(10, 3), Instant::now());
        let admitted = |limit: &mut RateLimit, at_ms: u64| {
            (0..20).filter(|_| limit.admits(start + Duration::from_millis(at_ms))).count()
        };
        assert_eq!(admitted(&mut limit, 0), 3);
        assert_eq!(admitted(&mut limit, 50), 0);
        assert_eq!(admitted(&mut limit, 100), 1, "one in 100 ms");
        assert_eq!(admitted(&mut limit, 10_000), 3, "a long pause gives no more than the burst");
    }
}
