//! Logins to registries: from docker's configuration file, which `docker login` and Kubernetes' image pull
//! secrets write, or from the environment. Never from a command line, and never in a log. Credential helpers
//! are not supported.

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
    /// For every registry; overrides the file.
    pub given: Option<Login>,
}

impl Logins {
    /// The login for a registry. None: anonymous.
    ///
    /// # Errors
    /// [`FetchError::Logins`] for a file that exists and cannot be read.
    pub fn of(&self, registry: &str) -> Result<Option<Login>, FetchError> {
        if self.given.is_some() {
            return Ok(self.given.clone());
        }
        let Some(path) = &self.docker_config else { return Ok(None) };
        let bad = |why: String| FetchError::Logins { path: path.clone(), why };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
        };
        let config: DockerConfig = serde_json::from_str(&text)
            .map_err(|error| bad(format!("not a docker configuration: {error}")))?;
        config
            .auths
            .iter()
            .find(|(place, _)| host(place) == registry)
            .map_or(Ok(None), |(_, auth)| auth.login().map_err(bad))
    }
}

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
        (dir, Logins { docker_config: Some(path), given: None })
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
        let given = Some(Login { user: "env".into(), password: "p".into() });
        assert_eq!(Logins { given: given.clone(), ..logins }.of("ghcr.io").unwrap(), given);
    }

    #[test]
    fn a_missing_file_is_anonymous_and_a_broken_one_is_named() {
        assert_eq!(
            Logins { docker_config: Some("/nowhere/config.json".into()), given: None }.of("ghcr.io").unwrap(),
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
