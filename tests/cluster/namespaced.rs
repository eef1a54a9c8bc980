//! The operator with rights in namespaces that are named, and to Secrets that are named: by
//! `deploy/namespaced`, and nothing that is of the whole cluster.

use super::deployed::{HOME, asked, deploy, of_the_clone, rolled_out, used};
use super::rig::{another_master, example, say_as, settled};
use tests::cluster::{Cluster, Signal, until};

pub async fn with_rights_in_named_namespaces_and_to_named_secrets_alone_it_does_all_of_it(
    cluster: &Cluster,
    namespace: &str,
) {
    for name in ["redis-operator", "redis-operator-nodes", "redis-operator-reviews"] {
        cluster.kubectl(&["delete", "clusterrolebinding", name, "--ignore-not-found"]).await.unwrap();
    }
    let before = asked(cluster);
    let yaml = Cluster::kustomize(&of_the_clone("deploy/namespaced")).await.unwrap();
    assert!(!yaml.contains("kind: ClusterRole"), "nothing is of the whole cluster");
    cluster.apply(&yaml).await;
    // A further namespace, where Secrets are named.
    let role = std::fs::read_to_string(of_the_clone("deploy/namespaced/role.yaml")).unwrap();
    let all = "    resources: [secrets]\n    verbs: [get, list, watch, create, patch, delete]\n";
    let named = "    resources: [secrets]\n    resourceNames: [redis-example, redis-example-binding, users]\n    verbs: [get, list, watch, \
                 patch, delete]\n  - apiGroups: [\"\"]\n    resources: [secrets]\n    verbs: [create]\n";
    assert!(role.contains(all));
    let here = format!("\n  namespace: {namespace}\n");
    let role = role.replace("\n  namespace: redis-operator\n", &here).replace(all, named);
    cluster.apply(&role).await;
    let set_env = async |words: &[&str]| {
        cluster
            .kubectl(&[&["set", "env", "deployment/redis-operator", "-n", HOME], words].concat())
            .await
            .unwrap();
    };
    let names = format!("WATCH_NAMESPACE={HOME},{namespace}");
    set_env(&[&names, "WATCH_SECRETS=named"]).await;
    rolled_out(cluster).await;

    let password = |text: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: users, namespace: {namespace}}}\nstringData: \
             {{password: {text}}}\n"
        )
    };
    cluster.apply(&password("first")).await;
    let further = "  password: {secretKeyRef: {name: users, key: password}}\n";
    cluster.apply(&example(namespace, 3, further)).await;
    let master = settled(cluster, namespace, 3).await;
    assert!(say_as(cluster, namespace, &master, Some("first"), &["PING"]).await.is_some());
    cluster.apply(&password("second")).await;
    until("the new password is the password", async || {
        say_as(cluster, namespace, &master, Some("second"), &["PING"]).await
    })
    .await;
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    another_master(cluster, namespace, &master).await;
    settled(cluster, namespace, 3).await;

    let may = async |verb: &str, what: &str, namespace: &str| {
        let account = format!("system:serviceaccount:{HOME}:redis-operator");
        cluster.kubectl(&["auth", "can-i", verb, what, "-n", namespace, "--as", &account]).await.is_ok()
    };
    assert!(may("patch", "pods", namespace).await && may("get", "secrets/users", namespace).await);
    assert_eq!(
        [
            may("get", "secrets/another", namespace).await,
            may("list", "secrets", namespace).await,
            may("patch", "pods", "default").await,
            may("list", "secrets", "default").await,
            may("list", "nodes", HOME).await,
        ],
        [false; 5]
    );
    // Nodes are asked for, and not needed.
    let (_, refused) = used(cluster, before);
    assert!(refused.iter().all(|right| right.ends_with(" /nodes")), "{refused:?}");

    cluster.kubectl(&["delete", "redis", "--all", "-n", namespace]).await.unwrap();
    set_env(&["WATCH_SECRETS-"]).await;
    deploy(cluster).await;
}
