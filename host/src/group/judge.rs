//! Asks the policies in the order of the chain until one gives a decision that passes the guard.
//!
//! 1. Ask the first policy of the chain: live, then last good, then embedded. One that does not decide for
//!    the group's topology is passed over, and one that is not ready (its worker process is being started
//!    again); the end of that process was its fault.
//! 2. A trap, a limit, a malformed answer or a breach of the guard is a fault of that policy. Report and
//!    count it, and ask the next policy about the same Observation.
//! 3. The first decision without a fault counts, and is carried out at most once.
//! 4. The group has not been what it is to be for too long ([`Watchdog`]), and the decision would not change
//!    that: the next policies are asked as well. If one of them gives a plan that changes roles, that plan
//!    counts, and idling was the fault of those before it. Else the first decision stands, without a fault.
//! 5. If every policy of the chain is at fault, nothing is done. The next round asks again from step 1, with
//!    a newer Observation.
//!
//! So a faulty policy cannot act, and cannot stop failovers while a later policy of the chain decides. All
//! policies see one Observation: a fallback repeats no I/O and cannot rest on other facts than the guard.

use super::event::{Decided, Effect, Moment, Report, only_repeats};
use super::watchdog::{HANG_LIMITS, Watchdog, changes_roles};
use crate::contract::{Decision, Loss, Observation, ShardVerdict};
use crate::guard::Reading;
use crate::policy::{Policy, PolicyChain, PolicyFault};
use std::sync::Arc;
use std::time::Duration;

/// The decision, with the policy that gave it. None: every policy was at fault, so nothing is done. Reports
/// and counts each fault.
pub fn judge(
    now: Moment,
    chain: &PolicyChain,
    observation: Observation,
    last: Option<&Decision>,
    watchdog: &mut Watchdog,
    effects: &mut Vec<Effect>,
) -> Option<Decided> {
    let observation = Arc::new(observation);
    let reading = Reading::of(&observation);
    let picture = reading.picture();
    let is_due = watchdog.is_due(now, &observation, &picture);
    let mut note = |policy: &dyn Policy, fault: PolicyFault| {
        chain.fault(Duration::from_micros(now.0), policy.digest(), &fault);
        let (digest, title) = (policy.digest().to_owned(), policy.title().to_owned());
        let observation = Arc::clone(&observation);
        effects.push(Effect::Report(Report::Fault { digest, title, fault, observation }));
    };
    let mut idling: Vec<(Arc<dyn Policy>, Decision)> = Vec::new();
    let mut chosen = None;
    let topology = observation.group.topology;
    let may_decide = |policy: &Arc<dyn Policy>| policy.serves(topology) && policy.is_ready();
    for policy in chain.policies().into_iter().filter(may_decide) {
        let answer = policy.decide(&observation).and_then(|decision| match reading.judge(&decision) {
            Ok(()) => Ok(decision),
            Err(breaches) => Err(PolicyFault::Breach(breaches.iter().map(ToString::to_string).collect())),
        });
        match answer {
            Ok(decision) if is_due && !changes_roles(&decision, &picture) => idling.push((policy, decision)),
            Ok(decision) => {
                chosen = Some((policy, decision));
                break;
            }
            Err(fault) => note(policy.as_ref(), fault),
        }
    }
    if let Some((next, _)) = &chosen {
        for (policy, decision) in idling.drain(..) {
            let reason = decision.reason;
            let next = next.title().to_owned();
            note(policy.as_ref(), PolicyFault::Idle { reason, hang_limits: HANG_LIMITS, next });
        }
    }
    let Some((policy, decision)) = chosen.or_else(|| idling.into_iter().next()) else {
        effects.push(Effect::Report(Report::Held));
        return None;
    };
    let is_news = last.is_none_or(|last| differs(last, &decision)) && !only_repeats(&observation, &decision);
    Some(Decided {
        decision: Arc::new(decision),
        digest: policy.digest().to_owned(),
        picture: Arc::new(picture),
        is_news,
        observation,
    })
}

/// True if a user would call it another decision. Ages change every explanation, so texts do not count; that
/// something is lost does.
fn differs(last: &Decision, now: &Decision) -> bool {
    let masters = |decision: &Decision| {
        let shards = decision.shards.iter();
        let is_loss = |loss: &Loss| loss.bytes != Some(0);
        let of = |shard: &ShardVerdict| {
            (
                shard.index,
                shard.master.clone(),
                shard.master_goal.clone(),
                shard.loss.as_ref().is_some_and(is_loss),
            )
        };
        shards.map(of).collect::<Vec<_>>()
    };
    (last.verdict, &last.reason, last.progress) != (now.verdict, &now.reason, now.progress)
        || masters(last) != masters(now)
        || last.stages.len() != now.stages.len()
}
