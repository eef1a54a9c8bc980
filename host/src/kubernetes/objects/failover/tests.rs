//! The objects of small resources: names, labels and ports of the other operator, and each field of the spec.

use super::*;
use crate::kubernetes::kinds::Inputs;

fn failover(spec: &Value) -> Failover {
    let object = json!({
        "apiVersion": "databases.spotahome.com/v1", "kind": "RedisFailover", "spec": spec,
        "metadata": {
            "name": "cart", "namespace": "shop", "uid": "u-1", "labels": { "team": "a" },
            "annotations": { "note": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}" }
        }
    });
    Failover::read(object).unwrap()
}

fn made_with(spec: &Value, password: Option<&str>) -> Vec<Value> {
    let failover = failover(spec);
    let replicas = failover.replicas(Role::Redis);
    let inputs = Inputs { replicas, password, image: "operator:1", ..Inputs::default() };
    objects(&failover, &inputs).unwrap()
}

fn made(spec: Value) -> Vec<Value> {
    made_with(&spec, None)
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects.iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name).unwrap()
}

/// The template's spec of the StatefulSet and of the Deployment.
fn pods(objects: &[Value]) -> (Value, Value) {
    let of = |kind, name| find(objects, kind, name)["spec"]["template"]["spec"].clone();
    (of("StatefulSet", "rfr-cart"), of("Deployment", "rfs-cart"))
}

#[test]
fn the_objects_have_the_names_of_the_other_operator_in_an_order_that_starts_pods_last() {
    let objects = made_with(&json!({ "auth": { "secretPath": "login" } }), Some("secret"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let names: Vec<String> = objects
        .iter()
        .map(|object| format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"])))
        .collect();
    assert_eq!(
        names,
        [
            "Secret rfr-cart",
            "ConfigMap rfr-cart",
            "ConfigMap rfr-s-cart",
            "ConfigMap rfr-readiness-cart",
            "Service rfs-cart",
            "Service rfrm-cart",
            "Service rfrs-cart",
            "Service rfr-cart",
            "PodDisruptionBudget rfr-cart",
            "PodDisruptionBudget rfs-cart",
            "StatefulSet rfr-cart",
            "Deployment rfs-cart",
        ]
    );
    for object in &objects {
        let metadata = &object["metadata"];
        assert_eq!(metadata["ownerReferences"][0]["uid"], "u-1", "{object}");
        assert_eq!(metadata["annotations"]["k8s.amaiz.com/operated"], "true", "{object}");
        let labels = &metadata["labels"];
        assert_eq!(labels["redisfailovers.databases.spotahome.com/name"], "cart");
        assert_eq!(
            (&labels["app.kubernetes.io/managed-by"], &labels["team"]),
            (&json!("redis-operator"), &json!("a"))
        );
    }
}

#[test]
fn equal_resources_give_equal_objects_byte_for_byte_and_none_has_a_null() {
    let spec = json!({ "redis": { "exporter": { "enabled": true } }, "sentinel": { "exporter": { "enabled": true } } });
    let text = |objects: Vec<Value>| serde_json::to_string(&objects).unwrap();
    let once = text(made(spec.clone()));
    assert_eq!(once, text(made(spec)));
    assert!(!once.contains("null"), "{once}");
}

#[test]
fn selectors_are_the_three_labels_and_the_role_and_services_have_the_known_ports() {
    let objects = made(json!({ "redis": { "port": 7000, "serviceAnnotations": { "x": "y" } } }));
    let redis = json!({
        "app.kubernetes.io/name": "cart", "app.kubernetes.io/component": "redis",
        "app.kubernetes.io/part-of": "redis-failover"
    });
    let set = &find(&objects, "StatefulSet", "rfr-cart")["spec"];
    assert_eq!(set["selector"]["matchLabels"], redis);
    assert_eq!(
        (&set["serviceName"], &set["podManagementPolicy"], &set["updateStrategy"]["type"]),
        (&json!("rfr-cart"), &json!("Parallel"), &json!("OnDelete"))
    );
    assert_eq!(set["template"]["metadata"]["labels"]["redisfailovers-role"], "slave");
    let service = |name: &str| find(&objects, "Service", name).clone();
    for (name, role) in [("rfrm-cart", "master"), ("rfrs-cart", "slave")] {
        let service = service(name);
        assert_eq!(service["spec"]["selector"]["redisfailovers-role"], role);
        assert_eq!(service["spec"]["ports"][0]["port"], 7000);
        assert_eq!(service["metadata"]["annotations"]["x"], "y");
    }
    let sentinel = service("rfs-cart");
    assert_eq!(
        sentinel["spec"]["ports"],
        json!([{ "name": "sentinel", "port": 26379, "targetPort": 26379, "protocol": "TCP" }])
    );
    assert_eq!(sentinel["spec"]["selector"]["app.kubernetes.io/component"], "sentinel");
    let each = service("rfr-cart");
    assert_eq!(
        (&each["spec"]["clusterIP"], &each["spec"]["publishNotReadyAddresses"]),
        (&json!("None"), &json!(true))
    );
}

#[test]
fn redis_starts_as_a_replica_of_itself_with_the_file_at_the_known_place_and_without_a_password_in_it() {
    let objects = made_with(&json!({ "auth": { "secretPath": "login" } }), Some("s3cret word"));
    let config = find(&objects, "ConfigMap", "rfr-cart")["data"]["redis.conf"].as_str().unwrap();
    assert!(config.starts_with("replicaof 127.0.0.1 6379\nport 6379\n"), "{config}");
    assert!(config.ends_with("include /redis-auth/auth.conf\ninclude /redis/master.conf\n"), "{config}");
    for map in objects.iter().filter(|object| object["kind"] == "ConfigMap") {
        assert!(!map.to_string().contains("s3cret"), "{map}");
    }
    let secret = find(&objects, "Secret", "rfr-cart");
    assert_eq!(secret["data"]["password"], "czNjcmV0IHdvcmQ=");
    let (redis, sentinel) = pods(&objects);
    assert_eq!(redis["containers"][0]["command"], json!(["redis-server", "/redis/redis.conf"]));
    let env = redis["containers"][0]["env"].as_array().unwrap();
    assert_eq!(
        env[3],
        json!({ "name": "REDIS_PASSWORD", "valueFrom": { "secretKeyRef": { "name": "login", "key": "password" } } })
    );
    let arguments = sentinel["containers"][0]["args"].to_string();
    assert!(arguments.contains(r#""--password-file","/redis-auth/password""#), "{arguments}");
    assert_eq!(sentinel["volumes"][0]["secret"]["items"], json!([{ "key": "password", "path": "password" }]));
}

#[test]
fn the_endpoints_are_this_program_and_name_every_instance() {
    let objects =
        made(json!({ "redis": { "replicas": 2, "port": 7000 }, "sentinel": { "disableMyMaster": true } }));
    let (_, sentinel) = pods(&objects);
    let container = &sentinel["containers"][0];
    assert_eq!((&container["name"], &container["image"]), (&json!("sentinel"), &json!("operator:1")));
    assert_eq!(
        container["args"],
        json!([
            "face",
            "--name",
            "cart",
            "--redis",
            "rfr-cart-0.rfr-cart.shop.svc:7000,rfr-cart-1.rfr-cart.shop.svc:7000",
            "--down-after",
            "1500ms",
            "--sentinel-listen",
            "0.0.0.0:26379",
            "--sentinel-name",
            "cart",
            "--sentinel-peers",
            "rfs-cart.shop.svc:26379"
        ])
    );
    assert_eq!(container["ports"][0]["containerPort"], 26379);
    let alone = made(json!({ "sentinel": { "replicas": 1 } }));
    assert!(!pods(&alone).1.to_string().contains("--sentinel-peers"), "one endpoint has no other");
}

#[test]
fn budgets_let_one_redis_go_and_of_the_endpoints_a_minority() {
    let of = |replicas: i32| {
        let objects =
            made(json!({ "redis": { "replicas": replicas }, "sentinel": { "replicas": replicas } }));
        ["rfr-cart", "rfs-cart"].map(|name| {
            find(&objects, "PodDisruptionBudget", name)["spec"]["maxUnavailable"].as_i64().unwrap()
        })
    };
    assert_eq!((of(1), of(2), of(3), of(5)), ([1, 1], [1, 1], [1, 1], [1, 2]));
    let spec = json!({ "redis": { "disablePodDisruptionBudget": true }, "sentinel": { "disablePodDisruptionBudget": true } });
    assert!(made(spec).iter().all(|object| object["kind"] != "PodDisruptionBudget"));
}

/// Each field of Pods, with a value that is written as it is, and where it is found in the Pods of each role.
#[test]
fn what_the_user_writes_of_pods_is_in_the_pods_as_it_is_written() {
    let probe = json!({ "exec": { "command": ["true"] }, "later": 1 });
    let settings = json!({
        "image": "registry.example/redis:7.2", "imagePullPolicy": "Never", "imagePullSecrets": [{ "name": "pull" }],
        "resources": { "limits": { "memory": "1Gi" } }, "affinity": { "later": {} },
        "tolerations": [{ "operator": "Exists" }], "topologySpreadConstraints": [{ "maxSkew": 1 }],
        "nodeSelector": { "disk": "fast" }, "priorityClassName": "high", "serviceAccountName": "account",
        "securityContext": { "runAsUser": 7 }, "containerSecurityContext": { "runAsUser": 8 },
        "podAnnotations": { "p": "q" }, "hostNetwork": true, "dnsPolicy": "Default",
        "initContainers": [{ "name": "first", "later": 1 }], "extraContainers": [{ "name": "beside" }],
        "extraVolumes": [{ "name": "v", "emptyDir": {} }], "extraVolumeMounts": [{ "name": "v", "mountPath": "/v" }],
        "customLivenessProbe": probe, "customReadinessProbe": probe, "customStartupProbe": probe
    });
    let objects = made(json!({ "redis": settings, "sentinel": settings }));
    let (redis, sentinel) = pods(&objects);
    for (pod, kind, name) in [(&redis, "StatefulSet", "rfr-cart"), (&sentinel, "Deployment", "rfs-cart")] {
        for field in [
            "imagePullSecrets",
            "affinity",
            "tolerations",
            "topologySpreadConstraints",
            "nodeSelector",
            "priorityClassName",
            "serviceAccountName",
            "securityContext",
            "hostNetwork",
            "dnsPolicy",
        ] {
            assert_eq!(pod[field], settings[field], "{field} of {name}");
        }
        let container = &pod["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Never");
        assert_eq!(container["resources"], settings["resources"]);
        assert_eq!(container["securityContext"], settings["containerSecurityContext"]);
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert!(mounts.contains(&settings["extraVolumeMounts"][0]), "{mounts:?}");
        let volumes = pod["volumes"].as_array().unwrap();
        assert!(volumes.contains(&settings["extraVolumes"][0]), "{volumes:?}");
        assert_eq!(
            (&pod["initContainers"][0]["name"], &pod["containers"][1]["name"]),
            (&json!("first"), &json!("beside"))
        );
        let template = &find(&objects, kind, name)["spec"]["template"];
        assert_eq!(template["metadata"]["annotations"], settings["podAnnotations"]);
    }
    assert_eq!(redis["initContainers"][0]["later"], 1, "fields that are not known stay");
    assert_eq!(redis["initContainers"][0]["env"][0]["name"], "REDIS_ADDR");
    let container = &redis["containers"][0];
    assert_eq!(container["image"], "registry.example/redis:7.2");
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        assert_eq!(container[kind], probe, "{kind}");
    }
    assert_eq!(sentinel["containers"][0]["image"], "operator:1");
    assert!(sentinel["containers"][0]["startupProbe"].get("exec").is_none(), "the program has no shell");
}

#[test]
fn fields_of_redis_alone_reach_its_pods() {
    let objects = made(json!({
        "engine": "Valkey",
        "redis": {
            "command": ["valkey-server", "/redis/redis.conf", "--hz", "5"], "startupConfigMap": "up", "shutdownConfigMap": "down",
            "terminationGracePeriod": 7, "exporter": {
                "enabled": true, "image": "e:1", "args": ["-a"], "env": [{ "name": "REDIS_USER", "value": "me" }]
            },
            "storage": { "emptyDir": { "medium": "Memory" } },
            "customCommandRenames": [{ "from": "monitor", "to": "" }]
        }
    }));
    let (redis, _) = pods(&objects);
    let container = &redis["containers"][0];
    assert_eq!(container["command"], json!(["valkey-server", "/redis/redis.conf", "--hz", "5"]));
    assert_eq!(container["startupProbe"]["exec"]["command"], json!(["/bin/sh", "/redis-startup/startup.sh"]));
    assert_eq!(redis["terminationGracePeriodSeconds"], 7);
    let volume = |name: &str| {
        redis["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == name).unwrap().clone()
    };
    assert_eq!(volume("redis-shutdown-config")["configMap"], json!({ "name": "down", "defaultMode": 0o744 }));
    assert_eq!(volume("redis-startup-config")["configMap"]["name"], "up");
    assert_eq!(volume("redis-data")["emptyDir"], json!({ "medium": "Memory" }));
    assert!(objects.iter().all(|object| object["metadata"]["name"] != "rfr-s-cart"), "the user has a script");
    let exporter = &redis["containers"][1];
    assert_eq!(
        (&exporter["name"], &exporter["image"], &exporter["args"]),
        (&json!("redis-exporter"), &json!("e:1"), &json!(["-a"]))
    );
    let users = exporter["env"].as_array().unwrap().iter().filter(|one| one["name"] == "REDIS_USER").count();
    assert_eq!(users, 1, "the user's variable stands, and there is no second");
    let service = find(&objects, "Service", "rfr-cart");
    assert_eq!(service["spec"]["ports"][1]["name"], "http-metrics");
    assert_eq!(service["metadata"]["annotations"]["prometheus.io/scrape"], "true");
    let config = find(&objects, "ConfigMap", "rfr-cart")["data"]["redis.conf"].as_str().unwrap();
    assert!(config.contains("rename-command \"monitor\" \"\"\n"), "{config}");
    let ready = find(&objects, "ConfigMap", "rfr-readiness-cart")["data"]["ready.sh"].as_str().unwrap();
    assert!(ready.contains("valkey-cli -p 6379"), "{ready}");
}

#[test]
fn the_shutdown_script_waits_for_a_handover_and_asks_no_sentinel_for_a_failover() {
    let objects = made(json!({}));
    let script =
        find(&objects, "ConfigMap", "rfr-s-cart")["data"]["shutdown.sh"].as_str().unwrap().to_owned();
    assert!(script.contains("role:master") && script.contains("cat /redis/replicas"), "{script}");
    assert!(!script.to_ascii_lowercase().contains("sentinel") && !script.contains("sleep 31"), "{script}");
    assert_eq!(find(&objects, "ConfigMap", "rfr-cart")["data"]["replicas"], "3");
}

#[test]
fn claims_are_as_they_are_written_and_go_with_the_resource_unless_they_are_kept() {
    let of = |keep: bool| {
        let claim = json!({
            "metadata": { "name": "data", "labels": { "a": "b" } }, "status": {},
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } }, "later": 1 }
        });
        let objects = made(
            json!({ "redis": { "storage": { "keepAfterDeletion": keep, "persistentVolumeClaim": claim } } }),
        );
        find(&objects, "StatefulSet", "rfr-cart").clone()
    };
    let set = of(false);
    let claim = &set["spec"]["volumeClaimTemplates"][0];
    assert_eq!(
        (&claim["metadata"]["name"], &claim["metadata"]["labels"]["a"]),
        (&json!("data"), &json!("b"))
    );
    assert_eq!((&claim["spec"]["later"], claim.get("status")), (&json!(1), None));
    assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], "u-1");
    assert_eq!(set["metadata"]["annotations"]["storageCapacity"], "1073741824");
    assert_eq!(
        (&set["metadata"]["annotations"]["note"], set["metadata"]["annotations"].as_object().unwrap().len()),
        (&json!("b"), 3)
    );
    let mounts = &set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
    assert!(mounts.as_array().unwrap().contains(&json!({ "name": "data", "mountPath": "/data" })));
    assert_eq!(of(true)["spec"]["volumeClaimTemplates"][0]["metadata"].get("ownerReferences"), None);
}

#[test]
fn lines_of_custom_config_are_set_live_and_stand_in_no_file() {
    let spec = json!({ "redis": { "customConfig": ["maxclients 99", "min-replicas-to-write 0"] } });
    let objects = made(spec.clone());
    let config = find(&objects, "ConfigMap", "rfr-cart")["data"]["redis.conf"].as_str().unwrap();
    assert!(!config.contains("maxclients") && !config.contains("min-replicas-to-write"), "{config}");
    let live = live_directives(&failover(&spec));
    let value = |name: &str| live.get(name).map(String::as_str);
    assert_eq!(
        (value("maxclients"), value("min-replicas-to-write"), value("replica-priority")),
        (Some("99"), Some("0"), Some("100"))
    );
    let (with, without) = (pods(&objects).0, pods(&made(json!({}))).0);
    assert_eq!(with, without, "no Pod is replaced for a line");
}

#[test]
fn an_append_only_file_is_read_only_where_one_is_or_nothing_else_is() {
    let objects = made(json!({ "redis": { "customConfig": ["appendonly yes"] } }));
    let (redis, _) = pods(&objects);
    let words: Vec<String> = serde_json::from_value(redis["containers"][0]["command"].clone()).unwrap();
    assert_eq!(
        (&words[..2], &words[3..]),
        (&["sh".to_owned(), "-c".into()][..], &["redis-server".to_owned(), "/redis/redis.conf".into()][..])
    );
    let folder = tempfile::tempdir().unwrap();
    let starts = |files: &[&str]| {
        let data = folder.path().join(files.join("-"));
        std::fs::create_dir_all(&data).unwrap();
        for file in files {
            std::fs::write(data.join(file), "").unwrap();
        }
        let script = words[2].replace("/data/", &format!("{}/", data.display()));
        let output = std::process::Command::new("sh").args(["-c", &script, "echo", "conf"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(starts(&[]), "conf --appendonly yes", "a new volume");
    assert_eq!(starts(&["dump.rdb"]), "conf", "an RDB file alone is not left behind");
    assert_eq!(starts(&["dump.rdb", "appendonly.aof"]), "conf --appendonly yes");
}

#[test]
fn all_follow_a_bootstrap_node_and_endpoints_exist_only_if_they_are_allowed() {
    let of = |node: Value| made(json!({ "bootstrapNode": node }));
    let held = of(json!({ "host": "redis.example", "port": "7000" }));
    let config = find(&held, "ConfigMap", "rfr-cart")["data"]["redis.conf"].as_str().unwrap();
    assert!(config.starts_with("replicaof redis.example 7000\n"), "{config}");
    assert_eq!(find(&held, "Deployment", "rfs-cart")["spec"]["replicas"], 0);
    let allowed = of(json!({ "host": "redis.example", "allowSentinels": true }));
    let deployment = find(&allowed, "Deployment", "rfs-cart");
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert!(deployment.to_string().contains(r#""--redis","redis.example:6379""#));
    let spec =
        json!({ "bootstrapNode": { "host": "x" }, "redis": { "customConfig": ["replica-priority 5"] } });
    assert_eq!(live_directives(&failover(&spec))["replica-priority"], "0");
    assert_eq!(replication_user(&failover(&spec)), None, "that Redis has no such user");
    let odd = of(json!({ "host": "a\nport 1" }));
    let config = find(&odd, "ConfigMap", "rfr-cart")["data"]["redis.conf"].as_str().unwrap();
    assert!(config.starts_with("replicaof \"a\\x0aport 1\" 6379\n"), "{config}");
}

#[test]
fn in_a_mode_with_sentinels_their_pods_and_files_are_those_of_the_other_operator() {
    let sentinel = json!({
        "mode": "Assisted", "image": "redis:7", "customConfig": ["down-after-milliseconds 2000"],
        "startupConfigMap": "up", "configCopy": { "containerSecurityContext": { "runAsUser": 9 } }
    });
    let objects =
        made_with(&json!({ "auth": { "secretPath": "login" }, "sentinel": sentinel }), Some("s3cret"));
    let config = find(&objects, "ConfigMap", "rfs-cart")["data"]["sentinel.conf"].as_str().unwrap();
    assert_eq!(
        config,
        "sentinel monitor mymaster 127.0.0.1 6379 2\nsentinel down-after-milliseconds mymaster 2000\n\
         sentinel failover-timeout mymaster 10000\nsentinel parallel-syncs mymaster 2\n"
    );
    let (_, pod) = pods(&objects);
    let (first, container) = (&pod["initContainers"][0], &pod["containers"][0]);
    assert_eq!(
        (&first["name"], &first["command"], &first["securityContext"]["runAsUser"]),
        (
            &json!("sentinel-config-copy"),
            &json!(["cp", "/redis/sentinel.conf", "/redis-writable/sentinel.conf"]),
            &json!(9)
        )
    );
    assert_eq!(
        (&container["name"], &container["image"], &container["command"]),
        (
            &json!("sentinel"),
            &json!("redis:7"),
            &json!(["redis-server", "/redis/sentinel.conf", "--sentinel"])
        )
    );
    assert_eq!(
        container["startupProbe"]["exec"]["command"],
        json!(["/bin/sh", "/sentinel-startup/startup.sh"])
    );
    let ready = container["readinessProbe"]["exec"]["command"][2].as_str().unwrap();
    assert!(ready.contains("get-master-addr-by-name mymaster") && ready.contains("127"), "{ready}");
    assert!(!pod.to_string().contains("s3cret") && !pod.to_string().contains("redis-auth"), "{pod}");
    assert!(
        made(json!({})).iter().all(|one| one["kind"] != "ConfigMap" || one["metadata"]["name"] != "rfs-cart")
    );
    let outside = json!({
        "sentinel": { "mode": "Deferred" }, "bootstrapNode": { "host": "redis.example", "allowSentinels": true }
    });
    let outside = made(outside);
    let config = find(&outside, "ConfigMap", "rfs-cart")["data"]["sentinel.conf"].as_str().unwrap();
    assert!(
        config
            .starts_with("sentinel resolve-hostnames yes\nsentinel monitor mymaster redis.example 6379 2\n"),
        "{config}"
    );
}

#[test]
fn pods_of_the_other_operator_find_all_that_they_read_where_they_mount_it() {
    let object = json!({
        "apiVersion": "databases.spotahome.com/v1", "kind": "RedisFailover", "spec": { "auth": { "secretPath": "login" } },
        "metadata": {
            "name": "cart", "namespace": "shop", "uid": "u-1", "annotations": { "k8s.amaiz.com/adopted": "observing" }
        }
    });
    let failover = Failover::read(object).unwrap();
    let of = |has_former_pods| {
        let inputs = Inputs { replicas: 3, password: Some("s3cret"), has_former_pods, ..Inputs::default() };
        objects(&failover, &inputs).unwrap()
    };
    let data = |objects: &[Value], name: &str, key: &str| {
        find(objects, "ConfigMap", name)["data"][key].as_str().unwrap_or_default().to_owned()
    };
    let former = of(true);
    assert!(data(&former, "rfr-cart", "redis.conf").contains("include /redis/auth.conf\n"));
    assert!(data(&former, "rfr-cart", "auth.conf").contains("requirepass \"s3cret\""));
    assert!(data(&former, "rfr-s-cart", "shutdown.sh").contains("/redis/auth.conf"));
    let later = of(false);
    assert!(data(&later, "rfr-cart", "redis.conf").contains("include /redis-auth/auth.conf\n"));
    assert_eq!(data(&later, "rfr-cart", "auth.conf"), "");
    assert!(data(&later, "rfr-s-cart", "shutdown.sh").contains("/redis-auth/auth.conf"));
    let budget = &find(&former, "PodDisruptionBudget", "rfs-cart")["spec"];
    assert_eq!((&budget["minAvailable"], budget.get("maxUnavailable")), (&json!(2), None));
}
