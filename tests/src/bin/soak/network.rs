//! The network of a soak, in a namespace of its own: each server has an address, the operator another one,
//! and what runs between two of them can be cut. Clients, and the look at the end, come from a third one and
//! are never cut off.

use anyhow::{Context, Result, ensure};
use futures_util::future::BoxFuture;
use redis_operator::redis::{Dial, Endpoint, Stream};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use tokio::net::TcpSocket;

/// From one address to another one.
pub type Edge = (Ipv4Addr, Ipv4Addr);

/// Where a server listens, and where its links to others come from.
pub fn server(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, 1 + u8::try_from(place).expect("a few servers"))
}

/// Where the operator's connections come from.
pub const OPERATOR: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);

/// Both ways between two addresses.
pub fn both(one: Ipv4Addr, other: Ipv4Addr) -> [Edge; 2] {
    [(one, other), (other, one)]
}

/// Makes what can be cut. To be called inside of the namespace.
pub fn prepare() -> Result<()> {
    nft("add table inet soak\n\
         add set inet soak cut { type ipv4_addr . ipv4_addr; }\n\
         add chain inet soak in { type filter hook input priority 0; }\n\
         add rule inet soak in ip saddr . ip daddr @cut drop\n")
}

/// Packets on these edges are lost from now on.
pub fn cut(edges: &[Edge]) -> Result<()> {
    nft(&elements("add", edges))
}

/// Packets on these edges arrive again.
pub fn mend(edges: &[Edge]) -> Result<()> {
    // Another fault may have had the same edge, and is over.
    edges.iter().try_for_each(|edge| nft(&(elements("add", &[*edge]) + &elements("delete", &[*edge]))))
}

fn elements(verb: &str, edges: &[Edge]) -> String {
    let line = |(from, to): &Edge| format!("{verb} element inet soak cut {{ {from} . {to} }}\n");
    edges.iter().map(line).collect()
}

fn nft(commands: &str) -> Result<()> {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("nft")?;
    nft.stdin.take().context("nft")?.write_all(commands.as_bytes())?;
    ensure!(nft.wait()?.success(), "nft refused: {commands}");
    Ok(())
}

/// The operator's way to the servers.
#[derive(Debug)]
pub struct Ours;

impl Dial for Ours {
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, std::io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let to = endpoint.to_string().parse().map_err(std::io::Error::other)?;
            let socket = TcpSocket::new_v4()?;
            socket.bind((OPERATOR, 0).into())?;
            let stream = socket.connect(to).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = Box::new(stream);
            Ok(stream)
        })
    }
}
