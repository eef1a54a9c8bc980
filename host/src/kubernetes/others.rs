//! Other operators of RedisFailover that look after resources now: seen by their Lease and by their
//! Deployment, wherever in the cluster. Must not write.
//!
//! Both are asked for, since either may be missing: a Deployment may run a copied image of another name, and
//! an operator without leader election has no Lease.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// What was found out lately: all resources share the answer.
#[derive(Default)]
pub struct Others(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// The last answer, and when.
    last: Option<(Instant, Result<Option<String>, String>)>,
    /// When each Lease was renewed, by its own word. One that is renewed between two looks is alive, whatever
    /// the clocks are.
    renewed: BTreeMap<String, Timestamp>,
}

impl Others {
    /// One that lives: what shows it, and the command that ends it. None: none was seen.
    ///
    /// # Errors
    /// Why that is not known, as one sentence.
    pub async fn living(&self, client: &Client) -> Result<Option<String>, String> {
        let mut seen = self.0.lock().await;
        if let Some((_, answer)) = seen.last.as_ref().filter(|(at, _)| at.elapsed() < KEPT) {
            return answer.clone();
        }
        let answer = seen.look(client).await;
        seen.last = Some((Instant::now(), answer.clone()));
        answer
    }
}

impl Seen {
    async fn look(&mut self, client: &Client) -> Result<Option<String>, String> {
        let of = |what: &str, error: &kube::Error| format!("list {what} of all namespaces: {error}");
        // Those of the nodes are many, and none of an operator.
        let elsewhere = ListParams::default().fields("metadata.namespace!=kube-node-lease");
        let leases = Api::<Lease>::all(client.clone()).list(&elsewhere).await;
        let leases = leases.map_err(|error| of("leases", &error))?.items;
        let deployments = Api::<Deployment>::all(client.clone()).list(&ListParams::default()).await;
        let deployments = deployments.map_err(|error| of("deployments", &error))?.items;
        let of_lease = leases.iter().filter(|lease| lease.name_any().starts_with(LEASE));
        let of_lease: Vec<&Lease> = of_lease.collect();
        let living = of_lease.iter().find_map(|lease| self.holds(lease, Timestamp::now()));
        self.renewed = of_lease.iter().filter_map(|lease| Some((key(lease), renewed(lease)?))).collect();
        Ok(living.or_else(|| deployments.iter().find_map(runs)))
    }

    /// A Lease that is held now.
    fn holds(&self, lease: &Lease, now: Timestamp) -> Option<String> {
        let spec = lease.spec.as_ref()?;
        let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
        let at = renewed(lease)?;
        let lasts_s = spec.lease_duration_seconds.map_or(LASTS_S, i64::from).max(LASTS_S);
        let is_recent = now.duration_since(at) < SignedDuration::from_secs(lasts_s);
        let is_renewed = self.renewed.get(&key(lease)).is_some_and(|before| *before != at);
        let (namespace, name) = (lease.namespace().unwrap_or_default(), lease.name_any());
        (is_recent || is_renewed).then(|| {
            format!(
                "Lease {namespace}/{name} is held by {holder}, another operator of RedisFailover: stop that one first \
                 (kubectl get deployments -n {namespace}; kubectl scale deployment NAME --replicas=0 -n {namespace})"
            )
        })
    }
}

/// A Deployment of another operator that is to run.
fn runs(deployment: &Deployment) -> Option<String> {
    let spec = deployment.spec.as_ref().filter(|spec| spec.replicas != Some(0))?;
    let containers = spec.template.spec.iter().flat_map(|pod| &pod.containers);
    let mut images = containers.filter_map(|container| container.image.as_deref());
    let image = images.find(|image| is_theirs(image))?;
    let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
    Some(format!(
        "Deployment {namespace}/{name} runs {image}, another operator of RedisFailover: stop it first (kubectl scale \
         deployment {name} --replicas=0 -n {namespace})"
    ))
}

/// The images of spotahome and freshworks, in whichever registry.
fn is_theirs(image: &str) -> bool {
    let path = image.split('@').next().unwrap_or_default();
    let mut parts = path.rsplit('/');
    let is_operator = parts.next().and_then(|last| last.split(':').next()) == Some("redis-operator");
    is_operator && parts.any(|part| part.starts_with("spotahome") || part.starts_with("freshworks"))
}

fn renewed(lease: &Lease) -> Option<Timestamp> {
    lease.spec.as_ref()?.renew_time.as_ref().map(|at| at.0)
}

fn key(lease: &Lease) -> String {
    format!("{}/{}", lease.namespace().unwrap_or_default(), lease.name_any())
}

/// The Leases of both: spotahome's has this name, freshworks' begins so.
const LEASE: &str = "redis-failover-lease";
/// As long as both hold it without a renewal.
const LASTS_S: i64 = 15;
/// Both renew it more often than twice within this.
const KEPT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(holder: &str, renewed: &str) -> Lease {
        let spec = json!({ "holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15 });
        let metadata = json!({ "name": "redis-failover-lease", "namespace": "ops" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    #[test]
    fn a_lease_is_alive_while_it_is_renewed_whatever_the_clocks_are() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let at = |time: &str| format!("2026-01-01T{time}.000000Z");
        let mut seen = Seen::default();
        let recent = seen.holds(&lease("old-1", &at("00:00:50")), now).unwrap();
        assert!(recent.contains("ops/redis-failover-lease") && recent.contains("old-1"), "{recent}");
        let stale = lease("old-1", &at("00:00:40"));
        assert_eq!(seen.holds(&stale, now), None, "its holder is gone");
        assert_eq!(seen.holds(&lease("", &at("00:00:59")), now), None, "it was given back");
        seen.renewed.insert("ops/redis-failover-lease".into(), "2026-01-01T00:00:38Z".parse().unwrap());
        assert!(
            seen.holds(&stale, now).is_some(),
            "its clock is late, and it was renewed since the last look"
        );
    }

    #[test]
    fn a_deployment_of_theirs_counts_while_it_is_to_run_and_ours_never() {
        let deployment = |image: &str, replicas: i32| -> Deployment {
            let pod = json!({ "spec": { "containers": [{ "name": "app", "image": image }] } });
            let spec = json!({ "replicas": replicas, "selector": {}, "template": pod });
            serde_json::from_value(json!({ "metadata": { "name": "old", "namespace": "ops" }, "spec": spec }))
                .unwrap()
        };
        let said = runs(&deployment("quay.io/spotahome/redis-operator:v1.2.4", 1)).unwrap();
        assert!(said.contains("kubectl scale deployment old --replicas=0 -n ops"), "{said}");
        for (image, replicas, expected) in [
            ("ghcr.io/freshworks-oss/redis-operator:v3.3.5", 2, true),
            ("mirror.example/spotahome/redis-operator@sha256:00", 1, true),
            ("quay.io/spotahome/redis-operator:v1.2.4", 0, false),
            ("redis-operator:0.4.0", 2, false),
            ("quay.io/spotahome/redis-exporter:1", 1, false),
        ] {
            assert_eq!(runs(&deployment(image, replicas)).is_some(), expected, "{image}");
        }
    }
}
