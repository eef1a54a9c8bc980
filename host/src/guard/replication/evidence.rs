//! Whether the old master may be replaced: each instance that may still be master is excused by evidence, and
//! the stated evidence holds. Must not judge the candidate.
//!
//! The argument, with M for any instance that clients may still write to as master:
//!
//! 1. M has replicas that name it, or is the published master. So M is a *claimant*: the end of an answering
//!    replica's chain, or the master of the record ([`claimants`]).
//! 2. Each claimant must be excused ([`check_excused`]): its role was replaced before, it answers as a
//!    replica, it loads its data, its process has ended ([`process_end`]), or it is amnesic, a stray, or
//!    silent for the hang limit and replaced for that reason. No reply for a shorter time is no excuse.
//! 3. A dead M acknowledges no write after its end. A silent M may: its link to the host is broken, not that
//!    to its clients. So the replicas must report that link down too, each sampled after the loss; their
//!    offsets are final then, and the most advanced one has all that M could replicate ([`final_offsets`]).
//! 4. A silent M may still acknowledge writes that it does not replicate. With prefer = consistency it must
//!    have stopped: no replica has acknowledged anything for `min-replicas-max-lag` and a margin
//!    ([`self_fence`]).

use crate::contract::{Evidence, LinkState, Preference, Promote};
use crate::guard::scene::{Fence, Instance, Named, Scene};
use crate::guard::{Case, ensure};
use failover_core::facts::Relation;

/// Two refusals closer together than this are one accident: a listen backlog that overflowed.
const REFUSALS_APART_US: u64 = 5_000;
/// In hang limits: between a failover and the next one on silence alone.
const COOL_DOWN: u64 = 3;
/// In hang limits: a master that is silent for longer is replaced in spite of the silence of other groups.
const DOUBT: u64 = 10;
/// With a larger share of silent groups, the host's own network is the likelier cause.
const SILENT_GROUPS_MAX_PERMILLE: u16 = 250;
/// Some thirty times what the demotion and the promotion of a handover take on a loopback.
const ABDICATION_US: u64 = 100_000;
/// Added to the lag: Redis counts whole seconds on both sides and checks once a second (`replicationCron`).
const FENCE_MARGIN_S: u64 = 3;

/// The evidence that a process has ended.
#[derive(Clone, Copy)]
pub(in crate::guard) enum ProcessEnd {
    /// The orchestrator says that it does not run.
    Stated,
    /// Connections to its address have been refused for this long, in microseconds.
    RefusedSince(u64),
}

pub(in crate::guard) fn evidence(case: &Case<'_>) -> Result<(), String> {
    for promote in case.promotes() {
        match promote.evidence {
            Evidence::Requested => {
                return Err(format!("{} is promoted on request; a request takes a handover", promote.id));
            }
            Evidence::Replaced | Evidence::Elected => {
                return Err(format!("{} is promoted on evidence of another topology", promote.id));
            }
            // The rule `bootstrap` checks a first master.
            Evidence::Bootstrap => continue,
            Evidence::Dead | Evidence::Abdicated | Evidence::Amnesic | Evidence::Silent => {}
        }
        let scene = case.scene;
        let claimants = claimants(scene, promote);
        for claimant in &claimants {
            check_excused(scene, promote, claimant)?;
        }
        // A chain may break in its middle: then the evidence is about that member, which ends no chain.
        let is_broken = |how: &dyn Fn(&Instance<'_>) -> bool| {
            let mut named = scene
                .answering()
                .filter(|instance| instance.is_replica())
                .flat_map(|replica| scene.named_by(replica));
            claimants.iter().any(|claimant| how(claimant.instance))
                || named.any(|instance| !instance.answers && how(instance))
        };
        let is_true = match promote.evidence {
            Evidence::Dead => {
                is_master_gone(scene) || is_broken(&|instance| process_end(scene, instance).is_some())
            }
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
                "the evidence {:?} holds for none of the instances that may be master: [{}]",
                promote.evidence,
                names()
            )
        })?;
    }
    Ok(())
}

/// During another operator's handover the group has no master for a round trip or two, so an abdication
/// counts only after [`ABDICATION_US`] without a master.
pub(in crate::guard) fn abdication(case: &Case<'_>) -> Result<(), String> {
    let age_us = case.scene.observation.shard().map_or(0, |shard| shard.no_master_age_us);
    let is_early = |promote: &&Promote| promote.evidence == Evidence::Abdicated && age_us < ABDICATION_US;
    match case.promotes().find(is_early) {
        Some(promote) => Err(format!(
            "{} is to be promoted because the master abdicated, but the group has had no master for only \
             {age_us} us",
            promote.id
        )),
        None => heard_since(case, age_us),
    }
}

/// A new master may stall in its first moment: what it said before its promotion is no word about its role.
fn heard_since(case: &Case<'_>, age_us: u64) -> Result<(), String> {
    let is_older = |instance: &&Instance<'_>| instance.age_us.is_some_and(|sample_us| sample_us >= age_us);
    let abdicated = case.promotes().find(|promote| promote.evidence == Evidence::Abdicated);
    match abdicated.and_then(|promote| Some((promote, case.scene.answering().find(is_older)?))) {
        Some((promote, unheard)) => Err(format!(
            "{} is to be promoted because the master abdicated, but {} has not replied since and may be master",
            promote.id, unheard.id
        )),
        None => Ok(()),
    }
}

pub(in crate::guard) fn final_offsets(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    for promote in case.promotes() {
        for lost in claimants(scene, promote)
            .iter()
            .map(|claimant| claimant.instance)
            .filter(|instance| !instance.answers)
        {
            let on_silence = promote.evidence == Evidence::Silent && is_silent(scene, lost);
            let since_us = match process_end(scene, lost) {
                Some(ProcessEnd::RefusedSince(since_us)) if !on_silence => since_us,
                Some(ProcessEnd::RefusedSince(_) | ProcessEnd::Stated) => u64::MAX,
                None if on_silence => u64::MAX,
                // Not excused at all: a breach of the rule `evidence`.
                None => continue,
            };
            for witness in scene.followers(lost.id) {
                let is_after = witness.age_us.is_some_and(|age_us| age_us <= since_us);
                ensure(is_after, || {
                    format!("the reply of {} is older than the refusal of {}", witness.id, lost.id)
                })?;
                let is_apart = witness.facts.link_up == Some(false)
                    || on_silence && is_link_silent(witness, scene.quiet_limit_us(lost));
                ensure(is_apart, || format!("{} may still receive the stream of {}", witness.id, lost.id))?;
            }
            // If no replica names it, its replicas may know it by an address that the host does not know:
            // then they name an outsider and have its history.
            if scene.followers(lost.id).next().is_none() && promote.evidence != Evidence::Abdicated {
                let has_its_history = |witness: &Instance<'_>| {
                    witness.facts.history.is_none()
                        || scene.has_recorded_history(witness)
                        || witness.relation(lost).is_some_and(|relation| relation != Relation::Unrelated)
                };
                check_no_outside_master(scene, scene.quiet_limit_us(lost), has_its_history)?;
            }
        }
        let has_ended =
            claimants(scene, promote).iter().any(|claimant| process_end(scene, claimant.instance).is_some());
        if is_master_gone(scene) && promote.evidence == Evidence::Dead && !has_ended {
            check_no_outside_master(scene, scene.hang_limit_us(), |_| true)?;
        }
    }
    Ok(())
}

/// No such replica may still receive the stream of an address that is no member's.
fn check_no_outside_master(
    scene: &Scene<'_>,
    limit_us: u64,
    which: impl Fn(&Instance<'_>) -> bool,
) -> Result<(), String> {
    let has_one = |instance: &&Instance<'_>| {
        instance.is_replica()
            && instance.names == Named::Outsider
            && which(instance)
            && !is_link_silent(instance, limit_us)
    };
    match scene.answering().find(has_one) {
        Some(witness) => {
            Err(format!("{} may still receive the stream of a master that is not a member", witness.id))
        }
        None => Ok(()),
    }
}

pub(in crate::guard) fn self_fence(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
    for promote in case.promotes().filter(|promote| promote.evidence == Evidence::Silent) {
        let group = &scene.observation.group;
        match group.prefer {
            Preference::Availability => continue,
            Preference::Consistency => {}
        }
        let Some(lag_s) = group.self_fence_lag_s else {
            return Err("prefer is consistency, but no member has a self-fence".into());
        };
        for lost in claimants(scene, promote)
            .iter()
            .map(|claimant| claimant.instance)
            .filter(|instance| is_silent(scene, instance))
        {
            let fence = closing_fence(scene, lost)?;
            let bound_s = fence.lag_s.max(lag_s.into()).saturating_add(FENCE_MARGIN_S);
            ensure(lost.silence_us() / 1_000_000 >= bound_s, || {
                format!(
                    "{} has been silent for {} us, but its self-fence takes {bound_s} s",
                    lost.id,
                    lost.silence_us()
                )
            })?;
            for witness in scene.followers(lost.id) {
                // A link that was never up acknowledges nothing, so it keeps no master's fence open.
                let never_up = witness.facts.link_up == Some(false) && witness.facts.link_down_s.is_none();
                let apart_s = witness.facts.link_down_s.or(witness.facts.last_io_s).unwrap_or(0);
                let is_apart =
                    never_up || apart_s >= bound_s || witness.standstill_us() >= bound_s * 1_000_000;
                ensure(is_apart, || {
                    format!(
                        "{} may have acknowledged writes of {} less than {bound_s} s ago, so its self-fence \
                         may be open",
                        witness.id, lost.id
                    )
                })?;
            }
        }
    }
    Ok(())
}

/// The fence of a master that does not answer, if it closes: it was seen, and the replicas that may be on the
/// master's side of a cut are fewer than it wants.
fn closing_fence(scene: &Scene<'_>, lost: &Instance<'_>) -> Result<Fence, String> {
    let Some(fence) = lost.fence.filter(|fence| fence.to_write > 0 && fence.lag_s > 0) else {
        return Err(format!("{} is silent, and no self-fence was seen on it", lost.id));
    };
    let is_unseen =
        |other: &&Instance<'_>| other.id != lost.id && !other.answers && process_end(scene, other).is_none();
    let unseen = scene.instances.iter().filter(is_unseen).count();
    let unknown = usize::from(scene.observation.group.members_desired).saturating_sub(scene.instances.len());
    let others = unseen + unknown + scene.strange_replicas(lost);
    ensure((others as u64) < fence.to_write, || {
        format!(
            "{others} replicas may be on the side of {}, whose self-fence wants {}, so it may be open",
            lost.id, fence.to_write
        )
    })?;
    Ok(fence)
}

pub(in crate::guard) fn cool_down(case: &Case<'_>) -> Result<(), String> {
    let Some(last) = case.scene.observation.last_failover() else { return Ok(()) };
    let bound_us = COOL_DOWN * case.scene.hang_limit_us();
    let is_silent = case.promotes().any(|promote| promote.evidence == Evidence::Silent);
    ensure(!is_silent || last.age_us >= bound_us, || {
        format!(
            "the last failover was {} us ago; the next one on silence must wait for {bound_us} us",
            last.age_us
        )
    })
}

pub(in crate::guard) fn self_doubt(case: &Case<'_>) -> Result<(), String> {
    let scene = case.scene;
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
            format!(
                "{permille} of 1000 groups fell silent together, and this master has been silent for less \
                 than {bound_us} us"
            )
        })?;
    }
    Ok(())
}

/// An instance, other than the promoted one, that may be the master.
pub(in crate::guard) struct Claimant<'s, 'a> {
    pub instance: &'s Instance<'a>,
    /// Known only from the record, while replicas name another master: the record may be out of date.
    pub is_record_only: bool,
}

/// The ends of all answering replicas' chains, and the published master.
pub(in crate::guard) fn claimants<'s, 'a>(scene: &'s Scene<'a>, promote: &Promote) -> Vec<Claimant<'s, 'a>> {
    let mut claimants: Vec<Claimant<'s, 'a>> = Vec::new();
    for end in scene
        .answering()
        .filter(|instance| instance.is_replica())
        .filter_map(|replica| scene.chain_end(replica))
    {
        if !claimants.iter().any(|claimant| claimant.instance.id == end.id) {
            claimants.push(Claimant { instance: end, is_record_only: false });
        }
    }
    let recorded = scene.observation.published().and_then(|record| scene.instance(&record.master));
    if let Some(instance) =
        recorded.filter(|instance| !claimants.iter().any(|claimant| claimant.instance.id == instance.id))
    {
        let is_record_only = claimants.iter().any(|claimant| !claimant.instance.answers_as_replica());
        claimants.push(Claimant { instance, is_record_only });
    }
    // A chain that ends at the promoted replica names no other master. A promoted instance that answers as a
    // replica stays a claimant: that it abdicated is evidence.
    claimants.retain(|claimant| claimant.instance.id != promote.id || claimant.instance.answers_as_replica());
    claimants
}

/// Ok if evidence shows that the claimant is no master any more; the error says what is missing.
fn check_excused(scene: &Scene<'_>, promote: &Promote, claimant: &Claimant<'_, '_>) -> Result<(), String> {
    let instance = claimant.instance;
    let may_be = |what: &str| Err(format!("{} may be the master: {what}", instance.id));
    if was_replaced(scene, instance)
        || instance.answers_as_replica()
        || is_reloading(instance)
        || process_end(scene, instance).is_some()
    {
        return Ok(());
    }
    if instance.answers {
        let is_stray =
            scene.instance(&promote.id).is_some_and(|candidate| scene.is_stray(instance, candidate));
        return if is_stray || scene.is_amnesic(instance) { Ok(()) } else { may_be("it answers") };
    }
    if !is_silent(scene, instance) {
        return may_be("it does not answer, and is neither proven dead nor silent for the hang limit");
    }
    // A member that last reported role replica is no master by its own reply; only other replicas name it.
    if promote.evidence == Evidence::Silent
        || claimant.is_record_only
        || instance.is_replica() && !is_recorded(scene, instance)
    {
        Ok(())
    } else {
        may_be("it is silent, but the stated evidence is another")
    }
}

fn is_recorded(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    scene.observation.published().is_some_and(|record| record.master == instance.id)
}

/// True if it lost its role in the last failover, and another master was published since.
fn was_replaced(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    let last = scene.observation.last_failover();
    let is_published = scene.observation.published().is_none_or(|record| record.master == instance.id);
    last.is_some_and(|last| last.source.as_deref() == Some(instance.id) && last.target != instance.id)
        && !is_published
        && !instance.answers_as_master()
}

/// True if the published master is no instance any more. Without a record: if a replica names an address that
/// is no member's; as such an address can be anywhere, a majority of the members must answer.
fn is_master_gone(scene: &Scene<'_>) -> bool {
    match scene.observation.published() {
        Some(record) => scene.instance(&record.master).is_none(),
        None => {
            let is_majority =
                scene.answering().count() * 2 > usize::from(scene.observation.group.members_desired);
            is_majority
                && scene
                    .answering()
                    .any(|instance| instance.is_replica() && instance.names == Named::Outsider)
        }
    }
}

/// The end of a process, as far as it can be proven from outside:
///
/// 1. The orchestrator says that the Pod does not run, or a server in another mode replies at its address.
/// 2. Or its connection to the host closed, and a later connect was refused: no process listens there.
/// 3. Or, without such a connection, two connects were refused at least [`REFUSALS_APART_US`] apart: a full
///    listen backlog refuses one.
///
/// A refusal proves nothing where something passes the bytes on: a proxy that restarts refuses as well.
pub(in crate::guard) fn process_end(scene: &Scene<'_>, instance: &Instance<'_>) -> Option<ProcessEnd> {
    if instance.answers {
        return None;
    }
    if instance.is_replaced || instance.pod.is_some_and(|pod| !pod.running) {
        return Some(ProcessEnd::Stated);
    }
    let refusals = instance.link.refusals.as_ref().filter(|_| !scene.is_behind_hop(instance))?;
    let after_the_end =
        instance.link.closed_age_us.is_some_and(|closed_us| refusals.last_age_us <= closed_us);
    let twice = refusals.count >= 2
        && refusals.first_age_us.saturating_sub(refusals.last_age_us) >= REFUSALS_APART_US;
    (after_the_end || twice).then_some(ProcessEnd::RefusedSince(refusals.first_age_us))
}

/// True if it loads its data from disk: the process is new, and no master yet. A replica that copies its
/// master reports loading too, and does not count.
fn is_reloading(instance: &Instance<'_>) -> bool {
    !instance.is_replica()
        && (instance.link.state == LinkState::Loading || (instance.answers && instance.is_loading))
}

/// True after the hang limit without a valid reply.
pub(in crate::guard) fn is_silent(scene: &Scene<'_>, instance: &Instance<'_>) -> bool {
    !shows_life(instance) && instance.silence_us() >= scene.hang_limit_us()
}

/// LOADING, BUSY and NOAUTH are life.
pub(in crate::guard) fn shows_life(instance: &Instance<'_>) -> bool {
    match instance.link.state {
        LinkState::Loading | LinkState::Busy | LinkState::Unauthorized => true,
        LinkState::Unknown
        | LinkState::Answering
        | LinkState::Closed
        | LinkState::Refused
        | LinkState::Unreachable
        | LinkState::TimedOut
        | LinkState::ProtocolError => instance.answers,
    }
}

/// True if the replica reports that its master is as silent to it as to the host: its link is down, or has
/// brought nothing for so long.
fn is_link_silent(witness: &Instance<'_>, limit_us: u64) -> bool {
    // Redis counts whole seconds, so up to one second of the value may not have passed.
    let last_io_us =
        witness.facts.last_io_s.map_or(0, |seconds| seconds.saturating_sub(1).saturating_mul(1_000_000));
    let stands_still = witness.standstill_us() > 0 && witness.standstill_us() >= limit_us;
    witness.facts.link_up == Some(false)
        || last_io_us >= limit_us && witness.facts.last_io_s.is_some()
        || stands_still
}
