//! A core module with its WIT section becomes a component. Also compiled into `build.rs`, so it knows nothing
//! of this crate.
//!
//! No adapter is ever added: a module that wants WASI, or anything else, comes out as a component that
//! imports it, and is refused by whoever loads it.

use wit_component::ComponentEncoder;

/// Wraps `module`, as rustc, clang or any tool with wit-bindgen leaves it, into a component.
///
/// # Errors
/// One line when it is no core module, has no WIT section, or exports other functions than its WIT section
/// names.
pub fn wrap(module: &[u8]) -> Result<Vec<u8>, String> {
    if module.get(..8) != Some(b"\0asm\x01\0\0\0") {
        return Err("it is no WebAssembly core module".into());
    }
    let encode = || ComponentEncoder::default().module(module)?.validate(true).encode();
    encode().map_err(|error| format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" "))
}
