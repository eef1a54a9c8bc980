//! The documented reasons of topology `sentinel` beyond those of replication, in the order of its rules.

use crate::reason::reasons;

reasons! {
    SENTINEL_FAILOVER "sentinel-failover" "wait"
        "A Sentinel carries out a failover, and two must not change one group. Its own timeouts end it: ten seconds, and \
         three times failover-timeout.",
    ASKING_SENTINELS "asking-sentinels" "wait"
        "Something is to be changed, and a Sentinel that answers has not said a moment ago that it changes nothing itself: \
         one round trip.",
    HEARD_BY_SENTINELS "heard-by-sentinels" "wait"
        "The master is silent for the operator and for its replicas, but the Sentinels still hear it: they call it down \
         after down-after-milliseconds. If they never do, restore the operator's network.",
    LEFT_TO_SENTINELS "left-to-sentinels" "wait"
        "The master is lost, and the Sentinels may be about to fail over: they get down-after-milliseconds, failover-timeout \
         and two seconds.",
    SENTINELS_ERRED "sentinels-erred" "act"
        "The Sentinels made a member master that lacks the group's data. The one that has it takes over before it copies \
         the loss.",
    SENTINELS_POWERLESS "sentinels-powerless" "act"
        "The master is lost, and the Sentinels cannot or did not replace it; a replica takes over with the votes there are.",
    UNFIT_FOR_SENTINELS "unfit-for-sentinels" "act"
        "Sentinels prefer a replica by its replica-priority and ignore its data. One without the group's data gets \
         2000000000 on top of its own value, and its own value back once it is in sync.",
    SENTINELS_DECIDED "sentinels-decided" "act"
        "A majority of the Sentinels made another member master. It is, and the former master follows it at once.",
    SENTINEL_ELSEWHERE "sentinel-elsewhere" "act"
        "A Sentinel takes another server for the master, or watches none, and is told.",
    SENTINEL_GHOSTS "sentinel-ghosts" "act"
        "A Sentinel knows a replica or a Sentinel that does not exist any more, and would act on whatever gets its address. \
         It is set up anew, one Sentinel at a time.",
    SENTINEL_SETTINGS "sentinel-settings" "act"
        "A Sentinel has another quorum, down-after-milliseconds, failover-timeout or parallel-syncs than the group, and \
         gets the group's.",
    SENTINEL_STUCK "sentinel-stuck" "act"
        "A Sentinel has been in TILT for 35 s, or silent for 10 s while its container runs: it is restarted, one at a time.",
    VOTES_MISSING "votes-missing" "wait"
        "A planned change of master takes the votes of a majority of the Sentinels, or they would undo it, and fewer answer: \
         start them.",
    SENTINELS_IN_TILT "sentinels-in-tilt" "wait"
        "Master and replicas work; a Sentinel is in TILT, in which it starts no failover. It ends by itself after 30 s; if it \
         comes back, look for a clock that jumps, a host that stops, or a slow resolver (resolve-hostnames).",
    SENTINELS_INCOMPLETE "sentinels-incomplete" "wait"
        "Master and replicas work; a Sentinel is missing, or does not watch the group or know the others yet: start it, or \
         correct its credentials.",
}
