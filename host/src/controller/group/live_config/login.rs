//! The login of running instances, changed without locking out a client or a replica: the password of
//! clients, and the ACL user by which instances log in to their master. [`next`] plans, [`change`] sends.

use super::super::secrets::Passwords;
use crate::kubernetes::objects::REPLICATES;
use crate::redis::Session;
use futures_util::future::join_all;

/// What the login should become.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Empty: none.
    pub password: String,
    /// An instance may have a password, this one or an older one.
    pub has_passwords: bool,
    /// The ACL user of replication. None: instances log in as any client does.
    pub user: Option<String>,
}

/// One step, carried out at every instance before the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginStep {
    /// The default user takes the new password, and the old ones still.
    AddPassword,
    /// The user of replication takes the new password, and the old ones still.
    AddUser,
    /// Instances log in to their master in the new way.
    Use,
    /// The user of replication takes the new password only.
    NarrowUser,
    /// The default user takes the new password only.
    NarrowPassword,
}

impl Login {
    /// To what the Secrets say.
    pub fn new(passwords: &Passwords, user: Option<String>) -> Self {
        Self {
            password: passwords.wanted.clone().unwrap_or_default(),
            has_passwords: passwords.matter(),
            user,
        }
    }
}

/// The step after `last` (None: the first one): add everywhere, use everywhere, remove the old everywhere.
///
/// At no moment does an instance use what another does not take: `Use` begins when every instance takes the
/// new password and user, and the old ones are removed when no instance uses them. A change that ends halfway
/// begins anew; each step may be repeated.
pub fn next(last: Option<LoginStep>, login: &Login) -> Option<LoginStep> {
    let order = [
        (LoginStep::AddPassword, !login.password.is_empty()),
        (LoginStep::AddUser, login.user.is_some()),
        (LoginStep::Use, true),
        (LoginStep::NarrowUser, login.user.is_some()),
        (LoginStep::NarrowPassword, login.has_passwords),
    ];
    let done = last.map_or(0, |last| order.iter().take_while(|(step, _)| *step != last).count() + 1);
    order.into_iter().skip(done).find(|(_, is_needed)| *is_needed).map(|(step, _)| step)
}

/// Carries out all steps, and `tell` once what is new is used and what is old is still taken. Returns the
/// user that it came to: none if an instance is from before ACLs.
///
/// # Errors
/// The first refusal; the steps after it were not sent.
pub async fn change(
    sessions: &[&Session],
    mut login: Login,
    tell: impl AsyncFnOnce(),
) -> Result<Option<String>, String> {
    let (mut last, mut tell) = (None, Some(tell));
    while let Some(step) = next(last, &login) {
        if last == Some(LoginStep::Use)
            && let Some(tell) = tell.take()
        {
            tell().await;
        }
        let takes_users = join_all(sessions.iter().map(|session| send(session, step, &login)))
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        if takes_users.contains(&false) {
            login.user = None;
        }
        last = Some(step);
    }
    if let Some(tell) = tell {
        tell().await;
    }
    Ok(login.user)
}

/// Sends one step to one instance. False: it is from before ACLs and knows no users.
async fn send(session: &Session, step: LoginStep, login: &Login) -> Result<bool, String> {
    let (password, user) = (login.password.as_str(), login.user.as_deref());
    match (step, user) {
        (LoginStep::AddPassword, _) => session.add_password(password).await.map(|()| true),
        (LoginStep::AddUser, Some(user)) => session.allow_user(user, password, REPLICATES).await,
        (LoginStep::Use, user) => session.set_master_auth(user, password).await.map(|()| true),
        (LoginStep::NarrowUser, Some(user)) => session.set_user(user, password).await.map(|()| true),
        (LoginStep::NarrowPassword, _) => session.replace_password(password).await.map(|()| true),
        (LoginStep::AddUser | LoginStep::NarrowUser, None) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::LoginStep::{AddPassword, AddUser, NarrowPassword, NarrowUser, Use};
    use super::*;

    fn steps(login: &Login) -> Vec<LoginStep> {
        std::iter::successors(next(None, login), |last| next(Some(*last), login)).collect()
    }

    #[test]
    fn all_take_the_new_login_before_one_uses_it_and_use_it_before_one_refuses_the_old() {
        let login = |password: &str, has_passwords, user: Option<&str>| Login {
            password: password.into(),
            has_passwords,
            user: user.map(Into::into),
        };
        let rows = [
            (
                "a password and a user",
                login("new", true, Some("u")),
                vec![AddPassword, AddUser, Use, NarrowUser, NarrowPassword],
            ),
            (
                "an instance from before ACLs",
                login("new", true, None),
                vec![AddPassword, Use, NarrowPassword],
            ),
            (
                "the password is removed",
                login("", true, Some("u")),
                vec![AddUser, Use, NarrowUser, NarrowPassword],
            ),
            ("no password, now or before", login("", false, Some("u")), vec![AddUser, Use, NarrowUser]),
            ("neither", login("", false, None), vec![Use]),
        ];
        for (fact, login, expected) in rows {
            assert_eq!(steps(&login), expected, "{fact}");
        }
    }

    #[test]
    fn a_user_that_turns_out_to_be_unknown_is_neither_used_nor_narrowed() {
        let login = Login { password: "new".into(), has_passwords: true, user: None };
        assert_eq!(next(Some(AddUser), &login), Some(Use));
        assert_eq!(next(Some(Use), &login), Some(NarrowPassword));
        assert_eq!(next(Some(NarrowPassword), &login), None);
    }
}
