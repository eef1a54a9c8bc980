//! What is known of one resource at one moment. Each step gets the newest snapshot and makes it true; the
//! ones in between do not matter.

use super::observe::News;
use super::secrets::Secrets;
use crate::contract::{Decision, Health, Verdict};
use crate::driver::GroupHandle;
use crate::group::{Picture, Record};
use crate::kubernetes::crd::{ShadowStatus, SwitchoverRequest};
use crate::kubernetes::kinds::{ObservedPod, Recorded, Resource};
use crate::kubernetes::nodes::{Place, node};
use crate::kubernetes::status::Problem;
use crate::kubernetes::status::failover::refusal;
use crate::kubernetes::status::instances::differs;
use crate::report::{DecisionRef, MasterChange};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Kind and name of an object.
pub type ObjectKey = (&'static str, String);

#[derive(Clone)]
pub struct Snapshot {
    pub resource: Arc<Resource>,
    pub pods: BTreeMap<String, Arc<Pod>>,
    /// The nodes that the Pods run on.
    pub nodes: BTreeMap<String, Place>,
    /// The revision that Pods should have. Empty: not known yet.
    pub revision: String,
    /// The newest version of each object that was seen.
    pub seen: BTreeMap<ObjectKey, u64>,
    /// Objects that were there and are not.
    pub missing: BTreeSet<ObjectKey>,
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
    /// None: not read yet.
    pub secrets: Option<Arc<Secrets>>,
    /// What stands in the way, by its finder.
    pub problems: BTreeMap<&'static str, Vec<Problem>>,
    pub may_act: bool,
    /// None: there is no group yet.
    pub handle: Option<GroupHandle>,
}

impl Snapshot {
    /// Of a resource that was just observed.
    pub fn new(resource: Arc<Resource>) -> Self {
        let Recorded { switchover_id, switchover_refused, replication_user, .. } =
            resource.settings.recorded.clone();
        Self {
            resource,
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            revision: String::new(),
            seen: BTreeMap::new(),
            missing: BTreeSet::new(),
            record: None,
            decided: None,
            picture: Arc::default(),
            is_switching: false,
            shadow: None,
            master_change: None,
            switchover_id,
            switchover_refused,
            replication_user,
            secrets: None,
            problems: BTreeMap::new(),
            may_act: false,
            handle: None,
        }
    }

    pub fn namespace(&self) -> String {
        self.resource.namespace()
    }

    /// The master as last published, by this operator or its predecessor.
    pub fn master(&self) -> Option<&str> {
        let published = self.record.as_ref().map(|(record, _)| record.published.master.as_str());
        published.or(self.resource.settings.recorded.master.as_deref())
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
        request.filter(|request| self.may_act && self.switchover_id.as_ref() != Some(&request.id))
    }

    /// Takes a published record in. A newer position of the same master is for the status alone.
    pub fn observe_record(&mut self, record: Record, now: Timestamp) -> News {
        let published = |record: &Record| (record.published.epoch, record.published.master.clone());
        let is_same = self.record.as_ref().is_some_and(|(before, _)| published(before) == published(&record));
        self.record = Some((record, now));
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

    /// What is known of the node that a Pod runs on.
    pub fn place(&self, pod: &Pod) -> Option<&Place> {
        self.nodes.get(node(pod)?)
    }

    /// All Pods, by name, with what was observed beside them.
    pub fn observed_pods(&self) -> Vec<ObservedPod<'_>> {
        let observed = |pod| ObservedPod { pod, revision: self.revision.as_str(), place: self.place(pod) };
        self.pods.values().map(|pod| observed(pod)).collect()
    }

    /// Where a Pod's Redis is dialled. None: nowhere, it does not run.
    pub fn address(&self, pod: &str) -> Option<String> {
        let pod = self.pods.get(pod)?;
        pod.status.as_ref()?.pod_ip.clone().filter(|host| !host.is_empty())
    }
}

/// Snapshots for the tests of the planners.
#[cfg(test)]
pub mod fixture {
    use super::*;
    use crate::contract::Published;
    use crate::kubernetes::kinds::sample::sample;
    use serde_json::json;

    /// Of a Sample called `cart` with three servers, and Pods that have just been made.
    pub fn snapshot(pods: &[&str]) -> Snapshot {
        let mut snapshot = Snapshot::new(Arc::new(sample(|_| ())));
        snapshot.pods = pods.iter().map(|name| ((*name).to_owned(), Arc::new(pod(name)))).collect();
        snapshot
    }

    pub fn pod(name: &str) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": name, "namespace": "shop" } })).unwrap()
    }

    pub fn record(master: &str, epoch: u64) -> Record {
        let (run_id, replid) = ("r".into(), "i".into());
        let published =
            Published { master: master.into(), run_id, replid, offset: 7, epoch, age_us: 0, node: None };
        Record { shard: 0, published, lineage: Vec::new(), position: None, last_failover: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{RequestAnswer, RequestState};
    use crate::group::Report;
    use crate::report::script;

    /// Of a group whose second instance has that health.
    fn decision(reason: &str, health: Health) -> Decision {
        match script::decided(Verdict::Wait, reason, "cart-0000", vec![]) {
            Report::Decided(decided) => {
                let mut decision = Decision::clone(&decided.decision);
                decision.members[1].health = health;
                decision
            }
            other => panic!("no decision: {other:?}"),
        }
    }

    fn refused(text: &str) -> Decision {
        let (state, reason) = (RequestState::Refused, "no-replica".into());
        let request = Some(RequestAnswer { state, reason, text: text.into() });
        Decision { request, ..decision("healthy", Health::InSync) }
    }

    fn observe(snapshot: &mut Snapshot, decision: Decision, digest: &str, is_switching: bool) -> bool {
        let ruling = Arc::new(DecisionRef { decision: Arc::new(decision), digest: digest.into() });
        snapshot.observe_decision(&ruling, is_switching, || digest.to_owned(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_decision_that_the_status_shows_otherwise_is_news_and_a_look_without_a_change_is_not() {
        let mut snapshot = fixture::snapshot(&[]);
        let known = || decision("replica-syncing", Health::Alive);
        assert!(observe(&mut snapshot, known(), "one", false), "the first");
        assert!(!observe(
            &mut snapshot,
            Decision { explanation: "2 ms later".into(), ..known() },
            "one",
            false
        ));
        let rows = [
            ("another reason", decision("master-dead", Health::Alive), "one", false),
            ("another health", decision("replica-syncing", Health::Dead), "one", false),
            ("another policy", known(), "two", false),
            ("a switchover began", known(), "one", true),
        ];
        for (fact, decision, digest, is_switching) in rows {
            let mut snapshot = snapshot.clone();
            assert!(observe(&mut snapshot, decision, digest, is_switching), "{fact}");
            let (shown, title, _) = snapshot.decided.as_ref().unwrap();
            assert_eq!(
                (shown.digest.as_str(), title.as_str(), snapshot.is_switching),
                (digest, digest, is_switching)
            );
        }
    }

    #[test]
    fn health_is_what_the_guard_saw_of_these_very_pods_whatever_the_policy_says() {
        let pods = ["cart-0000", "cart-0001", "cart-0002"];
        let mut snapshot = fixture::snapshot(&pods);
        for (name, pod) in &mut snapshot.pods {
            Arc::make_mut(pod).metadata.uid = Some(format!("uid of {name}"));
        }
        let healthy = Decision { verdict: Verdict::Healthy, ..decision("healthy", Health::InSync) };
        observe(&mut snapshot, healthy, "one", false);
        let seen = |uids: &[&str], is_whole| {
            let pods = uids.iter().map(|name| format!("uid of {name}")).collect();
            Arc::new(Picture { pods, is_whole, ..Picture::default() })
        };
        let told = |snapshot: &mut Snapshot, picture| {
            snapshot.observe_picture(picture);
            (snapshot.is_healthy(), snapshot.health("cart-0001"))
        };
        assert_eq!(told(&mut snapshot, Arc::default()), (false, None), "only the policy says so");
        assert_eq!(told(&mut snapshot, seen(&pods, false)), (false, Some(Health::InSync)));
        assert!(!told(&mut snapshot, seen(&["cart-0000", "cart-0001", "old"], true)).0);
        assert_eq!(told(&mut snapshot, seen(&pods, true)), (true, Some(Health::InSync)));
        assert!(!snapshot.observe_picture(seen(&pods, true)), "the same");
    }

    #[test]
    fn a_pod_is_a_member_with_the_revision_that_it_should_have_and_its_node() {
        let mut snapshot = fixture::snapshot(&["redis-cart-0"]);
        let pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "redis-cart-1", "namespace": "shop" },
            "spec": { "containers": [], "nodeName": "n1" },
            "status": { "podIP": "10.0.0.7" }
        }));
        snapshot.pods.insert("redis-cart-1".into(), Arc::new(pod.unwrap()));
        snapshot.nodes.insert("n1".into(), Place { is_ready: Some(true), zone: Some("a".into()) });
        snapshot.revision = "new".into();
        let members = snapshot.resource.managed.members(&snapshot.observed_pods(), Timestamp::UNIX_EPOCH);
        assert_eq!(members.len(), 1, "a Pod without address is none");
        let facts = members[0].pod.as_ref().unwrap();
        assert_eq!((members[0].id.as_str(), facts.revision_target.as_str()), ("redis-cart-1", "new"));
        assert_eq!((facts.node_ready, facts.zone.as_deref()), (Some(true), Some("a")));
    }

    #[test]
    fn a_refused_switchover_stays_refused_when_later_decisions_say_nothing_of_it() {
        let mut snapshot = fixture::snapshot(&[]);
        assert!(!snapshot.observe_refusal(&decision("healthy", Health::InSync)));
        assert!(snapshot.observe_refusal(&refused("no replica is in sync")));
        assert!(!snapshot.observe_refusal(&refused("no replica is in sync")), "shown already");
        assert!(!snapshot.observe_refusal(&decision("healthy", Health::InSync)));
        assert_eq!(snapshot.switchover_refused.as_deref(), Some("no replica is in sync"));
    }
}
