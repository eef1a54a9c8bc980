//! A proof is bounded in CPU time, ends when its policy was replaced, and holds nothing up.

use super::{loaded, sandbox};
use redis_operator::conformance::prove;
use redis_operator::policy::{
    Change, EMBEDDED, Policy, PolicyChain, Stop, StopOnDrop, SwapError, Watch, load,
};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tests::policies::{hostile, noted};

fn put(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(&new, path).unwrap();
}

#[test]
fn a_good_policy_is_proven_in_its_process_and_a_bad_one_is_not() {
    let prove = |bytes: &[u8]| prove(&loaded(bytes).on_trial(&Stop::default()));
    assert_eq!(prove(&noted(3)), Ok(()));
    for behaviour in ["spins", "hogs", "traps", "answers-too-much"] {
        let why = prove(&hostile(behaviour)).unwrap_err();
        assert!(why.starts_with("answers, at "), "{behaviour}: {why}");
    }
}

#[test]
fn a_policy_that_uses_nearly_all_its_time_is_refused_for_its_cpu_time() {
    let policy = loaded(&hostile("is-slow"));
    let begun = Instant::now();
    let why = prove(&policy.on_trial(&Stop::default())).unwrap_err();
    assert!(why.contains("s of CPU time were not enough") || why.contains("ms of CPU time"), "{why}");
    println!("{:?}: {why}", begun.elapsed());
}

#[test]
fn a_proof_that_nobody_waits_for_ends_at_once() {
    let stop = StopOnDrop::default();
    let token = stop.token();
    let proof = std::thread::spawn(move || {
        let policy = load(&sandbox(), &hostile("is-slow"), &token).unwrap();
        prove(&policy.on_trial(&token))
    });
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    drop(stop);
    assert!(proof.join().unwrap().is_err());
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[test]
fn a_file_put_right_decides_while_the_former_ones_proof_would_still_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.wasm");
    let chain = Arc::new(PolicyChain::new(Arc::new(loaded(EMBEDDED))));
    // Proven for as long as it takes, so that a machine of any speed is still at it.
    let proving = |policy: &dyn Policy| loop {
        prove(policy)?;
        if policy.title().starts_with("default") {
            return Ok(());
        }
    };
    put(&path, &hostile("is-slow"));
    let watch =
        Watch { path: path.clone(), sandbox: sandbox(), chain: Arc::clone(&chain), prove: Arc::new(proving) };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(watch.run(move |change| drop(sender.send(change))));
    });
    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    put(&path, &noted(4));
    match receiver.recv_timeout(Duration::from_secs(60)).unwrap() {
        Change::Live { .. } => println!("live after {:?}", begun.elapsed()),
        Change::Refused(error @ (SwapError::Unproven { .. } | SwapError::Load { .. })) => {
            panic!("the former one's proof came to an end: {error}")
        }
        Change::Refused(error) => panic!("{error}"),
    }
    assert_eq!(chain.policies().len(), 2);
}
