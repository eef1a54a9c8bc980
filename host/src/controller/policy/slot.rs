//! The place of one FailoverPolicy in the book: who decides for those that name it, and what has become of
//! its newest version. It outlives the resource, for those that still name it.

use super::shadow_stats::ShadowStats;
use crate::kubernetes::crd::{ActivePolicy, CandidatePolicy, Condition, FailoverPolicyStatus, RefusedPolicy};
use crate::kubernetes::policies::{condition, now};
use crate::kubernetes::status::Problem;
use crate::kubernetes::watch::Key;
use crate::policy::{Component, Policy, PolicyChain, Quarantined};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The place.
pub struct PolicySlot {
    /// Whose it is.
    pub key: Key,
    /// Of those who name it. Who stands in is in it from the beginning.
    pub line: Arc<PolicyChain>,
    /// Of those who have it asked beside another: its faults there must not touch those for whom it decides.
    shadow: PolicyChain,
    /// How it answered there.
    pub shadow_stats: ShadowStats,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_there: bool,
    active: Option<ActivePolicy>,
    /// Those that the active one is asked with.
    parameters: Map<String, Value>,
    candidate: Option<CandidatePolicy>,
    refused: Option<RefusedPolicy>,
}

/// Why a version of a policy does not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SHA-256 of its file. None: there is none.
    pub digest: Option<String>,
    /// One word.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl PolicySlot {
    /// Of a policy that nobody has seen yet.
    pub fn new(key: Key, line: impl Fn() -> PolicyChain) -> Self {
        let shadow_stats = ShadowStats::new(key.1.clone());
        Self { key, line: Arc::new(line()), shadow: line(), shadow_stats, state: Mutex::default() }
    }

    /// The resource is there.
    pub fn found(&self) {
        self.state().is_there = true;
    }

    /// The resource is not there any more.
    pub fn lost(&self) {
        self.state().is_there = false;
    }

    /// A version is being looked at. False: it was refused before, and is the same still.
    pub fn fetched(&self, digest: &str) -> bool {
        let mut state = self.state();
        // One of another digest than was asked for was not looked at.
        let was_refused = |refused: &RefusedPolicy| {
            refused.digest.as_deref() == Some(digest) && refused.reason != DIGEST_MISMATCH
        };
        if state.refused.as_ref().is_some_and(was_refused) {
            return false;
        }
        if state.active.as_ref().is_none_or(|active| active.digest != digest) {
            state.candidate = Some(CandidatePolicy { digest: digest.into(), since: now() });
        }
        true
    }

    /// A version is proven: it decides from now on. True: another one did before.
    ///
    /// # Errors
    /// [`Quarantined`]; nothing has changed.
    pub fn activate(
        &self,
        policy: Arc<Component>,
        parameters: Map<String, Value>,
        known: Option<&ActivePolicy>,
    ) -> Result<bool, Quarantined> {
        let (title, digest) = (policy.title().to_owned(), policy.digest().to_owned());
        self.line.swap(Arc::clone(&policy) as Arc<dyn Policy>)?;
        // In quarantine there, it goes on to be asked by nobody.
        drop(self.shadow.swap(policy));
        let mut state = self.state();
        (state.candidate, state.refused) = (None, None);
        let is_new = state.active.as_ref().is_none_or(|active| active.digest != digest);
        let is_other = is_new || state.parameters != parameters;
        if is_new {
            // A restart of the operator is no change.
            let since =
                known.filter(|known| known.digest == digest).map_or_else(now, |known| known.since.clone());
            state.active = Some(ActivePolicy { title, digest, since });
        }
        state.parameters = parameters;
        Ok(is_other)
    }

    /// Other parameters for who decides. True: they are other ones, and what the resource wants does decide.
    pub fn live_config(&self, parameters: &Map<String, Value>) -> bool {
        let mut state = self.state();
        let is_settled = state.active.is_some() && state.candidate.is_none() && state.refused.is_none();
        is_settled && std::mem::replace(&mut state.parameters, parameters.clone()) != *parameters
    }

    /// A version is none, or there is none. True: it is news.
    pub fn refuse(&self, Refusal { digest, reason, message }: Refusal) -> bool {
        let mut state = self.state();
        state.candidate = None;
        let is_known = |known: &RefusedPolicy| {
            (&known.digest, known.reason.as_str(), &known.message) == (&digest, reason, &message)
        };
        if state.refused.as_ref().is_some_and(is_known) {
            return false;
        }
        state.refused = Some(RefusedPolicy { digest, reason: reason.into(), message, at: now() });
        true
    }

    /// The parameters that come with who decides.
    pub fn parameters(&self) -> Map<String, Value> {
        self.state().parameters.clone()
    }

    /// Why not this policy decides for those who name it.
    pub fn problem(&self) -> Option<Problem> {
        let state = self.state();
        let name = &self.key.1;
        let who = self.line.line().first().map(|policy| policy.title().to_owned()).unwrap_or_default();
        let (reason, why) = match (&state.active, &state.refused) {
            (Some(_), _) if !state.is_there => (
                "PolicyGone",
                format!(
                    "FailoverPolicy {name} is gone, and its last version {who} goes on until the operator \
                     restarts"
                ),
            ),
            (None, _) if !state.is_there => (
                "PolicyNotFound",
                format!(
                    "FailoverPolicy {name} is not there, and the operator's own {who} decides: create it, \
                     or change spec.policy.name"
                ),
            ),
            (None, Some(refused)) => (
                "PolicyRefused",
                format!(
                    "FailoverPolicy {name} is refused, and the operator's own {who} decides: {}",
                    refused.message
                ),
            ),
            // It is being proven: a moment.
            (None, None) => return None,
            (Some(active), _) if self.is_out(active) => (
                "PolicyQuarantined",
                format!(
                    "FailoverPolicy {name} failed too often, and {who} decides: mend it, or change \
                     spec.policy.name"
                ),
            ),
            (Some(_), _) => return None,
        };
        Some(Problem { reason, message: why })
    }

    /// Who is to be asked beside another. None: nobody was proven, or it has failed too often.
    pub fn candidate(&self) -> Option<Arc<dyn Policy>> {
        let digest = self.state().active.as_ref()?.digest.clone();
        self.shadow.line().into_iter().next().filter(|first| first.digest() == digest)
    }

    /// Notes a fault of the one that was asked beside another.
    pub fn shadow_fault(&self, now: std::time::Duration, digest: &str, fault: &crate::policy::PolicyFault) {
        self.shadow.fault(now, digest, fault);
    }

    /// Everything as its status has it.
    pub fn status(&self, before: &[Condition], generation: Option<i64>) -> FailoverPolicyStatus {
        let state = self.state();
        let who = self.line.line().first().map(|policy| policy.title().to_owned()).unwrap_or_default();
        let ready = match (&state.active, &state.candidate, &state.refused) {
            (_, _, Some(refused)) => {
                (false, refused.reason.as_str(), format!("{who} goes on: {}", refused.message))
            }
            (_, Some(candidate), None) => {
                (false, "Proving", format!("{who} goes on until {:.12} is proven", candidate.digest))
            }
            (Some(active), None, None) if self.is_out(active) => {
                (false, "Quarantined", format!("{} failed too often, and {who} decides", active.title))
            }
            (Some(active), None, None) => {
                (true, "Proven", format!("{} decides for those who name it", active.title))
            }
            (None, None, None) => (false, "Loading", format!("{who} decides until the policy is there")),
        };
        let refused = match &state.refused {
            Some(refused) => (true, refused.reason.as_str(), refused.message.clone()),
            None => (false, "NotRefused", "no version is refused".to_owned()),
        };
        FailoverPolicyStatus {
            observed_generation: generation,
            conditions: vec![
                condition(before, "Ready", ready, generation),
                condition(before, "Refused", refused, generation),
            ],
            active: state.active.clone(),
            candidate: state.candidate.clone(),
            refused: state.refused.clone(),
            shadow: self.shadow_stats.shown(),
        }
    }

    fn is_out(&self, active: &ActivePolicy) -> bool {
        self.line.line().first().is_none_or(|first| first.digest() != active.digest)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file is another one than the resource names.
pub const DIGEST_MISMATCH: &str = "DigestMismatch";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{EMBEDDED, FallbackPolicy, PolicyFault, Sandbox, embedded};
    use std::time::Duration;

    /// A slot with the embedded policy to stand in, and another version of it that could decide.
    fn slot() -> (PolicySlot, Arc<Component>) {
        let sandbox = Arc::new(Sandbox::new(None).unwrap());
        let own = Arc::new(embedded(&sandbox).unwrap());
        // An empty custom section: another file, the same policy.
        let other = Component::load(&sandbox, &[EMBEDDED, &[0, 2, 1, b'x']].concat()).unwrap();
        (
            PolicySlot::new(("shop".into(), "mine".into()), || {
                PolicyChain::new(Arc::new(FallbackPolicy::new(Arc::clone(&own))))
            }),
            Arc::new(other),
        )
    }

    fn refusal(digest: &str) -> Refusal {
        Refusal { digest: Some(digest.into()), reason: "Unproven", message: "no".into() }
    }

    fn ready(slot: &PolicySlot) -> (bool, String) {
        let status = slot.status(&[], Some(1));
        (status.conditions[0].status == "True", status.conditions[0].reason.clone())
    }

    fn reason(slot: &PolicySlot) -> Option<&'static str> {
        slot.problem().map(|problem| problem.reason)
    }

    #[test]
    fn who_names_what_is_not_there_is_told_and_somebody_decides() {
        let (slot, _) = slot();
        assert_eq!((reason(&slot), slot.line.line().len()), (Some("PolicyNotFound"), 1));
        slot.found();
        assert_eq!((reason(&slot), ready(&slot)), (None, (false, "Loading".into())));
        assert!(slot.candidate().is_none());
    }

    #[test]
    fn a_proven_version_decides_and_goes_on_when_a_later_one_is_refused_or_all_is_gone() {
        let (slot, other) = slot();
        slot.found();
        assert!(slot.fetched(other.digest()));
        assert_eq!(ready(&slot), (false, "Proving".into()));
        assert!(slot.activate(Arc::clone(&other), Map::new(), None).unwrap());
        assert_eq!((reason(&slot), ready(&slot)), (None, (true, "Proven".into())));
        assert_eq!(slot.candidate().unwrap().digest(), other.digest());
        assert!(slot.fetched("bad") && slot.refuse(refusal("bad")) && !slot.refuse(refusal("bad")));
        assert!(!slot.fetched("bad"), "the same bytes are not proven twice");
        let status = slot.status(&[], Some(2));
        assert_eq!(
            (status.active.unwrap().digest.as_str(), status.refused.unwrap().digest.unwrap().as_str()),
            (other.digest(), "bad")
        );
        assert_eq!(
            (ready(&slot), slot.line.line()[0].digest(), reason(&slot)),
            ((false, "Unproven".into()), other.digest(), None)
        );
        slot.lost();
        assert_eq!((reason(&slot), slot.line.line()[0].digest()), (Some("PolicyGone"), other.digest()));
    }

    #[test]
    fn faults_beside_another_silence_the_shadow_and_not_the_one_that_decides() {
        let (slot, other) = slot();
        slot.found();
        slot.activate(Arc::clone(&other), Map::new(), None).unwrap();
        (0..3).for_each(|at| {
            slot.shadow_fault(
                Duration::from_secs(at),
                other.digest(),
                &PolicyFault::Trap("unreachable".into()),
            )
        });
        assert!(slot.candidate().is_none());
        assert_eq!((reason(&slot), slot.line.line()[0].digest()), (None, other.digest()));
    }

    #[test]
    fn one_that_fails_too_often_is_told_of_and_another_stands_in() {
        let (slot, other) = slot();
        slot.found();
        slot.activate(Arc::clone(&other), Map::new(), None).unwrap();
        for at in 0..3 {
            slot.line.fault(
                Duration::from_secs(at),
                other.digest(),
                &PolicyFault::Trap("unreachable".into()),
            );
        }
        assert_eq!((reason(&slot), ready(&slot)), (Some("PolicyQuarantined"), (false, "Quarantined".into())));
        assert!(slot.activate(other, Map::new(), None).is_err());
    }
}
