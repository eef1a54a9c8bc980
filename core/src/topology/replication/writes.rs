//! Whether a member takes writes as a master: a Redis that cannot write its disk lives, answers, replicates,
//! and refuses every write (MISCONF). And whether its self-fence holds for scripts, too.

use super::view::Member;
use crate::facts::config_pairs;
use crate::observed::nested;

/// Shows `save` and `stop-writes-on-bgsave-error`, and no other directive. One pattern, because CONFIG GET
/// takes several only since 7.0.
pub const SAVE_COMMAND: &str = "CONFIG GET s[at][vo][ep]*";

/// Why the member refuses writes as a master, as `server.c: writeCommandsDeniedByDiskError` has it. None: it
/// does not, as far as it shows.
///
/// 1. The append-only file is on and its last write failed (`aof_last_write_status`).
/// 2. The last snapshot failed (`rdb_last_bgsave_status`), `save` is not empty, and
///    `stop-writes-on-bgsave-error` is not `no`. Where CONFIG cannot be read, both are as Redis starts with
///    them.
pub fn refuses_writes(member: &Member) -> Option<&'static str> {
    let persistence = &member.persistence;
    if persistence.aof_enabled == Some(true) && persistence.is_aof_written == Some(false) {
        return Some("its append-only file cannot be written (aof_last_write_status)");
    }
    let config = nested(member.instance, SAVE_COMMAND).map(config_pairs).unwrap_or_default();
    let is = |name: &str, value: &str| config.contains(&(name, value));
    let is_tolerated = is("save", "") || is("stop-writes-on-bgsave-error", "no");
    (persistence.is_rdb_saved == Some(false) && !is_tolerated)
        .then_some("its last snapshot failed (rdb_last_bgsave_status)")
}

/// Below Redis 7 a script that writes is not refused for `min-replicas-to-write` (tried with 6.0; 7.0 and 8.0
/// refuse it).
pub fn scripts_pass_the_fence(member: &Member) -> bool {
    let major = member.server.version.and_then(|version| version.split('.').next());
    major.and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major < 7)
}
