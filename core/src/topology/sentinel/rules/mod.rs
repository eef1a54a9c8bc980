//! The rules of topology `sentinel`: those of replication, with what the Sentinels know and do put in its
//! places. Read from top to bottom: the first that applies decides.

mod changes;
mod lost;
mod upkeep;

use super::Sentinel;
use super::powerless::{attempt_max_us, lost_us};
use super::reasons::*;
use super::scene::Scene;
use super::sentinels::{self, Names, SETTLED_MS, Sentinels};
use crate::health::duration;
use crate::rules::{CHANGING_LOOK_US, Rule, Ruling, Table, first};
use crate::topology::replication::rules::{self as replication, LOST, PATIENCE, PLANNED, SHAPE};

/// A row without a name of its own is a section of replication's table.
pub const RULES: Table<Sentinel> = Table {
    sections: &[&[
        Rule { gives: &[SENTINEL_FAILOVER], when: sentinel_failover },
        Rule {
            gives: &[
                ASKING_SENTINELS,
                HEARD_BY_SENTINELS,
                LEFT_TO_SENTINELS,
                SENTINELS_ERRED,
                SENTINELS_POWERLESS,
            ],
            when: |scene| Some(changes::allowed(scene, lost::elected(scene, first(LOST, &scene.group)?))),
        },
        Rule { gives: &[UNFIT_FOR_SENTINELS], when: upkeep::unfit_for_sentinels },
        Rule {
            gives: &[SENTINELS_DECIDED],
            when: |scene| Some(changes::allowed(scene, changes::told(scene, first(SHAPE, &scene.group)?))),
        },
        Rule { gives: &[SENTINEL_ELSEWHERE], when: upkeep::sentinel_elsewhere },
        Rule { gives: &[SENTINEL_GHOSTS], when: upkeep::sentinel_ghosts },
        Rule { gives: &[SENTINEL_SETTINGS], when: upkeep::sentinel_settings },
        Rule { gives: &[SENTINEL_STUCK], when: upkeep::sentinel_stuck },
        Rule {
            gives: &[VOTES_MISSING],
            when: |scene| Some(changes::allowed(scene, changes::voted(scene, first(PLANNED, &scene.group)?))),
        },
        Rule { gives: &[], when: |scene| first(PATIENCE, &scene.group) },
        Rule { gives: &[SENTINELS_IN_TILT, SENTINELS_INCOMPLETE], when: upkeep::sentinels_not_ready },
    ]],
    otherwise: |scene| (replication::RULES.otherwise)(&scene.group),
    otherwise_gives: &[],
};

/// One of the Sentinels is at work, by its word of this moment. Its own timeouts end that; where they do not,
/// the group is not left without a master for ever. One that is stuck in TILT does not go on.
fn sentinel_failover(scene: &Scene) -> Option<Ruling> {
    let sentinels = scene.sentinels.as_ref()?;
    let is_over = lost_us(scene) >= attempt_max_us(sentinels.settings);
    let is_busy = |sentinel: &&sentinels::Sentinel| {
        sentinel.is_failing_over() && !sentinel.is_stuck_in_tilt() && !is_over
    };
    let name = &sentinels.settings.master_name;
    let text = match sentinels.all.iter().find(is_busy) {
        Some(busy) => format!(
            "{} fails over {name}; its own timeouts end that within {}",
            busy.id(),
            duration(attempt_max_us(sentinels.settings))
        ),
        None => {
            let (first, member) = first_to_say(scene, sentinels)?;
            format!(
                "{} made {} master, and the other Sentinels hear of it now",
                first,
                scene.view().id(member)
            )
        }
    };
    Some(Ruling::wait(SENTINEL_FAILOVER, text, CHANGING_LOOK_US / 4))
}

/// A Sentinel has just made another member master, in an epoch that others have not heard of: they will
/// within [`SETTLED_MS`]. Before that the former master and the new one look like two masters:
///
/// 1. A person forces a failover: SENTINEL FAILOVER. Redis-1 is master on record, and lives.
/// 2. One Sentinel promotes redis-2 and says so in epoch 7; the others hear of it within two seconds.
/// 3. Without this, redis-2 is made to follow redis-1 again, while all Sentinels turn to redis-2.
fn first_to_say<'a>(scene: &Scene<'a>, sentinels: &Sentinels<'a>) -> Option<(&'a str, usize)> {
    let row = |sentinel: &sentinels::Sentinel<'a>| {
        let row = sentinel.master.as_ref()?;
        Some((row.config_epoch?, row.role_ms?))
    };
    let newest = sentinels.voters().filter_map(|sentinel| Some(row(sentinel)?.0)).max()?;
    let is_behind =
        |sentinel: &sentinels::Sentinel<'a>| row(sentinel).is_some_and(|(epoch, _)| epoch < newest);
    sentinels.voters().find_map(|sentinel| {
        let Names::Member(member) = sentinel.names else { return None };
        let is_new = scene.group.master() != Some(member) && scene.view().members[member].is_master();
        let is_first = row(sentinel).is_some_and(|(epoch, ms)| epoch == newest && ms < SETTLED_MS);
        (is_new && is_first && sentinels.voters().any(is_behind)).then_some((sentinel.id(), member))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_list_has_the_order_of_the_rules() {
        let rules = RULES.sections.iter().copied().flatten();
        let given: Vec<_> = rules.flat_map(|rule| rule.gives).map(|reason| reason.name).collect();
        let documented: Vec<_> = ALL.iter().map(|reason| reason.name).collect();
        assert_eq!(given, documented);
    }
}
