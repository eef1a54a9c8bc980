//! The WebAssembly proposals that a policy may use: an allow-list, so that the new proposals of an engine's
//! release are refused until they are listed here. A validator checks it before compilation, and the compiler
//! has the same list. Knows nothing of policies.

use wasmparser::{Validator, WasmFeatures};

/// Why a component cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It is valid only with this proposal, which is not on the list.
    Proposal(&'static str),
    /// It is invalid under every set of proposals.
    Invalid(String),
}

/// The proposals that compilers for Rust, C and JavaScript (an interpreter in C or C++) emit. All engines
/// have had each of them for years. `GC_TYPES` is not listed: it is `externref`, which needs a collector.
/// Memories of 64 bits, threads, tail calls, exceptions, typed function references and collected objects are
/// not needed, and a policy cannot reach the engine's code for them: RUSTSEC-2026-0570, by which a component
/// of 10 KB ended the process, needs the encoding of subtypes, a part of `gc`.
pub(super) const ALLOWED: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Validates the bytes of a component under [`ALLOWED`].
///
/// # Errors
/// [`Unusable::Proposal`] if further proposals make it valid: the first one that it cannot do without.
pub(super) fn check(component: &[u8]) -> Result<(), Unusable> {
    let Err(error) = validate(component, ALLOWED) else { return Ok(()) };
    if validate(component, WasmFeatures::all()).is_err() {
        return Err(Unusable::Invalid(error));
    }
    let is_needed =
        |feature| validate(component, WasmFeatures::all().difference(feature).union(ALLOWED)).is_err();
    // Last, because a component that needs it mostly needs another proposal too, which is the better name.
    let last = WasmFeatures::GC_TYPES;
    let mut refused =
        WasmFeatures::all().difference(ALLOWED).difference(last).iter_names().chain(last.iter_names());
    refused
        .find(|(_, feature)| is_needed(*feature))
        .map_or(Err(Unusable::Invalid(error)), |(name, _)| Err(Unusable::Proposal(name)))
}

fn validate(component: &[u8], features: WasmFeatures) -> Result<(), String> {
    Validator::new_with_features(features)
        .validate_all(component)
        .map(drop)
        .map_err(|error| error.to_string())
}
