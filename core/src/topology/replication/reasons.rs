//! The documented reasons of replication, in the order of its rules. A test keeps that order, and
//! `wit/REASONS.md` is made from this list.

use crate::reason::reasons;

reasons! {
    NOT_REPLICATION "not-replication" "refuse"
        "A member runs in cluster or sentinel mode, so it is no member of a replication group: take it off the list.",
    NOBODY_ANSWERS "nobody-answers" "wait"
        "No member answers, so nothing can be decided until one does.",
    EXTERNAL_MASTER "external-master" "refuse"
        "A member follows a server outside of the group: add that server to the group, or detach the member.",
    UNRELATED_MASTERS "unrelated-masters" "refuse"
        "Members hold unrelated data and no record tells which is right: empty the wrong one, or list it in `discard`.",
    FAILOVER_IN_PROGRESS "failover-in-progress" "wait" planned
        "A member carries out a FAILOVER command of its own, which Redis bounds by its TIMEOUT or FAILOVER ABORT ends.",
    MASTER_SUSPECT "master-suspect" "wait"
        "The master does not answer; nothing is proven before the hang limit.",
    MASTER_OCCUPIED "master-occupied" "wait"
        "The master answers only LOADING or BUSY, which is life: SCRIPT KILL ends a script, loading ends by itself.",
    MASTER_LOCKED "master-locked" "refuse"
        "The master does not accept the operator's credentials: mend them.",
    CONFIRMING_DEATH "confirming-death" "wait"
        "The master's process is gone for this observer; replicas are being asked, which takes one round trip.",
    MASTER_STILL_HEARD "master-still-heard" "wait"
        "The master cannot be reached from here, and replicas still hear it: mend the operator's way to it.",
    TOO_FEW_WITNESSES "too-few-witnesses" "wait"
        "The master is silent and no majority of the desired members answers: it may be the operator that is cut off.",
    SILENT_UNFENCED "silent-unfenced" "refuse"
        "The master is silent, consistency is preferred, and it has no self-fence: stop it, manage the fence, or prefer availability.",
    COOLING_DOWN "cooling-down" "wait"
        "The master is silent too soon after the last failover; three hang limits must pass between the two.",
    FLEET_DOUBT "fleet-doubt" "wait"
        "Many groups fell silent together, which says more about the operator; held for ten hang limits at most.",
    FENCE_WAITING "fence-waiting" "wait"
        "The master is silent and its self-fence has surely bitten only after its lag and three seconds.",
    CONFIRMING_ABDICATION "confirming-abdication" "wait"
        "The member that the others follow as their master is none any more; another operator may be in the middle of a handover, so the group must look so for 100 ms.",
    BELOW_MINIMUM_SIZE "below-minimum-size" "wait"
        "Fewer members answer than the minimum size: start members, or lower the minimum.",
    ACTION_IN_DOUBT "action-in-doubt" "wait"
        "An action was sent to a member and not answered, so it may be a master by now; it is looked at first, for a hang limit at most.",
    NOBODY_ELIGIBLE "nobody-eligible" "refuse"
        "The master is lost and no member may take over; the members' verdicts say why: start the old master, or make one eligible.",
    RESTART_WAITING "restart-waiting" "wait"
        "Every history is new, as after a restart with AOF, or the master came back without its data, and the desired members get their time to appear, bootstrap_wait_s at most; or who has the data still loads it, which ends by itself.",
    MASTER_DEAD "master-dead" "act"
        "The master's process is gone, and a replica takes over.",
    MASTER_ABDICATED "master-abdicated" "act"
        "Whom the others follow is no master any more, and a replica takes over.",
    MASTER_AMNESIC "master-amnesic" "act"
        "The master came back without the data that a replica has, which takes over before it is lost there too.",
    MASTER_SILENT "master-silent" "act"
        "The master gave no reply for the hang limit and its replicas hear nothing from it either; a replica takes over.",
    BOOTSTRAP_WAITING "bootstrap-waiting" "wait" planned
        "There was no master yet; the desired members get their time to appear, bootstrap_wait_s at most.",
    BOOTSTRAP "bootstrap" "act"
        "There was no master yet; one is chosen, and the others follow it.",
    SECOND_MASTER "second-master" "act"
        "Another member answers as a master and is told to follow the right one.",
    REPLICA_ELSEWHERE "replica-elsewhere" "act"
        "A replica follows somebody else, or a chain, and is told to follow the master.",
    SELF_FENCE "self-fence" "act"
        "The master not_in_sync the fence that consistency needs, and gets it.",
    SWITCHOVER_REFUSED "switchover-refused" "refuse"
        "The switchover that was asked for cannot be done; the explanation says why.",
    SWITCHOVER_WAITING "switchover-waiting" "wait" planned
        "A switchover was asked for and its target is not in sync yet.",
    SWITCHOVER "switchover" "act"
        "A switchover was asked for, and the master hands over.",
    MASTER_TERMINATING "master-terminating" "act, wait" planned
        "The master was asked to stop, and hands over to an in-sync replica while it can.",
    PRIORITY_HANDOVER "priority-handover" "act"
        "The last failover promoted the most advanced replica; the one with the better priority has caught up and gets the role.",
    UNRELATED_DATA "unrelated-data" "refuse"
        "A member holds data that is no copy, which following the master would destroy: empty it, or list it in `discard`.",
    REPLICA_MISSING "replica-missing" "wait"
        "The master works; a desired member does not answer: start it.",
    REPLICA_SYNCING "replica-syncing" "wait" planned
        "The master works; a replica is not in sync yet.",
    HEALTHY "healthy" "healthy"
        "One master, and every desired member is its in-sync replica.",
}
