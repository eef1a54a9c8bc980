//! The password that is wanted, and those that a Redis may still have: what the user's Secret says, and what ours said before.

use crate::kubernetes::crd::Redis;
use crate::kubernetes::objects::{PASSWORD_KEY, PREVIOUS_KEY, name};
use crate::kubernetes::told::Trouble;
use crate::redis::{Credentials, Logins};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::{Client, ResourceExt};
use std::time::Duration;

/// None: no password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Passwords {
    /// By the user's Secret, now.
    pub wanted: Option<String>,
    /// By our Secret: what a Redis that starts now would have.
    pub given: Option<String>,
    /// What it was before that: a Redis may have started from an older copy of our Secret.
    pub previous: Option<String>,
}

impl Passwords {
    /// What our Secret should remember beside the one that is wanted.
    pub fn before(&self) -> Option<&str> {
        if self.given == self.wanted { self.previous.as_deref() } else { self.given.as_deref() }
    }

    /// The ways to log in, the likeliest first.
    pub fn logins(&self) -> Logins {
        let mut all: Vec<Option<&String>> = vec![self.wanted.as_ref()];
        for other in [self.given.as_ref(), self.previous.as_ref()] {
            if !all.contains(&other) && other.is_some() {
                all.push(other);
            }
        }
        // From before there was one.
        if self.given.is_none() && self.wanted.is_some() {
            all.push(None);
        }
        Logins::any(all.into_iter().map(|password| password.and_then(|password| Credentials::new(None, password).ok())).collect())
    }

    /// Whether a Redis may have to be told.
    pub fn matter(&self) -> bool {
        self.wanted.is_some() || self.given.is_some()
    }
}

/// What came of reading: no passwords, if nobody may start without what is missing; and what the user has to do.
pub type Read = (Option<Passwords>, Option<Trouble>);

/// Reads both Secrets, as often as it takes.
pub async fn read(client: &Client, redis: &Redis) -> Read {
    loop {
        match try_read(client, redis).await {
            Ok(read) => return read,
            Err(error) => tracing::warn!(name = redis.name_any(), %error, "password not read; it is tried again"),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn try_read(client: &Client, redis: &Redis) -> Result<Read, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &redis.namespace().unwrap_or_default());
    let ours = secrets.get_opt(&name(redis)).await?;
    let value = |secret: &Option<Secret>, key: &str| {
        let bytes = secret.as_ref()?.data.as_ref()?.get(key)?;
        String::from_utf8(bytes.0.clone()).ok()
    };
    let (given, previous) = (value(&ours, PASSWORD_KEY), value(&ours, PREVIOUS_KEY));
    let Some(password) = &redis.spec.password else { return Ok((Some(Passwords { wanted: None, given, previous }), None)) };
    let (name, key) = (&password.secret_key_ref.name, &password.secret_key_ref.key);
    // What was there before goes on: nobody is locked out by a Secret that is gone.
    let before = given.clone().map(|password| Passwords { wanted: Some(password.clone()), given: Some(password), previous: previous.clone() });
    let trouble = |reason, message: String| Ok((before.clone(), Some(Trouble { reason, message })));
    let Some(secret) = secrets.get_opt(name).await? else {
        return trouble("SecretMissing", format!("secret {name} is not there: create it, or take spec.password out"));
    };
    let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(key)) else {
        return trouble("SecretMissing", format!("secret {name} has no key {key}: add it, or name another in spec.password.secretKeyRef"));
    };
    let text = String::from_utf8(bytes.0.clone()).ok();
    let text = text.map(|text| text.strip_suffix('\n').map_or(text.clone(), |line| line.strip_suffix('\r').unwrap_or(line).to_owned()));
    match text {
        Some(text) if !text.is_empty() && !text.contains('\0') => Ok((Some(Passwords { wanted: Some(text), given, previous }), None)),
        Some(_) => trouble("SecretInvalid", format!("key {key} of secret {name} is empty: write the password into it, or take spec.password out")),
        None => trouble("SecretInvalid", format!("key {key} of secret {name} is no UTF-8 text: Redis clients could not log in")),
    }
}

const AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wanted: Option<&str>, given: Option<&str>, previous: Option<&str>) -> Passwords {
        let text = |password: Option<&str>| password.map(str::to_owned);
        Passwords { wanted: text(wanted), given: text(given), previous: text(previous) }
    }

    fn login(password: &str) -> Option<Credentials> {
        Some(Credentials::new(None, password).unwrap())
    }

    #[test]
    fn a_new_password_is_tried_before_the_old_and_the_old_is_remembered() {
        let changed = of(Some("new"), Some("old"), Some("older"));
        assert_eq!(changed.logins(), Logins::any(vec![login("new"), login("old"), login("older")]));
        assert_eq!(changed.before(), Some("old"));
        let done = of(Some("new"), Some("new"), Some("old"));
        assert_eq!((done.logins(), done.before()), (Logins::any(vec![login("new"), login("old")]), Some("old")));
    }

    #[test]
    fn a_first_password_and_a_last_one_leave_a_way_in() {
        assert_eq!(of(Some("new"), None, None).logins(), Logins::any(vec![login("new"), None]));
        assert_eq!(of(None, Some("old"), None).logins(), Logins::any(vec![None, login("old")]));
        assert!(!of(None, None, None).matter());
    }
}
