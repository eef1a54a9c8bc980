//! The bytes of one connection: their number since the last pipeline, the first line, and the cause of the
//! end.
//!
//! A reply without an end would fill the memory, and a closed connection shows no cause. So the stream is
//! wrapped: too long an answer ends the connection, and the cause of the end is kept.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// For all replies to one pipeline. A real probe has about 6 KB, with 500 replicas 60 KB.
pub(super) const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Enough of the first line to recognise the protocol.
const OPENING_BYTES_MAX: usize = 160;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer closed it.
    Eof,
    /// The socket's error.
    Error(String),
    /// An error of TLS: an alert, or bytes that are no TLS.
    Tls(String),
    /// More than [`ANSWER_BYTES_MAX`] arrived without an end.
    TooLong,
}

/// Shared by the stream and its connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Arc<Mutex<Reading>>);

#[derive(Debug, Default)]
struct Reading {
    bytes_since_question: usize,
    /// The first line, or its beginning.
    opening: Vec<u8>,
    end: Option<End>,
}

impl Meter {
    /// A pipeline is sent: the limit counts anew.
    pub(super) fn note_question(&self) {
        self.reading().bytes_since_question = 0;
    }

    /// How the socket ended. None: it is open, or this side closed it.
    pub(super) fn end(&self) -> Option<End> {
        self.reading().end.clone()
    }

    /// The first line, cut and printable. Empty: nothing was received.
    pub(super) fn opening(&self) -> String {
        let reading = self.reading();
        let line = reading.opening.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    }

    /// The first byte. None: nothing was received.
    pub(super) fn first_byte(&self) -> Option<u8> {
        self.reading().opening.first().copied()
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().expect("no holder panics: it only counts and copies")
    }

    /// Counts received bytes. True: still within the limit.
    fn note_read(&self, bytes: &[u8]) -> bool {
        let mut reading = self.reading();
        if !reading.opening.ends_with(b"\n") {
            let room = OPENING_BYTES_MAX.saturating_sub(reading.opening.len());
            let line = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
            reading.opening.extend_from_slice(&bytes[..line.min(room)]);
        }
        reading.bytes_since_question = reading.bytes_since_question.saturating_add(bytes.len());
        reading.bytes_since_question <= ANSWER_BYTES_MAX
    }

    fn note_error(&self, error: &std::io::Error) {
        let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        self.note_end(if is_tls { End::Tls(error.to_string()) } else { End::Error(error.to_string()) });
    }

    fn note_end(&self, end: End) {
        self.reading().end.get_or_insert(end);
    }
}

/// A stream under a [`Meter`].
pub(super) struct Metered<S> {
    stream: S,
    meter: Meter,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, meter: Meter) -> Self {
        Self { stream, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match &read {
            Poll::Pending => {}
            Poll::Ready(Err(error)) => self.meter.note_error(error),
            Poll::Ready(Ok(())) if buffer.filled().len() == before => self.meter.note_end(End::Eof),
            Poll::Ready(Ok(())) => {
                if !self.meter.note_read(&buffer.filled()[before..]) {
                    self.meter.note_end(End::TooLong);
                    return Poll::Ready(Err(std::io::Error::new(
                        std::io::ErrorKind::ConnectionAborted,
                        "reply without an end",
                    )));
                }
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Err(error)) = &written {
            self.meter.note_error(error);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Err(error)) = &flushed {
            self.meter.note_error(error);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
