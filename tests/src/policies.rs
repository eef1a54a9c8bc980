//! Components that only tests load.

/// The example policy of `example/policies/classic`.
pub const CLASSIC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/classic-policy.wasm"));

/// The policy of `tests/guests/hostile`, without any behaviour.
pub const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile-policy.wasm"));

/// The embedded policy with a note in a custom section: the same policy, in a file of another digest.
pub fn noted(note: u8) -> Vec<u8> {
    // Id 0, the length of what follows, the length of the name, the name, and what the section says.
    [redis_operator::policy::EMBEDDED, &[0, 6, 4], b"note", &[note]].concat()
}

/// The hostile policy with a behaviour written into its bytes.
pub fn hostile(behaviour: &str) -> Vec<u8> {
    let mark = b"behaviour=";
    let mut bytes = HOSTILE.to_vec();
    let at = bytes.windows(mark.len()).position(|window| window == mark).expect("its static is in it")
        + mark.len();
    assert!(behaviour.len() <= 22);
    bytes[at..at + behaviour.len()].copy_from_slice(behaviour.as_bytes());
    bytes
}
