//! Replication positions. They are only partially ordered: an offset means nothing without the history it
//! counts in.

/// A position in a replication history, and the history that it grew out of.
///
/// A replica that is promoted takes a new `master_replid` and keeps its master's as `master_replid2`, valid
/// up to and without `second_repl_offset` (Redis docs, "Replication ID explained"). So two servers can prove
/// what they have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History<'a> {
    /// `master_replid`.
    pub replid: &'a str,
    /// Bytes of the stream: `master_repl_offset` of a master, `slave_repl_offset` of a replica.
    pub offset: u64,
    /// `master_replid2` and the last offset at which it holds, `second_repl_offset - 1`.
    pub former: Option<(&'a str, u64)>,
}

/// How one history stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same bytes.
    Equal,
    /// All that the other has, and this many bytes more.
    Ahead(u64),
    /// A prefix of the other, this many bytes short.
    Behind(u64),
    /// One stream up to `at`; then this many bytes of its own on either side, both more than none.
    Forked {
        /// Last offset that both share.
        at: u64,
        /// Bytes beyond it on this side.
        own: u64,
        /// Bytes beyond it on the other side.
        theirs: u64,
    },
    /// Nothing in common that could be proven.
    Unrelated,
}

impl History<'_> {
    /// Compares two histories as far as their ids prove anything.
    pub fn relation(&self, other: &History<'_>) -> Relation {
        let shared = match (self.former, other.former) {
            _ if self.replid == other.replid => self.offset.min(other.offset),
            (_, Some((id, end))) if id == self.replid => end.min(self.offset).min(other.offset),
            (Some((id, end)), _) if id == other.replid => end.min(other.offset).min(self.offset),
            (Some((mine, end)), Some((theirs, other_end))) if mine == theirs => {
                end.min(other_end).min(self.offset).min(other.offset)
            }
            (Some(_) | None, Some(_) | None) => return Relation::Unrelated,
        };
        match (self.offset - shared, other.offset - shared) {
            (0, 0) => Relation::Equal,
            (own, 0) => Relation::Ahead(own),
            (0, theirs) => Relation::Behind(theirs),
            (own, theirs) => Relation::Forked { at: shared, own, theirs },
        }
    }

    /// Whether the stream named `replid` is this history or the one it grew out of.
    pub fn knows(&self, replid: &str) -> bool {
        self.replid == replid || self.former.is_some_and(|(id, _)| id == replid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(replid: &'static str, offset: u64) -> History<'static> {
        History { replid, offset, former: None }
    }

    fn grown(replid: &'static str, offset: u64, id: &'static str, end: u64) -> History<'static> {
        History { replid, offset, former: Some((id, end)) }
    }

    #[test]
    fn relations_row_by_row() {
        let rows = [
            (at("a", 5), at("a", 5), Relation::Equal),
            (at("a", 9), at("a", 5), Relation::Ahead(4)),
            (at("a", 9), at("b", 9), Relation::Unrelated),
            // The promoted one forked at 100: a straggler of the old history is behind it, a longer one has
            // a surplus.
            (at("a", 90), grown("b", 120, "a", 100), Relation::Behind(30)),
            (at("a", 100), grown("b", 100, "a", 100), Relation::Equal),
            (at("a", 130), grown("b", 120, "a", 100), Relation::Forked { at: 100, own: 30, theirs: 20 }),
            (at("a", 130), grown("b", 100, "a", 100), Relation::Ahead(30)),
            // Two promotions out of one history.
            (
                grown("b", 120, "a", 100),
                grown("c", 110, "a", 105),
                Relation::Forked { at: 100, own: 20, theirs: 10 },
            ),
            (grown("b", 100, "a", 100), grown("c", 100, "a", 100), Relation::Equal),
            (grown("b", 5, "a", 1), grown("d", 5, "c", 1), Relation::Unrelated),
        ];
        for (one, other, expected) in rows {
            assert_eq!(one.relation(&other), expected, "{one:?} to {other:?}");
            let mirrored = match expected {
                Relation::Ahead(bytes) => Relation::Behind(bytes),
                Relation::Behind(bytes) => Relation::Ahead(bytes),
                Relation::Forked { at, own, theirs } => Relation::Forked { at, own: theirs, theirs: own },
                Relation::Equal | Relation::Unrelated => expected,
            };
            assert_eq!(other.relation(&one), mirrored, "mirrored: {other:?} to {one:?}");
        }
    }
}
