//! The model of Sentinel beside real Sentinels of each version here: histories in which the same happens to
//! both. Replies must be the same, and at rest every field that the operator reads and no clock changes.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a test")]

#[path = "model_and_sentinels/pair.rs"]
mod pair;

use pair::Pair;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::real::{MASTER_NAME, Watching};

/// The versions that are installed. Not Redis 6.0, which does not say its id.
fn programs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers");
    let all = ["redis-8.0/redis-server", "valkey-8.1/valkey-server"];
    let all = all.map(|name| folder.join(name)).into_iter().filter(|program| program.exists());
    std::iter::once("redis-server".into()).chain(all).collect()
}

/// The same history with every version, at once.
async fn with_all(watching: Watching, history: impl AsyncFn(&mut Pair)) {
    let one = async |program: PathBuf| {
        let mut pair = Pair::start(&program, &watching).await;
        history(&mut pair).await;
        println!("{}: the same", program.display());
    };
    futures_util::future::join_all(programs().into_iter().map(one)).await;
}

/// With a second or less they fail over again: a Sentinel dials a new master up to a second after it has
/// heard of it. The model does, too.
fn quick() -> Watching {
    Watching { down_after_ms: 2_000, failover_timeout_ms: 5_000, ..Watching::default() }
}

fn id(letter: &str) -> String {
    letter.repeat(40)
}

#[tokio::test]
async fn one_vote_an_epoch_for_the_first_that_asks() {
    with_all(Watching::default(), async |pair| {
        let (host, port) = pair.at(0);
        let vote = |epoch: &str, id: &str| {
            ["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", &host, &port, epoch, id].map(str::to_owned)
        };
        let mut ask = |epoch: &str, id: &str| {
            let words = vote(epoch, id);
            pair.ask(0, &words.each_ref().map(String::as_str))
        };
        assert_eq!(ask("5", &id("a")), format!("{:?}", ["int(0)", &id("a"), "int(5)"]));
        // Refused to others, in this epoch and in an earlier one.
        assert_eq!(ask("5", &id("b")), ask("5", &id("a")));
        assert_eq!(ask("4", &id("b")), ask("5", &id("a")));
        assert_eq!(ask("6", &id("b")), format!("{:?}", ["int(0)", &id("b"), "int(6)"]));
        assert_eq!(ask("7", "*"), format!("{:?}", ["int(0)", "*", "int(0)"]));
        pair.ask(0, &["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", "1", "9", &id("c")]);
        pair.ask(0, &["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", "x", "9", &id("c")]);
        // It keeps the epoch of its vote over a restart, and not for whom it was.
        pair.kill_sentinel(0);
        pair.start_sentinel(0);
        let words = vote("6", &id("b"));
        let reply = pair.ask(0, &words.each_ref().map(String::as_str));
        assert_eq!(reply, format!("{:?}", ["int(0)", "*", "int(6)"]));
        pair.agree("after the restart").await;
    })
    .await;
}

#[tokio::test]
async fn a_hello_with_a_later_epoch_is_believed_and_no_other_one() {
    with_all(Watching::default(), async |pair| {
        let (peer, (host, port)) = (pair.port(1), pair.at(2));
        let hello = |epoch: &str, name: &str, to: &str| {
            format!("127.0.0.1,{peer},<1>,{epoch},{name},{host},{to},{epoch}")
        };
        let mut publish = |text: &str| pair.ask(0, &["PUBLISH", "__sentinel__:hello", text]);
        publish(&hello("0", MASTER_NAME, &port));
        publish(&hello("7", "another", &port));
        publish("not a hello");
        let named = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME];
        assert!(pair.ask(0, &named).contains(&pair.at(0).1));
        pair.ask(0, &["PUBLISH", "another", &hello("9", MASTER_NAME, &port)]);
        pair.say(2, &["REPLICAOF", "NO", "ONE"]);
        pair.say(1, &["REPLICAOF", &host, &port]);
        pair.say(0, &["REPLICAOF", &host, &port]);
        pair.ask(0, &["PUBLISH", "__sentinel__:hello", &hello("7", MASTER_NAME, &port)]);
        assert!(pair.ask(0, &named).contains(&port));
        // An equal one, and a lower one.
        let old = pair.at(0).1;
        pair.ask(0, &["PUBLISH", "__sentinel__:hello", &hello("7", MASTER_NAME, &old)]);
        pair.ask(0, &["PUBLISH", "__sentinel__:hello", &hello("3", MASTER_NAME, &old)]);
        assert!(pair.ask(0, &named).contains(&port));
        // The others hear of it from the first one.
        pair.agree("all have switched").await;
        pair.kill_sentinel(0);
        pair.start_sentinel(0);
        pair.agree("as before the restart").await;
        pair.neither_heard("+try-failover");
    })
    .await;
}

#[tokio::test]
async fn voters_by_hello_and_an_address_that_moves() {
    with_all(Watching { count: 1, ..Watching::default() }, async |pair| {
        let (host, port) = pair.at(0);
        for speaker in
            ["127.0.0.1,1,<0>", &format!("127.0.0.1,2,{}", id("d")), &format!("127.0.0.1,3,{}", id("d"))]
        {
            let hello = format!("{speaker},0,{MASTER_NAME},{host},{port},0");
            pair.ask(0, &["PUBLISH", "__sentinel__:hello", &hello]);
        }
        pair.ask(0, &["SENTINEL", "CKQUORUM", MASTER_NAME]);
        // Another one at the address of one that is known: that one is gone.
        let hello = format!("127.0.0.1,3,{},0,{MASTER_NAME},{host},{port},0", id("e"));
        pair.ask(0, &["PUBLISH", "__sentinel__:hello", &hello]);
        pair.agree("itself and a stranger are its peers").await;
    })
    .await;
}

#[tokio::test]
async fn a_sentinel_is_set_up_anew_in_one_write() {
    with_all(Watching::default(), async |pair| {
        let (host, port) = pair.at(0);
        pair.ask(0, &["SENTINEL", "MONITOR", MASTER_NAME, &host, &port, "2"]);
        pair.ask(0, &["SENTINEL", "REMOVE", "another"]);
        pair.ask(0, &["SENTINEL", "SET", MASTER_NAME, "quorum", "0"]);
        pair.ask(0, &["SENTINEL", "REMOVE", MASTER_NAME]);
        for about in ["MASTER", "REPLICAS", "SENTINELS", "CKQUORUM"] {
            pair.ask(0, &["SENTINEL", about, MASTER_NAME]);
        }
        pair.ask(0, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]);
        pair.ask(0, &["SENTINEL", "MONITOR", MASTER_NAME, &host, &port, "3"]);
        pair.agree("with the settings of a new one").await;
        let pairs = ["down-after-milliseconds", "7000", "failover-timeout", "9000", "parallel-syncs", "2"];
        pair.ask(0, &[&["SENTINEL", "SET", MASTER_NAME][..], &pairs].concat());
        pair.agree("with its own settings").await;
    })
    .await;
}

#[tokio::test]
async fn a_dead_master_is_replaced_and_follows_when_it_is_back() {
    with_all(quick(), async |pair| {
        pair.is_random = true;
        pair.say(1, &["CONFIG", "SET", "replica-priority", "10"]);
        pair.wait(Duration::from_secs(11)).await;
        pair.kill_server(0).await;
        for channel in ["+sdown", "+odown", "+try-failover", "+vote-for-leader", "+elected-leader"] {
            pair.both_hear(channel).await;
        }
        for channel in ["+selected-slave", "+promoted-slave", "+switch-master"] {
            pair.both_hear(channel).await;
        }
        pair.agree("all name the one with the better priority").await;
        pair.start_server(0).await;
        pair.both_hear("+convert-to-slave").await;
        pair.agree("the former master follows").await;
    })
    .await;
}

#[tokio::test]
async fn with_priority_0_everywhere_nobody_is_promoted_and_nothing_says_so() {
    with_all(Watching { failover_timeout_ms: 1_000, ..quick() }, async |pair| {
        pair.is_random = true;
        for server in [1, 2] {
            pair.say(server, &["CONFIG", "SET", "replica-priority", "0"]);
        }
        // INFO every ten seconds.
        pair.wait(Duration::from_secs(11)).await;
        assert_eq!(pair.ask(0, &["SENTINEL", "FAILOVER", MASTER_NAME]), "-NOGOODSLAVE");
        pair.kill_server(0).await;
        pair.both_hear("-failover-abort-no-good-slave").await;
        pair.neither_heard("+switch-master");
        pair.ask(0, &["SENTINEL", "CKQUORUM", MASTER_NAME]);
    })
    .await;
}

#[tokio::test]
async fn sentinels_that_come_back_too_late_never_promote() {
    with_all(
        Watching { down_after_ms: 400, failover_timeout_ms: 1_000, ..Watching::default() },
        async |pair| {
            pair.is_random = true;
            (0..3).for_each(|sentinel| pair.kill_sentinel(sentinel));
            pair.kill_server(0).await;
            pair.wait(Duration::from_secs(7)).await;
            (0..3).for_each(|sentinel| pair.start_sentinel(sentinel));
            pair.both_hear("-failover-abort-no-good-slave").await;
            pair.wait(Duration::from_secs(6)).await;
            pair.neither_heard("+switch-master");
            pair.ask(0, &["SENTINEL", "CKQUORUM", MASTER_NAME]);
        },
    )
    .await;
}

#[tokio::test]
async fn a_forced_failover_takes_no_votes() {
    with_all(quick(), async |pair| {
        pair.is_random = true;
        pair.say(2, &["CONFIG", "SET", "replica-priority", "10"]);
        pair.wait(Duration::from_secs(11)).await;
        assert_eq!(pair.ask(0, &["SENTINEL", "FAILOVER", MASTER_NAME]), "OK");
        assert_eq!(pair.ask(0, &["SENTINEL", "FAILOVER", MASTER_NAME]), "-INPROG");
        pair.both_hear("+switch-master").await;
        pair.neither_heard("+odown");
        pair.agree("and the living master follows").await;
    })
    .await;
}

#[tokio::test]
async fn in_tilt_a_sentinel_votes_and_calls_nothing_down() {
    with_all(quick(), async |pair| {
        pair.is_random = true;
        // The two others could not fail over without it.
        pair.kill_sentinel(1);
        pair.kill_sentinel(2);
        pair.stop_sentinel_for(0, Duration::from_millis(2_600)).await;
        pair.both_hear("+tilt").await;
        pair.kill_server(0).await;
        pair.wait(Duration::from_secs(4)).await;
        let (host, port) = pair.at(0);
        let words = ["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", &host, &port, "9", &id("a")];
        assert_eq!(pair.ask(0, &words), format!("{:?}", ["int(0)", &id("a"), "int(9)"]));
        pair.neither_heard("+try-failover");
    })
    .await;
}

/// A PUBLISH waits for the end of a write pause, and whatever comes behind it.
#[tokio::test]
async fn a_master_whose_writes_are_paused_for_long_counts_as_down() {
    with_all(Watching { down_after_ms: 2_000, ..Watching::default() }, async |pair| {
        pair.say(0, &["CLIENT", "PAUSE", "20000", "WRITE"]);
        pair.both_hear("+sdown").await;
        pair.say(0, &["CLIENT", "UNPAUSE"]);
        pair.both_hear("-sdown").await;
    })
    .await;
}

#[tokio::test]
async fn a_master_that_hangs_is_replaced_and_follows_when_it_wakes() {
    with_all(quick(), async |pair| {
        pair.is_random = true;
        pair.say(1, &["CONFIG", "SET", "replica-priority", "10"]);
        pair.wait(Duration::from_secs(11)).await;
        pair.stop_server_for(0, Duration::from_secs(8)).await;
        pair.both_hear("+switch-master").await;
        pair.agree("the former master follows").await;
    })
    .await;
}
