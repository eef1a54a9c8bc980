//! Which WebAssembly proposals a policy may use: an allow-list, so that what a new release of the engine
//! knows is refused until it is asked for here. Checked by a validator before anything is compiled, and set
//! in the compiler too. Knows nothing of policies.

use wasmparser::{Validator, WasmFeatures};

/// The first proposal outside of the list that `component` uses, or what else makes it invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It would be valid with this proposal, named as in the list of proposals.
    Proposal(&'static str),
    /// It is valid under no set of proposals.
    Invalid(String),
}

/// What compilers for Rust, C and JavaScript (an interpreter in C or C++) emit, and nothing else. Everything
/// here has been in all engines for years. `GC_TYPES` is not: it stands for `externref`, which needs a
/// collector. Memories of 64 bits, threads, tail calls, exceptions, typed function references and collected
/// objects are not needed, and each is code of the engine that a policy cannot reach then: RUSTSEC-2026-0570,
/// by which a component of 10 KB ended the process, needs the encoding of subtypes, a part of `gc`.
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
/// [`Unusable::Proposal`] if some set of further proposals makes it valid: the first one without which it is
/// not.
pub(super) fn check(component: &[u8]) -> Result<(), Unusable> {
    let Err(error) = validate(component, ALLOWED) else { return Ok(()) };
    if validate(component, WasmFeatures::all()).is_err() {
        return Err(Unusable::Invalid(error));
    }
    let is_needed =
        |feature| validate(component, WasmFeatures::all().difference(feature).union(ALLOWED)).is_err();
    // No proposal of its own: what needs it mostly needs another one, too, which is the better name.
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
