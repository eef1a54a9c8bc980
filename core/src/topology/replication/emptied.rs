//! Whether a copy without keys was emptied outside of the stream: a failed load dropped its data, or it was
//! writable and was flushed. Its offset does not show that.

/// The shortest command in the stream that removes a key: FLUSHDB, `*1\r\n$7\r\nFLUSHDB\r\n`.
const EMPTYING_BYTES: u64 = 17;
/// The shortest form of a key in the stream: one of many of MSET, `$1\r\na\r\n$1\r\nb\r\n`.
const KEY_BYTES: u64 = 14;

/// Whether the stream cannot explain that a copy has no keys at one place of a history, where another one has
/// that many at another place of it:
///
/// - at the same place, or a little before: the stream removed nothing in between, since a command that does
///   takes [`EMPTYING_BYTES`]. A queue that was drained has more between the two;
/// - later: the stream has not brought them in between, since each takes [`KEY_BYTES`].
pub fn is_contradicted(empty_at: u64, keys: u64, keys_at: u64) -> bool {
    keys > 0
        && match empty_at.checked_sub(keys_at) {
            Some(ahead) => ahead < EMPTYING_BYTES,
            None => keys_at - empty_at < keys.saturating_mul(KEY_BYTES),
        }
}

#[cfg(test)]
mod tests {
    use super::is_contradicted;

    #[test]
    fn between_two_places_the_stream_may_have_removed_or_brought_keys_if_there_are_bytes_for_it() {
        assert!(is_contradicted(1000, 100, 1000), "the same place");
        assert!(is_contradicted(1014, 100, 1000), "a heartbeat further");
        assert!(!is_contradicted(1017, 100, 1000), "a FLUSHDB further");
        assert!(is_contradicted(1000, 100, 1050), "fifty bytes bring no hundred keys");
        assert!(!is_contradicted(1000, 1, 1050), "and may bring one");
        assert!(!is_contradicted(1000, 0, 1000), "both are empty");
    }
}
