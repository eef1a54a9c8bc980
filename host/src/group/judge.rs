//! Asks the policies in their order until one gives an answer that passes the guard.

use super::event::{Decided, Effect, Moment, Report};
use crate::contract::{Decision, Observation};
use crate::guard;
use crate::policy::{PolicyChain, PolicyFault};
use std::sync::Arc;
use std::time::Duration;

/// The answer, and who gave it. None: nobody gave one, so nothing is done. Faults are reported and counted on
/// the way.
pub fn judge(
    now: Moment,
    line: &PolicyChain,
    observation: Observation,
    last: Option<&Decision>,
    effects: &mut Vec<Effect>,
) -> Option<Decided> {
    let observation = Arc::new(observation);
    for policy in line.line() {
        let answer =
            policy.decide(&observation).and_then(|decision| match guard::judge(&observation, &decision) {
                Ok(()) => Ok(decision),
                Err(breaches) => Err(PolicyFault::Breach(breaches.iter().map(ToString::to_string).collect())),
            });
        match answer {
            Ok(decision) => {
                let is_news = last.is_none_or(|last| differs(last, &decision));
                return Some(Decided {
                    observation,
                    decision: Arc::new(decision),
                    digest: policy.digest().to_owned(),
                    is_news,
                });
            }
            Err(fault) => {
                line.fault(Duration::from_micros(now.0), policy.digest(), &fault);
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

/// Ages make every sentence new; what people care about is the rest.
fn differs(last: &Decision, now: &Decision) -> bool {
    let masters = |decision: &Decision| {
        let shards = decision.shards.iter();
        shards.map(|shard| (shard.index, shard.master.clone(), shard.master_goal.clone())).collect::<Vec<_>>()
    };
    (last.verdict, &last.reason, last.progress) != (now.verdict, &now.reason, now.progress)
        || masters(last) != masters(now)
        || last.stages.len() != now.stages.len()
}
