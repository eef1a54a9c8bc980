//! The documented reasons of replication, in the order of its rules. A test keeps that order, and
//! `wit/REASONS.md` is made from this list.

use crate::reason::reasons;

reasons! {
    NOT_REPLICATION "not-replication" "refuse"
        "Every member runs in cluster or sentinel mode, so none is a member of a replication group: correct \
         the list.",
    LOCKED_OUT "locked-out" "refuse"
        "No member answers, and at least one does not accept the operator's credentials: correct them.",
    NOBODY_ANSWERS "nobody-answers" "wait"
        "No member answers, so nothing can be decided until one does.",
    EXTERNAL_MASTER "external-master" "refuse"
        "A member follows a server outside of the group: add that server to the group, or detach the \
         member.",
    UNRELATED_MASTERS "unrelated-masters" "refuse"
        "Members hold unrelated data, and no record says which is the group's: empty the others, or add \
         their replication ids to `discard`.",
    FAILOVER_IN_PROGRESS "failover-in-progress" "wait" planned
        "A member carries out a FAILOVER command of its own: its TIMEOUT ends it, or FAILOVER ABORT.",
    MASTER_SUSPECT "master-suspect" "wait"
        "The master does not answer; nothing is proven before the hang limit.",
    MASTER_OCCUPIED "master-occupied" "wait"
        "The master answers only LOADING or BUSY, which is life: SCRIPT KILL ends a script, loading ends by \
         itself.",
    MASTER_BUSY "master-busy" "refuse"
        "The master has answered only BUSY for ten seconds and more: a script keeps it, and it serves no \
         client. It is alive and may still acknowledge what the script wrote, so it is not replaced: SCRIPT \
         KILL or FUNCTION KILL ends a script that has not written; else SHUTDOWN NOSAVE gives up what it \
         wrote, and a replica takes over.",
    MASTER_LOCKED "master-locked" "refuse"
        "The master does not let the operator in, or answers INFO with an error: correct credentials, certificates or rights.",
    CONFIRMING_DEATH "confirming-death" "wait"
        "The master's process is gone for this observer; its replicas must confirm that, which takes one \
         round trip.",
    MASTER_STILL_HEARD "master-still-heard" "wait"
        "The operator cannot reach the master, but replicas still receive from it: restore the operator's \
         network.",
    HEARTBEAT_WAITING "heartbeat-waiting" "wait"
        "The master is silent, but links of its replicas are up and its next heartbeat to them is not due: \
         set repl-ping-replica-period below the hang limit, and a hung master is replaced sooner.",
    TOO_FEW_WITNESSES "too-few-witnesses" "wait"
        "The master is silent and no majority of the desired members answers: the operator may be cut off.",
    SILENT_UNFENCED "silent-unfenced" "refuse"
        "The master is silent, consistency is preferred, and it has no self-fence: stop it, manage the \
         fence, or prefer availability.",
    COOLING_DOWN "cooling-down" "wait"
        "The master is silent too soon after the last failover; three hang limits must pass between the \
         two.",
    FLEET_DOUBT "fleet-doubt" "wait"
        "Many groups fell silent together, so the operator itself may be cut off; held for ten hang limits \
         at most.",
    FENCE_WAITING "fence-waiting" "wait"
        "The master is silent, and it surely refuses writes only after the lag of its self-fence and three \
         seconds.",
    CONFIRMING_ABDICATION "confirming-abdication" "wait"
        "The member that the others follow is no master any more. Another operator may be in the middle of \
         a handover, so the group must be without a master for 100 ms.",
    EMPTY_MASTER "empty-master" "act"
        "A master started without its data and no member can take over yet: it is demoted, so that it takes no \
         writes and no replica copies it.",
    BELOW_MINIMUM_SIZE "below-minimum-size" "wait"
        "Fewer members answer than the minimum size: start members, or lower the minimum.",
    ACTION_IN_DOUBT "action-in-doubt" "wait"
        "An action was sent to a member and not answered, so the member may be a master by now. It is \
         observed first, for a hang limit at most.",
    NOBODY_ELIGIBLE "nobody-eligible" "refuse"
        "The master is lost and no member may take over; the members' verdicts say why: start the old \
         master, or make a member eligible.",
    PROMOTION_REFUSED "promotion-refused" "refuse"
        "Each member that may take over refused its promotion, and the explanation has a server's words. It \
         is asked again after 1 to 10 s: grant the operator REPLICAOF, undo its renaming, or start the old \
         master.",
    RESTART_WAITING "restart-waiting" "wait"
        "No member has the former history, as after a restart with AOF, or the master restarted without its \
         data. The desired members have bootstrap_wait_s to appear, and members that load their data have \
         until it is loaded.",
    MASTER_DEAD "master-dead" "act"
        "The master's process is gone, and a replica takes over.",
    MASTER_ABDICATED "master-abdicated" "act"
        "The member that the others follow is no master any more, and a replica takes over.",
    MASTER_AMNESIC "master-amnesic" "act"
        "The master restarted without the data that a replica has. That replica takes over before it copies \
         the loss.",
    MASTER_SILENT "master-silent" "act"
        "The master gave no reply for the hang limit and its replicas receive nothing from it; a replica \
         takes over.",
    BOOTSTRAP_WAITING "bootstrap-waiting" "wait" planned
        "The group has had no master yet; the desired members have bootstrap_wait_s to appear.",
    BOOTSTRAP "bootstrap" "act"
        "The group has had no master yet; one is chosen, and the others follow it.",
    SECOND_MASTER "second-master" "act"
        "Another member reports role master, and is pointed to the right one.",
    REPLICA_ELSEWHERE "replica-elsewhere" "act"
        "A replica follows another server, or a chain, and is pointed to the master.",
    PAUSE_LEFT "pause-left" "act"
        "A handover of Redis before 6.2 was interrupted and left min-replicas-to-write 1000000, with which a \
         master refuses all writes. The group's own value is put back.",
    SELF_FENCE "self-fence" "act"
        "A member lacks the fence that consistency needs, and gets it.",
    MASTER_CANNOT_WRITE "master-cannot-write" "act"
        "The master refuses all writes, because its snapshot or its append-only file cannot be written \
         (MISCONF). It hands over to an in-sync replica whose own disk works.",
    SWITCHOVER_REFUSED "switchover-refused" "refuse"
        "The requested switchover is not possible; the explanation says why.",
    SWITCHOVER "switchover" "act"
        "A switchover was requested, and the master hands over.",
    MASTER_TERMINATING "master-terminating" "act, wait" planned
        "The master is terminating, and hands over to an in-sync replica while it can.",
    SWITCHOVER_WAITING "switchover-waiting" "wait" planned
        "A switchover was requested and its target is not in sync yet.",
    PRIORITY_HANDOVER "priority-handover" "act"
        "The last failover promoted the most advanced replica; the one with the better priority has caught \
         up and gets the role.",
    WRITES_STOPPED "writes-stopped" "refuse"
        "The master refuses all writes, because its snapshot or its append-only file cannot be written \
         (MISCONF), and no in-sync replica with a working disk can take over: free its disk.",
    COMMAND_REFUSED "command-refused" "refuse"
        "A member refused what it has to do, and the explanation has its words. It is asked again after 1 to \
         10 s: grant the operator the command, or undo its renaming; deploy/acl has the rights.",
    UNRELATED_DATA "unrelated-data" "refuse"
        "A member holds data that is no copy, and following the master would destroy it: empty the member, \
         or list it in `discard`.",
    REPLICA_MISSING "replica-missing" "wait"
        "The master works; a desired member does not answer: start it.",
    REPLICA_SYNCING "replica-syncing" "wait" planned
        "The master works; a replica is not in sync yet.",
    FENCE_MISSING "fence-missing" "healthy"
        "As healthy; and consistency is preferred, while a member does not show its self-fence (CONFIG is \
         renamed or denied), or replicas that are not listed may keep the master's open: a master that is \
         cut off is not replaced. Grant CONFIG, list all replicas, or prefer availability.",
    SCRIPTS_UNFENCED "scripts-unfenced" "healthy"
        "As healthy; and consistency is preferred, while below Redis 7 the writes of scripts and functions \
         pass the self-fence: what they write to a master that is cut off may be lost. Upgrade, or do not \
         write by scripts.",
    HEALTHY "healthy" "healthy"
        "One master, and every desired member is its in-sync replica.",
}
