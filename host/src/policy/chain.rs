//! Who is asked, and who is asked next when that one fails: the live policy, the last good one, the embedded
//! one. Decides by the faults that it is told of; loads, proves and asks nobody.

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
    /// By digest: when the newest faults were.
    faults: BTreeMap<String, Vec<Duration>>,
    /// Digests that are asked no more, the oldest first. For as long as the process lives: a policy is a
    /// pure function, and will fail again where it failed.
    quarantined: Vec<String>,
}

/// A policy is not taken into the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "policy {title} ({digest}) is in quarantine after {FAULTS_MAX} faults; restart the operator to try it \
     again"
)]
pub struct Quarantined {
    /// Its name and version.
    pub title: String,
    /// Its digest.
    pub digest: String,
}

impl PolicyChain {
    /// A line of the embedded policy alone.
    pub fn new(embedded: Arc<dyn Policy>) -> PolicyChain {
        let state = State {
            live: Arc::clone(&embedded),
            last_good: None,
            faults: BTreeMap::new(),
            quarantined: Vec::new(),
        };
        PolicyChain { embedded, state: Mutex::new(state) }
    }

    /// Whom to ask, in order. Never empty: the embedded policy is always the last.
    pub fn line(&self) -> Vec<Arc<dyn Policy>> {
        let state = self.state();
        let mut line: Vec<Arc<dyn Policy>> = Vec::with_capacity(3);
        for policy in
            [Some(&state.live), state.last_good.as_ref(), Some(&self.embedded)].into_iter().flatten()
        {
            let is_known = line.iter().any(|known| known.digest() == policy.digest());
            if !is_known && !state.is_quarantined(policy.digest()) {
                line.push(Arc::clone(policy));
            }
            if policy.digest() == self.embedded.digest() {
                break;
            }
        }
        line
    }

    /// What any of them wants in groups of that topology.
    pub fn wants(&self, topology: Topology) -> Vec<Want> {
        let mut wants: Vec<Want> = Vec::new();
        for want in self.line().iter().flat_map(|policy| policy.wants(topology)) {
            if !wants.contains(&want) {
                wants.push(want);
            }
        }
        // Whatever the order of the policies, the probe is the same.
        wants.sort_by(|one, other| one.arguments.cmp(&other.arguments));
        wants
    }

    /// The policy that was last put in front, in quarantine or not.
    pub fn live(&self) -> Arc<dyn Policy> {
        Arc::clone(&self.state().live)
    }

    /// Puts a proven policy in front; the one before it becomes the last good one, unless it is in
    /// quarantine. A decision under way ends with whom it began.
    ///
    /// # Errors
    /// [`Quarantined`]; the line stays as it is.
    pub fn swap(&self, policy: Arc<dyn Policy>) -> Result<(), Quarantined> {
        let mut state = self.state();
        if state.is_quarantined(policy.digest()) {
            return Err(Quarantined { title: policy.title().into(), digest: policy.digest().into() });
        }
        if policy.digest() == state.live.digest() {
            // The same in its own name, where it stood in for another before.
            state.live = policy;
            return Ok(());
        }
        let before = std::mem::replace(&mut state.live, policy);
        if !state.is_quarantined(before.digest()) {
            state.last_good = Some(before);
        }
        Ok(())
    }

    /// Notes that a policy gave no usable answer. `now` is since any fixed moment. True when this fault put
    /// it in quarantine, which the embedded policy never is: there would be nobody left.
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
        // Nothing in here panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_quarantined(&self, digest: &str) -> bool {
        self.quarantined.iter().any(|known| known == digest)
    }
}

/// Two may be one odd observation, decided again; a third is the policy.
const FAULTS_MAX: usize = 3;
/// Long enough for a group that is only looked at every few seconds.
const FAULT_WINDOW: Duration = Duration::from_secs(60);
/// Far more than anybody swaps in between two restarts.
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

    fn names(line: &PolicyChain) -> Vec<String> {
        line.line().iter().map(|policy| policy.title().to_owned()).collect()
    }

    fn swapped(names: &[&'static str]) -> PolicyChain {
        let line = PolicyChain::new(Arc::new(Named("embedded")));
        for name in names {
            line.swap(Arc::new(Named(name))).unwrap();
        }
        line
    }

    fn fail(line: &PolicyChain, digest: &str, at_s: &[u64]) -> bool {
        at_s.iter().map(|at| line.fault(Duration::from_secs(*at), digest, &fault())).last().unwrap_or(false)
    }

    #[test]
    fn the_embedded_policy_stands_alone_at_first_and_last_always() {
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
    fn three_faults_within_a_minute_are_quarantine_and_the_line_goes_on() {
        let line = swapped(&["a", "b"]);
        assert!(!fail(&line, "b", &[1, 2]));
        assert_eq!(names(&line), ["b", "a", "embedded"]);
        assert!(fail(&line, "b", &[3]));
        assert_eq!(names(&line), ["a", "embedded"]);
    }

    #[test]
    fn faults_far_apart_are_forgiven() {
        let line = swapped(&["a"]);
        assert!(!fail(&line, "a", &[0, 61, 122, 183, 244]));
        assert_eq!(names(&line), ["a", "embedded"]);
    }

    #[test]
    fn the_embedded_policy_is_never_quarantined() {
        let line = swapped(&[]);
        assert!(!fail(&line, "embedded", &[1, 1, 1, 1]));
        assert_eq!(names(&line), ["embedded"]);
    }

    #[test]
    fn a_quarantined_policy_is_neither_taken_back_nor_kept_as_good() {
        let line = swapped(&["a", "b"]);
        fail(&line, "b", &[1, 1, 1]);
        line.swap(Arc::new(Named("c"))).unwrap();
        assert_eq!(names(&line), ["c", "a", "embedded"]);
        assert!(line.swap(Arc::new(Named("b"))).is_err());
        assert_eq!(names(&line), ["c", "a", "embedded"]);
    }
}
