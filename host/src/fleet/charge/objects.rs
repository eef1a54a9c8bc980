//! The objects of a resource: applied when they should be otherwise, and when somebody else changed or deleted them.

use super::super::Common;
use super::picture::{ObjectKey, Picture};
use super::upkeep::{Mover, Step};
use crate::kubernetes::apply::{apply, delete_secret, is_taken};
use crate::kubernetes::objects::{GROUP_LABEL, KINDS, Wanted, name, objects};
use crate::kubernetes::told::Trouble;
use kube::{Client, ResourceExt};
use serde_json::Value;
use std::collections::BTreeMap;

/// What was applied last, and the version that came of it.
#[derive(Default)]
pub struct Objects(BTreeMap<ObjectKey, (Value, u64)>);

impl Objects {
    /// Makes them as they should be.
    pub async fn settle(&mut self, common: &Common, picture: &Picture, mover: &mut Mover) -> Step {
        // Nobody starts without the password that is wanted.
        let Some(secrets) = &picture.secrets else { return Step::done() };
        let passwords = &secrets.passwords;
        let mut step = Step::done();
        let (replicas, in_the_way) = replicas(picture);
        if in_the_way {
            step.is_done &= mover.move_master(picture, Some(format!("{}-0", name(&picture.redis)))).is_done;
        }
        let master = picture.master().and_then(|master| picture.address(master));
        let wanted = Wanted {
            redis: &picture.redis,
            replicas,
            master: master.as_deref(),
            password: passwords.wanted.as_deref(),
            replication_user: picture.replication_user(),
            previous: passwords.before(),
        };
        let all = match objects(&wanted) {
            Ok(all) => all,
            Err(error) => return Step::hindered("ObjectsNotMade", error.to_string()),
        };
        for object in all {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let kind = KINDS.iter().find(|kind| **kind == text("/kind")).copied().unwrap_or_default();
            let key = (kind, text("/metadata/name").to_owned());
            if self.is_so(picture, &key, &object) {
                continue;
            }
            // Nobody is started on what is not ours, or not made.
            if kind == "StatefulSet" && !step.troubles.is_empty() && !picture.seen.contains_key(&key) {
                break;
            }
            let _turn = common.turns.acquire().await;
            match self.make(&common.client, picture, &key, &object).await {
                Ok(Some(version)) => {
                    self.0.insert(key, (object, version));
                }
                Ok(None) => {
                    step.is_done = false;
                    step.troubles.push(name_taken(picture, &key));
                }
                Err(error) => {
                    let refused = Step::failed("ObjectRefused", &format!("{} {}", key.0, key.1), &error);
                    step.is_done = false;
                    step.troubles.extend(refused.troubles);
                }
            }
        }
        // The last copy of a password that is not wanted any more.
        let secret = ("Secret", name(&picture.redis));
        if passwords.wanted.is_none() && picture.seen.contains_key(&secret) && picture.is_healthy() && is_rolled(picture) {
            if let Err(error) = delete_secret(&common.client, &picture.namespace(), &secret.1).await {
                return Step::failed("ObjectRefused", &format!("Secret {}", secret.1), &error);
            }
            self.0.remove(&secret);
        }
        step
    }

    /// The version that it has then. None: it is somebody else's.
    async fn make(&self, client: &Client, picture: &Picture, key: &ObjectKey, object: &Value) -> Result<Option<u64>, kube::Error> {
        let namespace = picture.namespace();
        if !picture.seen.contains_key(key) && is_taken(client, &namespace, object).await? {
            return Ok(None);
        }
        apply(client, &namespace, object).await.map(Some)
    }

    fn is_so(&self, picture: &Picture, key: &ObjectKey, object: &Value) -> bool {
        let is_touched = |version: u64| picture.missing.contains(key) || picture.seen.get(key).is_some_and(|seen| *seen > version);
        self.0.get(key).is_some_and(|(before, version)| before == object && !is_touched(*version))
    }
}

fn name_taken(picture: &Picture, (kind, name): &ObjectKey) -> Trouble {
    let resource = picture.redis.name_any();
    let message = format!(
        "{kind} {name} is there and not this resource's, so it is left alone: remove it, or give this resource another name; \
         to hand it over with all that is in it, give it the label {GROUP_LABEL}={resource}"
    );
    Trouble { reason: "NameTaken", message }
}

/// As many as are wanted; as there are, while the master is among those that would go, and so in the way: it hands over first.
fn replicas(picture: &Picture) -> (i32, bool) {
    let wanted = picture.redis.spec.replicas;
    let ordinal = |name: &str| name.rsplit('-').next().and_then(|ordinal| ordinal.parse::<i32>().ok());
    let master = picture.master().filter(|master| picture.pods.contains_key(*master)).and_then(ordinal);
    if master.is_none_or(|master| master < wanted) {
        return (wanted, false);
    }
    (picture.pods.keys().filter_map(|name| ordinal(name)).max().map_or(wanted, |last| last + 1), true)
}

fn is_rolled(picture: &Picture) -> bool {
    picture.pods.values().all(|pod| pod.labels().get("controller-revision-hash") == Some(&picture.revision))
}

/// The API server's own sentence, where it said one.
pub fn in_short(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}
