//! The order in which policies are asked: the live one, the last good one, the embedded one. Counts faults,
//! and quarantines a policy with too many. Must not load, check or ask a policy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Policy, PolicyFault};
use crate::contract::{Topology, Want};

/// The policies of one operator, in the order in which they are asked. Shared by its groups.
pub struct PolicyChain {
    embedded: Arc<dyn Policy>,
    state: Mutex<State>,
}

struct State {
    live: Arc<dyn Policy>,
    last_good: Option<Arc<dyn Policy>>,
    /// By digest: the times of the newest faults.
    faults: BTreeMap<String, Vec<Duration>>,
    /// Digests that are asked no more, the oldest first. For the life of the process: a policy is a pure
    /// function, so it fails again where it failed.
    quarantined: Vec<String>,
}

/// A policy was refused because it is in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "policy {title} ({digest}) is in quarantine after {FAULTS_MAX} faults within a minute: deploy a fixed \
     version, or restart the operator to try this one again"
)]
pub struct Quarantined {
    /// Its name and version.
    pub title: String,
    /// Its digest.
    pub digest: String,
}

impl PolicyChain {
    /// A chain of the embedded policy alone.
    pub fn new(embedded: Arc<dyn Policy>) -> PolicyChain {
        let state = State {
            live: Arc::clone(&embedded),
            last_good: None,
            faults: BTreeMap::new(),
            quarantined: Vec::new(),
        };
        PolicyChain { embedded, state: Mutex::new(state) }
    }

    /// The policies to ask, in order. Never empty: the embedded policy is always the last.
    pub fn policies(&self) -> Vec<Arc<dyn Policy>> {
        let state = self.state();
        let mut policies: Vec<Arc<dyn Policy>> = Vec::with_capacity(3);
        for policy in
            [Some(&state.live), state.last_good.as_ref(), Some(&self.embedded)].into_iter().flatten()
        {
            let is_known = policies.iter().any(|known| known.digest() == policy.digest());
            if !is_known && !state.is_quarantined(policy.digest()) {
                policies.push(Arc::clone(policy));
            }
            if policy.digest() == self.embedded.digest() {
                break;
            }
        }
        policies
    }

    /// The commands that any of them wants in groups of that topology.
    pub fn wants(&self, topology: Topology) -> Vec<Want> {
        let mut wants: Vec<Want> = Vec::new();
        for want in self.policies().iter().flat_map(|policy| policy.wants(topology)) {
            if !wants.contains(&want) {
                wants.push(want);
            }
        }
        // Sorted, so that the probe does not depend on the order of the policies.
        wants.sort_by(|one, other| one.arguments.cmp(&other.arguments));
        wants
    }

    /// Whether a policy had too many faults. It is asked no more.
    pub fn is_quarantined(&self, digest: &str) -> bool {
        self.state().is_quarantined(digest)
    }

    /// The policy that was swapped in last, in quarantine or not.
    pub fn live(&self) -> Arc<dyn Policy> {
        Arc::clone(&self.state().live)
    }

    /// Makes a checked policy the live one; the former becomes the last good one, unless it is in quarantine.
    /// A decision in progress ends with the policy that began it.
    ///
    /// # Errors
    /// [`Quarantined`]; the chain is unchanged.
    pub fn swap(&self, policy: Arc<dyn Policy>) -> Result<(), Quarantined> {
        let mut state = self.state();
        if state.is_quarantined(policy.digest()) {
            return Err(Quarantined { title: policy.title().into(), digest: policy.digest().into() });
        }
        if policy.digest() == state.live.digest() {
            // The same component under its own name, after it was a fallback with filtered parameters.
            state.live = policy;
            return Ok(());
        }
        let before = std::mem::replace(&mut state.live, policy);
        if !state.is_quarantined(before.digest()) {
            state.last_good = Some(before);
        }
        Ok(())
    }

    /// Notes that a policy gave no usable decision. `now` counts from any fixed moment. True if this fault
    /// put it in quarantine. The embedded policy is never quarantined: it is the last of the chain.
    pub fn fault(&self, now: Duration, digest: &str, fault: &PolicyFault) -> bool {
        let mut state = self.state();
        if digest == self.embedded.digest() || state.is_quarantined(digest) {
            return false;
        }
        let faults = state.faults.entry(digest.to_owned()).or_default();
        faults.retain(|then| now.saturating_sub(*then) <= FAULT_WINDOW);
        faults.push(now);
        if faults.len() < FAULTS_MAX {
            return false;
        }
        state.faults.remove(digest);
        if state.quarantined.len() == QUARANTINED_MAX {
            state.quarantined.remove(0);
        }
        state.quarantined.push(digest.to_owned());
        tracing::warn!(digest, error = %fault, "policy quarantined");
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_quarantined(&self, digest: &str) -> bool {
        self.quarantined.iter().any(|known| known == digest)
    }
}

/// Two faults may come from one odd Observation that was decided twice; a third comes from the policy.
const FAULTS_MAX: usize = 3;
/// Long enough for a group that is decided on only every few seconds.
const FAULT_WINDOW: Duration = Duration::from_secs(60);
/// Far more swaps than between two restarts of an operator.
const QUARANTINED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Decision, Observation};

    struct Named(&'static str);

    impl Policy for Named {
        fn title(&self) -> &str {
            self.0
        }
        fn digest(&self) -> &str {
            self.0
        }
        fn serves(&self, _: Topology) -> bool {
            true
        }

        fn wants(&self, _: Topology) -> Vec<Want> {
            Vec::new()
        }
        fn decide(&self, _: &Observation) -> Result<Decision, PolicyFault> {
            Err(fault())
        }
    }

    fn fault() -> PolicyFault {
        PolicyFault::Trap("unreachable".into())
    }

    fn names(chain: &PolicyChain) -> Vec<String> {
        chain.policies().iter().map(|policy| policy.title().to_owned()).collect()
    }

    fn swapped(names: &[&'static str]) -> PolicyChain {
        let chain = PolicyChain::new(Arc::new(Named("embedded")));
        for name in names {
            chain.swap(Arc::new(Named(name))).unwrap();
        }
        chain
    }

    fn fail(chain: &PolicyChain, digest: &str, at_s: &[u64]) -> bool {
        at_s.iter().map(|at| chain.fault(Duration::from_secs(*at), digest, &fault())).last().unwrap_or(false)
    }

    #[test]
    fn the_embedded_policy_is_alone_at_first_and_always_the_last() {
        assert_eq!(names(&swapped(&[])), ["embedded"]);
        assert_eq!(names(&swapped(&["a"])), ["a", "embedded"]);
        assert_eq!(names(&swapped(&["a", "b"])), ["b", "a", "embedded"]);
        assert_eq!(names(&swapped(&["a", "b", "a"])), ["a", "b", "embedded"]);
    }

    #[test]
    fn the_embedded_policy_can_be_the_live_one_again() {
        assert_eq!(names(&swapped(&["a", "embedded"])), ["embedded"]);
    }

    #[test]
    fn three_faults_within_a_minute_quarantine_a_policy_and_the_next_one_decides() {
        let chain = swapped(&["a", "b"]);
        assert!(!fail(&chain, "b", &[1, 2]));
        assert_eq!(names(&chain), ["b", "a", "embedded"]);
        assert!(fail(&chain, "b", &[3]));
        assert_eq!(names(&chain), ["a", "embedded"]);
    }

    #[test]
    fn faults_more_than_a_minute_apart_do_not_add_up() {
        let chain = swapped(&["a"]);
        assert!(!fail(&chain, "a", &[0, 61, 122, 183, 244]));
        assert_eq!(names(&chain), ["a", "embedded"]);
    }

    #[test]
    fn the_embedded_policy_is_never_quarantined() {
        let chain = swapped(&[]);
        assert!(!fail(&chain, "embedded", &[1, 1, 1, 1]));
        assert_eq!(names(&chain), ["embedded"]);
    }

    #[test]
    fn a_quarantined_policy_is_not_swapped_in_again_and_not_kept_as_last_good() {
        let chain = swapped(&["a", "b"]);
        fail(&chain, "b", &[1, 1, 1]);
        chain.swap(Arc::new(Named("c"))).unwrap();
        assert_eq!(names(&chain), ["c", "a", "embedded"]);
        assert!(chain.swap(Arc::new(Named("b"))).is_err());
        assert_eq!(names(&chain), ["c", "a", "embedded"]);
    }
}
