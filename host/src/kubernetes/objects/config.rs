//! What a Redis reads when it starts: its configuration, whom it follows, its password.

use super::{PORT, Wanted, metadata};
use crate::kubernetes::crd::{Prefer, Redis};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use std::collections::BTreeMap;

pub const CONFIG_FILE: &str = "redis.conf";
/// Beside the configuration, because it changes with every failover and restarts nobody.
pub const MASTER_FILE: &str = "master.conf";
/// How many are wanted: changes, and restarts nobody, either.
pub const REPLICAS_FILE: &str = "replicas";
pub const SECRET_FILE: &str = "auth.conf";
/// Whom a Redis with TLS trusts.
pub const AUTHORITIES_FILE: &str = "/tls/ca.crt";
/// In our Secret: what `auth.conf` says.
pub const PASSWORD_KEY: &str = "password";
/// And what it said before.
pub const PREVIOUS_KEY: &str = "previous";

pub fn config_map(wanted: &Wanted<'_>) -> ConfigMap {
    let mut master = wanted.master.map(|host| format!("replicaof {host} {PORT}\n")).unwrap_or_default();
    if wanted.password.is_none() {
        master.extend(wanted.replication_user.map(|user| introduction(user, "")));
    }
    let files = [
        (CONFIG_FILE, config(wanted.redis)),
        (MASTER_FILE, master),
        (REPLICAS_FILE, wanted.redis.spec.replicas.to_string()),
    ];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    ConfigMap { metadata: metadata(wanted.redis, ""), data: Some(files), ..ConfigMap::default() }
}

pub fn secret(wanted: &Wanted<'_>, password: &str) -> Secret {
    let quoted = quote(password);
    let mut text = format!("requirepass {quoted}\nmasterauth {quoted}\n");
    text.extend(wanted.replication_user.map(|user| introduction(user, password)));
    let mut data =
        BTreeMap::from([(SECRET_FILE.to_owned(), text), (PASSWORD_KEY.to_owned(), password.to_owned())]);
    data.extend(wanted.previous.map(|previous| (PREVIOUS_KEY.to_owned(), previous.to_owned())));
    Secret {
        metadata: metadata(wanted.redis, ""),
        data: Some(data.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))).collect()),
        ..Secret::default()
    }
}

/// As whom the instances of a resource log in to their master, and nobody else does: an address that was
/// their master's may be another group's by now, and whoever follows that copies it over all that they have.
/// None: the user's own directives leave no room for it.
pub fn replication_user(redis: &Redis) -> Option<String> {
    let is_theirs = redis
        .spec
        .config
        .keys()
        .any(|name| ["aclfile", "masteruser"].contains(&name.to_ascii_lowercase().as_str()));
    redis.uid().filter(|_| !is_theirs).map(|uid| format!("group-{uid}"))
}

/// Lets that user in and logs in as it. Not a part of redis.conf, since a Redis from before ACLs would not
/// start with it.
fn introduction(user: &str, password: &str) -> String {
    let (secret, word) = if password.is_empty() {
        ("nopass".to_owned(), user.to_owned())
    } else {
        (quote(&format!(">{password}")), quote(password))
    };
    format!("user {user} on {secret} {}\nmasteruser {user}\nmasterauth {word}\n", REPLICATES.join(" "))
}

/// What a replica asks of its master, as rules of an ACL.
pub const REPLICATES: &[&str] = &["+psync", "+sync", "+replconf", "+ping"];

/// The directives that a running Redis can be given.
pub fn live_directives(redis: &Redis) -> BTreeMap<String, String> {
    let of_the_user = redis
        .spec
        .config
        .iter()
        .filter(|(name, _)| !is_read_at_start(name))
        .map(|(name, value)| (name.clone(), unquoted(value)));
    of_the_user.chain(fence(redis)).chain(client_certificates(redis)).collect()
}

/// Whether clients have to show a certificate.
fn client_certificates(redis: &Redis) -> Option<(String, String)> {
    redis.spec.tls.as_ref().map(|tls| {
        ("tls-auth-clients".to_owned(), if tls.client_certificates { "yes" } else { "no" }.to_owned())
    })
}

/// How a master fences itself, where the user does not say otherwise. One of two must not stop when the other
/// one does.
fn fence(redis: &Redis) -> BTreeMap<String, String> {
    let (spec, failover) = (&redis.spec, &redis.spec.failover);
    let replicas = u8::from(failover.self_fence && spec.replicas >= 3)
        .max(u8::from(failover.prefer == Prefer::Consistency));
    let both = [
        ("min-replicas-to-write", replicas.to_string()),
        ("min-replicas-max-lag", failover.self_fence_lag_seconds.to_string()),
    ];
    both.into_iter()
        .filter(|(name, _)| !spec.config.contains_key(*name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Those that a Redis reads when it starts, and never again: a change of them is a change of the Pods.
pub fn start_directives(redis: &Redis) -> BTreeMap<&str, &str> {
    redis
        .spec
        .config
        .iter()
        .filter(|(name, _)| is_read_at_start(name))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

fn is_read_at_start(directive: &str) -> bool {
    let directive = directive.to_ascii_lowercase();
    READ_AT_START.contains(&directive.as_str())
}

/// As CONFIG SET takes it: one argument, without the quotes of a file.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|inner| !inner.contains(['"', '\\']));
    inner.unwrap_or(value).to_owned()
}

/// What Redis 6 to 8 and Valkey mark as immutable, or know in redis.conf only (`config.c`).
const READ_AT_START: &[&str] = &[
    "aclfile",
    "always-show-logo",
    "aof-rewrite-cpulist",
    "aof_rewrite_cpulist",
    "appenddirname",
    "appendfilename",
    "bgsave-cpulist",
    "bgsave_cpulist",
    "bio-cpulist",
    "bio_cpulist",
    "cluster-config-file",
    "cluster-enabled",
    "cluster-port",
    "databases",
    "disable-thp",
    "enable-debug-command",
    "enable-module-command",
    "enable-protected-configs",
    "io-threads",
    "io-threads-do-reads",
    "loadmodule",
    "logfile",
    "pidfile",
    "rdbchecksum",
    "sentinel",
    "server-cpulist",
    "server_cpulist",
    "set-proc-title",
    "socket-mark-id",
    "supervised",
    "syslog-enabled",
    "syslog-facility",
    "syslog-ident",
    "tcp-backlog",
    "unixsocket",
    "unixsocketperm",
    "use-exit-on-panic",
    "user",
];

/// redis.conf, without what a failover changes. The user's directives come last, in the order of their names.
pub fn config(redis: &Redis) -> String {
    let spec = &redis.spec;
    let mut lines = vec!["dir /data".to_owned(), "protected-mode no".to_owned()];
    match &spec.tls {
        None => lines.push(format!("port {PORT}")),
        Some(_) => lines.extend([
            "port 0".to_owned(),
            format!("tls-port {PORT}"),
            "tls-cert-file /tls/tls.crt".to_owned(),
            "tls-key-file /tls/tls.key".to_owned(),
            format!("tls-ca-cert-file {AUTHORITIES_FILE}"),
            "tls-replication yes".to_owned(),
        ]),
    }
    // How fast a silent master is told from a silent operator on an idle group.
    // And how soon a copy starts, beside how many share it.
    for (name, value) in [("repl-ping-replica-period", "1"), ("repl-diskless-sync-delay", "1")] {
        if !spec.config.contains_key(name) {
            lines.push(format!("{name} {value}"));
        }
    }
    lines.extend(
        fence(redis)
            .into_iter()
            .chain(client_certificates(redis))
            .map(|(name, value)| format!("{name} {value}")),
    );
    if spec.password.is_some() {
        lines.push(format!("include /secret/{SECRET_FILE}"));
    }
    lines.extend(spec.config.iter().map(|(name, value)| match value.trim() {
        "" => format!("{name} \"\""),
        // The definition refuses it; one that was stored under an older definition must not become a
        // directive of its own.
        value if value.contains(char::is_control) => format!("{name} {}", quote(value)),
        value => format!("{name} {value}"),
    }));
    lines.join("\n") + "\n"
}

/// As redis.conf quotes: any byte may stand in a password.
fn quote(text: &str) -> String {
    let escaped: String = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect();
    format!("\"{escaped}\"")
}
