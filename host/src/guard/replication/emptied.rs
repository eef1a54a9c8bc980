//! Whether a copy lost its data by no command of the stream: its load failed, or it was writable and was
//! flushed. Its offset does not show that. Must not judge who takes over.

use crate::guard::scene::Instance;
use failover_core::facts::Relation;

/// True if the stream cannot explain that the copy has no keys where `holder` last had some: it removed none
/// in between, or brought none.
pub(in crate::guard) fn is_emptied(holder: &Instance<'_>, copy: &Instance<'_>) -> bool {
    let keys = holder.last_keys.unwrap_or(0);
    let is_near = match copy.relation(holder) {
        Some(Relation::Equal) => true,
        Some(Relation::Ahead(bytes)) => bytes < EMPTYING_BYTES,
        Some(Relation::Behind(bytes)) => bytes < keys.saturating_mul(KEY_BYTES),
        Some(Relation::Forked { .. } | Relation::Unrelated) | None => false,
    };
    copy.keys == Some(0) && keys > 0 && is_near
}

/// The shortest command that removes a key: FLUSHDB, `*1\r\n$7\r\nFLUSHDB\r\n`.
const EMPTYING_BYTES: u64 = 17;
/// The shortest form of a key: one of many of MSET, `$1\r\na\r\n$1\r\nb\r\n`.
const KEY_BYTES: u64 = 14;
