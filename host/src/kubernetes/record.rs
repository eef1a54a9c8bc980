//! The record of a group in an object of its own: an annotation of the ConfigMap `redis-NAME-record`, owned
//! by the resource. A status may be dropped by whoever restores or synchronises resources; this is not part
//! of any manifest.
//!
//! # Flow
//!
//! 1. The watch of ConfigMaps brings metadata alone, and so the record, with the first list: a group starts
//!    from it.
//! 2. The operator with the Lease writes each new record with the version that it saw last ([`plan`]): of two
//!    writers one gets a conflict, reads, and plans again.
//! 3. A record has the term of the Lease under which it was written. One of an earlier term never replaces
//!    one of a later: a write that was on its way when the Lease was lost changes nothing.
//!
//! # Guarantees
//!
//! The record of the latest term that was stored is never replaced by one of an earlier term. The API server
//! compares versions (etcd), and terms of one Lease grow with each holder; a Lease that was deleted and made
//! again has a later creation time, which counts first.
//!
//! # Caveats
//!
//! Whoever may edit ConfigMaps of the namespace can forge a record, as one who may edit the status can.

use super::objects::{GROUP_LABEL, name_for};
use super::ownership::Sighting;
use crate::group::{Moment, Record, StoredRecord};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// The annotation with the record.
pub const RECORD_ANNOTATION: &str = "k8s.amaiz.com/record";
/// A record that was not understood, and was replaced.
const UNREAD_ANNOTATION: &str = "k8s.amaiz.com/record-unread";

/// The name of the ConfigMap with the record of a resource.
pub fn record_name(resource: &str) -> String {
    format!("{}-record", name_for(resource))
}

/// The term of a holder of the Lease: a later one is larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Term {
    /// Creation time of the Lease, Unix seconds by the API server's clock.
    pub lease_created_s: i64,
    /// `spec.leaseTransitions`: counts the holders.
    pub transitions: i32,
}

impl Term {
    /// Of a Lease, as it was written by its holder.
    pub fn of(lease: &Lease) -> Self {
        let created = lease.metadata.creation_timestamp.as_ref();
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
        Self {
            lease_created_s: created.map_or(0, |at| at.0.as_second()),
            transitions: transitions.unwrap_or_default(),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.lease_created_s, self.transitions)
    }
}

/// What the annotation says, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The term under which it was written.
    pub term: Term,
    /// At most one per shard.
    pub shards: Vec<StoredRecord>,
}

impl Content {
    /// Of a record that was published at that time.
    pub fn new(term: Term, record: Record, at: Timestamp) -> Self {
        Self { term, shards: vec![StoredRecord::new(record, Moment::default(), unix_ms(at))] }
    }

    /// What an object says. None: it says nothing. An error: nothing that is understood.
    ///
    /// # Errors
    /// The error and its position.
    pub fn of(sighting: &Sighting) -> Option<Result<Self, String>> {
        let text = sighting.record.as_deref()?;
        let content = serde_json::from_str::<Self>(text).map_err(|error| error.to_string());
        let is_sane = |content: &Self| {
            content
                .shards
                .iter()
                .all(|shard| i64::try_from(shard.published.epoch).is_ok_and(|of| of < i64::MAX))
        };
        Some(content.and_then(
            |content| {
                if is_sane(&content) { Ok(content) } else { Err("epoch out of range".into()) }
            },
        ))
    }

    /// The records, with ages as of `now`.
    pub fn records(&self, now: Timestamp) -> Vec<Record> {
        self.shards.iter().cloned().map(|shard| shard.record(unix_ms(now))).collect()
    }

    /// The newest epoch of all shards.
    pub fn epoch(&self) -> u64 {
        self.shards.iter().map(|shard| shard.published.epoch).max().unwrap_or_default()
    }
}

/// What is to be done about the object.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordStep {
    /// It is as it should be.
    Keep,
    /// It does not exist.
    Create,
    /// It is replaced, if it still is what was seen.
    Replace {
        /// Its version.
        version: u64,
        /// Its uid.
        uid: String,
        /// What it said and nobody understood, to be kept beside.
        unread: Option<String>,
    },
    /// It has a record of a later term, or of a later change of master.
    Yield {
        /// The term of the record that stands.
        term: Term,
    },
    /// The object is another's.
    Foreign,
}

/// Plans what to do about the object, as it was seen last. `owner`: the uid of the resource.
pub fn plan(seen: Option<&Sighting>, owner: Option<&str>, wanted: &Content) -> RecordStep {
    let Some(seen) = seen else { return RecordStep::Create };
    if !seen.is_owned_by(owner) {
        return RecordStep::Foreign;
    }
    let replace =
        |unread: Option<String>| RecordStep::Replace { version: seen.version, uid: seen.uid.clone(), unread };
    match Content::of(seen) {
        None => replace(None),
        Some(Err(_)) => replace(seen.record.clone()),
        Some(Ok(there)) if there == *wanted => RecordStep::Keep,
        // A later change of master that this group has yet to learn of: it will, by the same watch.
        Some(Ok(there)) if there.term > wanted.term || there.epoch() > wanted.epoch() => {
            RecordStep::Yield { term: there.term }
        }
        Some(Ok(_)) => replace(None),
    }
}

/// The object as it is now. None: there is none.
///
/// # Errors
/// The API server's answer, or why it could not be reached.
pub async fn read(client: &Client, namespace: &str, resource: &str) -> Result<Option<Sighting>, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let name = record_name(resource);
    // By a list: it needs no right beyond those of the watches.
    let there = api.list_metadata(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
    Ok(there.items.first().and_then(Sighting::of))
}

/// Creates the object. `owner`: the ownerReference to the resource, as other objects have it. None: another
/// one of its name was there first.
///
/// # Errors
/// As [`read`].
pub async fn create(
    client: &Client,
    namespace: &str,
    resource: &str,
    owner: Value,
    content: &Content,
) -> Result<Option<Sighting>, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let metadata = json!({
        "name": record_name(resource),
        "namespace": namespace,
        "labels": { GROUP_LABEL: resource },
        "annotations": { RECORD_ANNOTATION: text(content) },
        "ownerReferences": [owner],
    });
    let map = serde_json::from_value(json!({ "metadata": metadata })).map_err(kube::Error::SerdeError)?;
    outcome(api.create(&PostParams::default(), &map).await)
}

/// Replaces the record in the object of that uid and version. None: it is another by now, or gone.
///
/// # Errors
/// As [`read`].
pub async fn replace(
    client: &Client,
    namespace: &str,
    resource: &str,
    seen: (u64, &str),
    content: &Content,
    unread: Option<String>,
) -> Result<Option<Sighting>, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut annotations = json!({ RECORD_ANNOTATION: text(content) });
    if let (Some(unread), Value::Object(annotations)) = (unread, &mut annotations) {
        annotations.insert(UNREAD_ANNOTATION.into(), unread.into());
    }
    let (version, uid) = (seen.0.to_string(), seen.1);
    // With the label, by which the watch finds it.
    let labels = json!({ GROUP_LABEL: resource });
    let metadata =
        json!({ "resourceVersion": version, "uid": uid, "labels": labels, "annotations": annotations });
    let patch = json!({ "metadata": metadata });
    outcome(api.patch(&record_name(resource), &PatchParams::default(), &Patch::Merge(&patch)).await)
}

/// A conflict, and an object that is gone, are answers: what was seen is not so any more.
fn outcome(written: Result<ConfigMap, kube::Error>) -> Result<Option<Sighting>, kube::Error> {
    match written {
        Ok(map) => Ok(Sighting::of(&map)),
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(None),
        Err(error) => Err(error),
    }
}

fn text(content: &Content) -> String {
    serde_json::to_string(content).expect("text keys, numbers and text: JSON has all of them")
}

fn unix_ms(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Evidence, Generation, Position, Published};
    use crate::group::Changed;

    fn record(epoch: u64) -> Record {
        let published = Published {
            master: "redis-cart-1".into(),
            run_id: "r".into(),
            replid: "i".into(),
            offset: 7,
            epoch,
            age_us: 0,
            node: None,
        };
        let generation = Generation {
            replid: "i".into(),
            master: "redis-cart-1".into(),
            end_offset: None,
            age_us: 9_000_000,
        };
        let position = Position {
            replid: "i".into(),
            offset: 6,
            acknowledged_by: vec!["redis-cart-0".into()],
            age_us: 1_000_000,
        };
        let changed = Changed {
            at: Moment::default(),
            age_us: 2_000_000,
            source: Some("redis-cart-0".into()),
            target: "redis-cart-1".into(),
            meant_for: "redis-cart-1".into(),
            evidence: Evidence::Dead,
        };
        let (lineage, last_failover) = (vec![generation], Some(changed));
        Record { shard: 0, published, lineage, position: Some(position), last_failover }
    }

    fn term(lease_created_s: i64, transitions: i32) -> Term {
        Term { lease_created_s, transitions }
    }

    fn content(term: Term, epoch: u64) -> Content {
        Content::new(term, record(epoch), Timestamp::from_second(100).unwrap())
    }

    fn seen(record: Option<String>) -> Sighting {
        Sighting {
            version: 7,
            uid: "m".into(),
            owners: vec!["u".into()],
            record,
            mark: None,
            may_be_of_others: false,
            outside: None,
        }
    }

    #[test]
    fn a_record_is_read_back_with_ages_as_of_now() {
        let written = content(term(50, 3), 2);
        let read = Content::of(&seen(Some(text(&written)))).unwrap().unwrap();
        assert_eq!(read, written);
        let later = read.records(Timestamp::from_second(160).unwrap()).remove(0);
        assert_eq!(
            (later.published.age_us, later.lineage[0].age_us, later.position.unwrap().age_us),
            (60_000_000, 69_000_000, 61_000_000)
        );
        assert_eq!(later.last_failover.unwrap().age_us, 62_000_000);
        // The same fact gives the same text, so nothing is written twice.
        assert_eq!(text(&content(term(50, 3), 2)), text(&written));
    }

    #[test]
    fn terms_grow_with_each_holder_and_with_each_new_lease() {
        let lease = |created: &str, transitions: i32| -> Lease {
            serde_json::from_value(json!({
                "metadata": { "creationTimestamp": created }, "spec": { "leaseTransitions": transitions }
            }))
            .unwrap()
        };
        let first = Term::of(&lease("2026-01-01T00:00:00Z", 7));
        assert!(first < Term::of(&lease("2026-01-01T00:00:00Z", 8)));
        assert!(first < Term::of(&lease("2026-01-01T00:00:01Z", 1)), "made again after it was deleted");
        assert_eq!(first.to_string(), "1767225600.7");
    }

    #[test]
    fn an_older_term_or_an_older_change_replaces_nothing() {
        let now = content(term(50, 3), 2);
        let there = |content: Content| Some(seen(Some(text(&content))));
        let replace = |unread: Option<&str>| RecordStep::Replace {
            version: 7,
            uid: "m".into(),
            unread: unread.map(str::to_owned),
        };
        let foreign = Sighting { owners: vec!["another".into()], ..seen(None) };
        let rows = [
            ("there is none", None, RecordStep::Create),
            ("it is another's", Some(foreign), RecordStep::Foreign),
            ("it is as it should be", there(now.clone()), RecordStep::Keep),
            ("of the same term, an older change", there(content(term(50, 3), 1)), replace(None)),
            ("of an earlier term", there(content(term(50, 2), 2)), replace(None)),
            ("of an earlier Lease", there(content(term(49, 99), 2)), replace(None)),
            ("of a later term", there(content(term(50, 4), 1)), RecordStep::Yield { term: term(50, 4) }),
            ("of a later Lease", there(content(term(51, 0), 2)), RecordStep::Yield { term: term(51, 0) }),
            (
                "of an earlier term, a later change",
                there(content(term(50, 2), 3)),
                RecordStep::Yield { term: term(50, 2) },
            ),
            ("its annotation was removed", Some(seen(None)), replace(None)),
            ("nobody understands it", Some(seen(Some("{".into()))), replace(Some("{"))),
            (
                "an epoch that none can follow",
                there(content(term(50, 3), u64::MAX)),
                replace(Some(text(&content(term(50, 3), u64::MAX)).as_str())),
            ),
        ];
        for (fact, seen, expected) in rows {
            assert_eq!(plan(seen.as_ref(), Some("u"), &now), expected, "{fact}");
        }
    }
}
