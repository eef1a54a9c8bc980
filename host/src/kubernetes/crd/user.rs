//! The ACL users that a Redis resource declares.

use super::Password;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// An ACL user, with its password and its rights.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name != 'default' && !self.name.startsWith('group-')")
    .message("spec.password is that of the user default, and the operator's own users are called group-…: choose \
              another name"))]
pub struct User {
    /// Name of the user.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub name: String,
    /// Source of its password. Another password in the Secret is applied live. With `generate` it is the key
    /// of the user's name in the Secret `redis-NAME-users`.
    pub password: Password,
    /// Its rights, as in `ACL SETUSER`: commands, keys and channels, `~cart:* +@read +@write`. A right that a
    /// server does not know leaves the user there as it was, and is a condition.
    #[schemars(length(max = 4096), regex(pattern = "^[^\\x00-\\x1F\"']*$"))]
    #[x_kube(validation = Rule::new(
        "!self.matches('(?i)(^|[ (])([><#!][^ ]*|nopass|resetpass|reset|on|off)([ )]|$)')"
    ).message(
        "rules are rights to commands, keys and channels: the operator sets the password and switches the user on, \
         so leave out on, off, nopass, reset, resetpass, and words that begin with >, <, # or !"
    ))]
    pub rules: String,
}
