//! What a silent-only failover must rest on. Silence proves nothing by itself: the argument stands above
//! [`missing`], and each of its conditions is a function.

use super::fence;
use super::heard::{
    LOOK_MIN_US, SUSPECT_LOOK_MAX_US, hears_by_another_name, replicas_of, still_heard, unacknowledged_us,
    unheard_us,
};
use super::reasons;
use super::role::Proof;
use super::view::View;
use crate::contract::Preference;
use crate::health::duration;
use crate::reason::Reason;

/// What is missing before a silent master may be replaced. None: nothing.
///
/// Symbols:
///
/// ```text
/// M      the master that gave this observer no reply for `t`
/// H      the hang limit (`hang_limit_ms`); t >= H, or M would be suspect only
/// N      the desired members, less those whose address belongs to another server
/// A      those of them that answer this observer
/// W      the replicas in A that follow M
/// u(w)   for how long w surely heard nothing from M, by its own clock
/// B      the heartbeat of M to its replicas (`repl-ping-replica-period`), 10 s where it is not known; 0 if M
///        took writes up to its last reply
/// a(w)   how long ago w surely acknowledged to M for the last time
/// F      the time since the last failover;  D: the share of all groups that fell silent together
/// L      the lag of the self-fence: M refuses writes unless k replicas acknowledged within L, the larger one
///        of the group's and of what M last showed
/// k      `min-replicas-to-write`, as M last showed it
/// x      replicas that do not answer this observer and may follow M: members that are not proven dead, and
///        those in M's last list that are no members
/// ```
///
/// Claim. If (1) to (6) hold, M is unreachable for a majority and not only for this observer; and if
/// consistency is preferred, M acknowledges no write any more.
///
/// ```text
/// (1)  2 |A| > N, or N = 2 and |A| = 1
/// (2)  availability is preferred, or M showed a fence, and x < k
/// (3)  u(w) >= max(H, B) for every w in W whose link is up; and if W is empty, no replica outside of W
///      streams M's history
/// (4)  F >= 3 H
/// (5)  D <= 1/4, or t >= 10 H
/// (6)  availability is preferred, or min(t, a(w) for w in W) >= L + 3 s
/// ```
///
/// Why each is needed:
///
/// - Without (1) an observer that is cut off with one replica promotes it, while M serves the clients on the
///   other side. Of two members, the one that is left is no majority and yet all that there is.
/// - Without (2) there is no moment at which M surely refuses writes, so (6) could never hold: a setting of
///   the group is no fence of M where CONFIG was denied, or where this observer never spoke with M; and
///   a replica on M's side of a cut keeps it open.
/// - Without (3) it may be only this observer's way to M that broke: M is at work, and its replicas show it.
///   An idle M sends nothing but its heartbeat: nothing heard for less than B is what an idle night looks
///   like.
/// - Without (4) a network that flaps moves the master at each flap: the new master and its replicas need
///   that time to be seen at all.
/// - Without (5) an operator that lost its network fails over every group that it watches. The bound of 10 H
///   keeps a true outage of many from lasting for ever.
/// - Without (6) M still accepts a write after the promotion, and it is lost. This is the price of
///   availability. The clocks of W count, because their acknowledgements are what keeps the fence open.
pub fn missing(view: &View, index: usize, for_us: u64) -> Option<Proof> {
    let silence = Silence { view, index, for_us };
    silence
        .majority()
        .or_else(|| silence.fence_is_set())
        .or_else(|| silence.replicas_hear_nothing())
        .or_else(|| silence.last_failover_is_over())
        .or_else(|| silence.not_all_groups())
        .or_else(|| silence.fence_has_bitten())
}

/// Member `index`, which gave no reply for `for_us`. Each function says what is missing for its condition.
struct Silence<'v, 'a> {
    view: &'v View<'a>,
    index: usize,
    for_us: u64,
}

impl Silence<'_, '_> {
    /// (1)
    fn majority(&self) -> Option<Proof> {
        let desired = self.view.members_desired();
        let answering = self.view.answering_count();
        let is_majority = answering * 2 > desired || desired == 2 && answering == 1;
        (!is_majority).then(|| {
            let text = format!("{}, and only {answering} of {desired} members answer", self.sentence());
            pending(reasons::TOO_FEW_WITNESSES, text, SUSPECT_LOOK_MAX_US)
        })
    }

    /// (2)
    fn fence_is_set(&self) -> Option<Proof> {
        let group = self.view.group();
        let why = match (group.prefer, group.self_fence_lag_s) {
            (Preference::Availability, _) => return None,
            (Preference::Consistency, None) => "the group has no self-fence".to_owned(),
            (Preference::Consistency, Some(_)) => fence::open(self.view, self.index)?,
        };
        Some(Proof::Blocked {
            reason: reasons::SILENT_UNFENCED,
            text: format!(
                "{} and may still accept writes: {why}; stop its process, restore the network, or prefer \
                 availability",
                self.sentence()
            ),
        })
    }

    /// (3)
    fn replicas_hear_nothing(&self) -> Option<Proof> {
        let hang_limit_us = self.view.hang_limit_us();
        let quiet_limit_us = self.view.quiet_limit_us(self.index);
        let last = replicas_of(self.view, self.index)
            .map(|(witness, replica)| (witness, unheard_us(replica)))
            .filter(|(_, unheard_us)| *unheard_us < quiet_limit_us)
            .min_by_key(|(_, unheard_us)| *unheard_us);
        if let Some((witness, _)) = last.filter(|(_, unheard_us)| *unheard_us < hang_limit_us) {
            let text = format!(
                "{}, but {} received from it within the hang limit of {}",
                self.sentence(),
                self.view.id(witness),
                duration(hang_limit_us)
            );
            return Some(pending(reasons::MASTER_STILL_HEARD, text, SILENT_LOOK_US));
        }
        if let Some((witness, unheard_us)) = last {
            // A second is the shortest period that Redis has.
            let (unknown, way_out) = match self.view.heartbeat_us(self.index) {
                None => (" unless set otherwise", LONG_HEARTBEAT),
                Some(us) if us > HEARTBEAT_MIN_US => ("", LONG_HEARTBEAT),
                Some(_) => ("", ""),
            };
            let text = format!(
                "{}, and {} received nothing for {}; the link is up, and an idle master sends a heartbeat \
                 only every {}{unknown}{way_out}",
                self.sentence(),
                self.view.id(witness),
                duration(unheard_us),
                duration(quiet_limit_us)
            );
            let left_us = (quiet_limit_us - unheard_us).max(SILENT_LOOK_US);
            return Some(pending(reasons::HEARTBEAT_WAITING, text, left_us));
        }
        hears_by_another_name(self.view, self.index)
            .map(|witness| still_heard(self.view, witness, self.view.id(self.index)))
    }

    /// (4)
    fn last_failover_is_over(&self) -> Option<Proof> {
        let cool_down_us = COOL_DOWN_HANG_LIMITS * self.view.hang_limit_us();
        let age_us = self.view.last_failover()?.age_us;
        let left_us = cool_down_us.checked_sub(age_us).filter(|left_us| *left_us > 0)?;
        let text = format!(
            "{} is silent, but the last failover was {} ago: waiting for {} more",
            self.view.id(self.index),
            duration(age_us),
            duration(left_us)
        );
        Some(pending(reasons::COOLING_DOWN, text, left_us))
    }

    /// (5)
    fn not_all_groups(&self) -> Option<Proof> {
        let permille = self.view.observation.silent_groups_permille;
        let left_us = (DOUBT_HANG_LIMITS * self.view.hang_limit_us()).saturating_sub(self.for_us);
        (permille > DOUBT_PERMILLE && left_us > 0).then(|| {
            let text = format!(
                "{} is silent, and so are {permille} per mille of all groups, so the operator may be cut \
                 off: waiting for {} more",
                self.view.id(self.index),
                duration(left_us)
            );
            pending(reasons::FLEET_DOUBT, text, left_us)
        })
    }

    /// (6)
    fn fence_has_bitten(&self) -> Option<Proof> {
        let group = self.view.group();
        let fence_us = match group.prefer {
            Preference::Availability => return None,
            Preference::Consistency => {
                let seen_s = fence::seen(&self.view.members[self.index]).map_or(0, |fence| fence.lag_s);
                let lag_s = u64::from(group.self_fence_lag_s?).max(seen_s);
                lag_s.saturating_add(FENCE_MARGIN_S).saturating_mul(1_000_000)
            }
        };
        let shortest_us = replicas_of(self.view, self.index)
            .map(|(_, replica)| unacknowledged_us(replica))
            .fold(self.for_us, u64::min);
        (shortest_us < fence_us).then(|| {
            let text = format!(
                "{} has been silent for {}; it surely refuses writes after {}",
                self.view.id(self.index),
                duration(shortest_us),
                duration(fence_us)
            );
            pending(reasons::FENCE_WAITING, text, fence_us - shortest_us)
        })
    }

    fn sentence(&self) -> String {
        format!("{} has been silent for {}", self.view.id(self.index), duration(self.for_us))
    }
}

fn pending(reason: Reason, text: String, next_look_us: u64) -> Proof {
    Proof::Pending { reason, text, next_look_us: next_look_us.clamp(LOOK_MIN_US, SUSPECT_LOOK_MAX_US) }
}

/// A silent-only failover waits this long after the last one: the new master and its replicas need that to be
/// seen at all.
const COOL_DOWN_HANG_LIMITS: u64 = 3;
/// Fleet doubt holds silent-only failovers, and not for ever.
const DOUBT_HANG_LIMITS: u64 = 10;
/// More than a quarter of all groups at once.
const DOUBT_PERMILLE: u16 = 250;
/// `min-replicas-max-lag` counts whole seconds, from an acknowledgement that is sent once a second, in a
/// check that runs once a second (`replication.c`, `refreshGoodSlavesCount`): three more than the lag are
/// sure.
const FENCE_MARGIN_S: u64 = 3;
/// The hang limit is over and a replica's last sound is younger: look often, each look is a witness.
const SILENT_LOOK_US: u64 = 10_000;
const LONG_HEARTBEAT: &str = ": set repl-ping-replica-period below the hang limit";
/// A second, which is the shortest that Redis can do, and a period of its `serverCron`.
pub const HEARTBEAT_MIN_US: u64 = 1_100_000;
