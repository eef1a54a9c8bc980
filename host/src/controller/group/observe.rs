//! Step 1 of the reconciler: what is observed goes into the snapshot. Calls no API: Secrets are read by a
//! task beside, whose findings come in like everything else.

use super::endpoint::Endpoint;
use super::running::{GroupOutput, RunningGroup};
use super::secret_reader::SecretReader;
use super::secrets::Read;
use super::settling::Settled;
use super::snapshot::Snapshot;
use super::users::Taken;
use super::{Context, Reconciler};
use crate::driver::NewestDecision;
use crate::group::{Moment, Report};
use crate::kubernetes::events;
use crate::kubernetes::kinds::{PolicyReference, References, Resource};
use crate::kubernetes::nodes::{Place, node};
use crate::kubernetes::ownership::Sighting;
use crate::kubernetes::record::record_name;
use crate::kubernetes::status::Problem;
use crate::kubernetes::watch::{SeenFace, Set};
use crate::report::{Backoff, DecisionRef, Task, restarts};
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::Interval;

/// What the watches show of one resource.
#[derive(Clone, Debug)]
pub enum Observed {
    /// The resource, as it is now.
    Resource(Arc<Resource>),
    /// The resource as it is now is not understood, and why; the one before stands.
    Invalid(String),
    /// A Pod, as it is now.
    Pod(Arc<Pod>),
    /// A Pod is gone, by name.
    PodGone(String),
    /// A node that a Pod runs on, as it is now.
    Node(String, Place),
    /// A StatefulSet with the name of ours.
    Set(Arc<Set>),
    /// An object with our label was changed, maybe by us: its kind, its name, what it is now. None: it was
    /// deleted.
    Object(&'static str, String, Option<Arc<Sighting>>),
    /// The list of objects is complete, or refused: what was not seen of the stored record does not exist.
    RecordsListed,
    /// An operator's slice of the Sentinel endpoint, as it is now. None: it was deleted.
    Face(String, Option<SeenFace>),
    /// A Secret that the resource names was changed, made or deleted.
    Secret,
    /// So many Sentinel endpoints are ready.
    Sentinels(i32),
}

/// What the tasks of a reconciler find out.
pub enum Finding {
    /// The Secrets were read.
    Secrets(Box<Read>),
    /// All problems that one finder has now.
    Problems(&'static str, Vec<Problem>),
    /// All instances let each other in as this user.
    ReplicationUser(String),
    /// What all running instances took of the ACL users of clients.
    UsersTaken(Taken),
    /// Whether what runs is what is asked for.
    Settled(Settled),
}

/// Anything that can change the snapshot.
pub enum Input {
    Observed(Observed),
    Group(GroupOutput),
    Finding(Finding),
    /// The operator gained or lost authority.
    Authority,
    /// Policies, their parameters or their problems changed.
    Policies,
    /// It is time to see how the shadow answered and how long a Pod is gone: no event says so.
    Tick,
    /// The share of silent groups changed.
    SilentGroups,
    /// A group whose loop ended by a fault is due to be started again.
    Restart,
}

/// What an input changes. Positions of the replication stream are published all the time, and each write of
/// the status is observed as well: neither gives objects or rollouts any work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// The snapshot is as it was.
    Nothing,
    /// What only the status shows or holds.
    Status,
    /// Anything else.
    Everything,
}

impl News {
    fn if_so(is_news: bool) -> Self {
        if is_news { Self::Everything } else { Self::Nothing }
    }
}

/// All inputs of one reconciler.
pub struct Inputs {
    observed: UnboundedReceiver<Observed>,
    found: UnboundedReceiver<Finding>,
    authority: watch::Receiver<bool>,
    policies: watch::Receiver<u64>,
    silent_groups: watch::Receiver<u16>,
    ticks: Interval,
}

impl Inputs {
    pub fn new(
        observed: UnboundedReceiver<Observed>,
        found: UnboundedReceiver<Finding>,
        authority: watch::Receiver<bool>,
        context: &Context,
    ) -> Self {
        Self {
            observed,
            found,
            authority,
            policies: context.policies.changes(),
            silent_groups: context.census.silent_permille(),
            ticks: tokio::time::interval(TICK),
        }
    }

    /// The next one. None: the controller dropped this reconciler, or ends itself.
    pub async fn next(
        &mut self,
        running: &mut Option<RunningGroup>,
        starts_at: Option<Instant>,
    ) -> Option<Input> {
        let restart = async {
            match starts_at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let group = async {
            match running {
                Some(running) => running.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            observed = self.observed.next() => observed.map(Input::Observed),
            changed = self.authority.changed() => changed.ok().map(|()| Input::Authority),
            changed = self.policies.changed() => changed.ok().map(|()| Input::Policies),
            changed = self.silent_groups.changed() => changed.ok().map(|()| Input::SilentGroups),
            _ = self.ticks.tick() => Some(Input::Tick),
            output = group => Some(Input::Group(output)),
            () = restart => Some(Input::Restart),
            Some(finding) = self.found.next() => Some(Input::Finding(finding)),
        }
    }

    /// What was observed and is there already: one snapshot for all of it.
    pub fn ready(&mut self) -> impl Iterator<Item = Observed> {
        std::iter::from_fn(|| self.observed.try_recv().ok())
    }

    /// Whether this operator has authority now.
    pub fn may_act(&mut self) -> bool {
        *self.authority.borrow_and_update()
    }
}

impl Reconciler {
    /// Of a resource that was just observed.
    pub fn new(
        context: Arc<Context>,
        resource: Arc<Resource>,
        authority: watch::Receiver<bool>,
        found: UnboundedSender<Finding>,
    ) -> Self {
        let snapshot = Snapshot::new(resource);
        let view = context.inspector.open(&snapshot.namespace(), &snapshot.resource.name());
        let mut secrets = SecretReader::new(found);
        secrets.read(&context, &snapshot.resource);
        let census = context.census.enter();
        let (starts_at, backoff) = (None, Backoff::default());
        let endpoint = Endpoint::default();
        Self {
            context,
            snapshot,
            running: None,
            endpoint,
            authority,
            view,
            census,
            secrets,
            starts_at,
            backoff,
        }
    }

    /// Takes an input into the snapshot.
    pub fn observe(&mut self, input: Input) -> News {
        match input {
            Input::Observed(observed) => self.observe_change(observed),
            Input::Group(GroupOutput::Record(record)) => {
                self.snapshot.observe_record(record, Timestamp::now())
            }
            Input::Group(GroupOutput::Report(now, report)) => News::if_so(self.observe_report(now, report)),
            Input::Group(GroupOutput::Ended) => {
                self.observe_end();
                News::Status
            }
            Input::Restart => {
                self.starts_at = None;
                News::Everything
            }
            Input::Tick => {
                let is_other = self.snapshot.settle_former(Instant::now());
                News::if_so(is_other || self.has_news_of_the_shadow() || self.endpoint.has_lost_peers())
            }
            Input::Finding(finding) => {
                self.observe_finding(finding);
                News::Everything
            }
            // The group alone has to know.
            Input::SilentGroups => News::Status,
            Input::Authority | Input::Policies => News::Everything,
        }
    }

    /// The loop of the group ended by a fault: another one starts from the record, after a delay.
    fn observe_end(&mut self) {
        let Some(running) = self.running.take() else { return };
        let delay = self.backoff.next(running.age());
        self.starts_at = Some(Instant::now() + delay);
        let of = format!("{}/{}", self.snapshot.namespace(), self.snapshot.resource.name());
        restarts(Task::Group, &of, &self.context.metrics, delay);
    }

    fn has_news_of_the_shadow(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.shadow_status() != self.snapshot.shadow)
    }

    /// Whether this operator has authority now.
    pub fn observe_authority(&mut self, may_act: bool) -> News {
        let had = std::mem::replace(&mut self.snapshot.may_act, may_act);
        News::if_so(had != may_act)
    }

    /// Takes what the watches show into the snapshot.
    pub fn observe_change(&mut self, observed: Observed) -> News {
        let snapshot = &mut self.snapshot;
        match observed {
            Observed::Resource(resource) => {
                let before = snapshot.observe_resource(resource);
                let after = &snapshot.resource;
                let is_status_only = differs_by_status_only(&before.object.metadata, &after.object.metadata);
                let was_invalid = snapshot.problems.remove(SPEC).is_some();
                if names_other_secrets(&before.references, &after.references) {
                    self.secrets.read(&self.context, after);
                }
                if is_status_only && !was_invalid {
                    return News::Status;
                }
            }
            Observed::Invalid(message) => {
                snapshot.problems.insert(SPEC, vec![Problem { reason: "InvalidSpec", message }]);
            }
            Observed::Pod(pod) => snapshot.observe_pod(pod.name_any(), Some(pod), Instant::now()),
            Observed::PodGone(name) => {
                snapshot.observe_pod(name, None, Instant::now());
                snapshot.nodes.retain(|name, _| snapshot.pods.values().any(|pod| node(pod) == Some(name)));
            }
            Observed::Node(name, place) => {
                snapshot.nodes.insert(name, place);
            }
            Observed::Set(set) => snapshot.observe_set(&set),
            Observed::RecordsListed => {
                if snapshot.is_record_known {
                    return News::Nothing;
                }
                snapshot.is_record_known = true;
            }
            Observed::Object("ConfigMap", name, sighting)
                if name == record_name(&snapshot.resource.name()) =>
            {
                snapshot.observe_stored(sighting.map(Arc::unwrap_or_clone));
                return News::Status;
            }
            Observed::Object(kind, name, sighting) => snapshot.observe_object((kind, name), sighting),
            Observed::Face(name, seen) => snapshot.observe_face(name, seen),
            Observed::Secret => self.secrets.read(&self.context, &snapshot.resource),
            Observed::Sentinels(ready) => {
                let is_news = snapshot.sentinels.replace(ready) != Some(ready);
                return if is_news { News::Status } else { News::Nothing };
            }
        }
        News::Everything
    }

    fn observe_finding(&mut self, finding: Finding) {
        match finding {
            Finding::Secrets(read) => {
                let (secrets, problem) = *read;
                let before = self.snapshot.secrets.take();
                self.snapshot.secrets =
                    secrets.map(|secrets| Arc::new(secrets.after(before.as_deref()))).or(before);
                self.snapshot.problems.insert(SECRETS, problem.into_iter().collect());
            }
            Finding::Problems(finder, problems) => {
                self.snapshot.problems.insert(finder, problems);
            }
            Finding::ReplicationUser(user) => self.snapshot.replication_user = Some(user),
            Finding::UsersTaken(taken) => self.snapshot.taken_users = taken,
            Finding::Settled(settled) => self.snapshot.settled = Some(settled),
        }
    }

    fn observe_report(&mut self, now: Moment, report: Report) -> bool {
        let was_made = self.snapshot.was_made();
        let Some(running) = &mut self.running else { return false };
        let change = running.reporter.take(now, &report);
        let events = [events::of_report(&report, was_made), change.as_ref().map(events::of_master_change)]
            .into_iter()
            .flatten();
        // Of several operators the one that acts writes events.
        for event in events.filter(|_| self.snapshot.may_act) {
            self.context.events.emit(self.snapshot.resource.object_ref(), event);
        }
        let mut is_news = change.is_some();
        if let Report::Link { member, state } = &report {
            is_news |= self.snapshot.former.observe_link(member, *state);
        }
        if let Some(problem) = running.fault_after(&report) {
            let before = self.snapshot.problems.insert(FAULT, problem.into_iter().collect());
            is_news |= before.as_ref() != self.snapshot.problems.get(FAULT);
        }
        self.snapshot.master_change = change.map(Arc::new).or(self.snapshot.master_change.take());
        if let Report::Decided(decided) = &report {
            running.shadow(decided);
            // A refusal stays in the status when later decisions say nothing of it.
            is_news |= self.snapshot.observe_refusal(&decided.decision);
        }
        if let Some(newest) = running.newest_decision() {
            let NewestDecision { at, decision, digest, picture, is_switching } = newest;
            let ruling = Arc::new(DecisionRef { decision, digest });
            is_news |= self.snapshot.observe_picture(picture);
            let title = || running.title(&ruling.digest);
            self.view.show(at, Arc::clone(&ruling), running.look());
            is_news |= self.snapshot.observe_decision(&ruling, is_switching, title, Timestamp::now());
            self.count_decision(at, &ruling.decision);
        }
        is_news
    }
}

/// Whether two versions of a resource have the same spec, labels and annotations.
fn differs_by_status_only(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.generation.is_some()
        && (&one.uid, one.generation, &one.labels, &one.annotations)
            == (&other.uid, other.generation, &other.labels, &other.annotations)
}

fn names_other_secrets(one: &References, other: &References) -> bool {
    let named = |all: &References| References { policy: PolicyReference::default(), ..all.clone() };
    named(one) != named(other)
}

/// The finders of problems.
const SPEC: &str = "spec";
const SECRETS: &str = "secrets";
const FAULT: &str = "fault";
pub const POLICY: &str = "policy";
pub const ENDPOINT: &str = "endpoint";
pub const MAINTAIN: &str = "maintain";
const TICK: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kinds::{TlsReference, UserReference};
    use k8s_openapi::api::core::v1::SecretKeySelector;

    #[test]
    fn a_write_of_the_status_gives_objects_no_work_and_any_other_change_does() {
        let metadata = |change: fn(&mut ObjectMeta)| {
            let uid = Some("u".to_owned());
            let mut metadata = ObjectMeta { uid, generation: Some(1), ..ObjectMeta::default() };
            change(&mut metadata);
            metadata
        };
        let before = metadata(|_| ());
        type Row = (&'static str, fn(&mut ObjectMeta), bool);
        let rows: [Row; 4] = [
            ("its version", |metadata| metadata.resource_version = Some("7".into()), true),
            ("its spec", |metadata| metadata.generation = Some(2), false),
            (
                "a label, which its objects get",
                |metadata| metadata.labels = Some([("a".into(), "b".into())].into()),
                false,
            ),
            ("another one of its name", |metadata| metadata.uid = Some("v".into()), false),
        ];
        for (fact, change, expected) in rows {
            assert_eq!(differs_by_status_only(&before, &metadata(change)), expected, "{fact}");
        }
    }

    #[test]
    fn secrets_are_read_anew_when_others_are_named_and_not_when_another_policy_is() {
        type Row = (&'static str, fn(&mut References), bool);
        let rows: [Row; 5] = [
            ("nothing changed", |_| (), false),
            ("a policy", |references| references.policy.name = Some("mine".into()), false),
            (
                "rights of a user",
                |references| {
                    references.users = vec![UserReference {
                        name: "shop".into(),
                        rights: "+@read".into(),
                        password: SecretKeySelector::default(),
                        generates: false,
                    }];
                },
                true,
            ),
            ("a password", |references| references.password = Some(SecretKeySelector::default()), true),
            (
                "a certificate",
                |references| {
                    references.tls = Some(TlsReference { secret: "s".into(), server_name: "n".into() });
                },
                true,
            ),
        ];
        for (fact, change, expected) in rows {
            let mut references = References::default();
            change(&mut references);
            assert_eq!(names_other_secrets(&References::default(), &references), expected, "{fact}");
        }
    }
}
