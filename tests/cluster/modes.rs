//! RedisFailover with real Sentinels, changed while it runs: its password, and its mode. Clients of Sentinel
//! write and ask all the while; no master changes.

use super::redisfailover::{Version, all_name, condition, name_of, pods, settled};
use super::rig::{Operator, say_as};
use super::watched::{Listener, SentinelClient, addresses, another_master, made, patch};
use k8s_openapi::api::core::v1::Pod;
use redis::aio::MultiplexedConnection;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::cluster::{Cluster, Signal, is_ready, until};
use tokio::task::AbortHandle;

async fn sentinel(address: &str) -> Option<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://{address}:26379/")).ok()?;
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(1)));
    client.get_multiplexed_async_connection_with_config(&config).await.ok()
}

/// Whether a Sentinel has connections to all three instances and to its peers, and could fail over.
async fn is_whole(address: &str) -> Option<()> {
    let mut connection = sentinel(address).await?;
    let quorum = redis::cmd("SENTINEL").arg(&["CKQUORUM", "mymaster"]).to_owned();
    let quorum: String = quorum.query_async(&mut connection).await.ok()?;
    let mut flags = Vec::new();
    for about in ["MASTERS", "REPLICAS", "SENTINELS"] {
        let words: &[&str] = if about == "MASTERS" { &[about] } else { &[about, "mymaster"] };
        let rows: Vec<Vec<String>> =
            redis::cmd("SENTINEL").arg(words).query_async(&mut connection).await.ok()?;
        let of =
            |row: &Vec<String>| row.chunks(2).find(|pair| pair[0] == "flags").map(|pair| pair[1].clone());
        flags.extend(rows.iter().filter_map(of));
    }
    let wanted = ["master", "slave", "slave", "sentinel", "sentinel"];
    (quorum.contains("OK 3 usable Sentinels") && flags == wanted).then_some(())
}

/// Ends the connections of all Sentinels to an instance, so that they have to log in. Returns how many.
async fn cut_sentinels(cluster: &Cluster, namespace: &str, pod: &str, password: &str) -> usize {
    let clients = say_as(cluster, namespace, pod, Some(password), &["CLIENT", "LIST"]).await.unwrap();
    let mut cut = 0;
    for line in clients.lines().filter(|line| line.contains(" name=sentinel-")) {
        let id = line.split(' ').find_map(|word| word.strip_prefix("id=")).unwrap();
        say_as(cluster, namespace, pod, Some(password), &["CLIENT", "KILL", "ID", id]).await;
        cut += 1;
    }
    cut
}

pub async fn a_password_is_changed_live_and_the_sentinels_log_in_with_it(cluster: &Cluster, namespace: &str) {
    let secret = |password: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: {namespace}}}\nstringData: \
             {{password: {password}}}\n"
        )
    };
    cluster.apply(&secret("before")).await;
    let _operator = Operator::start(cluster, namespace);
    let at = (namespace, "cart");
    let master = made(cluster, at, "Assisted", "  auth: {secretPath: login}\n").await;
    let sentinels = addresses(cluster, at, "sentinel").await;
    let mut listeners = Vec::new();
    for address in &sentinels {
        let channels = ["+switch-master", "+sdown", "+odown", "+try-failover"];
        listeners.push(Listener::to(address, &channels).await);
    }
    let client = SentinelClient::start(sentinels.clone(), Some("before")).await;
    client.go_on(50).await;
    let began = Instant::now();
    cluster.apply(&secret("after")).await;
    let instances: Vec<String> = pods(cluster, at, "redis").await.iter().map(name_of).collect();
    until("the new password everywhere, and the old one nowhere", async || {
        for pod in &instances {
            say_as(cluster, namespace, pod, Some("after"), &["PING"]).await?;
            if say_as(cluster, namespace, pod, Some("before"), &["PING"]).await.is_some() {
                return None;
            }
        }
        Some(())
    })
    .await;
    println!("the password was another one after {:.1} s", began.elapsed().as_secs_f32());
    let cut = Instant::now();
    let mut count = 0;
    for pod in &instances {
        count += cut_sentinels(cluster, namespace, pod, "after").await;
    }
    assert!(count >= 9, "three Sentinels have connections to three instances: {count}");
    for address in &sentinels {
        until("it has logged in to all of them", async || is_whole(address).await).await;
    }
    println!("all Sentinels had logged in again after {:.1} s", cut.elapsed().as_secs_f32());
    client.go_on(50).await;
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, master);
    condition(cluster, at, "SentinelsAgree", "True", "AllNameTheMaster").await;
    // Longer than down-after-milliseconds: what they took for down they would have published.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    for listener in &listeners {
        assert!(listener.heard().is_empty(), "{:?}", listener.heard());
    }
    println!("the longest pause of a client meanwhile: {:?}", client.longest_pause(began));
    let address = cluster.address(namespace, &master).await.unwrap();
    assert_eq!(client.lost(&address, Some("after")).await.0, 0);
}

/// This program answers there, and no Sentinel.
fn is_face(pod: &Pod) -> bool {
    let container = &pod.spec.as_ref().unwrap().containers[0];
    container.args.iter().flatten().next().is_some_and(|word| word == "face")
}

/// Asks all ready Sentinels and endpoints for the master, all the time.
struct LookUps {
    seen: Arc<Mutex<Seen>>,
    task: AbortHandle,
}

#[derive(Default)]
struct Seen {
    /// Times at which at least one answered.
    answered: usize,
    /// Times at which none did.
    unanswered: usize,
    /// Answers that named another address, or none.
    wrong: Vec<String>,
}

impl LookUps {
    fn start(cluster: &Cluster, at: (&str, &str), master: String) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (client, selector) = (
            cluster.client(),
            format!("app.kubernetes.io/name={},app.kubernetes.io/component=sentinel", at.1),
        );
        let api = kube::Api::<Pod>::namespaced(client, at.0);
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    let listed = api.list(&kube::api::ListParams::default().labels(&selector)).await;
                    let is_serving = |pod: &&Pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
                    let pods = listed.map(|list| list.items).unwrap_or_default();
                    let mut answers = Vec::new();
                    for pod in pods.iter().filter(is_serving) {
                        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
                        answers.extend(look_up(&address.unwrap_or_default()).await);
                    }
                    {
                        let mut seen = seen.lock().unwrap();
                        if answers.is_empty() {
                            seen.unanswered += 1
                        } else {
                            seen.answered += 1
                        }
                        let is_wrong = |answer: &Option<String>| answer.as_ref() != Some(&master);
                        seen.wrong
                            .extend(answers.into_iter().filter(is_wrong).map(|answer| format!("{answer:?}")));
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
        Self { seen, task: task.abort_handle() }
    }
}

impl Drop for LookUps {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// None: no answer, as of a Pod that ends this moment. Inner None: it names no master.
async fn look_up(address: &str) -> Option<Option<String>> {
    let mut connection = sentinel(address).await?;
    let words = redis::cmd("SENTINEL").arg(&["GET-MASTER-ADDR-BY-NAME", "mymaster"]).to_owned();
    let answer: Option<(String, u16)> = words.query_async(&mut connection).await.ok()?;
    Some(answer.map(|(host, _)| host))
}

pub async fn the_mode_is_changed_under_load_between_all_three_and_no_master_changes(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    let at = (namespace, "cart");
    let master = made(cluster, at, "Assisted", "").await;
    let address = cluster.address(namespace, &master).await.unwrap();
    let sentinels = addresses(cluster, at, "sentinel").await;
    let listener = Listener::start(&sentinels[0]).await;
    let client = SentinelClient::start(sentinels, None).await;
    let look_ups = LookUps::start(cluster, at, address.clone());
    let (began, mut before) = (Instant::now(), "Assisted");
    for mode in ["Deferred", "Assisted", "Served", "Deferred", "Served", "Assisted"] {
        let changed = Instant::now();
        patch(cluster, at, &format!(r#"{{"spec":{{"sentinel":{{"mode":"{mode}"}}}}}}"#)).await;
        let of_mode = async || {
            let pods = pods(cluster, at, "sentinel").await;
            let is_of_mode = |pod: &Pod| {
                is_face(pod) == (mode == "Served")
                    && is_ready(pod)
                    && pod.metadata.deletion_timestamp.is_none()
            };
            (pods.len() == 3 && pods.iter().all(is_of_mode)).then_some(())
        };
        until(&format!("three ready of mode {mode}"), of_mode).await;
        if mode == "Served" {
            condition(cluster, at, "SentinelsReady", "True", mode).await;
        } else {
            condition(cluster, at, "SentinelsReady", "True", mode).await;
            condition(cluster, at, "SentinelsAgree", "True", "AllNameTheMaster").await;
            for address in addresses(cluster, at, "sentinel").await {
                until("each Sentinel knows exactly the others", async || is_whole(&address).await).await;
            }
        }
        assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, master, "{before} to {mode}");
        all_name(cluster, at, "mymaster", &master, 6379).await;
        client.go_on(50).await;
        println!("{before} to {mode}: {:.1} s", changed.elapsed().as_secs_f32());
        before = mode;
    }
    println!("the longest pause of a client meanwhile: {:?}", client.longest_pause(began));
    {
        let seen = look_ups.seen.lock().unwrap();
        println!("look-ups: {} answered, {} without any answer", seen.answered, seen.unanswered);
        assert_eq!((seen.unanswered, &seen.wrong), (0, &vec![]));
        assert!(seen.answered > 100);
    }
    assert!(listener.heard().is_empty(), "no change of master: {:?}", listener.heard());
    assert_eq!(client.lost(&address, None).await.0, 0);
}

/// While Kubernetes replaces Sentinels by endpoints some of them still run: left out, they would undo this.
pub async fn a_master_that_dies_while_sentinels_give_way_to_endpoints_is_replaced_once(
    cluster: &Cluster,
    namespace: &str,
) {
    let _operator = Operator::start(cluster, namespace);
    let at = (namespace, "cart");
    let master = made(cluster, at, "Assisted", "").await;
    let sentinels = addresses(cluster, at, "sentinel").await;
    let mut listeners = Vec::new();
    for address in &sentinels {
        listeners.push(Listener::start(address).await);
    }
    let client = SentinelClient::start(sentinels, None).await;
    client.go_on(50).await;
    patch(cluster, at, r#"{"spec":{"sentinel":{"mode":"Served"}}}"#).await;
    until("one of them is replaced", async || {
        let pods = pods(cluster, at, "sentinel").await;
        pods.iter().any(is_face).then_some(())
    })
    .await;
    cluster.running(namespace, &master).signal("redis", Signal::Kill);
    let next = another_master(cluster, at, &master).await;
    let address = cluster.address(namespace, &next).await.unwrap();
    until("three endpoints are ready", async || {
        let pods = pods(cluster, at, "sentinel").await;
        (pods.len() == 3 && pods.iter().all(|pod| is_face(pod) && is_ready(pod))).then_some(())
    })
    .await;
    assert_eq!(settled(cluster, at, Version::V1, (3, 3)).await, next);
    all_name(cluster, at, "mymaster", &next, 6379).await;
    let told: Vec<_> = listeners.iter().flat_map(Listener::heard).map(|(_, text)| text).collect();
    assert!(!told.is_empty(), "those that still ran were told");
    assert!(told.iter().all(|text| text.contains(&format!(" {address} "))), "{told:?}");
    drop(client);
}
