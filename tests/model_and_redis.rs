//! The model of Redis beside real servers of every version here: random commands, restarts and kills, the
//! same ones to both. Replies must be the same, and, when both have come to rest, the rows of INFO that the
//! operator reads: roles, links, offsets to the byte, and which replication ids are equal to which.
//!
//! `MODEL_SEED=N` and `MODEL_STEPS=N` run another sequence, or a longer one.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

#[path = "model_and_redis/pair.rs"]
mod pair;
#[path = "model_and_redis/rows.rs"]
mod rows;

use pair::{Pair, Step};
use redis_model::Dialect;
use redis_model::Dice;
use redis_model::live::Files;
use std::path::Path;
use tests::real::versions;

/// In whose words the model speaks for a version.
fn dialect(name: &str) -> Dialect {
    match name {
        "Redis 6.0" => Dialect::Redis5,
        "Redis 6.2" => Dialect::Redis6,
        "Redis 7.0" => Dialect::Redis7,
        "Redis 8.0" => Dialect::Redis8,
        _ => Dialect::Valkey8,
    }
}

async fn compare(name: &str, program: &Path, files: Files) {
    let dialect = dialect(name);
    let seed = number("MODEL_SEED").unwrap_or(1);
    let dice = &mut Dice::new(seed ^ files as u64);
    let mut pair = Pair::start(program, dialect, files).await;
    let mut told = vec![];
    for _ in 0..number("MODEL_STEPS").unwrap_or(STEPS) {
        let step = Step::any(dice, dialect);
        told.push(format!("{step:?}"));
        if let Err(difference) = pair.take(step).await {
            panic!("{name}, {files:?}, MODEL_SEED={seed}: {difference}\nafter {}", told.join("\n      "));
        }
    }
    println!("{name}, {files:?}: {} steps, the same", told.len());
}

async fn compare_all(files: Files) {
    let all = versions();
    let all = all.iter().map(|(name, program)| compare(name, program, files));
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn servers_without_files_do_what_the_model_does() {
    compare_all(Files::None).await;
}

#[tokio::test]
async fn servers_with_snapshots_do_what_the_model_does() {
    compare_all(Files::Rdb).await;
}

#[tokio::test]
async fn servers_with_append_only_files_do_what_the_model_does() {
    compare_all(Files::Aof).await;
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A step takes both a second or two: a replica that lost its master tries again once a second.
const STEPS: u64 = 25;
