//! Logins to registries: from docker's configuration file, which `docker login` and Kubernetes' image pull
//! secrets write, or from the environment. Each belongs to one registry. Never from a command line, and never
//! in a log. Credential helpers are not supported.

use super::FetchError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password, or a token in its place.
    pub password: String,
}

/// The sources of logins. The file is read each time, since a mounted Secret changes.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    /// Docker's `config.json`. It may be missing.
    pub docker_config: Option<PathBuf>,
    /// From the environment.
    pub given: Option<GivenLogin>,
    /// `REGISTRY=HOST`: hosts that give tokens of that registry, and get its login.
    pub token_hosts: Vec<(String, String)>,
}

/// A login, and the registry that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenLogin {
    /// Host and port, as in the name of an artifact. None: the user named none, so it is for no registry.
    pub registry: Option<String>,
    /// The login.
    pub login: Login,
}

impl Logins {
    /// The login for a registry. None: anonymous.
    ///
    /// # Errors
    /// [`FetchError::Logins`] for a file that exists and cannot be read, [`FetchError::LoginWithoutHost`].
    pub fn of(&self, registry: &str) -> Result<Option<Login>, FetchError> {
        match &self.given {
            Some(GivenLogin { registry: None, .. }) => return Err(FetchError::LoginWithoutHost),
            Some(GivenLogin { registry: Some(own), login }) if own == registry => {
                return Ok(Some(login.clone()));
            }
            Some(_) | None => {}
        }
        let Some(path) = &self.docker_config else { return Ok(None) };
        let bad = |why: String| FetchError::Logins { path: path.clone(), why };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
        };
        Self::in_config(text.as_bytes(), registry).map_err(bad)
    }

    /// The login for a registry in a docker configuration, as a Secret of type kubernetes.io/dockerconfigjson
    /// has it. None: it has none for that registry.
    ///
    /// # Errors
    /// What is wrong with the configuration, without its content.
    pub fn in_config(config: &[u8], registry: &str) -> Result<Option<Login>, String> {
        let config: DockerConfig = serde_json::from_slice(config).map_err(|error| {
            format!("not a docker configuration (line {}, column {})", error.line(), error.column())
        })?;
        config
            .auths
            .iter()
            .find(|(place, _)| host(place) == registry)
            .map_or(Ok(None), |(_, auth)| auth.login())
    }

    /// True if the host gives tokens of the registry: it is the registry's own, or listed. `serving`: host
    /// and port that serve the registry, `realm`: those of the token's address.
    pub(super) fn is_token_host(&self, registry: &str, serving: &str, realm: &str) -> bool {
        let is_it = |host: &str| {
            realm == host.to_ascii_lowercase()
                || realm.strip_suffix(":443") == Some(&*host.to_ascii_lowercase())
        };
        let listed = self.token_hosts.iter().map(|(of, host)| (of.as_str(), host.as_str()));
        realm == serving || listed.chain(KNOWN_TOKEN_HOSTS).any(|(of, host)| of == registry && is_it(host))
    }
}

/// Registries whose tokens come from another host, as their documentation has it.
const KNOWN_TOKEN_HOSTS: [(&str, &str); 2] =
    [("docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];

impl Login {
    /// The value of the header `Authorization: Basic`.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Auth {
    fn login(&self) -> Result<Option<Login>, String> {
        if let (Some(user), Some(password)) = (&self.username, &self.password) {
            return Ok(Some(Login { user: user.clone(), password: password.clone() }));
        }
        let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) else { return Ok(None) };
        let text = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or(NOT_BASE64)?;
        let (user, password) = text.split_once(':').ok_or(NOT_BASE64)?;
        Ok(Some(Login { user: user.into(), password: password.into() }))
    }
}

/// The host of a key such as `https://ghcr.io/v2/`, a form that docker's configuration has as well.
fn host(place: &str) -> &str {
    let place = place.trim_start_matches("https://").trim_start_matches("http://");
    match place.split('/').next().unwrap_or(place) {
        // The key that `docker login` writes for Docker Hub.
        "index.docker.io" => "docker.io",
        host => host,
    }
}

const NOT_BASE64: &str = "an auth in it is not base64 of NAME:PASSWORD";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn logins(config: &str) -> (tempfile::TempDir, Logins) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        (dir, Logins { docker_config: Some(path), ..Logins::default() })
    }

    #[test]
    fn a_login_is_found_by_its_registry_in_each_of_docker_s_spellings() {
        let auth = STANDARD.encode("me:secret:with:colons");
        let config = json!({
            "auths": {
                "ghcr.io": { "auth": auth },
                "https://index.docker.io/v1/": { "username": "you", "password": "p" }
            },
            "credsStore": "x"
        });
        let (_dir, logins) = logins(&config.to_string());
        assert_eq!(
            logins.of("ghcr.io").unwrap(),
            Some(Login { user: "me".into(), password: "secret:with:colons".into() })
        );
        assert_eq!(logins.of("docker.io").unwrap().unwrap().user, "you");
        assert_eq!(logins.of("quay.io").unwrap(), None);
    }

    #[test]
    fn a_login_of_the_environment_is_for_its_registry_alone() {
        let login = Login { user: "env".into(), password: "p".into() };
        let given = |registry: Option<&str>| {
            let given = GivenLogin { registry: registry.map(str::to_owned), login: login.clone() };
            Logins { given: Some(given), ..Logins::default() }
        };
        assert_eq!(given(Some("ghcr.io")).of("ghcr.io").unwrap(), Some(login.clone()));
        assert_eq!(given(Some("ghcr.io")).of("ghcr.io:5000").unwrap(), None);
        assert_eq!(given(Some("ghcr.io")).of("evil.example.com").unwrap(), None);
        assert!(given(None).of("ghcr.io").unwrap_err().to_string().contains("REDIS_OPERATOR_REGISTRY"));
    }

    #[test]
    fn a_login_goes_to_the_registry_s_own_host_or_to_a_listed_one() {
        let token_hosts = vec![("harbor.example.com".into(), "auth.example.com:8443".into())];
        let logins = Logins { token_hosts, ..Logins::default() };
        for (registry, serving, realm, is_it) in [
            ("ghcr.io", "ghcr.io:443", "ghcr.io:443", true),
            ("ghcr.io", "ghcr.io:443", "ghcr.io:8443", false),
            ("ghcr.io", "ghcr.io:443", "evil.example.com:443", false),
            ("docker.io", "registry-1.docker.io:443", "auth.docker.io:443", true),
            ("ghcr.io", "ghcr.io:443", "auth.docker.io:443", false),
            ("harbor.example.com", "harbor.example.com:443", "auth.example.com:8443", true),
            ("harbor.example.com", "harbor.example.com:443", "auth.example.com:443", false),
        ] {
            assert_eq!(logins.is_token_host(registry, serving, realm), is_it, "{registry}: {realm}");
        }
    }

    #[test]
    fn a_missing_file_is_anonymous_and_a_broken_one_is_named() {
        assert_eq!(
            Logins { docker_config: Some("/nowhere/config.json".into()), ..Logins::default() }
                .of("ghcr.io")
                .unwrap(),
            None
        );
        for broken in ["no json", r#"{"auths": {"ghcr.io": {"auth": "%%%"}}}"#] {
            let (_dir, logins) = logins(broken);
            assert!(logins.of("ghcr.io").unwrap_err().to_string().contains("config.json"));
        }
    }

    #[test]
    fn a_password_is_in_no_log() {
        assert!(
            !format!("{:?}", Login { user: "me".into(), password: "hunter2".into() }).contains("hunter2")
        );
    }
}
