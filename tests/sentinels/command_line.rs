//! `static --sentinels` as users have it.

use redis_operator::contract::Topology;
use redis_operator::policy::embedded;
use std::time::{Duration, Instant};
use tests::policies::CLASSIC;
use tests::real::{Acknowledged, Program, Sentinels, Servers, Watching, Writers, sandbox};

/// Whether the embedded policy decides for groups with Sentinels.
fn is_served() -> bool {
    let policy = embedded(&sandbox()).unwrap();
    let is_served = policy.about().description.topologies.contains(&Topology::Sentinel);
    if !is_served {
        println!("skipped: the embedded policy does not decide for topology sentinel");
    }
    is_served
}

async fn group(watching: &Watching) -> (Servers, Sentinels) {
    let servers = Servers::group(3, &[]).await;
    let sentinels = Sentinels::start(&servers, watching).await;
    (servers, sentinels)
}

#[tokio::test]
async fn what_is_wrong_is_said_in_a_line_before_anything_is_done() {
    let (servers, sentinels) = group(&Watching { down_after_ms: 1_000, ..Watching::default() }).await;
    let (redis, list) = (servers.list(), sentinels.list());
    let run = async |further: &[&str]| {
        Program::run(&[&["static", "--once", "--redis", &redis, "--sentinels"], further].concat()).await
    };
    let cases: &[(&[&str], &[&str])] = &[
        (&["a"], &["--sentinels", "no port"]),
        (&[&format!("{list},{}", sentinels.id(0))], &["--sentinels", "listed twice"]),
        (&[&format!("{list},{}", servers.id(0))], &["--sentinels", "listed twice"]),
        (&["127.0.0.1:1"], &["no Sentinel says its", "check --sentinels"]),
        (&[&list, "--sentinel-master", "cart"], &["--sentinel-master", "\"cart\"", "mymaster"]),
        (&[&list], &["down-after-milliseconds", "1000", "1500", "--sentinels-down-after 2s"]),
        (&[&list, "--sentinels-password-file", "/no/such"], &["--sentinels-password-file", "/no/such"]),
        (&[&list, "--sentinels-quorum", "0"], &["--sentinels-quorum"]),
    ];
    for (further, words) in cases {
        let ended = run(further).await;
        assert!(ended.is_bad_input(words), "{further:?}: {ended:?}");
    }
    let policy = servers.dir().join("classic.wasm");
    std::fs::write(&policy, CLASSIC).unwrap();
    let policy = ["--policy", policy.to_str().unwrap(), "--unproven-policy"];
    let ended = run(&[&[list.as_str(), "--mode", "deferred"], &policy[..]].concat()).await;
    assert!(ended.is_bad_input(&["does not decide for topology sentinel"]), "{ended:?}");
    sentinels.ask(1, &["SENTINEL", "SET", "mymaster", "failover-timeout", "9000"]);
    let ended = run(&[&list, "--mode", "deferred"]).await;
    assert!(ended.is_bad_input(&["failover-timeout", "9000", "60000"]), "{ended:?}");
    let ended = Program::run(&["static", "--redis", &redis, "--mode", "deferred"]).await;
    assert!(ended.is_bad_input(&["--sentinels"]), "{ended:?}");
}

#[tokio::test]
async fn a_dead_master_is_replaced_with_the_votes_of_the_sentinels() {
    if !is_served() {
        return;
    }
    let (mut servers, sentinels) = group(&Watching::default()).await;
    let (redis, list) = (servers.list(), sentinels.list());
    let program = Program::look_after(&redis, &["--sentinels", &list]);
    program.logged("healthy").await;
    let writers = Writers::start(&servers);
    writers.go_on(300).await;
    let killed = servers.kill(0);
    let first = writers.first_elsewhere(0, killed).await;
    servers.end(0).await;
    let told = sentinels.all_told(&servers.id(first.place), killed).await;
    println!("write {:?}, all told {:?}", first.at - killed, told - killed);
    servers.in_sync(first.place).await;
    // A returned master is made a replica, by the operator, and no Sentinel does anything.
    servers.start(0, &["--replicaof", "no", "one"]).await;
    servers.in_sync(first.place).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(sentinels.heard("+switch-master").len(), 3, "{}", sentinels.story());
    assert!(sentinels.heard("+try-failover").is_empty(), "{}", sentinels.story());
    assert_eq!(servers.masters().await, [first.place]);
}

#[tokio::test]
async fn with_the_operator_dead_the_sentinels_fail_over_and_the_next_operator_accepts_it() {
    if !is_served() {
        return;
    }
    let (mut servers, sentinels) = group(&Watching { down_after_ms: 1_500, ..Watching::default() }).await;
    let options = ["--sentinels", &sentinels.list()].map(str::to_owned);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let program = Program::look_after(&servers.list(), &options);
    program.logged("healthy").await;
    drop(program);
    let killed = Instant::now();
    servers.end(0).await;
    let to = tests::real::until("the Sentinels switch", async || {
        let switched = sentinels.heard("+switch-master");
        (switched.len() >= 3 && switched[0].at > killed).then(|| sentinels.named(0))
    })
    .await;
    let program = Program::look_after(&servers.list(), &options);
    program.logged(&to).await;
    let place = (0..3).find(|place| servers.id(*place) == to).unwrap();
    servers.in_sync(place).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(sentinels.heard("+switch-master").len(), 3, "{}", sentinels.story());
    assert_eq!(servers.masters().await, [place]);
}

#[tokio::test]
async fn the_next_operator_starts_while_no_sentinel_answers_and_fails_over() {
    if !is_served() {
        return;
    }
    let (mut servers, mut sentinels) = group(&Watching::default()).await;
    let state = servers.dir().join("state.json");
    let options = ["--sentinels", &sentinels.list(), "--state", state.to_str().unwrap()].map(str::to_owned);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let program = Program::look_after(&servers.list(), &options);
    program.logged("healthy").await;
    tests::real::until("a record", async || state.exists().then_some(())).await;
    drop(program);
    for place in 0..sentinels.count() {
        sentinels.end(place);
    }
    let program = Program::look_after(&servers.list(), &options);
    program.logged("decided").await;
    servers.end(0).await;
    let master = servers.settled().await;
    assert_ne!(master, 0, "{}", program.log());
}

#[tokio::test]
async fn a_switchover_takes_the_sentinels_along() {
    if !is_served() {
        return;
    }
    let (servers, sentinels) = group(&Watching::default()).await;
    let writers = Writers::start(&servers);
    writers.go_on(300).await;
    let (redis, list, to) = (servers.list(), sentinels.list(), servers.id(1));
    let begun = Instant::now();
    let ended = Program::run(&["switchover", "--redis", &redis, "--sentinels", &list, "--to", &to]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    sentinels.all_told(&to, begun).await;
    writers.go_on(100).await;
    servers.in_sync(1).await;
    let writes = writers.stop();
    assert!(Acknowledged::lost(&writes, &servers, 1).await.is_empty());
    assert_eq!(sentinels.heard("+switch-master").len(), 3, "{}", sentinels.story());
}

#[tokio::test]
async fn settings_that_are_given_are_set_at_all_sentinels() {
    if !is_served() {
        return;
    }
    let (servers, sentinels) = group(&Watching { down_after_ms: 1_000, ..Watching::default() }).await;
    let list = sentinels.list();
    let _program =
        Program::look_after(&servers.list(), &["--sentinels", &list, "--sentinels-down-after", "2s"]);
    tests::real::until("all have it", async || {
        (0..3).all(|place| sentinels.field(place, "down-after-milliseconds") == "2000").then_some(())
    })
    .await;
}

/// Its own exit code says whether both groups ended whole and all writes were checked.
#[tokio::test]
async fn the_demo_shows_both_and_the_operator_loses_nothing_in_a_planned_change() {
    let mut demo = Program::start(&["demo", "sentinel"]);
    // Sentinels take ten seconds for each server that came back.
    let limit = Duration::from_secs(150);
    assert!(tokio::time::timeout(limit, demo.wait()).await.is_ok(), "it does not end");
    let ended = demo.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let row = |name: &str| {
        let line = ended.out.lines().find(|line| line.contains(name)).unwrap();
        line.split_whitespace().rev().take(2).map(|word| word.parse::<f64>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(row("lost by the planned change")[0], 0.0);
    let [ours, theirs] = row("SIGKILL: first write")[..] else { panic!("{ended:?}") };
    assert!(ours < theirs, "{ours} ms with the operator, {theirs} ms without");
    assert!(row("acknowledged writes").iter().all(|count| *count > 1_000.0));
}
