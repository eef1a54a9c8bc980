//! Sentinels that know too much, too little, or the wrong master: hello, rewrite, settings.

use super::rig::{Rig, soon};
use redis_operator::redis::act::sentinel::{announce, rewrite, set_option};
use redis_operator::redis::act::{self, ActFailure};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::real::{MASTER_NAME, Sentinels, Servers, Watching, until, versions};

#[tokio::test]
async fn a_hello_needs_a_master_that_answers_as_one_and_a_later_epoch() {
    let rig = Rig::new(Watching::default()).await;
    let id = rig.sentinels.id(0);
    let refused = |outcome: Result<(), ActFailure>, words: &str| match outcome {
        Err(failure @ ActFailure::Precondition { .. }) => {
            assert!(failure.to_string().contains(words), "{failure}")
        }
        other => panic!("{other:?}"),
    };
    refused(announce(&rig.watch, &id, &rig.master(1), 7, soon()).await, "does not answer as a master");
    act::promote(rig.member(1), soon()).await.unwrap();
    refused(announce(&rig.watch, &id, &rig.master(1), 0, soon()).await, "takes only a later one");
    assert_eq!(rig.sentinels.named(0), rig.servers.id(0), "nothing was changed");
    announce(&rig.watch, &id, &rig.master(1), 7, soon()).await.unwrap();
    assert_eq!(rig.sentinels.named(0), rig.servers.id(1));
    // What it names already is no news.
    announce(&rig.watch, &id, &rig.master(1), 7, soon()).await.unwrap();
    let switches = rig.sentinels.heard("+switch-master");
    assert_eq!(switches.iter().filter(|heard| heard.place == 0).count(), 1);
    assert_eq!(rig.sentinels.rows(0, "SENTINELS").len(), 2, "the speaker was a peer that it knew");
}

/// Asks for the master all the time. Returns how often, and how often there was none.
struct Client {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<u64>,
}

impl Client {
    fn start(sentinels: &Sentinels, place: usize) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut wire = sentinels.wire(place).unwrap();
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            let mut none = 0;
            while !stopped.load(Ordering::Relaxed) {
                let reply = wire.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]);
                none += u64::from(!matches!(reply, redis::Value::Array(_)));
                count.fetch_add(1, Ordering::Relaxed);
            }
            none
        });
        Self { stop, asked, thread }
    }

    fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let none = self.thread.join().unwrap();
        (self.asked.load(Ordering::Relaxed), none)
    }
}

fn ids(sentinels: &Sentinels, place: usize) -> BTreeSet<String> {
    let rows = sentinels.rows(place, "SENTINELS");
    let id = |row: &Vec<(String, String)>| row.iter().find(|(name, _)| name == "runid").unwrap().1.clone();
    rows.iter().map(id).collect()
}

#[tokio::test]
async fn on_each_version_a_rewrite_forgets_ghosts_and_clients_always_find_a_master() {
    for (name, program) in versions() {
        let rig = Rig::of(&program, Watching::default()).await;
        let (real, settings) = (ids(&rig.sentinels, 0), rig.sentinels.field(0, "failover-timeout"));
        // A voter that does not exist, and a replica that left.
        let ghost = format!("127.0.0.1,1,{},0,{MASTER_NAME},127.0.0.1,1,0", "d".repeat(40));
        rig.sentinels.ask(0, &["PUBLISH", "__sentinel__:hello", &ghost]);
        let away = ["REPLICAOF", "127.0.0.1", "1"];
        rig.servers.say(2, &away).await;
        assert_eq!((ids(&rig.sentinels, 0).len(), rig.sentinels.rows(0, "REPLICAS").len()), (3, 2));

        let client = Client::start(&rig.sentinels, 0);
        let begun = Instant::now();
        let id = rig.sentinels.id(0);
        let done = rewrite(&rig.watch, &id, &rig.master(0), soon()).await.unwrap();
        let peers_after = begun.elapsed();
        assert_eq!((done.peers, ids(&rig.sentinels, 0)), (2, real), "{name}: the same ids as before");
        until("it knows the one replica again", async || {
            (rig.sentinels.rows(0, "REPLICAS").len() == 1).then_some(())
        })
        .await;
        let (asked, none) = client.end();
        println!("{name}: peers {peers_after:?}, replicas {:?}, asked {asked}", begun.elapsed());
        assert_eq!(none, 0, "{name}: of {asked} answers");
        assert_eq!(rig.sentinels.named(0), rig.servers.id(0), "{name}");
        assert_eq!(rig.sentinels.field(0, "failover-timeout"), settings, "{name}");
        assert_eq!(rig.sentinels.field(0, "quorum"), "2", "{name}");
    }
}

#[tokio::test]
async fn a_sentinel_that_watches_nothing_is_given_the_master() {
    let rig = Rig::new(Watching::default()).await;
    rig.sentinels.ask(0, &["SENTINEL", "REMOVE", MASTER_NAME]);
    let id = rig.sentinels.id(0);
    let done = rewrite(&rig.watch, &id, &rig.master(0), soon()).await.unwrap();
    assert_eq!((done.peers, rig.sentinels.named(0)), (2, rig.servers.id(0)));
    rig.all_know_all().await;
}

#[tokio::test]
async fn a_master_in_no_form_that_the_sentinel_resolves_changes_nothing() {
    let rig = Rig::new(Watching::default()).await;
    let mut named = rig.master(0);
    named.places = vec![redis_operator::redis::Endpoint { host: "no.such.name.invalid".into(), port: 1 }];
    let id = rig.sentinels.id(0);
    let outcome = rewrite(&rig.watch, &id, &named, soon()).await;
    assert!(matches!(&outcome, Err(ActFailure::Precondition { why, .. }) if why.contains("IP address")));
    assert_eq!(rig.sentinels.named(0), rig.servers.id(0));
    assert!(rig.sentinels.heard("-monitor").is_empty(), "nothing was removed");
}

#[tokio::test]
async fn a_sentinel_with_scripts_is_not_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("notify.sh");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let further = vec![format!("sentinel notification-script {MASTER_NAME} {}", script.display())];
    let rig = Rig::new(Watching { further, ..Watching::default() }).await;
    let outcome = rewrite(&rig.watch, &rig.sentinels.id(0), &rig.master(0), soon()).await;
    assert!(matches!(&outcome, Err(ActFailure::Precondition { why, .. }) if why.contains("script")));
    assert!(rig.sentinels.field(0, "notification-script").ends_with("notify.sh"));
}

#[tokio::test]
async fn the_password_of_the_servers_is_set_again_with_a_rewrite() {
    let mut servers = Servers::planned(3, &["--requirepass", "secret", "--masterauth", "secret"]);
    servers.log_in_as("default", "secret");
    servers.start_all().await;
    servers.attach_all().await;
    // They lack it: to them every server is down, and they can vote all the same.
    let watching = Watching { down_after_ms: 1_500, ..Watching::default() };
    let program = std::env::var_os("REDIS_SERVER").unwrap_or("redis-server".into());
    let sentinels = Sentinels::unprepared(std::path::Path::new(&program), &servers, &watching);
    until("they are sure that it is down", async || {
        sentinels.field(0, "flags").contains("s_down").then_some(())
    })
    .await;
    let rig = Rig::around(servers, sentinels, watching, None, Some("secret")).await;
    for place in 0..3 {
        let id = rig.sentinels.id(place);
        rewrite(&rig.watch, &id, &rig.master(0), soon()).await.unwrap();
    }
    rig.all_know_all().await;
    let file = rig.sentinels.ask(0, &["SENTINEL", "MASTER", MASTER_NAME]);
    assert!(!format!("{file:?}").contains("secret"), "no reply shows it");
}

#[tokio::test]
async fn options_are_set_and_read_back_and_nothing_else_is_set() {
    let rig = Rig::new(Watching::default()).await;
    let id = rig.sentinels.id(1);
    for (option, to) in [
        ("down-after-milliseconds", "2500"),
        ("failover-timeout", "12000"),
        ("parallel-syncs", "3"),
        ("quorum", "1"),
    ] {
        set_option(&rig.watch, &id, option, to, soon()).await.unwrap();
        assert_eq!(rig.sentinels.field(1, option), to);
    }
    for (option, to) in [("auth-pass", "x"), ("quorum", "0"), ("notification-script", "/bin/true")] {
        let outcome = set_option(&rig.watch, &id, option, to, soon()).await;
        assert!(matches!(outcome, Err(ActFailure::Precondition { .. })), "{option}");
    }
    assert_eq!(rig.sentinels.rows(1, "REPLICAS").len(), 2, "nothing is forgotten");
}

#[tokio::test]
async fn a_sentinel_that_returns_with_the_old_master_in_its_file_agrees_by_itself() {
    let mut rig = Rig::new(Watching::default()).await;
    rig.sentinels.end(2);
    rig.servers.kill(0);
    rig.servers.end(0).await;
    let (elected, told) = rig.fail_over(1, &[2]).await.unwrap();
    assert_eq!((elected.votes, told.told.len(), told.untold.len()), (2, 2, 1));
    rig.sentinels.start_again(2);
    rig.sentinels.all_name(&rig.servers.id(1)).await;
    rig.reconnect_sentinel(2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.own_failovers(), 0);
}
