//! Adoption in place: a resource whose objects another operator made is taken over without a restart.
//! [`plan`] decides from facts alone; [`Adoption::settle`] carries its step out.
//!
//! 1. Refused while another operator lives: two would fight over every object and every master.
//! 2. Observed for a while: the resource gets an annotation, by which its objects and Pods count as its own,
//!    and nothing of them is changed. Its status shows what would be done.
//! 3. Adopted: the annotation gets the digest of what Pods are made from. Objects are changed, and templates
//!    are left as they are until that digest is another.
//! 4. Should another operator come back, it is observed again, from the second step on: nothing is done while
//!    that one lives.
//!
//! The annotation is the whole memory: an operator that is killed in between goes on from there.

use super::super::Context;
use super::snapshot::Snapshot;
use super::step::StepResult;
use crate::kubernetes::events;
use crate::kubernetes::kinds::{ADOPTED_ANNOTATION, AdoptionState, OBSERVING};
use crate::kubernetes::status::Problem;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;
use std::time::{Duration, Instant};

/// Since when the resource is observed here with nothing in the way.
#[derive(Default)]
pub struct Adoption {
    since: Option<Instant>,
}

/// What a plan rests on.
#[derive(Clone, Debug)]
pub struct AdoptionView {
    pub state: AdoptionState,
    /// Objects of this resource that another operator made, and this one may not touch: "Kind name".
    pub foreign: Vec<String>,
    pub is_paused: bool,
    /// Another operator that lives, or why that is not known.
    pub other: Result<Option<String>, String>,
    /// For how long it has been observed with nothing in the way.
    pub observed: Duration,
    /// For how long it should be.
    pub to_observe: Duration,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdoptionStep {
    /// There is nothing to adopt.
    Nothing,
    /// A user has to act first.
    Refuse(Problem),
    Observe,
    Wait,
    Adopt,
    /// Another operator came back.
    StandBack,
}

/// Plans the next step.
pub fn plan(view: &AdoptionView) -> AdoptionStep {
    let is_due = match view.state {
        AdoptionState::No => !view.foreign.is_empty() && !view.is_paused,
        AdoptionState::Observing => !view.is_paused,
        AdoptionState::Adopted { .. } => !view.is_paused && matches!(view.other, Ok(Some(_))),
    };
    if !is_due {
        return AdoptionStep::Nothing;
    }
    if matches!(view.state, AdoptionState::Adopted { .. }) {
        return AdoptionStep::StandBack;
    }
    let refuse = |reason, message| AdoptionStep::Refuse(Problem { reason, message });
    match &view.other {
        Ok(Some(other)) => return refuse(OTHER_OPERATOR, format!("nothing is adopted: {other}")),
        Err(why) => {
            let message = format!(
                "whether another operator looks after this resource is not known, so nothing is adopted: {why}; \
                 grant that right, or, once no other operator runs, hand over each of {} (kubectl annotate \
                 KIND NAME k8s.amaiz.com/operated=true)",
                view.foreign.join(", ")
            );
            return refuse("OtherOperatorUnknown", message);
        }
        Ok(None) => {}
    }
    match view.state {
        AdoptionState::No => AdoptionStep::Observe,
        AdoptionState::Observing if view.observed >= view.to_observe => AdoptionStep::Adopt,
        AdoptionState::Observing | AdoptionState::Adopted { .. } => AdoptionStep::Wait,
    }
}

impl Adoption {
    /// One step further. None: nothing stands in the way of the resource's objects.
    pub async fn settle(&mut self, context: &Context, snapshot: &Snapshot) -> Option<StepResult> {
        let settings = snapshot.resource.settings.adoption.as_ref()?;
        let unmarked = snapshot.seen.iter().filter(|(_, seen)| seen.may_be_of_others && seen.mark.is_none());
        let foreign = snapshot.foreign.keys().chain(unmarked.map(|(key, _)| key));
        let foreign = foreign.map(|(kind, name)| format!("{kind} {name}")).collect();
        let mut view = AdoptionView {
            state: settings.state,
            foreign,
            is_paused: snapshot.resource.settings.group.paused,
            other: Ok(None),
            observed: self.since.map_or(Duration::ZERO, |since| since.elapsed()),
            to_observe: Duration::from_secs(u64::from(settings.observe_s)),
        };
        let may_be_due = plan(&view) != AdoptionStep::Nothing || looks_again(snapshot).is_some();
        if !may_be_due {
            self.since = None;
            return None;
        }
        view.other = context.others.living(&context.client).await;
        let (word, reason, text) = match plan(&view) {
            AdoptionStep::Nothing => {
                self.since = None;
                return None;
            }
            AdoptionStep::Wait => {
                self.since.get_or_insert_with(Instant::now);
                return Some(StepResult::again());
            }
            AdoptionStep::Refuse(problem) => {
                self.since = None;
                return Some(StepResult::blocked(problem));
            }
            AdoptionStep::Observe => {
                let text = format!(
                    "objects of another operator are observed for {} s before they are adopted: {}",
                    settings.observe_s,
                    view.foreign.join(", ")
                );
                (OBSERVING.to_owned(), "AdoptionObserves", text)
            }
            AdoptionStep::StandBack => {
                let text =
                    "another operator of this resource lives again: nothing is done until it ends".to_owned();
                (OBSERVING.to_owned(), "AdoptionStandsBack", text)
            }
            AdoptionStep::Adopt => {
                let text =
                    "the objects that another operator made are adopted; no Pod is replaced".to_owned();
                (settings.digest.clone(), "Adopted", text)
            }
        };
        let noted = note(context, snapshot, &word).await;
        Some(match noted {
            Ok(()) => {
                context.events.emit(snapshot.resource.object_ref(), events::of_adoption(reason, &text));
                StepResult::again()
            }
            Err(error) => StepResult::failed("AdoptionRefused", "note the adoption at the resource", &error),
        })
    }
}

/// When to look for other operators again, though nothing has changed: one may come back to what was adopted.
pub fn looks_again(snapshot: &Snapshot) -> Option<Duration> {
    let state = snapshot.resource.settings.adoption.as_ref()?.state;
    let is_adopted = matches!(state, AdoptionState::Adopted { .. });
    (is_adopted && !snapshot.resource.settings.group.paused).then_some(LOOK_EVERY)
}

/// Writes the annotation of the very resource that was observed.
async fn note(context: &Context, snapshot: &Snapshot, word: &str) -> Result<(), kube::Error> {
    let resource = &snapshot.resource;
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &snapshot.namespace(), &resource.api);
    let patch = json!({ "metadata": { "uid": resource.uid(), "annotations": { ADOPTED_ANNOTATION: word } } });
    api.patch_metadata(&resource.name(), &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

/// A Lease is renewed as often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The reason of the problem that another operator lives.
const OTHER_OPERATOR: &str = "OtherOperator";

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: AdoptionState) -> AdoptionView {
        let foreign = vec!["StatefulSet rfr-cart".to_owned()];
        let (observed, to_observe) = (Duration::from_secs(3), Duration::from_secs(10));
        AdoptionView { state, foreign, is_paused: false, other: Ok(None), observed, to_observe }
    }

    #[test]
    fn what_another_operator_made_is_observed_first_and_adopted_when_no_other_lives() {
        let adopted = AdoptionState::Adopted { leaves_templates: true };
        let with = |state, change: fn(&mut AdoptionView)| {
            let mut view = view(state);
            change(&mut view);
            plan(&view)
        };
        for (fact, step, expected) in [
            ("all is ours", with(AdoptionState::No, |view| view.foreign.clear()), AdoptionStep::Nothing),
            ("another's", with(AdoptionState::No, |_| ()), AdoptionStep::Observe),
            (
                "the same, paused",
                with(AdoptionState::No, |view| view.is_paused = true),
                AdoptionStep::Nothing,
            ),
            ("not long enough", with(AdoptionState::Observing, |_| ()), AdoptionStep::Wait),
            (
                "paused while it is observed",
                with(AdoptionState::Observing, |view| view.is_paused = true),
                AdoptionStep::Nothing,
            ),
            (
                "long enough",
                with(AdoptionState::Observing, |view| view.observed = Duration::from_secs(10)),
                AdoptionStep::Adopt,
            ),
            ("done", with(adopted, |view| view.foreign.clear()), AdoptionStep::Nothing),
            (
                "another operator came back",
                with(adopted, |view| view.other = Ok(Some("Lease ops/old".into()))),
                AdoptionStep::StandBack,
            ),
            (
                "the same, paused for it",
                with(adopted, |view| (view.other, view.is_paused) = (Ok(Some("Lease ops/old".into())), true)),
                AdoptionStep::Nothing,
            ),
            (
                "whether one came back is not known",
                with(adopted, |view| view.other = Err("forbidden".into())),
                AdoptionStep::Nothing,
            ),
        ] {
            assert_eq!(step, expected, "{fact}");
        }
    }

    #[test]
    fn nothing_is_observed_or_adopted_while_another_operator_lives_or_may() {
        for state in [AdoptionState::No, AdoptionState::Observing] {
            let reason = |other| match plan(&AdoptionView { other, observed: Duration::MAX, ..view(state) }) {
                AdoptionStep::Refuse(problem) => (problem.reason, problem.message),
                other => panic!("{other:?}"),
            };
            let (is, message) = reason(Ok(Some("Deployment ops/old runs x".into())));
            assert!(is == OTHER_OPERATOR && message.contains("Deployment ops/old runs x"), "{message}");
            let (is, message) = reason(Err("list leases of all namespaces: forbidden".into()));
            assert!(is == "OtherOperatorUnknown" && message.contains("StatefulSet rfr-cart"), "{message}");
        }
    }
}
