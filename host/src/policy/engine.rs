//! The one WebAssembly engine of the process: its configuration, the number of instances at a time, and the
//! cache of compiled code. Knows nothing of policies.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::bounds;
use super::cache::Cache;
use super::proposals;
use super::worker::{Nursery, Turns};

/// The sandbox of all policies. Deterministic: no computation of a policy differs between two machines.
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) cache: Option<Cache>,
    pub(super) nursery: Arc<Nursery>,
    /// For processes that compile.
    pub(super) turns: Turns,
    pooled: bool,
    slots: Mutex<Slots>,
    freed: Condvar,
}

struct Slots {
    free: u32,
    waiting: u32,
}

/// No engine can run on this machine.
#[derive(Debug, thiserror::Error)]
#[error("this machine cannot run WebAssembly: {0}")]
pub struct SandboxError(String);

impl Sandbox {
    /// An engine with pooled instances if the address space has room for them, which halves the cost of a
    /// fresh one (measured: 25 µs instead of 46), else without. Without a `cache` every load compiles.
    ///
    /// # Errors
    /// [`SandboxError`] on a processor that Cranelift does not know.
    pub fn new(cache: Option<Cache>) -> Result<Sandbox, SandboxError> {
        // Reserving the pool is the test: it fails at once if a 39-bit kernel or `ulimit -v` leaves too
        // little address space.
        let (engine, pooled) = match Engine::new(&pooled()) {
            Ok(engine) => (engine, true),
            Err(_) => (Engine::new(&on_demand()).map_err(|error| SandboxError(format!("{error:#}")))?, false),
        };
        Ok(Sandbox {
            engine,
            cache,
            nursery: Arc::new(Nursery::new(PathBuf::from(OWN_PROGRAM))),
            turns: Turns::new(bounds::COMPILES_AT_ONCE),
            pooled,
            slots: Mutex::new(Slots { free: INSTANCES_MAX, waiting: 0 }),
            freed: Condvar::new(),
        })
    }

    /// The same, with another program for worker processes than that of this process: for programs that are
    /// not the operator, such as tests.
    pub fn with_worker_program(mut self, program: PathBuf) -> Sandbox {
        self.nursery = Arc::new(Nursery::new(program));
        self
    }

    /// The engine of a worker process: for one instance at a time, and small enough for its limits.
    ///
    /// # Errors
    /// As for [`Sandbox::new`].
    pub(super) fn of_worker() -> Result<Sandbox, SandboxError> {
        let engine = Engine::new(&in_worker()).map_err(|error| SandboxError(format!("{error:#}")))?;
        Ok(Sandbox {
            engine,
            cache: None,
            nursery: Arc::new(Nursery::new(PathBuf::new())),
            turns: Turns::new(0),
            pooled: true,
            slots: Mutex::new(Slots { free: 1, waiting: 0 }),
            freed: Condvar::new(),
        })
    }

    /// True if instances come from a pool.
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// Waits for a free slot. So the pool is never empty when a policy is asked, and load on the host does
    /// not look like a fault of the policy. Fuel bounds the wait.
    pub(super) fn admit(&self) -> Admission<'_> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.waiting += 1;
        let mut slots =
            self.freed.wait_while(slots, |slots| slots.free == 0).unwrap_or_else(PoisonError::into_inner);
        slots.waiting -= 1;
        slots.free -= 1;
        Admission(self)
    }
}

/// One slot of the pool, until dropped.
pub(super) struct Admission<'a>(&'a Sandbox);

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.free += 1;
        // A notification without a waiter would be a system call per decision.
        if slots.waiting > 0 {
            self.0.freed.notify_one();
        }
    }
}

/// The program of this process, replaced on disk or not.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// A decision takes microseconds on one thread, so fewer threads than this decide at the same time.
const INSTANCES_MAX: u32 = 32;
/// A policy is one component; those made by interpreters consist of several core modules (more than 20 for
/// Python, measured).
pub(super) const CORE_INSTANCES_MAX: u32 = 64;
/// QuickJS takes three (measured).
pub(super) const MEMORIES_MAX: u32 = 4;
/// One for indirect calls in each core module; shims of the component add their own.
pub(super) const TABLES_MAX: u32 = 16;
/// An indirect-call table has one entry per function that is used as a pointer; Python's has under 10,000.
pub(super) const TABLE_ELEMENTS_MAX: usize = 20_000;
/// The same for every policy, the embedded one too, so that a policy needs no settings: four times what 500
/// members take in Rust, and enough for interpreters with a heap snapshot of 12 to 18 MB. Pages that were
/// never written cost nothing.
pub(super) const MEMORY_BYTES_MAX: usize = 64 << 20;
/// Stays mapped between two uses of a slot and is zeroed there, instead of being faulted in again page by
/// page: as much as 500 members take in Rust. Only what an instance used stays mapped, and few slots are ever
/// used, so a small group keeps 128 KiB.
const MEMORY_RESIDENT_BYTES: usize = 4 << 20;
/// The same for the table of indirect calls; a Rust policy has a few hundred.
const TABLE_RESIDENT_BYTES: usize = 16 << 10;
/// Wasmtime's default, a quarter of what a tokio thread has.
const STACK_BYTES_MAX: usize = 512 << 10;

/// After the end of a memory. Large ones save bounds checks, for which there is no room in a worker process.
const GUARD_BYTES_IN_WORKER: u64 = 64 << 10;

fn pooled() -> Config {
    let mut config = common();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(INSTANCES_MAX)));
    config
}

/// Addresses are limited there, so memories are reserved at their largest size and not at 4 GiB. A watchdog
/// ends calls by the epoch.
fn in_worker() -> Config {
    let mut config = common();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(1)))
        .memory_reservation(MEMORY_BYTES_MAX as u64)
        .memory_guard_size(GUARD_BYTES_IN_WORKER)
        .guard_before_linear_memory(false)
        .epoch_interruption(true);
    config
}

fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES_MAX)
        .total_memories(instances * MEMORIES_MAX)
        .total_tables(instances * TABLES_MAX)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(MEMORY_BYTES_MAX)
        .linear_memory_keep_resident(MEMORY_RESIDENT_BYTES)
        .table_keep_resident(TABLE_RESIDENT_BYTES);
    pool
}

fn on_demand() -> Config {
    let mut config = common();
    // The default reserves 4 GiB of addresses per memory, for which there was no room.
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(MEMORY_BYTES_MAX as u64);
    config
}

fn common() -> Config {
    let mut config = Config::new();
    config
        .wasm_features(proposals::ALLOWED.complement(), false)
        .consume_fuel(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // Else each load and drop of a policy changes the process's unwind tables (wasmCloud, pull request
        // 5533).
        .native_unwind_info(false)
        // Calls are synchronous; 800 to 300 ns for each (wasmtime, pull request 14189).
        .concurrency_support(false)
        // A stripped policy has no names to show.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false);
    config
}
