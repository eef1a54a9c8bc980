//! Handover on real servers: no write is lost, and nothing changes if it cannot succeed.

use super::proxy::{Gate, Proxy};
use super::rig::{Probed, Rig, client, has_write_pause, soon};

use redis_operator::local::Signal;
use redis_operator::redis::Endpoint;
use redis_operator::redis::act::{self, ActFailure, HandoverTerms};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn terms(target: &Endpoint) -> HandoverTerms {
    HandoverTerms { target: target.clone(), pause_max: Duration::from_secs(1), deadline: soon() }
}

/// Writes a counter to whichever of the servers takes it, as fast as it can.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(servers: Vec<Endpoint>) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let task = tokio::spawn(async move {
            let mut place = 0;
            let mut next = 1;
            while !stopped.load(Ordering::Relaxed) {
                let url = format!("redis://{}", servers[place % servers.len()]);
                place += 1;
                // A handover kicks clients, also while they say hello.
                let Ok(mut connection) =
                    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await
                else {
                    continue;
                };
                // An unacknowledged number is written again: RPUSH may then hold it twice, and must hold it
                // once.
                while redis::cmd("RPUSH").arg("written").arg(next).exec_async(&mut connection).await.is_ok() {
                    count.store(next, Ordering::Relaxed);
                    next += 1;
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        });
        Self { stop, acknowledged, task }
    }

    async fn until(&self, at_least: u64) {
        let deadline = soon();
        while self.acknowledged.load(Ordering::Relaxed) < at_least {
            assert!(
                Instant::now() < deadline,
                "writes do not go on: {}",
                self.acknowledged.load(Ordering::Relaxed)
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn go_on(&self) {
        self.until(self.acknowledged.load(Ordering::Relaxed) + 100).await;
    }

    /// Ends it. Returns the numbers that were acknowledged and are not at `server`.
    async fn lost(self, server: &Endpoint) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let mut connection = client(server).await;
        let held: Vec<u64> =
            redis::cmd("LRANGE").arg("written").arg(0).arg(-1).query_async(&mut connection).await.unwrap();
        let held: std::collections::BTreeSet<u64> = held.into_iter().collect();
        (1..=self.acknowledged.load(Ordering::Relaxed)).filter(|number| !held.contains(number)).collect()
    }
}

#[tokio::test]
async fn under_load_nothing_is_lost_and_the_pause_is_short() {
    let rig = Rig::new();
    let (old, mut at_old) = rig.master().await;
    let (new, mut at_new) = rig.replica(old.endpoint()).await;
    let (source, target) = (at_old.connection().await, at_new.connection().await);
    let load = Load::start(vec![old.endpoint().clone(), new.endpoint().clone()]);
    load.until(500).await;
    let report = act::handover(&source, &target, &terms(new.endpoint())).await.unwrap();
    println!("{report:?}");
    assert!(report.pause_us < 50_000, "{report:?}");
    let steps: Vec<_> = report.steps.iter().map(|step| step.step).collect();
    assert_eq!(
        steps,
        ["look", "approach", "pause", "catch up", "demote", "compare", "promote", "attach", "kick"]
    );
    load.go_on().await;
    assert_eq!(load.lost(new.endpoint()).await, [0; 0]);
    assert!(report.attached.is_ok() && report.kicked.is_ok(), "{report:?}");
    let began = Instant::now();
    at_old.until("INFO replication", "master_link_status:up").await;
    println!("attached after {:?}", began.elapsed());
    let again = act::handover(&source, &target, &terms(new.endpoint())).await.unwrap();
    assert_eq!(again.pause_us, 0, "the handover was done before");
}

#[tokio::test]
async fn a_hung_target_stops_it_before_anything_is_paused() {
    let rig = Rig::new();
    let (old, mut at_old) = rig.master().await;
    let (new, mut at_new) = rig.replica(old.endpoint()).await;
    let (source, target) = (at_old.connection().await, at_new.connection().await);
    let load = Load::start(vec![old.endpoint().clone()]);
    load.until(100).await;
    new.signal(Signal::Stop).unwrap();
    let brief = HandoverTerms { pause_max: Duration::from_millis(100), ..terms(new.endpoint()) };
    let failure = act::handover(&source, &target, &brief).await.unwrap_err();
    assert!(
        matches!(&failure, ActFailure::Precondition { why, .. } if why.contains("target")),
        "{failure:?}"
    );
    load.go_on().await;
    assert_eq!(load.lost(old.endpoint()).await, [0; 0]);
}

#[tokio::test]
async fn a_target_that_stands_still_stops_it_before_anything_is_paused() {
    let rig = Rig::new();
    let (old, mut at_old) = rig.master().await;
    // Its replication stream passes a proxy that goes silent: the link says up, and no byte comes.
    let stream = Proxy::start(old.endpoint()).await;
    let (new, mut at_new) = rig.replica(&stream.endpoint).await;
    let (source, target) = (at_old.connection().await, at_new.connection().await);
    stream.forget();
    let load = Load::start(vec![old.endpoint().clone()]);
    load.until(100).await;
    let brief = HandoverTerms { pause_max: Duration::from_millis(100), ..terms(new.endpoint()) };
    let failure = act::handover(&source, &target, &brief).await.unwrap_err();
    assert!(
        matches!(&failure, ActFailure::Precondition { why, .. } if why.contains("must reach")),
        "{failure:?}"
    );
    assert_eq!(load.lost(old.endpoint()).await, [0; 0]);
}

#[tokio::test]
async fn a_target_that_cannot_catch_up_within_the_pause_leaves_the_master_as_it_was() {
    let rig = Rig::new();
    let (old, mut at_old) = rig.master().await;
    let stream = Proxy::start(old.endpoint()).await;
    let (new, mut at_new) = rig.replica(&stream.endpoint).await;
    let gate = Gate::start(old.endpoint(), "PAUSE").await;
    let mut through_gate = Probed::new(&gate.endpoint);
    let (source, target) = (through_gate.connection().await, at_new.connection().await);
    let load = Load::start(vec![old.endpoint().clone()]);
    load.until(100).await;
    let target_endpoint = new.endpoint().clone();
    let attempt =
        tokio::spawn(async move { act::handover(&source, &target, &terms(&target_endpoint)).await });
    gate.reached().await;
    stream.forget();
    load.go_on().await;
    gate.open();
    let began = Instant::now();
    let failure = attempt.await.unwrap().unwrap_err();
    assert!(matches!(&failure, ActFailure::Undone { why } if why.contains("must reach")), "{failure:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "given up before the pause would have ended by itself");
    load.go_on().await;
    at_old.until("INFO replication", "role:master").await;
    at_new.until("INFO replication", "role:slave").await;
    assert_eq!(load.lost(old.endpoint()).await, [0; 0]);
}

#[tokio::test]
async fn writes_that_slipped_in_after_the_pause_undo_the_demotion() {
    let rig = Rig::new();
    let (old, mut at_old) = rig.master().await;
    if !has_write_pause(&mut at_old).await {
        return println!("not run: before 6.2 there is no pause that could end");
    }
    let stream = Proxy::start(old.endpoint()).await;
    let (new, mut at_new) = rig.replica(&stream.endpoint).await;
    // We stall with the demotion in hand; the pause ends; writes go on; the target hears of none of them.
    let gate = Gate::start(old.endpoint(), "REPLICAOF").await;
    let mut through_gate = Probed::new(&gate.endpoint);
    let (source, target) = (through_gate.connection().await, at_new.connection().await);
    let load = Load::start(vec![old.endpoint().clone()]);
    load.until(100).await;
    let brief = HandoverTerms { pause_max: Duration::from_millis(200), ..terms(new.endpoint()) };
    let attempt = tokio::spawn(async move { act::handover(&source, &target, &brief).await });
    gate.reached().await;
    stream.forget();
    load.go_on().await;
    gate.open();
    let failure = attempt.await.unwrap().unwrap_err();
    assert!(matches!(&failure, ActFailure::Undone { why } if why.contains("must reach")), "{failure:?}");
    load.go_on().await;
    at_old.until("INFO replication", "role:master").await;
    at_new.until("INFO replication", "role:slave").await;
    assert_eq!(load.lost(old.endpoint()).await, [0; 0]);
}

#[tokio::test]
async fn a_promotion_in_doubt_is_not_undone() {
    let rig = Rig::new();
    let (old, mut at_old) = rig.master().await;
    let (new, _) = rig.replica(old.endpoint()).await;
    let gate = Gate::start(new.endpoint(), "REPLICAOF").await;
    let mut through_gate = Probed::new(&gate.endpoint);
    let (source, target) = (at_old.connection().await, through_gate.connection().await);
    let brief =
        HandoverTerms { deadline: Instant::now() + Duration::from_millis(500), ..terms(new.endpoint()) };
    let failure = act::handover(&source, &target, &brief).await.unwrap_err();
    assert!(matches!(failure, ActFailure::InDoubt { step: "promote", .. }), "{failure:?}");
    at_old.until("INFO replication", "role:slave").await;
    gate.open();
    Probed::new(new.endpoint()).until("INFO replication", "role:master").await;
}

#[tokio::test]
async fn only_a_linked_replica_of_this_very_master_takes_over() {
    let rig = Rig::new();
    let ((one, mut at_one), (other, mut at_other)) = (rig.master().await, rig.master().await);
    let (_replica, mut at_replica) = rig.replica(other.endpoint()).await;
    let (one_connection, other_connection) = (at_one.connection().await, at_other.connection().await);
    let replica_connection = at_replica.connection().await;
    for (source, target, words) in [
        (&one_connection, &other_connection, "the target is not a replica"),
        (&one_connection, &replica_connection, "different replication ids"),
        (&replica_connection, &one_connection, "source is not a master"),
    ] {
        let failure = act::handover(source, target, &terms(one.endpoint())).await.unwrap_err();
        assert!(
            matches!(&failure, ActFailure::Precondition { why, .. } if why.contains(words)),
            "{failure:?}"
        );
    }
    let mut probed = Probed::new(one.endpoint());
    probed.until("INFO replication", "role:master").await;
}
