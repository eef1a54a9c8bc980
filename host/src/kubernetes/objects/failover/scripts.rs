//! The scripts in the Pods of Redis: whether an instance is ready, and what happens before it stops. They
//! log in with the password that is mounted now, not with the one from the container's start.

use super::config::{AUTH_FILE, AUTH_PATH, CONFIG_PATH, REPLICAS_FILE, auth_path};
use super::{Failover, Role, metadata};
use crate::kubernetes::crd::failover::Engine;
use crate::kubernetes::kinds::Inputs;
use crate::kubernetes::objects::pod::{ALIVE, READY, wait_for_handover};
use serde_json::{Value, json};

/// The ConfigMaps with the scripts.
pub fn config_maps(failover: &Failover, inputs: &Inputs<'_>) -> Vec<Value> {
    let ask = ask(failover, auth_path(inputs));
    let map = |name: &str, key: &str, script: String| {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(failover, Role::Redis, name, []),
            "data": { key: script },
        })
    };
    let ready = map(&readiness_map(failover), "ready.sh", format!("{ask}\n{READY}\n"));
    let own = failover.spec.redis.shutdown_config_map.is_none();
    let shutdown = own.then(|| {
        let wait = wait_for_handover(&format!("{CONFIG_PATH}/{REPLICAS_FILE}"));
        map(&shutdown_map(failover), "shutdown.sh", format!("{ask}\n{wait}\n"))
    });
    shutdown.into_iter().chain([ready]).collect()
}

/// The ConfigMap with `shutdown.sh`: the user's, or the operator's.
pub fn shutdown_map(failover: &Failover) -> String {
    let own = || format!("rfr-s-{}", failover.name());
    failover.spec.redis.shutdown_config_map.clone().unwrap_or_else(own)
}

/// The ConfigMap with `ready.sh`.
pub fn readiness_map(failover: &Failover) -> String {
    format!("rfr-readiness-{}", failover.name())
}

/// Any answer is a sign of life.
pub fn liveness(failover: &Failover) -> String {
    format!("{} {ALIVE}", ask(failover, AUTH_PATH))
}

/// Defines the function `r`, which prints what the server says of itself. `auth_path`: where the password is.
fn ask(failover: &Failover, auth_path: &str) -> String {
    let cli = match failover.engine() {
        Engine::Redis => "redis-cli",
        Engine::Valkey => "valkey-cli",
    };
    let login = if failover.spec.auth.secret_path.is_some() {
        format!("sed -n 's/^requirepass /AUTH /p' {auth_path}/{AUTH_FILE}; ")
    } else {
        String::new()
    };
    let port = failover.port();
    format!("r() {{ ({login}echo INFO replication; echo INFO persistence) | {cli} -p {port}; }};")
}
