//! One promoter at a time: the Sentinels of a group and its host must never change the master side by side.
//!
//! Why votes. Sentinels and host see a death at the same time, and each chooses by itself:
//! 1. Redis-1 ends. A Sentinel is elected in epoch 7 and chooses redis-2.
//! 2. The host promotes redis-3.
//! 3. Both answer as masters, and each has clients.
//!
//! A majority that voted for the host in an epoch elects no Sentinel in it, nor for twice failover-timeout.
//! One that was elected before goes on; its reply shows that.

use super::power::{are_powerless, attempt_us, lost_us};
use super::reading::{FRESH_US, watched_by};
use crate::contract::{Action, Evidence, Promote, Promotion, SentinelChange, SentinelMode};
use crate::guard::scene::Scene;
use crate::guard::{Case, ensure};

/// A TILT that lasts longer does not pass by itself.
const TILT_MAX_S: u64 = 35;

pub(in crate::guard) fn no_failover_of_theirs(case: &Case<'_>) -> Result<(), String> {
    let (scene, Some(settings)) = (case.scene, watched_by(case.scene)) else { return Ok(()) };
    let changes = |action: &Action| match action {
        Action::Promote(_) | Action::Handover(_) | Action::Follow(_) => true,
        Action::Sentinel(action) => match action.change {
            SentinelChange::Rewrite(_) => true,
            SentinelChange::Announce(_) | SentinelChange::SetOption(_) => false,
        },
        Action::Demote(_)
        | Action::Fence(_)
        | Action::Unfence(_)
        | Action::KickClients(_)
        | Action::Configure(_)
        | Action::Restart(_)
        | Action::Cluster(_) => false,
    };
    if !case.first().any(changes) {
        return Ok(());
    }
    let is_over = lost_us(scene, case.promotes().next()) >= attempt_us(settings);
    for sentinel in &scene.sentinels {
        let is_busy = sentinel.is_fresh && sentinel.row.as_ref().is_some_and(|row| row.is_in_failover);
        let is_stuck =
            sentinel.own.is_in_tilt == Some(true) && sentinel.own.tilt_s.is_some_and(|s| s >= TILT_MAX_S);
        ensure(!is_busy || is_stuck || is_over, || format!("{} fails the group over", sentinel.id))?;
        ensure(!sentinel.is_late, || {
            format!("the newest word of {} on its failovers is older than {FRESH_US} us", sentinel.id)
        })?;
    }
    Ok(())
}

pub(in crate::guard) fn votes(case: &Case<'_>) -> Result<(), String> {
    let (scene, Some(settings)) = (case.scene, watched_by(case.scene)) else { return Ok(()) };
    let can_elect = scene.voters().count() as u64 >= scene.majority();
    for promote in case.promotes() {
        let is_allowed = match promote.how {
            Promotion::Votes => {
                let is_ours = match settings.mode {
                    SentinelMode::Assisted => true,
                    SentinelMode::Deferred | SentinelMode::Served => false,
                };
                is_ours || erred(scene, promote)
            }
            Promotion::AvailableVotes => {
                promote.evidence == Evidence::Bootstrap
                    || are_powerless(scene, promote)
                    || erred(scene, promote) && !can_elect
            }
            Promotion::ReplicaofNoOne | Promotion::Takeover | Promotion::Force => false,
        };
        ensure(is_allowed, || {
            format!(
                "{} is to be promoted {:?} in mode {:?}, and the Sentinels are neither proven unable to do it \
                 nor out of time",
                promote.id, promote.how, settings.mode
            )
        })?;
    }
    let needs = case.handovers().next();
    ensure(needs.is_none() || can_elect, || {
        format!(
            "a handover takes the votes of {} Sentinels, and {} answer",
            scene.majority(),
            scene.voters().count()
        )
    })
}

/// True if a majority of the Sentinels made another member master, which answers as one, and whose claim is
/// none: every check of replication says the same of it, or it would be a master that stays.
fn erred(scene: &Scene<'_>, promote: &Promote) -> bool {
    let newest = scene.voters().map(|sentinel| sentinel.epoch()).max();
    let mut named = scene.voters().filter(|sentinel| Some(sentinel.epoch()) == newest);
    let Some(index) = named.next().and_then(|sentinel| sentinel.names) else { return false };
    let agree = 1 + named.filter(|sentinel| sentinel.names == Some(index)).count() as u64;
    let member = &scene.instances[index];
    let is_on_record = scene.observation.published().is_some_and(|record| record.master == member.id);
    agree >= scene.majority() && member.id != promote.id && member.answers_as_master() && !is_on_record
}

pub(in crate::guard) fn witnesses(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    for promote in case.promotes().filter(|promote| promote.evidence == Evidence::Silent) {
        let capable = scene.capable().count() as u64;
        if capable < scene.majority() || erred(scene, promote) {
            continue;
        }
        let Some(lost) = promote.source.as_deref() else { continue };
        let calls_it_down = scene.capable().filter(|sentinel| {
            let names_it = sentinel.names.is_some_and(|index| scene.instances[index].id == lost);
            names_it && sentinel.row.as_ref().is_some_and(|row| row.has_flag("s_down"))
        });
        let down = calls_it_down.count() as u64;
        ensure(down * 2 > capable, || {
            format!("{lost} is called silent, and {down} of {capable} Sentinels call it down")
        })?;
    }
    Ok(())
}
