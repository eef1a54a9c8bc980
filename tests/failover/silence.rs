//! A server that hangs, loads, is busy or pauses its writes is not dead.

use redis_operator::contract::Preference;
use redis_operator::local::Signal;
use std::time::{Duration, Instant};
use tests::real::{Acknowledged, Operator, Servers, Terms, Writers, until};

fn limit(ms: u64) -> Terms {
    Terms { hang_limit: Duration::from_millis(ms), ..Terms::default() }
}

#[tokio::test]
async fn a_hung_master_is_replaced_after_the_limit_and_fenced_when_it_wakes() {
    let servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, limit(500)).await;
    operator.healthy(&servers.id(0)).await;
    let writers = Writers::start(&servers);
    writers.go_on(100).await;
    let stopped = Instant::now();
    servers.signal(0, Signal::Stop);
    let first = writers.first_elsewhere(0, stopped).await;
    let took = first.at - stopped;
    // The limit counts from the last question that was answered, which was sent up to an interval before the
    // signal.
    assert!(took >= Duration::from_millis(450), "replaced before the hang limit: {took:?}");
    // The bench measures how soon after; here a busy machine is allowed for.
    assert!(took < Duration::from_millis(1500), "{took:?}");
    // The other follows at once: no cool-down holds it, although its link to the stopped one is still up.
    let (other, port) = (3 - first.place, servers.endpoint(first.place).port.to_string());
    until("the other replica follows the new master", async || {
        (servers.info(other, "replication").await?.row("master_port") == port).then_some(())
    })
    .await;
    assert!(
        first.at.elapsed() < Duration::from_millis(1000),
        "the cool-down is 1500 ms: {:?}",
        first.at.elapsed()
    );

    let woken = Instant::now();
    servers.signal(0, Signal::Continue);
    assert_eq!(servers.settled().await, first.place);
    writers.go_on(200).await;
    let writes = writers.stop();
    let two_masters = writes
        .iter()
        .filter(|write| write.place == 0 && write.at > woken)
        .map(|write| write.at - woken)
        .max();
    assert!(two_masters.unwrap_or_default() < Duration::from_millis(200), "{two_masters:?}");
    let by_new: Vec<_> = writes.iter().filter(|write| write.place == first.place).cloned().collect();
    assert!(
        Acknowledged::lost(&by_new, &servers, first.place).await.is_empty(),
        "nothing that the new master took"
    );
    operator.healthy(&servers.id(first.place)).await;
}

#[tokio::test]
async fn a_hang_shorter_than_the_limit_changes_nothing() {
    let servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, limit(2000)).await;
    operator.healthy(&servers.id(0)).await;
    servers.signal(0, Signal::Stop);
    operator
        .decided("the hang is seen", |decided| {
            decided.decision.reason.contains("suspect") || decided.decision.reason.contains("silent")
        })
        .await;
    servers.signal(0, Signal::Continue);
    operator.healthy(&servers.id(0)).await;
    assert_eq!((servers.settled().await, operator.sent()), (0, vec![]));
}

#[tokio::test]
async fn a_hung_replica_changes_no_other_member() {
    let servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, limit(200)).await;
    operator.healthy(&servers.id(0)).await;
    let writers = Writers::start(&servers);
    servers.signal(2, Signal::Stop);
    let id = servers.id(2);
    operator
        .decided("the replica is silent", |decided| {
            decided
                .decision
                .members
                .iter()
                .any(|member| member.id == id && member.health == redis_operator::contract::Health::Silent)
        })
        .await;
    writers.go_on(300).await;
    assert_eq!(operator.sent(), [] as [String; 0]);
    servers.signal(2, Signal::Continue);
    assert_eq!(servers.settled().await, 0);
    assert!(Acknowledged::lost(&writers.stop(), &servers, 0).await.is_empty());
}

#[tokio::test]
async fn a_master_in_a_pause_is_alive() {
    let servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, limit(200)).await;
    operator.healthy(&servers.id(0)).await;
    servers.say(0, &["CLIENT", "PAUSE", "1500", "WRITE"]).await;
    assert_eq!(
        operator.sent_within(Duration::from_millis(1000)).await,
        [] as [String; 0],
        "{}",
        operator.last()
    );
    assert_eq!(servers.masters().await, [0]);
}

#[tokio::test]
async fn a_busy_master_is_alive() {
    let servers = Servers::group(3, &["--lua-time-limit", "50"]).await;
    let operator = Operator::start(&servers, limit(300)).await;
    operator.healthy(&servers.id(0)).await;
    let mut client = servers.client(0).await.unwrap();
    let script = tokio::spawn(async move {
        redis::cmd("EVAL").arg("while true do end").arg(0).query_async::<redis::Value>(&mut client).await
    });
    operator
        .decided("it is busy", |decided| {
            decided
                .observation
                .instances
                .iter()
                .any(|instance| instance.link.state == redis_operator::contract::LinkState::Busy)
        })
        .await;
    assert_eq!(
        operator.sent_within(Duration::from_millis(1000)).await,
        [] as [String; 0],
        "{}",
        operator.last()
    );
    servers.say(0, &["SCRIPT", "KILL"]).await;
    drop(script.await);
    operator.healthy(&servers.id(0)).await;
    assert_eq!(servers.settled().await, 0);
}

#[tokio::test]
async fn a_master_that_loads_its_data_is_waited_for() {
    // Slowly enough to be seen: 20 ms a key, 100 keys.
    let mut servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 100, 50).await;
    servers.in_sync(0).await;
    let operator = Operator::start(&servers, limit(300)).await;
    operator.healthy(&servers.id(0)).await;
    servers.say(0, &["SAVE"]).await;
    servers.end(0).await;
    // A replica that is promoted in the meantime has all data: the test is whether the loading server deletes
    // or loses some.
    servers.start(0, &["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"]).await;
    let master = servers.settled().await;
    for place in 0..3 {
        until("all keys everywhere", async || (servers.held(place, "k", 100).await == 100).then_some(()))
            .await;
    }
    operator.healthy(&servers.id(master)).await;
}

#[tokio::test]
async fn a_master_that_reloads_under_the_same_run_id_is_not_replaced() {
    let servers = Servers::group(
        3,
        &["--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024"],
    )
    .await;
    servers.fill(0, "k", 1500, 50).await;
    servers.in_sync(0).await;
    servers.say(0, &["CONFIG", "SET", "key-load-delay", "1000"]).await;
    let operator = Operator::start(&servers, limit(300)).await;
    operator.healthy(&servers.id(0)).await;
    let mut client = servers.client(0).await.unwrap();
    let reload = tokio::spawn(async move {
        redis::cmd("DEBUG").arg("RELOAD").query_async::<redis::Value>(&mut client).await
    });
    operator
        .decided("it loads", |decided| {
            decided.observation.instances.iter().any(|instance| {
                instance.link.state == redis_operator::contract::LinkState::Loading
                    || instance.replies.iter().any(|reply| format!("{reply:?}").contains("loading:1"))
            })
        })
        .await;
    // The client's own deadline is shorter than the load.
    drop(reload.await);
    operator.healthy(&servers.id(0)).await;
    assert_eq!((servers.settled().await, operator.sent()), (0, vec![]));
    assert_eq!(servers.held(0, "k", 1500).await, 1500);
}

#[tokio::test]
async fn with_consistency_a_hung_master_is_replaced_only_after_its_fence_bit() {
    let servers = Servers::group(3, &["--repl-ping-replica-period", "1"]).await;
    let operator = Operator::start(
        &servers,
        Terms { prefer: Preference::Consistency, self_fence_lag_s: Some(1), ..limit(200) },
    )
    .await;
    operator.healthy(&servers.id(0)).await;
    for place in 0..3 {
        let fence: Vec<String> = servers.ask(place, &["CONFIG", "GET", "min-replicas-*"]).await.unwrap();
        let value = |name: &str| fence.iter().position(|word| word == name).map(|at| fence[at + 1].clone());
        assert_eq!(
            (value("min-replicas-to-write").as_deref(), value("min-replicas-max-lag").as_deref()),
            (Some("1"), Some("1"))
        );
    }
    let writers = Writers::start(&servers);
    writers.go_on(100).await;
    let stopped = Instant::now();
    servers.signal(0, Signal::Stop);
    let first = writers.first_elsewhere(0, stopped).await;
    assert!(
        first.at - stopped >= Duration::from_millis(1000),
        "the fence bites after its lag: {:?}",
        first.at - stopped
    );
    let woken = Instant::now();
    servers.signal(0, Signal::Continue);
    assert_eq!(servers.settled().await, first.place);
    writers.go_on(100).await;
    let writes = writers.stop();
    // Redis counts its good replicas once a second, so one that was stopped itself, not only cut off,
    // believes on waking what it knew before: the fence does not bite until it has counted, and ours
    // comes first.
    let by_old = writes
        .iter()
        .filter(|write| write.place == 0 && write.at > woken)
        .map(|write| write.at - woken)
        .max();
    assert!(by_old.unwrap_or_default() < Duration::from_millis(200), "{by_old:?}");
    let by_new: Vec<_> = writes.iter().filter(|write| write.place == first.place).cloned().collect();
    assert!(Acknowledged::lost(&by_new, &servers, first.place).await.is_empty());
}
