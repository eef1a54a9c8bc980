//! The settings of every engine: what code it makes, and how much an instance may use. Deterministic: no
//! computation of a policy differs between two machines. Also compiled into `build.rs`, which makes the code
//! of the embedded policy with them, so it must not use this crate beyond `proposals`.

use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::proposals;

/// A decision takes microseconds on one thread, so fewer threads than this decide at the same time.
pub(super) const INSTANCES_MAX: u32 = 32;
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

pub(super) fn pooled() -> Config {
    let mut config = common();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(INSTANCES_MAX)));
    config
}

/// Addresses are limited there, so memories are reserved at their largest size and not at 4 GiB. A watchdog
/// ends calls by the epoch.
pub(super) fn in_worker() -> Config {
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

pub(super) fn on_demand() -> Config {
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
