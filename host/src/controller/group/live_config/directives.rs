//! Directives of running instances, and the annotation by which a Pod remembers the names of those that it
//! was given: one that leaves the spec later needs a restart.

use super::super::snapshot::Snapshot;
use crate::controller::Context;
use crate::kubernetes::error::message;
use crate::redis::{Session, Set};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;

/// What an instance did with its directives.
#[derive(Debug, Default)]
pub struct Directed {
    /// Those that it refused, with its words.
    pub refused: Vec<String>,
    /// One is read at the start only.
    pub needs_a_start: bool,
}

/// Sets all directives at one instance. `has_file`: its next start has those that it cannot set now.
///
/// # Errors
/// The connection ended.
pub async fn set(
    session: &Session,
    directives: &BTreeMap<String, String>,
    has_file: bool,
) -> Result<Directed, String> {
    let mut directed = Directed::default();
    for (directive, value) in directives {
        match session.set(directive, value).await? {
            Set::Done => {}
            Set::AtStart if has_file => directed.needs_a_start = true,
            Set::AtStart => directed.refused.push(format!("{directive} {value}: read at the start only")),
            Set::Refused(error) => directed.refused.push(format!("{directive} {value}: {error}")),
        }
    }
    Ok(directed)
}

/// Notes the names of the user's directives on the Pod.
///
/// # Errors
/// The API server's words.
pub async fn note(context: &Context, snapshot: &Snapshot, pod: &Pod) -> Result<(), String> {
    let wanted = snapshot.resource.settings.directive_names.iter().map(String::as_str);
    let Some(names) = plan_note(noted(pod), wanted) else { return Ok(()) };
    let patch = json!({ "metadata": { "annotations": { NAMES_ANNOTATION: names } } });
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &snapshot.namespace());
    api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map(drop)
        .map_err(|error| message(&error))
}

/// The user's directives that a Pod has been given since it was made.
pub fn directive_names(pod: &Pod) -> Vec<&str> {
    noted(pod).split(' ').filter(|name| !name.is_empty()).collect()
}

fn noted(pod: &Pod) -> &str {
    pod.annotations().get(NAMES_ANNOTATION).map(String::as_str).unwrap_or_default()
}

/// What the annotation should become. None: it says so already. A name that was noted stays: until it starts
/// anew, the instance has that directive.
fn plan_note<'a>(noted: &'a str, wanted: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut names: Vec<&str> = noted.split(' ').filter(|name| !name.is_empty()).chain(wanted).collect();
    names.sort_unstable();
    names.dedup();
    let names = names.join(" ");
    (names != noted).then_some(names)
}

const NAMES_ANNOTATION: &str = "k8s.amaiz.com/directives";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_added_to_the_annotation_and_never_leave_it() {
        let rows = [
            ("nothing is wanted", "", vec![], None),
            ("the first ones", "", vec!["save", "hz"], Some("hz save")),
            ("noted already", "hz save", vec!["hz", "save"], None),
            ("one is new", "hz", vec!["save"], Some("hz save")),
            ("one left the spec", "hz save", vec!["save"], None),
        ];
        for (fact, noted, wanted, expected) in rows {
            assert_eq!(plan_note(noted, wanted.into_iter()).as_deref(), expected, "{fact}");
        }
    }
}
