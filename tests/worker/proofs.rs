//! A proof is bounded in CPU time, ends when its policy was replaced, and holds nothing up.

use super::{loaded, sandbox};
use redis_operator::conformance::prove;
use redis_operator::policy::{
    Change, EMBEDDED, Policy, PolicyChain, Stop, StopOnDrop, SwapError, Watch, healthy_group, load,
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
fn a_proof_that_nobody_waits_for_ends_at_once() {
    let stop = StopOnDrop::default();
    let token = stop.token();
    let proof = std::thread::spawn(move || {
        let policy = load(&sandbox(), &hostile("is-slow"), &token).map_err(|error| error.to_string())?;
        loop {
            policy.on_trial(&token).decide(&healthy_group(3)).map_err(|fault| fault.to_string())?;
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    drop(stop);
    let ended: Result<(), String> = proof.join().unwrap();
    assert!(ended.unwrap_err().contains("it is wanted no more"));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_file_put_right_decides_while_the_former_ones_proof_would_still_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.wasm");
    let chain = Arc::new(PolicyChain::new(Arc::new(loaded(EMBEDDED))));
    // The bad one's proof has no end of its own.
    let proving = |policy: &dyn Policy| loop {
        policy.decide(&healthy_group(3)).map_err(|fault| fault.to_string())?;
        if policy.title().starts_with("default") {
            return prove(policy);
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
