//! A Sentinel endpoint without a Sentinel. Clients that ask Redis Sentinel for their master ask a face
//! instead, unchanged: it answers look-ups from what the group's own loop sees, and tells subscribers of each
//! change in Sentinel's words. It only reads, but for `SENTINEL FAILOVER`, which becomes a switchover request
//! where that is allowed.
//!
//! | module | owns |
//! |--|--|
//! | `group` | what clients are told of a group, in Sentinel's fields and flags |
//! | `tracker` | the reports of a group to that, and to events |
//! | `event` | events, in Sentinel's words |
//! | `command` | a command of a client to its reply |
//! | `resp` | requests out of bytes, replies as bytes of RESP2 and RESP3 |
//! | `glob` | the patterns of PSUBSCRIBE |
//! | `entry` | who may enter |
//! | `certificate` | the certificate that it shows, read again when its file changes |
//! | `places` | where clients find servers that have other addresses for them |
//! | `peers` | other faces of the same groups, and which of them answer |
//! | `serve` | sockets: connections, subscribers, bounds |
//!
//! It says nothing that it cannot know. A master is named while the operator's decision names it; a dead one
//! is named with the flags of a dead one, as Sentinel does until it has promoted another; when nobody is
//! master for ten seconds, the answer is nil, and clients ask again.

mod certificate;
mod command;
mod entry;
mod event;
mod glob;
mod group;
mod peers;
mod places;
mod resp;
mod serve;
mod tracker;

pub use certificate::Certificate;
pub use entry::{Entry, Gate};
pub use peers::Peer;
pub use places::Places;
pub use serve::{Face, FaceError, FaceSettings, Faces, SwitchOver};

/// The last master is named for so long after nobody is master, or nothing is seen of the group any more.
const NAMELESS_US: u64 = 10_000_000;
/// Of an identity, in hexadecimal digits.
const ID_LENGTH: usize = 40;
