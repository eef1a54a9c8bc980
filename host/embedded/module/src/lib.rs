//! The engine as a module of WebAssembly. A package of its own, because its build script needs no other
//! package: a cold build begins with it, and compiles the engine while it compiles everything else.

/// The module, as the build script made it from `core/`.
pub const MODULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core.wasm"));
