//! The record of a group, stored in its own object: written when the group publishes one, beside everything
//! else. [`plan`] (in `kubernetes/record.rs`) decides, [`RecordStore::settle`] carries it out.

use super::snapshot::Snapshot;
use crate::kubernetes::error::message;
use crate::kubernetes::ownership::Sighting;
use crate::kubernetes::record::{Content, RecordStep, Term, create, plan, read, record_name, replace};
use crate::kubernetes::status::Problem;
use kube::Client;
use serde_json::Value;

/// The stored record of one group.
#[derive(Default)]
pub struct RecordStore {
    /// The object as it was last written or read here. None: not yet.
    known: Option<Sighting>,
    problem: Option<Problem>,
    /// The later term that was logged.
    yielded_to: Option<Term>,
}

impl RecordStore {
    /// Another operator writes it from now on.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Why the record is not stored, as far as the status shows it.
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// Stores the newest record, unless that of a later term stands. Returns whether nothing is left to do.
    ///
    /// # Errors
    /// What failed, in one sentence; it is worth another try.
    pub async fn settle(
        &mut self,
        client: &Client,
        term: Option<Term>,
        snapshot: &Snapshot,
    ) -> Result<bool, String> {
        let (Some((record, at)), Some(term)) = (&snapshot.record, term) else { return Ok(true) };
        let wanted = Content::new(term, record.clone(), *at);
        self.problem = None;
        for _ in 0..PLANS_MAX {
            let step = plan(self.newest(snapshot), snapshot.resource.uid(), &wanted);
            let is_done = self.apply(client, snapshot, step, &wanted).await;
            if is_done.map_err(|error| format!("record: {}", message(&error)))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The object as it was seen last, here or by the watch.
    fn newest<'a>(&'a self, snapshot: &'a Snapshot) -> Option<&'a Sighting> {
        let seen = snapshot.stored.as_deref();
        match (&self.known, seen) {
            (Some(known), Some(seen)) if seen.version > known.version => Some(seen),
            (Some(known), _) if !snapshot.is_record_gone(known) => Some(known),
            (Some(_) | None, seen) => seen,
        }
    }

    async fn apply(
        &mut self,
        client: &Client,
        snapshot: &Snapshot,
        step: RecordStep,
        wanted: &Content,
    ) -> Result<bool, kube::Error> {
        let (namespace, name) = (snapshot.namespace(), snapshot.resource.name());
        let written = match step {
            RecordStep::Keep => return Ok(true),
            RecordStep::Yield { term } => {
                if self.yielded_to.replace(term) != Some(term) {
                    tracing::warn!(
                        namespace,
                        name,
                        term = %wanted.term,
                        stored = %term,
                        "record of a later term or change stands, not replaced"
                    );
                }
                self.problem = Some(later(&name, term, wanted.term));
                return Ok(true);
            }
            RecordStep::Foreign => {
                self.problem = Some(taken(snapshot));
                // No watch shows what becomes of it: the next record asks again.
                self.known = None;
                return Ok(true);
            }
            RecordStep::Create => match owner(snapshot) {
                Some(owner) => create(client, &namespace, &name, owner, wanted).await?,
                None => return Ok(true),
            },
            RecordStep::Replace { version, uid, unread } => {
                if unread.is_some() {
                    tracing::warn!(namespace, name, "stored record not understood, kept beside the new one");
                }
                replace(client, &namespace, &name, (version, &uid), wanted, unread).await?
            }
        };
        self.yielded_to = None;
        match written {
            Some(written) => {
                self.known = Some(written);
                Ok(true)
            }
            // It is not what was seen: plan again with what is there.
            None => {
                self.known = read(client, &namespace, &name).await?;
                Ok(false)
            }
        }
    }
}

/// A conflict is rare: another operator has just lost the Lease, or a person edits.
const PLANS_MAX: usize = 2;

/// The ownerReference that the other objects of the resource have.
fn owner(snapshot: &Snapshot) -> Option<Value> {
    let metadata = &snapshot.resource.object.metadata;
    let api = &snapshot.resource.api;
    Some(serde_json::json!({
        "apiVersion": api.api_version,
        "kind": api.kind,
        "name": metadata.name.as_ref()?,
        "uid": metadata.uid.as_ref()?,
        "controller": true,
        "blockOwnerDeletion": true,
    }))
}

fn taken(snapshot: &Snapshot) -> Problem {
    let (kind, name) = (&snapshot.resource.api.kind, record_name(&snapshot.resource.name()));
    let message = format!(
        "ConfigMap {name} exists and is not owned by this {kind}, so the record of the published master is kept \
         in the status alone: delete it, or rename this {kind}"
    );
    Problem { reason: "NameTaken", message }
}

fn later(resource: &str, stored: Term, own: Term) -> Problem {
    let message = format!(
        "ConfigMap {} has a record of term {stored} or of a later change of master, and this operator has term \
         {own}: if no other operator runs, delete that ConfigMap, and it is written anew",
        record_name(resource)
    );
    Problem { reason: "RecordNewer", message }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use hyper::{Request, Response};
    use k8s_openapi::jiff::Timestamp;
    use kube::client::Body;
    use serde_json::json;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::future::ready;
    use std::sync::{Arc, Mutex};

    fn sighting(version: u64) -> Sighting {
        Sighting {
            version,
            uid: "m".into(),
            owners: vec!["u".into()],
            record: None,
            mark: None,
            may_be_of_others: false,
            outside: None,
        }
    }

    #[test]
    fn the_newest_of_what_was_written_and_what_was_seen_counts() {
        let mut snapshot = fixture::snapshot(&[]);
        let store = |known| RecordStore { known, ..RecordStore::default() };
        assert_eq!(store(None).newest(&snapshot), None);
        assert_eq!(store(Some(sighting(5))).newest(&snapshot), Some(&sighting(5)), "the watch is behind");
        snapshot.stored = Some(Arc::new(sighting(6)));
        assert_eq!(store(Some(sighting(5))).newest(&snapshot), Some(&sighting(6)), "another client wrote it");
        assert_eq!(store(Some(sighting(7))).newest(&snapshot), Some(&sighting(7)));
        assert_eq!(store(None).newest(&snapshot), Some(&sighting(6)));
        // It was seen, and is deleted: what was written is not there either.
        snapshot.stored = None;
        snapshot.gone_record = Some("m".into());
        assert_eq!(store(Some(sighting(7))).newest(&snapshot), None);
    }

    /// Stands in for the API server: answers with these in turn, and hands on what was asked.
    fn api_server(answers: Vec<(u16, Value)>) -> (Client, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (of, answers) = (Arc::clone(&asked), Arc::new(Mutex::new(VecDeque::from(answers))));
        let service = tower::service_fn(move |request: Request<Body>| {
            of.lock().unwrap().push(request.method().to_string());
            let (status, body) = answers.lock().unwrap().pop_front().unwrap();
            let body = Body::from(body.to_string().into_bytes());
            ready(Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()))
        });
        (Client::new(service, "default"), asked)
    }

    fn map(owner: &str, version: &str, content: Option<&Content>) -> Value {
        let text = content.map(|content| serde_json::to_string(content).unwrap()).unwrap_or_default();
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": "redis-cart-record", "namespace": "shop", "uid": "m", "resourceVersion": version,
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Sample", "name": "cart", "uid": owner }],
            "annotations": { "k8s.amaiz.com/record": text }
        } })
    }

    fn list(item: Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": [item] })
    }

    fn conflict() -> (u16, Value) {
        (
            409,
            json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409 }),
        )
    }

    fn published(epoch: u64) -> Snapshot {
        let mut snapshot = fixture::snapshot(&[]);
        snapshot.record = Some((fixture::record("redis-cart-0", epoch), Timestamp::UNIX_EPOCH));
        snapshot
    }

    fn term(transitions: i32) -> Term {
        Term { lease_created_s: 7, transitions }
    }

    fn content(transitions: i32, epoch: u64) -> Content {
        Content::new(term(transitions), fixture::record("redis-cart-0", epoch), Timestamp::UNIX_EPOCH)
    }

    #[tokio::test]
    async fn a_record_is_written_once_and_not_by_one_that_holds_no_lease() {
        let (client, asked) = api_server(vec![(201, map("u", "1", Some(&content(1, 2))))]);
        let mut store = RecordStore::default();
        assert_eq!(store.settle(&client, None, &published(2)).await, Ok(true));
        assert_eq!(store.settle(&client, Some(term(1)), &fixture::snapshot(&[])).await, Ok(true));
        assert!(asked.lock().unwrap().is_empty(), "no term, or no record");
        for _ in 0..3 {
            assert_eq!(store.settle(&client, Some(term(1)), &published(2)).await, Ok(true));
        }
        assert_eq!(*asked.lock().unwrap(), ["POST"]);
    }

    #[tokio::test]
    async fn a_late_write_of_an_earlier_term_finds_the_later_one_and_yields() {
        let later = (200, list(map("u", "9", Some(&content(2, 2)))));
        let (client, asked) = api_server(vec![conflict(), later]);
        let mut snapshot = published(2);
        // What this one saw before the other held the Lease.
        let record = Some(serde_json::to_string(&content(1, 1)).unwrap());
        snapshot.stored = Some(Arc::new(Sighting { record, ..sighting(5) }));
        let mut store = RecordStore::default();
        for _ in 0..3 {
            assert_eq!(store.settle(&client, Some(term(1)), &snapshot).await, Ok(true));
            assert_eq!(store.problem().unwrap().reason, "RecordNewer");
        }
        assert_eq!(*asked.lock().unwrap(), ["PATCH", "GET"]);
    }

    #[tokio::test]
    async fn another_s_object_in_its_place_is_said_and_asked_for_again_with_the_next_record() {
        let theirs = || (200, list(map("another", "3", None)));
        let ours = (201, map("u", "4", Some(&content(1, 2))));
        let (client, asked) = api_server(vec![conflict(), theirs(), conflict(), theirs(), ours]);
        let mut store = RecordStore::default();
        for _ in 0..2 {
            assert_eq!(store.settle(&client, Some(term(1)), &published(2)).await, Ok(true));
            assert_eq!(store.problem().unwrap().reason, "NameTaken");
        }
        assert_eq!(store.settle(&client, Some(term(1)), &published(2)).await, Ok(true));
        assert_eq!(store.problem(), None, "it was deleted");
        assert_eq!(*asked.lock().unwrap(), ["POST", "GET", "POST", "GET", "POST"]);
    }

    #[test]
    fn the_record_belongs_to_the_resource_by_uid() {
        let owner = owner(&fixture::snapshot(&[])).unwrap();
        assert_eq!(
            (&owner["kind"], &owner["name"], &owner["uid"]),
            (&"Sample".into(), &"cart".into(), &"u".into())
        );
    }
}
