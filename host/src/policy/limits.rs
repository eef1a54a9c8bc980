//! The limits of one call of a policy, and the fault of each. Bounded are: instructions by fuel; time by the
//! epoch (in a worker process, which has a watchdog); memory, tables and instances by the store's limiter;
//! the stack by the engine; the size of the answer by the fuel of lifting it.

use wasmtime::{Engine, Error, ResourceLimiter, Result, Store, Trap};

use super::configuration::{
    CORE_INSTANCES_MAX, MEMORIES_MAX, MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX,
};
use super::{PolicyFault, bounds};

/// A fresh store for one call, with the limits for an Observation of `members` instances.
pub(super) fn store(engine: &Engine, members: usize) -> Store<Limits> {
    let mut store = Store::new(engine, Limits { memory_bytes: 0 });
    store.limiter(|limits| limits);
    // The watchdog moves the epoch on when a call has used up its time. An engine without one ignores it.
    store.set_epoch_deadline(1);
    refuel(&mut store, members);
    store
}

/// Resets the fuel of the store, for an instance that is used more than once.
pub(super) fn refuel(store: &mut Store<Limits>, members: usize) {
    store.set_fuel(fuel(members)).expect("the engine was configured to consume fuel");
    store
        .set_hostcall_fuel(ANSWER_BYTES_BASE.saturating_add(members.saturating_mul(ANSWER_BYTES_PER_MEMBER)));
}

/// Memory, counted over all memories of a store.
#[derive(Debug)]
pub(super) struct Limits {
    memory_bytes: usize,
}

/// Wasmtime's units, about one for each instruction.
pub(super) fn fuel(members: usize) -> u64 {
    FUEL_BASE.saturating_add(FUEL_PER_MEMBER.saturating_mul(members as u64))
}

/// The fault behind an error of a call. A trap or another error while the answer is lifted is a malformed
/// answer.
pub(super) fn fault(error: &Error, members: usize) -> PolicyFault {
    if error.is::<OverMemory>() {
        return PolicyFault::Memory { limit_bytes: MEMORY_BYTES_MAX as u64 };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => PolicyFault::Fuel { limit: fuel(members) },
        Some(Trap::Interrupt) => PolicyFault::Time { limit_ms: bounds::millis(bounds::decide_cpu(members)) },
        Some(
            trap @ (Trap::StringOutOfBounds
            | Trap::ListOutOfBounds
            | Trap::InvalidDiscriminant
            | Trap::InvalidChar
            | Trap::UnalignedPointer),
        ) => PolicyFault::Malformed(trap.to_string()),
        // Wasmtime's enum is not ours, and grows.
        Some(trap) => PolicyFault::Trap(trap.to_string()),
        None => PolicyFault::Malformed(one_line(error)),
    }
}

/// An error of wasmtime with its causes, as one line.
pub(super) fn one_line(error: &Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[derive(Debug, thiserror::Error)]
#[error("more memory than {MEMORY_BYTES_MAX} bytes")]
struct OverMemory;

#[derive(Debug, thiserror::Error)]
#[error("more table elements than {TABLE_ELEMENTS_MAX}")]
struct OverTable;

impl ResourceLimiter for Limits {
    // An error traps at once. After -1 a Rust guest would trap a moment later, without a sign of the cause.
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if total > MEMORY_BYTES_MAX {
            return Err(Error::new(OverMemory));
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        if desired > TABLE_ELEMENTS_MAX { Err(Error::new(OverTable)) } else { Ok(true) }
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

/// The embedded policy uses less than 1 % of it. An endless loop ends within 0.5 s (measured: 0.14 s for 50
/// million).
const FUEL_BASE: u64 = 100_000_000;
const FUEL_PER_MEMBER: u64 = 1_000_000;
/// Two sentences, a name and a few records for each member, ten times over.
const ANSWER_BYTES_PER_MEMBER: usize = 8 << 10;
const ANSWER_BYTES_BASE: usize = 1 << 20;
