//! A promotion that replication's rules decided on: by whose hand it is made, and when.
//!
//! ```text
//! the Sentinels made a member master that lacks the data         it is made, with votes
//! the master is silent, and the Sentinels still hear it          not yet
//! a first master                                                 it is made, with the votes there are
//! mode assisted, and a majority can be asked                     it is made, with votes
//! the Sentinels cannot, or did not                               it is made, with the votes there are
//! else                                                           it is left to the Sentinels, until they had
//!                                                                their time
//! ```
//!
//! Votes of a majority in one epoch make this host the leader of that epoch, and no Sentinel another one: so
//! no two promote. A Sentinel that was elected before goes on, whatever is voted: its reply shows that, and a
//! reply that is too old to show it is waited for.

use crate::contract::{Action, Evidence, Promotion, SentinelMode};
use crate::health::duration;
use crate::rules::{CHANGING_LOOK_US, Ruling};
use crate::topology::replication::role::Proof;
use crate::topology::sentinel::decided::named_by_majority;
use crate::topology::sentinel::powerless::{bound_us, lost_us, powerless};
use crate::topology::sentinel::reasons::*;
use crate::topology::sentinel::scene::Scene;
use crate::topology::sentinel::sentinels::{Names, Sentinels};

/// The ruling as the Sentinels allow it. One without a promotion stands.
pub fn elected(scene: &Scene, ruling: Ruling) -> Ruling {
    let (Some(sentinels), Some((winner, evidence))) = (&scene.sentinels, promoted(&ruling)) else {
        return ruling;
    };
    let winner_index = scene.view().find(&winner);
    let any = if sentinels.can_elect() { Promotion::Votes } else { Promotion::AvailableVotes };
    if let Some(erred) = erred(scene, sentinels).filter(|erred| Some(*erred) != winner_index) {
        let text = format!(
            "the Sentinels made {} master, which lacks the data of the group; {}",
            scene.view().id(erred),
            ruling.explanation
        );
        return by(any, Ruling { reason: SENTINELS_ERRED, explanation: text, ..ruling });
    }
    if evidence == Evidence::Silent
        && let Some(wait) = still_heard(scene, sentinels)
    {
        return wait;
    }
    if evidence == Evidence::Bootstrap {
        return by(Promotion::AvailableVotes, ruling);
    }
    // What one that was elected before will do, its last words do not tell.
    let may_go_on = sentinels
        .all
        .iter()
        .find(|sentinel| sentinel.shows_failover() && sentinel.silent_us().is_some())
        .filter(|_| lost_us(scene) < bound_us(sentinels.settings));
    let is_assisted = sentinels.settings.mode == SentinelMode::Assisted;
    let asks = is_assisted && sentinels.can_elect() && votes_refused_us(scene).is_none();
    match (may_go_on, powerless(scene, sentinels)) {
        (None, _) if asks => by(Promotion::Votes, ruling),
        (None, Some(why)) => {
            let text = format!("{}; {why}", ruling.explanation);
            by(Promotion::AvailableVotes, Ruling { reason: SENTINELS_POWERLESS, explanation: text, ..ruling })
        }
        (Some(_), _) | (None, None) => left(scene, sentinels),
    }
}

fn left(scene: &Scene, sentinels: &Sentinels) -> Ruling {
    let why = match &scene.group.proof {
        Some(Proof::Proven { text, .. }) => text.as_str(),
        Some(Proof::Pending { .. } | Proof::Blocked { .. } | Proof::Unsure { .. }) | None => {
            "there is no master"
        }
    };
    let left_us = bound_us(sentinels.settings).saturating_sub(lost_us(scene));
    let text = format!("{why}; the Sentinels have {} more to fail over themselves", duration(left_us));
    let next_look_us = votes_refused_us(scene).unwrap_or(left_us).clamp(LOOK_MIN_US, CHANGING_LOOK_US);
    Ruling::wait(LEFT_TO_SENTINELS, text, next_look_us)
}

/// The member that is promoted, and why.
fn promoted(ruling: &Ruling) -> Option<(String, Evidence)> {
    ruling.stages.first()?.actions.iter().find_map(|action| match action {
        Action::Promote(promote) => Some((promote.id.clone(), promote.evidence)),
        Action::Follow(_)
        | Action::Demote(_)
        | Action::Handover(_)
        | Action::Fence(_)
        | Action::Unfence(_)
        | Action::KickClients(_)
        | Action::Configure(_)
        | Action::Restart(_)
        | Action::Sentinel(_)
        | Action::Cluster(_) => None,
    })
}

/// The same promotion, carried out that way.
fn by(how: Promotion, mut ruling: Ruling) -> Ruling {
    for action in ruling.stages.iter_mut().flat_map(|stage| &mut stage.actions) {
        if let Action::Promote(promote) = action {
            promote.how = how;
        }
    }
    ruling
}

/// The member that the Sentinels take for the master and that answers as one: it is none, or nothing would be
/// lost.
fn erred(scene: &Scene, sentinels: &Sentinels) -> Option<usize> {
    let on_record = scene.view().published().map(|published| published.master.as_str());
    let is_new = |index: &usize| Some(scene.view().id(*index)) != on_record;
    named_by_majority(sentinels).filter(|&index| scene.view().members[index].is_master()).filter(is_new)
}

/// Most of the Sentinels that could fail over do not call the silent master down. They are witnesses of their
/// own; where they are too few, the replicas' word must do, as without Sentinels.
fn still_heard(scene: &Scene, sentinels: &Sentinels) -> Option<Ruling> {
    let lost = scene.group.lost()?.index?;
    let capable = sentinels.capable().count();
    let calls_it_down = sentinels.capable().filter(|sentinel| {
        let row = sentinel.master.as_ref().filter(|_| sentinel.names == Names::Member(lost));
        row.is_some_and(|row| row.has_flag("s_down"))
    });
    let down = calls_it_down.count();
    (capable >= sentinels.majority() && down * 2 <= capable).then(|| {
        let text = format!(
            "{} is silent, and {down} of {capable} Sentinels call it down so far; they do after {} without a \
             reply",
            scene.view().id(lost),
            duration(u64::from(sentinels.settings.down_after_ms) * 1_000)
        );
        Ruling::wait(HEARD_BY_SENTINELS, text, CHANGING_LOOK_US / 4)
    })
}

/// How long a promotion must still wait because its votes were refused a moment ago. None: it need not.
fn votes_refused_us(scene: &Scene) -> Option<u64> {
    let refused = scene.view().observation.refused.iter();
    let by_votes = refused.filter(
        |refused| matches!(&refused.action, Action::Promote(promote) if promote.how == Promotion::Votes),
    );
    let newest_us = by_votes.map(|refused| refused.age_us).min()?;
    VOTES_AGAIN_US.checked_sub(newest_us).filter(|left_us| *left_us > 0)
}

/// Each attempt takes a vote of each Sentinel for that epoch.
const VOTES_AGAIN_US: u64 = 1_000_000;
const LOOK_MIN_US: u64 = 10_000;
