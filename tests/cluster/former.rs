//! A Pod that was deleted by force while its process lives on, behind a network that is cut.

use super::rig::{Operator, another_master, example, redis, settled, write_through};
use redis_operator::kubernetes::objects::{MASTER, ROLE_LABEL};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tests::cluster::{Cluster, until};

pub async fn a_master_whose_pod_is_deleted_by_force_is_silent_and_is_stopped_when_back(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    cluster
        .apply(&example(namespace, 3, "  failover: {prefer: Consistency, selfFenceLagSeconds: 5}\n"))
        .await;
    let master = settled(cluster, namespace, 3).await;
    write_through(cluster, namespace, &master, "lol", "woot").await;
    let former = cluster.running(namespace, &master);
    let pod = cluster.pod(namespace, &master).await.unwrap();
    let (uid, node) = (pod.metadata.uid.unwrap(), pod.spec.unwrap().node_name.unwrap());
    // Kubernetes does not know yet that the node is lost, and the next Pod is to run.
    cluster.kubectl(&["cordon", &node]).await.unwrap();
    cluster.lose_node(&node);
    let lost = Instant::now();
    let force = ["delete", "pod", &master, "-n", namespace, "--grace-period=0", "--force"];
    cluster.kubectl(&force).await.unwrap();
    // One of the same name runs elsewhere, empty and a replica of itself: no proof that the old one ended.
    until("another Pod of its name runs, and the master on record is still the old process", async || {
        let next =
            cluster.pod(namespace, &master).await.filter(|pod| pod.metadata.uid.as_ref() != Some(&uid))?;
        let label = next.metadata.labels.as_ref().and_then(|labels| labels.get(ROLE_LABEL));
        assert_ne!(label.map(String::as_str), Some(MASTER), "clients are not led to an empty Pod");
        let reason = redis(cluster, namespace).await?.status?.reason;
        (reason == "fence-waiting" && cluster.address(namespace, &master).await.is_some()).then_some(())
    })
    .await;
    let next = another_master(cluster, namespace, &master).await;
    assert!(lost.elapsed() >= FENCE, "promoted after {:?}, before the fence of the old one", lost.elapsed());
    settled(cluster, namespace, 3).await;
    former.reconnect();
    until("the old process takes no more writes", async || {
        role(former.address()).await.starts_with("slave").then_some(())
    })
    .await;
    assert_eq!(redis(cluster, namespace).await.unwrap().status.unwrap().master, Some(next));
    cluster.find_node(&node);
    cluster.kubectl(&["uncordon", &node]).await.unwrap();
    settled(cluster, namespace, 3).await;
}

/// The first word of ROLE of the process at an address.
async fn role(address: Ipv4Addr) -> String {
    let client = ::redis::Client::open(format!("redis://{address}:6379/")).unwrap();
    let config = ::redis::AsyncConnectionConfig::new().set_connection_timeout(Some(Duration::from_secs(1)));
    let Ok(mut connection) = client.get_multiplexed_async_connection_with_config(&config).await else {
        return String::new();
    };
    let reply = ::redis::cmd("INFO").arg("replication").query_async::<String>(&mut connection).await;
    let line = reply.unwrap_or_default();
    line.lines().find_map(|line| line.strip_prefix("role:").map(str::to_owned)).unwrap_or_default()
}

/// The lag of the fence, which is set in the resource.
const FENCE: Duration = Duration::from_secs(5);
