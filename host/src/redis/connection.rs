//! One established connection: questions and answers. Its identity is the only atomic check of a run id that Redis offers,
//! because a process that restarts takes its connections with it.

use super::meter::{End, Meter};
use redis::aio::MultiplexedConnection;
use std::time::Instant;

/// A connection to one server process. Clones share it; questions of several clones queue up in order and never mix.
#[derive(Clone, Debug)]
pub struct Connection {
    redis: MultiplexedConnection,
    meter: Meter,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskFailure {
    /// The connection had already ended: nothing was sent.
    #[error("the connection had already ended")]
    Gone,
    /// It ended after the question was sent, which may or may not have arrived.
    #[error("the connection ended before the answer came")]
    Ended,
    /// No answer in time. The question is not taken back.
    #[error("no answer in time")]
    Late,
}

/// Commands that travel together and are answered together.
pub(super) struct Question(redis::Pipeline);

impl Question {
    /// Each command as its words.
    pub(super) fn new<'a>(commands: &[impl AsRef<[&'a str]>]) -> Self {
        let mut pipeline = redis::Pipeline::with_capacity(commands.len());
        for words in commands {
            let mut command = redis::Cmd::new();
            command.arg(words.as_ref());
            pipeline.add_command(command);
        }
        Self(pipeline)
    }
}

impl Connection {
    pub(super) fn new(redis: MultiplexedConnection, meter: Meter) -> Self {
        Self { redis, meter }
    }

    /// Whether the socket is still open, as far as this end knows.
    pub fn is_open(&self) -> bool {
        self.meter.end().is_none()
    }

    /// Sends the commands as one pipeline and waits for all replies until `deadline`. Error replies are replies.
    pub(super) async fn ask(&self, question: &Question, deadline: Instant) -> Result<Vec<redis::Value>, AskFailure> {
        match tokio::time::timeout_at(deadline.into(), self.ask_patiently(question)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskFailure::Late),
        }
    }

    /// The same without a deadline: ends with the connection at the latest.
    pub(super) async fn ask_patiently(&self, question: &Question) -> Result<Vec<redis::Value>, AskFailure> {
        if !self.is_open() {
            return Err(AskFailure::Gone);
        }
        self.meter.note_question();
        self.redis.clone().send_packed_commands(&question.0, 0, question.0.len()).await.map_err(|_| AskFailure::Ended)
    }

    pub(super) fn end(&self) -> Option<End> {
        self.meter.end()
    }

    /// The first line that the server ever said, for people.
    pub(super) fn opening(&self) -> String {
        self.meter.opening()
    }

    pub(super) fn first_byte(&self) -> Option<u8> {
        self.meter.first_byte()
    }
}
