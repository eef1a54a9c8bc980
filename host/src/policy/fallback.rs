//! A policy that stands in for another one: asked with those parameters that it knows, since the others were
//! meant for that one. Asked with them, it would refuse to decide at all, and a group whose own policy is
//! away would be without any.

use super::{Component, Policy, PolicyFault};
use crate::contract::{Decision, Observation, Topology, Want};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The policy, and the names of its parameters.
pub struct FallbackPolicy {
    policy: Arc<Component>,
    known: BTreeSet<String>,
}

impl FallbackPolicy {
    /// Knows the parameters that its schema has. A policy whose schema names none gets none.
    pub fn new(policy: Arc<Component>) -> Self {
        let schema: Value = serde_json::from_str(&policy.description().parameters_schema).unwrap_or_default();
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

    fn wants(&self, topology: Topology) -> Vec<Want> {
        self.policy.wants(topology)
    }

    fn decide(&self, observation: &Observation) -> Result<Decision, PolicyFault> {
        match fitted(&observation.parameters, &self.known) {
            None => self.policy.decide(observation),
            Some(parameters) => self.policy.decide(&Observation { parameters, ..observation.clone() }),
        }
    }
}

/// The parameters without the unknown ones. None: there is none to leave out.
fn fitted(parameters: &str, known: &BTreeSet<String>) -> Option<String> {
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
    fn what_it_does_not_know_is_left_out_and_what_it_knows_is_kept() {
        let known = BTreeSet::from(["order".to_owned()]);
        assert_eq!(
            fitted(r#"{"order":"data-first","mine":1}"#, &known).as_deref(),
            Some(r#"{"order":"data-first"}"#)
        );
        for as_it_is in [r#"{"order":"data-first"}"#, "{}", "", "no json"] {
            assert_eq!(fitted(as_it_is, &known), None);
        }
    }

    #[test]
    fn a_policy_that_stands_in_decides_where_it_would_refuse_in_its_own_name() {
        let policy = Arc::new(embedded(&Arc::new(Sandbox::new(None).unwrap())).unwrap());
        let observation = Observation { parameters: r#"{"mine":1}"#.into(), ..healthy_group(3) };
        assert_eq!(policy.decide(&observation).unwrap().verdict, Verdict::Refuse);
        assert_eq!(FallbackPolicy::new(policy).decide(&observation).unwrap().verdict, Verdict::Healthy);
    }
}
