//! The second and third form of an action, on servers that refuse the first one: at maxmemory, and with
//! renamed commands.

use super::rig::{Probed, Rig, client, soon};
use redis_operator::local::Server;
use redis_operator::redis::act::{self, ActFailure, HandoverTerms, Role};
use redis_operator::redis::{Connection, Endpoint};
use std::time::Duration;

/// Arguments that rename these commands.
fn renamed(commands: &[&str]) -> Vec<String> {
    commands
        .iter()
        .flat_map(|command| ["--rename-command".into(), (*command).into(), format!("no-{command}")])
        .collect()
}

/// A replica of `master` with these arguments, in sync.
async fn replica(rig: &Rig, master: &Endpoint, arguments: &[String]) -> (Server, Probed) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = rig.start(rig.settings(Some(master), &arguments)).await;
    let mut probed = Probed::new(server.endpoint());
    probed.until("INFO replication", "master_link_status:up").await;
    let row = format!("port={},state=online", server.endpoint().port);
    Probed::new(master).until("INFO replication", &row).await;
    (server, probed)
}

/// Below what it uses already: every write is refused, and up to Redis 7 whatever is queued within MULTI.
async fn fill(server: &Server) {
    let mut client = client(server.endpoint()).await;
    for (name, value) in [("maxmemory-policy", "noeviction"), ("maxmemory", "1")] {
        redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec_async(&mut client).await.unwrap();
    }
    let write = redis::cmd("SET").arg("a").arg(1).exec_async(&mut client).await;
    assert_eq!(write.unwrap_err().code(), Some("OOM"));
}

async fn hand_over(source: &Connection, target: &Connection, to: &Endpoint) -> act::HandoverReport {
    let terms = HandoverTerms { target: to.clone(), pause_max: Duration::from_secs(1), deadline: soon() };
    act::handover(source, target, &terms).await.unwrap()
}

#[tokio::test]
async fn a_full_server_is_promoted_and_follows_and_hands_over() {
    let rig = Rig::new();
    let (one, mut at_one) = rig.master().await;
    let (two, mut at_two) = rig.replica(one.endpoint()).await;
    let mut writer = client(one.endpoint()).await;
    redis::cmd("SET").arg("a").arg(1).exec_async(&mut writer).await.unwrap();
    let (first, second) = (at_one.connection().await, at_two.connection().await);
    fill(&one).await;
    let mut reader = client(two.endpoint()).await;
    let report = hand_over(&first, &second, two.endpoint()).await;
    assert!(report.attached.is_ok(), "{report:?}");
    let held: Option<u64> = redis::cmd("GET").arg("a").query_async(&mut reader).await.unwrap_or_default();
    assert_eq!(held.or(Some(1)), Some(1));
    at_one.until("INFO replication", "master_link_status:up").await;
    // Full as a replica, too: a lost link, a promotion, and the way back.
    let promoted = act::promote(&first, soon()).await.unwrap();
    assert!(
        matches!(promoted.was, Role::Replica { port, .. } if port == two.endpoint().port),
        "{promoted:?}"
    );
    at_one.until("INFO replication", "role:master").await;
    let followed = act::follow(&first, two.endpoint(), soon()).await.unwrap();
    assert!(matches!(followed.was, Role::Master { .. }) && followed.kicked.is_some_and(|it| it.is_ok()));
    at_one.until("INFO replication", "master_link_status:up").await;
}

#[tokio::test]
async fn a_renamed_command_is_replaced_by_another_form() {
    for commands in
        [&["MULTI"][..], &["EXEC"], &["EXEC", "DISCARD"], &["ROLE"], &["REPLICAOF"], &["SLAVEOF", "MULTI"]]
    {
        let rig = Rig::new();
        let (one, _) = rig.master().await;
        let (two, mut at_two) = replica(&rig, one.endpoint(), &renamed(commands)).await;
        let connection = at_two.connection().await;
        // QUIT ends a connection with a queue that nothing else can drop; the next one asks again.
        let promoted = match act::promote(&connection, soon()).await {
            Err(failure) if commands.contains(&"DISCARD") => {
                println!("{commands:?}: {failure}");
                continue;
            }
            promoted => promoted.unwrap(),
        };
        assert!(matches!(promoted.was, Role::Replica { .. }), "{commands:?}: {promoted:?}");
        let connection = at_two.connection().await;
        let followed = act::follow(&connection, one.endpoint(), soon()).await.unwrap();
        assert!(followed.kicked.is_some_and(|kicked| kicked.is_ok()), "{commands:?}");
        at_two.until("INFO replication", "master_link_status:up").await;
        drop(two);
    }
}

#[tokio::test]
async fn a_handover_loses_nothing_whatever_is_renamed_on_both_sides() {
    for commands in [
        &["MULTI"][..],
        &["EXEC"],
        &["ROLE", "REPLICAOF"],
        &["CLIENT"],
        &["CONFIG"],
        &["CLIENT", "CONFIG"],
        &["CLIENT", "CONFIG", "MULTI", "SLAVEOF"],
    ] {
        let rig = Rig::new();
        let arguments = renamed(commands);
        let one = rig.idle_with(arguments.clone()).await;
        let mut at_one = Probed::new(one.endpoint());
        act::promote(&at_one.connection().await, soon()).await.unwrap();
        let (two, mut at_two) = replica(&rig, one.endpoint(), &arguments).await;
        let mut writer =
            redis::Client::open(format!("redis://{}", one.endpoint())).unwrap().get_connection().unwrap();
        let writing = std::thread::spawn(move || {
            let mut acknowledged = 0_u64;
            while redis::cmd("RPUSH").arg("written").arg(acknowledged + 1).exec(&mut writer).is_ok() {
                acknowledged += 1;
                std::thread::sleep(Duration::from_micros(300));
            }
            acknowledged
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (source, target) = (at_one.connection().await, at_two.connection().await);
        let terms = HandoverTerms {
            target: two.endpoint().clone(),
            pause_max: Duration::from_secs(1),
            deadline: soon(),
        };
        let done = act::handover(&source, &target, &terms).await;
        println!("{commands:?}: {done:?}");
        let acknowledged = writing.join().unwrap();
        let master = match done {
            Ok(_) => two.endpoint(),
            // Without any pause a write may have slipped in.
            Err(ActFailure::Undone { .. }) if commands.contains(&"CONFIG") => one.endpoint(),
            Err(failure) => panic!("{commands:?}: {failure}"),
        };
        let mut reader = client(master).await;
        let held: u64 = redis::cmd("LLEN").arg("written").query_async(&mut reader).await.unwrap();
        assert!(acknowledged > 0 && held >= acknowledged, "{commands:?}: {held} of {acknowledged}");
        Probed::new(master).until("INFO replication", "role:master").await;
    }
}
