//! Every bound on a foreign policy and its worker process, in one place. Bounds on what a component may
//! contain are in `shape/`; bounds on one instance are in `engine.rs` and `limits.rs`, for every policy.

use std::time::Duration;

/// How long an answer of a worker process is waited for. The first of three bounds ends the wait, and the
/// process. CPU time is the process's own, so a busy machine alone does not make a policy too slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// CPU time of the worker process.
    pub cpu: Duration,
    /// Without any CPU time used: the process is stopped, or the machine does not let it run.
    pub stall: Duration,
    /// In all.
    pub wall: Duration,
}

/// CPU time for one call of `decide`. The embedded policy takes 0.1 ms for three members, 8 ms for 500.
pub(super) fn decide_cpu(members: usize) -> Duration {
    DECIDE_CPU + DECIDE_CPU_PER_MEMBER * u32::try_from(members).unwrap_or(u32::MAX).min(MEMBERS_MAX)
}

/// For a decision that a group waits for, and with it every other group of its thread.
pub(super) fn decide(members: usize) -> Patience {
    let cpu = decide_cpu(members);
    Patience { cpu: cpu + GRACE, stall: cpu * 2, wall: cpu * 4 }
}

/// For a decision of a proof or a command: no group waits, so the machine may be as busy as it likes.
pub(super) fn decide_on_trial(members: usize) -> Patience {
    Patience { cpu: decide_cpu(members) + GRACE, stall: STALL, wall: Duration::from_secs(60) }
}

/// For `describe`.
pub(super) const DESCRIBE: Patience =
    Patience { cpu: Duration::from_millis(1000 + 100), stall: STALL, wall: Duration::from_secs(60) };
/// The part of it that the policy may use.
pub(super) const DESCRIBE_CPU: Duration = Duration::from_secs(1);

/// For checks and compilation. The embedded policy takes 0.2 s; an interpreter of 8 MB about ten.
pub(super) const COMPILE: Patience =
    Patience { cpu: Duration::from_secs(30), stall: STALL, wall: Duration::from_secs(600) };

/// For mapping compiled code into a new process: 5 ms for the embedded policy.
pub(super) const LOAD: Patience =
    Patience { cpu: Duration::from_secs(2), stall: STALL, wall: Duration::from_secs(60) };
/// The same, when a group waits for it: the worker was ended because no group had asked it for a while.
pub(super) const LOAD_WAITED_FOR: Patience = Patience {
    cpu: Duration::from_millis(200),
    stall: Duration::from_millis(200),
    wall: Duration::from_millis(500),
};

/// Memory that a process may write to, for compiling: the embedded policy takes 40 MiB.
pub(super) const COMPILE_DATA_BYTES: u64 = 320 << 20;
/// So that together they fit into the memory of the operator's container.
pub(super) const COMPILES_AT_ONCE: u32 = 2;
/// The same, for deciding: the 64 MiB of an instance, the observation and the answer, the compiled code.
pub(super) const DECIDE_DATA_BYTES: u64 = 192 << 20;
/// Addresses, reserved ones included: for the program, the pool of one instance (four memories of 64 MiB),
/// and compiling.
pub(super) const ADDRESS_BYTES: u64 = 1 << 30;
/// Standard input and output, and what the engine opens while it compiles or maps code.
pub(super) const FILES: u64 = 16;
/// A process that decides may use so much CPU time in one call before the system ends it, whatever became of
/// the operator.
pub(super) const CALL_CPU_S: u64 = 10;
/// Of a process that compiles, behind every group.
pub(super) const COMPILE_NICE: i32 = 10;

/// Compiled code; 0.7 to 4 times the component.
pub(super) const CODE_BYTES_MAX: usize = 64 << 20;
/// A description, with its schema of 64 KiB at most, or a refusal.
pub(super) const DESCRIPTION_BYTES_MAX: usize = 1 << 20;
/// An answer that the limits of one call admit (`limits.rs`), with room for names of fields.
pub(super) fn decision_bytes_max(members: usize) -> usize {
    (2 << 20) + members.saturating_mul(16 << 10)
}

/// The pace at which a worker process that ended is started again: at once, then after 1, 2, 4… 60 s.
pub(super) fn pace(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        later => Duration::from_secs(1 << (later - 2).min(6)).min(Duration::from_secs(60)),
    }
}
/// A worker that lived so long starts at once again.
pub(super) const FORGIVEN: Duration = Duration::from_secs(60);
/// A worker process that was not asked for so long is ended, and started again when it is asked: 20 ms.
pub(super) const IDLE: Duration = Duration::from_secs(300);
/// Between two looks at the bounds of an answer that is waited for.
pub(super) const STEP: Duration = Duration::from_millis(10);

const DECIDE_CPU: Duration = Duration::from_millis(50);
const DECIDE_CPU_PER_MEMBER: Duration = Duration::from_micros(100);
/// Beyond the largest group that anybody runs; a bound on the bound.
const MEMBERS_MAX: u32 = 10_000;
/// The worker itself ends a call that is too slow, and says so; this long later it is ended instead.
const GRACE: Duration = Duration::from_millis(20);
/// A runnable process gets some CPU time within this, however busy the machine.
const STALL: Duration = Duration::from_secs(5);

/// For texts.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
