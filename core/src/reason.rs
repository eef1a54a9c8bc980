//! The documented list of reasons: metric labels, condition reasons, log fields. One reason, one rule.

use crate::contract::{Progress, Verdict};

impl Reason {
    /// Whether a group with this reason and verdict is on its way to its desired state without help.
    pub fn progress(self, verdict: Verdict) -> Progress {
        /// What ends by itself and was asked for: by a first start, a new replica, a person, or Redis.
        const PLANNED: &[Reason] = &[
            Reason::FailoverInProgress,
            Reason::BootstrapWaiting,
            Reason::SwitchoverWaiting,
            Reason::MasterTerminating,
            Reason::ReplicaSyncing,
        ];
        match verdict {
            Verdict::Healthy => Progress::Settled,
            Verdict::Act => Progress::Changing,
            Verdict::Wait if PLANNED.contains(&self) => Progress::Changing,
            Verdict::Wait | Verdict::Refuse => Progress::Hindered,
        }
    }
}

macro_rules! reasons {
    ($($variant:ident $name:literal $verdict:literal $why:literal,)*) => {
        /// Why a decision is what it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $why] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the rules.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Kebab-case name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The verdicts that it comes with.
            pub const fn verdicts(self) -> &'static str {
                match self { $(Self::$variant => $verdict,)* }
            }

            /// What holds when it is given, and the way out where there is one.
            pub const fn why(self) -> &'static str {
                match self { $(Self::$variant => $why,)* }
            }
        }
    };
}

reasons! {
    InvalidObservation "invalid-observation" "refuse" "An id is empty or stands twice: the host is at fault.",
    InvalidParameters "invalid-parameters" "refuse" "The parameters do not fit the schema; the explanation says where.",
    UnsupportedTopology "unsupported-topology" "refuse" "This policy decides for replication only.",
    NotReplication "not-replication" "refuse" "A member runs in cluster or sentinel mode, so it is no member of a replication group: take it off the list.",
    NobodyAnswers "nobody-answers" "wait" "No member answers, so nothing can be decided until one does.",
    ExternalMaster "external-master" "refuse" "A member follows a server outside of the group: add that server to the group, or detach the member.",
    UnrelatedMasters "unrelated-masters" "refuse" "Members hold unrelated data and no record tells which is right: empty the wrong one, or list it in `discard`.",
    FailoverInProgress "failover-in-progress" "wait" "A member carries out a FAILOVER command of its own, which Redis bounds by its TIMEOUT or FAILOVER ABORT ends.",
    ActionInDoubt "action-in-doubt" "wait" "An action was sent to a member and not answered, so it may be a master by now; it is looked at first, for a hang limit at most.",
    ConfirmingAbdication "confirming-abdication" "wait" "The member that the others follow as their master is none any more; another operator may be in the middle of a handover, so the group must look so for 100 ms.",
    BelowMinimumSize "below-minimum-size" "wait" "Fewer members answer than the minimum size: start members, or lower the minimum.",
    BootstrapWaiting "bootstrap-waiting" "wait" "There was no master yet; the desired members get their time to appear, bootstrap_wait_s at most.",
    RestartWaiting "restart-waiting" "wait" "Every history is new, as after a restart with AOF, or the master came back without its data, and the desired members get their time to appear, bootstrap_wait_s at most; or who has the data still loads it, which ends by itself.",
    MasterSuspect "master-suspect" "wait" "The master does not answer; nothing is proven before the hang limit.",
    MasterOccupied "master-occupied" "wait" "The master answers only LOADING or BUSY, which is life: SCRIPT KILL ends a script, loading ends by itself.",
    MasterLocked "master-locked" "refuse" "The master does not accept the operator's credentials: mend them.",
    ConfirmingDeath "confirming-death" "wait" "The master's process is gone for this observer; replicas are being asked, which takes one round trip.",
    MasterStillHeard "master-still-heard" "wait" "The master cannot be reached from here, and replicas still hear it: mend the operator's way to it.",
    TooFewWitnesses "too-few-witnesses" "wait" "The master is silent and no majority of the desired members answers: it may be the operator that is cut off.",
    CoolingDown "cooling-down" "wait" "The master is silent too soon after the last failover; three hang limits must pass between the two.",
    FleetDoubt "fleet-doubt" "wait" "Many groups fell silent together, which says more about the operator; held for ten hang limits at most.",
    FenceWaiting "fence-waiting" "wait" "The master is silent and its self-fence has surely bitten only after its lag and three seconds.",
    SilentUnfenced "silent-unfenced" "refuse" "The master is silent, consistency is preferred, and it has no self-fence: stop it, manage the fence, or prefer availability.",
    NobodyEligible "nobody-eligible" "refuse" "The master is lost and no member may take over; the members' verdicts say why: start the old master, or make one eligible.",
    MasterDead "master-dead" "act" "The master's process is gone, and a replica takes over.",
    MasterAbdicated "master-abdicated" "act" "Whom the others follow is no master any more, and a replica takes over.",
    MasterAmnesic "master-amnesic" "act" "The master came back without the data that a replica has, which takes over before it is lost there too.",
    MasterSilent "master-silent" "act" "The master gave no reply for the hang limit and its replicas hear nothing from it either; a replica takes over.",
    Bootstrap "bootstrap" "act" "There was no master yet; one is chosen, and the others follow it.",
    SecondMaster "second-master" "act" "Another member answers as a master and is told to follow the right one.",
    ReplicaElsewhere "replica-elsewhere" "act" "A replica follows somebody else, or a chain, and is told to follow the master.",
    UnrelatedData "unrelated-data" "refuse" "A member holds data that is no copy, which following the master would destroy: empty it, or list it in `discard`.",
    SelfFence "self-fence" "act" "The master lacks the fence that consistency needs, and gets it.",
    SwitchoverRefused "switchover-refused" "refuse" "The switchover that was asked for cannot be done; the explanation says why.",
    SwitchoverWaiting "switchover-waiting" "wait" "A switchover was asked for and its target is not in sync yet.",
    Switchover "switchover" "act" "A switchover was asked for, and the master hands over.",
    MasterTerminating "master-terminating" "act, wait" "The master was asked to stop, and hands over to an in-sync replica while it can.",
    PriorityHandover "priority-handover" "act" "The last failover promoted the most advanced replica; the one with the better priority has caught up and gets the role.",
    ReplicaMissing "replica-missing" "wait" "The master works; a desired member does not answer: start it.",
    ReplicaSyncing "replica-syncing" "wait" "The master works; a replica is not in sync yet.",
    Healthy "healthy" "healthy" "One master, and every desired member is its in-sync replica.",
}
