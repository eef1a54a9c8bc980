//! The address of a server, and the logins for it. Parses and resolves; must not connect.

use crate::contract::Address;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A host and a TCP port to dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// IPv4, IPv6 without brackets, or a name.
    pub host: String,
    /// 1 or more.
    pub port: u16,
}

impl Endpoint {
    /// It is on this machine: nothing is on the way.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|host: IpAddr| host.is_loopback())
    }

    /// The addresses that it resolves to, sorted: its peers may know it by each of them. An IP address
    /// resolves to itself.
    ///
    /// # Errors
    /// The resolver's error for an unknown name.
    pub async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        let mut addresses: Vec<_> = tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<&Address> for Endpoint {
    fn from(address: &Address) -> Self {
        Self { host: address.host.clone(), port: address.port }
    }
}

impl From<&Endpoint> for Address {
    fn from(endpoint: &Endpoint) -> Self {
        Self { host: endpoint.host.clone(), port: endpoint.port }
    }
}

/// Why a text is no endpoint. Each error names the text and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// `redis://…`
    #[error("{0:?} is a URL: write HOST:PORT; TLS, user and password have options of their own")]
    Url(String),
    /// `user:password@host:port`
    #[error("an address contains '@': write HOST:PORT; user and password have options of their own")]
    Credentials,
    /// `cart-0`
    #[error("{0:?} has no port: write HOST:PORT, for instance {0}:6379")]
    NoPort(String),
    /// `:6379`
    #[error("{0:?} has no host: write HOST:PORT, for instance 127.0.0.1{0}")]
    NoHost(String),
    /// `host:0`, `host:http`
    #[error("the port of {0:?} is not a number from 1 to 65535")]
    BadPort(String),
    /// `::1:6379`
    #[error("{0:?} is ambiguous: write an IPv6 address in brackets, as in [::1]:6379")]
    Unbracketed(String),
    /// `[cart-0]:6379`, `[::1`
    #[error("{0:?} has no IPv6 address between its brackets: write it as [::1]:6379")]
    BadBrackets(String),
    /// `a b:6379`
    #[error("the host of {0:?} contains a character that a host name cannot have")]
    BadHost(String),
}

impl std::str::FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.contains("://") {
            return Err(EndpointError::Url(text.into()));
        }
        if text.contains('@') {
            return Err(EndpointError::Credentials);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) =
                    rest.split_once(']').ok_or_else(|| EndpointError::BadBrackets(text.into()))?;
                // A zone, as in fe80::1%eth0, is for the resolver.
                host.split('%')
                    .next()
                    .and_then(|ip| ip.parse::<Ipv6Addr>().ok())
                    .ok_or_else(|| EndpointError::BadBrackets(text.into()))?;
                (host, behind.strip_prefix(':').ok_or_else(|| EndpointError::NoPort(text.into()))?)
            }
            None if text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) || text.matches(':').count() > 1 => {
                return Err(EndpointError::Unbracketed(text.into()));
            }
            None => text.split_once(':').ok_or_else(|| EndpointError::NoPort(text.into()))?,
        };
        if host.is_empty() {
            return Err(EndpointError::NoHost(text.into()));
        }
        if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\,;'\"".contains(c)) {
            return Err(EndpointError::BadHost(text.into()));
        }
        if port.is_empty() {
            return Err(EndpointError::NoPort(text.trim_end_matches(':').into()));
        }
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self { host: host.into(), port }),
            _ => Err(EndpointError::BadPort(text.into())),
        }
    }
}

/// User and password for the servers. Never shown: `Debug` hides the password, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: Option<String>,
    password: String,
}

impl Credentials {
    /// From the content of a file or a variable: one line end after the password is removed.
    ///
    /// # Errors
    /// If the password is empty, which is a forgotten mount far more often than a password.
    pub fn new(username: Option<String>, password: &str) -> Result<Self, CredentialsError> {
        let password =
            password.strip_suffix('\n').map_or(password, |line| line.strip_suffix('\r').unwrap_or(line));
        if password.is_empty() {
            Err(CredentialsError)
        } else {
            Ok(Self { username, password: password.into() })
        }
    }

    /// The pairs of `SENTINEL SET` that make a Sentinel log in to the servers so.
    pub(super) fn sentinel_options(&self) -> Vec<&str> {
        let user = self.username.as_deref().map(|user| ["auth-user", user]);
        ["auth-pass", self.password.as_str()].into_iter().chain(user.into_iter().flatten()).collect()
    }

    /// The words of AUTH.
    pub(super) fn auth(&self) -> Vec<&str> {
        ["AUTH"].into_iter().chain(self.username.as_deref()).chain([self.password.as_str()]).collect()
    }
}

/// The logins for a server, in the order in which they are tried. More than one while a password is being
/// changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logins(Vec<Option<Credentials>>);

impl Logins {
    /// Any of these; None is no login. An empty list: no login.
    pub fn any(mut logins: Vec<Option<Credentials>>) -> Self {
        if logins.is_empty() {
            logins.push(None);
        }
        Self(logins)
    }

    /// The login to try after this number of refusals.
    pub(super) fn turn(&self, refused: usize) -> Option<&Credentials> {
        self.0[refused % self.0.len()].as_ref()
    }

    /// Number of logins.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl From<Option<Credentials>> for Logins {
    fn from(only: Option<Credentials>) -> Self {
        Self(vec![only])
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The password is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password is empty: leave it out for servers without one")]
pub struct CredentialsError;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Endpoint, EndpointError> {
        text.parse()
    }

    #[test]
    fn names_and_addresses_of_both_families_print_as_they_are_written() {
        for text in ["cart-0.cart.shop.svc:6379", "127.0.0.1:1", "[::1]:6379", "[fe80::1%eth0]:65535"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("[::1]:6379").unwrap().host, "::1");
    }

    #[test]
    fn what_is_no_endpoint_says_how_to_write_one() {
        assert_eq!(parse("redis://a:1"), Err(EndpointError::Url("redis://a:1".into())));
        assert_eq!(parse("me:secret@a:1"), Err(EndpointError::Credentials));
        assert!(!EndpointError::Credentials.to_string().contains("secret"));
        for text in ["a", "a:", "[::1]"] {
            assert!(matches!(parse(text), Err(EndpointError::NoPort(_))), "{text}");
        }
        for text in ["a:0", "a:65536", "a:-1", "a:http", "a: 1"] {
            assert!(matches!(parse(text), Err(EndpointError::BadPort(_))), "{text}");
        }
        for text in ["::1", "::1:6379", "a:b:1"] {
            assert!(matches!(parse(text), Err(EndpointError::Unbracketed(_))), "{text}");
        }
        for text in ["[a]:1", "[::1:1", "[127.0.0.1]:1"] {
            assert!(matches!(parse(text), Err(EndpointError::BadBrackets(_))), "{text}");
        }
        assert!(matches!(parse(":1"), Err(EndpointError::NoHost(_))));
        assert!(matches!(parse("a b:1"), Err(EndpointError::BadHost(_))));
    }

    #[test]
    fn a_password_loses_one_line_end_and_is_never_shown() {
        let credentials = Credentials::new(Some("op".into()), "secret\r\n").unwrap();
        assert_eq!(credentials.auth(), ["AUTH", "op", "secret"]);
        assert!(!format!("{credentials:?}").contains("secret"));
        assert_eq!(Credentials::new(None, "a\n\n").unwrap().auth(), ["AUTH", "a\n"]);
        assert_eq!(Credentials::new(None, "\n"), Err(CredentialsError));
    }
}
