//! The state of one FailoverPolicy: its policy chain, and whether its newest version is active, being proven
//! or refused. It outlives the resource, for the groups that still name it. Must not load or prove a
//! component.

use super::asking::{Asking, wrong_topology};
use super::shadow_stats::ShadowStats;
use crate::kubernetes::crd::{ActivePolicy, CandidatePolicy, Condition, FailoverPolicyStatus, RefusedPolicy};
use crate::kubernetes::policies::{condition, now};
use crate::kubernetes::status::Problem;
use crate::kubernetes::watch::Key;
use crate::policy::{Policy, PolicyChain, Quarantined};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The state of one FailoverPolicy.
pub struct PolicySlot {
    /// Namespace and name of the FailoverPolicy.
    pub key: Key,
    /// The policy chain of the groups that name it. The default policies are in it from the beginning.
    pub chain: Arc<PolicyChain>,
    /// The policy chain of the groups that have it as shadow: its faults as a shadow must not quarantine it
    /// where it decides.
    shadow: PolicyChain,
    /// The counts of its answers as a shadow.
    pub shadow_stats: ShadowStats,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    exists: bool,
    active: Option<ActivePolicy>,
    /// The parameters of the active version.
    parameters: Map<String, Value>,
    candidate: Option<CandidatePolicy>,
    refused: Option<RefusedPolicy>,
}

/// Why a version of a policy was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SHA-256 of the component file. None: the file could not be fetched.
    pub digest: Option<String>,
    /// One word, as in the status.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl PolicySlot {
    /// For a FailoverPolicy that was not seen yet. `chain` makes a new policy chain of the default policies.
    pub fn new(key: Key, chain: impl Fn() -> PolicyChain) -> Self {
        let shadow_stats = ShadowStats::new(key.1.clone());
        Self { key, chain: Arc::new(chain()), shadow: chain(), shadow_stats, state: Mutex::default() }
    }

    /// The resource exists.
    pub fn created(&self) {
        self.state().exists = true;
    }

    /// The resource was deleted.
    pub fn deleted(&self) {
        self.state().exists = false;
    }

    /// Records that a fetched version is to be proven. False: the same digest was refused before.
    pub fn propose(&self, digest: &str) -> bool {
        let mut state = self.state();
        // A version that was refused for its digest alone was never proven.
        let was_refused = |refused: &RefusedPolicy| {
            refused.digest.as_deref() == Some(digest) && refused.reason != DIGEST_MISMATCH
        };
        if state.refused.as_ref().is_some_and(was_refused) {
            state.candidate = None;
            return false;
        }
        if state.active.as_ref().is_none_or(|active| active.digest != digest) {
            state.candidate = Some(CandidatePolicy { digest: digest.into(), since: now() });
        }
        true
    }

    /// Makes a proven version the live policy of the chain. `published`: the active version in the resource's
    /// status. True: the digest or the parameters changed.
    ///
    /// # Errors
    /// [`Quarantined`]; the slot is unchanged.
    pub fn activate(
        &self,
        policy: Arc<dyn Policy>,
        parameters: Map<String, Value>,
        published: Option<&ActivePolicy>,
    ) -> Result<bool, Quarantined> {
        let (title, digest) = (policy.title().to_owned(), policy.digest().to_owned());
        self.chain.swap(Arc::clone(&policy))?;
        // A policy in quarantine as a shadow stays there: it is not asked.
        drop(self.shadow.swap(policy));
        let mut state = self.state();
        (state.candidate, state.refused) = (None, None);
        let is_new = state.active.as_ref().is_none_or(|active| active.digest != digest);
        let has_changed = is_new || state.parameters != parameters;
        if is_new {
            // A restart of the operator does not change `since`.
            let since = published
                .filter(|active| active.digest == digest)
                .map_or_else(now, |active| active.since.clone());
            state.active = Some(ActivePolicy { title, digest, since });
        }
        state.parameters = parameters;
        Ok(has_changed)
    }

    /// Sets the parameters of the active version, unless another version is being proven or was refused.
    /// True: they changed.
    pub fn set_parameters(&self, parameters: &Map<String, Value>) -> bool {
        let mut state = self.state();
        let is_settled = state.active.is_some() && state.candidate.is_none() && state.refused.is_none();
        is_settled && std::mem::replace(&mut state.parameters, parameters.clone()) != *parameters
    }

    /// Records a refusal. True: it differs from the last one.
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

    /// The parameters of the active version.
    pub fn parameters(&self) -> Map<String, Value> {
        self.state().parameters.clone()
    }

    /// Why another policy decides for the groups that name this one. None: this policy decides, or is being
    /// proven.
    pub fn problem(&self) -> Option<Problem> {
        let state = self.state();
        let name = &self.key.1;
        let deciding = self.deciding();
        let (reason, why) = match (&state.active, &state.refused) {
            (Some(_), _) if !state.exists => (
                "PolicyGone",
                format!(
                    "FailoverPolicy {name} was deleted, and its last version {deciding} decides until the \
                     operator restarts"
                ),
            ),
            (None, _) if !state.exists => (
                "PolicyNotFound",
                format!(
                    "FailoverPolicy {name} does not exist, and the default policy {deciding} decides: create \
                     it, or change spec.policy.name"
                ),
            ),
            (None, Some(refused)) => (
                "PolicyRefused",
                format!(
                    "FailoverPolicy {name} was refused, and the default policy {deciding} decides: {}",
                    refused.message
                ),
            ),
            // It is being proven, which is no problem.
            (None, None) => return None,
            (Some(active), _) if self.is_quarantined(active) => (
                "PolicyQuarantined",
                format!(
                    "FailoverPolicy {name} is in quarantine, and {deciding} decides: deploy a fixed \
                     version, or change spec.policy.name"
                ),
            ),
            (Some(_), _) => return None,
        };
        Some(Problem { reason, message: why })
    }

    /// The same for a group of that topology, for which this policy may not decide.
    pub fn problem_of(&self, group: &Asking<'_>) -> Option<Problem> {
        self.problem().or_else(|| {
            let active = self.state().active.clone()?;
            let live = self.chain.live();
            let is_passed_over = live.digest() == active.digest && !live.serves(group.topology);
            is_passed_over
                .then(|| wrong_topology(&format!("FailoverPolicy {}", self.key.1), &self.chain, group))
        })
    }

    /// The policy to ask as a shadow. None: no version is proven, or the policy is in quarantine as a shadow.
    pub fn candidate(&self) -> Option<Arc<dyn Policy>> {
        let digest = self.state().active.as_ref()?.digest.clone();
        self.shadow.policies().into_iter().next().filter(|first| first.digest() == digest)
    }

    /// Counts a fault of the policy as a shadow.
    pub fn shadow_fault(&self, now: std::time::Duration, digest: &str, fault: &crate::policy::PolicyFault) {
        self.shadow.fault(now, digest, fault);
    }

    /// The status of the FailoverPolicy. `before`: its conditions until now.
    pub fn status(&self, before: &[Condition], generation: Option<i64>) -> FailoverPolicyStatus {
        let state = self.state();
        let deciding = self.deciding();
        let ready = match (&state.active, &state.candidate, &state.refused) {
            (_, _, Some(refused)) => {
                (false, refused.reason.as_str(), format!("{deciding} decides: {}", refused.message))
            }
            (_, Some(candidate), None) => {
                (false, "Proving", format!("{deciding} decides until {:.12} is proven", candidate.digest))
            }
            (Some(active), None, None) if self.is_quarantined(active) => {
                (false, "Quarantined", format!("{} is in quarantine, and {deciding} decides", active.title))
            }
            (Some(active), None, None) => {
                (true, "Proven", format!("{} decides for the groups that name it", active.title))
            }
            (None, None, None) => {
                (false, "Loading", format!("{deciding} decides until the policy is fetched"))
            }
        };
        let refused = match &state.refused {
            Some(refused) => (true, refused.reason.as_str(), refused.message.clone()),
            None => (false, "NotRefused", "no version was refused".to_owned()),
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

    /// The title of the policy that decides for the groups that name this one.
    fn deciding(&self) -> String {
        self.chain.policies().first().map(|policy| policy.title().to_owned()).unwrap_or_default()
    }

    fn is_quarantined(&self, active: &ActivePolicy) -> bool {
        self.chain.is_quarantined(&active.digest)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fetched file has another digest than `spec.sha256`.
pub const DIGEST_MISMATCH: &str = "DigestMismatch";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Decision, Observation, Topology, Want};
    use crate::policy::{Component, EMBEDDED, FallbackPolicy, Loaded, PolicyFault, Sandbox, embedded};
    use std::time::Duration;

    /// A slot with the embedded policy as fallback, and another version of it to activate.
    fn slot() -> (PolicySlot, Arc<dyn Policy>) {
        let sandbox = Arc::new(Sandbox::new(None).unwrap());
        let own = Arc::new(Loaded::Embedded(embedded(&sandbox).unwrap()));
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
    fn a_missing_resource_is_a_problem_and_the_fallback_decides() {
        let (slot, _) = slot();
        assert_eq!((reason(&slot), slot.chain.policies().len()), (Some("PolicyNotFound"), 1));
        slot.created();
        assert_eq!((reason(&slot), ready(&slot)), (None, (false, "Loading".into())));
        assert!(slot.candidate().is_none());
    }

    #[test]
    fn a_proven_version_still_decides_after_a_later_one_is_refused_or_the_resource_is_deleted() {
        let (slot, other) = slot();
        slot.created();
        assert!(slot.propose(other.digest()));
        assert_eq!(ready(&slot), (false, "Proving".into()));
        assert!(slot.activate(Arc::clone(&other), Map::new(), None).unwrap());
        assert_eq!((reason(&slot), ready(&slot)), (None, (true, "Proven".into())));
        assert_eq!(slot.candidate().unwrap().digest(), other.digest());
        assert!(slot.propose("bad") && slot.refuse(refusal("bad")) && !slot.refuse(refusal("bad")));
        assert!(!slot.propose("bad"), "the same bytes are not proven twice");
        let status = slot.status(&[], Some(2));
        assert_eq!(
            (status.active.unwrap().digest.as_str(), status.refused.unwrap().digest.unwrap().as_str()),
            (other.digest(), "bad")
        );
        assert_eq!(
            (ready(&slot), slot.chain.policies()[0].digest(), reason(&slot)),
            ((false, "Unproven".into()), other.digest(), None)
        );
        slot.deleted();
        assert_eq!((reason(&slot), slot.chain.policies()[0].digest()), (Some("PolicyGone"), other.digest()));
    }

    #[test]
    fn a_policy_that_does_not_know_the_topology_is_a_problem_of_the_group_and_another_one_decides() {
        let (slot, _) = slot();
        slot.created();
        slot.activate(Arc::new(Replicating), Map::new(), None).unwrap();
        let of = |topology| slot.problem_of(&Asking { topology, resource: "RedisFailover cart" });
        assert_eq!(of(Topology::Replication), None);
        let Problem { reason, message } = of(Topology::Sentinel).unwrap();
        assert_eq!(reason, "PolicyWrongTopology");
        for part in
            ["FailoverPolicy mine", "replicating 1", "RedisFailover cart", "topology sentinel", "Served"]
        {
            assert!(message.contains(part), "{message}");
        }
        assert!(message.contains(&format!("default policy {} decides", slot.chain.policies()[1].title())));
        slot.deleted();
        assert_eq!(of(Topology::Sentinel).map(|problem| problem.reason), Some("PolicyGone"));
    }

    /// Decides for plain replication alone.
    struct Replicating;

    impl Policy for Replicating {
        fn title(&self) -> &str {
            "replicating 1"
        }

        fn digest(&self) -> &str {
            "replicating"
        }

        fn serves(&self, topology: Topology) -> bool {
            topology == Topology::Replication
        }

        fn wants(&self, _: Topology) -> Vec<Want> {
            Vec::new()
        }

        fn decide(&self, _: &Observation) -> Result<Decision, PolicyFault> {
            Err(PolicyFault::Trap("it is not asked".into()))
        }
    }

    #[test]
    fn faults_as_a_shadow_quarantine_only_the_shadow() {
        let (slot, other) = slot();
        slot.created();
        slot.activate(Arc::clone(&other), Map::new(), None).unwrap();
        (0..3).for_each(|at| {
            slot.shadow_fault(
                Duration::from_secs(at),
                other.digest(),
                &PolicyFault::Trap("unreachable".into()),
            )
        });
        assert!(slot.candidate().is_none());
        assert_eq!((reason(&slot), slot.chain.policies()[0].digest()), (None, other.digest()));
    }

    #[test]
    fn a_policy_in_quarantine_is_a_problem_and_the_fallback_decides() {
        let (slot, other) = slot();
        slot.created();
        slot.activate(Arc::clone(&other), Map::new(), None).unwrap();
        for at in 0..3 {
            slot.chain.fault(
                Duration::from_secs(at),
                other.digest(),
                &PolicyFault::Trap("unreachable".into()),
            );
        }
        assert_eq!((reason(&slot), ready(&slot)), (Some("PolicyQuarantined"), (false, "Quarantined".into())));
        assert!(slot.activate(other, Map::new(), None).is_err());
    }
}
