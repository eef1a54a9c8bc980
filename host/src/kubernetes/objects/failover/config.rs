//! The files that a Redis of a RedisFailover reads when it starts, and what it gets while it runs.
//!
//! `customConfig` is not in the file: a line that Redis refuses would keep every instance from starting. An
//! instance gets the lines by CONFIG SET within a moment of its start.

use super::super::config::{fence, quote, secret_data, user_directives};
use super::super::is_read_at_start;
use super::{Failover, Role, metadata, name};
use crate::kubernetes::kinds::Inputs;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where the ConfigMap with redis.conf is mounted.
pub const CONFIG_PATH: &str = "/redis";
/// Where the Secret with the password is mounted.
pub const AUTH_PATH: &str = "/redis-auth";
/// The desired number of instances. Its change must not restart a Pod.
pub const REPLICAS_FILE: &str = "replicas";
/// How a replica logs in to its master.
const MASTER_FILE: &str = "master.conf";
/// The password, in a file that redis.conf includes.
pub const AUTH_FILE: &str = "auth.conf";

/// Prints the password, in a shell of an instance: from the mounted Secret, or from the file of a Pod that
/// another operator made. Fails where there is none.
pub const READ_PASSWORD: &str = "cat /redis-auth/password 2>/dev/null || sed -n \"s/^requirepass //p\" \
                                 /redis/auth.conf /redis/redis.conf 2>/dev/null | sed \"s/^[\\\"]//; s/[\\\"]$//; q\" | \
                                 grep .";

/// Where instances read their password: in the mounted Secret, or beside redis.conf, where the other operator
/// has it, while a Pod may run that mounts no such Secret.
pub fn auth_path(inputs: &Inputs<'_>) -> &'static str {
    if inputs.has_former_pods { CONFIG_PATH } else { AUTH_PATH }
}

/// The ConfigMap with redis.conf. No password is in it but that of Pods which another operator made.
pub fn config_map(failover: &Failover, inputs: &Inputs<'_>) -> Value {
    let user = inputs.replication_user.filter(|_| inputs.password.is_none());
    let master = user.map(|user| user_directives(user, "")).unwrap_or_default();
    let mut data = BTreeMap::from([
        ("redis.conf", config(failover, auth_path(inputs))),
        (MASTER_FILE, master),
        (REPLICAS_FILE, failover.replicas(Role::Redis).to_string()),
    ]);
    let password = inputs.password.filter(|_| inputs.has_former_pods);
    let auth = password.and_then(|password| secret_data(inputs, password).remove(AUTH_FILE));
    data.extend(auth.map(|auth| (AUTH_FILE, auth)));
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(failover, Role::Redis, &name(failover, Role::Redis), []),
        "data": data,
    })
}

/// The Secret with the password.
pub fn secret(failover: &Failover, inputs: &Inputs<'_>, password: &str) -> Value {
    let data = secret_data(inputs, password).into_iter();
    let data: BTreeMap<String, ByteString> =
        data.map(|(key, text)| (key, ByteString(text.into_bytes()))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(failover, Role::Redis, &name(failover, Role::Redis), []),
        "data": data,
    })
}

/// redis.conf. An instance starts as a replica of itself, or of the Redis outside that all follow: a master
/// that restarts empty can never wipe its replicas.
fn config(failover: &Failover, auth_path: &str) -> String {
    let port = failover.port();
    let (host, master_port) = match failover.bootstrap_node() {
        Some(node) => (node.host.as_str(), node.port.clone().unwrap_or_else(|| "6379".into())),
        None => ("127.0.0.1", port.to_string()),
    };
    let mut lines = vec![
        format!("replicaof {} {}", word(host), word(&master_port)),
        format!("port {port}"),
        "dir /data".into(),
        "protected-mode no".into(),
        "tcp-keepalive 60".into(),
        "save 900 1".into(),
        "save 300 10".into(),
        // The heartbeat that distinguishes a silent master from a cut-off operator while the group is idle,
        // and the wait for further replicas before a full synchronization starts.
        "repl-ping-replica-period 1".into(),
        "repl-diskless-sync-delay 1".into(),
    ];
    lines.extend(self_fence(failover).into_iter().map(|(name, value)| format!("{name} {value}")));
    if failover.version().is_none_or(|version| version >= VERSION_WITH_USERS) {
        // By which probes of the users' own log in.
        lines.push("user pinger -@all +ping on >pingpass".into());
    }
    lines
        .extend(failover.renames().map(|(from, to)| format!("rename-command {} {}", quote(from), quote(to))));
    if failover.spec.auth.secret_path.is_some() {
        lines.push(format!("include {auth_path}/{AUTH_FILE}"));
    }
    lines.push(format!("include {CONFIG_PATH}/{MASTER_FILE}"));
    lines.join("\n") + "\n"
}

/// The directives that running instances get.
pub fn live_directives(failover: &Failover) -> BTreeMap<String, String> {
    let priority = if failover.bootstrap_node().is_some() { "0" } else { "100" };
    let mut all = BTreeMap::from([("replica-priority".to_owned(), priority.to_owned())]);
    all.extend(self_fence(failover));
    all.extend(failover.directives());
    if failover.bootstrap_node().is_some() {
        all.insert("replica-priority".into(), "0".into());
    }
    debug_assert!(all.keys().all(|name| !is_read_at_start(name)), "{all:?}");
    all
}

/// The ACL user with which the instances of this group, and of no other, log in to their master. None: the
/// user's own directives rule it out, or the master is of another group.
pub fn replication_user(failover: &Failover) -> Option<String> {
    let is_excluded = failover.directives().contains_key("masteruser") || failover.bootstrap_node().is_some();
    failover.metadata.uid.as_ref().filter(|_| !is_excluded).map(|uid| format!("group-{uid}"))
}

fn self_fence(failover: &Failover) -> BTreeMap<String, String> {
    let mut own = fence(&failover.spec.failover, failover.replicas(Role::Redis));
    let directives = failover.directives();
    own.retain(|name, _| !directives.contains_key(name));
    own
}

/// One word of redis.conf, whatever was written.
fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
    if text.chars().all(is_plain) { text.to_owned() } else { quote(text) }
}

/// ACLs came with Redis 6.
const VERSION_WITH_USERS: u32 = 6;
