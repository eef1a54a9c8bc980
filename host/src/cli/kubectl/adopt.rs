//! `kubectl redis adopt NAME --dry-run`: what the operator would do about a RedisFailover whose objects
//! another operator made, from the API alone. Changes nothing.

use super::cluster::{Cluster, refused, sentence};
use crate::cli::{Exit, print};
use crate::kubernetes::crd::failover::{Failover, RedisFailover, Role};
use crate::kubernetes::kinds::{AdoptionState, Inputs};
use crate::kubernetes::objects::{MARK_ANNOTATION, failover};
use crate::kubernetes::others::Others;
use crate::kubernetes::ownership::is_owned_by;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Show what the adoption of a RedisFailover would do, whose objects another operator made
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  kubectl redis adopt example --dry-run\n\nThe operator adopts by itself once no other \
                  operator of RedisFailover lives; spec.paused holds it back."
)]
pub struct Args {
    /// The RedisFailover
    name: String,
    /// Only show it: the operator itself adopts
    #[arg(long, required = true)]
    dry_run: bool,
}

/// An object as it should be, beside the one that is there.
struct Pair {
    wanted: Value,
    there: Option<DynamicObject>,
}

pub async fn run(args: &Args, cluster: &Cluster) -> Result<u8, Exit> {
    let Args { name, dry_run: _ } = args;
    let (client, namespace) = (cluster.client(), &cluster.namespace);
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<RedisFailover>(&()));
    let found = api.get_opt(name).await;
    let found = found.map_err(|error| refused("get redisfailovers.databases.spotahome.com", &error))?;
    let found = found.ok_or_else(|| {
        Exit::Input(format!(
            "no RedisFailover {name} of databases.spotahome.com in namespace {namespace}: kubectl get redisfailovers \
             -A lists all"
        ))
    })?;
    let uid = found.uid();
    let object = serde_json::to_value(found).map_err(|error| Exit::Failed(error.to_string()))?;
    let resource = Failover::read(object).map_err(Exit::Failed)?;
    let replicas = resource.replicas(Role::Redis);
    let inputs = Inputs { replicas, has_former_pods: true, ..Inputs::default() };
    let mut pairs = Vec::new();
    for wanted in failover::objects(&resource, &inputs).map_err(|error| Exit::Failed(error.to_string()))? {
        let there = there(client, namespace, &wanted).await?;
        pairs.push(Pair { wanted, there });
    }
    let other = Others::default().living(client).await;
    print(&text(&resource, &pairs, &other, uid.as_deref()))?;
    let is_held_up = !matches!(other, Ok(None)) || resource.is_paused();
    Ok(u8::from(is_held_up && resource.adoption().is_some_and(|is| is.state == AdoptionState::No)))
}

async fn there(client: &Client, namespace: &str, wanted: &Value) -> Result<Option<DynamicObject>, Exit> {
    let word = |pointer: &str| wanted.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = word("/apiVersion").split_once('/').unwrap_or(("", word("/apiVersion")));
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, word("/kind")));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let named = ListParams::default().fields(&format!("metadata.name={}", word("/metadata/name")));
    let verb = format!("list {}", kind.plural);
    let list = api.list(&named).await.map_err(|error| match &error {
        kube::Error::Api(_) => refused(&verb, &error),
        _ => Exit::Failed(format!("{verb}: {}", sentence(&error))),
    })?;
    Ok(list.items.into_iter().next())
}

fn text(
    resource: &Failover,
    pairs: &[Pair],
    other: &Result<Option<String>, String>,
    uid: Option<&str>,
) -> String {
    let (namespace, name) = (resource.namespace(), resource.name());
    let mut text = format!("RedisFailover {namespace}/{name}: ");
    let is_theirs =
        |there: &DynamicObject| is_owned_by(there, uid) && !there.annotations().contains_key(MARK_ANNOTATION);
    let foreign = pairs.iter().filter(|pair| pair.there.as_ref().is_some_and(is_theirs)).count();
    let state = resource.adoption().map_or(AdoptionState::No, |adoption| adoption.state);
    text += &match state {
        AdoptionState::No if foreign == 0 => {
            "nothing to adopt: no object of another operator is there\n".to_owned()
        }
        AdoptionState::No => format!("{foreign} objects of another operator would be adopted\n"),
        AdoptionState::Observing => "it is observed now, and adopted next\n".to_owned(),
        AdoptionState::Adopted { .. } => "it was adopted\n".to_owned(),
    };
    match other {
        Ok(None) => text += "other operators: none seen, by Lease or Deployment\n",
        Ok(Some(other)) => _ = writeln!(text, "held up: {other}"),
        Err(why) => _ = writeln!(text, "held up: whether another operator lives is not known: {why}"),
    }
    if resource.is_paused() && state == AdoptionState::No {
        text += "held up: spec.paused, a skip annotation or spec.bootstrapNode\n";
    }
    for pair in pairs {
        let word = |pointer: &str| pair.wanted.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, object) = (word("/kind"), word("/metadata/name"));
        _ = writeln!(text, "  {kind} {object}: {}", fate(pair, uid));
    }
    _ = writeln!(
        text,
        "mode: {:?}; no Pod is replaced until a part of spec changes that Pods are made from, or \
         spec.adoption.roll is true. To go back: kubectl patch redisfailover.databases.spotahome.com {name} \
         -n {namespace} --type merge -p '{}', then start the other operator",
        resource.mode(),
        json!({ "spec": { "paused": true } })
    );
    text
}

/// What becomes of an object.
fn fate(Pair { wanted, there }: &Pair, uid: Option<&str>) -> String {
    let Some(there) = there else { return "created".into() };
    if !is_owned_by(there, uid) {
        return "left alone: this resource does not own it; delete it, or rename the resource".into();
    }
    let kind = wanted["kind"].as_str().unwrap_or_default();
    match kind {
        "StatefulSet" | "Deployment" => "annotated; template and Pods stay as they are".into(),
        "ConfigMap" => {
            let keys = wanted["data"].as_object().into_iter().flatten();
            let is_other =
                |key: &str, value: &Value| there.data.pointer("/data").is_none_or(|data| data[key] != *value);
            let other: Vec<&str> =
                keys.filter(|(key, value)| is_other(key, value)).map(|(key, _)| key.as_str()).collect();
            match other.as_slice() {
                [] => "annotated; its content stays".into(),
                keys => format!("written: {}", keys.join(", ")),
            }
        }
        _ => "annotated, and made as this operator has it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> Failover {
        let metadata = json!({ "name": "cart", "namespace": "shop", "uid": "u" });
        let (api_version, kind) = ("databases.spotahome.com/v1", "RedisFailover");
        Failover::read(json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": {} }))
            .unwrap()
    }

    fn there(uid: &str, data: Value) -> DynamicObject {
        let owner = json!([{ "apiVersion": "v1", "kind": "RedisFailover", "name": "cart", "uid": uid }]);
        let metadata = json!({ "name": "rfr-s-cart", "ownerReferences": owner });
        serde_json::from_value(json!({ "metadata": metadata, "data": data })).unwrap()
    }

    #[test]
    fn each_object_has_its_fate_and_what_holds_it_up_is_said() {
        let wanted = json!({
            "kind": "ConfigMap", "metadata": { "name": "rfr-s-cart" }, "data": { "shutdown.sh": "new" }
        });
        let pair = |there| Pair { wanted: wanted.clone(), there };
        let theirs = || Some(there("u", json!({ "shutdown.sh": "old" })));
        assert_eq!(fate(&pair(None), Some("u")), "created");
        assert_eq!(fate(&pair(theirs()), Some("u")), "written: shutdown.sh");
        assert!(fate(&pair(Some(there("v", json!({})))), Some("u")).starts_with("left alone"));
        let same = Some(there("u", json!({ "shutdown.sh": "new" })));
        assert_eq!(fate(&pair(same), Some("u")), "annotated; its content stays");
        let said =
            text(&resource(), &[pair(theirs())], &Ok(Some("Deployment ops/old runs".into())), Some("u"));
        assert!(said.contains("1 objects of another operator would be adopted"), "{said}");
        assert!(said.contains("held up: Deployment ops/old runs"), "{said}");
        let nothing = text(&resource(), &[pair(None)], &Ok(None), Some("u"));
        assert!(nothing.contains("nothing to adopt"), "{nothing}");
    }
}
