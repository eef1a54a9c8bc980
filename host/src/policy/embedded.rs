//! The policy inside every operator: the last of every chain, for when all others fail.

use std::sync::Arc;

use wasmtime::component::Component as Code;

use super::component::Component;
use super::engine::Sandbox;
use super::load_error::LoadError;

/// The component file, made from `core/`.
pub use embedded_policy::COMPONENT as EMBEDDED;

/// Its machine code, as `build.rs` has it.
const CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core.component.code"));

/// The embedded policy, ready to decide.
///
/// # Errors
/// [`LoadError::Invalid`] on a processor for which Cranelift makes no code. The tests rule out all others.
pub fn embedded(sandbox: &Arc<Sandbox>) -> Result<Component, LoadError> {
    match code(sandbox) {
        Some(code) => Component::of_code(sandbox, EMBEDDED, &code),
        None => Component::load(sandbox, EMBEDDED),
    }
}

/// The code that came with the program. None: it is not for this engine.
#[allow(unsafe_code, reason = "machine code is run as it is; this is a part of the program as the rest is")]
fn code(sandbox: &Sandbox) -> Option<Code> {
    // SAFETY: the build script has it from this very wasmtime, which refuses what another release made, or
    // other settings, or for instructions that this processor lacks.
    unsafe { Code::deserialize(&sandbox.engine, CODE) }.ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Policy, linked};
    use super::*;

    /// Else it is compiled at every start, which takes as long as a hang limit.
    #[test]
    fn its_code_came_with_the_program_and_is_the_same_policy() {
        let sandbox = Arc::new(Sandbox::new(None).unwrap());
        assert!(sandbox.is_pooled(), "there is no room for the usual engine here");
        assert!(code(&sandbox).is_some());
        linked::check(EMBEDDED).unwrap();
        let (ready, compiled) = (embedded(&sandbox).unwrap(), Component::load(&sandbox, EMBEDDED).unwrap());
        assert_eq!((ready.digest(), ready.title()), (compiled.digest(), compiled.title()));
    }
}
