//! The worker process: answers questions on its standard input until that is closed. It decides nothing and
//! remembers nothing but the code that it was given.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use wasmtime::component::Component as Code;

use super::confine::{CpuLimit, confine, forbid_threads};
use super::watchdog::Watchdog;
use super::wire::{Content, Kind, Wire};
use super::{ARGUMENT, Role, cpu};
use crate::contract::{Decision, Observation};
use crate::policy::engine::Sandbox;
use crate::policy::linked::{self, Linked};
use crate::policy::load_error::LoadError;
use crate::policy::{COMPONENT_BYTES_MAX, PolicyFault, bounds};

/// Runs this process as a worker if its arguments say so. To be called first of all in `main`: a worker has
/// no use for logs, runtimes and signals. None: it is no worker.
pub fn worker_main(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut words = arguments.into_iter().skip(1).map(|word| word.into_string().unwrap_or_default());
    if words.next()? != ARGUMENT {
        return None;
    }
    let role = match words.next().as_deref() {
        Some("compile") => Some(Role::Compile),
        Some("decide") => Some(Role::Decide),
        Some(_) | None => None,
    };
    let parent = words.next().and_then(|word| word.parse().ok());
    let served = match (role, parent) {
        (Some(role), Some(parent)) => serve(role, parent),
        _ => Err(io::Error::other("the operator starts this command by itself")),
    };
    // There is nobody to tell but the operator, which sees the end.
    Some(served.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

fn serve(role: Role, parent: u32) -> io::Result<()> {
    confine(role, parent)?;
    let mut wire = Wire::new(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?));
    let sandbox = Arc::new(Sandbox::of_worker().map_err(io::Error::other)?);
    match role {
        Role::Compile => {
            forbid_threads()?;
            while let Some((kind, content)) = question(&mut wire, COMPONENT_BYTES_MAX) {
                let Kind::Compile = kind else { return Err(io::Error::other("a question of another role")) };
                match linked::compile(&sandbox.engine, content) {
                    Ok(code) => answer(&mut wire, Kind::Done, &Content::Bytes(&code))?,
                    Err(refusal) => answer(&mut wire, Kind::Refused, &Content::Value(&refusal))?,
                }
            }
        }
        Role::Decide => {
            let watchdog = Watchdog::start(sandbox.engine.clone())?;
            forbid_threads()?;
            let mut deciding = Deciding { sandbox, watchdog, linked: None, cpu_limit: CpuLimit::default() };
            while deciding.answer(&mut wire)? {}
        }
    }
    Ok(())
}

/// None: the operator wants no more answers.
fn question(wire: &mut Wire, bytes_max: usize) -> Option<(Kind, &[u8])> {
    wire.receive(bytes_max, &mut || Ok::<_, Infallible>(())).ok()
}

fn answer(wire: &mut Wire, kind: Kind, content: &Content<'_>) -> io::Result<()> {
    let sent = wire.send(kind, content, &mut || Ok::<_, Infallible>(()));
    sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
}

struct Deciding {
    sandbox: Arc<Sandbox>,
    watchdog: Watchdog,
    linked: Option<Linked>,
    cpu_limit: CpuLimit,
}

impl Deciding {
    /// Answers one question. False: there is none any more.
    fn answer(&mut self, wire: &mut Wire) -> io::Result<bool> {
        let Some((kind, content)) = question(wire, bounds::CODE_BYTES_MAX) else { return Ok(false) };
        match kind {
            Kind::Load => match self.load(content) {
                Ok(exports) => answer(wire, Kind::Done, &Content::Value(&exports))?,
                Err(None) => answer(wire, Kind::Stale, &Content::Bytes(&[]))?,
                Err(Some(refusal)) => answer(wire, Kind::Refused, &Content::Value(&refusal))?,
            },
            Kind::Describe => {
                let described = self.called(bounds::DESCRIBE_CPU, Linked::describe)?;
                answer(wire, Kind::Done, &Content::Value(&described))?;
            }
            Kind::Decide => {
                let observation: Observation = postcard::from_bytes(content).map_err(io::Error::other)?;
                let decision = self.decide(&observation)?;
                answer(wire, Kind::Done, &Content::Value(&decision))?;
            }
            Kind::Compile | Kind::Done | Kind::Refused | Kind::Stale => {
                return Err(io::Error::other("a question of another role"));
            }
        }
        Ok(true)
    }

    /// Err(None): the code is of another engine.
    fn load(&mut self, code: &[u8]) -> Result<Vec<String>, Option<LoadError>> {
        // SAFETY: these bytes run as native code, with whatever they do. That is why only this process, which
        // is confined and can be lost, ever runs a foreign policy's code; the operator only stores it.
        // Wasmtime refuses code of another version, configuration or processor.
        #[allow(unsafe_code, reason = "compiled code can only be run without checks")]
        let code = unsafe { Code::deserialize(&self.sandbox.engine, code) }.map_err(|_| None)?;
        let linked = Linked::new(&self.sandbox, &code).map_err(Some)?;
        let exports = linked.exports().to_vec();
        self.linked = Some(linked);
        Ok(exports)
    }

    fn decide(&mut self, observation: &Observation) -> io::Result<Result<Decision, PolicyFault>> {
        let cpu = bounds::decide_cpu(observation.instances.len());
        self.called(cpu, |linked| linked.decide(observation))
    }

    fn called<T: Serialize>(&mut self, cpu: Duration, call: impl FnOnce(&Linked) -> T) -> io::Result<T> {
        let used = cpu::own();
        self.cpu_limit.move_on(used)?;
        let linked = self.linked.as_ref().ok_or_else(|| io::Error::other("no code was loaded"))?;
        Ok(self.watchdog.during(used, cpu, || call(linked)))
    }
}
