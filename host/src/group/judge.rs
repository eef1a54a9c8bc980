//! Asks the policies in the order of the chain until one gives a decision that passes the guard.
//!
//! 1. Ask the first policy of the chain: live, then last good, then embedded. One that is not ready (its
//!    worker process is being started again) is passed over; the end of that process was its fault.
//! 2. A trap, a limit, a malformed answer or a breach of the guard is a fault of that policy. Report and
//!    count it, and ask the next policy about the same Observation.
//! 3. The first decision without a fault counts, and is carried out at most once.
//! 4. If every policy of the chain is at fault, nothing is done. The next round asks again from step 1, with
//!    a newer Observation.
//!
//! So a faulty policy cannot act, and cannot stop failovers while a later policy of the chain decides. All
//! policies see one Observation: a fallback repeats no I/O and cannot rest on other facts than the guard.

use super::event::{Decided, Effect, Moment, Report, only_repeats};
use crate::contract::{Decision, Observation};
use crate::guard;
use crate::policy::{PolicyChain, PolicyFault};
use std::sync::Arc;
use std::time::Duration;

/// The decision, with the policy that gave it. None: every policy was at fault, so nothing is done. Reports
/// and counts each fault.
pub fn judge(
    now: Moment,
    chain: &PolicyChain,
    observation: Observation,
    last: Option<&Decision>,
    effects: &mut Vec<Effect>,
) -> Option<Decided> {
    let observation = Arc::new(observation);
    for policy in chain.policies().into_iter().filter(|policy| policy.is_ready()) {
        let answer =
            policy.decide(&observation).and_then(|decision| match guard::judge(&observation, &decision) {
                Ok(()) => Ok(decision),
                Err(breaches) => Err(PolicyFault::Breach(breaches.iter().map(ToString::to_string).collect())),
            });
        match answer {
            Ok(decision) => {
                let is_news = last.is_none_or(|last| differs(last, &decision))
                    && !only_repeats(&observation, &decision);
                return Some(Decided {
                    observation,
                    decision: Arc::new(decision),
                    digest: policy.digest().to_owned(),
                    is_news,
                });
            }
            Err(fault) => {
                chain.fault(Duration::from_micros(now.0), policy.digest(), &fault);
                let (digest, title) = (policy.digest().to_owned(), policy.title().to_owned());
                effects.push(Effect::Report(Report::Fault {
                    digest,
                    title,
                    fault,
                    observation: Arc::clone(&observation),
                }));
            }
        }
    }
    effects.push(Effect::Report(Report::Held));
    None
}

/// True if a user would call it another decision. Ages change every explanation, so texts do not count.
fn differs(last: &Decision, now: &Decision) -> bool {
    let masters = |decision: &Decision| {
        let shards = decision.shards.iter();
        shards.map(|shard| (shard.index, shard.master.clone(), shard.master_goal.clone())).collect::<Vec<_>>()
    };
    (last.verdict, &last.reason, last.progress) != (now.verdict, &now.reason, now.progress)
        || masters(last) != masters(now)
        || last.stages.len() != now.stages.len()
}
