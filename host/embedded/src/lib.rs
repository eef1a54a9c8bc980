//! The engine as a component: the policy inside every operator. A package of its own, because two have it:
//! the operator, and the operator's build script, which compiles it for the processor.

/// The component file, as the build script wrapped it.
pub const COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core.component.wasm"));
