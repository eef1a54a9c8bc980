//! A container's environment and words, from its spec, ConfigMaps, Secrets and the Pod's own fields. Reads;
//! starts nothing.

use crate::cluster::config::{Config, or_empty};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};
use std::collections::BTreeMap;

/// Names and values.
pub(super) type Variables = BTreeMap<String, String>;

/// All variables of a container; a later one overrides an earlier one, as in Kubernetes.
pub(super) fn environment_of(
    container: &Container,
    pod: &Pod,
    address: &str,
    config: &Config,
) -> Result<Variables> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut variables = defaults();
    variables.insert("HOSTNAME".into(), pod.metadata.name.clone().unwrap_or_default());
    for source in container.env_from.iter().flatten() {
        let entries = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => or_empty(config.config_map(namespace, &map.name), map.optional)?,
            (None, Some(secret)) => or_empty(config.secret(namespace, &secret.name), secret.optional)?,
            (None, None) => bail!("an envFrom without a source"),
        };
        let prefix = source.prefix.as_deref().unwrap_or_default();
        variables.extend(entries.into_iter().map(|(key, value)| (format!("{prefix}{key}"), text(&value))));
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), &variables)),
            Some(source) => value_of(source, pod, address, config)?,
        };
        variables.extend(value.map(|value| (variable.name.clone(), value)));
    }
    Ok(variables)
}

/// What every container has.
pub(super) fn defaults() -> Variables {
    DEFAULTS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// `$(NAME)` replaced by its value, where there is one; `$$` is a dollar.
pub(super) fn expand(input: &str, variables: &Variables) -> String {
    let mut output = String::new();
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        output.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let named = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match named.and_then(|(name, tail)| Some((variables.get(name)?, tail))) {
            Some((value, tail)) => {
                output.push_str(value);
                rest = tail;
            }
            None => {
                output.push('$');
                rest = after.strip_prefix('$').unwrap_or(after);
            }
        }
    }
    output + rest
}

/// A field of the Pod, as the downward API names it. Empty when it is not set.
pub(super) fn field_of(pod: &Pod, address: &str, path: &str) -> Result<String> {
    let (meta, spec) = (&pod.metadata, pod.spec.as_ref());
    let entry = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key)).cloned()
    };
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        return match map {
            "metadata.labels" => Ok(entry(&meta.labels, key).unwrap_or_default()),
            "metadata.annotations" => Ok(entry(&meta.annotations, key).unwrap_or_default()),
            _ => bail!("no field {path} here"),
        };
    }
    let all = |map: &Option<BTreeMap<String, String>>| {
        map.iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
    };
    let value = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => Some(all(&meta.labels)),
        "metadata.annotations" => Some(all(&meta.annotations)),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" | "status.podIPs" => Some(address.to_owned()),
        "status.hostIP" | "status.hostIPs" => pod.status.as_ref().and_then(|status| status.host_ip.clone()),
        _ => bail!("no field {path} here"),
    };
    Ok(value.unwrap_or_default())
}

/// None: optional, and missing.
fn value_of(source: &EnvVarSource, pod: &Pod, address: &str, config: &Config) -> Result<Option<String>> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let (entries, kind, name, key, is_optional) =
        match (&source.field_ref, &source.config_map_key_ref, &source.secret_key_ref) {
            (Some(field), ..) => return field_of(pod, address, &field.field_path).map(Some),
            (None, Some(map), _) => {
                (config.config_map(namespace, &map.name), "ConfigMap", &map.name, &map.key, map.optional)
            }
            (None, None, Some(secret)) => {
                (config.secret(namespace, &secret.name), "Secret", &secret.name, &secret.key, secret.optional)
            }
            (None, None, None) => bail!("resourceFieldRef is not served here"),
        };
    match or_empty(entries, is_optional)?.get(key) {
        None if is_optional == Some(true) => Ok(None),
        value => value
            .map(|value| Some(text(value)))
            .with_context(|| format!("couldn't find key {key} in {kind} {namespace}/{name}")),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A Service's address is not routed here: the API is called where it listens.
const DEFAULTS: &[(&str, &str)] = &[
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("KUBERNETES_SERVICE_HOST", "10.77.0.1"),
    ("KUBERNETES_SERVICE_PORT", "6443"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_replaced_and_what_is_none_stays() {
        let variables = Variables::from([("A".into(), "1".into())]);
        assert_eq!(expand("x$(A)$(B)$$(A)$y", &variables), "x1$(B)$(A)$y");
    }
}
