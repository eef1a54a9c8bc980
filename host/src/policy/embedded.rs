//! The policy inside every operator: the last of every chain, for when all others fail.

use std::sync::Arc;

use super::component::Component;
use super::engine::Sandbox;
use super::load_error::LoadError;

/// The component file, as `build.rs` made it from `core/`.
pub const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core.component.wasm"));

/// The embedded policy, ready to decide.
///
/// # Errors
/// [`LoadError::Invalid`] on a processor for which Cranelift makes no code. The tests rule out all others.
pub fn embedded(sandbox: &Arc<Sandbox>) -> Result<Component, LoadError> {
    Component::load(sandbox, EMBEDDED)
}
