//! For `make mutants` only: one rule, check or precondition is left out, to see which test or schedule
//! notices. Without the feature `mutants`, which no product is built with, nothing is ever left out.

/// Whether it is the one that is left out. Kinds and names: `rule` and the first reason of a rule of the
/// engine, `guard` and a check of the guard, `act` and a precondition of an executor.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is_left_out(_kind: &str, _name: &str) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use on::{is_left_out, leave_out};

/// The preconditions of executors, by name.
#[cfg(feature = "mutants")]
pub const PRECONDITIONS: [&str; 12] = [
    "run-id",
    "busy",
    "pace",
    "asked-after",
    "authority",
    "same-history",
    "link-up",
    "approach",
    "catch-up",
    "compare",
    "promotion-in-doubt",
    "kick",
];

#[cfg(feature = "mutants")]
mod on {
    use std::sync::{LazyLock, PoisonError, RwLock};

    /// A test program is told by its environment.
    static PRESENT: LazyLock<RwLock<Option<String>>> =
        LazyLock::new(|| RwLock::new(std::env::var("MUTANT").ok()));

    /// Leaves out this one, `KIND:NAME` or `KIND:*`, from now on in the whole process.
    pub fn leave_out(name: Option<&str>) {
        *PRESENT.write().unwrap_or_else(PoisonError::into_inner) = name.map(str::to_owned);
    }

    /// See the other one.
    pub fn is_left_out(kind: &str, name: &str) -> bool {
        debug_assert!(kind != "act" || super::PRECONDITIONS.contains(&name), "{name} is not on the list");
        let present = PRESENT.read().unwrap_or_else(PoisonError::into_inner);
        let present = present.as_deref().and_then(|it| it.split_once(':'));
        present.is_some_and(|it| it == (kind, name) || it == (kind, "*"))
    }
}
