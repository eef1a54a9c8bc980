//! What a worker process gives up before it reads a byte of a policy. Limits are never raised again, but for
//! the CPU time of the next call.

use std::io;
use std::time::Duration;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getppid, nice, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::set_no_new_privs;

use super::Role;
use crate::policy::bounds;
use crate::policy::configuration::MEMORY_BYTES_MAX;

/// Confines this process. `parent`: the operator that started it.
///
/// # Errors
/// The system's. The process must end then.
pub(super) fn confine(role: Role, parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // If the operator ended before this request, the signal never comes.
    let is_of_parent = getppid().is_some_and(|of| u32::try_from(of.as_raw_nonzero().get()) == Ok(parent));
    if !is_of_parent {
        return Err(io::Error::other("the operator that started this process has ended"));
    }
    set_no_new_privs(true)?;
    // Where memory runs out, it is the policy that goes. Not every system has the file.
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
    std::env::set_current_dir("/")?;
    // No core dump has what a policy was asked, and no process of the same user reads it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, bounds::FILES)?;
    limit(Resource::As, bounds::ADDRESS_BYTES)?;
    match role {
        Role::Compile => {
            limit(Resource::Data, bounds::COMPILE_DATA_BYTES)?;
            limit(Resource::Fsize, 0)?;
            // The operator looks first, by a finer clock.
            let cpu_s = bounds::COMPILE.cpu.as_secs() + 5;
            setrlimit(Resource::Cpu, Rlimit { current: Some(cpu_s), maximum: Some(cpu_s + 1) })?;
            nice(bounds::COMPILE_NICE).map(drop)?;
        }
        Role::Decide => {
            limit(Resource::Data, bounds::DECIDE_DATA_BYTES)?;
            // The engine keeps the initial content of a memory in a file without a name.
            limit(Resource::Fsize, MEMORY_BYTES_MAX as u64)?;
        }
    }
    Ok(())
}

/// No thread or process can be started any more.
pub(super) fn forbid_threads() -> io::Result<()> {
    limit(Resource::Nproc, 0)
}

/// The CPU time after which the system ends this process, moved on before each call: a process that decides
/// may live for months, and no call may take [`bounds::CALL_CPU_S`].
#[derive(Debug, Default)]
pub(super) struct CpuLimit {
    at_s: u64,
}

impl CpuLimit {
    /// `used`: by this process so far. A system call in every few seconds of CPU time.
    pub fn move_on(&mut self, used: Duration) -> io::Result<()> {
        let used_s = used.as_secs();
        if self.at_s < used_s + bounds::CALL_CPU_S / 2 {
            self.at_s = used_s + bounds::CALL_CPU_S;
            setrlimit(Resource::Cpu, Rlimit { current: Some(self.at_s), maximum: None })?;
        }
        Ok(())
    }
}

fn limit(resource: Resource, to: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(to), maximum: Some(to) })?)
}
