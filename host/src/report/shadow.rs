//! The answers of a shadow policy: compared with the live policy's, counted, and logged with both answers
//! whenever the difference is a new one.

use super::metrics::GroupMetrics;
use super::words::{self, short};
use super::{GroupNames, Metrics};
use crate::contract::{Action, Decision, Verdict};
use crate::policy::PolicyFault;
use std::sync::Arc;

/// Result of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShadowOutcome {
    /// The same answer.
    Agreed,
    /// Another answer: both in one sentence.
    Differed(String),
    /// No usable answer.
    Fault,
    /// Not asked: the queue was full.
    Dropped,
}

/// Reports on the shadow of one group.
pub struct ShadowReporter {
    names: GroupNames,
    policy: String,
    metrics: GroupMetrics,
    /// The difference or fault that was logged last.
    last: Option<String>,
}

impl ShadowReporter {
    /// For a shadow without answers so far. `policy` is the name of its FailoverPolicy.
    pub fn new(names: GroupNames, policy: String, metrics: Arc<Metrics>) -> Self {
        Self { metrics: GroupMetrics::new(names.clone(), metrics), names, policy, last: None }
    }

    /// Compares an answer with the live policy's decision.
    pub fn answered(
        &mut self,
        decision: &Decision,
        digest: &str,
        answer: &Result<Decision, PolicyFault>,
    ) -> ShadowOutcome {
        let outcome = match answer {
            Ok(answer) => compared(decision, answer),
            Err(_) => ShadowOutcome::Fault,
        };
        self.count(&outcome);
        let news = match (&outcome, answer) {
            (ShadowOutcome::Differed(how), _) => how.clone(),
            (_, Err(fault)) => fault.to_string(),
            (ShadowOutcome::Agreed | ShadowOutcome::Fault | ShadowOutcome::Dropped, Ok(_)) => return outcome,
        };
        if self.last.as_ref() != Some(&news) {
            let (namespace, name, policy) = (&self.names.namespace, &self.names.name, &self.policy);
            match answer {
                Ok(answer) => {
                    let (explanation, shadow_explanation) = (&decision.explanation, &answer.explanation);
                    tracing::info!(
                        namespace,
                        name,
                        policy,
                        digest = short(digest),
                        difference = news,
                        explanation,
                        shadow_explanation,
                        "shadow differed",
                    );
                }
                Err(fault) => {
                    tracing::warn!(
                        namespace,
                        name,
                        policy,
                        digest = short(digest),
                        kind = words::fault(fault),
                        error = news,
                        "shadow fault"
                    );
                }
            }
            self.last = Some(news);
        }
        outcome
    }

    /// The queue was full.
    pub fn dropped(&mut self) -> ShadowOutcome {
        self.count(&ShadowOutcome::Dropped);
        ShadowOutcome::Dropped
    }

    fn count(&self, outcome: &ShadowOutcome) {
        let word = match outcome {
            ShadowOutcome::Agreed => "agree",
            ShadowOutcome::Differed(_) => "differ",
            ShadowOutcome::Fault => "fault",
            ShadowOutcome::Dropped => "dropped",
        };
        self.metrics.shadow(&self.policy, word);
    }
}

/// Compares the effect: verdict, reason, masters and the first stage. Later stages are not carried out
/// without another decision.
fn compared(decision: &Decision, answer: &Decision) -> ShadowOutcome {
    if effect(decision) == effect(answer) {
        return ShadowOutcome::Agreed;
    }
    ShadowOutcome::Differed(format!("{}; the shadow: {}", sentence(decision), sentence(answer)))
}

fn effect(decision: &Decision) -> (Verdict, &str, Vec<&str>, Option<&[Action]>) {
    (
        decision.verdict,
        &decision.reason,
        decision.masters().collect(),
        decision.stages.first().map(|stage| stage.actions.as_slice()),
    )
}

/// Without numbers that change from one decision to the next.
fn sentence(decision: &Decision) -> String {
    let actions: Vec<String> =
        decision.stages.first().into_iter().flat_map(|stage| &stage.actions).map(action).collect();
    let master = decision.master().unwrap_or("none");
    let first = if actions.is_empty() { String::new() } else { format!(", first {}", actions.join(", ")) };
    format!("{} ({}), master {master}{first}", words::verdict(decision.verdict), decision.reason)
}

fn action(action: &Action) -> String {
    let (action, instance) = words::action(action);
    format!("{action} {instance}")
}

#[cfg(test)]
mod tests {
    use super::super::script::{act, decided, promote};
    use super::*;
    use crate::contract::{Evidence, Topology};
    use crate::group::Report;

    fn decision(report: Report) -> Decision {
        let Report::Decided(decided) = report else { unreachable!("the script decides") };
        decided.decision.as_ref().clone()
    }

    fn reporter() -> (ShadowReporter, Arc<Metrics>) {
        let names =
            GroupNames { namespace: "shop".into(), name: "cart".into(), topology: Topology::Replication };
        let metrics = Arc::new(Metrics::new("1.2.3"));
        (ShadowReporter::new(names, "mine".into(), Arc::clone(&metrics)), metrics)
    }

    #[test]
    fn equal_effects_agree_whatever_the_explanations() {
        let (mut reporter, metrics) = reporter();
        let healthy = decision(decided(Verdict::Healthy, "healthy", "cart-0", vec![]));
        let other = Decision { explanation: "all is well".into(), next_look_us: 7, ..healthy.clone() };
        assert_eq!(reporter.answered(&healthy, "d", &Ok(other)), ShadowOutcome::Agreed);
        let line = r#"redis_operator_shadow_decisions_total{namespace="shop",name="cart",policy="mine","#;
        let line = format!(r#"{line}outcome="agree"}} 1"#);
        assert!(metrics.text().contains(&line), "{}", metrics.text());
    }

    #[test]
    fn a_difference_is_reported_with_both_answers() {
        let (mut reporter, metrics) = reporter();
        let healthy = decision(decided(Verdict::Healthy, "healthy", "cart-0", vec![]));
        let plan = decision(act(vec![promote(Evidence::Dead)]));
        let ShadowOutcome::Differed(how) = reporter.answered(&healthy, "d", &Ok(plan)) else {
            unreachable!("they differ")
        };
        assert!(
            how.starts_with("healthy (healthy), master cart-0; the shadow: act (")
                && how.contains("first promote "),
            "{how}"
        );
        let fault = Err(PolicyFault::Trap("unreachable".into()));
        assert_eq!(reporter.answered(&healthy, "d", &fault), ShadowOutcome::Fault);
        assert_eq!(reporter.dropped(), ShadowOutcome::Dropped);
        for outcome in ["differ", "fault", "dropped"] {
            assert!(metrics.text().contains(&format!(r#"policy="mine",outcome="{outcome}"}} 1"#)));
        }
    }
}
