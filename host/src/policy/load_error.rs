//! Why a file is no policy, and the checks by its first bytes.

use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use super::component::{COMPONENT_BYTES_MAX, POLICY};
use super::form::DescriptionError;
use super::{PolicyFault, ShapeError, bounds};

/// Why a file is no policy. Every text is one line and ends with the way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LoadError {
    /// Larger than any known tool chain makes.
    #[error(
        "it has more than {COMPONENT_BYTES_MAX} bytes; strip it, or use a tool chain with smaller output"
    )]
    TooLarge,
    /// Native code; it would run outside the sandbox.
    #[error(
        "it is precompiled native code, which is never run; use the .wasm component that it was compiled from"
    )]
    Precompiled,
    /// Not WebAssembly.
    #[error("it is not a WebAssembly component; build one for {POLICY} (see `redis-operator policy --help`)")]
    NotWasm,
    /// A core module.
    #[error(
        "it is a core module, not a component; wrap it with `redis-operator policy wrap FILE --output \
         COMPONENT`"
    )]
    CoreModule,
    /// It has the header of a component, but is invalid.
    #[error("it is not a valid component: {0}")]
    Invalid(String),
    /// It exceeds a bound of what a component may contain.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// It uses a proposal that no compiler for Rust, C or JavaScript needs.
    #[error(
        "it uses the WebAssembly proposal {0}, but a policy may use only those of WebAssembly 2.0 and \
         extended-const; build it without {0}"
    )]
    Proposal(String),
    /// It is not pure.
    #[error(
        "it imports {}, and a policy imports nothing; build it without WASI, for example for \
         wasm32-unknown-unknown",
        .0.join(", ")
    )]
    Imports(Vec<String>),
    /// It is a component for something else, or for another version of the contract.
    #[error(
        "it exports {}, and a policy exports {POLICY}",
        if .0.is_empty() { "nothing".into() } else { .0.join(", ") }
    )]
    World(Vec<String>),
    /// The right name with other types.
    #[error("it exports {POLICY} with other types than this version has: {0}")]
    Types(String),
    /// Compilation took too much time.
    #[error(
        "compiling it takes more than {} s of CPU time; build it for size (opt-level \"s\", -Os) and split its \
         largest functions",
        bounds::COMPILE.cpu.as_secs()
    )]
    CompileTime,
    /// Compilation took too much memory. Its process cannot say so: it is how it ends.
    #[error(
        "compiling it takes more than {} MiB of memory; build it for size (opt-level \"s\", -Os) and split its \
         largest functions",
        bounds::COMPILE_DATA_BYTES >> 20
    )]
    CompileMemory,
    /// Its compiled code is too large to be kept.
    #[error(
        "its compiled code has more than {} bytes; build it for size (opt-level \"s\", -Os)",
        bounds::CODE_BYTES_MAX
    )]
    CodeBytes,
    /// Its worker process gave no answer.
    #[error("{0}; try again, and report it if it happens again")]
    Worker(String),
    /// `describe` failed.
    #[error("its function describe failed: {0}")]
    Describe(PolicyFault),
    /// `describe` gave an invalid answer.
    #[error("its function describe gave an invalid answer: {0}")]
    Description(#[from] DescriptionError),
}

impl LoadError {
    /// As a worker process sent it: one line of bounded length, whatever the process may have become.
    pub(super) fn of_worker(self) -> Self {
        let text = self.to_string();
        if text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control) {
            return self;
        }
        LoadError::Invalid(one_line(&text))
    }
}

/// Checks size and kind of a file by its first bytes, before any expensive step.
pub(super) fn check_kind(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge);
    }
    if Engine::detect_precompiled(bytes).is_some() || bytes.starts_with(b"\x7fELF") {
        return Err(LoadError::Precompiled);
    }
    match bytes.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => Ok(()),
        Some(b"\0asm\x01\0\0\0") => Err(LoadError::CoreModule),
        Some(_) | None => Err(LoadError::NotWasm),
    }
}

/// Foreign text as a line of bounded length.
pub(super) fn one_line(text: &str) -> String {
    let letters = text.chars().take(TEXT_BYTES_MAX / 4);
    letters.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Names of many imports fit.
const TEXT_BYTES_MAX: usize = 4 << 10;
