//! Wraps a core module with its WIT section into a component. Also compiled into `build.rs`, so it must not
//! use this crate.
//!
//! No adapter is added: a module that imports WASI, or anything else, becomes a component with that import,
//! and loading refuses it.

use wit_component::ComponentEncoder;

/// Wraps `module`, the output of rustc, clang or any tool with wit-bindgen, into a component.
///
/// # Errors
/// One line, if it is no core module, has no WIT section, or its exports differ from its WIT section.
pub fn wrap(module: &[u8]) -> Result<Vec<u8>, String> {
    if module.get(..8) != Some(b"\0asm\x01\0\0\0") {
        return Err("it is not a WebAssembly core module".into());
    }
    let encode = || ComponentEncoder::default().module(module)?.validate(true).encode();
    encode().map_err(|error| format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" "))
}
