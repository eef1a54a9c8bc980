//! Reconciles one Redis resource. What is heard of it becomes a snapshot; the group is told at once,
//! and two tasks make the newest snapshot true in the cluster: what clients and successors rest on, and
//! everything else. No API call holds up any of the others.

mod failover_slice;
mod live_config;
mod maintain;
mod objects;
mod publish;
mod role_labels;
mod rollout;
mod running;
mod secrets;
mod snapshot;

use super::Context;
use crate::group::{Decided, Moment, Report};
use crate::kubernetes::crd::Redis;
use crate::kubernetes::events;
use crate::kubernetes::nodes::{Place, node};
use crate::kubernetes::status::Problem;
use crate::kubernetes::status::failover::refusal;
use crate::kubernetes::status::instances::differs;
use crate::report::{DecisionRef, PublishedView};
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use running::{RunningGroup, Told};
use snapshot::{ObjectKey, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a reconciler is told.
#[derive(Clone, Debug)]
pub enum Word {
    /// What is wanted, as it is now.
    Wanted(Arc<Redis>),
    /// What is wanted now is not understood, and why; what was wanted before stands.
    Invalid(String),
    /// A Pod, as it is now.
    Pod(Arc<Pod>),
    /// It is gone.
    PodGone(String),
    /// A node that a Pod runs on, as it is now.
    Node(String, Place),
    /// The revision that Pods should have.
    Revision(String),
    /// An object was changed, maybe by us: its kind, its name, its version now. None: it was deleted.
    Object(&'static str, String, Option<u64>),
    /// All objects of a kind are told anew from here.
    Listing(&'static str),
    /// Those that were not told since are gone.
    Listed(&'static str),
    /// A Secret that the resource names was changed, made or deleted.
    Secret,
}

/// What the tasks of a reconciler find out.
enum Found {
    Secrets(secrets::Read),
    /// By whom, and all of it.
    Troubles(&'static str, Vec<Problem>),
    /// All instances let each other in as this user.
    ReplicationUser(String),
}

struct Reconciler {
    context: Arc<Context>,
    snapshot: Snapshot,
    running: Option<RunningGroup>,
    /// Where everybody can see what it decides.
    window: PublishedView,
    /// Objects that were known when a listing began, and were not told since.
    unlisted: BTreeSet<ObjectKey>,
    found: UnboundedSender<Found>,
    /// Reads the Secrets; ends with this.
    reading: JoinSet<()>,
}

/// Looks after one resource until no word can come any more.
pub async fn reconcile(
    context: Arc<Context>,
    redis: Arc<Redis>,
    mut words: UnboundedReceiver<Word>,
    mut authority: watch::Receiver<bool>,
) {
    let (found, mut finds) = unbounded();
    let snapshot = Snapshot::new(redis);
    let (snapshots, newest) = watch::channel(snapshot.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(publish::keep(Arc::clone(&context), newest.clone()));
    tasks.spawn(maintain::keep(Arc::clone(&context), newest, found.clone()));
    let window = context.inspector.open(&snapshot.namespace(), &snapshot.redis.name_any());
    let mut reconciler = Reconciler {
        context,
        snapshot,
        running: None,
        window,
        unlisted: BTreeSet::new(),
        found,
        reading: JoinSet::new(),
    };
    reconciler.read_secrets();
    let mut policies = reconciler.context.policies.changes();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            word = words.next() => match word {
                Some(word) => reconciler.take(word),
                None => return,
            },
            changed = authority.changed() => if changed.is_err() { return },
            changed = policies.changed() => if changed.is_err() { return },
            _ = looks.tick() => if !reconciler.has_news_of_the_shadow() { continue },
            told = next(&mut reconciler.running) => if !reconciler.hear(told) { continue },
            Some(find) = finds.next() => reconciler.learn(find),
        }
        while let Ok(word) = words.try_recv() {
            reconciler.take(word);
        }
        reconciler.snapshot.may_act = *authority.borrow_and_update();
        reconciler.drive();
        snapshots.send_replace(reconciler.snapshot.clone());
    }
}

async fn next(running: &mut Option<RunningGroup>) -> Told {
    match running {
        Some(running) => running.next().await,
        None => std::future::pending().await,
    }
}

impl Reconciler {
    fn take(&mut self, word: Word) {
        let snapshot = &mut self.snapshot;
        match word {
            Word::Wanted(redis) => {
                let is_elsewhere = (&redis.spec.password, &redis.spec.tls)
                    != (&snapshot.redis.spec.password, &snapshot.redis.spec.tls);
                snapshot.redis = redis;
                snapshot.problems.remove(SPEC);
                if is_elsewhere {
                    self.read_secrets();
                }
            }
            Word::Invalid(message) => {
                snapshot.problems.insert(SPEC, vec![Problem { reason: "InvalidSpec", message }]);
            }
            Word::Pod(pod) => {
                snapshot.pods.insert(pod.name_any(), pod);
            }
            Word::PodGone(name) => {
                snapshot.pods.remove(&name);
                snapshot.nodes.retain(|name, _| snapshot.pods.values().any(|pod| node(pod) == Some(name)));
            }
            Word::Node(name, place) => {
                snapshot.nodes.insert(name, place);
            }
            Word::Revision(revision) => snapshot.revision = revision,
            Word::Object(kind, name, version) => {
                let key = (kind, name);
                self.unlisted.remove(&key);
                match version {
                    Some(version) => {
                        snapshot.missing.remove(&key);
                        snapshot.seen.insert(key, version);
                    }
                    None => {
                        snapshot.seen.remove(&key);
                        snapshot.missing.insert(key);
                    }
                }
            }
            Word::Listing(kind) => {
                self.unlisted.extend(snapshot.seen.keys().filter(|(of, _)| *of == kind).cloned())
            }
            Word::Listed(kind) => {
                let (gone, rest): (BTreeSet<_>, BTreeSet<_>) =
                    std::mem::take(&mut self.unlisted).into_iter().partition(|(of, _)| *of == kind);
                self.unlisted = rest;
                snapshot.seen.retain(|key, _| !gone.contains(key));
                snapshot.missing.extend(gone);
            }
            Word::Secret => self.read_secrets(),
        }
    }

    /// Whether it changes the snapshot.
    fn hear(&mut self, told: Told) -> bool {
        match told {
            Told::Record(record) => {
                self.snapshot.record = Some((record, Timestamp::now()));
                true
            }
            Told::Report(now, report) => self.hear_report(now, report),
        }
    }

    fn hear_report(&mut self, now: Moment, report: Report) -> bool {
        let Some(running) = &mut self.running else { return false };
        let takeover = running.reporter.take(now, &report);
        let events = [events::of_report(&report), takeover.as_ref().map(events::of_master_change)]
            .into_iter()
            .flatten();
        // Who only looks on has nothing to tell: the one that acts says it, once.
        for event in events.filter(|_| self.snapshot.may_act) {
            self.context.events.emit(self.snapshot.redis.object_ref(&()), event);
        }
        let has_ended = takeover.is_some();
        self.snapshot.takeover = takeover.map(Arc::new).or(self.snapshot.takeover.take());
        match report {
            Report::Decided(decided) => {
                running.shadow(&decided);
                let Decided { observation, decision, digest, is_news } = *decided;
                let ruling = Arc::new(DecisionRef { decision, digest });
                self.window.show(now, Arc::clone(&ruling), running.look());
                let is_switching = observation.switchover.is_some();
                let is_same = std::mem::replace(&mut self.snapshot.is_switching, is_switching)
                    == is_switching
                    && !is_news;
                let is_told = |before: &DecisionRef| {
                    before.digest == ruling.digest && !differs(&before.decision, &ruling.decision)
                };
                if is_same && self.snapshot.decided.as_ref().is_some_and(|(before, ..)| is_told(before)) {
                    return has_ended;
                }
                self.snapshot.switchover_refused =
                    refusal(&ruling.decision).or(self.snapshot.switchover_refused.take());
                let title = running.title(&ruling.digest);
                self.snapshot.decided = Some((ruling, title, Timestamp::now()));
                true
            }
            Report::Link { .. }
            | Report::Fault { .. }
            | Report::Held
            | Report::Sent { .. }
            | Report::Withheld { .. }
            | Report::Finished { .. } => has_ended,
        }
    }

    fn has_news_of_the_shadow(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.shadow_status() != self.snapshot.shadow)
    }

    fn learn(&mut self, find: Found) {
        match find {
            Found::Secrets((secrets, problem)) => {
                let before = self.snapshot.secrets.take();
                self.snapshot.secrets =
                    secrets.map(|secrets| Arc::new(secrets.after(before.as_deref()))).or(before);
                self.snapshot.problems.insert(SECRETS, problem.into_iter().collect());
            }
            Found::Troubles(finder, problems) => {
                self.snapshot.problems.insert(finder, problems);
            }
            Found::ReplicationUser(user) => self.snapshot.replication_user = Some(user),
        }
    }

    fn read_secrets(&mut self) {
        let (client, redis, found) =
            (self.context.client.clone(), Arc::clone(&self.snapshot.redis), self.found.clone());
        self.reading.abort_all();
        self.reading.spawn(async move {
            secrets::read(&client, &redis, |read| drop(found.unbounded_send(Found::Secrets(read)))).await
        });
    }

    /// Starts the group as soon as it is known how to log in, and tells it what there is now.
    fn drive(&mut self) {
        let Some(secrets) = self.snapshot.secrets.clone() else { return };
        if self.running.as_ref().is_some_and(|running| running.is_outdated(&self.snapshot.redis, &secrets)) {
            self.running = None;
        }
        let mut assignment = self.context.policies.assignment(&self.snapshot.redis);
        self.snapshot.problems.insert(POLICY, assignment.problem.take().into_iter().collect());
        let running = match &mut self.running {
            Some(running) => running,
            None => {
                self.running.insert(RunningGroup::start(&self.context, &self.snapshot, &secrets, &assignment))
            }
        };
        running.tell(&self.snapshot, &secrets, &assignment.parameters);
        running.serve(&self.context, assignment);
        self.snapshot.shadow = running.shadow_status();
        self.snapshot.handle = Some(running.handle.clone());
        let request = self.snapshot.redis.spec.switchover.as_ref();
        if let Some(request) = request.filter(|request| {
            self.snapshot.may_act && self.snapshot.switchover_id.as_ref() != Some(&request.id)
        }) {
            running.handle.switch_over(request.to.clone());
            self.snapshot.switchover_id = Some(request.id.clone());
            self.snapshot.switchover_refused = None;
        }
    }
}

/// Who finds problems.
const SPEC: &str = "spec";
const SECRETS: &str = "secrets";
const POLICY: &str = "policy";
/// For what no event tells of: how the shadow answers.
const LOOK_EVERY: Duration = Duration::from_secs(10);
