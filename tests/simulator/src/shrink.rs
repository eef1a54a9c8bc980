//! A shorter schedule with the same breach: steps are left out one by one, and clients, while it still
//! breaks.

use crate::run::names;
use crate::{Schedule, simulate};
use redis_operator::policy::PolicyChain;
use std::sync::Arc;

/// The shortest schedule that was found to have a breach of that name.
pub fn shrink(schedule: &Schedule, name: &str, policies: &Arc<PolicyChain>) -> Schedule {
    let breaks = |schedule: &Schedule| names(&simulate(schedule, policies, false)).contains(name);
    let mut shortest = schedule.clone();
    let mut is_shorter = true;
    while is_shorter {
        is_shorter = false;
        for step in (0..shortest.steps.len()).rev() {
            let mut shorter = shortest.clone();
            shorter.steps.remove(step);
            if !shorter.steps.is_empty() && breaks(&shorter) {
                (shortest, is_shorter) = (shorter, true);
            }
        }
        while shortest.clients.len() > 1 {
            let mut shorter = shortest.clone();
            shorter.clients.pop();
            if !breaks(&shorter) {
                break;
            }
            (shortest, is_shorter) = (shorter, true);
        }
    }
    shortest
}
