//! What is known of one resource at one moment. Each step gets the newest snapshot and makes it true; the
//! ones in between do not matter.

use super::super::endpoints::OpenFace;
use super::former::FormerPods;
use super::observe::News;
use super::secrets::Secrets;
use super::settling::Settled;
use super::users::Taken;
use crate::contract::{Decision, Group, Health, Verdict};
use crate::driver::GroupHandle;
use crate::group::{Member, Picture, Record};
use crate::kubernetes::crd::{ShadowStatus, SwitchoverRequest};
use crate::kubernetes::kinds::{AdoptionState, ObservedPod, Recorded, Resource};
use crate::kubernetes::nodes::{Place, node};
use crate::kubernetes::ownership::Sighting;
use crate::kubernetes::pods;
use crate::kubernetes::record::Content;
use crate::kubernetes::status::Problem;
use crate::kubernetes::status::failover::refusal;
use crate::kubernetes::status::instances::differs;
use crate::kubernetes::watch::{SeenFace, Set};
use crate::report::{DecisionRef, MasterChange};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Kind and name of an object.
pub type ObjectKey = (&'static str, String);

#[derive(Clone)]
pub struct Snapshot {
    pub resource: Arc<Resource>,
    /// The Pods of the StatefulSet of this resource: its members.
    pub pods: BTreeMap<String, Arc<Pod>>,
    /// The Pods of the Deployment of its Sentinels.
    pub sentinel_pods: BTreeMap<String, Arc<Pod>>,
    /// All Pods that claim to be one or the other.
    pub claimants: BTreeMap<String, Arc<Pod>>,
    /// Pods that are gone, whose processes may live.
    pub former: FormerPods,
    /// The uids of the StatefulSets of this resource, the newest last: the Pods of one that was deleted run
    /// until they have ended.
    sets: Vec<String>,
    /// The StatefulSet's controller has seen its newest version.
    pub is_set_current: bool,
    /// The claim templates of the StatefulSet, a list. Null: it has none, or was not seen.
    pub set_claims: Value,
    /// The nodes that the Pods run on.
    pub nodes: BTreeMap<String, Place>,
    /// The revision that Pods should have. Empty: not known yet.
    pub revision: String,
    /// The objects of this resource as they were seen last.
    pub seen: BTreeMap<ObjectKey, Arc<Sighting>>,
    /// Objects that were there and are not, or are another's.
    pub missing: BTreeSet<ObjectKey>,
    /// Objects that the resource owns and another operator made, as they were seen last.
    pub foreign: BTreeMap<ObjectKey, Arc<Sighting>>,
    /// The StatefulSet among them.
    foreign_set: Option<Set>,
    /// The object with the stored record, as it was seen last. None: there is none of this resource.
    pub stored: Option<Arc<Sighting>>,
    /// What it says. None: nothing that is understood.
    stored_content: Option<Arc<Content>>,
    /// The uid of the object with the record that is gone.
    pub gone_record: Option<String>,
    /// Whether `stored` says all there is: the list of such objects is complete, or refused.
    pub is_record_known: bool,
    /// The record that the group published, and when. None: none since the status was read.
    pub record: Option<(Record, Timestamp)>,
    /// The newest decision that the status shows otherwise than the one before; which policy made it, and
    /// when.
    pub decided: Option<(Arc<DecisionRef>, String, Timestamp)>,
    /// What the guard itself saw at the newest decision.
    pub picture: Arc<Picture>,
    /// A switchover was requested, and has not ended.
    pub is_switching: bool,
    /// How the shadow has answered so far.
    pub shadow: Option<ShadowStatus>,
    /// The newest change of master that has ended.
    pub master_change: Option<Arc<MasterChange>>,
    /// The newest switchover that was taken up.
    pub switchover_id: Option<String>,
    /// Why that switchover was refused.
    pub switchover_refused: Option<String>,
    /// The ACL user of replication that all instances let in, as of the last time that all did.
    pub replication_user: Option<String>,
    /// What all running instances took of the ACL users of clients.
    pub taken_users: Taken,
    /// None: not read yet.
    pub secrets: Option<Arc<Secrets>>,
    /// What stands in the way, by its finder.
    pub problems: BTreeMap<&'static str, Vec<Problem>>,
    pub may_act: bool,
    /// Whether what runs is what is asked for, as of the last time that it was maintained here. None: not
    /// yet.
    pub settled: Option<Settled>,
    /// None: there is no group yet.
    pub handle: Option<GroupHandle>,
    /// The slices by which operators serve the Sentinel endpoint, by name, as they were seen last. None:
    /// deleted.
    pub faces: BTreeMap<String, Option<SeenFace>>,
    /// The face of this operator. None: there is none.
    pub endpoint: Option<Arc<OpenFace>>,
    /// Sentinel endpoints that are ready. None: not observed.
    pub sentinels: Option<i32>,
}

impl Snapshot {
    /// Of a resource that was just observed.
    pub fn new(resource: Arc<Resource>) -> Self {
        let Recorded { switchover_id, switchover_refused, replication_user, .. } =
            resource.settings.recorded.clone();
        Self {
            resource,
            pods: BTreeMap::new(),
            sentinel_pods: BTreeMap::new(),
            claimants: BTreeMap::new(),
            former: FormerPods::default(),
            sets: Vec::new(),
            is_set_current: false,
            set_claims: Value::Null,
            nodes: BTreeMap::new(),
            revision: String::new(),
            seen: BTreeMap::new(),
            missing: BTreeSet::new(),
            foreign: BTreeMap::new(),
            foreign_set: None,
            stored: None,
            stored_content: None,
            gone_record: None,
            is_record_known: false,
            record: None,
            decided: None,
            picture: Arc::default(),
            is_switching: false,
            shadow: None,
            master_change: None,
            switchover_id,
            switchover_refused,
            replication_user,
            taken_users: Taken::default(),
            secrets: None,
            problems: BTreeMap::new(),
            may_act: false,
            settled: None,
            handle: None,
            faces: BTreeMap::new(),
            endpoint: None,
            sentinels: None,
        }
    }

    /// Its StatefulSet.
    pub fn set_key(&self) -> ObjectKey {
        ("StatefulSet", self.resource.settings.family.set_name(&self.resource.name()))
    }

    pub fn namespace(&self) -> String {
        self.resource.namespace()
    }

    /// The master as last published, by this operator or its predecessor.
    pub fn master(&self) -> Option<&str> {
        let published = self.record.as_ref().map(|(record, _)| record.published.master.as_str());
        let stored = || self.newest_stored()?.shards.first().map(|shard| shard.published.master.as_str());
        published.or_else(stored).or(self.resource.settings.recorded.master.as_deref())
    }

    /// The stored record, unless the status knows of a later change of master.
    fn newest_stored(&self) -> Option<&Content> {
        let of_status = self.resource.settings.recorded.records.iter().map(|record| record.published.epoch);
        let of_status = of_status.max();
        self.stored_content.as_deref().filter(|content| of_status <= Some(content.epoch()))
    }

    /// Takes in the object with the stored record, or that it is gone.
    pub fn observe_stored(&mut self, sighting: Option<Sighting>) {
        self.is_record_known = true;
        let sighting = sighting.filter(|seen| seen.is_owned_by(self.resource.uid()));
        if sighting.is_none() {
            let gone = self.stored.take().map(|stored| stored.uid.clone());
            self.gone_record = gone.or(self.gone_record.take());
        }
        self.stored = sighting.map(Arc::new);
        let content = self.stored.as_deref().and_then(Content::of);
        self.stored_content = match content {
            Some(Ok(content)) => Some(Arc::new(content)),
            Some(Err(error)) => {
                let (namespace, name) = (self.namespace(), self.resource.name());
                tracing::warn!(namespace, name, error, "stored record not understood");
                None
            }
            None => None,
        };
    }

    /// Takes in a slice of the Sentinel endpoint, or that it is gone. Another's is none.
    pub fn observe_face(&mut self, name: String, seen: Option<SeenFace>) {
        let seen = seen.filter(|seen| seen.sighting.is_owned_by(self.resource.uid()));
        if seen.is_some() || self.faces.contains_key(&name) {
            self.faces.insert(name, seen);
        }
    }

    /// Whether the object with the record is gone that had been written before.
    pub fn is_record_gone(&self, written: &Sighting) -> bool {
        self.stored.is_none() && self.gone_record.as_ref() == Some(&written.uid)
    }

    /// The records that a group starts from, with ages as of `now`: those of the object of its own, or of the
    /// status where that knows a later change of master. Each of the two may be missing.
    pub fn records(&self, now: Timestamp) -> Vec<Record> {
        self.newest_stored().map_or_else(|| self.resource.records(now), |content| content.records(now))
    }

    /// The version of what [`Self::records`] rests on.
    pub fn records_version(&self) -> (Option<String>, Option<u64>) {
        let stored = self.stored.as_ref().map(|stored| stored.version);
        (self.resource.object.metadata.resource_version.clone(), stored)
    }

    /// The Pod of the published master. None: there is none, or its name means a former Pod's process.
    pub fn master_pod(&self) -> Option<(&str, &Arc<Pod>)> {
        let (name, pod) = self.pods.get_key_value(self.master()?)?;
        (!self.former.keeps_name(name)).then_some((name.as_str(), pod))
    }

    /// The newest epoch in [`Self::records`].
    pub fn recorded_epoch(&self) -> Option<u64> {
        let of_status = self.resource.settings.recorded.records.iter().map(|record| record.published.epoch);
        of_status.max().max(self.stored_content.as_ref().map(|content| content.epoch()))
    }

    /// The ACL user by which an instance that starts logs in to its master. None: as any client would, until
    /// all instances let that user in.
    pub fn replication_user(&self) -> Option<&str> {
        let wanted = self.resource.settings.replication_user.as_deref();
        self.replication_user.as_deref().filter(|known| wanted == Some(known))
    }

    /// The switchover that the resource requests and the group was not asked for yet. None: there is none, or
    /// another operator has the authority.
    pub fn switchover_to_send(&self) -> Option<&SwitchoverRequest> {
        let request = self.resource.settings.switchover.as_ref();
        request.filter(|request| self.may_change() && self.switchover_id.as_ref() != Some(&request.id))
    }

    /// Takes a StatefulSet in that has the name of this resource's. One that this resource does not own
    /// changes nothing, and neither do its Pods.
    pub fn observe_set(&mut self, set: &Set) {
        if !self.owns(&set.sighting) {
            self.foreign_set = set.sighting.is_owned_by(self.resource.uid()).then(|| set.clone());
            return;
        }
        self.revision.clone_from(&set.revision);
        self.is_set_current = set.is_current;
        self.set_claims.clone_from(&set.claims);
        if !self.sets.contains(&set.sighting.uid) {
            self.sets.push(set.sighting.uid.clone());
            let surplus = self.sets.len().saturating_sub(SETS_MAX);
            self.sets.drain(..surplus);
        }
        self.admit_pods();
    }

    /// Whether an object is this resource's: its own, or one that it took over.
    fn owns(&self, seen: &Sighting) -> bool {
        let (uid, family) = (self.resource.uid(), self.resource.settings.family);
        seen.is_ours(uid, family) || self.adoption() != AdoptionState::No && seen.is_owned_by(uid)
    }

    fn adoption(&self) -> AdoptionState {
        let adoption = self.resource.settings.adoption.as_ref();
        adoption.map_or(AdoptionState::No, |adoption| adoption.state)
    }

    /// Whether this operator may change anything but the status: it has the authority, and does not just
    /// observe what another operator made, or leave it to that one again.
    pub fn may_change(&self) -> bool {
        self.may_act
            && match self.adoption() {
                AdoptionState::No => true,
                AdoptionState::Observing => false,
                AdoptionState::Adopted { .. } => !self.resource.settings.group.paused,
            }
    }

    /// Takes in another version of the resource: by its annotation what another operator made is its own.
    pub fn observe_resource(&mut self, resource: Arc<Resource>) -> Arc<Resource> {
        let before = std::mem::replace(&mut self.resource, resource);
        if self.adoption() != AdoptionState::No && !self.foreign.is_empty() {
            for (key, seen) in std::mem::take(&mut self.foreign) {
                self.missing.remove(&key);
                self.seen.insert(key, seen);
            }
            if let Some(set) = self.foreign_set.take() {
                self.observe_set(&set);
            }
            self.admit_pods();
        }
        before
    }

    /// Takes an object in that has the label of this resource, or that it is gone.
    pub fn observe_object(&mut self, key: ObjectKey, sighting: Option<Arc<Sighting>>) {
        let is_deployment = key.0 == "Deployment";
        let (ours, others) = sighting.map_or((None, None), |seen| {
            if self.owns(&seen) { (Some(seen), None) } else { (None, Some(seen)) }
        });
        match others.filter(|seen| seen.is_owned_by(self.resource.uid())) {
            Some(seen) => drop(self.foreign.insert(key.clone(), seen)),
            None => drop(self.foreign.remove(&key)),
        }
        match ours {
            Some(seen) => {
                self.missing.remove(&key);
                self.seen.insert(key, seen);
            }
            // Another's stands there, or nothing does.
            None => {
                self.seen.remove(&key);
                self.missing.insert(key);
            }
        }
        if is_deployment {
            self.admit_pods();
        }
    }

    /// Takes in a Pod as it is now, or that none of that name exists.
    pub fn observe_pod(&mut self, name: String, pod: Option<Arc<Pod>>, now: Instant) {
        let uid = |pod: &Pod| pod.metadata.uid.clone();
        let gone = self.pods.get(&name).filter(|before| pod.as_deref().and_then(uid) != uid(before));
        if let Some(gone) = gone.filter(|_| self.master() == Some(name.as_str())) {
            let gone = Arc::clone(gone);
            self.former.observe_gone(&gone, now);
        }
        match pod {
            Some(pod) => drop(self.claimants.insert(name, pod)),
            None => drop(self.claimants.remove(&name)),
        }
        self.admit_pods();
        self.settle_former(now);
    }

    /// Whether a name means another process than before.
    pub fn settle_former(&mut self, now: Instant) -> bool {
        let master = self.master().map(str::to_owned);
        self.former.settle(master.as_deref(), self.pods.values(), now)
    }

    /// Of the Pods that claim to be members, those that a StatefulSet of this resource controls; of those
    /// that claim to be its Sentinels, all, once a Deployment of this resource has that name.
    pub fn admit_pods(&mut self) {
        let is_ours =
            |pod: &Pod| pods::set_uid(pod).is_some_and(|uid| self.sets.iter().any(|ours| ours == uid));
        let all = |(name, pod): (&String, &Arc<Pod>)| (name.clone(), Arc::clone(pod));
        self.pods = self.claimants.iter().filter(|(_, pod)| is_ours(pod)).map(all).collect();
        let deployment = self.resource.settings.family.sentinels_name(&self.resource.name());
        let has_sentinels = deployment.is_some_and(|name| self.seen.contains_key(&("Deployment", name)));
        let sentinels = self.claimants.iter().filter(|(_, pod)| has_sentinels && pods::is_of_sentinels(pod));
        self.sentinel_pods = sentinels.map(all).collect();
    }

    /// Takes a published record in. A newer position of the same master is for the status alone.
    pub fn observe_record(&mut self, record: Record, now: Timestamp) -> News {
        let published = |record: &Record| (record.published.epoch, record.published.master.clone());
        let is_same = self.record.as_ref().is_some_and(|(before, _)| published(before) == published(&record));
        self.record = Some((record, now));
        self.settle_former(Instant::now());
        if is_same { News::Status } else { News::Everything }
    }

    /// Takes the newest decision in. True: the status shows it otherwise than the one before. Looks at a
    /// group that does not change are many, so whatever copies the snapshot asks this first.
    pub fn observe_decision(
        &mut self,
        ruling: &Arc<DecisionRef>,
        is_switching: bool,
        title: impl FnOnce() -> String,
        now: Timestamp,
    ) -> bool {
        let is_shown = |before: &DecisionRef| {
            before.digest == ruling.digest && !differs(&before.decision, &ruling.decision)
        };
        let is_news = self.is_switching != is_switching
            || !self.decided.as_ref().is_some_and(|(before, ..)| is_shown(before));
        if is_news {
            self.is_switching = is_switching;
            self.decided = Some((Arc::clone(ruling), title(), now));
        }
        is_news
    }

    /// Takes in what the guard saw at the newest decision. True: it is another than before.
    pub fn observe_picture(&mut self, picture: Arc<Picture>) -> bool {
        std::mem::replace(&mut self.picture, Arc::clone(&picture)) != picture
    }

    /// Takes in that a decision refuses the requested switchover. True: it does, and the status does not show
    /// it yet.
    pub fn observe_refusal(&mut self, decision: &Decision) -> bool {
        let Some(refusal) = refusal(decision) else { return false };
        self.switchover_refused.replace(refusal.clone()) != Some(refusal)
    }

    /// As many Pods exist as are wanted.
    pub fn is_whole(&self) -> bool {
        self.pods.len() == usize::try_from(self.resource.settings.replicas).unwrap_or(usize::MAX)
    }

    /// The same, the last verdict is healthy, and the guard itself saw each of these very Pods in sync.
    pub fn is_healthy(&self) -> bool {
        self.is_whole()
            && self.decided.as_ref().is_some_and(|(decided, ..)| decided.decision.verdict == Verdict::Healthy)
            && self.picture.is_whole
            && self.pods.values().all(|pod| self.is_seen(pod))
    }

    /// The health of an instance. None: it has not been decided on, or the policy calls it in sync and the
    /// guard did not see that of this very Pod.
    pub fn health(&self, pod: &str) -> Option<Health> {
        let (decided, ..) = self.decided.as_ref()?;
        let member = decided.decision.members.iter().find(|member| member.id == pod)?;
        let is_seen = member.health != Health::InSync || self.is_seen(self.pods.get(pod)?);
        is_seen.then_some(member.health)
    }

    fn is_seen(&self, pod: &Pod) -> bool {
        pod.metadata.uid.as_ref().is_some_and(|uid| self.picture.pods.contains(uid))
    }

    /// The Sentinels of the group.
    pub fn sentinels(&self, now: Timestamp) -> Vec<Member> {
        let pods: Vec<&Pod> = self.sentinel_pods.values().map(AsRef::as_ref).collect();
        self.resource.managed.sentinels(&pods, now)
    }

    /// What the group is to be. While Sentinels run that the resource does not ask for any more, it has them.
    pub fn group(&self) -> Group {
        let sentinels = self.sentinels(Timestamp::now()).len();
        let beside = self.resource.managed.group_beside(sentinels);
        beside.unwrap_or_else(|| self.resource.settings.group.clone())
    }

    /// What is known of the node that a Pod runs on.
    pub fn place(&self, pod: &Pod) -> Option<&Place> {
        self.nodes.get(node(pod)?)
    }

    /// All Pods, by name, with what was observed beside them.
    pub fn observed_pods(&self) -> Vec<ObservedPod<'_>> {
        let observed = |pod| ObservedPod { pod, revision: self.revision.as_str(), place: self.place(pod) };
        self.pods.values().map(|pod| observed(pod)).collect()
    }

    /// Whether the group was ever seen to run as asked for.
    pub fn was_made(&self) -> bool {
        let recorded = &self.resource.settings.recorded;
        recorded.settled_generation.is_some() || self.settled.is_some_and(|settled| settled.is_settled)
    }

    /// Whether what runs is what this version of the resource asks for.
    pub fn is_settled(&self) -> bool {
        let settled = self.settled.unwrap_or_else(|| Settled::recorded(self));
        settled.is_settled && settled.generation == self.resource.object.metadata.generation
    }

    /// Where a Pod's Redis is dialled. None: nowhere, it does not run.
    pub fn address(&self, pod: &str) -> Option<String> {
        let pod = self.pods.get(pod)?;
        pod.status.as_ref()?.pod_ip.clone().filter(|host| !host.is_empty())
    }
}

/// A Pod ends within its grace period, and nobody deletes a StatefulSet more often within that.
const SETS_MAX: usize = 4;

#[cfg(test)]
mod tests;
