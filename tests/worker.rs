//! Foreign policies in worker processes of the built program: what is refused before it is compiled, what a
//! process that ends or hangs costs, and that nothing waits for a bad policy.

#![allow(clippy::unwrap_used, reason = "tests, with the steps that they share")]

#[path = "worker/bombs.rs"]
mod bombs;
#[path = "worker/ends.rs"]
mod ends;
#[path = "worker/proofs.rs"]
mod proofs;

use redis_operator::policy::{
    Cache, EMBEDDED, LoadError, Loaded, POLICY, Policy, PolicyFault, Sandbox, Stop, healthy_group, load,
};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tests::policies::{hostile, noted};
use tests::real::build_program;

/// With this profile's `redis-operator` as worker.
fn sandbox_with(cache: Option<Cache>) -> Arc<Sandbox> {
    Arc::new(Sandbox::new(cache).unwrap().with_worker_program(build_program().to_owned()))
}

fn sandbox() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    Arc::clone(SANDBOX.get_or_init(|| sandbox_with(None)))
}

fn loaded(bytes: &[u8]) -> Loaded {
    load(&sandbox(), bytes, &Stop::default()).unwrap()
}

fn refusal_of(bytes: &[u8]) -> LoadError {
    match load(&sandbox(), bytes, &Stop::default()) {
        Ok(policy) => panic!("loaded {}", policy.title()),
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            error
        }
    }
}

/// A component that passes for a policy until its types are looked at, with this core module in it: so its
/// code is compiled.
fn exporting(module: &str) -> Vec<u8> {
    let text =
        format!("(component (core module {module}) (instance $none) (export \"{POLICY}\" (instance $none)))");
    wat::parse_str(&text).unwrap()
}

fn kept(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[test]
fn a_foreign_policy_answers_as_the_same_one_does_in_the_operator() {
    let (own, foreign) = (loaded(EMBEDDED), loaded(&noted(1)));
    assert!(matches!(own, Loaded::Embedded(_)) && matches!(foreign, Loaded::Foreign(_)));
    assert_eq!(own.about().description, foreign.about().description);
    assert_eq!(foreign.about().exports, [POLICY]);
    for members in [1, 3, 50, 500] {
        let observation = healthy_group(members);
        let asked = foreign.on_trial(&Stop::default()).decide(&observation);
        assert_eq!(own.decide(&observation), asked, "{members}");
    }
}

#[test]
fn each_misbehaviour_is_a_fault_of_its_own_name_and_the_process_lives_on() {
    for (behaviour, is_it) in [
        // Whichever comes first on this machine.
        (
            "spins",
            (|fault| matches!(fault, PolicyFault::Time { .. } | PolicyFault::Fuel { .. }))
                as fn(&PolicyFault) -> bool,
        ),
        ("hogs", |fault| matches!(fault, PolicyFault::Memory { .. })),
        ("traps", |fault| matches!(fault, PolicyFault::Trap(_))),
        ("recurses", |fault| matches!(fault, PolicyFault::Trap(_))),
        ("answers-too-much", |fault| matches!(fault, PolicyFault::Malformed(_))),
        ("answers-no-text", |fault| matches!(fault, PolicyFault::Malformed(_))),
    ] {
        let policy = loaded(&hostile(behaviour));
        let process = policy.process().unwrap();
        for _ in 0..3 {
            let fault = policy.on_trial(&Stop::default()).decide(&healthy_group(3)).unwrap_err();
            assert!(is_it(&fault), "{behaviour}: {fault}");
            assert!(policy.is_ready());
        }
        // A busy machine may let the watchdog come too late; then its process is ended.
        assert!(behaviour == "spins" || policy.process() == Some(process), "{behaviour}");
    }
}

#[test]
fn what_is_refused_in_the_operator_is_refused_by_a_worker_with_the_same_words() {
    let refused = |behaviour: &str| refusal_of(&hostile(behaviour)).to_string();
    assert!(refused("describe-traps").starts_with("its function describe failed: policy trapped"));
    assert!(refused("describe-spins").starts_with("its function describe failed: policy exceeded its limit"));
    // What it does before its first function counts, too.
    assert!(refused("start-spins").starts_with("its function describe failed: policy exceeded its limit"));
    assert!(refused("misnamed").contains("Not Kebab"));
    assert!(refused("wants-secrets").contains("`CONFIG GET requirepass`"));
    assert_eq!(refusal_of(b"(component)"), LoadError::NotWasm);
    assert_eq!(refusal_of(b"\0asm\x01\0\0\0"), LoadError::CoreModule);
    assert_eq!(refusal_of(b"\0asm\x0d\0\x01\0"), LoadError::World(vec![]));
    assert!(matches!(refusal_of(&EMBEDDED[..EMBEDDED.len() / 2]), LoadError::Invalid(_)));
    assert!(matches!(refusal_of(&exporting("")), LoadError::Types(_)));
    // RUSTSEC-2026-0570: in wasmtime 48.0.8 calling it ended the process.
    let subtypes = "(type $base (sub (func))) (type $derived (sub $base (func))) (table 2 2 funcref) (elem \
                    (i32.const 0) $f) (func $f (type $derived)) (func (export \"describe\") (call_indirect \
                    (type $base) (i32.const 0)))";
    assert_eq!(refusal_of(&exporting(subtypes)), LoadError::Proposal("gc".into()));
}

#[test]
fn a_policy_that_is_not_proven_is_not_kept_and_a_proven_one_is_compiled_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policies");
    let sandbox = sandbox_with(Some(Cache::open(path.clone()).unwrap()));
    let bytes = noted(2);
    let policy = load(&sandbox, &bytes, &Stop::default()).unwrap();
    assert_eq!(kept(&path), 0);
    policy.keep(&sandbox);
    assert_eq!(kept(&path), 1);
    let entry = std::fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&entry).unwrap();
    // Behind its SHA-256.
    assert_eq!(refusal_of(&good[32..]), LoadError::Precompiled);
    // A damaged entry, and one that no engine takes: each is compiled anew.
    let stale = [&good[..32], &[]].concat();
    for content in [good.clone(), good[..good.len() / 2].to_vec(), stale] {
        std::fs::write(&entry, content).unwrap();
        let again = load(&sandbox, &bytes, &Stop::default()).unwrap();
        assert!(again.decide(&healthy_group(3)).is_ok());
    }
}

#[test]
fn the_cache_is_bounded_in_number_and_in_bytes_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policies");
    let sandbox = sandbox_with(Some(Cache::open(path.clone()).unwrap()));
    let policy = load(&sandbox, &noted(2), &Stop::default()).unwrap();
    (0..20).for_each(|number| std::fs::write(path.join(number.to_string()), "old").unwrap());
    policy.keep(&sandbox);
    assert_eq!(kept(&path), 16);
    assert!(path.join(policy.digest()).exists());
    std::fs::remove_file(path.join(policy.digest())).unwrap();
    std::fs::File::create(path.join("large")).unwrap().set_len(64 << 20).unwrap();
    policy.keep(&sandbox);
    assert!(!path.join("large").exists() && path.join(policy.digest()).exists());
}
