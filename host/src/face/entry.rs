//! Who may enter a face, and how it shows itself. Both may change while clients are connected: who is inside
//! stays.

use super::certificate::Certificate;
use crate::policy::digest_of;
use std::sync::Arc;

/// What a connection needs to enter.
#[derive(Default)]
pub struct Entry {
    /// None: anybody may ask.
    pub gate: Option<Gate>,
    /// None: in the clear.
    pub tls: Option<Arc<Certificate>>,
}

/// The login that clients need.
pub struct Gate {
    /// None: the user `default`.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

impl Gate {
    /// Whether user and password are right.
    pub(super) fn admits(&self, user: &str, password: &str) -> bool {
        let is_user = user == self.user.as_deref().unwrap_or("default");
        // Digests: how long the comparison takes tells nothing of the password.
        is_user & (digest_of(password.as_bytes()) == digest_of(self.password.as_bytes()))
    }
}
