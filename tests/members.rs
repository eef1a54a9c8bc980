//! The simulated members beside a real server: the same rows in INFO, the same facts for the engine, the same
//! roles after a failover.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use failover_core::facts::{PersistenceFacts, ReplicationFacts, ReportedRole, ServerFacts, keys};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};
use tests::members::{Group, Session};
use tests::real::Servers;

const SECTIONS: [&str; 4] = ["replication", "server", "persistence", "keyspace"];

/// A healthy group of three, and its connections.
struct Simulated {
    group: Group,
    now: Instant,
}

impl Simulated {
    fn new() -> Self {
        let places: Vec<_> =
            (1..4).map(|last| SocketAddrV4::new(Ipv4Addr::new(127, 1, 0, last), 6379)).collect();
        let now = Instant::now();
        Self { group: Group::healthy(&places, 1000, now), now }
    }

    fn say(&mut self, index: usize, words: &[&str]) -> String {
        let mut reply = String::new();
        let words = words.iter().map(ToString::to_string).collect();
        Session::default().take(&mut self.group, index, words, self.now, &mut reply);
        reply
    }

    fn info(&mut self, index: usize, section: &str) -> String {
        let reply = self.say(index, &["INFO", section]);
        reply.split_once("\r\n").unwrap().1.trim_end_matches("\r\n").to_owned() + "\r\n"
    }
}

/// The names of the rows, in their order.
fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect()
}

#[tokio::test]
async fn info_has_the_rows_of_a_real_server_in_their_order() {
    let servers = Servers::group(3, &[]).await;
    let mut simulated = Simulated::new();
    for place in 0..3 {
        for section in SECTIONS {
            let mut real: String = servers.ask(place, &["INFO", section]).await.unwrap();
            if !real.contains("redis_version:7.0") && section == "server" {
                // Another version has other rows, and the engine's own tests read them all.
                return;
            }
            if section == "keyspace" {
                real = "db0:keys=1000,expires=0,avg_ttl=0\r\n".into();
            }
            assert_eq!(names(&simulated.info(place, section)), names(&real), "{section} of {place}");
        }
    }
}

#[test]
fn the_engine_reads_a_healthy_group() {
    let mut simulated = Simulated::new();
    simulated.now += Duration::from_secs(2);
    let texts: Vec<String> = (0..3).map(|index| simulated.info(index, "replication")).collect();
    let facts: Vec<_> = texts.iter().map(|text| ReplicationFacts::parse(text)).collect();
    assert_eq!(
        facts.iter().map(|facts| facts.role).collect::<Vec<_>>(),
        [ReportedRole::Master, ReportedRole::Replica, ReportedRole::Replica]
    );
    assert_eq!(facts[0].attached.iter().filter(|row| row.online).count(), 2);
    let master = facts[0].history;
    assert!(
        facts.iter().all(|facts| facts.history == master)
            && master.is_some_and(|history| history.offset == 102_000)
    );
    assert_eq!(PersistenceFacts::parse(&simulated.info(1, "persistence")).loading, Some(false));
    assert_eq!(keys(&simulated.info(1, "keyspace")), Some(1000));
    assert!(ServerFacts::parse(&simulated.info(1, "server")).run_id.is_some_and(|id| id.len() == 40));
}

#[test]
fn a_dead_master_leaves_links_down_and_a_promotion_grows_out_of_its_history() {
    let mut simulated = Simulated::new();
    simulated.group.kill(0, simulated.now);
    let before = simulated.info(1, "replication");
    let history = ReplicationFacts::parse(&before).history.unwrap();
    assert_eq!(ReplicationFacts::parse(&before).link_up, Some(false));
    assert_eq!(simulated.say(1, &["REPLICAOF", "NO", "ONE"]), "+OK\r\n");
    assert_eq!(simulated.say(2, &["REPLICAOF", "127.1.0.2", "6379"]), "+OK\r\n");
    simulated.now += Duration::from_secs(1);
    let texts = [1, 2].map(|index| simulated.info(index, "replication"));
    let [master, replica] = texts.each_ref().map(|text| ReplicationFacts::parse(text));
    assert_eq!((master.role, replica.link_up), (ReportedRole::Master, Some(true)));
    let grown = master.history.unwrap();
    assert_eq!(grown.former, Some((history.replid, history.offset)));
    assert_eq!((replica.history.unwrap(), grown.offset), (grown, history.offset + 1000));
    simulated.group.revive(0, simulated.now);
    let back = simulated.info(0, "replication");
    assert_eq!(ReplicationFacts::parse(&back).link_up, Some(false), "it comes back as a replica of itself");
    simulated.say(0, &["REPLICAOF", "127.1.0.2", "6379"]);
    let copied = simulated.info(0, "replication");
    assert_eq!(ReplicationFacts::parse(&copied).history.unwrap().replid, grown.replid);
}

#[test]
fn a_transaction_is_answered_as_redis_does() {
    let mut simulated = Simulated::new();
    let (mut session, mut reply) = (Session::default(), String::new());
    for words in [&["MULTI"][..], &["ROLE"], &["REPLICAOF", "NO", "ONE"], &["ROLE"], &["EXEC"]] {
        let words = words.iter().map(ToString::to_string).collect();
        session.take(&mut simulated.group, 1, words, simulated.now, &mut reply);
    }
    let results = "*3\r\n*5\r\n$5\r\nslave\r\n$9\r\n127.1.0.1\r\n:6379\r\n$9\r\nconnected\r\n:100000\r\n+OK\r\
                   \n*3\r\n$6\r\nmaster\r\n:100000\r\n*0\r\n";
    assert_eq!(reply, format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n{results}"));
}
