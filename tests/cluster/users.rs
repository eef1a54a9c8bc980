//! ACL users that a resource declares: set live, rotated, refused, deleted, and there from a Pod's start on.

use tests::cluster::{Cluster, until};

use super::binding::secret;
use super::rig::{Operator, condition, example, login_as, patch, pods, redis, settled};

const ALL: [&str; 2] = ["redis-example-0", "redis-example-1"];

/// Waits until a Pod that starts has, or has not, a line of that user's.
async fn filed(cluster: &Cluster, namespace: &str, user: &str, is_there: bool) -> String {
    until(&format!("user {user} in the file: {is_there}"), async || {
        let file = secret(cluster, namespace, "redis-example").await?.remove("auth.conf")?;
        (file.contains(&format!("user {user} on #")) == is_there).then_some(file)
    })
    .await
}

pub async fn declared_users_are_set_live_rotated_and_deleted_and_a_refused_right_changes_nothing(
    cluster: &Cluster,
    namespace: &str,
) {
    let word = |password: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: people, namespace: {namespace}}}\nstringData: {{shop: \
             {password}}}\n"
        )
    };
    cluster.apply(&word("before")).await;
    let _operator = Operator::start(cluster, namespace);
    let shop = |rules: &str| {
        format!(
            "{{\"name\": \"shop\", \"password\": {{\"secretKeyRef\": {{\"name\": \"people\", \"key\": \"shop\"}}}}, \
                 \"rules\": \"{rules}\"}}"
        )
    };
    let report = r#"{"name": "report", "password": {"generate": true}, "rules": "~* +@read"}"#;
    let rights = "~cart:* +@read +@write";
    let further = format!("  password: {{generate: true}}\n  users: [{}, {report}]\n", shop(rights));
    cluster.apply(&example(namespace, 2, &further)).await;
    let master = settled(cluster, namespace, 2).await;
    let may = async |pod: &str, user: &str, password: &str, words: &[&str]| {
        login_as(cluster, namespace, pod, user, password, words).await
    };
    filed(cluster, namespace, "shop", true).await;
    assert_eq!(may(&master, "shop", "before", &["SET", "cart:1", "x"]).await.as_deref(), Ok("OK"));
    let why = may(&master, "shop", "before", &["SET", "other", "x"]).await.unwrap_err();
    assert!(why.to_lowercase().contains("noperm"), "{why}");
    let made = secret(cluster, namespace, "redis-example-users").await.unwrap().remove("report").unwrap();
    filed(cluster, namespace, "report", true).await;
    for pod in ALL {
        assert_eq!(may(pod, "report", &made, &["GET", "cart:1"]).await.as_deref(), Ok("x"), "{pod}");
    }
    let before: Vec<_> = pods(cluster, namespace).await.into_iter().map(|pod| pod.metadata.uid).collect();

    // Another password: the new one everywhere, and the old one nowhere.
    cluster.apply(&word("after")).await;
    until("the new password everywhere", async || {
        for pod in ALL {
            may(pod, "shop", "after", &["GET", "cart:1"]).await.ok()?;
            may(pod, "shop", "before", &["GET", "cart:1"]).await.is_err().then_some(())?;
        }
        Some(())
    })
    .await;

    // A right that no server knows: told, and neither the running user nor the next start's is touched.
    let users = |rules: &str| format!("{{\"spec\": {{\"users\": [{}, {report}]}}}}", shop(rules));
    patch(cluster, namespace, &users("~cart:* +@nonsense")).await;
    let message = condition(cluster, namespace, "Degraded", "UserRefused").await;
    assert!(message.contains("user shop: ") && message.contains("+@nonsense"), "{message}");
    assert_eq!(may(&master, "shop", "after", &["SET", "cart:1", "y"]).await.as_deref(), Ok("OK"));
    assert!(filed(cluster, namespace, "shop", true).await.contains(rights));

    // A member that starts has its users at once.
    let replica = ALL.into_iter().find(|pod| *pod != master).unwrap();
    cluster.running(namespace, replica).signal("redis", tests::cluster::Signal::Kill);
    until("the restarted one knows the user", async || {
        may(replica, "shop", "after", &["GET", "cart:1"]).await.ok()
    })
    .await;

    patch(cluster, namespace, &users("~cart:* +@read")).await;
    until("fewer rights", async || may(&master, "shop", "after", &["SET", "cart:1", "z"]).await.err()).await;
    settled(cluster, namespace, 2).await;

    patch(cluster, namespace, &format!("{{\"spec\": {{\"users\": [{}]}}}}", shop(rights))).await;
    filed(cluster, namespace, "report", false).await;
    for pod in ALL {
        let why = may(pod, "report", &made, &["PING"]).await.unwrap_err();
        assert!(why.to_lowercase().contains("invalid username-password"), "{pod}: {why}");
    }
    let after: Vec<_> = pods(cluster, namespace).await.into_iter().map(|pod| pod.metadata.uid).collect();
    assert_eq!(after, before, "no Pod was replaced");

    for (change, words) in [
        (r#"{"password": null}"#.to_owned(), "set spec.password beside spec.users"),
        (r#"{"config": {"aclfile": "/data/users"}}"#.to_owned(), "leave out config.aclfile"),
        (format!("{{\"users\": [{}]}}", shop("nopass ~* +@all")), "leave out on, off, nopass"),
        (format!("{{\"users\": [{}]}}", shop("~* +@all >open")), "leave out on, off, nopass"),
        (format!("{{\"users\": [{}]}}", report.replace("report", "default")), "choose another name"),
        (format!("{{\"users\": [{report}, {report}]}}"), "Duplicate value"),
    ] {
        let line = format!("{{\"spec\":{change}}}");
        let words_of = ["patch", "redis", "example", "--type", "merge", "-p", &line, "-n", namespace];
        let why = cluster.kubectl(&words_of).await.unwrap_err().to_string();
        assert!(why.contains(words), "{change}: {why}");
    }
    assert!(redis(cluster, namespace).await.is_some());
}
