//! Policies in their sandbox: refusals before a policy runs, limits that stop one, and the sandbox after a
//! fault.

#![allow(clippy::unwrap_used, reason = "tests, with the steps that they share")]

use std::sync::{Arc, mpsc};
use std::time::Duration;

use redis_operator::policy::{
    Cache, Change, Component, EMBEDDED, LoadError, POLICY, Policy, PolicyChain, PolicyFault, Sandbox, Watch,
    embedded, healthy_group, wrap,
};
use tests::policies::{HOSTILE, hostile};
use tests::real::build_program;

fn sandbox() -> Arc<Sandbox> {
    Arc::new(Sandbox::new(None).unwrap())
}

fn fault_of(behaviour: &str) -> PolicyFault {
    Component::load(&sandbox(), &hostile(behaviour)).unwrap().decide(&healthy_group(3)).unwrap_err()
}

fn refusal_of(bytes: &[u8]) -> LoadError {
    match Component::load(&sandbox(), bytes) {
        Ok(policy) => panic!("loaded {}", policy.title()),
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            error
        }
    }
}

/// A component by hand: each section is its id and its content.
fn component(sections: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for (id, content) in sections {
        bytes.extend([*id, u8::try_from(content.len()).unwrap()]);
        bytes.extend_from_slice(content);
    }
    bytes
}

/// One that exports an instance without any items under a name.
fn exporting(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    let export = [&[1, 0, length], name.as_bytes(), &[5, 0, 0]].concat();
    component(&[(5, &[1, 1, 0]), (11, &export)])
}

// ---- What is refused

#[test]
fn the_embedded_policy_loads_and_decides() {
    let policy = embedded(&sandbox()).unwrap();
    assert_eq!(policy.about().exports, [POLICY]);
    assert_eq!(policy.about().size_bytes, EMBEDDED.len());
    assert_eq!(policy.decide(&healthy_group(3)).unwrap().members.len(), 3);
}

#[test]
fn a_file_that_is_no_component_is_refused_with_the_way_out() {
    assert!(matches!(refusal_of(b""), LoadError::NotWasm));
    assert!(matches!(refusal_of(b"(component)"), LoadError::NotWasm));
    assert!(matches!(refusal_of(&[0x5a; 4096]), LoadError::NotWasm));
    assert!(matches!(refusal_of(b"\0asm\x01\0\0\0"), LoadError::CoreModule));
    assert!(matches!(refusal_of(b"\0asm\x0d\0\x01\0garbage"), LoadError::Invalid(_)));
    assert!(matches!(refusal_of(&EMBEDDED[..EMBEDDED.len() / 2]), LoadError::Invalid(_)));
    assert!(matches!(refusal_of(&vec![0; 33 << 20]), LoadError::TooLarge));
}

/// A core module for each proposal that wasmtime or its validator knows and a policy may not use, and one for
/// those that it may.
const BY_PROPOSAL: &[(&str, &str)] = &[
    (
        "",
        "(global (mut i32) (i32.add (i32.const 1) (i32.const 2)))
        (memory 1) (table 1 funcref) (elem declare func $f)
        (func $f (result i32 i32) (i32.const 1) (i32.extend8_s (i32.const 2)))
        (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)) (table.set (i32.const 0) (ref.func \
         $f)))
        (func (drop (i32.trunc_sat_f32_s (f32.const 1))) (drop (i8x16.splat (i32.const 1))))",
    ),
    // RUSTSEC-2026-0570: in wasmtime 48.0.8 this ended the process.
    (
        "gc",
        "(type $base (sub (func))) (type $derived (sub $base (func))) (table 2 2 funcref) (elem (i32.const \
         0) $f)
        (func $f (type $derived)) (func (call_indirect (type $base) (i32.const 0)))",
    ),
    ("gc", "(type (struct (field i32)))"),
    ("gc", "(type (array i8))"),
    ("gc-types", "(table 1 externref)"),
    ("function-references", "(type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0)))"),
    ("tail-call", "(func $f (return_call $f))"),
    ("exceptions", "(tag)"),
    ("legacy-exceptions", "(func try catch_all end)"),
    ("threads", "(memory 1 1 shared)"),
    ("memory64", "(memory i64 1)"),
    ("multi-memory", "(memory 1) (memory 1)"),
    ("relaxed-simd", "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))"),
    ("wide-arithmetic", "(func (result i64 i64) (i64.mul_wide_s (i64.const 1) (i64.const 1)))"),
    ("custom-page-sizes", "(memory 1 (pagesize 1))"),
    ("stack-switching", "(type $f (func)) (type $c (cont $f))"),
];

#[test]
fn every_proposal_but_the_listed_ones_is_refused_by_name() {
    for (proposal, module) in BY_PROPOSAL {
        let bytes = wat::parse_str(format!("(component (core module {module}))"))
            .unwrap_or_else(|error| panic!("{proposal}: {error}"));
        match refusal_of(&bytes) {
            LoadError::World(_) if proposal.is_empty() => {}
            LoadError::Proposal(name) if name == *proposal => {}
            other => panic!("{proposal:?}: {other}"),
        }
    }
}

#[test]
fn an_import_of_any_kind_is_refused_by_name() {
    let importing = component(&[(7, &[1, 0x40, 0, 1, 0]), (10, b"\x01\x00\x03now\x01\x00")]);
    let LoadError::Imports(names) = refusal_of(&importing) else { panic!("another refusal") };
    assert_eq!(names, ["now"]);
}

#[test]
fn another_world_and_another_version_are_named() {
    assert!(
        refusal_of(&component(&[]))
            .to_string()
            .starts_with("it exports nothing, and a policy exports redis-failover:policy/policy@0.2.0")
    );
    for name in ["wasi:cli/run@0.2.0", "redis-failover:policy/policy@0.1.0"] {
        let LoadError::World(names) = refusal_of(&exporting(name)) else { panic!("another refusal") };
        assert_eq!(names, [name]);
    }
    assert!(matches!(refusal_of(&exporting(POLICY)), LoadError::Types(_)));
}

#[test]
fn a_later_patch_of_the_contract_is_served() {
    let mut bytes = HOSTILE.to_vec();
    let (from, to) = (b"policy/policy@0.2.0", b"policy/policy@0.2.7");
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    assert_eq!(
        Component::load(&sandbox(), &bytes).unwrap().about().exports,
        ["redis-failover:policy/policy@0.2.7"]
    );
}

#[test]
fn a_policy_that_cannot_describe_itself_is_refused() {
    assert!(matches!(refusal_of(&hostile("describe-spins")), LoadError::Describe(PolicyFault::Fuel { .. })));
    assert!(matches!(refusal_of(&hostile("describe-traps")), LoadError::Describe(PolicyFault::Trap(_))));
    assert!(refusal_of(&hostile("misnamed")).to_string().contains("Not Kebab"));
    assert!(refusal_of(&hostile("wants-secrets")).to_string().contains("`CONFIG GET requirepass`"));
}

#[test]
fn only_a_core_module_is_wrapped() {
    for bytes in [&b""[..], EMBEDDED, b"\0asm\x01\0\0\0\xff"] {
        assert!(wrap(bytes).is_err());
    }
}

// ---- What stops a misbehaving one

#[test]
fn each_misbehaviour_is_a_fault_of_its_own_name() {
    assert!(matches!(fault_of("spins"), PolicyFault::Fuel { .. }));
    assert!(matches!(fault_of("hogs"), PolicyFault::Memory { .. }));
    assert!(matches!(fault_of("traps"), PolicyFault::Trap(_)));
    assert!(matches!(fault_of("recurses"), PolicyFault::Trap(_)));
    for behaviour in ["answers-too-much", "answers-no-text"] {
        let fault = fault_of(behaviour);
        assert!(matches!(fault, PolicyFault::Malformed(_)), "{behaviour}: {fault}");
    }
}

#[test]
fn after_a_fault_other_policies_decide_in_the_same_sandbox() {
    let sandbox = sandbox();
    let good = Component::load(&sandbox, &hostile("")).unwrap();
    for behaviour in ["traps", "hogs", "recurses", "answers-too-much"] {
        let bad = Component::load(&sandbox, &hostile(behaviour)).unwrap();
        // More often than the pool has slots.
        for _ in 0..40 {
            assert!(bad.decide(&healthy_group(1)).is_err());
        }
        assert!(good.decide(&healthy_group(3)).is_ok(), "after {behaviour}");
    }
}

#[test]
fn every_decision_has_a_fresh_instance_and_a_reused_one_remembers() {
    let policy = Component::load(&sandbox(), &hostile("")).unwrap();
    for _ in 0..3 {
        assert_eq!(policy.decide(&healthy_group(1)).unwrap().explanation, "1");
    }
    let mut reused = policy.reused().unwrap();
    let counts: Vec<String> = (0..3).map(|_| reused.decide(&healthy_group(1)).unwrap().explanation).collect();
    assert_eq!(counts, ["1", "2", "3"]);
}

#[test]
fn more_threads_than_slots_all_get_their_answer() {
    let policy = Component::load(&sandbox(), &hostile("")).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|_| scope.spawn(|| (0..20).all(|_| policy.decide(&healthy_group(3)).is_ok())))
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    });
}

// ---- The cache

#[test]
fn a_directory_that_others_may_enter_is_no_cache() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| Cache::open(dir.path().join(name));
    assert!(open("private").is_ok());
    std::fs::create_dir(dir.path().join("shared")).unwrap();
    std::fs::set_permissions(dir.path().join("shared"), std::fs::Permissions::from_mode(0o750)).unwrap();
    assert!(open("shared").is_err());
    symlink(dir.path().join("private"), dir.path().join("link")).unwrap();
    assert!(open("link").is_err());
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(open("file").is_err());
}

// ---- Swapping

#[test]
fn a_watched_file_goes_live_after_its_checks_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.wasm");
    let sandbox = Arc::new(Sandbox::new(None).unwrap().with_worker_program(build_program().to_owned()));
    let chain = Arc::new(PolicyChain::new(Arc::new(embedded(&sandbox).unwrap())));
    let prove =
        |policy: &dyn Policy| policy.decide(&healthy_group(3)).map(drop).map_err(|fault| fault.to_string());
    let watch = Watch { path: path.clone(), sandbox, chain: Arc::clone(&chain), prove: Arc::new(prove) };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(watch.run(move |change| drop(sender.send(change))));
    });
    let next = || receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    let titles = || chain.policies().iter().map(|policy| policy.title().to_owned()).collect::<Vec<_>>();
    let alone = titles();

    // It is not there yet.
    assert!(matches!(next(), Change::Refused(_)));
    std::fs::write(&path, "garbage").unwrap();
    assert!(matches!(next(), Change::Refused(_)));
    std::fs::write(&path, hostile("traps")).unwrap();
    assert!(matches!(next(), Change::Refused(_)), "it loads, but fails its checks");
    assert_eq!(titles(), alone);

    std::fs::write(&path, hostile("")).unwrap();
    assert!(matches!(next(), Change::Live { .. }));
    assert_eq!(titles(), ["hostile 1.0.0".to_owned(), alone[0].clone()]);
    std::fs::write(&path, &HOSTILE[..100]).unwrap();
    assert!(matches!(next(), Change::Refused(_)));
    assert_eq!(titles()[0], "hostile 1.0.0");
}
