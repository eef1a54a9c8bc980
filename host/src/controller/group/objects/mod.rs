//! The objects of a resource: applied when they should be otherwise, and when another client changed or
//! deleted them. [`observe`] looks for objects of others, [`plan()`] decides, [`Objects::apply`] carries the
//! steps out and decides nothing.

mod adopted;
mod claim_template;
mod plan;

use super::super::Context;
use super::handover::HandoverRequest;
use super::snapshot::{ObjectKey, Snapshot};
use super::step::StepResult;
use super::users::plan_file;
use crate::kubernetes::apply::{Standing, apply as apply_object, delete, standing};
use crate::kubernetes::kinds::{AdoptionState, Inputs};
use crate::kubernetes::objects::{MADE, OBJECT_KINDS, ROLLED};
use crate::kubernetes::pods::revision;
use crate::kubernetes::status::Problem;
use adopted::{MAKES_PODS, adopted};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use plan::{ObjectStep, ObjectsView, Replicas, plan, plan_replicas, unclaimed};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// What was applied last, and the version that came of it.
#[derive(Default)]
pub struct Objects(BTreeMap<ObjectKey, (Value, u64)>);

impl Objects {
    /// Applies the objects that are not as they should be.
    pub async fn settle(
        &mut self,
        context: &Context,
        snapshot: &Snapshot,
        handover: &mut HandoverRequest,
    ) -> StepResult {
        let now = Instant::now();
        // No Pod starts without the password that is wanted.
        if snapshot.secrets.is_none() {
            return StepResult::done();
        }
        let replicas = plan_replicas(
            snapshot.resource.settings.replicas,
            snapshot.master(),
            snapshot.pods.keys().map(String::as_str),
        );
        let mut result = if replicas.is_master_in_the_way { StepResult::again() } else { StepResult::done() };
        let wanted = match wanted(snapshot, replicas.count, &context.image, &context.namespace) {
            Ok(wanted) => wanted,
            Err(error) => {
                return StepResult::blocked(Problem { reason: "ObjectsNotMade", message: error.to_string() });
            }
        };
        let (mut wanted, set) = (wanted, snapshot.set_key());
        let set = wanted.iter_mut().find(|(key, _)| *key == set).map(|(_, object)| object);
        if let Some(problem) = set.and_then(|set| claim_template::keep(set, &snapshot.set_claims)) {
            result.add(StepResult::stopped(problem));
        }
        let mut view = ObjectsView::new(snapshot, wanted, &self.0, replicas, handover.is_due(now));
        let mut is_well = true;
        for (key, standing) in observe(context, snapshot, &unclaimed(&view)).await {
            match standing {
                // The watch shows it soon, and who made its Pods. Applied whole, it would replace them.
                Ok(Standing::Own) if is_adopted(snapshot) && MAKES_PODS.contains(&key.0) => {
                    is_well = false;
                    result.add(StepResult::again());
                }
                Ok(standing) => _ = view.is_foreign.insert(key, standing == Standing::Foreign),
                Err(error) => {
                    is_well = false;
                    result.add(refused(&key, &error));
                }
            }
        }
        for step in plan(&view) {
            let applied = self.apply(context, snapshot, step, is_well, handover, now).await;
            is_well &= applied.is_done;
            result.add(applied);
        }
        result
    }

    /// Whether the watches have shown all that was applied: what follows from it may be seen by now.
    pub fn are_seen(&self, snapshot: &Snapshot) -> bool {
        let is_seen = |(key, (_, version)): (&ObjectKey, &(Value, u64))| {
            snapshot.seen.get(key).is_some_and(|seen| seen.version >= *version)
        };
        !self.0.is_empty() && self.0.iter().all(is_seen)
    }

    /// Carries one step out. `is_well`: no step before it failed.
    async fn apply(
        &mut self,
        context: &Context,
        snapshot: &Snapshot,
        step: ObjectStep,
        is_well: bool,
        handover: &mut HandoverRequest,
        now: Instant,
    ) -> StepResult {
        let namespace = snapshot.namespace();
        match step {
            ObjectStep::HandOver(target) => {
                handover.send(snapshot.handle.as_ref(), Some(target), now);
                StepResult::again()
            }
            ObjectStep::Apply { needs_all_before: true, .. } if !is_well => StepResult::again(),
            ObjectStep::Apply { key, object, uid, needs_all_before: _ } => {
                let _turn = context.turns.acquire().await;
                match apply_object(&context.client, &namespace, &object, uid.as_deref()).await {
                    Ok(version) => {
                        self.0.insert(key, (object, version));
                        StepResult::done()
                    }
                    // The object of that uid is gone: the watch will show what stands there now.
                    Err(kube::Error::Api(error)) if error.code == 409 && uid.is_some() => StepResult::again(),
                    Err(error) => refused(&key, &error),
                }
            }
            ObjectStep::Leave(problem) => StepResult::blocked(problem),
            ObjectStep::Delete { key, uid } => {
                let (client, name) = (&context.client, key.1.as_str());
                let deleted = match key.0 {
                    "Secret" => delete::<Secret>(client, &namespace, name, &uid).await,
                    "NetworkPolicy" => delete::<NetworkPolicy>(client, &namespace, name, &uid).await,
                    _ => delete::<Service>(client, &namespace, name, &uid).await,
                };
                match deleted {
                    Ok(()) => {
                        self.0.remove(&key);
                        StepResult::done()
                    }
                    Err(kube::Error::Api(error)) if error.code == 409 => StepResult::again(),
                    Err(error) => refused(&key, &error),
                }
            }
        }
    }
}

/// Asks what stands in the place of each of them.
async fn observe(
    context: &Context,
    snapshot: &Snapshot,
    objects: &[&(ObjectKey, Value)],
) -> Vec<(ObjectKey, Result<Standing, kube::Error>)> {
    let mut observed = Vec::new();
    for (key, object) in objects {
        let _turn = context.turns.acquire().await;
        observed.push((key.clone(), standing(&context.client, &snapshot.namespace(), object).await));
    }
    observed
}

impl<'a> ObjectsView<'a> {
    fn new(
        snapshot: &'a Snapshot,
        wanted: Vec<(ObjectKey, Value)>,
        applied: &'a BTreeMap<ObjectKey, (Value, u64)>,
        replicas: Replicas,
        is_handover_due: bool,
    ) -> Self {
        let resource = &snapshot.resource;
        let is_password_wanted =
            snapshot.secrets.as_ref().is_none_or(|secrets| secrets.passwords.wanted.is_some());
        let set = resource.settings.family.set_name(&resource.name());
        let first = || format!("{set}-0");
        let is_paused = resource.settings.group.paused;
        Self {
            kind: resource.api.kind.clone(),
            uid: resource.uid().unwrap_or_default().to_owned(),
            secret: set.clone(),
            wanted,
            applied,
            seen: &snapshot.seen,
            missing: &snapshot.missing,
            is_foreign: BTreeMap::new(),
            hands_over_to: replicas.is_master_in_the_way.then(first),
            may_hand_over: is_handover_due && !snapshot.is_switching && !is_paused,
            is_secret_over: !is_password_wanted && snapshot.is_healthy() && is_rolled(snapshot),
        }
    }
}

/// The objects as they should be.
fn wanted(
    snapshot: &Snapshot,
    replicas: i32,
    image: &str,
    operator_namespace: &str,
) -> Result<Vec<(ObjectKey, Value)>, serde_json::Error> {
    let passwords = snapshot.secrets.as_ref().map(|secrets| &secrets.passwords);
    let tls = snapshot.secrets.as_ref().and_then(|secrets| secrets.tls.as_ref());
    let secrets = snapshot.secrets.as_ref();
    let users = secrets.map(|of| plan_file(&of.users, &of.filed_users, &snapshot.taken_users));
    let all = snapshot.resource.managed.objects(&Inputs {
        replicas,
        password: passwords.and_then(|passwords| passwords.wanted.as_deref()),
        replication_user: snapshot.replication_user(),
        users: users.as_deref().unwrap_or_default(),
        previous: passwords.and_then(|passwords| passwords.before()),
        authorities: tls.map(|identity| identity.authorities.as_str()),
        has_former_pods: has_former_pods(snapshot),
        image,
        operator_namespace,
    })?;
    let key = |object: &Value| {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = OBJECT_KINDS.iter().find(|kind| **kind == text("/kind")).copied().unwrap_or_default();
        (kind, text("/metadata/name").to_owned())
    };
    let leaves_templates = match snapshot.resource.settings.adoption.as_ref().map(|adoption| adoption.state) {
        Some(AdoptionState::Adopted { leaves_templates }) => leaves_templates,
        Some(AdoptionState::No | AdoptionState::Observing) | None => {
            return Ok(all.into_iter().map(|object| (key(&object), object)).collect());
        }
    };
    let in_place = |object: Value| {
        let key = key(&object);
        let there = snapshot.seen.get(&key).map(|seen| seen.mark.as_deref());
        let object = match there {
            Some(mark) => adopted(&key, object, mark, leaves_templates),
            None => object,
        };
        (key, object)
    };
    Ok(all.into_iter().map(in_place).collect())
}

/// Whether Pods may run that another operator made, until the last one is replaced.
fn has_former_pods(snapshot: &Snapshot) -> bool {
    let set = snapshot.set_key();
    let mark = snapshot.seen.get(&set).and_then(|seen| seen.mark.as_deref());
    let has_our_template = mark == Some(MADE) || mark == Some(ROLLED);
    is_adopted(snapshot) && !(has_our_template && snapshot.is_set_current && is_rolled(snapshot))
}

fn is_adopted(snapshot: &Snapshot) -> bool {
    let adoption = snapshot.resource.settings.adoption.as_ref();
    adoption.is_some_and(|adoption| adoption.state != AdoptionState::No)
}

/// Every Pod has the revision that is wanted.
fn is_rolled(snapshot: &Snapshot) -> bool {
    snapshot.pods.values().all(|pod| revision(pod) == Some(&snapshot.revision))
}

fn refused((kind, name): &ObjectKey, error: &kube::Error) -> StepResult {
    StepResult::failed("ObjectRefused", &format!("{kind} {name}"), error)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::secrets::Secrets;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_objects_of_any_kind_are_planned_and_a_taken_name_says_whose_they_should_be() {
        let mut snapshot = fixture::snapshot(&[]);
        snapshot.secrets = Some(Arc::new(Secrets::default()));
        let (applied, replicas) = (BTreeMap::new(), plan_replicas(3, None, [].into_iter()));
        let wanted = wanted(&snapshot, replicas.count, "redis-operator", "redis-operator").unwrap();
        assert_eq!(wanted[1].1["spec"]["replicas"], 3);
        let keys: Vec<ObjectKey> = wanted.iter().map(|(key, _)| key.clone()).collect();
        let name = || "redis-cart".to_owned();
        assert_eq!(keys, [("ConfigMap", name()), ("StatefulSet", name())]);
        let mut view = ObjectsView::new(&snapshot, wanted, &applied, replicas, true);
        view.is_foreign = keys.iter().map(|key| (key.clone(), false)).collect();
        assert!(plan(&view).iter().all(|step| matches!(step, ObjectStep::Apply { .. })));
        view.is_foreign.insert(keys[0].clone(), true);
        let steps = plan(&view);
        assert!(
            matches!(&steps[..], [ObjectStep::Leave(problem)]
                if problem.message.contains("not owned by this Sample: delete it, or rename this Sample")),
            "{steps:?}"
        );
    }
}
