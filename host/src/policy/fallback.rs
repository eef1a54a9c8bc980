//! A policy that decides in place of another one. It gets only the parameters that it knows; the others were
//! meant for the other policy. With an unknown parameter it would refuse to decide, and a group would have no
//! policy while its own one is unavailable.

use super::{About, Loaded, Policy, PolicyFault};
use crate::contract::{Decision, Observation, Topology, Want};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The policy, and the names of its parameters.
pub struct FallbackPolicy {
    policy: Arc<Loaded>,
    known: BTreeSet<String>,
}

impl FallbackPolicy {
    /// The known parameters are those of its schema. A policy with an empty schema gets none.
    pub fn new(policy: Arc<Loaded>) -> Self {
        let About { description, .. } = policy.about();
        let schema: Value = serde_json::from_str(&description.parameters_schema).unwrap_or_default();
        let known = schema
            .get("properties")
            .and_then(Value::as_object)
            .map(|names| names.keys().cloned().collect())
            .unwrap_or_default();
        Self { policy, known }
    }
}

impl Policy for FallbackPolicy {
    fn title(&self) -> &str {
        self.policy.title()
    }

    fn digest(&self) -> &str {
        self.policy.digest()
    }

    fn serves(&self, topology: Topology) -> bool {
        self.policy.serves(topology)
    }

    fn wants(&self, topology: Topology) -> Vec<Want> {
        self.policy.wants(topology)
    }

    fn is_ready(&self) -> bool {
        self.policy.is_ready()
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        match only_known(&observation.parameters, &self.known) {
            None => self.policy.decide(observation),
            Some(parameters) => self.policy.decide(&Observation { parameters, ..observation.clone() }),
        }
    }
}

/// The parameters without the unknown ones. None: all are known.
fn only_known(parameters: &str, known: &BTreeSet<String>) -> Option<String> {
    let Ok(Value::Object(mut all)) = serde_json::from_str::<Value>(parameters) else { return None };
    let before = all.len();
    all.retain(|name, _| known.contains(name));
    (all.len() < before).then(|| Value::Object(all).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Verdict;
    use crate::policy::{Sandbox, embedded, healthy_group};

    #[test]
    fn unknown_parameters_are_left_out_and_known_ones_kept() {
        let known = BTreeSet::from(["order".to_owned()]);
        assert_eq!(
            only_known(r#"{"order":"data-first","mine":1}"#, &known).as_deref(),
            Some(r#"{"order":"data-first"}"#)
        );
        for unchanged in [r#"{"order":"data-first"}"#, "{}", "", "no json"] {
            assert_eq!(only_known(unchanged, &known), None);
        }
    }

    #[test]
    fn a_fallback_decides_in_spite_of_parameters_that_its_policy_refuses() {
        let sandbox = Arc::new(Sandbox::new(None).unwrap());
        let policy = Arc::new(Loaded::Embedded(embedded(&sandbox).unwrap()));
        let observation = Observation { parameters: r#"{"mine":1}"#.into(), ..healthy_group(3) };
        assert_eq!(policy.decide(&observation).unwrap().verdict, Verdict::Refuse);
        assert_eq!(FallbackPolicy::new(policy).decide(&observation).unwrap().verdict, Verdict::Healthy);
    }
}
