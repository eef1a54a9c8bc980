//! How soon after a hello the Sentinels take the new master for down: see `redis/act/sentinel/mod.rs`.

use super::rig::Rig;
use redis_operator::redis::act::sentinel::DOWN_AFTER_MIN_MS;
use std::time::Duration;
use tests::real::{Watching, until};

/// The worst moment for a hello: right after all Sentinels have dialled the dead master, so that they dial
/// the new one a second later. Returns how often they began a failover of their own.
async fn told_after(down_after_ms: u32, delay_ms: u64) -> (usize, usize) {
    let mut rig = Rig::new(Watching { down_after_ms, ..Watching::default() }).await;
    rig.servers.kill(0);
    rig.servers.end(0).await;
    // Their timer ticks every 50 to 100 ms, and dials at the first tick.
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    rig.fail_over(1, &[2]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(u64::from(down_after_ms) + 1_500)).await;
    (taken_for_down(&rig, 1), rig.own_failovers())
}

#[tokio::test]
async fn with_the_least_down_after_the_new_master_is_not_taken_for_down() {
    for delay_ms in [0, 100, 150] {
        assert_eq!(told_after(DOWN_AFTER_MIN_MS, delay_ms).await, (0, 0), "told after {delay_ms} ms");
    }
}

/// Two kills in a row, the second one as soon as all Sentinels have reached the master of the first: so
/// all of them have just dialled it, and may dial the next one only a second after that. Returns the same.
async fn killed_twice(down_after_ms: u32) -> (usize, usize) {
    let mut rig = Rig::new(Watching { down_after_ms, ..Watching::default() }).await;
    rig.servers.kill(0);
    rig.servers.end(0).await;
    rig.fail_over(1, &[2]).await.unwrap();
    until("all Sentinels have reached it", async || {
        let is_reached = |place| rig.sentinels.field(place, "flags") == "master";
        (0..3).all(is_reached).then_some(())
    })
    .await;
    rig.servers.kill(1);
    rig.servers.end(1).await;
    // Refused where the Sentinels have gone to fail over by themselves already, which is counted.
    let outcome = rig.fail_over(2, &[]).await;
    assert!(outcome.is_ok() || rig.own_failovers() > 0, "{outcome:?}");
    tokio::time::sleep(Duration::from_millis(u64::from(down_after_ms) + 1_500)).await;
    (taken_for_down(&rig, 2), rig.own_failovers())
}

/// How often a Sentinel took that master for down.
fn taken_for_down(rig: &Rig, place: usize) -> usize {
    let address = format!(" {}", rig.servers.id(place).replace(':', " "));
    let down = rig.sentinels.heard("+sdown");
    down.iter().filter(|heard| heard.text.starts_with("master") && heard.text.contains(&address)).count()
}

#[tokio::test]
async fn with_the_least_down_after_two_kills_in_a_row_are_two_switches() {
    assert_eq!(killed_twice(DOWN_AFTER_MIN_MS).await, (0, 0));
}

/// What the bound is for. Not asserted: whether two of three agree depends on the ticks of their timers.
#[tokio::test]
#[ignore = "a measurement: prints how often Sentinels fail over once more, by down-after-milliseconds"]
async fn how_often_sentinels_fail_over_once_more() {
    let runs = number("SENTINEL_RUNS").unwrap_or(6);
    let only = number("SENTINEL_DOWN_AFTER_MS");
    for down_after_ms in [800, 1_000, 1_100, 1_200, 1_500] {
        if only.is_some_and(|only| only != down_after_ms) {
            continue;
        }
        for (what, delay_ms) in
            [("told at once", Some(0)), ("told 100 ms later", Some(100)), ("2 kills", None)]
        {
            let (mut down, mut again) = (0, 0);
            for _ in 0..runs {
                let (of_new, own) = match delay_ms {
                    Some(delay_ms) => told_after(down_after_ms, delay_ms).await,
                    None => killed_twice(down_after_ms).await,
                };
                down += of_new;
                again += usize::from(own > 0);
            }
            println!(
                "D {down_after_ms} ms, {what}: {again} of {runs} failed over once more; {down} times a Sentinel \
                 took the new master for down"
            );
        }
    }
}

fn number(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}
