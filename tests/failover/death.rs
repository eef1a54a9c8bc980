//! A master's process ends: the new master, the kept data, and the return of the old master.

use redis_operator::contract::{Action, LinkState};
use redis_operator::group::Report;
use std::time::Duration;
use tests::real::{AS_MASTER, Acknowledged, Operator, Servers, Terms, Writers, until};

/// Number of full copies: one means that a server had bytes that the new master had not.
async fn full_copies(servers: &Servers, place: usize) -> u64 {
    servers.info(place, "stats").await.unwrap().number("sync_full")
}

#[tokio::test]
async fn a_killed_master_is_replaced_and_what_a_replica_had_is_kept() {
    let mut servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    let writers = Writers::waiting(&servers);
    writers.go_on(200).await;
    let killed = servers.kill(0);
    let first = writers.first_elsewhere(0, killed).await;
    servers.end(0).await;
    writers.go_on(100).await;
    let writes = writers.stop();

    assert_eq!(servers.settled().await, first.place, "exactly one master, the other follows it");
    assert_eq!(full_copies(&servers, first.place).await, 0, "the other had nothing that the new one had not");
    let replicated: Vec<_> = writes.iter().filter(|write| write.is_replicated).cloned().collect();
    assert!(replicated.iter().filter(|write| write.place == 0).count() > 100);
    let lost = Acknowledged::lost(&replicated, &servers, first.place).await;
    assert!(lost.is_empty(), "{} of {}: {:?}", lost.len(), replicated.len(), lost.first());

    // It comes back as it boots under us, then follows, with all the data.
    servers.start(0, &[]).await;
    servers.in_sync(first.place).await;
    until("all the data at the returned", async || {
        (servers.size(0).await == servers.size(first.place).await).then_some(())
    })
    .await;
    operator.healthy(&servers.id(first.place)).await;
}

#[tokio::test]
async fn a_master_that_comes_back_empty_becomes_a_replica_and_deletes_no_data() {
    let mut servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 1000, 50).await;
    servers.in_sync(0).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    servers.end(0).await;
    let new = servers.settled().await;
    operator.content(&servers.id(new)).await;

    servers.start(0, &AS_MASTER).await;
    servers.in_sync(new).await;
    for place in 0..3 {
        until("all keys everywhere", async || (servers.held(place, "k", 1000).await == 1000).then_some(()))
            .await;
    }
    assert_eq!(servers.masters().await, [new]);
}

#[tokio::test]
async fn a_master_that_restarts_empty_at_once_is_replaced_before_a_replica_copies_it() {
    for arguments in [&[][..], &AS_MASTER] {
        let mut servers = Servers::group(3, &[]).await;
        servers.fill(0, "k", 5000, 50).await;
        servers.in_sync(0).await;
        let operator = Operator::start(&servers, Terms::default()).await;
        operator.healthy(&servers.id(0)).await;
        servers.end(0).await;
        servers.start(0, arguments).await;
        let master = servers.settled().await;
        for place in 0..3 {
            until("all keys everywhere", async || {
                (servers.held(place, "k", 5000).await == 5000).then_some(())
            })
            .await;
        }
        assert_ne!(master, 0, "it came back without the data: {}", operator.last());
    }
}

#[tokio::test]
async fn an_empty_restart_without_an_operator_deletes_no_data_when_one_starts() {
    let mut servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 1000, 50).await;
    servers.in_sync(0).await;
    servers.end(0).await;
    // As under Kubernetes with our settings: it boots as a replica of itself, so its replicas cannot reload
    // from it.
    servers.start(0, &[]).await;
    let _operator = Operator::start(&servers, Terms::default()).await;
    let master = servers.settled().await;
    assert_ne!(master, 0);
    until("all keys at the restarted", async || (servers.held(0, "k", 1000).await == 1000).then_some(()))
        .await;
}

#[tokio::test]
async fn of_two_members_the_survivor_takes_over() {
    let mut servers = Servers::group(2, &[]).await;
    servers.fill(0, "k", 100, 50).await;
    servers.in_sync(0).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    servers.end(0).await;
    assert_eq!(servers.settled().await, 1);
    servers.start(0, &[]).await;
    servers.in_sync(1).await;
    assert_eq!(servers.held(1, "k", 100).await, 100);
}

#[tokio::test]
async fn both_replicas_dead_leave_the_master_alone() {
    let mut servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    servers.end(1).await;
    servers.end(2).await;
    operator
        .decided("that members are missing", |decided| decided.decision.reason == "replica-missing")
        .await;
    assert_eq!(operator.sent_within(Duration::from_millis(500)).await, [] as [String; 0]);
    assert_eq!(servers.masters().await, [0]);
    servers.start_all().await;
    servers.in_sync(0).await;
}

#[tokio::test]
async fn a_replica_that_never_had_a_copy_is_not_promoted() {
    let mut servers = Servers::idle(2, &["--repl-diskless-sync-delay", "600"]).await;
    servers.say(0, &["REPLICAOF", "NO", "ONE"]).await;
    servers.fill(0, "k", 1000, 50).await;
    servers.follow(1, 0).await;
    until("the replica waits for its copy", async || {
        servers
            .info(0, "replication")
            .await
            .filter(|facts| facts.row("slave0").contains("wait_bgsave"))
            .map(drop)
    })
    .await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.decided("a first look at both", |decided| decided.decision.master().is_some()).await;
    servers.end(0).await;
    operator
        .until_report("its end is reported", |report| {
            matches!(report, Report::Link { state: LinkState::Refused, .. })
        })
        .await;
    operator.sent_within(Duration::from_millis(1000)).await;
    assert_eq!(servers.masters().await, [] as [usize; 0], "{}", operator.last());
    let promotions =
        operator.sent().into_iter().filter(|sent| sent.starts_with("Promote")).collect::<Vec<_>>();
    assert!(promotions.is_empty(), "{promotions:?}");
}

#[tokio::test]
async fn a_replica_of_another_history_is_not_promoted_for_its_greater_offset() {
    let mut servers = Servers::idle(3, &[]).await;
    servers.say(0, &["REPLICAOF", "NO", "ONE"]).await;
    servers.follow(1, 0).await;
    servers.fill_until(0, "good", 1000, 50, 1).await;
    // A backlog, hence an offset that grows, needs a replica.
    servers.say(2, &["REPLICAOF", "NO", "ONE"]).await;
    let stranger = Servers::idle(1, &[]).await;
    let (host, port) = (&servers.endpoint(2).host, servers.endpoint(2).port.to_string());
    stranger.say(0, &["REPLICAOF", host, &port]).await;
    until("it has a replica", async || {
        servers
            .info(2, "replication")
            .await
            .filter(|facts| facts.row("slave0").contains("state=online"))
            .map(drop)
    })
    .await;
    servers.fill(2, "stale", 10_000, 200).await;
    let offset = async |place| servers.info(place, "replication").await.unwrap().number("master_repl_offset");
    assert!(offset(2).await > offset(0).await);
    drop(stranger);
    // It follows, but has not received its copy yet.
    servers.say(0, &["CONFIG", "SET", "repl-diskless-sync-delay", "600"]).await;
    servers.follow(2, 0).await;
    until("it waits for its copy", async || {
        let facts = servers.info(0, "replication").await.unwrap();
        (0..2).any(|row| facts.row(&format!("slave{row}")).contains("wait_bgsave")).then_some(())
    })
    .await;

    let operator = Operator::start(&servers, Terms::default()).await;
    operator.decided("a first look at all", |decided| decided.decision.master().is_some()).await;
    servers.end(0).await;
    operator.decided("what of the stranger", |decided| decided.decision.reason == "unrelated-data").await;
    assert_eq!(servers.info(1, "replication").await.unwrap().row("role"), "master", "{}", operator.last());
    assert_eq!(servers.held(1, "good", 1000).await, 1000);
    assert_eq!(servers.held(2, "stale", 10_000).await, 10_000, "unrelated data is not wiped unasked");
    let promoted: Vec<_> = operator
        .reports()
        .into_iter()
        .filter_map(|(_, report)| match report {
            Report::Sent { action: Action::Promote(promote), .. } => Some(promote.id),
            _ => None,
        })
        .collect();
    assert_eq!(promoted, [servers.id(1)]);
}
