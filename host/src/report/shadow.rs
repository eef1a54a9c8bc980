//! How a policy answers beside the one that decides: compared, counted, and logged with both answers whenever
//! the difference is another one than before.

use super::metrics::GroupMetrics;
use super::words::{self, short};
use super::{GroupNames, Metrics};
use crate::contract::{Action, Decision, Verdict};
use crate::policy::PolicyFault;
use std::sync::Arc;

/// What came of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShadowOutcome {
    /// It said the same.
    Agreed,
    /// It said something else: both answers in one sentence.
    Differed(String),
    /// It gave no usable answer.
    Fault,
    /// It was not asked: there was too much to ask at once.
    Dropped,
}

/// Tells of the shadow of one group.
pub struct ShadowReporter {
    names: GroupNames,
    policy: String,
    metrics: GroupMetrics,
    /// What was told last.
    told: Option<String>,
}

impl ShadowReporter {
    /// Of a shadow that was asked nothing yet. `policy` is what the resource is called that it comes from.
    pub fn new(names: GroupNames, policy: String, metrics: Arc<Metrics>) -> Self {
        Self { metrics: GroupMetrics::new(names.clone(), metrics), names, policy, told: None }
    }

    /// Takes an answer beside the decision that counts.
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
        if self.told.as_ref() != Some(&news) {
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
                        "shadow differs"
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
            self.told = Some(news);
        }
        outcome
    }

    /// There was no room for the question.
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

/// What would be done: the verdict, why, who is master, and the first stage, since nobody carries out the
/// later ones unseen.
fn compared(decision: &Decision, answer: &Decision) -> ShadowOutcome {
    if gist(decision) == gist(answer) {
        return ShadowOutcome::Agreed;
    }
    ShadowOutcome::Differed(format!("{}; the shadow: {}", sentence(decision), sentence(answer)))
}

fn gist(decision: &Decision) -> (Verdict, &str, Vec<&str>, Option<&[Action]>) {
    (
        decision.verdict,
        &decision.reason,
        decision.masters().collect(),
        decision.stages.first().map(|stage| stage.actions.as_slice()),
    )
}

/// Without anything that changes from one look to the next.
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
    fn the_same_is_agreement_whatever_the_words() {
        let (mut reporter, metrics) = reporter();
        let healthy = decision(decided(Verdict::Healthy, "healthy", "cart-0", vec![]));
        let other = Decision { explanation: "all is well".into(), next_look_us: 7, ..healthy.clone() };
        assert_eq!(reporter.answered(&healthy, "d", &Ok(other)), ShadowOutcome::Agreed);
        let line = r#"redis_operator_shadow_decisions_total{namespace="shop",name="cart",policy="mine",outcome="agree"} 1"#;
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }

    #[test]
    fn a_difference_is_told_with_both_answers() {
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
