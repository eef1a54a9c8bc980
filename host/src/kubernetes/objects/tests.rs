//! The objects of small resources.

use super::*;
use crate::kubernetes::crd::parse;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use sha2::{Digest, Sha256};

fn redis(spec: Value) -> Redis {
    let labels = json!({ "team": "cart", "redis": "other" });
    let metadata = json!({ "name": "example", "namespace": "shop", "uid": "u-1", "labels": labels });
    let object = json!({
        "apiVersion": "k8s.amaiz.com/v1alpha1", "kind": "Redis", "metadata": metadata, "spec": spec
    });
    parse(object).unwrap()
}

fn made(redis: &Redis, password: Option<&str>) -> Vec<Value> {
    objects(redis, &Inputs { replicas: redis.spec.replicas, password, ..Inputs::default() }).unwrap()
}

fn minimal() -> Redis {
    redis(json!({ "replicas": 3, "redis": { "image": "redis:7" } }))
}

#[test]
fn the_objects_of_amaizfinance_keep_their_names_and_a_service_and_a_binding_are_added() {
    let names: Vec<String> = made(&minimal(), Some("secret"))
        .iter()
        .map(|object| {
            format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        names,
        [
            "Secret redis-example",
            "ConfigMap redis-example",
            "Service redis-example",
            "Service redis-example-headless",
            "Service redis-example-master",
            "Service redis-example-replicas",
            "Secret redis-example-binding",
            "PodDisruptionBudget redis-example",
            "StatefulSet redis-example",
        ]
    );
}

#[test]
fn every_object_is_owned_and_selectors_use_our_label_alone() {
    for object in made(&minimal(), None) {
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "u-1");
        let labels = &object["metadata"]["labels"];
        assert_eq!((&labels["team"], &labels["redis"]), (&json!("cart"), &json!("example")));
        let selector =
            object.pointer("/spec/selector/matchLabels").or_else(|| object.pointer("/spec/selector"));
        if let Some(selector) = selector {
            assert_eq!((&selector["redis"], selector.get("team")), (&json!("example"), None));
        }
    }
}

#[test]
fn a_redis_starts_as_a_replica_of_itself_whatever_master_is_known() {
    assert_eq!(made(&minimal(), None).remove(0)["data"]["master.conf"], "");
    let set = made(&minimal(), None).pop().unwrap();
    let arguments = &set["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(
        *arguments,
        json!(["/config/redis.conf", "--replicaof", "$(POD_IP)", "6379", "--include", "/config/master.conf"])
    );
}

#[test]
fn instances_log_in_as_the_replication_user_once_every_instance_has_it() {
    let redis = minimal();
    let user = replication_user(&redis).unwrap();
    let made = |password| {
        let replication_user = Some(user.as_str());
        objects(&redis, &Inputs { replicas: 3, password, replication_user, ..Inputs::default() }).unwrap()
    };
    let text = made(None).remove(0)["data"]["master.conf"].clone();
    assert_eq!(
        text,
        "user group-u-1 on nopass +psync +sync +replconf +ping\nmasteruser group-u-1\nmasterauth group-u-1\n"
    );
    let secret: Secret = serde_json::from_value(made(Some("a b")).remove(0)).unwrap();
    let text = String::from_utf8(secret.data.unwrap()["auth.conf"].0.clone()).unwrap();
    let last =
        "user group-u-1 on \">a b\" +psync +sync +replconf +ping\nmasteruser group-u-1\nmasterauth \"a b\"\n";
    assert_eq!(text, format!("requirepass \"a b\"\nmasterauth \"a b\"\n{last}"));
    assert_eq!(made(Some("a b"))[1]["data"]["master.conf"], "");
}

#[test]
fn only_directives_read_at_the_start_change_the_pod_template() {
    let template = |redis: &Redis| made(redis, None).pop().unwrap()["spec"]["template"].clone();
    let with = |config| redis(json!({ "replicas": 3, "redis": { "image": "redis:7" }, "config": config }));
    assert_eq!(template(&minimal()), template(&with(json!({ "maxclients": "99" }))));
    assert_ne!(template(&minimal()), template(&with(json!({ "Databases": "99" }))));
    let live = live_directives(&with(json!({ "databases": "3", "save": "\"900 1\"" })));
    assert_eq!((live.get("save").map(String::as_str), live.get("databases")), (Some("900 1"), None));
}

#[test]
fn a_master_of_three_fences_itself_by_default_and_one_of_two_never_does() {
    let fenced = |spec: Value| {
        let mut whole = json!({ "replicas": 3, "redis": { "image": "redis:7" } });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let live = live_directives(&redis(whole));
        (live["min-replicas-to-write"].clone(), live["min-replicas-max-lag"].clone())
    };
    let directives = |replicas: &str, lag: &str| (replicas.to_owned(), lag.to_owned());
    assert_eq!(fenced(json!({})), directives("1", "10"));
    assert_eq!(fenced(json!({ "replicas": 2 })), directives("0", "10"));
    assert_eq!(fenced(json!({ "failover": { "selfFence": false } })), directives("0", "10"));
    assert_eq!(
        fenced(json!({ "replicas": 2, "failover": { "prefer": "Consistency", "selfFenceLagSeconds": 4 } })),
        directives("1", "4")
    );
    assert_eq!(fenced(json!({ "config": { "min-replicas-to-write": "2" } })), directives("2", "10"));
}

#[test]
fn with_tls_no_port_is_in_the_clear() {
    let secured =
        redis(json!({ "replicas": 3, "redis": { "image": "redis:7" }, "tls": { "secretName": "cert" } }));
    let objects = made(&secured, None);
    let config = objects[0]["data"]["redis.conf"].as_str().unwrap();
    assert!(config.contains("port 0\ntls-port 6379\n") && config.contains("tls-replication yes"), "{config}");
    let container = &objects.last().unwrap()["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"][2], "127.0.0.1");
    assert!(
        container["readinessProbe"]["exec"]["command"][2]
            .as_str()
            .unwrap()
            .contains("redis-cli --tls --cacert /tls/ca.crt")
    );
}

#[test]
fn directives_are_sorted_by_name_and_a_password_is_quoted() {
    let many = redis(json!({
        "replicas": 3,
        "redis": { "image": "redis:7" },
        "config": { "save": "", "maxclients": "99" },
        "password": { "secretKeyRef": { "name": "s", "key": "k" } }
    }));
    let objects = made(&many, Some("a \"b\\ ü"));
    let config = objects[1]["data"]["redis.conf"].as_str().unwrap();
    assert!(config.ends_with("include /secret/auth.conf\nmaxclients 99\nsave \"\"\n"), "{config}");
    let secret: Secret = serde_json::from_value(objects[0].clone()).unwrap();
    let text = String::from_utf8(secret.data.unwrap()["auth.conf"].0.clone()).unwrap();
    assert_eq!(text, "requirepass \"a \\\"b\\\\ \\xc3\\xbc\"\nmasterauth \"a \\\"b\\\\ \\xc3\\xbc\"\n");
}

#[test]
fn a_directive_stays_one_line_whatever_its_value() {
    let config = json!({ "save": "900 1\n", "maxmemory": "1mb\nport 7000" });
    let redis = redis(json!({ "replicas": 1, "redis": { "image": "redis:7" }, "config": config }));
    let text = config::config(&redis);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.ends_with(&[r#"maxmemory "1mb\x0aport 7000""#, "save 900 1"]), "{text}");
}

#[test]
fn data_is_in_memory_unless_a_claim_is_requested() {
    let set = made(&minimal(), None).pop().unwrap();
    assert_eq!(set["spec"].get("volumeClaimTemplates"), None);
    let claimed = redis(json!({
        "replicas": 3,
        "redis": { "image": "redis:7" },
        "dataVolumeClaimTemplate": {
            "metadata": { "name": "data" },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } }
        }
    }));
    let set = made(&claimed, None).pop().unwrap();
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"], "data");
    let mounts = set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    assert!(
        mounts.iter().any(|mount| mount["name"] == "data" && mount["mountPath"] == "/data"),
        "{mounts:?}"
    );
}

#[test]
fn pods_are_restricted_unless_the_resource_says_otherwise() {
    let contexts = |spec: Value| {
        let mut whole = json!({
            "replicas": 3, "redis": { "image": "redis:7" }, "exporter": { "image": "exporter:1" }
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let set = made(&redis(whole), None).pop().unwrap();
        let pod = set["spec"]["template"]["spec"].clone();
        assert_eq!(pod["containers"][1]["name"], "exporter");
        (pod["securityContext"].clone(), [0, 1].map(|at| pod["containers"][at]["securityContext"].clone()))
    };
    let restricted = json!({
        "runAsNonRoot": true, "runAsUser": 999, "runAsGroup": 999, "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": true,
        "seccompProfile": { "type": "RuntimeDefault" }
    });
    let (pod, containers) = contexts(json!({}));
    assert_eq!(pod, json!({ "fsGroup": 999, "fsGroupChangePolicy": "OnRootMismatch" }));
    assert_eq!(containers, [restricted.clone(), restricted.clone()]);

    // A container's own context is taken as it is, and changes no other.
    let own = json!({ "runAsUser": 0 });
    let (_, containers) = contexts(json!({ "redis": { "image": "redis:7", "securityContext": own } }));
    assert_eq!(containers, [own, restricted]);

    // The Pod's context says which user it is: one that is not root loses all capabilities.
    let (pod, containers) = contexts(json!({ "securityContext": { "runAsUser": 7777 } }));
    assert_eq!(pod, json!({ "runAsUser": 7777 }));
    assert_eq!(
        (&containers[0]["runAsUser"], &containers[0]["capabilities"]["drop"]),
        (&Value::Null, &json!(["ALL"]))
    );
    let (_, containers) = contexts(json!({ "securityContext": {} }));
    let of_the_image = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "seccompProfile": { "type": "RuntimeDefault" }
    });
    assert_eq!(containers[0], of_the_image);

    for (value, expected) in [("/var/log/redis.log", false), ("/data/redis.log", true), ("redis.log", true)] {
        let (_, containers) = contexts(json!({ "config": { "logfile": value } }));
        assert_eq!(containers[0]["readOnlyRootFilesystem"], expected, "{value}");
    }
}

#[test]
fn a_failover_slice_leads_where_the_master_service_does_and_keeps_its_owner() {
    let spec = json!({
        "replicas": 3,
        "redis": { "image": "redis:7" },
        "exporter": { "image": "exporter:1" },
        "service": { "annotations": { "a": "b" } }
    });
    let service = master_service(&redis(spec));
    let pod = |status: Value| {
        serde_json::from_value(json!({ "metadata": { "name": "redis-example-1" }, "status": status }))
            .unwrap()
    };
    assert_eq!(failover_slice(&service, &pod(json!({}))), None);
    let slice = json!(failover_slice(&service, &pod(json!({ "podIP": "10.0.0.7" }))));
    let metadata = json!({
        "name": "redis-example-master",
        "namespace": "shop",
        "labels": {
            "team": "cart",
            "redis": "example",
            "kubernetes.io/service-name": "redis-example-master",
            "endpointslice.kubernetes.io/managed-by": "redis-operator"
        },
        "ownerReferences": service.metadata.owner_references
    });
    assert_eq!(slice["metadata"], metadata);
    let ports = json!([
        { "name": "redis", "port": 6379, "protocol": "TCP" },
        { "name": "exporter", "port": 9121, "protocol": "TCP" }
    ]);
    assert_eq!((&slice["ports"], &slice["endpoints"][0]["addresses"]), (&ports, &json!(["10.0.0.7"])));
}

#[test]
fn the_binding_has_the_keys_of_service_binding_and_takes_a_password_of_any_characters() {
    let tls = json!({ "secretName": "tls" });
    let redis = redis(json!({ "replicas": 3, "tls": tls, "redis": { "image": "redis:7" } }));
    let (password, authorities) = (Some("p@ss/w?rd"), Some("PEM"));
    let inputs = Inputs { password, authorities, ..Inputs::default() };
    let secret = serde_json::to_value(binding::binding(&redis, &inputs)).unwrap();
    assert_eq!(secret["type"], "servicebinding.io/redis");
    let text = |key: &str| {
        let bytes: k8s_openapi::ByteString = serde_json::from_value(secret["data"][key].clone()).unwrap();
        String::from_utf8(bytes.0).unwrap()
    };
    assert_eq!(text("uri"), "rediss://default:p%40ss%2Fw%3Frd@redis-example-master.shop.svc:6379");
    assert_eq!((text("password"), text("certificates")), ("p@ss/w?rd".into(), "PEM".into()));
    let open = serde_json::to_value(binding::binding(&minimal(), &Inputs::default())).unwrap();
    let keys: Vec<&String> = open["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["host", "port", "provider", "type", "uri"]);
}

#[test]
fn each_operator_adds_itself_to_the_service_of_a_sentinel_endpoint() {
    let redis = redis(json!({ "replicas": 3, "sentinelEndpoint": {}, "redis": { "image": "redis:7" } }));
    let made = made(&redis, None);
    let service = made.iter().find(|object| object["metadata"]["name"] == "redis-example-sentinel").unwrap();
    assert_eq!(service.pointer("/spec/selector"), None);
    assert_eq!(service.pointer("/spec/ports/0/port"), Some(&json!(26379)));
    let slice =
        |operator, place: &str| sentinel_slice(&sentinel_service(&redis), operator, place.parse().unwrap());
    let [one, other] = [slice("a", "10.0.0.1:27000"), slice("b", "[fd00::1]:27001")];
    assert_ne!(one.name_any(), other.name_any());
    assert_eq!(one.labels()[SERVICE_LABEL], "redis-example-sentinel");
    assert_eq!(face_of(&one), Some(("10.0.0.1".into(), 27000)));
    assert_eq!((face_of(&other), other.address_type.as_str()), (Some(("fd00::1".into(), 27001)), "IPv6"));
    let uids: Vec<&str> = one.owner_references().iter().map(|owner| owner.uid.as_str()).collect();
    assert_eq!(uids, ["u-1"], "it goes with the resource");
}

/// The StatefulSets of resources that use what there was before. Every change of a template replaces the Pods
/// of all groups when the operator is upgraded: change a digest only with a line in the changelog that says
/// so.
#[test]
fn the_pods_of_a_resource_are_byte_for_byte_what_they_were() {
    let claim = json!({ "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } });
    let full = json!({
        "replicas": 3, "redis": { "image": "redis:7", "resources": { "limits": { "memory": "1Gi" } } },
        "exporter": { "image": "exporter:1", "initialDelaySeconds": 3 },
        "config": { "maxmemory": "100mb", "databases": "4" }, "password": { "generate": true },
        "tls": { "secretName": "cert" }, "dataVolumeClaimTemplate": claim, "service": { "annotations": { "a": "b" } },
        "volumes": [{ "name": "mine", "emptyDir": {} }],
        "initContainers": [{ "name": "first", "image": "busybox" }], "serviceAccountName": "mine"
    });
    let pinned = |redis: &Redis| {
        let set = made(redis, redis.spec.password.as_ref().map(|_| "secret")).pop().unwrap();
        let bytes = serde_json::to_vec(&set["spec"]).unwrap();
        let digest: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        (digest, set)
    };
    let pinned = [minimal(), redis(full)].map(|redis| pinned(&redis));
    let digests = pinned.each_ref().map(|(digest, _)| digest.as_str());
    assert_eq!(digests, ["5cd4216285c95715", "b7d8fa21cfa35d7c"], "{:#}\n{:#}", pinned[0].1, pinned[1].1);
}

#[test]
fn what_a_user_adds_to_the_pods_stands_beside_what_the_operator_has() {
    let redis = redis(json!({
        "replicas": 1,
        "redis": {
            "image": "redis:7", "env": [{ "name": "TZ", "value": "UTC" }],
            "volumeMounts": [{ "name": "mine", "mountPath": "/mine" }]
        },
        "exporter": { "image": "e", "env": [{ "name": "LOG", "value": "1" }], "volumeMounts": [{ "name": "mine", "mountPath": "/mine" }] },
        "containers": [{ "name": "agent", "image": "agent:1" }], "volumes": [{ "name": "mine", "emptyDir": {} }],
        "terminationGracePeriodSeconds": 120, "runtimeClassName": "gvisor"
    }));
    let set = made(&redis, None).pop().unwrap();
    let pod = &set["spec"]["template"]["spec"];
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|of| of["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&pod["containers"]), ["redis", "exporter", "agent"]);
    let container = |place: usize| &pod["containers"][place];
    assert_eq!(names(&container(0)["env"]), ["POD_IP", "TZ"]);
    assert_eq!(names(&container(0)["volumeMounts"]), ["config", "redis-example", "mine"]);
    assert_eq!(names(&container(1)["env"]), ["REDIS_ADDR", "REDIS_ALIAS", "LOG"]);
    assert_eq!(names(&container(1)["volumeMounts"]), ["mine"]);
    let (grace, class) = (&pod["terminationGracePeriodSeconds"], &pod["runtimeClassName"]);
    assert_eq!((grace, class), (&json!(120), &json!("gvisor")));
}

#[test]
fn only_the_services_of_master_and_replicas_leave_the_cluster() {
    let service = json!({ "type": "LoadBalancer", "loadBalancerClass": "mine", "externalTrafficPolicy": "Local", "annotations": { "a": "b" } });
    let endpoint = json!({ "masterName": "mymaster" });
    let redis = redis(
        json!({ "replicas": 1, "redis": { "image": "redis:7" }, "service": service, "sentinelEndpoint": endpoint }),
    );
    let services: Vec<Value> =
        made(&redis, None).into_iter().filter(|object| object["kind"] == "Service").collect();
    assert_eq!(services.len(), 5);
    for service in services {
        let name = service["metadata"]["name"].as_str().unwrap();
        let is_outward = name.ends_with("-master") || name.ends_with("-replicas");
        let (type_, class, policy) = (
            &service["spec"]["type"],
            &service["spec"]["loadBalancerClass"],
            &service["spec"]["externalTrafficPolicy"],
        );
        let expected = if is_outward {
            (&json!("LoadBalancer"), &json!("mine"), &json!("Local"))
        } else {
            (&Value::Null, &Value::Null, &Value::Null)
        };
        assert_eq!((type_, class, policy), expected, "{name}");
        assert_eq!(service["metadata"]["annotations"], json!({ "a": "b" }), "{name}");
    }
}

#[test]
fn each_pod_has_a_service_for_clients_outside_that_asked_for_one() {
    let made_with = |instances: i32| {
        let redis = redis(json!({
            "replicas": 2, "redis": { "image": "redis:7" }, "exporter": { "image": "e" },
            "service": { "type": "NodePort", "externalTrafficPolicy": "Local", "annotations": { "a": "b" } },
            "sentinelEndpoint": { "external": { "annotations": { "dns": "{pod}.example.com" } } }
        }));
        let all = objects(&redis, &Inputs { replicas: instances, ..Inputs::default() }).unwrap();
        all.into_iter().filter(|object| object["kind"] == "Service").collect::<Vec<_>>()
    };
    let of = |services: &[Value], name: &str| {
        services.iter().find(|service| service["metadata"]["name"] == name).cloned()
    };
    let services = made_with(2);
    let one = of(&services, "redis-example-1").unwrap();
    assert_eq!(
        one["spec"]["selector"],
        json!({ "redis": "example", "statefulset.kubernetes.io/pod-name": "redis-example-1" })
    );
    assert_eq!(one["metadata"]["annotations"], json!({ "a": "b", "dns": "redis-example-1.example.com" }));
    let ports: Vec<_> = one["spec"]["ports"].as_array().unwrap().iter().map(|port| &port["port"]).collect();
    assert_eq!((ports, &one["spec"]["publishNotReadyAddresses"]), (vec![&json!(6379)], &json!(true)));
    let policy =
        |service: &Value| (service["spec"]["type"].clone(), service["spec"]["externalTrafficPolicy"].clone());
    assert_eq!(policy(&one), (json!("NodePort"), json!("Local")));
    let endpoint = of(&services, "redis-example-sentinel").unwrap();
    assert_eq!(policy(&endpoint), (json!("NodePort"), Value::Null), "its endpoints name no nodes");
    assert!(of(&services, "redis-example-2").is_none());
    // The master's Pod stays until it has handed over; one that hibernates comes back to its address.
    assert!(of(&made_with(3), "redis-example-2").is_some());
    assert!(of(&made_with(0), "redis-example-1").is_some());
}

#[test]
fn maxmemory_is_a_share_of_the_limit_unless_it_is_set() {
    let of = |config: Value, limit: Value| {
        let redis = redis(json!({
            "replicas": 1, "config": config,
            "redis": { "image": "redis:7", "maxmemoryPercent": 75, "resources": { "limits": limit } }
        }));
        (
            live_directives(&redis).get("maxmemory").cloned(),
            config::config(&redis).contains("maxmemory 8053063"),
            directive_names(&redis).len(),
        )
    };
    assert_eq!(of(json!({}), json!({ "memory": "1Gi" })), (Some("805306350".into()), true, 1));
    assert_eq!(of(json!({ "MaxMemory": "1gb" }), json!({ "memory": "1Gi" })), (None, false, 1));
    assert_eq!(of(json!({}), json!({ "cpu": "1" })), (None, false, 0));
}

#[test]
fn the_probes_of_an_image_of_valkey_use_the_client_that_it_has() {
    let ready = |image: &str| {
        let redis = redis(json!({ "replicas": 1, "redis": { "image": image } }));
        let set = made(&redis, None).pop().unwrap();
        let probe = set.pointer("/spec/template/spec/containers/0/readinessProbe/exec/command/2");
        probe.unwrap().as_str().unwrap().to_owned()
    };
    assert!(ready("redis:7").starts_with("r() {"));
    for image in ["valkey/valkey:9", "mirror.example/bitnami/valkey@sha256:0"] {
        let script = ready(image);
        assert!(
            script.starts_with("c=valkey-cli; command -v $c >/dev/null || c=redis-cli; r() {"),
            "{script}"
        );
        assert!(script.contains(") | $c; };"), "{script}");
    }
}

#[test]
fn a_network_policy_lets_in_the_group_the_operator_and_those_that_are_named() {
    let exporter = json!({ "image": "exporter:1" });
    let named = json!({ "clients": [{ "podSelector": {} }] });
    let whole = |policy: Value, exporter: Value| {
        let mut spec = json!({ "replicas": 1, "redis": { "image": "redis:7" }, "networkPolicy": policy });
        spec["exporter"] = exporter;
        let inputs = Inputs { replicas: 1, operator_namespace: "ops", ..Inputs::default() };
        let all = objects(&redis(spec), &inputs).unwrap();
        all.into_iter().find(|object| object["kind"] == "NetworkPolicy")
    };
    assert_eq!(whole(Value::Null, Value::Null), None);
    let ingress = |of: Option<Value>| of.unwrap()["spec"]["ingress"].clone();
    let alone = ingress(whole(json!({}), exporter.clone()));
    let peers = alone[0]["from"].as_array().unwrap();
    assert_eq!(peers.len(), 2, "an empty list of peers would let in everybody");
    assert_eq!(peers[1]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "ops");
    assert_eq!((&alone[1]["ports"][0]["port"], alone[1].get("from")), (&json!(9121), None));
    assert_eq!(ingress(whole(named, Value::Null))[0]["from"][2], json!({ "podSelector": {} }));
}

#[test]
fn a_user_stands_in_the_file_with_a_digest_of_its_password_and_is_found_there_again() {
    let redis = redis(json!({ "replicas": 1, "redis": { "image": "redis:7" } }));
    let users = [AclUser::new("shop", "s3cret", "~cart:*  +@read (+get ~x)")];
    let inputs = Inputs {
        password: Some("p"),
        replication_user: Some("group-u-1"),
        users: &users,
        ..Inputs::default()
    };
    let secret: Secret = serde_json::from_value(objects(&redis, &inputs).unwrap().remove(0)).unwrap();
    let file = String::from_utf8(secret.data.unwrap()[SECRET_FILE].0.clone()).unwrap();
    assert!(file.contains("\nuser shop on #") && !file.contains("s3cret"), "{file}");
    assert_eq!(users_in(&file), users, "without that of replication");
}
