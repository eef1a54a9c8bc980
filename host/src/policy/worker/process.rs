//! One worker process, as the operator sees it: a question goes in, and within bounds an answer comes out, or
//! the process is lost and ends.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::wire::{Content, Kind, Wire, WireError};
use super::{Nursery, Role, Stop, cpu};
use crate::contract::{Decision, Description, Observation};
use crate::policy::PolicyFault;
use crate::policy::bounds::{self, Patience};
use crate::policy::load_error::LoadError;

/// A worker process. Dropping it kills it.
pub(in crate::policy) struct Worker {
    nursery: Arc<Nursery>,
    /// None only during drop.
    child: Option<Child>,
    wire: Wire,
}

/// Why a worker gave no answer. It is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::policy) enum Lost {
    #[error("its worker process was not started: {0}")]
    NotStarted(String),
    #[error("its worker process ended: {}", words(*.0))]
    Ended(Option<ExitStatus>),
    #[error("it took more than {} ms of CPU time, and its worker process was ended", .0.as_millis())]
    Cpu(Duration),
    #[error("its worker process gave no answer within {} ms, and was ended", .0.as_millis())]
    Silent(Duration),
    #[error("its worker process gave no answer of the expected form, and was ended")]
    Garbled,
    #[error("it is wanted no more")]
    Stopped,
}

/// The answer to a component or its code.
pub(in crate::policy) type Loaded<T> = Result<Result<T, Refused>, Lost>;

/// Why a worker does not take a component or its code.
#[derive(Debug)]
pub(in crate::policy) enum Refused {
    /// The component is no policy.
    Component(LoadError),
    /// The code is of another version of this program or another processor.
    Stale,
}

impl Worker {
    pub fn start(nursery: &Arc<Nursery>, role: Role) -> Result<Self, Lost> {
        let lost = |error: std::io::Error| Lost::NotStarted(error.to_string());
        let (child, stream) = nursery.start(role).map_err(lost)?;
        let bounded = stream
            .set_read_timeout(Some(bounds::STEP))
            .and_then(|()| stream.set_write_timeout(Some(bounds::STEP)));
        let wire = Wire::new(stream);
        let worker = Self { nursery: Arc::clone(nursery), child: Some(child), wire };
        bounded.map_err(lost)?;
        Ok(worker)
    }

    /// Checks and compiles.
    pub fn compile(&mut self, component: &[u8], stop: &Stop) -> Loaded<Vec<u8>> {
        let content = Content::Bytes(component);
        self.ask(Kind::Compile, &content, bounds::CODE_BYTES_MAX, &bounds::COMPILE, stop, |code| {
            Some(code.to_vec())
        })
    }

    /// Maps compiled code. Returns the names of its exports.
    pub fn load(&mut self, code: &[u8], patience: &Patience, stop: &Stop) -> Loaded<Vec<String>> {
        let content = Content::Bytes(code);
        self.ask(Kind::Load, &content, bounds::DESCRIPTION_BYTES_MAX, patience, stop, value)
    }

    pub fn describe(&mut self, stop: &Stop) -> Result<Result<Description, PolicyFault>, Lost> {
        let (content, bytes_max) = (Content::Bytes(&[]), bounds::DESCRIPTION_BYTES_MAX);
        let asked = self.ask(Kind::Describe, &content, bytes_max, &bounds::DESCRIBE, stop, value);
        asked?.map_err(|_| Lost::Garbled)
    }

    pub fn decide(
        &mut self,
        observation: &Observation,
        patience: &Patience,
        stop: &Stop,
    ) -> Result<Result<Decision, PolicyFault>, Lost> {
        let content = Content::Value(observation);
        let bytes_max = bounds::decision_bytes_max(observation.instances.len());
        let asked = self.ask(Kind::Decide, &content, bytes_max, patience, stop, value);
        asked?.map_err(|_| Lost::Garbled)
    }

    /// The CPU time of the process so far.
    pub fn cpu(&self) -> Duration {
        cpu::of(self.pid()).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    fn ask<T>(
        &mut self,
        kind: Kind,
        content: &Content<'_>,
        bytes_max: usize,
        patience: &Patience,
        stop: &Stop,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Loaded<T> {
        let mut wait = Wait::new(self.child.as_ref().map(Child::id), patience, stop);
        let mut go_on = || wait.go_on();
        // An answer that comes before the first look at the clock would hide a stop, call after call.
        go_on()?;
        let answered = match self.wire.send(kind, content, &mut go_on) {
            Ok(()) => self.wire.receive(bytes_max, &mut go_on),
            Err(error) => Err(error),
        };
        let answer = match answered {
            Ok((Kind::Done, content)) => read(content).map(Ok),
            Ok((Kind::Refused, content)) => {
                value(content).map(|refusal: LoadError| Err(Refused::Component(refusal.of_worker())))
            }
            Ok((Kind::Stale, _)) => Some(Err(Refused::Stale)),
            Ok((Kind::Compile | Kind::Load | Kind::Describe | Kind::Decide, _)) | Err(WireError::Garbled) => {
                None
            }
            Err(WireError::GaveUp(lost)) => return Err(lost),
            Err(WireError::Closed) => return Err(Lost::Ended(self.status(patience.stall / 10))),
        };
        answer.ok_or(Lost::Garbled)
    }

    /// How a process ended whose socket is closed. None: it did not end, or not yet.
    fn status(&mut self, wait_max: Duration) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let since = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if since.elapsed() < wait_max => std::thread::sleep(LOOK),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.nursery.end(child);
        }
    }
}

/// The bounds of one answer.
struct Wait<'a> {
    pid: Option<u32>,
    patience: &'a Patience,
    stop: &'a Stop,
    since: Instant,
    cpu_since: Duration,
    /// The CPU time at the last progress, and when that was.
    progress: (Duration, Instant),
}

impl<'a> Wait<'a> {
    fn new(pid: Option<u32>, patience: &'a Patience, stop: &'a Stop) -> Self {
        let (since, cpu) = (Instant::now(), pid.and_then(cpu::of).unwrap_or_default());
        Self { pid, patience, stop, since, cpu_since: cpu, progress: (cpu, since) }
    }

    fn go_on(&mut self) -> Result<(), Lost> {
        if self.stop.is_stopped() {
            return Err(Lost::Stopped);
        }
        let now = Instant::now();
        // A process without a clock has ended, and its socket will say so.
        let cpu = self.pid.and_then(cpu::of).unwrap_or(self.progress.0);
        let Patience { cpu: cpu_max, stall, wall } = *self.patience;
        if cpu.saturating_sub(self.cpu_since) >= cpu_max {
            return Err(Lost::Cpu(cpu_max));
        }
        if cpu > self.progress.0 {
            self.progress = (cpu, now);
        }
        if now - self.progress.1 >= stall {
            return Err(Lost::Silent(stall));
        }
        if now - self.since >= wall {
            return Err(Lost::Silent(wall));
        }
        Ok(())
    }
}

fn value<T: DeserializeOwned>(content: &[u8]) -> Option<T> {
    postcard::from_bytes(content).ok()
}

fn words(status: Option<ExitStatus>) -> String {
    let Some(status) = status else { return "its connection closed".into() };
    match (status.signal(), status.code()) {
        (Some(signal), _) => match NAMES.iter().find(|(number, _)| *number == signal) {
            Some((_, name)) => format!("killed by {name}"),
            None => format!("killed by signal {signal}"),
        },
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}

/// Those by which a worker may end.
const NAMES: &[(i32, &str)] = &[
    (libc::SIGABRT, "SIGABRT (a fault of the engine, or no more memory)"),
    (libc::SIGKILL, "SIGKILL (from outside, or no more memory)"),
    (libc::SIGSEGV, "SIGSEGV (a fault of the engine)"),
    (libc::SIGILL, "SIGILL (a fault of the engine)"),
    (libc::SIGTERM, "SIGTERM (from outside)"),
    (libc::SIGXCPU, "SIGXCPU (no more CPU time)"),
];
/// A process closes its files some time before it can be waited for: half a millisecond mostly.
const LOOK: Duration = Duration::from_micros(500);
