//! The sockets of faces: connections, subscribers, bounds. They have a thread of their own, so that no client
//! delays a group, and no group's work a look-up.

use super::ID_LENGTH;
use super::certificate::Certificate;
use super::command::{Desk, Next, Session};
use super::entry::Entry;
use super::event::{Event, Events};
use super::group::{Group, Names};
use super::peers::{Known, News, Peer, Peers};
use super::places::Places;
use super::resp::request;
use super::tracker::Tracker;
use crate::driver::{Witness, moment};
use crate::group::Moment;
use crate::policy::digest_of;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// How a face is reached, and what it shows.
pub struct FaceSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What a connection needs to enter, at first.
    pub entry: Entry,
    /// Servers are announced by their host names, not by the addresses that these resolve to.
    pub announces_names: bool,
    /// Other faces are named to clients. False: all of them are behind one address.
    pub lists_peers: bool,
}

/// A face cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum FaceError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error.
        #[source]
        source: std::io::Error,
    },
    /// The machine gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// The thread of all faces of this process. Dropping it ends them.
pub struct Faces {
    runtime: Handle,
    /// None only during drop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Peers that all faces list.
    peers: Arc<AtomicUsize>,
}

/// An open face. Dropping it ends all its connections.
pub struct Face {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: [AbortHandle; 2],
}

/// Asks a group for a planned change of master. The error is why it cannot be asked here, as one sentence.
pub type SwitchOver = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

struct Shared {
    id: String,
    start: Instant,
    names: Names,
    entry: Mutex<Arc<Entry>>,
    peers: Peers,
    /// Whether clients are told of them.
    lists_peers: bool,
    /// By the names that clients use.
    groups: Mutex<BTreeMap<String, Served>>,
    events: Sender<Arc<[Event]>>,
    clients: AtomicUsize,
}

struct Served {
    tracker: Tracker,
    switch_over: Option<SwitchOver>,
}

impl Faces {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`FaceError::Thread`].
    pub fn start() -> Result<Self, FaceError> {
        allow_files();
        let runtime = Builder::new_current_thread().enable_all().build().map_err(FaceError::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let serve = move || drop(runtime.block_on(stopped));
        let thread = std::thread::Builder::new()
            .name("sentinel-faces".into())
            .spawn(serve)
            .map_err(FaceError::Thread)?;
        Ok(Self { runtime: handle, stop: Some(stop), thread: Some(thread), peers: Arc::default() })
    }

    /// Listens. `start`: moment zero of the groups.
    ///
    /// # Errors
    /// [`FaceError::Listen`].
    pub fn open(&self, settings: FaceSettings, start: Instant) -> Result<Face, FaceError> {
        let FaceSettings { listen, entry, announces_names, lists_peers } = settings;
        let failed = |source| FaceError::Listen { address: listen, source };
        let socket = std::net::TcpListener::bind(listen).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let socket = {
            let _inside = self.runtime.enter();
            TcpListener::from_std(socket).map_err(failed)?
        };
        let unique = format!("{address} {} {start:?}", std::process::id());
        let shared = Arc::new(Shared {
            id: digest_of(unique.as_bytes())[..ID_LENGTH].to_owned(),
            start,
            names: if announces_names { Names::Hosts } else { Names::Addresses },
            entry: Mutex::new(Arc::new(entry)),
            peers: Peers::new(&self.peers),
            lists_peers,
            groups: Mutex::default(),
            events: channel(EVENTS_MAX).0,
            clients: AtomicUsize::new(0),
        });
        let watched = Arc::clone(&shared);
        let watch = async move {
            watched.peers.watch(|| watched.now(), |peer, news| watched.tell_of_peer(peer, news)).await;
        };
        let tasks = [
            self.runtime.spawn(accept(socket, Arc::clone(&shared))).abort_handle(),
            self.runtime.spawn(watch).abort_handle(),
        ];
        Ok(Face { shared, address, tasks })
    }
}

impl Face {
    /// Where it listens, with the port that the system chose if the requested port is 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lists these other faces of its groups, and no others.
    pub fn set_peers(&self, peers: Vec<Peer>) {
        self.shared.peers.set(peers);
    }

    /// Names the servers of the group with this name by these addresses from now on, and those that have
    /// none not at all.
    pub fn set_places(&self, name: &str, places: Places) {
        let mut groups = self.shared.served();
        let Some(served) = groups.get_mut(name) else { return };
        let events = served.tracker.set_places(places);
        self.shared.tell(events);
    }

    /// The listed faces that do not answer, and for how long.
    pub fn lost_peers(&self) -> Vec<(Peer, Duration)> {
        let (now, all) = (self.shared.now(), self.shared.peers.all());
        let lost = |known: Known| Some((known.peer, Duration::from_micros(known.down?.age_us(now))));
        all.into_iter().filter_map(lost).collect()
    }

    /// What a connection needs to enter from now on.
    pub fn set_entry(&self, entry: Entry) {
        *self.shared.entry.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(entry);
    }

    /// Shows one more group under this name. `switch_over`: what `SENTINEL FAILOVER` asks for; None: it is
    /// not allowed.
    pub fn show(&self, name: &str, switch_over: Option<SwitchOver>) -> Witness {
        let tracker = Tracker::new(name.to_owned(), self.shared.names);
        self.shared.served().insert(name.to_owned(), Served { tracker, switch_over });
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        Arc::new(move |now, report| {
            let mut groups = shared.served();
            let Some(served) = groups.get_mut(&name) else { return };
            let events = served.tracker.take(now, report);
            shared.tell(events);
        })
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Faces {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn served(&self) -> MutexGuard<'_, BTreeMap<String, Served>> {
        // No holder panics halfway through a change that another one could see.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self) -> Arc<Entry> {
        Arc::clone(&self.entry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, events: Vec<Event>) {
        if !events.is_empty() {
            // Nobody may be subscribed.
            drop(self.events.send(events.into()));
        }
    }

    /// Tells the subscribers of each group what is new of another face.
    fn tell_of_peer(&self, peer: &Known, news: News) {
        if !self.lists_peers {
            return;
        }
        let channel = match news {
            News::Joined => "+sentinel",
            News::Lost => "+sdown",
            News::Returned => "-sdown",
        };
        for (name, group) in self.groups() {
            let Some(master) = &group.master else { continue };
            let mut events = Events::of(&name);
            events.peer(channel, peer, master);
            drop(self.events.send(events.all.into()));
        }
    }
}

impl Desk for Shared {
    fn group(&self, name: &str) -> Option<Group> {
        let now = self.now();
        self.served().get(name).map(|served| served.tracker.group(now))
    }

    fn groups(&self) -> Vec<(String, Group)> {
        let now = self.now();
        self.served().iter().map(|(name, served)| (name.clone(), served.tracker.group(now))).collect()
    }

    fn now(&self) -> Moment {
        moment(self.start, Instant::now())
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn peers(&self) -> Vec<Known> {
        if self.lists_peers { self.peers.all() } else { vec![] }
    }

    fn admits(&self, login: Option<(&str, &str)>) -> Option<bool> {
        let (user, password) = login.unwrap_or_default();
        self.entry().gate.as_ref().map(|gate| gate.admits(user, password))
    }

    fn switch_over(&self, name: &str) -> Option<Result<(), String>> {
        self.served().get(name)?.switch_over.as_ref().map(|switch_over| switch_over())
    }

    fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }
}

/// With this future all its connections end.
async fn accept(socket: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        number += 1;
        let tls = shared.entry().tls.as_deref().map(Certificate::acceptor);
        let (count, shared) = (Counted::new(&shared), Arc::clone(&shared));
        connections.spawn(async move {
            serve_any(stream, tls, number, &shared, count.is_within).await;
            drop(count);
        });
    }
}

/// One connection among all.
struct Counted {
    shared: Arc<Shared>,
    is_within: bool,
}

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        let before = shared.clients.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), is_within: before < CONNECTIONS_MAX }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve_any(stream: TcpStream, tls: Option<TlsAcceptor>, id: u64, shared: &Shared, is_within: bool) {
    drop(stream.set_nodelay(true));
    match tls {
        None => serve(stream, id, shared, is_within).await,
        // A handshake is large, a connection is not, and there are many.
        Some(tls) => match tokio::time::timeout(HANDSHAKE, Box::pin(tls.accept(stream))).await {
            Ok(Ok(stream)) => serve(Box::new(stream), id, shared, is_within).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake timed out"),
        },
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, id: u64, shared: &Shared, is_within: bool) {
    if !is_within {
        write(&mut stream, b"-ERR max number of clients reached\r\n").await;
        return;
    }
    let mut session = Session::new(id, shared);
    let mut events: Option<Receiver<Arc<[Event]>>> = None;
    let (mut asked, mut replies) = (Vec::new(), Vec::new());
    loop {
        let told = tokio::select! {
            read = read(&mut stream, &mut asked, session.is_logged_in()) => {
                if !read {
                    return;
                }
                None
            }
            told = next(&mut events) => match told {
                Ok(told) => Some(told),
                // It does not read what it is sent: a client that connects anew asks first.
                Err(RecvError::Lagged(_) | RecvError::Closed) => return,
            },
        };
        for event in told.iter().flat_map(|told| told.iter()) {
            let pushes = session.pushes(event.channel, &event.message);
            pushes.iter().for_each(|push| push.write(session.version, &mut replies));
        }
        let is_over = answer(&mut session, shared, &mut asked, &mut replies);
        // Before the reply: no event is missed between the two.
        if session.is_subscribed() {
            events.get_or_insert_with(|| shared.events.subscribe());
        } else {
            events = None;
        }
        if !replies.is_empty() && !write(&mut stream, &replies).await || is_over {
            return;
        }
        // Empty vectors take no memory.
        (replies, asked) = (Vec::new(), if asked.is_empty() { Vec::new() } else { asked });
    }
}

/// Answers all requests that are there. True: the connection is over.
fn answer(session: &mut Session, shared: &Shared, asked: &mut Vec<u8>, replies: &mut Vec<u8>) -> bool {
    let mut taken = 0;
    let is_over = loop {
        match request(&asked[taken..]) {
            Ok(Some((words, length))) => {
                taken += length;
                let (answers, next) = session.answer(&words, shared);
                answers.iter().for_each(|reply| reply.write(session.version, replies));
                if next == Next::Close {
                    break true;
                }
            }
            Ok(None) => break false,
            Err(text) => {
                replies.extend(format!("-{text}\r\n").bytes());
                break true;
            }
        }
    };
    asked.drain(..taken);
    is_over
}

/// More bytes. False: there are none any more, or a client that must log in does not.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, asked: &mut Vec<u8>, is_logged_in: bool) -> bool {
    let read = stream.read_buf(asked);
    if is_logged_in {
        return matches!(read.await, Ok(1..));
    }
    matches!(tokio::time::timeout(HANDSHAKE, read).await, Ok(Ok(1..)))
}

/// False: the client takes nothing, or is gone.
async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> bool {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    matches!(tokio::time::timeout(WRITE, written).await, Ok(Ok(())))
}

async fn next(events: &mut Option<Receiver<Arc<[Event]>>>) -> Result<Arc<[Event]>, RecvError> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// A process has often no more than 1,024 open files, and may have more if it asks.
fn allow_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = (CONNECTIONS_MAX + FILES_OF_OTHERS) as u64;
    let wanted = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if current.is_some_and(|current| current < wanted) {
        // With fewer, further clients wait in the system's queue.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

/// As many as a Redis takes by default.
const CONNECTIONS_MAX: usize = 10_000;
/// Of the operator itself.
const FILES_OF_OTHERS: usize = 2_000;
/// Batches of events that a subscriber may be behind, of some hundred bytes each.
const EVENTS_MAX: usize = 4_096;
/// For TLS, and again until a client that must log in has done so.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A client that takes no reply for so long is gone.
const WRITE: Duration = Duration::from_secs(10);
/// The process is out of file descriptors; some are closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
