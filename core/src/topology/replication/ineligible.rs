//! Why a member cannot become master: the documented list, made like the reasons. Verdicts carry the names.

use super::view::Member;
use crate::facts::ReportedRole;

/// Why this member is no candidate, whatever its lineage. None: it may stand. The first that holds is given.
pub fn unfit(member: &Member) -> Option<Ineligible> {
    let replication = &member.replication;
    Some(match () {
        () if member.twin.is_some() => Ineligible::Duplicate,
        () if member.other_mode.is_some() => Ineligible::OtherMode,
        () if !member.answers => Ineligible::NoReply,
        () if replication.role != ReportedRole::Replica => Ineligible::NotAReplica,
        () if replication.priority == Some(0) => Ineligible::PriorityZero,
        () if replication.priority.is_none() => Ineligible::PriorityUnknown,
        () if !replication.is_announced => Ineligible::NotAnnounced,
        () if replication.in_failover => Ineligible::FailoverInProgress,
        () if replication.is_syncing => Ineligible::Syncing,
        () if member.is_loading() => Ineligible::Loading,
        () if member.server.run_id.is_none() => Ineligible::RunIdUnknown,
        () if replication.history.is_none() => Ineligible::HistoryUnknown,
        () => return None,
    })
}

macro_rules! ineligible {
    ($($variant:ident $name:literal $lasts:ident $sentence:literal $way_out:literal,)*) => {
        /// Why a member cannot become master.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Ineligible {
            $(#[doc = $sentence] $variant,)*
        }

        impl Ineligible {
            /// Every one, in the order in which they are asked.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Kebab-case name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What holds.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }

            /// What ends it.
            pub const fn way_out(self) -> &'static str {
                match self { $(Self::$variant => $way_out,)* }
            }

            /// It ends without anyone's help, so that a switchover may wait for it.
            pub const fn is_passing(self) -> bool {
                match self { $(Self::$variant => ineligible!(@$lasts),)* }
            }
        }
    };
    (@passes) => { true };
    (@stays) => { false };
}

ineligible! {
    Duplicate "duplicate" stays
        "It is another member under a second address, by its run id." "List every server once.",
    OtherMode "other-mode" stays
        "A server in cluster or sentinel mode answers at its address."
        "Take the address off the list, or start the member there again.",
    NoReply "no-reply" stays
        "It does not answer." "See its Pod: kubectl describe pod.",
    NotAReplica "not-a-replica" stays
        "It answers, and not as a replica."
        "The operator points it to the master, unless its data is no copy.",
    PriorityZero "priority-zero" stays
        "Its replica-priority is 0, which means never." "Set another in spec.config.",
    PriorityUnknown "priority-unknown" stays
        "It does not report a replica-priority." "Check that it is a Redis server.",
    NotAnnounced "not-announced" stays
        "It sets replica-announced no, so clients must not learn of it." "Set it to yes.",
    FailoverInProgress "failover-in-progress" passes
        "It carries out a FAILOVER command of its own." "Its TIMEOUT ends it, or FAILOVER ABORT.",
    Syncing "syncing" passes
        "It receives a copy of the data." "That ends by itself.",
    Loading "loading" passes
        "It loads its data." "That ends by itself.",
    RunIdUnknown "run-id-unknown" passes
        "Its run id is not known yet." "The next round of probes brings it.",
    HistoryUnknown "history-unknown" passes
        "It has never been in sync with a master, so it has no data to take over with."
        "Its first sync ends it.",
    ForeignHistory "foreign-history" stays
        "Its data is no copy of the group's."
        "It will follow the master, or a person must decide about its data.",
    PromotionRefused "promotion-refused" stays
        "It refused its promotion within the last minute; the decision has its words."
        "Grant the operator REPLICAOF there, or undo its renaming; deploy/acl has the rights.",
    NotRedis "not-redis" stays
        "It is no Redis server." "Only Redis servers can take over.",
}
