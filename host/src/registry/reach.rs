//! Which servers may be asked: a list of hosts, and no address inside the network of the operator. A name
//! is resolved once, its addresses are checked, and the connection goes to a checked one: a name that
//! resolves to another address a moment later reaches nothing. Knows nothing of HTTP.

use hyper_util::client::legacy::connect::dns::Name;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

/// Which servers may be asked.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// None: any host.
    hosts: Option<Arc<[HostRule]>>,
    may_be_private: bool,
}

impl Reach {
    /// Any server: for a person's own commands.
    pub fn anywhere() -> Self {
        Self { hosts: None, may_be_private: true }
    }

    /// Only these hosts; none listed: any. `may_be_private`: addresses inside of private networks as well.
    pub fn within(hosts: Vec<HostRule>, may_be_private: bool) -> Self {
        Self { hosts: (!hosts.is_empty()).then(|| hosts.into()), may_be_private }
    }

    /// Whether a host may be asked. An address in its place is checked as one.
    ///
    /// # Errors
    /// One sentence with the way out.
    pub fn check(&self, host: &str, port: u16) -> Result<(), String> {
        let is_listed = |hosts: &Arc<[HostRule]>| hosts.iter().any(|rule| rule.allows(host, port));
        if !self.hosts.as_ref().is_none_or(is_listed) {
            return Err(format!(
                "{host} is not a host that policies may come from: add it to --policy-hosts"
            ));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse().map_or(Ok(()), |address| self.check_address(address))
    }

    fn check_address(&self, address: IpAddr) -> Result<(), String> {
        if self.may_be_private || is_public(address) {
            return Ok(());
        }
        Err(format!(
            "{address} is an address of a private, local or reserved network: serve policies from a public \
             one, or start the operator with --policy-allow-private"
        ))
    }
}

/// A host that may be asked: `registry.example.com`, `registry.example.com:5000` or `*.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    /// In lower case, without the star.
    name: String,
    has_star: bool,
    /// None: any.
    port: Option<u16>,
}

impl HostRule {
    fn allows(&self, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_it = if self.has_star {
            host.strip_suffix(&self.name).is_some_and(|rest| !rest.is_empty())
        } else {
            host == self.name
        };
        is_it && self.port.is_none_or(|own| own == port)
    }
}

impl FromStr for HostRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no host: write HOST, HOST:PORT or *.DOMAIN");
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address has its brackets where a port follows.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| bad())?))
            }
            Some(_) | None => (text, None),
        };
        let (has_star, name) = match host.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') && rest.len() > 1 => (true, rest),
            Some(_) => return Err(bad()),
            None => (false, host),
        };
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(bad());
        }
        Ok(Self { name: name.to_ascii_lowercase(), has_star, port })
    }
}

/// True for an address that anybody on the Internet may have. Those of other networks would let a source ask
/// what only the operator can reach: the API server, other tenants' Services, a cloud's metadata.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Without the special-purpose addresses of IANA's registry (RFC 6890 and its successors).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Shared by carriers, and by clouds for what is theirs.
        || a == 100 && (64..128).contains(&b)
        || (a, b, c) == (192, 0, 0)
        || a == 198 && (18..20).contains(&b);
    !is_special
}

/// Only global unicast, without the networks in it that stand for an IPv4 address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [one, two, ..] = address.segments();
    let v4_of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match (one, two) {
        // 6to4.
        (0x2002, high) => is_public_v4(v4_of(high, address.segments()[2])),
        // NAT64.
        (0x64, 0xff9b) => is_public_v4(v4_of(address.segments()[6], address.segments()[7])),
        // Teredo and other protocols of IETF; documentation.
        (0x2001, second) => second >= 0x200 && second != 0xdb8,
        (0x2000..0x4000, _) => true,
        _ => false,
    }
}

/// Resolves names for connections, and hands out checked addresses only.
#[derive(Clone, Debug)]
pub(super) struct CheckedResolver(pub Reach);

impl Service<Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            checked(&reach, &name, found).map(Vec::into_iter)
        })
    }
}

fn checked(reach: &Reach, name: &Name, found: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let (mut good, mut refused) = (Vec::new(), None);
    for address in found {
        match reach.check_address(address.ip()) {
            Ok(()) => good.push(address),
            Err(why) => refused = Some(why),
        }
    }
    match refused.filter(|_| good.is_empty()) {
        Some(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{name}: {why}"))),
        None => Ok(good),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_private_networks_are_not_public_in_any_spelling() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.192",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::10.0.0.1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "100::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2001:4860::8888",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_listed_host_may_be_asked_and_an_address_is_checked_in_its_place() {
        let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let reach =
            Reach::within(rules(&["ghcr.io", "*.Example.com", "10.0.0.7:5000", "[fd00::1]:5000"]), true);
        for (host, port, is_allowed) in [
            ("ghcr.io", 443, true),
            ("GHCR.io.", 80, true),
            ("evil-ghcr.io", 443, false),
            ("ghcr.io.evil.com", 443, false),
            ("a.example.com", 443, true),
            ("a.b.example.com", 443, true),
            ("example.com", 443, false),
            ("notexample.com", 443, false),
            ("10.0.0.7", 5000, true),
            ("10.0.0.7", 443, false),
            ("[fd00::1]", 5000, true),
        ] {
            assert_eq!(reach.check(host, port).is_ok(), is_allowed, "{host}:{port}");
        }
        assert!(reach.check("evil.com", 443).unwrap_err().contains("--policy-hosts"));
        let public = Reach::within(vec![], false);
        assert!(public.check("169.254.169.254", 80).unwrap_err().contains("--policy-allow-private"));
        assert!(public.check("[::1]", 80).is_err() && public.check("any.example.com", 80).is_ok());
        assert!(Reach::anywhere().check("127.0.0.1", 80).is_ok());
        for bad in ["", "*", "*x.com", "a b", "host:port", "https://a", "a/b"] {
            assert!(bad.parse::<HostRule>().unwrap_err().contains("HOST:PORT"), "{bad}");
        }
    }

    #[test]
    fn a_name_reaches_only_those_of_its_addresses_that_are_allowed() {
        let name: Name = "mine.example.com".parse().unwrap();
        let found =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let reach = Reach::within(vec![], false);
        let mixed = checked(&reach, &name, found(&["10.0.0.1:0", "1.1.1.1:0"])).unwrap();
        assert_eq!(mixed, found(&["1.1.1.1:0"]));
        let refused = checked(&reach, &name, found(&["10.0.0.1:0", "[::1]:0"])).unwrap_err().to_string();
        assert!(
            refused.contains("mine.example.com") && refused.contains("--policy-allow-private"),
            "{refused}"
        );
        assert_eq!(checked(&reach, &name, vec![]).unwrap(), vec![]);
    }
}
