//! Redis servers over the wire: connections, probes and actions. Must not choose an action, its target or a
//! retry.
//!
//! | file | owns |
//! |--|--|
//! | `endpoint` | a server's address, and the logins for it |
//! | `tls` | how an encrypted connection is made |
//! | `clock` | the present moment |
//! | `dial` | one attempt to connect, and why it failed |
//! | `meter` | the bytes of a connection: their limit, the first line, the end |
//! | `wire` | the end of an answer, and the replies in it |
//! | `connection` | one established connection: pipelines and their replies |
//! | `probe` | the commands of a probe; replies to contract values |
//! | `link` | the connection to one server over time: probes, late answers, redials, the end |
//! | `subscription` | what one Sentinel publishes, over time |
//! | `act` | one function per action |
//! | `admin` | a separate short connection for directives and passwords, outside of failover |
//!
//! The only room that uses the `redis` crate: its values and commands. Its connections are not used: each
//! keeps 16 KB of buffers and a queue, too much for a thousand groups, and the deadlines, limits and
//! reconnection are in this room anyway.

pub mod act;
mod admin;
mod clock;
mod connection;
mod dial;
mod endpoint;
mod link;
mod meter;
mod probe;
mod server;
mod subscription;
mod tls;
mod wire;

pub use admin::{Session, Set};
pub use clock::now;
pub use connection::{AskFailure, Connection};
pub use dial::shows_ours;
pub use dial::{Dial, DialFailure, Stream};
pub use endpoint::{Credentials, CredentialsError, Endpoint, EndpointError, Logins};
pub use link::{Link, LinkEvent, LinkSettings, Listener, Probe};
pub use probe::{CommandFailure, TEXT_BYTES_MAX};
pub use server::Server;
pub use subscription::{Concerns, Heard, Subscription, SubscriptionSettings};
pub use tls::{Tls, TlsError};
