//! Whether the old master may be replaced: everybody who may still be one is accounted for, and the stated
//! reason is true.
//!
//! The *claimants* to the role are those at the ends of the replicas' chains, and the one on record. Each
//! must be excused; losing sight of one is no excuse. Must not judge the candidate.

use super::scene::{Instance, Named, Scene};
use super::{Case, ensure};
use crate::contract::{Evidence, LinkState, Preference, Promote};
use failover_core::facts::Relation;

/// Two refusals closer together than this are one accident: a listen backlog that overflowed.
const REFUSALS_APART_US: u64 = 5_000;
/// In hang limits: between a failover and the next one on silence alone.
const COOL_DOWN: u64 = 3;
/// In hang limits: longer than this, fleet doubt excuses no waiting.
const DOUBT: u64 = 10;
/// More groups than this, silent together, say more about the host.
const SILENT_GROUPS_MAX_PERMILLE: u16 = 250;
/// Some thirty times what the demotion and the promotion of a handover take on a loopback.
const ABDICATION_US: u64 = 100_000;
/// Beyond the lag itself: Redis counts whole seconds on both sides and looks once a second
/// (`replicationCron`).
const FENCE_MARGIN_S: u64 = 3;

/// What speaks for it that a process is gone.
#[derive(Clone, Copy)]
pub(super) enum Proof {
    /// The orchestrator says that it does not run.
    Stated,
    /// Nobody listens where it was, for this long.
    RefusedSince(u64),
}

pub(super) fn evidence(case: &Case<'_>) -> Result<(), String> {
    for promote in case.promotes() {
        match promote.evidence {
            Evidence::Requested => {
                return Err(format!("{} is promoted on request, which is done by handover", promote.id));
            }
            Evidence::Replaced | Evidence::Elected => {
                return Err(format!("{} is promoted for a reason of another topology", promote.id));
            }
            // Who stands in the way of a first master is the matter of a rule of its own.
            Evidence::Bootstrap => continue,
            Evidence::Dead | Evidence::Abdicated | Evidence::Amnesic | Evidence::Silent => {}
        }
        let scene = &case.scene;
        let claimants = claimants(scene, promote);
        for claimant in &claimants {
            excused(scene, promote, claimant)?;
        }
        // A chain may break in its middle, and what is said is said of that one.
        let is_broken = |how: &dyn Fn(&Instance<'_>) -> bool| {
            let mut named = scene
                .answering()
                .filter(|instance| instance.is_replica())
                .flat_map(|replica| scene.named_by(replica));
            claimants.iter().any(|claimant| how(claimant.instance))
                || named.any(|instance| !instance.answers && how(instance))
        };
        let is_true = match promote.evidence {
            Evidence::Dead => is_master_gone(scene) || is_broken(&|instance| process_end(instance).is_some()),
            Evidence::Silent => is_broken(&|instance| is_silent(scene, instance)),
            Evidence::Abdicated => claimants
                .iter()
                .any(|claimant| claimant.instance.answers_as_replica() || is_reloading(claimant.instance)),
            Evidence::Amnesic => claimants.iter().any(|claimant| scene.is_amnesic(claimant.instance)),
            Evidence::Requested | Evidence::Replaced | Evidence::Elected | Evidence::Bootstrap => false,
        };
        let names = || claimants.iter().map(|claimant| claimant.instance.id).collect::<Vec<_>>().join(", ");
        ensure(is_true, || {
            format!(
                "the reason {:?} holds for none of those who may be master: [{}]",
                promote.evidence,
                names()
            )
        })?;
    }
    Ok(())
}

/// In a handover of another operator's nobody is master for a round trip or two: an abdication counts once the
/// group has had no master for a while.
pub(super) fn abdication(case: &Case<'_>) -> Result<(), String> {
    let age_us = case.scene.observation.shard().map_or(0, |shard| shard.no_master_age_us);
    let is_early = |promote: &&Promote| promote.evidence == Evidence::Abdicated && age_us < ABDICATION_US;
    match case.promotes().find(is_early) {
        Some(promote) => Err(format!(
            "{} is to be promoted because the master abdicated, and the group has had no master for {age_us} us",
            promote.id
        )),
        None => Ok(()),
    }
}

pub(super) fn final_offsets(case: &Case<'_>) -> Result<(), String> {
    let scene = &case.scene;
    for promote in case.promotes() {
        for lost in claimants(scene, promote)
            .iter()
            .map(|claimant| claimant.instance)
            .filter(|instance| !instance.answers)
        {
            let on_silence = promote.evidence == Evidence::Silent && is_silent(scene, lost);
            let since_us = match process_end(lost) {
                Some(Proof::RefusedSince(since_us)) if !on_silence => since_us,
                Some(Proof::RefusedSince(_) | Proof::Stated) => u64::MAX,
                None if on_silence => u64::MAX,
                // Not excused at all, which the rule above says.
                None => continue,
            };
            for witness in scene.followers(lost.id) {
                let is_after = witness.age_us.is_some_and(|age_us| age_us <= since_us);
                ensure(is_after, || format!("{} was asked before {} refused", witness.id, lost.id))?;
                let is_apart =
                    witness.facts.link_up == Some(false) || on_silence && hears_nothing(scene, witness);
                ensure(is_apart, || format!("{} may still hear {}", witness.id, lost.id))?;
            }
            // Where nobody names it, it may be known by a name that this host does not know: to who streams
            // its history.
            if scene.followers(lost.id).next().is_none() && promote.evidence != Evidence::Abdicated {
                let is_its_own = |witness: &Instance<'_>| {
                    witness.facts.history.is_none()
                        || scene.knows_record(witness)
                        || witness.relation(lost).is_some_and(|relation| relation != Relation::Unrelated)
                };
                no_stranger_is_heard(scene, is_its_own)?;
            }
        }
        let has_ended =
            claimants(scene, promote).iter().any(|claimant| process_end(claimant.instance).is_some());
        if is_master_gone(scene) && promote.evidence == Evidence::Dead && !has_ended {
            no_stranger_is_heard(scene, |_| true)?;
        }
    }
    Ok(())
}

/// No such replica copies from a place where no member is dialled.
fn no_stranger_is_heard(scene: &Scene<'_>, which: impl Fn(&Instance<'_>) -> bool) -> Result<(), String> {
    let hears_one = |instance: &&Instance<'_>| {
        instance.is_replica()
            && instance.names == Named::Stranger
            && which(instance)
            && !hears_nothing(scene, instance)
    };
    match scene.answering().find(hears_one) {
        Some(witness) => Err(format!("{} may still hear a master that is no member", witness.id)),
        None => Ok(()),
    }
}

pub(super) fn self_fence(case: &Case<'_>) -> Result<(), String> {
    let scene = &case.scene;
    for promote in case.promotes().filter(|promote| promote.evidence == Evidence::Silent) {
        let group = &scene.observation.group;
        match group.prefer {
            Preference::Availability => continue,
            Preference::Consistency => {}
        }
        let Some(lag_s) = group.self_fence_lag_s else {
            return Err("consistency is preferred, and no member fences itself".into());
        };
        let bound_s = u64::from(lag_s) + FENCE_MARGIN_S;
        for lost in claimants(scene, promote)
            .iter()
            .map(|claimant| claimant.instance)
            .filter(|instance| is_silent(scene, instance))
        {
            ensure(lost.silence_us() >= bound_s * 1_000_000, || {
                format!(
                    "{} is silent for {} us, and fences itself after {bound_s} s",
                    lost.id,
                    lost.silence_us()
                )
            })?;
            for witness in scene.followers(lost.id) {
                // A link that was never up acknowledges nothing: it keeps no fence open.
                let never_up = witness.facts.link_up == Some(false) && witness.facts.link_down_s.is_none();
                let apart_s = witness.facts.link_down_s.or(witness.facts.last_io_s).unwrap_or(0);
                let is_apart =
                    never_up || apart_s >= bound_s || witness.standstill_us() >= bound_s * 1_000_000;
                ensure(is_apart, || {
                    format!(
                        "{} may have kept the fence of {} open less than {bound_s} s ago",
                        witness.id, lost.id
                    )
                })?;
            }
        }
    }
    Ok(())
}

pub(super) fn cool_down(case: &Case<'_>) -> Result<(), String> {
    let Some(last) = case.scene.observation.last_failover() else { return Ok(()) };
    let bound_us = COOL_DOWN * case.scene.hang_limit_us();
    let is_silent = case.promotes().any(|promote| promote.evidence == Evidence::Silent);
    ensure(!is_silent || last.age_us >= bound_us, || {
        format!("the last failover was {} us ago, and silence waits {bound_us}", last.age_us)
    })
}

pub(super) fn self_doubt(case: &Case<'_>) -> Result<(), String> {
    let scene = &case.scene;
    let permille = scene.observation.silent_groups_permille;
    for promote in case
        .promotes()
        .filter(|promote| promote.evidence == Evidence::Silent && permille > SILENT_GROUPS_MAX_PERMILLE)
    {
        let bound_us = DOUBT * scene.hang_limit_us();
        let long_gone = claimants(scene, promote)
            .iter()
            .filter(|lost| is_silent(scene, lost.instance))
            .all(|lost| lost.instance.silence_us() > bound_us);
        ensure(long_gone, || {
            format!("{permille} of 1000 groups fell silent together, and this one not for {bound_us} us")
        })?;
    }
    Ok(())
}

/// Who may be the master, the promoted one aside.
pub(super) struct Claimant<'s, 'a> {
    pub instance: &'s Instance<'a>,
    /// Known only from a record, while replicas name another: the record may be older than the world.
    pub is_hearsay: bool,
}

pub(super) fn claimants<'s, 'a>(scene: &'s Scene<'a>, promote: &Promote) -> Vec<Claimant<'s, 'a>> {
    let mut claimants: Vec<Claimant<'s, 'a>> = Vec::new();
    for end in scene
        .answering()
        .filter(|instance| instance.is_replica())
        .filter_map(|replica| scene.chain_end(replica))
    {
        if !claimants.iter().any(|claimant| claimant.instance.id == end.id) {
            claimants.push(Claimant { instance: end, is_hearsay: false });
        }
    }
    let on_record = scene.observation.published().and_then(|record| scene.instance(&record.master));
    if let Some(instance) =
        on_record.filter(|instance| !claimants.iter().any(|claimant| claimant.instance.id == instance.id))
    {
        let is_hearsay = claimants.iter().any(|claimant| !claimant.instance.answers_as_replica());
        claimants.push(Claimant { instance, is_hearsay });
    }
    // A chain that ends at the promoted replica itself names nobody else; one that ends at a master is for
    // another rule.
    claimants.retain(|claimant| claimant.instance.id != promote.id || claimant.instance.answers_as_replica());
    claimants
}

/// Why this one is no master any more; the error says what is missing.
fn excused(scene: &Scene<'_>, promote: &Promote, claimant: &Claimant<'_, '_>) -> Result<(), String> {
    let instance = claimant.instance;
    let may_be = |what: &str| Err(format!("{} may be the master: {what}", instance.id));
    if was_replaced(scene, instance)
        || instance.answers_as_replica()
        || is_reloading(instance)
        || process_end(instance).is_some()
    {
        return Ok(());
    }
    if instance.answers {
        let is_stray =
            scene.instance(&promote.id).is_some_and(|candidate| scene.is_stray(instance, candidate));
        return if is_stray || scene.is_amnesic(instance) { Ok(()) } else { may_be("it answers") };
    }
    if !is_silent(scene, instance) {
        return may_be("it is out of sight, neither proven dead nor silent for the hang limit");
    }
    // Whose last words are a replica's is master by hearsay, too.
    if promote.evidence == Evidence::Silent
        || claimant.is_hearsay
        || instance.is_replica() && !is_on_record(scene, instance)
    {
        Ok(())
    } else {
        may_be("it is silent, and that is not the stated reason")
    }
}

fn is_on_record(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    scene.observation.published().is_some_and(|record| record.master == instance.id)
}

/// It lost its role in the last failover, and the record has moved on.
fn was_replaced(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    let last = scene.observation.last_failover();
    let is_published = scene.observation.published().is_none_or(|record| record.master == instance.id);
    last.is_some_and(|last| last.source.as_deref() == Some(instance.id) && last.target != instance.id)
        && !is_published
        && !instance.answers_as_master()
}

/// Whoever was the master is no instance any more. Without a record the replicas say so, who name a place
/// where no member is; as such a place can be anywhere, a majority must be there to say it.
fn is_master_gone(scene: &Scene<'_>) -> bool {
    match scene.observation.published() {
        Some(record) => scene.instance(&record.master).is_none(),
        None => {
            let is_majority =
                scene.answering().count() * 2 > usize::from(scene.observation.group.members_desired);
            is_majority
                && scene
                    .answering()
                    .any(|instance| instance.is_replica() && instance.names == Named::Stranger)
        }
    }
}

/// The end of a process, as far as one can prove it from outside.
pub(super) fn process_end(instance: &Instance<'_>) -> Option<Proof> {
    if instance.answers {
        return None;
    }
    if instance.pod.is_some_and(|pod| !pod.running) {
        return Some(Proof::Stated);
    }
    let refusals = instance.link.refusals.as_ref()?;
    let after_the_end =
        instance.link.closed_age_us.is_some_and(|closed_us| refusals.last_age_us <= closed_us);
    let twice = refusals.count >= 2
        && refusals.first_age_us.saturating_sub(refusals.last_age_us) >= REFUSALS_APART_US;
    (after_the_end || twice).then_some(Proof::RefusedSince(refusals.first_age_us))
}

/// It loads its data from disk: the process is new, and nobody's master yet. A replica says so, too, while it
/// copies.
fn is_reloading(instance: &Instance<'_>) -> bool {
    !instance.is_replica()
        && (instance.link.state == LinkState::Loading || (instance.answers && instance.is_loading))
}

/// No valid reply for the hang limit. To want other credentials, to load or to be busy is life.
pub(super) fn is_silent(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    let shows_life = match instance.link.state {
        LinkState::Loading | LinkState::Busy | LinkState::Unauthorized => true,
        LinkState::Unknown
        | LinkState::Answering
        | LinkState::Closed
        | LinkState::Refused
        | LinkState::Unreachable
        | LinkState::TimedOut
        | LinkState::ProtocolError => instance.answers,
    };
    !shows_life && instance.silence_us() >= scene.hang_limit_us()
}

/// A replica's testimony that its master is as silent to it as to the host.
fn hears_nothing(scene: &Scene<'_>, witness: &Instance<'_>) -> bool {
    let limit_us = scene.hang_limit_us();
    // Redis rounds down to whole seconds: one less is surely past.
    let last_io_us =
        witness.facts.last_io_s.map_or(0, |seconds| seconds.saturating_sub(1).saturating_mul(1_000_000));
    let stands_still = witness.standstill_us() > 0 && witness.standstill_us() >= limit_us;
    witness.facts.link_up == Some(false)
        || last_io_us >= limit_us && witness.facts.last_io_s.is_some()
        || stands_still
}
