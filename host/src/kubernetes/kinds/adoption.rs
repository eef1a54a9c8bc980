//! How far a resource whose objects another operator made is taken over: its annotation says it.

/// On such a resource: [`OBSERVING`], and then the digest of what its Pods were made from when it was
/// adopted.
pub const ADOPTED_ANNOTATION: &str = "k8s.amaiz.com/adopted";
/// Its objects count as its own, and nothing of them is changed yet.
pub const OBSERVING: &str = "observing";

/// What a resource says of its adoption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptionSettings {
    /// How far it is.
    pub state: AdoptionState,
    /// Of all that its Pods are made from, as it is now.
    pub digest: String,
    /// For how many seconds it is observed first.
    pub observe_s: u32,
}

/// How far a resource is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptionState {
    /// Only what this operator made, or was handed over object by object, is its own.
    No,
    /// What the resource owns is its own, and nothing of it is changed.
    Observing,
    /// What the resource owns is its own.
    Adopted {
        /// Pods stay as the other operator made them.
        leaves_templates: bool,
    },
}
