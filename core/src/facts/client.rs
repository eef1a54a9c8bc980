//! `CLIENT INFO` of the host's own connection: which addresses the server sees at its two ends.

use super::Place;

/// What `CLIENT INFO` says (Redis 6.2 and later).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// `addr`: from where the server is dialled, as it sees it.
    pub from: Option<Place>,
    /// `laddr`: its own end of the connection. Another place than the dialled one: something between the two
    /// passes the bytes on.
    pub at: Option<Place>,
}

impl ClientFacts {
    /// Reads the fields of the one line.
    pub fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        for (name, value) in text.split_ascii_whitespace().filter_map(|field| field.split_once('=')) {
            match name {
                "addr" => facts.from = place(value),
                "laddr" => facts.at = place(value),
                _ => {}
            }
        }
        facts
    }
}

/// Whether a connection to one of the `dialled` places ends at the server itself, and not at a proxy, a
/// mapped port or a sidecar. None: nothing tells. By the server's own end of the connection; before Redis
/// 6.2, which does not show it, by its `tcp_port`.
pub fn is_direct(dialled: &[Place], client: &ClientFacts, tcp_port: Option<u16>) -> Option<bool> {
    let Some(at) = &client.at else {
        return tcp_port.map(|port| dialled.iter().any(|place| place.port == port));
    };
    // A sidecar keeps the address of the server, and dials from within its host.
    let is_passed_on = client.from.as_ref().is_some_and(Place::is_nowhere) && !at.is_nowhere();
    // The addresses of a name may not be known.
    let is_only_named = !dialled.iter().any(Place::is_ip);
    let is_dialled = dialled.iter().any(|place| place == at || is_only_named && place.port == at.port);
    Some(is_dialled && !is_passed_on)
}

/// `ip:port`, IPv6 in brackets. None for a socket file.
fn place(text: &str) -> Option<Place> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(Place::new(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialled(place: &str, line: &str) -> Option<bool> {
        is_direct(&[super::place(place).unwrap()], &ClientFacts::parse(line), Some(6379))
    }

    #[test]
    fn the_servers_end_of_the_connection_tells_whether_anything_is_between() {
        let line = "id=3 addr=10.0.0.9:58522 laddr=10.0.0.1:6379 fd=8 name= db=0\n";
        assert_eq!(dialled("10.0.0.1:6379", line), Some(true));
        assert_eq!(dialled("10.0.0.7:6379", line), Some(false), "a virtual address");
        assert_eq!(dialled("10.0.0.1:16379", line), Some(false), "a mapped port");
        assert_eq!(dialled("redis-1:6379", line), Some(true), "a name of unknown addresses");
        assert_eq!(dialled("[::1]:6379", "addr=[::1]:5 laddr=[::1]:6379"), Some(true));
        assert_eq!(
            dialled("10.0.0.1:6379", "addr=127.0.0.6:5 laddr=10.0.0.1:6379"),
            Some(false),
            "a sidecar"
        );
    }

    #[test]
    fn without_it_the_port_tells() {
        assert_eq!(dialled("10.0.0.1:6379", "addr=10.0.0.9:1"), Some(true));
        assert_eq!(dialled("10.0.0.1:16379", "addr=/tmp/redis.sock:0 laddr=/tmp/redis.sock:0"), Some(false));
        assert_eq!(is_direct(&[Place::new("a", 1)], &ClientFacts::default(), None), None);
    }
}
