//! Loads the file of a policy: the embedded one into this process, any other one into a worker process. The
//! only way for a policy of users to come in.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use super::about::About;
use super::component::{Component, digest_of};
use super::embedded::{EMBEDDED, embedded};
use super::engine::Sandbox;
use super::foreign::Foreign;
use super::load_error::{LoadError, check_kind};
use super::worker::{Lost, Refused, Role, Stop, Worker};
use super::{Policy, PolicyFault};
use crate::contract::{Decision, Observation, Topology, Want};

/// A policy, ready to decide. Its decisions are not checked yet.
pub enum Loaded {
    /// The embedded policy, in this process.
    Embedded(Component),
    /// Any other one, in a worker process.
    Foreign(Foreign),
}

/// Makes a policy of the bytes of a component file. Compiles, unless the sandbox's cache has the code: 0.1 s
/// for the embedded one, ten seconds for an interpreter. Never call it on the decision path. `stop` ends it
/// early.
///
/// # Errors
/// [`LoadError`], in the order of its variants.
pub fn load(sandbox: &Arc<Sandbox>, bytes: &[u8], stop: &Stop) -> Result<Loaded, LoadError> {
    check_kind(bytes)?;
    if bytes == EMBEDDED {
        return embedded(sandbox).map(Loaded::Embedded);
    }
    let digest = digest_of(bytes);
    let start = |code| Foreign::start(sandbox, digest.clone(), bytes.len(), code, stop);
    if let Some(code) = sandbox.cache.as_ref().and_then(|cache| cache.code(&digest)) {
        match start(code) {
            Ok(foreign) => return Ok(Loaded::Foreign(foreign)),
            Err(Refused::Component(error)) => return Err(error),
            Err(Refused::Stale) => {}
        }
    }
    match start(compile(sandbox, bytes, stop)?) {
        Ok(foreign) => Ok(Loaded::Foreign(foreign)),
        Err(Refused::Component(error)) => Err(error),
        // The program on disk is no longer this one.
        Err(Refused::Stale) => Err(LoadError::Worker("its worker process is of another version".into())),
    }
}

fn compile(sandbox: &Sandbox, bytes: &[u8], stop: &Stop) -> Result<Vec<u8>, LoadError> {
    let Some(_turn) = sandbox.turns.take(stop) else {
        return Err(LoadError::Worker(Lost::Stopped.to_string()));
    };
    let compiled =
        Worker::start(&sandbox.nursery, Role::Compile).and_then(|mut worker| worker.compile(bytes, stop));
    match compiled {
        Ok(Ok(code)) => Ok(code),
        Ok(Err(Refused::Component(error))) => Err(error),
        Ok(Err(Refused::Stale)) => Err(LoadError::Worker(Lost::Garbled.to_string())),
        Err(Lost::Cpu(_)) => Err(LoadError::CompileTime),
        Err(Lost::Ended(Some(status))) => Err(match status.signal() {
            Some(libc::SIGXCPU) => LoadError::CompileTime,
            Some(libc::SIGABRT) => LoadError::CompileMemory,
            Some(_) | None => LoadError::Worker(Lost::Ended(Some(status)).to_string()),
        }),
        Err(Lost::Garbled) => Err(LoadError::CodeBytes),
        Err(lost @ (Lost::NotStarted(_) | Lost::Ended(None) | Lost::Silent(_) | Lost::Stopped)) => {
            Err(LoadError::Worker(lost.to_string()))
        }
    }
}

impl Loaded {
    /// What is known of it.
    pub fn about(&self) -> &About {
        match self {
            Loaded::Embedded(component) => component.about(),
            Loaded::Foreign(foreign) => foreign.about(),
        }
    }

    /// The same policy, for a proof or a command: no group waits for its answers.
    pub fn on_trial<'a>(&'a self, stop: &'a Stop) -> OnTrial<'a> {
        OnTrial { policy: self, stop }
    }

    /// The process id of its worker. None: it has none at the moment.
    pub fn process(&self) -> Option<u32> {
        match self {
            Loaded::Embedded(_) => None,
            Loaded::Foreign(foreign) => foreign.process(),
        }
    }

    /// Keeps its compiled code in the sandbox's cache. To be called for a proven policy only, so that what
    /// anybody may offer does not push out what is in use.
    pub fn keep(&self, sandbox: &Sandbox) {
        if let (Loaded::Foreign(foreign), Some(cache)) = (self, &sandbox.cache) {
            cache.keep(&foreign.about().digest, foreign.code());
        }
    }

    fn policy(&self) -> &dyn Policy {
        match self {
            Loaded::Embedded(component) => component,
            Loaded::Foreign(foreign) => foreign,
        }
    }
}

impl Policy for Loaded {
    fn title(&self) -> &str {
        self.policy().title()
    }

    fn digest(&self) -> &str {
        self.policy().digest()
    }

    fn serves(&self, topology: Topology) -> bool {
        self.policy().serves(topology)
    }

    fn wants(&self, topology: Topology) -> Vec<Want> {
        self.policy().wants(topology)
    }

    fn is_ready(&self) -> bool {
        self.policy().is_ready()
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        self.policy().decide(observation)
    }
}

/// See [`Loaded::on_trial`].
pub struct OnTrial<'a> {
    policy: &'a Loaded,
    stop: &'a Stop,
}

impl Policy for OnTrial<'_> {
    fn title(&self) -> &str {
        self.policy.title()
    }

    fn digest(&self) -> &str {
        self.policy.digest()
    }

    fn serves(&self, topology: Topology) -> bool {
        self.policy.serves(topology)
    }

    fn wants(&self, topology: Topology) -> Vec<Want> {
        self.policy.wants(topology)
    }

    fn cpu(&self) -> Duration {
        match self.policy {
            Loaded::Embedded(_) => Duration::ZERO,
            Loaded::Foreign(foreign) => foreign.cpu(),
        }
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        match self.policy {
            Loaded::Embedded(component) => component.decide(observation),
            Loaded::Foreign(foreign) => foreign.decide_on_trial(observation, self.stop),
        }
    }
}
