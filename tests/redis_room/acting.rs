//! Each action on real servers: done, confirmed, idempotent, refused.

use super::rig::{Probed, Rig, client, has_write_pause, soon};
use redis_operator::local::{Server, ServerError, Signal};
use redis_operator::redis::act::{self, ActFailure, Role};
use redis_operator::redis::{Connection, Endpoint};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_promotion_is_confirmed_and_may_be_repeated() {
    let rig = Rig::new();
    let server = rig.idle(&[]).await;
    let mut it = Probed::new(server.endpoint());
    let connection = it.connection().await;
    let first = act::promote(&connection, soon()).await.unwrap();
    assert!(matches!(first.was, Role::Replica { port, .. } if port == server.endpoint().port));
    let again = act::promote(&connection, soon()).await.unwrap();
    assert_eq!(again.was, Role::Master { offset: again.offset });
    it.until("INFO replication", "role:master").await;
}

#[tokio::test]
async fn a_former_master_follows_and_its_clients_go_but_its_replicas_stay() {
    let rig = Rig::new();
    let ((first, mut at_first), (second, _)) = (rig.master().await, rig.master().await);
    let (_replica, mut at_replica) = rig.replica(first.endpoint()).await;
    let connection = at_first.connection().await;
    // A link that the rig let go may still be closing on the server's side.
    act::kick_clients(&connection, soon()).await.unwrap();
    let mut writer = client(first.endpoint()).await;
    redis::cmd("SET").arg("a").arg(1).exec_async(&mut writer).await.unwrap();
    let mut subscriber = redis::Client::open(format!("redis://{}", first.endpoint()))
        .unwrap()
        .get_async_pubsub()
        .await
        .unwrap();
    subscriber.subscribe("c").await.unwrap();

    let done = act::follow(&connection, second.endpoint(), soon()).await.unwrap();
    assert!(matches!(done.was, Role::Master { .. }));
    let kicked = done.kicked.unwrap().unwrap();
    assert_eq!((kicked.normal, kicked.pubsub), (1, 1), "ours is not among them");
    assert!(redis::cmd("GET").arg("a").exec_async(&mut writer).await.is_err());

    let again = act::follow(&connection, second.endpoint(), soon()).await.unwrap();
    assert!(matches!(again.was, Role::Replica { port, .. } if port == second.endpoint().port));
    assert_eq!(again.kicked, None, "a replica's readers are left alone");
    at_first.until("INFO replication", "master_link_status:up").await;
    at_replica.until("INFO replication", "master_link_status:up").await;
}

#[tokio::test]
async fn clients_are_kicked_and_the_replication_link_is_not() {
    let rig = Rig::new();
    let (master, mut at_master) = rig.master().await;
    let (_replica, mut at_replica) = rig.replica(master.endpoint()).await;
    let connection = at_master.connection().await;
    // A link that the rig let go may still be closing on the server's side.
    act::kick_clients(&connection, soon()).await.unwrap();
    let _clients = (client(master.endpoint()).await, client(master.endpoint()).await);
    assert_eq!(act::kick_clients(&connection, soon()).await.unwrap().normal, 2);
    assert_eq!(act::kick_clients(&connection, soon()).await.unwrap().normal, 0);
    assert!(at_master.answer().await.1.text("INFO replication").contains("connected_slaves:1"));
    assert!(at_replica.answer().await.1.text("INFO replication").contains("master_link_status:up"));
}

#[tokio::test]
async fn a_fence_holds_writes_until_it_is_lifted_or_its_time_is_up() {
    let rig = Rig::new();
    let (master, mut at_master) = rig.master().await;
    let connection = at_master.connection().await;
    if !has_write_pause(&mut at_master).await {
        let refused = act::fence(&connection, Duration::from_secs(1), soon()).await;
        return assert!(matches!(refused, Err(ActFailure::Refused { .. })), "{refused:?}");
    }
    for lift in [true, false] {
        let bound = Duration::from_millis(if lift { 10_000 } else { 300 });
        let fenced = Instant::now();
        assert!(matches!(act::fence(&connection, bound, soon()).await.unwrap(), Role::Master { .. }));
        let mut writer = client(master.endpoint()).await;
        let write =
            tokio::spawn(async move { redis::cmd("SET").arg("a").arg(1).exec_async(&mut writer).await });
        at_master.until("INFO replication", "").await;
        assert!(!write.is_finished());
        if lift {
            act::unfence(&connection, soon()).await.unwrap();
        }
        // The crate's own deadline of 500 ms is longer than the short bound.
        write.await.unwrap().unwrap();
        assert!(if lift { fenced.elapsed() < bound } else { fenced.elapsed() >= bound });
    }
    act::unfence(&connection, soon()).await.unwrap();
}

#[tokio::test]
async fn only_listed_directives_are_set_and_to_numbers_only() {
    let rig = Rig::new();
    let server = rig.idle(&[]).await;
    let mut it = Probed::new(server.endpoint());
    let connection = it.connection().await;
    act::configure(&connection, "min-replicas-to-write", "1", soon()).await.unwrap();
    act::configure(&connection, "replica-priority", "0", soon()).await.unwrap();
    let refused = |failure: Result<(), ActFailure>, word: &str| match failure {
        Err(failure @ ActFailure::Precondition { .. }) => {
            assert!(failure.to_string().contains(word), "{failure}")
        }
        other => panic!("{other:?}"),
    };
    refused(act::configure(&connection, "requirepass", "x", soon()).await, "requirepass");
    refused(act::configure(&connection, "repl-timeout", "60", soon()).await, "repl-timeout");
    refused(act::configure(&connection, "replica-priority", "high", soon()).await, "high");
    let too_large = act::configure(&connection, "repl-ping-replica-period", "4000000000", soon()).await;
    assert!(matches!(too_large, Err(ActFailure::Refused { .. })), "{too_large:?}");
}

#[tokio::test]
async fn an_unanswered_action_is_in_doubt_and_still_happens() {
    let rig = Rig::new();
    let server = rig.idle(&[]).await;
    let mut it = Probed::new(server.endpoint());
    let connection = it.connection().await;
    server.signal(Signal::Stop).unwrap();
    let failure = act::promote(&connection, Instant::now() + Duration::from_millis(30)).await.unwrap_err();
    assert!(matches!(failure, ActFailure::InDoubt { step: "promote", .. }), "{failure:?}");
    server.signal(Signal::Continue).unwrap();
    it.until("INFO replication", "role:master").await;
}

#[tokio::test]
async fn an_action_on_an_ended_connection_is_not_sent() {
    let rig = Rig::new();
    let mut server = rig.idle(&[]).await;
    let mut it = Probed::new(server.endpoint());
    let connection = it.connection().await;
    server.signal(Signal::Kill).unwrap();
    it.event().await;
    server.ended().await.unwrap();
    let restarted = rig.start(server.settings().clone()).await;
    assert_eq!(
        act::promote(&connection, soon()).await,
        Err(ActFailure::Gone { step: "promote" }),
        "another run id is another connection"
    );
    Probed::new(restarted.endpoint()).until("INFO replication", "role:slave").await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let rig = Rig::new();
    let mut server = Server::start(rig.settings(None, &["--no-such-directive", "yes"])).unwrap();
    let failure = server.ready(soon()).await.unwrap_err();
    assert!(
        matches!(failure, ServerError::Ended { .. })
            && failure.to_string().contains("ended with exit status: 1: "),
        "{failure}"
    );
    let mut settings = rig.settings(None, &[]);
    settings.program = "no-such-server".into();
    assert!(Server::start(settings).unwrap_err().to_string().contains("no-such-server does not start"));
}

/// The documented user, with a password of its own.
fn least_user() -> String {
    let file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/acl/operator.acl")).unwrap();
    let line = file.lines().find_map(|line| line.strip_prefix("user ")).unwrap();
    line.replace(">change-me", ">secret")
}

async fn least(endpoint: &Endpoint) -> (Probed, Connection) {
    let mut probed = Probed::logged_in(endpoint, Some("redis-operator"), "secret", None);
    let connection = probed.connection().await;
    (probed, connection)
}

#[tokio::test]
async fn the_documented_acl_user_can_do_everything_and_no_more() {
    let rig = Rig::new();
    let user = least_user();
    let arguments: Vec<_> = ["--user"].into_iter().chain(user.split(' ')).collect();
    let old = rig.idle(&arguments).await;
    let (mut at_old, old_connection) = least(old.endpoint()).await;
    act::promote(&old_connection, soon()).await.unwrap();
    let new = rig.start(rig.settings(Some(old.endpoint()), &arguments)).await;
    let (mut at_new, new_connection) = least(new.endpoint()).await;
    at_new.until("INFO replication", "master_link_status:up").await;
    for text in at_old.answer().await.1.0 {
        assert!(text.1.is_ok(), "{text:?}");
    }
    let terms = act::HandoverTerms {
        target: new.endpoint().clone(),
        pause_max: Duration::from_secs(2),
        deadline: soon(),
    };
    let report = act::handover(&old_connection, &new_connection, &terms).await.unwrap();
    assert!(report.kicked.is_ok());
    assert!(act::follow(&new_connection, old.endpoint(), soon()).await.unwrap().kicked.unwrap().is_ok());
    act::promote(&old_connection, soon()).await.unwrap();
    act::kick_clients(&old_connection, soon()).await.unwrap();
    if has_write_pause(&mut at_old).await {
        act::fence(&old_connection, Duration::from_secs(1), soon()).await.unwrap();
        act::unfence(&old_connection, soon()).await.unwrap();
    }
    act::configure(&old_connection, "min-replicas-to-write", "0", soon()).await.unwrap();

    let url = format!("redis://redis-operator:secret@{}", old.endpoint());
    let mut nosy = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    for command in ["GET", "KEYS", "FLUSHALL", "SHUTDOWN", "SUBSCRIBE"] {
        let error = redis::cmd(command).arg("a").exec_async(&mut nosy).await.unwrap_err();
        assert_eq!(error.code(), Some("NOPERM"), "{command}: {error}");
    }
}

#[tokio::test]
async fn a_missing_right_to_kill_clients_never_stops_a_demotion() {
    let rig = Rig::new();
    let without = |rights: &[&str]| {
        let user = least_user();
        ["--user"]
            .into_iter()
            .chain(user.split(' ').filter(|word| !rights.contains(word)))
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let server = rig.idle_with(without(&["+client|kill"])).await;
    let (other, _) = rig.master().await;
    let (_probed, connection) = least(server.endpoint()).await;
    act::promote(&connection, soon()).await.unwrap();
    let done = act::follow(&connection, other.endpoint(), soon()).await.unwrap();
    assert!(
        matches!(done.kicked, Some(Err(ActFailure::Refused { ref reply, .. })) if reply.contains("NOPERM")),
        "{done:?}"
    );
    let no_role = rig.idle_with(without(&["+replicaof"])).await;
    let (_probed, connection) = least(no_role.endpoint()).await;
    let refused = act::promote(&connection, soon()).await.unwrap_err();
    assert!(
        matches!(&refused, ActFailure::Refused { reply, .. }
            if reply.contains("NOPERM") && reply.contains("replicaof")),
        "{refused:?}"
    );
}
