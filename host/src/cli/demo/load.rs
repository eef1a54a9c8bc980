//! Clients that write: unique keys, pipelined, each recorded once it is acknowledged. They know the servers
//! but not the master: after a refusal or a closed connection they try the next server. As clients of Redis
//! Sentinel do, they go to a master that they are told of. Blocking, on threads
//! of their own, so that the demo does not distort their times. Afterwards the master is queried for every
//! acknowledged key.

use crate::redis::Endpoint;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The running clients.
pub struct Load {
    clients: Vec<JoinHandle<Written>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    told: Arc<Told>,
}

/// The master that the clients were told of last.
#[derive(Default)]
struct Told {
    /// Its index.
    node: AtomicUsize,
    /// How often they were told.
    times: AtomicUsize,
}

/// A client received its first acknowledgement from another server than before.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Index of the server.
    pub to: usize,
    /// When it came.
    pub at: Instant,
}

/// An acknowledged write.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    client: usize,
    number: u64,
    /// When the acknowledgement was read.
    pub at: Instant,
}

/// The writes of a client.
#[derive(Default)]
struct Written {
    acknowledged: Vec<Acknowledged>,
    sent: u64,
}

/// The writes of all clients.
pub struct Ledger {
    /// Every acknowledged write.
    pub acknowledged: Vec<Acknowledged>,
    /// Sent but not acknowledged: refused, or unanswered.
    pub unacknowledged: u64,
}

impl Load {
    /// Starts the clients. `nodes` are all servers.
    pub fn start(nodes: &[SocketAddr]) -> io::Result<(Self, UnboundedReceiver<Moved>)> {
        let (sender, moved) = unbounded_channel();
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let told = Arc::<Told>::default();
        let mut load = Self {
            clients: Vec::new(),
            stop: Arc::clone(&stop),
            acknowledged: Arc::clone(&acknowledged),
            told: Arc::clone(&told),
        };
        for number in 0..CLIENTS {
            let client = Client {
                number,
                nodes: nodes.to_vec(),
                stop: Arc::clone(&stop),
                count: Arc::clone(&acknowledged),
                moves: sender.clone(),
                told: Arc::clone(&told),
                heard: 0,
                last: None,
                written: Written::default(),
            };
            load.clients
                .push(std::thread::Builder::new().name("writer".into()).spawn(move || client.write())?);
        }
        Ok((load, moved))
    }

    /// Tells the clients of the master.
    pub fn tell(&self, node: usize) {
        self.told.node.store(node, Ordering::Relaxed);
        self.told.times.fetch_add(1, Ordering::Release);
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends all clients. None if one of them panicked, which loses its count.
    pub fn finish(mut self) -> Option<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        let mut ledger = Ledger { acknowledged: Vec::new(), unacknowledged: 0 };
        for client in std::mem::take(&mut self.clients) {
            let Written { acknowledged, sent } = client.join().ok()?;
            ledger.unacknowledged += sent - acknowledged.len() as u64;
            ledger.acknowledged.extend(acknowledged);
        }
        Some(ledger)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Client {
    number: usize,
    nodes: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    moves: UnboundedSender<Moved>,
    told: Arc<Told>,
    /// How often it was told of a master, when it went to one.
    heard: usize,
    /// The server of the last acknowledgement.
    last: Option<usize>,
    written: Written,
}

impl Client {
    fn write(mut self) -> Written {
        let mut node = 0;
        while !self.is_stopped() {
            // After any error, the next server is tried.
            drop(self.write_to(node));
            let times = self.told.times.load(Ordering::Acquire);
            if times != self.heard {
                self.heard = times;
                node = self.told.node.load(Ordering::Relaxed);
                continue;
            }
            node = (node + 1) % self.nodes.len();
            if node == 0 {
                std::thread::sleep(LOOK_EVERY);
            }
        }
        self.written
    }

    /// Writes until the server no longer acknowledges everything, or the client is told of a master.
    fn write_to(&mut self, node: usize) -> io::Result<()> {
        let mut stream = connect(self.nodes[node])?;
        let mut replies = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        while !self.is_stopped() && self.told.times.load(Ordering::Acquire) == self.heard {
            let first = self.written.sent;
            let batch: String = (first..first + PIPELINED)
                .map(|number| format!("SET {} {number}\r\n", key(self.number, number)))
                .collect();
            stream.write_all(batch.as_bytes())?;
            self.written.sent += PIPELINED;
            let mut is_writable = true;
            for number in first..first + PIPELINED {
                line.clear();
                replies.read_line(&mut line)?;
                match line.as_str() {
                    "+OK\r\n" => self.acknowledged(node, number),
                    "" => return Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => is_writable = false,
                }
            }
            if !is_writable {
                return Ok(());
            }
            std::thread::sleep(PACE);
        }
        Ok(())
    }

    fn acknowledged(&mut self, node: usize, number: u64) {
        let at = Instant::now();
        self.written.acknowledged.push(Acknowledged { client: self.number, number, at });
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.last.replace(node) != Some(node) {
            // The receiver may be dropped.
            self.moves.send(Moved { to: node, at }).ok();
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The writes that the server does not have.
///
/// # Errors
/// If it did not answer for each of them.
pub fn missing(at: &Endpoint, writes: &[Acknowledged]) -> io::Result<Vec<Acknowledged>> {
    let address: SocketAddr = at.to_string().parse().map_err(io::Error::other)?;
    let mut stream = connect(address)?;
    let mut replies = BufReader::new(stream.try_clone()?);
    let (mut missing, mut line) = (Vec::new(), String::new());
    for writes in writes.chunks(READ_BACK) {
        let batch: String =
            writes.iter().map(|write| format!("EXISTS {}\r\n", key(write.client, write.number))).collect();
        stream.write_all(batch.as_bytes())?;
        for write in writes {
            line.clear();
            replies.read_line(&mut line)?;
            match line.as_str() {
                ":1\r\n" => {}
                ":0\r\n" => missing.push(*write),
                other => {
                    return Err(io::Error::other(format!("{at} answered {:?} to EXISTS", other.trim_end())));
                }
            }
        }
    }
    Ok(missing)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    Ok(stream)
}

fn key(client: usize, number: u64) -> String {
    format!("demo:{client}:{number}")
}

const CLIENTS: usize = 4;
/// Writes in flight at once, per client.
const PIPELINED: u64 = 8;
/// Pause between two batches: at most 16000 writes a second in all, which leaves time for the rest of a small
/// machine.
const PACE: Duration = Duration::from_millis(2);
/// How often all servers are tried while none accepts writes.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Longer than the write pause of any handover.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Keys per batch: their replies fit into a socket's buffer, so that neither side waits for the other.
const READ_BACK: usize = 500;
