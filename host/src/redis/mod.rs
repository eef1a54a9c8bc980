//! Redis servers, as seen over the wire. Owns connections, probes and actions; never chooses what to do with
//! them.
//!
//! | file | owns |
//! |--|--|
//! | `endpoint` | where a server is and who we are to it |
//! | `tls` | how an encrypted connection is made |
//! | `dial` | one attempt to connect, and why it failed |
//! | `meter` | what came over a connection: its limit, its first words, its end |
//! | `wire` | where an answer ends, and the replies in it |
//! | `connection` | one established connection: questions and answers |
//! | `probe` | the commands of a probe; replies to contract values |
//! | `link` | the connection to one server over time: probes, late answers, redials, the end |
//! | `act` | one function per action |
//! | `session` | a connection of its own for directives and passwords, which are no failover |
//!
//! The only place that knows the `redis` crate, whose values and commands these are. Its connections are not
//! used: each keeps 16 KB of buffers and a queue, which a thousand groups cannot afford, and deadlines,
//! limits and reconnection were ours anyway.

pub mod act;
mod admin;
mod connection;
mod dial;
mod endpoint;
mod link;
mod meter;
mod probe;
mod tls;
mod wire;

pub use admin::{Session, Set};
pub use connection::{AskFailure, Connection};
pub use dial::DialFailure;
pub use dial::shows_ours;
pub use endpoint::{Credentials, CredentialsError, Endpoint, EndpointError, Logins};
pub use link::{Link, LinkEvent, LinkSettings, Listener, Probe};
pub use probe::{CommandFailure, TEXT_BYTES_MAX};
pub use tls::{Tls, TlsError};
