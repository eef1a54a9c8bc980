//! Where resources and their objects are watched: which namespaces, and which Secrets in them.

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The namespaces. Empty: all.
    pub namespaces: Vec<String>,
    /// Which Secrets in them.
    pub secrets: WatchedSecrets,
}

/// Which Secrets are watched. None of them is read in a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchedSecrets {
    /// All, by one list for all groups.
    #[default]
    All,
    /// Those that resources name, and the operator's own, each by a watch of its own: for rights to Secrets
    /// by name.
    Named,
}

impl Scope {
    /// Each namespace; None is all of them.
    pub fn places(&self) -> Vec<Option<&str>> {
        if self.namespaces.is_empty() {
            return vec![None];
        }
        self.namespaces.iter().map(|name| Some(name.as_str())).collect()
    }
}
