//! Real Redis servers as processes of this machine, on loopback: for `redis-operator local`, the demo and the
//! tests. Starts, signals and ends them; sends them nothing but a PING.

mod port;
mod process;
mod scratch;
mod server;
mod supervisor;

pub use port::free_ports;
pub use process::Signal;
pub use scratch::Scratch;
pub use server::{Server, ServerError, ServerSettings};
pub use supervisor::{Change, Supervisor};
