//! The connection to one server over time: its probes, their late answers, its end. Never judges what an
//! answer means.
//!
//! A link holds at most two connections. The eldest is kept through any silence, because a hung server's
//! first sign of life is the answer to the probe that it already has. But a connection can be dead without a
//! sound (a host that lost power, a dropped NAT entry), so beside an overdue one a challenger is dialled.
//! Whichever answers first lives on; the other is dropped.
//!
//! A connection counts once it has answered: a hung server's kernel accepts connections too, and one that is
//! accepted and closed without a word proves nothing.

use super::connection::{Connection, Question};
use super::dial::{Driver, dial};
use super::endpoint::{Credentials, Endpoint, Logins};
use super::meter::{ANSWER_BYTES_MAX, End};
use super::probe::{CommandFailure, error_kind, error_text, reply};
use super::tls::Tls;
use crate::contract::{FailureKind, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// What happened on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A probe was answered, in whole.
    Answered {
        /// Whose link.
        member: Arc<str>,
        /// The number of the connection that answered, never used again in this process. A greater one than
        /// before means that the former is gone, whether or not its end was reported.
        link: u64,
        /// When the probe was sent: whatever the replies show was true since then.
        sent: Instant,
        /// Every command in the words of the observation, with its reply.
        replies: Vec<(Arc<str>, Result<Value, CommandFailure>)>,
    },
    /// An attempt to get a first answer out of a new connection came to nothing.
    Failed {
        /// Whose link.
        member: Arc<str>,
        /// When the attempt began.
        sent: Instant,
        /// What went wrong.
        kind: FailureKind,
        /// For people.
        text: String,
    },
    /// The connection with this number ended.
    Closed {
        /// Whose link.
        member: Arc<str>,
        /// Its number.
        link: u64,
    },
}

/// Who is told of everything that happens on a link, in order. Returns at once, and calls no link.
pub type Listener = Arc<dyn Fn(LinkEvent) + Send + Sync>;

/// What a link needs to know.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// Whom to dial.
    pub endpoint: Endpoint,
    /// How to log in.
    pub logins: Logins,
    /// How to encrypt. None: in the clear.
    pub tls: Option<Tls>,
    /// For connecting, and again for the first answer.
    pub dial_deadline: Duration,
    /// The hang limit: an outstanding probe older than this no longer keeps a further one from dialling
    /// anew.
    pub redial_after: Duration,
    /// What is asked.
    pub probe: Arc<Probe>,
}

/// The connection to one server. Dropping it drops its connections, silently.
pub struct Link(Arc<Shared>);

impl Link {
    /// Dials nobody yet: that is what the first probe does.
    pub fn new(member: Arc<str>, settings: LinkSettings, listener: Listener) -> Self {
        let LinkSettings { endpoint, logins, tls, dial_deadline, redial_after, probe } = settings;
        let state =
            State { probe, logins, refused: 0, tls, mistrusted: 0, lines: Vec::new(), silent_challengers: 0 };
        Self(Arc::new(Shared {
            member,
            endpoint,
            dial_deadline,
            redial_after,
            listener,
            state: Mutex::new(state),
        }))
    }

    /// Whose it is.
    pub fn member(&self) -> &str {
        &self.0.member
    }

    /// Whom it dials.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Asks once more, unless a question is open or a connection under way. Returns at once; the answer is an
    /// event. Must be called within a tokio runtime.
    pub fn probe(&self) {
        let shared = &self.0;
        let mut guard = shared.state();
        let state = &mut *guard;
        let has_challenger = state.lines.len() > 1;
        // A challenger that was accepted and stays silent is left in peace ever longer: a hung server's
        // kernel queues every connection, and the server works through that queue when it wakes.
        let doublings =
            if has_challenger { state.silent_challengers.min(CHALLENGE_DOUBLINGS_MAX) } else { 0 };
        let patience = shared.redial_after.saturating_mul(1 << doublings);
        match state.lines.last_mut() {
            None => shared.dial(state),
            Some(Line { connection: None, .. }) => {}
            Some(line) => match line.asked {
                None => shared.ask(line, &state.probe, state.logins.turn(state.refused)),
                Some(since) if since.elapsed() < patience => {}
                Some(_) => {
                    state.silent_challengers += u32::from(has_challenger);
                    state.lines.truncate(1);
                    shared.dial(state);
                }
            },
        }
    }

    /// From the next probe on, this is asked.
    pub fn ask_for(&self, probe: Arc<Probe>) {
        self.0.state().probe = probe;
    }

    /// From the next connection on, these are the ways to log in and to encrypt.
    pub fn log_in_as(&self, logins: Logins, tls: Option<Tls>) {
        let mut state = self.0.state();
        (state.logins, state.refused) = (logins, 0);
        (state.tls, state.mistrusted) = (tls, 0);
    }

    /// The very connection with this number, if it still lives.
    pub fn connection(&self, number: u64) -> Option<Connection> {
        let state = self.0.state();
        let line = state.lines.iter().find(|line| line.number == Some(number))?;
        line.connection.clone().filter(Connection::is_open)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.0.state().lines.clear();
    }
}

/// 32 hang limits between two challengers at the most.
const CHALLENGE_DOUBLINGS_MAX: u32 = 5;

/// Names connections, tried and established ones alike, of all links.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

fn next_number() -> u64 {
    NEXT_NUMBER.fetch_add(1, Ordering::Relaxed)
}

struct Shared {
    member: Arc<str>,
    endpoint: Endpoint,
    dial_deadline: Duration,
    redial_after: Duration,
    listener: Listener,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    probe: Arc<Probe>,
    logins: Logins,
    /// Logins that were refused: the next one has its turn.
    refused: usize,
    tls: Option<Tls>,
    /// Ways to encrypt that came to nothing, on their side or on ours: the next one has its turn.
    mistrusted: usize,
    /// The eldest first, then a challenger.
    lines: Vec<Line>,
    /// In a row, since the last answer.
    silent_challengers: u32,
}

/// One attempt, and the connection that may come of it.
#[derive(Debug)]
struct Line {
    id: u64,
    began: Instant,
    /// None: still dialling.
    connection: Option<Connection>,
    /// None: never answered.
    number: Option<u64>,
    /// When the open question was sent.
    asked: Option<Instant>,
    /// Dials, then carries the connection.
    carrier: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it: moves and sends only")
    }

    fn dial(self: &Arc<Self>, state: &mut State) {
        let id = next_number();
        let shared = Arc::clone(self);
        let (tls, turn) = (state.tls.clone(), state.mistrusted);
        let carrier = tokio::spawn(async move {
            // In a box, which is gone when the connection stands: a handshake is large, and connections are
            // many.
            match Box::pin(async { dial(&shared.endpoint, tls.as_ref(), turn, shared.dial_deadline).await })
                .await
            {
                Ok((connection, driver)) => shared.carry(id, connection, driver).await,
                Err(failure) => {
                    shared.state().mistrusted += usize::from(failure.kind == FailureKind::Unauthorized);
                    shared.give_up(id, failure.kind, failure.text);
                }
            }
        });
        let carrier = carrier.abort_handle();
        state.lines.push(Line {
            id,
            began: Instant::now(),
            connection: None,
            number: None,
            asked: None,
            carrier,
        });
    }

    /// Asks the first question and keeps the connection going to its end.
    async fn carry(self: &Arc<Self>, id: u64, connection: Connection, driver: Driver) {
        {
            let mut guard = self.state();
            let state = &mut *guard;
            let Some(line) = state.lines.iter_mut().find(|line| line.id == id) else { return };
            line.connection = Some(connection.clone());
            self.ask(line, &state.probe, state.logins.turn(state.refused));
        }
        // An answer may come right before the end: the last words of a dead master are what its losses are
        // counted from.
        driver.await;
        self.note_end(id, &connection);
    }

    /// One pipeline. A first question logs in as well, in the same round trip.
    fn ask(self: &Arc<Self>, line: &mut Line, probe: &Arc<Probe>, login: Option<&Credentials>) {
        let Some(connection) = line.connection.as_ref() else { return };
        let (id, is_first, sent) = (line.id, line.number.is_none(), Instant::now());
        let login = login.filter(|_| is_first).map(Credentials::auth);
        let with_login = login.map(|login| probe.question.after(&login));
        let (shared, asked) = (Arc::clone(self), Arc::clone(probe));
        let take = move |values| shared.note_answer(id, sent, &asked, values);
        // Without an answer the connection has ended, and its carrier reports that.
        let _ = connection.send(with_login.as_ref().unwrap_or(&probe.question), take);
        line.asked = Some(sent);
        if is_first {
            let shared = Arc::downgrade(self);
            tokio::spawn(async move { Self::doubt(shared, id).await });
        }
    }

    /// A connection that says nothing within the deadline is reported, and kept.
    async fn doubt(shared: Weak<Self>, id: u64) {
        let Some(deadline) = shared.upgrade().map(|shared| shared.dial_deadline) else { return };
        tokio::time::sleep(deadline).await;
        let Some(shared) = shared.upgrade() else { return };
        let silent = shared
            .state()
            .lines
            .iter()
            .find(|line| line.id == id && line.number.is_none())
            .map(|line| line.began);
        if let Some(began) = silent {
            let text =
                format!("{}: connected, and no reply within {} ms", shared.endpoint, deadline.as_millis());
            shared.fail(began, FailureKind::TimedOut, text);
        }
    }

    fn note_answer(&self, id: u64, sent: Instant, probe: &Probe, mut values: Vec<redis::Value>) {
        // The login, if there was one, stands in front.
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
        let Some(place) = state.lines.iter().position(|line| line.id == id) else { return };
        let mut line = state.lines.swap_remove(place);
        line.asked = None;
        let link = *line.number.get_or_insert_with(next_number);
        state.lines = vec![line];
        state.silent_challengers = 0;
        self.report(LinkEvent::Answered { member: Arc::clone(&self.member), link, sent, replies });
    }

    fn note_end(&self, id: u64, connection: &Connection) {
        let mut state = self.state();
        let Some(line) = state.take(id) else { return };
        if let Some(link) = line.number {
            self.report(LinkEvent::Closed { member: Arc::clone(&self.member), link });
        }
        let (kind, text) = last_words(connection);
        state.mistrusted += usize::from(matches!(connection.end(), Some(End::Tls(_))));
        // That an established connection was closed says it all; that we had to close it needs the reason.
        if line.number.is_none() || kind == FailureKind::ProtocolError {
            self.fail(line.began, kind, format!("{}: {text}", self.endpoint));
        }
    }

    fn give_up(&self, id: u64, kind: FailureKind, text: String) {
        let mut state = self.state();
        if let Some(line) = state.take(id) {
            self.fail(line.began, kind, text);
        }
    }

    fn fail(&self, sent: Instant, kind: FailureKind, text: String) {
        self.report(LinkEvent::Failed { member: Arc::clone(&self.member), sent, kind, text });
    }

    /// Called with the state locked where order matters, so that no `Closed` overtakes the `Answered` before
    /// it.
    fn report(&self, event: LinkEvent) {
        (self.listener)(event);
    }
}

/// What is asked each time, and its words in the observation.
#[derive(Debug)]
pub struct Probe {
    question: Question,
    names: Vec<Arc<str>>,
}

impl Probe {
    /// Of these commands, as words.
    pub fn new(commands: &[Vec<String>]) -> Self {
        let commands: Vec<Vec<&str>> =
            commands.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
        Self {
            question: Question::new(&commands),
            names: commands.iter().map(|words| words.join(" ").into()).collect(),
        }
    }
}

impl State {
    fn take(&mut self, id: u64) -> Option<Line> {
        let place = self.lines.iter().position(|line| line.id == id)?;
        Some(self.lines.remove(place))
    }
}

/// What the end of a connection shows.
fn last_words(connection: &Connection) -> (FailureKind, String) {
    let opening = connection.opening();
    match (connection.end(), connection.first_byte()) {
        (Some(End::TooLong), _) => (
            FailureKind::ProtocolError,
            format!("more than {} MiB without the end of an answer", ANSWER_BYTES_MAX >> 20),
        ),
        (Some(End::Tls(why)), _) => (
            FailureKind::Unauthorized,
            format!("TLS: {why}; it may want a client certificate that its CA signed"),
        ),
        (Some(End::Eof | End::Error(_)), None) => (
            FailureKind::Reset,
            "accepted and closed before any reply; a server that wants TLS does so too".into(),
        ),
        // Too many clients, protected mode: an error in answer to nothing, then the end.
        (Some(End::Eof | End::Error(_)), Some(b'-')) => {
            (error_kind(&opening[1..]), with_way_out(&opening[1..]))
        }
        (Some(End::Eof | End::Error(_)), Some(b'+' | b':' | b'$' | b'*')) => {
            (FailureKind::Reset, "closed within its first answer".into())
        }
        // A TLS alert, RFC 8446 section 5.1: content type 21.
        (_, Some(21)) => {
            (FailureKind::ProtocolError, "it answers in TLS: switch TLS on, or use its plain port".into())
        }
        (_, _) => {
            (FailureKind::ProtocolError, format!("this is not the Redis protocol; it began with {opening:?}"))
        }
    }
}

/// An error's own words, and what to do about it where we know.
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
