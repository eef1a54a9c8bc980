//! The kinds of resources that the operator serves, and all that it asks of one: the five functions of
//! [`Managed`]. The controllers know no kind: each version of a resource comes to them as a [`Resource`],
//! plain data and those functions. Another kind is a folder here and a line in [`KINDS`]. Never does I/O.

mod adoption;
mod failover;
mod recorded;
mod redis;
#[cfg(test)]
pub(crate) mod sample;

pub use adoption::{ADOPTED_ANNOTATION, AdoptionSettings, AdoptionState, OBSERVING};

use super::crd::failover::{AlphaFailover, RedisFailover, definition};
use super::crd::{self, Redis, ShadowStatus, SwitchoverRequest};
use super::nodes::Place;
use super::objects::{AclUser, Family};
use super::status::Problem;
use crate::contract::{Decision, Group};
use crate::group::{Member, Picture, Record};
use crate::report::MasterChange;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, SecretKeySelector, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::{CustomResourceExt, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// All kinds. Metrics, `/groups/` and the record are named after a resource's namespace and name, so two
/// resources of one namespace must not have the same name, whatever their kinds: the controllers serve the
/// older one.
pub static KINDS: [Kind; 3] = [
    Kind::of::<Redis>("Redis"),
    Kind::made("RedisFailover", api::<RedisFailover>, definition::<RedisFailover>, failover::read),
    Kind::made(
        "RedisFailover.spotahome.com",
        api::<AlphaFailover>,
        definition::<AlphaFailover>,
        failover::read_alpha,
    ),
];

/// What the controllers ask of a resource. All functions are pure: equal arguments give equal results.
pub trait Managed: Debug + Send + Sync {
    /// What the resource asks for, and what its status says. Ages are as of `now`.
    fn settings(&self, now: Timestamp) -> Settings;

    /// What the resource names: Secrets and policies of its namespace.
    fn references(&self) -> References;

    /// All objects, in the order in which they are applied. Equal inputs give equal objects, byte for byte,
    /// so that applying them again changes nothing.
    ///
    /// # Errors
    /// The serializer's; the operator's own types cause none.
    fn objects(&self, inputs: &Inputs<'_>) -> Result<Vec<Value>, serde_json::Error>;

    /// The Pods as members of the group. A Pod that cannot be dialled is none.
    fn members(&self, pods: &[ObservedPod<'_>], now: Timestamp) -> Vec<Member>;

    /// The Pods of its Sentinels as instances of the group. A Pod that cannot be dialled, or in which no
    /// Sentinel runs, is none. Empty: no Sentinels watch the group.
    fn sentinels(&self, _pods: &[&Pod], _now: Timestamp) -> Vec<Member> {
        Vec::new()
    }

    /// The group while so many Sentinels run that its resource does not ask for any more. None: as in
    /// [`Settings::group`].
    fn group_beside(&self, _sentinels: usize) -> Option<Group> {
        None
    }

    /// The status that follows from what is known. `now` is the transition time of what changes.
    fn status(&self, known: &Known<'_>, now: Timestamp) -> Value;
}

/// What a resource asks for, and what its status says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The group, as its policy gets it.
    pub group: Group,
    /// Desired instances: as many Pods as its StatefulSet should have.
    pub replicas: i32,
    /// How its objects are called and labelled.
    pub family: &'static Family,
    /// The port of every instance.
    pub port: u16,
    /// The cluster autoscaler is kept from evicting the master, and no other instance.
    pub marks_eviction: bool,
    /// A rollout does not replace the master's Pod.
    pub keeps_master_pod: bool,
    /// Directives are in a file, too: one that cannot be set live takes effect with the next start.
    pub has_directives_file: bool,
    /// The directives that the resource names. A running instance that was given another one needs a restart.
    pub directive_names: BTreeSet<String>,
    /// The directives that running instances get by `CONFIG SET`.
    pub live_directives: BTreeMap<String, String>,
    /// The ACL user with which instances log in to their master once all let it in. None: as any client does.
    pub replication_user: Option<String>,
    /// The claim of each instance. None: its data ends with its Pod.
    pub claim: Option<ClaimSettings>,
    /// The requested change of master, carried out or not. None: none is requested.
    pub switchover: Option<SwitchoverRequest>,
    /// The Service that leads clients to the master. None: no Service does.
    pub master_service: Option<Service>,
    /// The Sentinel endpoint. None: there is none.
    pub endpoint: Option<EndpointSettings>,
    /// Whether objects of another operator are taken over. None: there is none that makes such objects.
    pub adoption: Option<AdoptionSettings>,
    /// What the status says.
    pub recorded: Recorded,
}

/// The claim of each instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSettings {
    /// The name of its template, and of the volume in the Pod.
    pub template: String,
    /// Its size, a quantity of Kubernetes. None: the resource says none.
    pub storage: Option<String>,
}

/// A Sentinel endpoint, which each operator serves for itself.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSettings {
    /// The Service that leads clients there. It selects no Pods.
    pub service: Service,
    /// As clients ask for it.
    pub master_name: String,
    /// User of the password. None: the user `default`.
    pub user: Option<String>,
    /// Clients must use TLS, with the certificate of the group.
    pub has_tls: bool,
    /// Servers are named by host names.
    pub hostnames: bool,
    /// `SENTINEL FAILOVER` is a switchover.
    pub allow_failover: bool,
    /// Servers are named as clients outside of the cluster reach them, through a Service that is called
    /// as its Pod: under this name, in which `{pod}` is the Pod's; Some(None): where the cluster says.
    /// None: by their own addresses.
    pub external: Option<Option<String>>,
}

/// What the status of a resource says: an operator starts from it.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// The whole status, in the form of [`Managed::status`]. None: none was written.
    pub status: Option<Value>,
    /// The records of the group, at most one per shard. Empty: none was written, or it is not valid.
    pub records: Vec<Record>,
    /// The generation of the spec that ran when the status was written. None: none was seen through.
    pub settled_generation: Option<i64>,
    /// The Pod that was published as master.
    pub master: Option<String>,
    /// The `id` of the last switchover that was accepted.
    pub switchover_id: Option<String>,
    /// Why that switchover was refused.
    pub switchover_refused: Option<String>,
    /// The ACL user of replication that all instances let in.
    pub replication_user: Option<String>,
}

/// What a resource names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct References {
    /// The key with the password. None: no password.
    pub password: Option<SecretKeySelector>,
    /// The operator makes that Secret where it is missing.
    pub generates_password: bool,
    /// The ACL users of clients.
    pub users: Vec<UserReference>,
    /// The certificate. None: no TLS.
    pub tls: Option<TlsReference>,
    /// The key with the password of the Sentinel endpoint. None: no password.
    pub endpoint_password: Option<SecretKeySelector>,
    /// The policies.
    pub policy: PolicyReference,
}

/// An ACL user whose password is in a Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct UserReference {
    /// Its name.
    pub name: String,
    /// Its rights, as in `ACL SETUSER`.
    pub rights: String,
    /// The key with its password.
    pub password: SecretKeySelector,
    /// The operator makes that key where it is missing.
    pub generates: bool,
}

/// A certificate in a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsReference {
    /// The Secret, with `tls.crt`, `tls.key` and `ca.crt`.
    pub secret: String,
    /// A name in the certificate.
    pub server_name: String,
}

/// The policy that decides for a resource, and its shadow: names of FailoverPolicy resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyReference {
    /// The policy that decides. None: the operator's own.
    pub name: Option<String>,
    /// The policy that is asked beside. None: there is no shadow.
    pub shadow: Option<String>,
    /// The parameters of both, over those of the policy itself.
    pub parameters: Option<Value>,
}

/// What the objects rest on beside the resource.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// Instances now. More than the resource asks for while the master is moved before a scale-down.
    pub replicas: i32,
    /// The password, if there is one.
    pub password: Option<&'a str>,
    /// The former password, while an instance may still use it.
    pub previous: Option<&'a str>,
    /// The ACL users of clients that an instance has from its start on.
    pub users: &'a [AclUser],
    /// ACL user of the instances for replication. None until every instance has that user.
    pub replication_user: Option<&'a str>,
    /// The authorities of the certificate, in PEM. None: no TLS.
    pub authorities: Option<&'a str>,
    /// Pods may run that another operator made: what they mount is all that they read.
    pub has_former_pods: bool,
    /// The image that this program is in.
    pub image: &'a str,
    /// The namespace that this program runs in.
    pub operator_namespace: &'a str,
}

/// A Pod, with what was observed beside it.
#[derive(Clone, Copy, Debug)]
pub struct ObservedPod<'a> {
    /// The Pod.
    pub pod: &'a Pod,
    /// The revision that it should have. Empty: not known yet.
    pub revision: &'a str,
    /// Its node. None: not scheduled, or not observed yet.
    pub place: Option<&'a Place>,
}

/// What the status rests on beside the resource.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// The status before, which keeps the moments of its changes: as written last, or as a predecessor left
    /// it. None: there was none.
    pub before: Option<&'a Value>,
    /// The newest decision, the title of the policy that made it, and when. None: there was none yet.
    pub decided: Option<(&'a Decision, &'a str, Timestamp)>,
    /// The record that the group published, and when. None: none since the status was read.
    pub record: Option<(&'a Record, Timestamp)>,
    /// The newest change of master that has ended.
    pub master_change: Option<&'a MasterChange>,
    /// The newest epoch that role labels were changed for, and how many microseconds that took.
    pub labelled: Option<(u64, i64)>,
    /// What runs is what the resource asks for.
    pub is_settled: bool,
    /// What is missing of that, in words. None: nothing, or it is not known yet.
    pub awaits: Option<&'static str>,
    /// The newest switchover that was taken up.
    pub switchover_id: Option<&'a str>,
    /// Why that switchover was refused.
    pub switchover_refused: Option<&'a str>,
    /// A switchover was requested and has not ended.
    pub is_switching: bool,
    /// The ACL user of replication that all instances let in.
    pub replication_user: Option<&'a str>,
    /// How the shadow has answered so far.
    pub shadow: Option<&'a ShadowStatus>,
    /// All Pods of the resource.
    pub pods: Vec<&'a Pod>,
    /// Sentinel endpoints that are ready. None: not observed.
    pub sentinels: Option<i32>,
    /// What the guard itself saw at the newest decision. None: there was none yet.
    pub picture: Option<&'a Picture>,
    /// Obstacles to the desired state that the controllers found.
    pub problems: Vec<Problem>,
}

/// One version of a resource, of whichever kind.
#[derive(Debug)]
pub struct Resource {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its kind, as the API server calls it.
    pub api: ApiResource,
    /// Its name, version, labels and owner: the object without spec and status.
    pub object: DynamicObject,
    /// By [`Managed::settings`], with ages as of the moment that it was read.
    pub settings: Settings,
    /// By [`Managed::references`].
    pub references: References,
    /// For objects, members and status.
    pub managed: Box<dyn Managed>,
}

impl Resource {
    /// Its namespace.
    pub fn namespace(&self) -> String {
        self.object.namespace().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.object.name_any()
    }

    /// Its uid, by which its objects are known as its own. None: it was never stored.
    pub fn uid(&self) -> Option<&str> {
        self.object.metadata.uid.as_deref()
    }

    /// What an event is about.
    pub fn object_ref(&self) -> ObjectReference {
        kube::Resource::object_ref(&self.object, &self.api)
    }

    /// The records in its status, with ages as of `now`.
    pub fn records(&self, now: Timestamp) -> Vec<Record> {
        self.managed.settings(now).recorded.records
    }
}

impl References {
    /// The names of all Secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let passwords = self.password.iter().chain(&self.endpoint_password).map(|key| key.name.as_str());
        let passwords = passwords.chain(self.users.iter().map(|user| user.password.name.as_str()));
        passwords.chain(self.tls.iter().map(|tls| tls.secret.as_str()))
    }
}

/// A kind of resource: how its objects become a [`Resource`].
#[derive(Debug)]
pub struct Kind {
    /// As in manifests; with its group where two have the same.
    pub name: &'static str,
    api: fn() -> ApiResource,
    parse: fn(Value) -> Result<Box<dyn Managed>, String>,
    definition: fn() -> CustomResourceDefinition,
}

impl Kind {
    /// The kind of a type of resources.
    const fn of<K>(name: &'static str) -> Self
    where
        K: Managed + kube::Resource<DynamicType = ()> + CustomResourceExt + DeserializeOwned + 'static,
    {
        Self {
            name,
            api: api::<K>,
            parse: |object| Ok(Box::new(crd::parse::<K>(object)?)),
            definition: K::crd,
        }
    }

    /// The kind of a type of resources that is managed by another type.
    const fn made(
        name: &'static str,
        api: fn() -> ApiResource,
        definition: fn() -> CustomResourceDefinition,
        parse: fn(Value) -> Result<Box<dyn Managed>, String>,
    ) -> Self {
        Self { name, api, parse, definition }
    }

    /// The kind, as the API server calls it.
    pub fn api(&self) -> ApiResource {
        (self.api)()
    }

    /// Whether a resource is of this kind.
    pub fn is_of(&self, resource: &Resource) -> bool {
        std::ptr::eq(self, resource.kind)
    }

    /// The custom resource definition.
    pub fn definition(&self) -> CustomResourceDefinition {
        (self.definition)()
    }

    /// An object of the API server as a resource.
    ///
    /// # Errors
    /// What does not fit the schema, and where, as one sentence.
    pub fn read(&'static self, object: DynamicObject, now: Timestamp) -> Result<Resource, String> {
        let managed =
            serde_json::to_value(&object).map_err(|error| error.to_string()).and_then(self.parse)?;
        Ok(Resource {
            kind: self,
            api: self.api(),
            object: DynamicObject { data: Value::Null, ..object },
            settings: managed.settings(now),
            references: managed.references(),
            managed,
        })
    }
}

fn api<K: kube::Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_has_the_name_that_manifests_use_and_a_definition() {
        for kind in KINDS.iter().chain([&sample::SAMPLE]) {
            let name = kind.name.split('.').next().unwrap();
            assert_eq!((kind.api().kind.as_str(), kind.definition().spec.names.kind.as_str()), (name, name));
        }
    }

    #[test]
    fn a_resource_knows_its_identity_and_one_that_does_not_fit_is_named() {
        let resource = sample::sample(|_| ());
        assert_eq!((resource.namespace(), resource.name()), ("shop".into(), "cart".into()));
        let (api_version, kind) = ("test.amaiz.com/v1", "Sample");
        let about = json!({
            "apiVersion": api_version, "kind": kind, "namespace": "shop", "name": "cart", "uid": "u"
        });
        assert_eq!(json!(resource.object_ref()), about);
        let other = json!({ "metadata": { "name": "cart" }, "spec": { "servers": "three" } });
        let error = sample::SAMPLE.read(serde_json::from_value(other).unwrap(), Timestamp::UNIX_EPOCH);
        assert!(error.unwrap_err().starts_with("Sample cart: invalid type"));
    }
}
