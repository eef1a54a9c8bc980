//! The operator hears its Sentinels: what they publish is seen when it happens, and not at the next round.

use redis_operator::contract::{Action, SentinelMode, SentinelSettings, Verdict};
use redis_operator::group::{Decided, Report};
use std::time::{Duration, Instant};
use tests::real::{MASTER_NAME, Operator, Sentinels, Servers, Terms, Watching, until, versions};

fn settings(mode: SentinelMode, watching: &Watching) -> SentinelSettings {
    SentinelSettings {
        master_name: MASTER_NAME.into(),
        sentinels_desired: 3,
        quorum: 2,
        down_after_ms: watching.down_after_ms,
        failover_timeout_ms: watching.failover_timeout_ms,
        parallel_syncs: 1,
        mode,
    }
}

/// The first decision after `since` of which that is true.
async fn decided_after(
    operator: &Operator,
    since: Instant,
    what: &str,
    is_it: impl Fn(&Decided) -> bool,
) -> Instant {
    until(what, async || {
        let reports = operator.reports();
        let found = reports
            .iter()
            .find(|(at, report)| *at > since && matches!(report, Report::Decided(decided) if is_it(decided)));
        found.map(|(at, _)| *at)
    })
    .await
}

/// Waits until the newest decision calls the group healthy: while nothing changes, there is no further one.
async fn is_well(operator: &Operator, master: &str) {
    until("it is healthy", async || {
        let reports = operator.reports();
        let newest = reports.iter().rev().find_map(|(_, report)| match report {
            Report::Decided(decided) => Some(decided.decision.clone()),
            _ => None,
        })?;
        (newest.verdict == Verdict::Healthy && newest.master() == Some(master)).then_some(())
    })
    .await;
}

/// So rare are its rounds, while all is well, that none of them explains what it sees in time.
const RARELY: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_a_person_does_at_one_sentinel_is_seen_and_mended_at_once_on_each_version() {
    for (name, program) in versions() {
        let mut servers = Servers::of(&program, 3, &[]);
        servers.start_all().await;
        servers.attach_all().await;
        let watching = Watching::default();
        let mut sentinels = Sentinels::of(&program, &servers, &watching).await;
        let terms = Terms { interval: RARELY, ..Terms::default() };
        let terms = terms.beside(&sentinels, settings(SentinelMode::Assisted, &watching));
        let operator = Operator::start(&servers, terms).await;
        is_well(&operator, &servers.id(0)).await;
        let mend = async |sentinels: &Sentinels, place: usize| {
            let done = Instant::now();
            sentinels.ask(place, &["SENTINEL", "REMOVE", MASTER_NAME]);
            let seen = decided_after(&operator, done, "it is seen", |decided| {
                decided.decision.reason == "sentinel-elsewhere"
            })
            .await;
            println!("{name}: seen {:?} after SENTINEL REMOVE", seen - done);
            assert!(seen - done < Duration::from_millis(250), "{name}: {:?}", seen - done);
            sentinels.knows(place, 2, 2).await;
            is_well(&operator, &servers.id(0)).await;
        };
        mend(&sentinels, 0).await;
        // One that was away is heard again.
        sentinels.end(1);
        sentinels.start_again(1);
        sentinels.knows(1, 2, 2).await;
        until("the operator has subscribed again", async || {
            let clients = format!("{:?}", sentinels.ask(1, &["CLIENT", "LIST"]));
            clients.contains("cmd=subscribe").then_some(())
        })
        .await;
        is_well(&operator, &servers.id(0)).await;
        mend(&sentinels, 1).await;
    }
}

#[tokio::test]
async fn in_mode_deferred_the_end_of_their_failover_is_seen_when_it_is_published() {
    let servers = Servers::group(3, &[]).await;
    let watching = Watching::default();
    let sentinels = Sentinels::start(&servers, &watching).await;
    let terms = Terms { interval: RARELY, ..Terms::default() };
    let terms = terms.beside(&sentinels, settings(SentinelMode::Deferred, &watching));
    let operator = Operator::start(&servers, terms).await;
    is_well(&operator, &servers.id(0)).await;
    // What a person does: the former master lives, and would take writes for eleven seconds more.
    let begun = Instant::now();
    sentinels.ask(0, &["SENTINEL", "FAILOVER", MASTER_NAME]);
    let switch = until("one of them has switched", async || {
        sentinels.heard("+switch-master").into_iter().min_by_key(|heard| heard.at)
    })
    .await;
    // NAME, the former address, the new one.
    let words: Vec<&str> = switch.text.split(' ').collect();
    let last = sentinels.all_told(&format!("{}:{}", words[3], words[4]), begun).await;
    let followed = until("the former master is told to follow", async || {
        let reports = operator.reports();
        let is_it = |report: &Report| match report {
            Report::Sent { action: Action::Follow(follow), .. } => follow.id == servers.id(0),
            _ => false,
        };
        reports.iter().find(|(_, report)| is_it(report)).map(|(at, _)| *at)
    })
    .await;
    let later = followed.saturating_duration_since(last);
    println!(
        "the last Sentinel switched {:?} after the request, and the former master was told {later:?} later",
        last - begun
    );
    assert!(later < Duration::from_millis(250), "{later:?}");
    let place = (0..3).find(|place| servers.id(*place).ends_with(words[4])).unwrap();
    servers.in_sync(place).await;
    let sent = operator.sent();
    assert!(!sent.iter().any(|action| action.starts_with("Promote")), "{sent:?}");
}

#[tokio::test]
async fn a_storm_of_events_holds_up_no_round() {
    let servers = Servers::group(3, &[]).await;
    let watching = Watching::default();
    let sentinels = Sentinels::start(&servers, &watching).await;
    let terms = Terms::default().beside(&sentinels, settings(SentinelMode::Assisted, &watching));
    let operator = Operator::start(&servers, terms).await;
    is_well(&operator, &servers.id(0)).await;
    let mut wire = sentinels.wire(0).unwrap();
    let (begun, mut events) = (Instant::now(), 0_u64);
    while begun.elapsed() < Duration::from_secs(2) {
        // Its own setting: an event, and nothing to mend.
        wire.ask(&["SENTINEL", "SET", MASTER_NAME, "parallel-syncs", "1"]);
        events += 1;
    }
    let before = Instant::now();
    servers.say(2, &["REPLICAOF", "NO", "ONE"]).await;
    let seen = decided_after(&operator, before, "a second master", |decided| {
        decided.decision.reason == "second-master"
    })
    .await;
    println!("{events} events within two seconds; a second master was seen {:?} later", seen - before);
    assert!(events > 20 && seen - before < Duration::from_millis(500));
    servers.in_sync(0).await;
}
