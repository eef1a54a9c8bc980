//! What the Secrets of a resource say: the password that is wanted, those that a Redis may still have, the
//! users, and the certificate.

use super::users::Users;
use crate::driver::Entry;
use crate::face::Certificate;
use crate::kubernetes::error::message;
use crate::kubernetes::kinds::{Resource, TlsReference, UserReference};
use crate::kubernetes::objects::{AclUser, GROUP_LABEL, PASSWORD_KEY, PREVIOUS_KEY, SECRET_FILE, users_in};
use crate::kubernetes::ownership::is_owned_by;
use crate::kubernetes::status::Problem;
use crate::redis::{Credentials, Logins, Tls};
use k8s_openapi::api::core::v1::{Secret, SecretKeySelector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource as _};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
        Logins::any(
            all.into_iter()
                .map(|password| password.and_then(|password| Credentials::new(None, password).ok()))
                .collect(),
        )
    }

    /// How Sentinels are entered, which ask for no password, and how they log in to the instances.
    pub fn entry(&self) -> Entry {
        let to_servers = self.wanted.as_deref().and_then(|password| Credentials::new(None, password).ok());
        Entry { to_servers, ..Entry::default() }
    }

    /// Whether an instance has a password, or should have one.
    pub fn matter(&self) -> bool {
        self.wanted.is_some() || self.given.is_some()
    }
}

/// What the Secrets of a resource say.
#[derive(Clone, Default)]
pub struct Secrets {
    pub passwords: Passwords,
    /// The ACL users of clients.
    pub users: Users,
    /// Those by our Secret: what a Redis that starts now would have.
    pub filed_users: Vec<AclUser>,
    /// None: in the clear.
    pub tls: Option<Identity>,
    /// The password that clients of the Sentinel endpoint need, or why it is not known. None: none.
    pub endpoint_password: Option<Result<String, Problem>>,
}

impl Secrets {
    /// Tells one certificate from the next.
    pub fn certificate(&self) -> Option<String> {
        self.tls.as_ref().map(|identity| identity.digest.clone())
    }

    /// The same, where what was read before still opens the servers that do not know the new certificate yet.
    pub fn after(mut self, before: Option<&Self>) -> Self {
        if let (Some(now), Some(before)) = (&mut self.tls, before.and_then(|before| before.tls.as_ref())) {
            if now.digest == before.digest {
                now.clone_from(before);
            } else {
                now.tls = now.tls.clone().or(&before.tls);
                now.is_another = true;
            }
        }
        self
    }
}

/// The certificates by which instances and the operator know each other.
#[derive(Clone)]
pub struct Identity {
    /// In this way first, then in those before.
    pub tls: Tls,
    /// When it was seen first.
    pub since: Instant,
    /// The authorities that sign them, in PEM.
    pub authorities: String,
    /// As a Sentinel endpoint shows it.
    pub shown: Arc<Certificate>,
    /// Another one was seen before it.
    pub is_another: bool,
    /// Tells one certificate from the next.
    pub digest: String,
}

/// What came of reading: nothing, if no instance may start without what is missing; and what the user has to
/// do.
pub type Read = (Option<Secrets>, Option<Problem>);

/// Reads them, as often as it takes. Passes on what came of it, and what the API server refuses.
pub async fn read(client: &Client, resource: &Resource, found: impl Fn(Read)) {
    loop {
        match try_read(client, resource).await {
            Ok(read) => return found(read),
            Err(error) => {
                tracing::warn!(name = resource.name(), %error, "secrets not read, will retry");
                if matches!(error, kube::Error::Api(_)) {
                    found((None, Some(Problem { reason: "SecretRefused", message: message(&error) })));
                }
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn try_read(client: &Client, resource: &Resource) -> Result<Read, kube::Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &resource.namespace());
    let tls = match &resource.references.tls {
        None => None,
        Some(reference) => match identity(reference, api.get_opt(&reference.secret).await?) {
            Ok(identity) => Some(identity),
            Err(problem) => return Ok((None, Some(problem))),
        },
    };
    let endpoint_password = match &resource.references.endpoint_password {
        None => None,
        Some(key) => {
            let secret = api.get_opt(&key.name).await?;
            Some(wanted(secret.as_ref(), &key.name, &key.key, "spec.sentinelEndpoint.password"))
        }
    };
    // A Secret of somebody else with that name: what is in it is no login of this group.
    let ours = api.get_opt(&resource.settings.family.set_name(&resource.name())).await?;
    let ours = ours.filter(|secret| is_owned_by(secret, resource.uid()));
    let (given, previous) = (text(ours.as_ref(), PASSWORD_KEY), text(ours.as_ref(), PREVIOUS_KEY));
    let filed_users = text(ours.as_ref(), SECRET_FILE).map(|file| users_in(&file)).unwrap_or_default();
    let Some(password) = &resource.references.password else {
        let passwords = Passwords { wanted: None, given, previous };
        let users = Users::new([].into_iter(), &filed_users);
        return Ok((Some(Secrets { passwords, users, filed_users, tls, endpoint_password }), None));
    };
    let mut secret = api.get_opt(&password.name).await?;
    if secret.is_none() && resource.references.generates_password {
        // Where its Secret was deleted, servers have it.
        secret = make(&api, resource, password, None, given.clone()).await?;
    }
    let (users, problem) = read_users(&api, resource, &filed_users).await?;
    Ok(match wanted(secret.as_ref(), &password.name, &password.key, "spec.password") {
        Ok(wanted) => {
            let passwords = Passwords { wanted: Some(wanted), given, previous };
            (Some(Secrets { passwords, users, filed_users, tls, endpoint_password }), problem)
        }
        // The password before it stays: a Secret that is gone locks no client out.
        Err(problem) => {
            let before = given.map(|password| Passwords {
                wanted: Some(password.clone()),
                given: Some(password),
                previous,
            });
            let before =
                before.map(|passwords| Secrets { passwords, users, filed_users, tls, endpoint_password });
            (before, Some(problem))
        }
    })
}

/// The ACL users of clients, and what the user has to do about the first one that is not known.
async fn read_users(
    api: &Api<Secret>,
    resource: &Resource,
    filed: &[AclUser],
) -> Result<(Users, Option<Problem>), kube::Error> {
    let (mut declared, mut first) = (Vec::new(), None);
    for UserReference { name, rights, password, generates } in &resource.references.users {
        let mut secret = api.get_opt(&password.name).await?;
        if *generates && text(secret.as_ref(), &password.key).is_none() {
            secret = make(api, resource, password, secret.as_ref(), None).await?;
        }
        let user = match wanted(secret.as_ref(), &password.name, &password.key, "spec.users.password") {
            Ok(password) => Some(AclUser::new(name, &password, rights)),
            Err(problem) => {
                let message = format!("user {name}: {}", problem.message);
                first.get_or_insert(Problem { message, ..problem });
                None
            }
        };
        declared.push((name.as_str(), user));
    }
    Ok((Users::new(declared.into_iter(), filed), first))
}

/// Makes the key with a password: in a Secret of its own, or in the one that is `there`, if that is ours.
/// `known`: the password, if servers have one.
async fn make(
    api: &Api<Secret>,
    resource: &Resource,
    key: &SecretKeySelector,
    there: Option<&Secret>,
    known: Option<String>,
) -> Result<Option<Secret>, kube::Error> {
    let password = match known {
        Some(known) => known,
        None => random_password().map_err(|error| kube::Error::Service(Box::new(error)))?,
    };
    if let Some(there) = there {
        if !is_owned_by(there, resource.uid()) {
            return Ok(Some(there.clone()));
        }
        // With the version: another operator may be first.
        let version = there.metadata.resource_version.as_deref();
        let added =
            json!({ "metadata": { "resourceVersion": version }, "stringData": { &key.key: password } });
        let patched = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&added)).await;
        return match patched {
            Err(kube::Error::Api(error)) if error.code == 409 => api.get_opt(&key.name).await,
            patched => patched.map(Some),
        };
    }
    match api.create(&PostParams::default(), &generated(resource, key, password)).await {
        Ok(made) => Ok(Some(made)),
        // Another operator was first.
        Err(kube::Error::Api(error)) if error.code == 409 => api.get_opt(&key.name).await,
        Err(error) => Err(error),
    }
}

/// The Secret that the operator makes for a password.
fn generated(resource: &Resource, key: &SecretKeySelector, password: String) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(resource.namespace()),
            labels: Some([(GROUP_LABEL.to_owned(), resource.name())].into()),
            owner_references: resource.object.controller_owner_ref(&resource.api).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        string_data: Some([(key.key.clone(), password)].into()),
        ..Secret::default()
    }
}

/// 160 bits of the system, as hexadecimal digits: it needs no quotes anywhere.
fn random_password() -> std::io::Result<String> {
    let mut bytes = [0_u8; 20];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(secret: Option<&Secret>, key: &str) -> Option<String> {
    String::from_utf8(secret?.data.as_ref()?.get(key)?.0.clone()).ok()
}

/// The password in that key of a Secret, which a field of the resource names.
fn wanted(secret: Option<&Secret>, name: &str, key: &str, field: &str) -> Result<String, Problem> {
    let missing = |message: String| Problem { reason: "SecretMissing", message };
    let invalid = |message: String| Problem { reason: "SecretInvalid", message };
    let secret = secret
        .ok_or_else(|| missing(format!("secret {name} is not there: create it, or take {field} out")))?;
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let bytes = bytes.ok_or_else(|| {
        missing(format!("secret {name} has no key {key}: add it, or name another in {field}.secretKeyRef"))
    })?;
    let text = str::from_utf8(&bytes.0).map_err(|_| {
        invalid(format!("key {key} of secret {name} is no UTF-8 text: clients could not log in"))
    })?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() || text.contains('\0') {
        return Err(invalid(format!(
            "key {key} of secret {name} is empty: write the password into it, or take {field} out"
        )));
    }
    Ok(text.to_owned())
}

fn identity(reference: &TlsReference, secret: Option<Secret>) -> Result<Identity, Problem> {
    let TlsReference { secret: name, server_name } = reference;
    let missing = |message: String| Problem { reason: "SecretMissing", message };
    let secret = secret
        .ok_or_else(|| missing(format!("secret {name} is not there: create it, or take spec.tls out")))?;
    let data = secret.data.unwrap_or_default();
    let part = |key: &str| {
        data.get(key)
            .map(|bytes| bytes.0.as_slice())
            .ok_or_else(|| missing(format!("secret {name} has no key {key}: add it")))
    };
    let (ca, certificate, key) = (part("ca.crt")?, part("tls.crt")?, part("tls.key")?);
    let tls = Tls::from_pem(ca, certificate, key, server_name);
    let tls =
        tls.map_err(|why| Problem { reason: "SecretInvalid", message: format!("secret {name}: {why}") })?;
    let shown = Certificate::of_pem(certificate, key)
        .map_err(|why| Problem { reason: "SecretInvalid", message: format!("secret {name}: {why}") })?;
    let digest = Sha256::new().chain_update(ca).chain_update(certificate).chain_update(key).finalize();
    Ok(Identity {
        tls,
        authorities: String::from_utf8_lossy(ca).into_owned(),
        shown: Arc::new(shown),
        since: Instant::now(),
        is_another: false,
        digest: digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
    })
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
        assert_eq!(
            (done.logins(), done.before()),
            (Logins::any(vec![login("new"), login("old")]), Some("old"))
        );
    }

    #[test]
    fn a_first_password_and_a_last_one_leave_a_way_in() {
        assert_eq!(of(Some("new"), None, None).logins(), Logins::any(vec![login("new"), None]));
        assert_eq!(of(None, Some("old"), None).logins(), Logins::any(vec![None, login("old")]));
        assert!(!of(None, None, None).matter());
    }

    /// Reads the Secrets of a Sample, where `redis-cart` is owned by `owner`.
    async fn read_with(owner: &'static str) -> Secrets {
        let api_server = tower::service_fn(move |request: hyper::Request<kube::client::Body>| async move {
            assert_eq!(request.uri().path(), "/api/v1/namespaces/shop/secrets/redis-cart");
            let secret = serde_json::json!({
                "metadata": {
                    "name": "redis-cart", "namespace": "shop", "labels": { "redis": "cart" },
                    "ownerReferences": [{ "apiVersion": "v1", "kind": "Sample", "name": "cart", "uid": owner }]
                },
                "data": { "password": "b2xk", "previous": "b2xkZXI=" }
            });
            let body = kube::client::Body::from(secret.to_string().into_bytes());
            Ok::<_, std::convert::Infallible>(hyper::Response::new(body))
        });
        let resource = crate::kubernetes::kinds::sample::sample(|_| ());
        try_read(&Client::new(api_server, "default"), &resource).await.unwrap().0.unwrap()
    }

    #[tokio::test]
    async fn the_password_in_a_secret_of_another_owner_is_not_tried_as_a_login() {
        let ours = read_with("u").await.passwords;
        assert_eq!((ours.given.as_deref(), ours.previous.as_deref()), (Some("old"), Some("older")));
        let theirs = read_with("another").await.passwords;
        assert_eq!(theirs.logins(), of(None, None, None).logins());
    }
}
