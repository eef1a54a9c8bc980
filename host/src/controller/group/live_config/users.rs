//! The ACL users of clients at a running instance.

use super::super::users::Users;
use crate::redis::Session;

/// A user that an instance refused, and its words.
pub type RefusedUser = (String, String);

/// Sets and deletes all users at one instance. Each is set whole, in one command, so no client sees it half
/// done. One that is refused stays as it was.
///
/// # Errors
/// The connection ended.
pub async fn set(session: &Session, users: &Users) -> Result<Vec<RefusedUser>, String> {
    let mut refused = Vec::new();
    for user in &users.set {
        let refusal = session.declare_user(&user.name, &user.rules).await?;
        refused.extend(refusal.map(|error| (user.name.clone(), error)));
    }
    for name in &users.drop {
        let refusal = session.delete_user(name).await?;
        refused.extend(refusal.map(|error| (name.clone(), error)));
    }
    Ok(refused)
}
