//! Whether a replica is in sync. Link up alone is not: after a full sync the stream flows only from the
//! replica's first acknowledgement on, a second later, while its master takes writes (measured: `up` at
//! offset 0 behind 8 MB).

use super::emptied::is_contradicted;
use super::view::{Member, Row, View};
use crate::facts::{AttachedReplica, Relation};

/// Why a replica of `master` is not in sync. None: it is.
pub fn not_in_sync(view: &View, index: usize, master: usize) -> Option<String> {
    let (replica, right) = (&view.members[index], &view.members[master]);
    if !replica.is_replica_of(master) {
        return Some("it does not follow the master".into());
    }
    if replica.replication.is_syncing {
        return Some("a full copy is arriving".into());
    }
    if replica.replication.link_up != Some(true) {
        return Some("its link to the master is down".into());
    }
    if replica.history().map(|history| history.replid) != right.history().map(|history| history.replid) {
        return Some("it does not have the master's history yet".into());
    }
    if let Some(why) = emptied(replica, right) {
        return Some(why);
    }
    match row(index, right) {
        Some(row) if row.online && row.lag_s.is_none_or(|lag_s| lag_s <= LAG_MAX_S) => {}
        Some(row) if row.online => {
            return Some(format!("it has not acknowledged for more than {LAG_MAX_S} s"));
        }
        Some(_) | None => return Some("its master does not list it as online".into()),
    }
    match lag_bytes(replica, right) {
        Some(lag) if lag > view.parameters.lag_max_bytes => Some(format!("it is {lag} bytes behind")),
        Some(_) => None,
        None => Some("its offset is unknown".into()),
    }
}

/// Its data is gone although its offset is good: a handover to it would give all data up.
pub fn emptied(replica: &Member, master: &Member) -> Option<String> {
    let keys = master.keys.filter(|_| replica.keys == Some(0))?;
    let (empty_at, keys_at) = match replica.relation(master) {
        Relation::Equal => (0, 0),
        Relation::Ahead(bytes) => (bytes, 0),
        Relation::Behind(bytes) => (0, bytes),
        Relation::Forked { .. } | Relation::Unrelated => return None,
    };
    is_contradicted(empty_at, keys, keys_at).then(|| {
        format!(
            "it has no keys, and {} has {keys} at the same place of the stream: it was flushed by itself, or could not \
             read its copy; restart it without its files, so that it copies anew",
            master.instance.id
        )
    })
}

/// Bytes behind in one history. None: not comparable.
pub fn lag_bytes(replica: &Member, master: &Member) -> Option<u64> {
    let (mine, right) = (replica.history()?, master.history()?);
    (mine.replid == right.replid).then(|| right.offset.saturating_sub(mine.offset))
}

/// A replica acknowledges once a second; the default of `min-replicas-max-lag`, beyond which it does not
/// count for Redis either.
const LAG_MAX_S: u64 = 10;

/// Its master's row of it. Behind address translation no row has an address that is known here: then a row
/// that is online and of no other member counts.
fn row<'a>(index: usize, master: &'a Member) -> Option<&'a AttachedReplica> {
    let first = master.rows.partition_point(|row| row.owner < Some(index));
    let attached = |row: &Row| &master.replication.attached[row.row];
    let known = master.rows.get(first).filter(|row| row.owner == Some(index)).map(attached);
    let unknown = || master.rows.iter().take_while(|row| row.owner.is_none()).map(attached);
    known.or_else(|| unknown().find(|row| row.online && row.place.port != 0))
}
