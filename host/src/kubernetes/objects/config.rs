//! What a Redis reads when it starts: its configuration, whom it follows, its password.

use super::{PORT, Wanted, metadata};
use crate::kubernetes::crd::Redis;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use std::collections::BTreeMap;

pub const CONFIG_FILE: &str = "redis.conf";
/// Beside the configuration, because it changes with every failover and restarts nobody.
pub const MASTER_FILE: &str = "master.conf";
pub const SECRET_FILE: &str = "auth.conf";

pub fn config_map(wanted: &Wanted<'_>) -> ConfigMap {
    let master = wanted.master.map(|host| format!("replicaof {host} {PORT}\n")).unwrap_or_default();
    let files = BTreeMap::from([(CONFIG_FILE.to_owned(), config(wanted.redis)), (MASTER_FILE.to_owned(), master)]);
    ConfigMap { metadata: metadata(wanted.redis, ""), data: Some(files), ..ConfigMap::default() }
}

pub fn secret(redis: &Redis, password: &str) -> Secret {
    let quoted = quote(password);
    let text = format!("requirepass {quoted}\nmasterauth {quoted}\n");
    Secret {
        metadata: metadata(redis, ""),
        data: Some(BTreeMap::from([(SECRET_FILE.to_owned(), ByteString(text.into_bytes()))])),
        ..Secret::default()
    }
}

/// redis.conf, without what a failover changes. The user's directives come last, in the order of their names.
pub fn config(redis: &Redis) -> String {
    let spec = &redis.spec;
    let mut lines = vec!["dir /data".to_owned(), format!("port {PORT}"), "protected-mode no".to_owned()];
    // How fast a silent master is told from a silent operator on an idle group.
    // And how soon a copy starts, beside how many share it.
    for (name, value) in [("repl-ping-replica-period", 1), ("repl-diskless-sync-delay", 1)] {
        if !spec.config.contains_key(name) {
            lines.push(format!("{name} {value}"));
        }
    }
    if spec.password.is_some() {
        lines.push(format!("include /secret/{SECRET_FILE}"));
    }
    lines.extend(spec.config.iter().map(|(name, value)| if value.is_empty() { format!("{name} \"\"") } else { format!("{name} {value}") }));
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
