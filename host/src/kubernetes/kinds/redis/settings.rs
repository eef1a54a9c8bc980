//! A Redis resource as settings: what its spec asks for, and what its status says. The only translation from
//! a Redis resource to a policy's input.

use crate::contract::{Group, Topology};
use crate::kubernetes::crd::Redis;
use crate::kubernetes::kinds::recorded::{preference, recorded};
use crate::kubernetes::kinds::{EndpointSettings, Settings};
use crate::kubernetes::objects::{
    PORT, REDIS, claim_settings, directive_names, live_directives, master_service, replication_user,
    sentinel_service,
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

/// Spec and status of a resource as settings.
pub fn settings(redis: &Redis, now: Timestamp) -> Settings {
    let spec = &redis.spec;
    Settings {
        group: group(redis),
        replicas: if spec.hibernates() { 0 } else { spec.replicas },
        family: &REDIS,
        port: PORT as u16,
        marks_eviction: false,
        keeps_master_pod: false,
        has_directives_file: true,
        directive_names: directive_names(redis),
        live_directives: live_directives(redis),
        replication_user: replication_user(redis),
        claim: claim_settings(redis),
        switchover: spec.switchover.clone(),
        adoption: None,
        master_service: Some(master_service(redis)),
        endpoint: endpoint(redis),
        recorded: redis
            .status
            .as_ref()
            .map(|status| recorded(status, json!(status), now))
            .unwrap_or_default(),
    }
}

fn endpoint(redis: &Redis) -> Option<EndpointSettings> {
    let endpoint = redis.spec.sentinel_endpoint.as_ref()?;
    Some(EndpointSettings {
        service: sentinel_service(redis),
        master_name: endpoint.master_name.clone(),
        user: endpoint.user.clone(),
        has_tls: endpoint.tls.unwrap_or(redis.spec.tls.is_some()),
        hostnames: endpoint.hostnames,
        allow_failover: endpoint.allow_failover,
        external: endpoint.external.as_ref().map(|external| external.host.clone()),
    })
}

fn group(redis: &Redis) -> Group {
    let (spec, failover) = (&redis.spec, &redis.spec.failover);
    let (prefer, self_fence_lag_s) = preference(failover);
    Group {
        namespace: redis.namespace().unwrap_or_default(),
        name: redis.name_any(),
        topology: Topology::Replication,
        members_desired: u16::try_from(spec.replicas).unwrap_or(u16::MAX),
        members_min: failover.min_size,
        prefer,
        // The Pods end one by one, and none of them is lost.
        paused: spec.paused || spec.hibernates(),
        hang_limit_ms: failover.down_after_milliseconds,
        self_fence_lag_s,
        sentinel: None,
        cluster: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Evidence;
    use crate::kubernetes::crd::parse;
    use serde_json::Value;

    fn redis(spec: &Value, status: &Value) -> Redis {
        let mut whole = json!({ "replicas": 3, "redis": { "image": "redis:7" } });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let metadata = json!({ "name": "example", "namespace": "shop" });
        let object = json!({
            "apiVersion": "k8s.amaiz.com/v1alpha1", "kind": "Redis",
            "metadata": metadata, "spec": whole, "status": status
        });
        parse(object).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:01:00Z".parse().unwrap()
    }

    #[test]
    fn a_minimal_manifest_gets_the_defaults() {
        let settings = settings(&redis(&json!({}), &json!({})), now());
        let Group { namespace, name, members_desired, members_min, hang_limit_ms, self_fence_lag_s, .. } =
            settings.group;
        assert_eq!(
            (namespace.as_str(), name.as_str(), members_desired, members_min),
            ("shop", "example", 3, None)
        );
        assert_eq!((hang_limit_ms, self_fence_lag_s, settings.recorded.records), (1500, None, vec![]));
    }

    #[test]
    fn consistency_sets_the_self_fence() {
        let spec = json!({
            "failover": { "prefer": "Consistency", "selfFenceLagSeconds": 4, "downAfterMilliseconds": 300 }
        });
        let group = settings(&redis(&spec, &json!({})), now()).group;
        assert_eq!((group.self_fence_lag_s, group.hang_limit_ms), (Some(4), 300));
    }

    #[test]
    fn the_record_is_read_from_the_status_with_ages_as_of_now() {
        let status = json!({
            "published": {
                "name": "redis-example-1", "runId": "r", "replicationId": "i", "offset": 7, "epoch": 2,
                "at": "2026-01-01T00:00:00Z"
            },
            "lastFailover": {
                "at": "2026-01-01T00:00:30Z", "from": "redis-example-0", "to": "redis-example-1",
                "meantFor": "redis-example-1", "evidence": "Dead"
            }
        });
        let record = settings(&redis(&json!({}), &status), now()).recorded.records.remove(0);
        assert_eq!(
            (record.published.master.as_str(), record.published.epoch, record.published.age_us),
            ("redis-example-1", 2, 60_000_000)
        );
        let last = record.last_failover.unwrap();
        assert_eq!((last.age_us, last.evidence), (30_000_000, Evidence::Dead));
    }

    #[test]
    fn an_invalid_record_is_ignored_and_its_master_is_still_known() {
        let published = json!({
            "name": "redis-example-1", "runId": "r", "replicationId": "i", "offset": -7, "epoch": 2,
            "at": "yesterday"
        });
        let recorded = settings(&redis(&json!({}), &json!({ "published": published })), now()).recorded;
        assert_eq!((recorded.records, recorded.master.as_deref()), (vec![], Some("redis-example-1")));
    }
}
