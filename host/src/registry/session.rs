//! One repository of one registry: the requests of the OCI distribution specification, and their login.

use super::http::{Answer, Ask, FetchError, Http, absolute, authority, origin};
use super::{Login, Logins, Reference, artifact, digest};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, LOCATION, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use serde::Deserialize;

pub struct Session<'a> {
    http: &'a Http,
    logins: &'a Logins,
    image: &'a Reference,
    login: Option<Login>,
    plain_http: bool,
    /// The header that the registry's challenge asked for. None: no challenge yet.
    authorization: Option<String>,
}

impl<'a> Session<'a> {
    /// `login`: the one for this registry. None: anonymous.
    pub fn new(
        (http, logins): (&'a Http, &'a Logins),
        image: &'a Reference,
        login: Option<Login>,
        plain_http: bool,
    ) -> Self {
        Self { http, logins, image, login, plain_http, authorization: None }
    }

    /// Fetches the manifest of the reference.
    pub async fn manifest(&mut self) -> Result<Vec<u8>, FetchError> {
        let address = self.address(&format!("manifests/{}", self.image.version()));
        let accept = (ACCEPT, artifact::MANIFEST_TYPE.to_owned());
        let answer =
            self.ask(Method::GET, &address, &[accept], Bytes::new(), artifact::MANIFEST_BYTES_MAX).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refused(&self.image.to_string()));
        }
        self.image
            .digest
            .as_ref()
            .map_or(Ok(()), |expected| check_digest("the manifest", expected, &answer.body))?;
        Ok(answer.body)
    }

    /// Fetches the blob with that digest. `bytes_max` is its size in the manifest.
    pub async fn blob(&mut self, expected: &str, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
        let address = self.address(&format!("blobs/{expected}"));
        let answer = self.ask(Method::GET, &address, &[], Bytes::new(), bytes_max).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refused(&address));
        }
        check_digest("the component", expected, &answer.body)?;
        Ok(answer.body)
    }

    /// Sends a blob, unless the registry has it.
    pub async fn put_blob(&mut self, blob: Bytes) -> Result<(), FetchError> {
        let digest = digest(&blob);
        let known = self
            .ask(Method::HEAD, &self.address(&format!("blobs/{digest}")), &[], Bytes::new(), ANSWER_BYTES_MAX)
            .await?;
        if known.status == StatusCode::OK {
            return Ok(());
        }
        let uploads = self.address("blobs/uploads/");
        let opened = self.ask(Method::POST, &uploads, &[], Bytes::new(), ANSWER_BYTES_MAX).await?;
        let location = opened
            .header(LOCATION)
            .filter(|_| opened.status == StatusCode::ACCEPTED)
            .ok_or_else(|| opened.refused(&uploads))?;
        let mark = if location.contains('?') { '&' } else { '?' };
        let address = format!("{}{mark}digest={digest}", absolute(&uploads, location));
        let octets = (CONTENT_TYPE, "application/octet-stream".to_owned());
        let put = self.ask(Method::PUT, &address, &[octets], blob, ANSWER_BYTES_MAX).await?;
        if put.status == StatusCode::CREATED { Ok(()) } else { Err(put.refused(&uploads)) }
    }

    /// Sends the manifest under its tag. Returns its digest.
    pub async fn put_manifest(&mut self, manifest: Bytes) -> Result<String, FetchError> {
        let digest = digest(&manifest);
        let address = self.address(&format!("manifests/{}", self.image.tag.as_deref().unwrap_or(&digest)));
        let kind = (CONTENT_TYPE, artifact::MANIFEST_TYPE.to_owned());
        let put = self.ask(Method::PUT, &address, &[kind], manifest, ANSWER_BYTES_MAX).await?;
        if put.status == StatusCode::CREATED { Ok(digest) } else { Err(put.refused(&address)) }
    }

    fn address(&self, rest: &str) -> String {
        let scheme = if self.plain_http { "http" } else { "https" };
        // Docker Hub is served by another host than its name.
        let host =
            if self.image.registry == "docker.io" { "registry-1.docker.io" } else { &self.image.registry };
        format!("{scheme}://{host}/v2/{}/{rest}", self.image.repository)
    }

    /// Sends a request, and repeats it with a login if the registry demands one.
    async fn ask(
        &mut self,
        method: Method,
        address: &str,
        headers: &[(HeaderName, String)],
        body: Bytes,
        bytes_max: usize,
    ) -> Result<Answer, FetchError> {
        // Error texts may be longer than a blob.
        let bytes_max = bytes_max.max(ANSWER_BYTES_MAX);
        let first = self.send(&method, address, headers, body.clone(), bytes_max).await?;
        let is_answered = first.status != StatusCode::UNAUTHORIZED || self.authorization.is_some();
        let Some(challenge) = first.header(WWW_AUTHENTICATE).filter(|_| !is_answered) else {
            return Ok(first);
        };
        self.authorization = self.answer(challenge).await?;
        if self.authorization.is_none() {
            Ok(first)
        } else {
            self.send(&method, address, headers, body, bytes_max).await
        }
    }

    async fn send(
        &self,
        method: &Method,
        address: &str,
        headers: &[(HeaderName, String)],
        body: Bytes,
        bytes_max: usize,
    ) -> Result<Answer, FetchError> {
        let mut headers = headers.to_vec();
        // An upload may go to another host, as the registry says.
        let is_own = origin(address) == origin(&self.address(""));
        headers.extend(self.authorization.clone().filter(|_| is_own).map(|value| (AUTHORIZATION, value)));
        if *method == Method::GET {
            return self.http.get(address, &headers, bytes_max).await;
        }
        self.http.ask(address, Ask { method: method.clone(), headers: &headers, body, bytes_max }).await
    }

    /// The authorization for a challenge. None: there is no login for it.
    async fn answer(&self, challenge: &str) -> Result<Option<String>, FetchError> {
        let Some((scheme, rest)) = challenge.split_once(' ') else { return Ok(None) };
        if scheme.eq_ignore_ascii_case("basic") {
            return self.encrypted_login().map(|login| login.map(Login::basic));
        }
        let value = |name: &str| parameter(rest, name);
        let Some(realm) = value("realm").filter(|_| scheme.eq_ignore_ascii_case("bearer")) else {
            return Ok(None);
        };
        let host = authority(realm);
        if !self.plain_http && !realm.starts_with("https://") {
            return Err(FetchError::Unreachable {
                address: host,
                why: "the registry demands a token from there, without TLS".into(),
            });
        }
        let login = self.encrypted_login()?;
        let registry = &self.image.registry;
        if login.is_some() && !self.logins.is_token_host(registry, &authority(&self.address("")), &host) {
            return Err(FetchError::OtherRealm { registry: registry.clone(), realm: host });
        }
        let query = ["service", "scope"]
            .into_iter()
            .filter_map(|name| Some(format!("{name}={}", escaped(value(name)?))));
        let mark = if realm.contains('?') { "&" } else { "?" };
        let address = format!("{realm}{mark}{}", query.collect::<Vec<_>>().join("&"));
        let headers: Vec<_> = login.iter().map(|login| (AUTHORIZATION, login.basic())).collect();
        let answer = self.http.get(&address, &headers, ANSWER_BYTES_MAX).await?;
        let token = serde_json::from_slice::<Token>(&answer.body)
            .ok()
            .and_then(|token| token.token.or(token.access_token));
        match token.filter(|_| answer.status == StatusCode::OK) {
            Some(token) => Ok(Some(format!("Bearer {token}"))),
            None => Err(answer.refused(&host)),
        }
    }

    /// The login, if all that is said to the registry is encrypted.
    fn encrypted_login(&self) -> Result<Option<&Login>, FetchError> {
        match &self.login {
            Some(_) if self.plain_http => {
                Err(FetchError::NotEncrypted { registry: self.image.registry.clone() })
            }
            login => Ok(login.as_ref()),
        }
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn check_digest(what: &'static str, expected: &str, bytes: &[u8]) -> Result<(), FetchError> {
    let found = digest(bytes);
    if found == expected {
        Ok(())
    } else {
        Err(FetchError::Digest { what, expected: expected.into(), found })
    }
}

/// A value of `realm="https://…",service="…",scope="a:b:pull,push"`. Values have commas, but no quotation
/// marks.
fn parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text
        .match_indices(name)
        .find(|(at, _)| {
            text[at + name.len()..].starts_with("=\"") && (*at == 0 || text[..*at].ends_with([',', ' ']))
        })?
        .0;
    text[at + name.len() + 2..].split('"').next()
}

/// Escapes a value of a query.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:,".contains(&byte);
    value
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// For tokens and error texts.
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_although_its_values_have_commas() {
        let challenge = "realm=\"https://auth.example.com/token\",service=\"registry.example.com\",\
                         scope=\"repository:a/b:pull,push\"";
        assert_eq!(parameter(challenge, "scope"), Some("repository:a/b:pull,push"));
        assert_eq!(parameter(challenge, "service"), Some("registry.example.com"));
        assert_eq!(parameter(challenge, "error"), None);
        assert_eq!(escaped("a b&c=d/e:f"), "a%20b%26c%3Dd/e:f");
    }
}
