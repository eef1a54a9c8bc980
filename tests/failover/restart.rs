//! All members start: for the first time, or after all had ended.

use redis_operator::contract::{Reply, Verdict};
use redis_operator::group::Report;
use std::path::PathBuf;
use tests::real::{AS_MASTER, Operator, Servers, Terms, until};

async fn all_hold(servers: &Servers, count: usize) {
    for place in 0..servers.count() {
        until("all keys everywhere", async || (servers.held(place, "k", count).await == count).then_some(()))
            .await;
    }
}

/// Waits until the AOF of each server is whole: after a full copy a replica rewrites it.
async fn on_disk(servers: &Servers) {
    for place in 0..servers.count() {
        until("the AOF is whole", async || {
            let facts = servers.info(place, "persistence").await?;
            let is_busy = facts.number("aof_rewrite_in_progress") + facts.number("aof_rewrite_scheduled") > 0;
            (facts.row("aof_last_bgrewrite_status") == "ok"
                && !is_busy
                && facts.number("rdb_bgsave_in_progress") == 0)
                .then_some(())
        })
        .await;
    }
}

fn recorded(servers: &Servers) -> Terms {
    Terms { state: Some(PathBuf::from(servers.dir()).join("state.json")), ..Terms::default() }
}

#[tokio::test]
async fn replicas_of_themselves_get_a_first_master() {
    let servers = Servers::idle(3, &[]).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    let master = servers.settled().await;
    operator.healthy(&servers.id(master)).await;
}

#[tokio::test]
async fn empty_masters_get_one_master() {
    let mut servers = Servers::planned(3, &AS_MASTER);
    servers.start_all().await;
    let operator = Operator::start(&servers, Terms::default()).await;
    let master = servers.settled().await;
    operator.healthy(&servers.id(master)).await;
}

#[tokio::test]
async fn at_a_first_start_the_one_with_data_is_master() {
    let mut servers = Servers::planned(3, &AS_MASTER);
    servers.start_all().await;
    servers.fill(1, "k", 100, 50).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    servers.in_sync(1).await;
    operator.healthy(&servers.id(1)).await;
    all_hold(&servers, 100).await;
}

/// Kills all after `persist`, starts all as replicas of themselves, and an operator with or without a memory.
async fn all_restart(persist: &[&str], arguments: &[&str], keeps_record: bool, master_returns_last: bool) {
    let mut servers = Servers::group(3, arguments).await;
    let terms = |servers: &Servers| if keeps_record { recorded(servers) } else { Terms::default() };
    let operator = Operator::start(&servers, terms(&servers)).await;
    operator.healthy(&servers.id(0)).await;
    on_disk(&servers).await;
    servers.fill(0, "k", 1000, 50).await;
    operator.kill();
    for place in 0..3 {
        if !persist.is_empty() {
            servers.say(place, persist).await;
        }
    }
    for place in [1, 2, 0] {
        servers.end(place).await;
    }
    let operator = if master_returns_last {
        servers.start(1, &[]).await;
        servers.start(2, &[]).await;
        let operator = Operator::start(&servers, terms(&servers)).await;
        operator.until_report("a first decision", |report| matches!(report, Report::Decided(_))).await;
        servers.start(0, &[]).await;
        operator
    } else {
        servers.start_all().await;
        Operator::start(&servers, terms(&servers)).await
    };
    let master = servers.settled().await;
    operator.healthy(&servers.id(master)).await;
    all_hold(&servers, 1000).await;
}

const AOF: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

#[tokio::test]
async fn a_group_that_restarts_from_aof_under_a_new_operator_keeps_all_its_data() {
    all_restart(&[], AOF, true, false).await;
}

#[tokio::test]
async fn a_group_that_restarts_from_aof_under_a_living_operator_keeps_all_its_data() {
    let mut servers = Servers::group(3, AOF).await;
    on_disk(&servers).await;
    servers.fill(0, "k", 1000, 50).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    for place in [1, 2, 0] {
        servers.end(place).await;
    }
    servers.start_all().await;
    let master = servers.settled().await;
    operator.healthy(&servers.id(master)).await;
    all_hold(&servers, 1000).await;
}

#[tokio::test]
async fn without_any_record_a_group_that_restarted_from_aof_is_left_to_the_user() {
    let mut servers = Servers::group(3, AOF).await;
    on_disk(&servers).await;
    servers.fill(0, "k", 1000, 50).await;
    for place in 0..3 {
        servers.end(place).await;
    }
    servers.start_all().await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.decided("a refusal", |decided| decided.decision.verdict == Verdict::Refuse).await;
    assert_eq!(operator.sent(), [] as [String; 0]);
    all_hold(&servers, 1000).await;
}

#[tokio::test]
async fn a_group_that_restarts_from_aof_keeps_all_its_data_with_a_record_and_its_master_last() {
    all_restart(&[], AOF, true, true).await;
}

#[tokio::test]
async fn a_group_that_restarts_from_rdb_keeps_all_its_data() {
    all_restart(&["SAVE"], &[], false, false).await;
}

#[tokio::test]
async fn a_group_that_restarts_from_rdb_keeps_all_its_data_with_a_record_and_its_master_last() {
    all_restart(&["SAVE"], &[], true, true).await;
}

#[tokio::test]
async fn a_group_that_lost_all_data_gets_a_first_master() {
    let mut servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, recorded(&servers)).await;
    operator.healthy(&servers.id(0)).await;
    servers.fill(0, "k", 100, 50).await;
    for place in 0..3 {
        servers.end(place).await;
    }
    servers.start_all().await;
    let master = servers.settled().await;
    operator.healthy(&servers.id(master)).await;
}

#[tokio::test]
async fn an_amnesic_master_meets_a_group_that_kept_its_aof() {
    let mut servers = Servers::group(3, AOF).await;
    on_disk(&servers).await;
    servers.fill(0, "k", 1000, 50).await;
    let operator = Operator::start(&servers, recorded(&servers)).await;
    operator.healthy(&servers.id(0)).await;
    for place in 0..3 {
        servers.end(place).await;
    }
    // Its volume is gone.
    std::fs::remove_dir_all(servers.dir_of(0).join("appendonlydir")).unwrap();
    servers.start(0, &AS_MASTER).await;
    servers.start_all().await;
    let master = servers.settled().await;
    assert_ne!(master, 0, "{}", operator.last());
    all_hold(&servers, 1000).await;
}

#[tokio::test]
async fn what_a_master_with_a_new_aof_took_before_its_copies_came_is_not_the_groups_data() {
    let mut servers = Servers::group(3, AOF).await;
    on_disk(&servers).await;
    servers.fill(0, "k", 1000, 50).await;
    let operator = Operator::start(&servers, recorded(&servers)).await;
    operator.healthy(&servers.id(0)).await;
    operator.kill();
    for place in 0..3 {
        servers.end(place).await;
    }
    // Its host came back with a new disk.
    std::fs::remove_dir_all(servers.dir_of(0).join("appendonlydir")).unwrap();
    servers.start(0, &AS_MASTER).await;
    servers.fill(0, "new", 30, 50).await;
    let operator = Operator::start(&servers, recorded(&servers)).await;
    operator.until_report("a first decision", |report| matches!(report, Report::Decided(_))).await;
    servers.start(1, &[]).await;
    servers.start(2, &[]).await;
    let master = servers.settled().await;
    assert_ne!(master, 0, "{}", operator.last());
    all_hold(&servers, 1000).await;
}

#[tokio::test]
async fn libraries_of_functions_are_asked_for_and_counted_as_data() {
    let mut servers = Servers::group(3, &["--save", ""]).await;
    let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    servers.say(0, &["FUNCTION", "LOAD", library]).await;
    servers.in_sync(0).await;
    let operator = Operator::start(&servers, recorded(&servers)).await;
    operator.healthy(&servers.id(0)).await;
    operator
        .decided("each member's libraries", |decided| {
            decided.observation.instances.iter().all(|instance| {
                let is_told = |reply: &Reply| reply.command == "FUNCTION LIST" && reply.newest.is_some();
                instance.replies.iter().any(is_told)
            })
        })
        .await;
    // The only data that there is: its master comes back without it, and is not followed.
    servers.end(0).await;
    servers.start(0, &AS_MASTER).await;
    let master = servers.settled().await;
    for place in 0..3 {
        let listed: Vec<redis::Value> = servers.ask(place, &["FUNCTION", "LIST"]).await.unwrap();
        assert_eq!(listed.len(), 1, "{place}, master {master}: {}", operator.last());
    }
}

#[tokio::test]
async fn the_lineage_and_the_replicated_position_outlive_the_operator() {
    let mut servers = Servers::group(3, &[]).await;
    let operator = Operator::start(&servers, recorded(&servers)).await;
    operator.healthy(&servers.id(0)).await;
    servers.fill(0, "k", 100, 50).await;
    let written = servers.info(0, "replication").await.unwrap().number("master_repl_offset");
    let state = || -> Option<serde_json::Value> {
        serde_json::from_slice(&std::fs::read(servers.dir().join("state.json")).ok()?).ok()
    };
    until("a position with all that was written", async || {
        let position = state()?.get("position")?.clone();
        let replicas = position.get("acknowledged_by")?.as_array()?.len();
        (position.get("offset")?.as_u64()? >= written && replicas == 2).then_some(())
    })
    .await;
    servers.end(0).await;
    let new = servers.settled().await;
    operator.content(&servers.id(new)).await;
    operator.kill();

    let successor = Operator::start(&servers, recorded(&servers)).await;
    let (old, new) = (servers.id(0), servers.id(new));
    successor
        .decided("two generations, the first with its end", |decided| {
            let shard = &decided.observation.shards[0];
            let [now, before] = &shard.lineage[..] else { return false };
            (&now.master, &before.master) == (&new, &old)
                && before.end_offset.is_some_and(|end| end >= written)
                && now.end_offset.is_none()
                && shard.published.as_ref().is_some_and(|published| published.replid == now.replid)
                && shard.position.as_ref().is_some_and(|position| position.offset >= written)
        })
        .await;
}
