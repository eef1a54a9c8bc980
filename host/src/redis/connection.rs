//! One established connection: pipelines and their replies. Its identity is the only atomic check of a run id
//! that Redis offers, because the connections of a process end with it.
//!
//! A thousand groups have three thousand connections, so an idle one has no buffers: bytes are read into a
//! buffer on the stack, and kept only until an answer is complete.

use super::meter::{End, Meter, Metered};
use super::wire::{Scan, replies};
use redis::Value;
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A connection to one server process. Clones share it; their pipelines are sent one after the other.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

/// Why a pipeline has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskFailure {
    /// The connection had already ended: nothing was sent.
    #[error("the connection had already ended")]
    Gone,
    /// It ended after the commands were sent; they may or may not have arrived.
    #[error("the connection ended before the answer arrived")]
    Ended,
    /// No answer in time. The commands are not cancelled.
    #[error("no answer in time")]
    Late,
}

/// A pipeline: commands that are sent together, with replies that are returned together.
#[derive(Debug)]
pub(super) struct Question {
    packed: Vec<u8>,
    replies: usize,
}

impl Question {
    /// A pipeline of these commands, each as its words.
    pub(super) fn new<'a>(commands: &[impl AsRef<[&'a str]>]) -> Self {
        let packed = commands
            .iter()
            .flat_map(|words| redis::Cmd::new().arg(words.as_ref()).get_packed_command())
            .collect();
        Self { packed, replies: commands.len() }
    }

    /// As it is sent.
    pub(super) fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// The same pipeline after another command.
    pub(super) fn after(&self, first: &[&str]) -> Self {
        let Self { mut packed, replies } = Self::new(&[first]);
        packed.extend_from_slice(&self.packed);
        Self { packed, replies: replies + self.replies }
    }
}

struct Shared {
    meter: Meter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The carrier has ended.
    is_over: bool,
    outgoing: Vec<u8>,
    /// In the order of their answers.
    asked: VecDeque<Asked>,
    carrier: Option<Waker>,
}

struct Asked {
    replies: usize,
    take: Box<dyn FnOnce(Vec<Value>) + Send>,
}

impl Connection {
    /// A connection, and its carrier: data moves only while the carrier is polled; it ends with the socket.
    pub(super) fn new<S>(stream: Metered<S>, meter: Meter) -> (Self, Carrier<S>) {
        let shared = Arc::new(Shared { meter, state: Mutex::default() });
        let carrier = Carrier {
            stream,
            shared: Arc::clone(&shared),
            outgoing: Vec::new(),
            sent: 0,
            incoming: Vec::new(),
            scan: None,
        };
        (Self(shared), carrier)
    }

    /// True if the socket is open, as far as this side knows.
    pub fn is_open(&self) -> bool {
        self.0.meter.end().is_none()
    }

    /// Sends the commands as one pipeline and waits for all replies until `deadline`. Error replies are
    /// replies.
    pub(super) async fn ask(&self, question: &Question, deadline: Instant) -> Result<Vec<Value>, AskFailure> {
        let (answered, answer) = oneshot::channel();
        // The caller may have stopped waiting.
        self.send(question, move |replies| drop(answered.send(replies)))?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(answer) => answer.map_err(|_| AskFailure::Ended),
            Err(_) => Err(AskFailure::Late),
        }
    }

    /// Sends the commands. `take` is called with the replies when all have arrived, and dropped if the
    /// connection ends before.
    pub(super) fn send(
        &self,
        question: &Question,
        take: impl FnOnce(Vec<Value>) + Send + 'static,
    ) -> Result<(), AskFailure> {
        if !self.is_open() {
            return Err(AskFailure::Gone);
        }
        let mut state = self.0.state();
        if state.is_over {
            return Err(AskFailure::Gone);
        }
        self.0.meter.note_question();
        state.outgoing.extend_from_slice(&question.packed);
        state.asked.push_back(Asked { replies: question.replies, take: Box::new(take) });
        if let Some(carrier) = &state.carrier {
            carrier.wake_by_ref();
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Option<End> {
        self.0.meter.end()
    }

    /// The first line that the server sent, printable.
    pub(super) fn opening(&self) -> String {
        self.0.meter.opening()
    }

    pub(super) fn first_byte(&self) -> Option<u8> {
        self.0.meter.first_byte()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics: it only moves")
    }
}

/// Moves the data of a connection until it ends.
pub(super) struct Carrier<S> {
    stream: Metered<S>,
    shared: Arc<Shared>,
    /// Bytes to send; the first `sent` of them are sent.
    outgoing: Vec<u8>,
    sent: usize,
    /// The beginning of an answer, and the scan of it so far.
    incoming: Vec<u8>,
    scan: Option<Scan>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Carrier<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.take_outgoing(context.waker());
        if this.poll_send(context).is_err() {
            return Poll::Ready(());
        }
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        loop {
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && this.take(buffer.filled()) => {}
                // The meter has the cause of the end. After bytes that are no RESP, the connection is
                // unusable.
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Carrier<S> {
    fn take_outgoing(&mut self, waker: &Waker) {
        let mut state = self.shared.state();
        if self.outgoing.is_empty() {
            self.outgoing = std::mem::take(&mut state.outgoing);
        }
        if !state.carrier.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.carrier = Some(waker.clone());
        }
    }

    /// Sends until all is sent, or the socket is full; then the socket wakes the task.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Result<(), std::io::Error> {
        while !self.outgoing.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.outgoing[self.sent..]) {
                Poll::Pending => return Ok(()),
                Poll::Ready(written) => self.sent += written?,
            }
            if self.sent == self.outgoing.len() {
                self.sent = 0;
                self.outgoing = std::mem::take(&mut self.shared.state().outgoing);
            }
        }
        // TLS buffers; for plain TCP this does nothing.
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    /// Hands out complete answers. False: the bytes answer no command.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let kept = if self.incoming.is_empty() { None } else { Some(std::mem::take(&mut self.incoming)) };
        let joined = kept.map(|mut kept| {
            kept.extend_from_slice(bytes);
            kept
        });
        let mut rest = joined.as_deref().unwrap_or(bytes);
        while !rest.is_empty() {
            let Some(wanted) = self.shared.state().asked.front().map(|asked| asked.replies) else {
                return false;
            };
            let mut scan = self.scan.take().unwrap_or_else(|| Scan::new(wanted));
            let Ok(length) = scan.resume(rest) else { return false };
            let Some(length) = length else {
                self.scan = Some(scan);
                break;
            };
            let Ok(values) = replies(&rest[..length]) else { return false };
            rest = &rest[length..];
            let asked = self.shared.state().asked.pop_front();
            if let Some(Asked { take, .. }) = asked {
                take(values);
            }
        }
        self.incoming = match joined {
            // Nothing of it was handed out: the buffer is kept as it is.
            Some(joined) if rest.len() == joined.len() => joined,
            Some(_) | None => rest.to_vec(),
        };
        true
    }
}

impl<S> Drop for Carrier<S> {
    fn drop(&mut self) {
        let asked = {
            let mut state = self.shared.state();
            state.is_over = true;
            state.carrier = None;
            std::mem::take(&mut state.asked)
        };
        drop(asked);
    }
}

/// The answer to a probe has 2 KB; 60 KB with hundreds of replicas.
const READ_BYTES: usize = 16 * 1024;
