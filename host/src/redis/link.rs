//! The connection to one server over time: probes, late answers, redials, the end. Must not judge an answer.
//!
//! A link has at most two connections. The first is kept through any silence, because a hung server's first
//! sign of life is the answer to the probe that it has already received. But a connection can be dead without
//! a sign (its host lost power, a NAT entry was dropped), so beside an overdue one a second is dialled, the
//! *challenger*. The first of the two that answers is kept, the other dropped.
//!
//! A connection counts once it has answered: the kernel of a hung server accepts connections too, and a
//! connection that is accepted and closed without a reply proves nothing.

use super::clock::{now, since};
use super::connection::{Connection, Question};
use super::dial::{Dial, DialFailure, Driver, dial, dial_on};
use super::endpoint::{Credentials, Endpoint, Logins};
use super::meter::{ANSWER_BYTES_MAX, End};
use super::probe::{CommandFailure, error_kind, error_text, reply};
use super::tls::Tls;
use crate::contract::{FailureKind, Value};
use crate::topology::allowed::MASTER_NAME;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// What happened on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A probe was answered, with a reply to each command.
    Answered {
        /// The member of the link.
        member: Arc<str>,
        /// The number of the connection; unique in this process. A greater number than before means that the
        /// former connection is gone, even if its end was not reported.
        link: u64,
        /// When the probe was sent: the replies show the server's state at a later moment.
        sent: Instant,
        /// Each command as the Observation writes it, with its reply.
        replies: Vec<(Arc<str>, Result<Value, CommandFailure>)>,
    },
    /// A new connection failed before its first answer.
    Failed {
        /// The member of the link.
        member: Arc<str>,
        /// When the attempt began.
        sent: Instant,
        /// The kind of failure.
        kind: FailureKind,
        /// The failure in words, with the way out.
        text: String,
    },
    /// The connection with this number ended.
    Closed {
        /// The member of the link.
        member: Arc<str>,
        /// The number of the connection.
        link: u64,
    },
}

/// Receives all events of a link, in order. Must return at once and must not call a link.
pub type Listener = Arc<dyn Fn(LinkEvent) + Send + Sync>;

/// Settings of a link.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// The address to dial.
    pub endpoint: Endpoint,
    /// How to log in.
    pub logins: Logins,
    /// How to encrypt. None: plain TCP.
    pub tls: Option<Tls>,
    /// The network to dial on. None: the machine's.
    pub network: Option<Arc<dyn Dial>>,
    /// For connecting, and again for the first answer.
    pub dial_deadline: Duration,
    /// The hang limit: after it, a probe in flight no longer prevents a second connection.
    pub redial_after: Duration,
    /// The commands of a probe.
    pub probe: Arc<Probe>,
}

/// The connection to one server. Dropping it drops its connections, silently.
pub struct Link(Arc<Shared>);

impl Link {
    /// A link without a connection: the first probe dials.
    pub fn new(member: Arc<str>, settings: LinkSettings, listener: Listener) -> Self {
        let LinkSettings { endpoint, logins, tls, network, dial_deadline, redial_after, probe } = settings;
        let state = State {
            probe,
            logins,
            refused: 0,
            tls,
            tls_failed: 0,
            attempts: Vec::new(),
            silent_challengers: 0,
            was_reset: false,
        };
        Self(Arc::new(Shared {
            member,
            endpoint,
            network,
            dial_deadline,
            redial_after,
            listener,
            state: Mutex::new(state),
        }))
    }

    /// The member of the link.
    pub fn member(&self) -> &str {
        &self.0.member
    }

    /// The address that it dials.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Sends a probe, unless one is in flight or a connection is being dialled. Returns at once; the answer
    /// is an event. Must be called within a tokio runtime.
    pub fn probe(&self) {
        let shared = &self.0;
        let mut guard = shared.state();
        let state = &mut *guard;
        let has_challenger = state.attempts.len() > 1;
        // The time to the next challenger doubles while challengers are accepted and stay silent: the kernel
        // of a hung server queues every connection, and the server must work through that queue when it
        // wakes.
        let doublings =
            if has_challenger { state.silent_challengers.min(CHALLENGE_DOUBLINGS_MAX) } else { 0 };
        let patience = shared.redial_after.saturating_mul(1 << doublings);
        match state.attempts.last_mut() {
            None => shared.dial(state),
            Some(Attempt { connection: None, .. }) => {}
            Some(attempt) => match attempt.probe_sent {
                None => shared.ask(attempt, &state.probe, state.logins.turn(state.refused)),
                Some(sent) if since(sent) < patience => {}
                Some(_) => {
                    state.silent_challengers += u32::from(has_challenger);
                    state.attempts.truncate(1);
                    shared.dial(state);
                }
            },
        }
    }

    /// Changes the commands, from the next probe on.
    pub fn set_probe(&self, probe: Arc<Probe>) {
        self.0.state().probe = probe;
    }

    /// Changes the ways to log in and to encrypt, from the next connection on.
    pub fn log_in_as(&self, logins: Logins, tls: Option<Tls>) {
        let mut state = self.0.state();
        (state.logins, state.refused) = (logins, 0);
        (state.tls, state.tls_failed) = (tls, 0);
    }

    /// The connection with this number, if it is still open.
    pub fn connection(&self, number: u64) -> Option<Connection> {
        let state = self.0.state();
        let attempt = state.attempts.iter().find(|attempt| attempt.number == Some(number))?;
        attempt.connection.clone().filter(Connection::is_open)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.0.state().attempts.clear();
    }
}

/// At most 32 hang limits between two challengers.
const CHALLENGE_DOUBLINGS_MAX: u32 = 5;

/// Numbers attempts and established connections, of all links.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

fn next_number() -> u64 {
    NEXT_NUMBER.fetch_add(1, Ordering::Relaxed)
}

struct Shared {
    member: Arc<str>,
    endpoint: Endpoint,
    network: Option<Arc<dyn Dial>>,
    dial_deadline: Duration,
    redial_after: Duration,
    listener: Listener,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    probe: Arc<Probe>,
    logins: Logins,
    /// Number of refused logins: selects the next one.
    refused: usize,
    tls: Option<Tls>,
    /// Number of failed ways to encrypt, on either side: selects the next one.
    tls_failed: usize,
    /// The first connection, then a challenger.
    attempts: Vec<Attempt>,
    /// In a row, since the last answer.
    silent_challengers: u32,
    /// The last connection that answered was reset, not closed: see [`Shared::kind_of_refusal`].
    was_reset: bool,
}

/// One attempt to connect, and its connection.
#[derive(Debug)]
struct Attempt {
    id: u64,
    began: Instant,
    /// None: still dialling.
    connection: Option<Connection>,
    /// None: no answer yet.
    number: Option<u64>,
    /// When the probe in flight was sent.
    probe_sent: Option<Instant>,
    /// Dials, then drives the connection.
    carrier: AbortHandle,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics: it only moves and sends")
    }

    fn dial(self: &Arc<Self>, state: &mut State) {
        let id = next_number();
        let shared = Arc::clone(self);
        let (tls, turn) = (state.tls.clone(), state.tls_failed);
        let carrier = tokio::spawn(async move {
            // Boxed, and freed once connected: the future of a handshake is large, and there are many
            // connections.
            let dialled = Box::pin(async {
                match &shared.network {
                    None => dial(&shared.endpoint, tls.as_ref(), turn, shared.dial_deadline).await,
                    Some(network) => dial_on(network.as_ref(), &shared.endpoint, shared.dial_deadline).await,
                }
            });
            let carried = async {
                match dialled.await {
                    Ok((connection, driver)) => shared.carry(id, connection, driver).await,
                    Err(DialFailure { kind, text }) => {
                        shared.state().tls_failed += usize::from(kind == FailureKind::Unauthorized);
                        let (kind, text) = shared.kind_of_refusal(kind, text);
                        shared.give_up(id, kind, text);
                    }
                }
            };
            // Whatever ends a connection, the group hears of its end, and the next probe dials.
            if AssertUnwindSafe(carried).catch_unwind().await.is_err() {
                shared.note_panic(id);
            }
        });
        let carrier = carrier.abort_handle();
        state.attempts.push(Attempt {
            id,
            began: now(),
            connection: None,
            number: None,
            probe_sent: None,
            carrier,
        });
    }

    /// The end of a process closes its connections (FIN), and its kernel refuses new ones. A firewall that
    /// begins to reject resets them (RST) and refuses new ones in the name of a server that runs:
    ///
    /// 1. A rule on the way to the master rejects with a reset. Clients beside the master go on writing.
    /// 2. The operator's connection is reset by its next probe, and the next attempt is refused.
    /// 3. Taken for the end of the process, that would promote a replica within milliseconds.
    ///
    /// So a refusal after a reset says only that nothing gets through. The kernel resets, too, where a
    /// process ends with a command unread: that death takes the hang limit, or the orchestrator's word. On a
    /// loopback address nothing is on the way.
    fn kind_of_refusal(&self, kind: FailureKind, text: String) -> (FailureKind, String) {
        let is_doubtful =
            kind == FailureKind::Refused && self.state().was_reset && !self.endpoint.is_loopback();
        if is_doubtful {
            let text = format!("{text}; the connection before was reset, as a firewall on the way would");
            (FailureKind::Unreachable, text)
        } else {
            (kind, text)
        }
    }

    /// Sends the first probe and drives the connection to its end.
    async fn carry(self: &Arc<Self>, id: u64, connection: Connection, driver: Driver) {
        {
            let mut guard = self.state();
            let state = &mut *guard;
            let Some(attempt) = state.attempts.iter_mut().find(|attempt| attempt.id == id) else { return };
            attempt.connection = Some(connection.clone());
            self.ask(attempt, &state.probe, state.logins.turn(state.refused));
        }
        // An answer may arrive right before the end, and is reported first: losses are counted from a dead
        // master's last reply.
        driver.await;
        self.note_end(id, &connection);
    }

    /// Sends a probe as one pipeline. The first one of a connection logs in too, in the same round trip.
    fn ask(self: &Arc<Self>, attempt: &mut Attempt, probe: &Arc<Probe>, login: Option<&Credentials>) {
        let Some(connection) = attempt.connection.as_ref() else { return };
        let (id, is_first, sent) = (attempt.id, attempt.number.is_none(), now());
        let login = login.filter(|_| is_first).map(Credentials::auth);
        let with_login = login.map(|login| probe.question.after(&login));
        let (shared, asked) = (Arc::clone(self), Arc::clone(probe));
        let take = move |values| shared.note_answer(id, sent, &asked, values);
        // If it cannot be sent, the connection has ended, and its carrier reports that.
        let _ = connection.send(with_login.as_ref().unwrap_or(&probe.question), take);
        attempt.probe_sent = Some(sent);
        if is_first {
            let shared = Arc::downgrade(self);
            tokio::spawn(async move { Self::report_silence(shared, id).await });
        }
    }

    /// Reports a connection without a reply within the deadline, and keeps it.
    async fn report_silence(shared: Weak<Self>, id: u64) {
        let Some(deadline) = shared.upgrade().map(|shared| shared.dial_deadline) else { return };
        tokio::time::sleep(deadline).await;
        let Some(shared) = shared.upgrade() else { return };
        let silent = shared
            .state()
            .attempts
            .iter()
            .find(|attempt| attempt.id == id && attempt.number.is_none())
            .map(|attempt| attempt.began);
        if let Some(began) = silent {
            let text =
                format!("{}: connected, but no reply within {} ms", shared.endpoint, deadline.as_millis());
            shared.fail(began, FailureKind::TimedOut, text);
        }
    }

    fn note_answer(&self, id: u64, sent: Instant, probe: &Probe, mut values: Vec<redis::Value>) {
        // The reply to AUTH, if it was sent, comes first.
        let login: Vec<redis::Value> =
            values.drain(..values.len().saturating_sub(probe.names.len())).collect();
        let refusal = login.iter().chain(&values).filter_map(error_text).enumerate();
        let is_refusal = |place: usize, text: &str| {
            (place == 0 && login.first().and_then(error_text).is_some()) || text.starts_with("NOAUTH")
        };
        if let Some((_, text)) = refusal.into_iter().find(|(place, text)| is_refusal(*place, text)) {
            self.state().refused += 1;
            return self.give_up(
                id,
                FailureKind::Unauthorized,
                format!("{}: {}", self.endpoint, with_way_out(&text)),
            );
        }
        let replies = probe.names.iter().cloned().zip(values.into_iter().map(reply)).collect();
        let mut state = self.state();
        let Some(index) = state.attempts.iter().position(|attempt| attempt.id == id) else { return };
        let mut attempt = state.attempts.swap_remove(index);
        attempt.probe_sent = None;
        let link = *attempt.number.get_or_insert_with(next_number);
        state.attempts = vec![attempt];
        (state.silent_challengers, state.was_reset) = (0, false);
        self.report(LinkEvent::Answered { member: Arc::clone(&self.member), link, sent, replies });
    }

    fn note_end(&self, id: u64, connection: &Connection) {
        let mut state = self.state();
        let Some(attempt) = state.take(id) else { return };
        if let Some(link) = attempt.number {
            state.was_reset = matches!(connection.end(), Some(End::Error(_)));
            self.report(LinkEvent::Closed { member: Arc::clone(&self.member), link });
        }
        let (kind, text) = cause_of_end(connection);
        state.tls_failed += usize::from(matches!(connection.end(), Some(End::Tls(_))));
        // `Closed` is enough for an established connection that the server ended; one that this side ended
        // needs the reason too.
        if attempt.number.is_none() || kind == FailureKind::ProtocolError {
            self.fail(attempt.began, kind, format!("{}: {text}", self.endpoint));
        }
    }

    fn give_up(&self, id: u64, kind: FailureKind, text: String) {
        let mut state = self.state();
        if let Some(attempt) = state.take(id) {
            self.fail(attempt.began, kind, text);
        }
    }

    fn note_panic(&self, id: u64) {
        let mut state = self.state();
        let Some(attempt) = state.take(id) else { return };
        if let Some(link) = attempt.number {
            self.report(LinkEvent::Closed { member: Arc::clone(&self.member), link });
        }
        let text = format!("{}: the operator panicked on this connection; its log says where", self.endpoint);
        self.fail(attempt.began, FailureKind::ProtocolError, text);
    }

    fn fail(&self, sent: Instant, kind: FailureKind, text: String) {
        self.report(LinkEvent::Failed { member: Arc::clone(&self.member), sent, kind, text });
    }

    /// Called under the lock where order matters, so that no `Closed` overtakes the `Answered` before it.
    fn report(&self, event: LinkEvent) {
        (self.listener)(event);
    }
}

/// The commands of a probe, packed, and as the Observation writes them.
#[derive(Debug)]
pub struct Probe {
    question: Question,
    names: Vec<Arc<str>>,
}

impl Probe {
    /// A probe of these commands, each as its words.
    pub fn new(commands: &[Vec<String>]) -> Self {
        Self::of_master(commands, MASTER_NAME)
    }

    /// The same for Sentinels: [`MASTER_NAME`] is sent as this name, and kept in what the Observation shows.
    pub fn of_master(commands: &[Vec<String>], name: &str) -> Self {
        let sent = |word: &'_ String| if word == MASTER_NAME { name.to_owned() } else { word.clone() };
        let sent: Vec<Vec<String>> = commands.iter().map(|words| words.iter().map(sent).collect()).collect();
        let sent: Vec<Vec<&str>> =
            sent.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
        Self {
            question: Question::new(&sent),
            names: commands.iter().map(|words| words.join(" ").into()).collect(),
        }
    }
}

impl State {
    fn take(&mut self, id: u64) -> Option<Attempt> {
        let index = self.attempts.iter().position(|attempt| attempt.id == id)?;
        Some(self.attempts.remove(index))
    }
}

/// Why a connection ended, with the way out.
fn cause_of_end(connection: &Connection) -> (FailureKind, String) {
    let opening = connection.opening();
    match (connection.end(), connection.first_byte()) {
        (Some(End::TooLong), _) => (
            FailureKind::ProtocolError,
            format!("more than {} MiB without the end of an answer", ANSWER_BYTES_MAX >> 20),
        ),
        (Some(End::Tls(why)), _) => (
            FailureKind::Unauthorized,
            format!("TLS: {why}; the server may require a client certificate that its CA signed"),
        ),
        (Some(End::Eof | End::Error(_)), None) => (
            FailureKind::Reset,
            "the server accepted the connection and closed it before any reply; it may require TLS".into(),
        ),
        // Too many clients, or protected mode: an error without a command, then the end.
        (Some(End::Eof | End::Error(_)), Some(b'-')) => {
            (error_kind(&opening[1..]), with_way_out(&opening[1..]))
        }
        (Some(End::Eof | End::Error(_)), Some(b'+' | b':' | b'$' | b'*')) => {
            (FailureKind::Reset, "the connection was closed within its first answer".into())
        }
        // A TLS alert, RFC 8446 section 5.1: content type 21.
        (_, Some(21)) => (
            FailureKind::ProtocolError,
            "the server answers in TLS: switch TLS on, or use its plain port".into(),
        ),
        (_, _) => (
            FailureKind::ProtocolError,
            format!("the server does not speak the Redis protocol; its answer began with {opening:?}"),
        ),
    }
}

/// The text of an error, and the way out if it is known.
fn with_way_out(text: &str) -> String {
    let way_out = match text {
        _ if text.starts_with("NOAUTH") => "give a password, and a user if it has users",
        _ if text.starts_with("WRONGPASS") || text.contains("invalid password") => "check user and password",
        _ if text.starts_with("DENIED") => "give the server a password, or bind it to loopback only",
        _ if text.contains("without any password") || text.contains("no password is set") => {
            "leave the password out, or give the server one"
        }
        _ if text.contains("wrong number of arguments for 'auth'") => {
            "before version 6 there are no users: give a password only"
        }
        _ if text.contains("max number of clients") => "raise its maxclients",
        _ => return text.into(),
    };
    format!("{text} ({way_out})")
}
