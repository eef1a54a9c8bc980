//! A subscription to what one Sentinel publishes, over time: dial, log in, subscribe, read, and again after
//! its end. Must not judge an event.
//!
//! | bound | |
//! |--|--|
//! | one connection | dialled again after 0.5 s, then up to 5 s later; after a refusal up to 60 s |
//! | a message | 64 KiB, or the connection ends |
//! | what is passed on | once in 5 ms at most, whatever is published meanwhile |
//! | a connection without a sign of life | PING after 10 s, end after 10 s more |

use super::clock::{now, since};
use super::connection::Question;
use super::dial::{Stream, stream};
use super::endpoint::{Credentials, Endpoint, Logins};
use super::probe::error_text;
use super::tls::Tls;
use super::wire::{Scan, replies};
use crate::contract::FailureKind;
use redis::Value;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Whether channel and message concern the subscriber.
pub type Concerns = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Called after something that concerns the subscriber was published, and after each new connection, which
/// may have missed some. Must return at once.
pub type Heard = Arc<dyn Fn() + Send + Sync>;

/// Where and how to subscribe.
pub struct SubscriptionSettings {
    /// The address to dial.
    pub endpoint: Endpoint,
    /// How to log in.
    pub logins: Logins,
    /// How to encrypt. None: plain TCP.
    pub tls: Option<Tls>,
    /// For connecting, and for the first answer.
    pub dial_deadline: Duration,
    /// Which messages count.
    pub concerns: Concerns,
}

/// A subscription. Dropping it ends its connection.
pub struct Subscription {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Subscription {
    /// Dials at once. Must be called within a tokio runtime.
    pub fn new(settings: SubscriptionSettings, heard: Heard) -> Self {
        let SubscriptionSettings { endpoint, logins, tls, dial_deadline, concerns } = settings;
        let entry = Mutex::new(Entry { logins, refused: 0, tls, tls_failed: 0 });
        let changed = Notify::new();
        let shared = Arc::new(Shared { endpoint, dial_deadline, concerns, heard, entry, changed });
        let task = tokio::spawn(keep(Arc::clone(&shared))).abort_handle();
        Self { shared, task }
    }

    /// Changes the ways to log in and to encrypt, from the next connection on.
    pub fn log_in_as(&self, logins: Logins, tls: Option<Tls>) {
        *self.shared.entry() = Entry { logins, refused: 0, tls, tls_failed: 0 };
        self.shared.changed.notify_one();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    endpoint: Endpoint,
    dial_deadline: Duration,
    concerns: Concerns,
    heard: Heard,
    entry: Mutex<Entry>,
    /// The entry is another one.
    changed: Notify,
}

/// How to get in, and how often that failed: selects the next way.
struct Entry {
    logins: Logins,
    refused: usize,
    tls: Option<Tls>,
    tls_failed: usize,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Not connected, or not any more.
    Gone,
    /// The login or the subscription was refused: a person has to change that.
    Refused,
}

async fn keep(shared: Arc<Shared>) {
    let mut pause = PAUSE_MIN;
    loop {
        let began = now();
        // Boxed: large, and of no use between two connections.
        let end = Box::pin(shared.follow()).await;
        let limit = match end {
            End::Gone => PAUSE_MAX,
            End::Refused => PAUSE_REFUSED_MAX,
        };
        pause = if since(began) > PAUSE_REFUSED_MAX { PAUSE_MIN } else { (pause * 2).min(limit) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // What was refused may be let in now.
            () = shared.changed.notified() => pause = PAUSE_MIN,
        }
    }
}

impl Shared {
    fn entry(&self) -> MutexGuard<'_, Entry> {
        self.entry.lock().expect("no holder panics: it only copies")
    }

    /// One connection, to its end.
    async fn follow(&self) -> End {
        let (login, tls, turn) = {
            let entry = self.entry();
            (entry.logins.turn(entry.refused).cloned(), entry.tls.clone(), entry.tls_failed)
        };
        let mut stream = match stream(&self.endpoint, tls.as_ref(), turn, self.dial_deadline).await {
            Ok(stream) => stream,
            Err(failure) if failure.kind == FailureKind::Unauthorized => {
                self.entry().tls_failed += 1;
                return End::Refused;
            }
            Err(_) => return End::Gone,
        };
        let subscribe: Vec<&str> = ["SUBSCRIBE"].into_iter().chain(EVENTS.iter().copied()).collect();
        let login = login.as_ref().map(Credentials::auth);
        let has_login = login.is_some();
        let opening = Question::new(&login.into_iter().chain([subscribe]).collect::<Vec<_>>());
        if !send(&mut stream, &opening).await {
            return End::Gone;
        }
        let mut reading = Reading::default();
        let (mut is_first, mut is_asked, mut limit) = (has_login, true, self.dial_deadline);
        let mut bytes = [0; READ_BYTES];
        loop {
            let read = tokio::time::timeout(limit, stream.read(&mut bytes)).await;
            let count = match read {
                Ok(Ok(count)) if count > 0 => count,
                Ok(Ok(_) | Err(_)) => return End::Gone,
                Err(_) if is_asked => return End::Gone,
                Err(_) => {
                    is_asked = true;
                    if !send(&mut stream, &Question::new(&[["PING"]])).await {
                        return End::Gone;
                    }
                    continue;
                }
            };
            (is_asked, limit) = (false, QUIET_MAX);
            let Some(values) = reading.take(&bytes[..count]) else { return End::Gone };
            let mut is_heard = false;
            for value in values {
                if error_text(&value).is_some() {
                    self.entry().refused += usize::from(is_first || !has_login);
                    return End::Refused;
                }
                is_heard |= is_subscribed(&value) || self.concern(&value);
                is_first = false;
            }
            if is_heard {
                (self.heard)();
                // What is published meanwhile is passed on together.
                tokio::time::sleep(PACE).await;
            }
        }
    }

    fn concern(&self, value: &Value) -> bool {
        match words(value).as_slice() {
            ["message", channel, text] => (self.concerns)(channel, text),
            _ => false,
        }
    }
}

/// False: the connection has ended.
async fn send(stream: &mut Box<dyn Stream>, question: &Question) -> bool {
    let sent = async {
        stream.write_all(question.packed()).await?;
        // TLS buffers.
        stream.flush().await
    };
    tokio::time::timeout(QUIET_MAX, sent).await.is_ok_and(|sent| sent.is_ok())
}

/// The first of the confirmations: from here on nothing is missed.
fn is_subscribed(value: &Value) -> bool {
    match value {
        Value::Array(parts) => {
            matches!(parts.as_slice(), [Value::BulkString(kind), _, Value::Int(1)] if kind == b"subscribe")
        }
        _ => false,
    }
}

/// The texts of a message.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(parts) => parts.iter().map_while(text).collect(),
        _ => Vec::new(),
    }
}

fn text(part: &Value) -> Option<&str> {
    match part {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// What was read and is no whole reply yet.
#[derive(Default)]
struct Reading {
    kept: Vec<u8>,
}

impl Reading {
    /// The replies that are whole now. None: the bytes are no reply, or one is too long.
    fn take(&mut self, bytes: &[u8]) -> Option<Vec<Value>> {
        self.kept.extend_from_slice(bytes);
        let (mut values, mut at) = (Vec::new(), 0);
        while at < self.kept.len() {
            let Some(length) = Scan::new(1).resume(&self.kept[at..]).ok()? else { break };
            values.extend(replies(&self.kept[at..at + length]).ok()?);
            at += length;
        }
        self.kept.drain(..at);
        (self.kept.len() <= MESSAGE_BYTES_MAX).then_some(values)
    }
}

/// The events after which a Sentinel's replies differ in what a decision may turn on (`sentinel.c`,
/// `sentinelEvent`). By full names: a user's rights to channels are patterns, and a pattern that subscribes
/// must be one of them.
const EVENTS: &[&str] = &[
    "+switch-master",
    "+sdown",
    "-sdown",
    "+odown",
    "-odown",
    "+try-failover",
    "+elected-leader",
    "+selected-slave",
    "+promoted-slave",
    "+failover-end",
    "-failover-abort-no-good-slave",
    "-failover-abort-not-elected",
    "-failover-abort-slave-timeout",
    "+monitor",
    "-monitor",
    "+reset-master",
    "+set",
    "+slave",
    "+sentinel",
    "+tilt",
    "-tilt",
];

/// A Sentinel that restarts is back after about this.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// One that is gone costs a connection attempt in this time.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// One that refuses the login logs each attempt.
const PAUSE_REFUSED_MAX: Duration = Duration::from_secs(60);
/// A fifth of the time between two rounds of a healthy group.
const PACE: Duration = Duration::from_millis(5);
/// Sentinels publish nothing for hours; a connection through a NAT that forgot it shows nothing either.
const QUIET_MAX: Duration = Duration::from_secs(10);
/// A message has less than 1 KiB.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
const READ_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_in_any_pieces_and_in_order() {
        let bytes = b"*3\r\n$9\r\nsubscribe\r\n$6\r\n+sdown\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$6\r\n+sdown\r\n$1\r\nx\r\n";
        for cut in 0..bytes.len() {
            let mut reading = Reading::default();
            let mut values = reading.take(&bytes[..cut]).unwrap();
            values.extend(reading.take(&bytes[cut..]).unwrap());
            let [first, second] = values.as_slice() else { panic!("{values:?}") };
            assert!(is_subscribed(first) && !is_subscribed(second), "{cut}");
            assert_eq!(words(second), ["message", "+sdown", "x"]);
        }
    }

    #[test]
    fn what_is_no_message_or_has_no_end_ends_the_connection() {
        assert!(Reading::default().take(b"HTTP/1.1 400 Bad Request\r\n").is_none());
        let mut reading = Reading::default();
        assert!(reading.take(b"$900000\r\n").is_some());
        assert!(reading.take(&[b'x'; MESSAGE_BYTES_MAX]).is_none());
    }
}
