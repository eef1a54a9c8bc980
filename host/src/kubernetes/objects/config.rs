//! The files that a Redis reads when it starts: its configuration, its master, its password.

use super::users::{AclUser, REPLICATION_PREFIX};
use super::{PORT, metadata};
use crate::kubernetes::crd::{FailoverSettings, Prefer, Redis};
use crate::kubernetes::kinds::Inputs;
use crate::kubernetes::quantity::bytes;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

pub const CONFIG_FILE: &str = "redis.conf";
/// How a replica logs in to its master. A file of its own: its change must not restart a Pod.
pub const MASTER_FILE: &str = "master.conf";
/// The desired number of instances. Its change must not restart a Pod, either.
pub const REPLICAS_FILE: &str = "replicas";
/// Key of the operator's Secret: the file with the passwords and the users.
pub const SECRET_FILE: &str = "auth.conf";
/// The certificate authorities that Redis trusts.
pub const AUTHORITIES_FILE: &str = "/tls/ca.crt";
/// Key of the operator's Secret: the password in `auth.conf`.
pub const PASSWORD_KEY: &str = "password";
/// Key of the operator's Secret: the former password.
pub const PREVIOUS_KEY: &str = "previous";

pub fn config_map(redis: &Redis, inputs: &Inputs<'_>) -> ConfigMap {
    // No master: a member with data that started as a replica would drop what that master lacks, before the
    // operator has compared the two. It starts as a replica of itself, and follows when that loses nothing.
    let mut master = String::new();
    if inputs.password.is_none() {
        master.extend(inputs.replication_user.map(|user| user_directives(user, "")));
    }
    let files = [
        (CONFIG_FILE, config(redis)),
        (MASTER_FILE, master),
        (REPLICAS_FILE, redis.spec.replicas.to_string()),
    ];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    ConfigMap { metadata: metadata(redis, ""), data: Some(files), ..ConfigMap::default() }
}

pub fn secret(redis: &Redis, inputs: &Inputs<'_>, password: &str) -> Secret {
    let data = secret_data(inputs, password).into_iter();
    Secret {
        metadata: metadata(redis, ""),
        data: Some(data.map(|(key, text)| (key, ByteString(text.into_bytes()))).collect()),
        ..Secret::default()
    }
}

/// The operator's Secret by its keys: a file for redis.conf, and the passwords themselves.
pub fn secret_data(inputs: &Inputs<'_>, password: &str) -> BTreeMap<String, String> {
    let quoted = quote(password);
    let mut text = format!("requirepass {quoted}\nmasterauth {quoted}\n");
    text.extend(inputs.replication_user.map(|user| user_directives(user, password)));
    text.extend(inputs.users.iter().map(AclUser::directive));
    let mut data =
        BTreeMap::from([(SECRET_FILE.to_owned(), text), (PASSWORD_KEY.to_owned(), password.to_owned())]);
    data.extend(inputs.previous.map(|previous| (PREVIOUS_KEY.to_owned(), previous.to_owned())));
    data
}

/// The ACL user with which the instances of this group, and of no other, log in to their master. An address
/// of the former master may belong to another group by now: a replica that followed it without such a user
/// would replace all its data. None: the user's own directives rule it out.
pub fn replication_user(redis: &Redis) -> Option<String> {
    let is_excluded = redis
        .spec
        .config
        .keys()
        .any(|name| ["aclfile", "masteruser"].contains(&name.to_ascii_lowercase().as_str()));
    redis.uid().filter(|_| !is_excluded).map(|uid| format!("{REPLICATION_PREFIX}{uid}"))
}

/// Directives that create the replication user and log in as it. Not in redis.conf, because a Redis without
/// ACLs (before 6) would not start with them.
pub fn user_directives(user: &str, password: &str) -> String {
    let (secret, word) = if password.is_empty() {
        ("nopass".to_owned(), user.to_owned())
    } else {
        (quote(&format!(">{password}")), quote(password))
    };
    format!("user {user} on {secret} {}\nmasteruser {user}\nmasterauth {word}\n", REPLICATES.join(" "))
}

/// ACL rules for the commands that a replica sends to its master.
pub const REPLICATES: &[&str] = &["+psync", "+sync", "+replconf", "+ping"];

/// The directives that CONFIG SET can change.
pub fn live_directives(redis: &Redis) -> BTreeMap<String, String> {
    let of_the_user = redis
        .spec
        .config
        .iter()
        .filter(|(name, _)| !is_read_at_start(name))
        .map(|(name, value)| (name.clone(), unquoted(value)));
    of_the_user.chain(own_fence(redis)).chain(client_certificates(redis)).chain(maxmemory(redis)).collect()
}

/// The names of the directives that the resource asks for: one that leaves them needs a restart.
pub fn directive_names(redis: &Redis) -> BTreeSet<String> {
    redis.spec.config.keys().cloned().chain(maxmemory(redis).map(|(name, _)| name)).collect()
}

/// The share of the memory limit that Redis may fill with data, in bytes.
fn maxmemory(redis: &Redis) -> Option<(String, String)> {
    const DIRECTIVE: &str = "maxmemory";
    let settings = &redis.spec.redis;
    let is_set = redis.spec.config.keys().any(|name| name.eq_ignore_ascii_case(DIRECTIVE));
    let percent = settings.maxmemory_percent.filter(|_| !is_set)?;
    let limit = settings.resources.as_ref()?.limits.as_ref()?.get("memory")?;
    // In this order no limit is too large, and the error is below a hundred bytes.
    let share = bytes(&limit.0)? / 100 * u64::from(percent);
    Some((DIRECTIVE.into(), share.to_string()))
}

/// Whether clients must present a certificate.
fn client_certificates(redis: &Redis) -> Option<(String, String)> {
    redis.spec.tls.as_ref().map(|tls| {
        ("tls-auth-clients".to_owned(), if tls.client_certificates { "yes" } else { "no" }.to_owned())
    })
}

/// [`fence`], without what the user sets.
fn own_fence(redis: &Redis) -> BTreeMap<String, String> {
    let mut own = fence(&redis.spec.failover, redis.spec.replicas);
    own.retain(|name, _| !redis.spec.config.contains_key(name));
    own
}

/// The directives with which a master fences itself. In a group of two, a master must not stop when its only
/// replica does.
pub fn fence(failover: &FailoverSettings, replicas: i32) -> BTreeMap<String, String> {
    // As the policy and the guard count: one more than may be on the small side of a cut.
    let of_majority = (replicas.saturating_sub(1) / 2).max(1);
    let is_consistent = failover.prefer == Prefer::Consistency;
    let needed = if is_consistent { of_majority } else { i32::from(failover.self_fence && replicas >= 3) };
    let both = [
        ("min-replicas-to-write", needed.to_string()),
        ("min-replicas-max-lag", failover.self_fence_lag_seconds.to_string()),
    ];
    both.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The directives that Redis reads only at its start: changing one replaces the Pods.
pub fn start_directives(redis: &Redis) -> BTreeMap<&str, &str> {
    redis
        .spec
        .config
        .iter()
        .filter(|(name, _)| is_read_at_start(name))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// Whether CONFIG SET cannot change a directive.
pub fn is_read_at_start(directive: &str) -> bool {
    let directive = directive.to_ascii_lowercase();
    READ_AT_START.contains(&directive.as_str())
}

/// The value as CONFIG SET expects it: one argument, without the quotes of redis.conf.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|inner| !inner.contains(['"', '\\']));
    inner.unwrap_or(value).to_owned()
}

/// Immutable in Redis 6 to 8 and Valkey, or known in redis.conf only (`config.c`).
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

/// redis.conf, without what a failover changes. The user's directives come last, sorted by name.
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
    // The heartbeat that distinguishes a silent master from a cut-off operator while the group is idle, and
    // the wait for further replicas before a full synchronization starts.
    for (name, value) in [("repl-ping-replica-period", "1"), ("repl-diskless-sync-delay", "1")] {
        if !spec.config.contains_key(name) {
            lines.push(format!("{name} {value}"));
        }
    }
    lines.extend(
        own_fence(redis)
            .into_iter()
            .chain(client_certificates(redis))
            .chain(maxmemory(redis))
            .map(|(name, value)| format!("{name} {value}")),
    );
    if spec.password.is_some() {
        lines.push(format!("include /secret/{SECRET_FILE}"));
    }
    lines.extend(spec.config.iter().map(|(name, value)| match value.trim() {
        "" => format!("{name} \"\""),
        // The schema refuses it. A value stored under an older schema must not become a directive of its own.
        value if value.contains(char::is_control) => format!("{name} {}", quote(value)),
        value => format!("{name} {value}"),
    }));
    lines.join("\n") + "\n"
}

/// Quoted for redis.conf: a password may contain any byte.
pub fn quote(text: &str) -> String {
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
