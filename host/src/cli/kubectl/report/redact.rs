//! What leaves the cluster in a support bundle: no values of Secrets, no passwords, and nothing that a user
//! wrote where the operator's own form of it is not known. Pure.
//!
//! 1. Of what only users write (their containers, volumes, annotations, values of variables) an allow-list of
//!    fields stays: what is not known to be harmless is removed.
//! 2. Values under a name that speaks of a secret are removed, and what follows a directive, a flag, an ACL
//!    rule or a URI with one, up to the end of its line or word.
//! 3. Each value of a Secret that could be read is removed wherever it stands, in each form that a program
//!    writes it. Without the right to read Secrets the first two remain.
//!
//! Too much removed costs a question; too little costs a password.

use crate::kubernetes::objects::SET_ASIDE;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use regex::{Captures, Regex};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Removes secrets.
pub struct Redactor {
    /// Values of Secrets in all their forms, the longest first: one may contain another.
    known: Vec<String>,
    patterns: Vec<(Regex, &'static str)>,
}

impl Redactor {
    /// One that knows these Secrets, as the API has them.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Value>) -> Self {
        let values = secrets.into_iter().flat_map(values_of).collect::<BTreeSet<_>>();
        let mut known: Vec<String> = values.iter().flat_map(|value| forms(value)).collect();
        known.sort_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        known.dedup();
        Self { known, patterns: patterns() }
    }

    /// Text of anybody, as a message, a line of a log, a file.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.known {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REMOVED);
            }
        }
        for (pattern, with) in &self.patterns {
            text = pattern
                .replace_all(&text, |found: &Captures<'_>| {
                    let head = found.get(1).map_or("", |head| head.as_str());
                    format!("{head}{with}")
                })
                .into_owned();
        }
        text
    }

    /// An object of the API, or any other JSON.
    pub fn object(&self, object: &Value) -> Value {
        match object {
            Value::Object(fields) => {
                let is_secret = fields.get("kind").and_then(Value::as_str) == Some("Secret");
                let of = |(name, value): (&String, &Value)| {
                    let kept = match name.as_str() {
                        "managedFields" => return None,
                        "data" | "stringData" if is_secret => removed(value),
                        "binaryData" => removed(value),
                        _ => self.field(name, value),
                    };
                    Some((name.clone(), kept))
                };
                fields.iter().filter_map(of).collect::<Map<_, _>>().into()
            }
            Value::Array(items) => self.list(items),
            Value::String(text) => self.text(text).into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => object.clone(),
        }
    }

    fn field(&self, name: &str, value: &Value) -> Value {
        match (name, value) {
            ("annotations", Value::Object(all)) => {
                let known =
                    |name: &str| ANNOTATIONS.iter().any(|of| name.contains(of)) && name != LAST_APPLIED;
                let kept = |(name, value): (&String, &Value)| {
                    (name.clone(), if known(name) { self.object(value) } else { REMOVED.into() })
                };
                all.iter().map(kept).collect::<Map<_, _>>().into()
            }
            ("containers" | "initContainers" | "ephemeralContainers", Value::Array(all)) => {
                all.iter().map(|container| self.container(container)).collect()
            }
            ("env", Value::Array(all)) => all.iter().map(|variable| self.variable(variable)).collect(),
            ("volumes", Value::Array(all)) => all.iter().map(volume).collect(),
            ("customCommandRenames", all) => removed(all),
            ("config", Value::Object(all)) => {
                let kept = |(name, value): (&String, &Value)| {
                    let is_secret = is_secret_directive(name) && value.is_string();
                    (name.clone(), if is_secret { REMOVED.into() } else { self.object(value) })
                };
                all.iter().map(kept).collect::<Map<_, _>>().into()
            }
            (name, Value::String(_)) if speaks_of_a_secret(name) => REMOVED.into(),
            (_, value) => self.object(value),
        }
    }

    /// In a list of words, as arguments are, the word after a flag is its value.
    fn list(&self, items: &[Value]) -> Value {
        let is_flag = |item: &Value| {
            let is_so = |text: &str| text.starts_with('-') && speaks_of_a_secret(text) && !text.contains('=');
            item.as_str().is_some_and(|text| is_so(text) || text == "-a")
        };
        let after_flag = std::iter::once(false).chain(items.iter().map(is_flag));
        let kept = |(item, after_flag): (&Value, bool)| match item {
            Value::String(_) if after_flag => REMOVED.into(),
            item => self.object(item),
        };
        items.iter().zip(after_flag).map(kept).collect()
    }

    /// Those of the operator in full; of those of users what says how they run.
    fn container(&self, container: &Value) -> Value {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        if OWN_CONTAINERS.contains(&name) {
            return self.object(container);
        }
        let Value::Object(fields) = container else { return REMOVED.into() };
        let kept = |(field, value): (&String, &Value)| {
            (
                field.clone(),
                if OF_CONTAINERS.contains(&field.as_str()) {
                    self.field(field, value)
                } else {
                    removed(value)
                },
            )
        };
        fields.iter().map(kept).collect::<Map<_, _>>().into()
    }

    fn variable(&self, variable: &Value) -> Value {
        let mut kept = self.object(variable);
        let is_own =
            variable.get("name").and_then(Value::as_str).is_some_and(|name| OWN_VARIABLES.contains(&name));
        if !is_own && let Some(value) = kept.get_mut("value") {
            *value = REMOVED.into();
        }
        kept
    }
}

/// Where a volume comes from: names of objects alone.
fn volume(volume: &Value) -> Value {
    let Value::Object(fields) = volume else { return REMOVED.into() };
    let named = |value: &Value| {
        let Value::Object(source) = value else { return REMOVED.into() };
        let names =
            source.iter().filter(|(name, _)| ["name", "secretName", "claimName"].contains(&name.as_str()));
        names.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
    };
    let kept = |(name, value): (&String, &Value)| {
        (name.clone(), if name == "name" { value.clone() } else { named(value) })
    };
    fields.iter().map(kept).collect::<Map<_, _>>().into()
}

/// The names of a map stay, and the number of items of a list.
fn removed(value: &Value) -> Value {
    match value {
        Value::Object(all) => {
            all.keys().map(|name| (name.clone(), REMOVED.into())).collect::<Map<_, _>>().into()
        }
        Value::Array(all) => all.iter().map(|_| Value::from(REMOVED)).collect(),
        _ => REMOVED.into(),
    }
}

/// Whether a field, a flag or a variable of that name has a secret for a value.
fn speaks_of_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word)) || ["auth", "pass"].contains(&name.trim_start_matches('-'))
}

fn is_secret_directive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    DIRECTIVES.contains(&name.as_str()) || name == "user" || speaks_of_a_secret(&name)
}

/// The values of a Secret that nobody else may know.
fn values_of(secret: &Value) -> Vec<String> {
    let Some(Value::Object(data)) = secret.get("data") else { return Vec::new() };
    let mut values = Vec::new();
    for (_, value) in data.iter().filter(|(key, _)| !PUBLIC_KEYS.contains(&key.as_str())) {
        let bytes = value.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_default();
        let Ok(text) = String::from_utf8(bytes) else { continue };
        // Logins of registries are JSON with the passwords inside.
        if let Ok(inside @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(&text) {
            strings(&inside, &mut values);
        }
        values.push(text.trim().to_owned());
        values.push(text);
    }
    values.retain(|value| value.len() >= SECRET_BYTES_MIN);
    values
}

fn strings(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(all) => all.iter().for_each(|value| strings(value, into)),
        Value::Object(all) => all.values().for_each(|value| strings(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// As it is, and as programs write it: base64, in a URI, in redis.conf, in JSON, as an ACL hashes it.
fn forms(value: &str) -> Vec<String> {
    let in_json = serde_json::to_string(value).unwrap_or_default();
    let in_config: String = value
        .chars()
        .flat_map(|letter| match letter {
            '"' | '\\' => vec!['\\', letter],
            letter => vec![letter],
        })
        .collect();
    let hash: String = Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")).collect();
    vec![
        value.to_owned(),
        BASE64_STANDARD.encode(value),
        BASE64_STANDARD_NO_PAD.encode(value),
        utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
        in_json.trim_matches('"').to_owned(),
        in_config,
        hash,
    ]
}

/// What is removed of any text, and what takes its place after the first group.
fn patterns() -> Vec<(Regex, &'static str)> {
    let any = |words: &[&str]| words.iter().map(|word| any_case(word)).collect::<Vec<_>>().join("|");
    let directives = any(DIRECTIVES);
    let words = any(WORDS);
    [
        // The login of a URI, up to its last @; the query of a URL, which may be signed.
        (r#"(://)[^\s"'<>]*@"#.to_owned(), "[removed]@"),
        (r#"(https?://[^\s"'<>?]*\?)[^\s"'<>]+"#.to_owned(), REMOVED),
        // Directives, up to the end of the line.
        (format!(r"\b({directives})\b[^\n]*"), " [removed]"),
        (format!(r#"((?:^|\n)\s*{}\s+\S+)[^\n]*"#, any_case("user")), " [removed]"),
        // A name and its value, and a flag and its.
        (format!(r#"([\w.-]*(?:{words})[\w.-]*["']?\s*[=:]\s*)[^\n]+"#), REMOVED),
        (
            format!(r"((?:^|\s)--?[\w-]*(?:{words}|{}|{})\s)[^\n]+", any_case("pass"), any_case("auth")),
            REMOVED,
        ),
        (r"((?:^|\s)-a\s)[^\n]+".to_owned(), REMOVED),
        (r"(\bAUTH\s)[^\n]+".to_owned(), REMOVED),
        // Passwords and hashes in ACL rules.
        (r#"(["'])[<>][^"'\n]+"#.to_owned(), REMOVED),
        (r#"(^|\s)[<>]+[^\s"'<>][^\s"']*"#.to_owned(), REMOVED),
        (r"([#!])[0-9a-f]{64}".to_owned(), REMOVED),
    ]
    .into_iter()
    .map(|(pattern, with)| {
        (Regex::new(&pattern).expect("the patterns are constant, and a test builds them"), with)
    })
    .collect()
}

/// A word in capitals, or not: redis.conf does not tell them apart.
fn any_case(word: &str) -> String {
    let letter = |letter: char| match letter {
        'a'..='z' => format!("[{letter}{}]", letter.to_ascii_uppercase()),
        letter => regex::escape(&letter.to_string()),
    };
    word.chars().map(letter).collect()
}

/// What stands in place of what was removed.
const REMOVED: &str = "[removed]";
/// In the names of fields, flags and variables.
const WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "requirepass",
    "masterauth",
    "primaryauth",
    "token",
    "credential",
    "api_key",
    "apikey",
    "api-key",
    "_auth",
    "-pass",
    "_pass",
    "secret_key",
    "access_key",
    "private_key",
    "privatekey",
];
/// Directives of redis.conf and of Sentinel with a secret among their values. Renamed commands are known to
/// those who may use them, and modules get their passwords as arguments.
const DIRECTIVES: &[&str] = &[
    "requirepass",
    "masterauth",
    "primaryauth",
    "masteruser",
    "primaryuser",
    "tls-key-file-pass",
    "tls-client-key-file-pass",
    "auth-pass",
    "auth-user",
    "sentinel-pass",
    "sentinel-user",
    "rename-command",
    "loadmodule",
];
/// Of the operator's manifests and of the groups it makes.
const OWN_CONTAINERS: &[&str] =
    &["redis", "exporter", SET_ASIDE, "redis-operator", "sentinel", "redis-exporter"];
/// What the operator's own containers are given in plain.
const OWN_VARIABLES: &[&str] = &[
    "REDIS_ADDR",
    "REDIS_ALIAS",
    "REDIS_EXPORTER_SKIP_TLS_VERIFICATION",
    "REDIS_EXPORTER_TLS_CLIENT_CERT_FILE",
    "REDIS_EXPORTER_TLS_CLIENT_KEY_FILE",
    "WATCH_NAMESPACE",
    "OPERATOR_IMAGE",
    "RUST_LOG",
    "XDG_CACHE_HOME",
];
/// What stays of other containers.
const OF_CONTAINERS: &[&str] = &[
    "name",
    "image",
    "imagePullPolicy",
    "resources",
    "ports",
    "volumeMounts",
    "securityContext",
    "restartPolicy",
    "env",
    "envFrom",
    "terminationMessagePolicy",
];
/// In the names of annotations that Kubernetes and the operator write.
const ANNOTATIONS: &[&str] =
    &["kubernetes.io/", "k8s.amaiz.com/", "k8s.io/", "meta.helm.sh/", "prometheus.io/"];
/// The whole manifest as somebody applied it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Keys of a Secret that clients are told, and certificates.
const PUBLIC_KEYS: &[&str] =
    &["type", "provider", "host", "port", "username", "certificates", "ca.crt", "tls.crt", "namespace"];
/// Shorter ones stand in too many words; a name that speaks of them gives them away, and is looked for.
const SECRET_BYTES_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_keeps_what_is_harmless_and_loses_what_is_secret() {
        let redactor = Redactor::new([]);
        for same in [
            "redis-cart-0 is dead: connection refused, and redis-cart-1 (offset 12) is eligible",
            "WRONGPASS invalid username-password pair or user is disabled",
            "NOAUTH Authentication required",
            "lag 3 < 5 -> eligible",
            "maxmemory 100mb\nsave 900 1",
            "https://policies.example/v1/policy.wasm",
        ] {
            assert_eq!(redactor.text(same), same);
        }
        for (text, expected) in [
            ("redis://app:p@ss/w@host:6379/0", "redis://[removed]@host:6379/0"),
            ("https://host/x?sig=1&y=2 next", "https://host/x?[removed] next"),
            ("RequirePass \"a b\"\nport 1", "RequirePass [removed]\nport 1"),
            (">>> 'masterauth x'", ">>> 'masterauth [removed]"),
            ("user app on >x ~* +@all", "user app [removed]"),
            ("ACL SETUSER app on >x ~*", "ACL SETUSER app on [removed] ~*"),
            ("\"on\" \">a b\" \"~*\"", "\"on\" \"[removed]\" \"~*\""),
            ("redis-cli -a x PING", "redis-cli -a [removed]"),
            ("--pass x", "--pass [removed]"),
            ("REDISCLI_AUTH=x redis-cli", "REDISCLI_AUTH=[removed]"),
            ("MY_TOKEN: x", "MY_TOKEN: [removed]"),
            ("AUTH default x", "AUTH [removed]"),
        ] {
            assert_eq!(redactor.text(text), expected, "{text}");
        }
    }

    #[test]
    fn the_values_of_a_secret_are_found_in_every_form() {
        let value = "p\"ä %/word";
        let secret = json!({ "data": { "password": BASE64_STANDARD.encode(value), "port": BASE64_STANDARD.encode("6379") } });
        let redactor = Redactor::new([&secret]);
        for form in forms(value) {
            assert_eq!(redactor.text(&format!("a {form} b")), "a [removed] b");
        }
        assert_eq!(redactor.text("port 6379"), "port 6379", "clients are told");
    }

    #[test]
    fn what_the_operator_made_stays_readable() {
        let object = json!({
            "kind": "StatefulSet",
            "metadata": {
                "name": "redis-cart", "annotations": { "k8s.amaiz.com/config": "0123", "mine": "x" },
                "managedFields": []
            },
            "spec": { "containers": [
                { "name": "redis", "args": ["/config/redis.conf", "--replicaof"], "env": [
                    { "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                    { "name": "MINE", "value": "x" }
                ] },
                { "name": "mine", "image": "i", "args": ["x"], "livenessProbe": { "exec": { "command": ["x"] } } }
            ], "volumes": [{ "name": "v", "csi": { "volumeAttributes": { "key": "x" } } }, { "name": "s", "secret": { "secretName": "s" } }] }
        });
        let expected = json!({
            "kind": "StatefulSet",
            "metadata": { "name": "redis-cart", "annotations": { "k8s.amaiz.com/config": "0123", "mine": REMOVED } },
            "spec": { "containers": [
                { "name": "redis", "args": ["/config/redis.conf", "--replicaof"], "env": [
                    { "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                    { "name": "MINE", "value": REMOVED }
                ] },
                { "name": "mine", "image": "i", "args": [REMOVED], "livenessProbe": { "exec": REMOVED } }
            ], "volumes": [{ "name": "v", "csi": {} }, { "name": "s", "secret": { "secretName": "s" } }] }
        });
        assert_eq!(Redactor::new([]).object(&object), expected);
    }
}
