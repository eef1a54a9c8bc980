//! One Redis resource in our charge. What is heard of it becomes a picture; the group is told at once, and two tasks make the newest
//! picture true in the cluster: what clients and successors rest on, and everything else. No API call holds up any of the others.

mod bridge;
mod driven;
mod objects;
mod picture;
mod publish;
mod roles;
mod rollout;
mod secrets;
mod tune;
mod upkeep;

use super::Common;
use crate::group::{Decided, Moment, Report};
use crate::kubernetes::crd::Redis;
use crate::kubernetes::news;
use crate::kubernetes::nodes::{Place, node};
use crate::kubernetes::takeover::refusal;
use crate::kubernetes::told::Trouble;
use crate::kubernetes::verdicts::differs;
use crate::report::{Ruling, Window};
use driven::{Driven, Told};
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use picture::{ObjectKey, Picture};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a charge is told.
#[derive(Clone, Debug)]
pub enum Word {
    /// What is wanted, as it is now.
    Wanted(Arc<Redis>),
    /// What is wanted now is not understood, and why; what was wanted before stands.
    NotUnderstood(String),
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

/// What the tasks of a charge find out.
enum Found {
    Secrets(secrets::Read),
    /// By whom, and all of it.
    Troubles(&'static str, Vec<Trouble>),
    /// All instances let each other in as this user.
    ReplicationUser(String),
}

struct Charge {
    common: Arc<Common>,
    picture: Picture,
    driven: Option<Driven>,
    /// Where everybody can see what it decides.
    window: Window,
    /// Objects that were known when a listing began, and were not told since.
    unlisted: BTreeSet<ObjectKey>,
    found: UnboundedSender<Found>,
    /// Reads the Secrets; ends with this.
    reading: JoinSet<()>,
}

/// Looks after one resource until no word can come any more.
pub async fn charge(common: Arc<Common>, redis: Arc<Redis>, mut words: UnboundedReceiver<Word>, mut authority: watch::Receiver<bool>) {
    let (found, mut finds) = unbounded();
    let picture = Picture::new(redis);
    let (pictures, newest) = watch::channel(picture.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(publish::keep(Arc::clone(&common), newest.clone()));
    tasks.spawn(upkeep::keep(Arc::clone(&common), newest, found.clone()));
    let window = common.views.open(&picture.namespace(), &picture.redis.name_any());
    let mut charge = Charge { common, picture, driven: None, window, unlisted: BTreeSet::new(), found, reading: JoinSet::new() };
    charge.read_secrets();
    let mut policies = charge.common.policies.changes();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            word = words.next() => match word {
                Some(word) => charge.take(word),
                None => return,
            },
            changed = authority.changed() => if changed.is_err() { return },
            changed = policies.changed() => if changed.is_err() { return },
            _ = looks.tick() => if !charge.has_news_of_the_shadow() { continue },
            told = next(&mut charge.driven) => if !charge.hear(told) { continue },
            Some(find) = finds.next() => charge.learn(find),
        }
        while let Ok(word) = words.try_recv() {
            charge.take(word);
        }
        charge.picture.may_act = *authority.borrow_and_update();
        charge.drive();
        pictures.send_replace(charge.picture.clone());
    }
}

async fn next(driven: &mut Option<Driven>) -> Told {
    match driven {
        Some(driven) => driven.next().await,
        None => std::future::pending().await,
    }
}

impl Charge {
    fn take(&mut self, word: Word) {
        let picture = &mut self.picture;
        match word {
            Word::Wanted(redis) => {
                let is_elsewhere = (&redis.spec.password, &redis.spec.tls) != (&picture.redis.spec.password, &picture.redis.spec.tls);
                picture.redis = redis;
                picture.troubles.remove(SPEC);
                if is_elsewhere {
                    self.read_secrets();
                }
            }
            Word::NotUnderstood(message) => {
                picture.troubles.insert(SPEC, vec![Trouble { reason: "InvalidSpec", message }]);
            }
            Word::Pod(pod) => {
                picture.pods.insert(pod.name_any(), pod);
            }
            Word::PodGone(name) => {
                picture.pods.remove(&name);
                picture.nodes.retain(|name, _| picture.pods.values().any(|pod| node(pod) == Some(name)));
            }
            Word::Node(name, place) => {
                picture.nodes.insert(name, place);
            }
            Word::Revision(revision) => picture.revision = revision,
            Word::Object(kind, name, version) => {
                let key = (kind, name);
                self.unlisted.remove(&key);
                match version {
                    Some(version) => {
                        picture.missing.remove(&key);
                        picture.seen.insert(key, version);
                    }
                    None => {
                        picture.seen.remove(&key);
                        picture.missing.insert(key);
                    }
                }
            }
            Word::Listing(kind) => self.unlisted.extend(picture.seen.keys().filter(|(of, _)| *of == kind).cloned()),
            Word::Listed(kind) => {
                let (gone, rest): (BTreeSet<_>, BTreeSet<_>) = std::mem::take(&mut self.unlisted).into_iter().partition(|(of, _)| *of == kind);
                self.unlisted = rest;
                picture.seen.retain(|key, _| !gone.contains(key));
                picture.missing.extend(gone);
            }
            Word::Secret => self.read_secrets(),
        }
    }

    /// Whether it changes the picture.
    fn hear(&mut self, told: Told) -> bool {
        match told {
            Told::Record(record) => {
                self.picture.record = Some((record, Timestamp::now()));
                true
            }
            Told::Report(now, report) => self.hear_report(now, report),
        }
    }

    fn hear_report(&mut self, now: Moment, report: Report) -> bool {
        let Some(driven) = &mut self.driven else { return false };
        let takeover = driven.reporter.take(now, &report);
        let events = [news::of_report(&report), takeover.as_ref().map(news::of_takeover)].into_iter().flatten();
        // Who only looks on has nothing to tell: the one that acts says it, once.
        for event in events.filter(|_| self.picture.may_act) {
            self.common.news.tell(self.picture.redis.object_ref(&()), event);
        }
        let has_ended = takeover.is_some();
        self.picture.takeover = takeover.map(Arc::new).or(self.picture.takeover.take());
        match report {
            Report::Decided(decided) => {
                driven.shadow(&decided);
                let Decided { observation, decision, digest, is_news } = *decided;
                let ruling = Arc::new(Ruling { decision, digest });
                self.window.show(now, Arc::clone(&ruling), driven.look());
                let is_switching = observation.switchover.is_some();
                let is_same = std::mem::replace(&mut self.picture.is_switching, is_switching) == is_switching && !is_news;
                let is_told = |before: &Ruling| before.digest == ruling.digest && !differs(&before.decision, &ruling.decision);
                if is_same && self.picture.decided.as_ref().is_some_and(|(before, ..)| is_told(before)) {
                    return has_ended;
                }
                self.picture.switchover_refused = refusal(&ruling.decision).or(self.picture.switchover_refused.take());
                let title = driven.title(&ruling.digest);
                self.picture.decided = Some((ruling, title, Timestamp::now()));
                true
            }
            Report::Link { .. } | Report::Fault { .. } | Report::Held | Report::Sent { .. } | Report::Withheld { .. } | Report::Finished { .. } => {
                has_ended
            }
        }
    }

    fn has_news_of_the_shadow(&self) -> bool {
        self.driven.as_ref().is_some_and(|driven| driven.shadow_status() != self.picture.shadow)
    }

    fn learn(&mut self, find: Found) {
        match find {
            Found::Secrets((secrets, trouble)) => {
                let before = self.picture.secrets.take();
                self.picture.secrets = secrets.map(|secrets| Arc::new(secrets.after(before.as_deref()))).or(before);
                self.picture.troubles.insert(SECRETS, trouble.into_iter().collect());
            }
            Found::Troubles(finder, troubles) => {
                self.picture.troubles.insert(finder, troubles);
            }
            Found::ReplicationUser(user) => self.picture.replication_user = Some(user),
        }
    }

    fn read_secrets(&mut self) {
        let (client, redis, found) = (self.common.client.clone(), Arc::clone(&self.picture.redis), self.found.clone());
        self.reading.abort_all();
        self.reading.spawn(async move { secrets::read(&client, &redis, |read| drop(found.unbounded_send(Found::Secrets(read)))).await });
    }

    /// Starts the group as soon as it is known how to log in, and tells it what there is now.
    fn drive(&mut self) {
        let Some(secrets) = self.picture.secrets.clone() else { return };
        if self.driven.as_ref().is_some_and(|driven| driven.is_outdated(&self.picture.redis, &secrets)) {
            self.driven = None;
        }
        let mut serving = self.common.policies.serving(&self.picture.redis);
        self.picture.troubles.insert(POLICY, serving.trouble.take().into_iter().collect());
        let driven = match &mut self.driven {
            Some(driven) => driven,
            None => self.driven.insert(Driven::start(&self.common, &self.picture, &secrets, &serving)),
        };
        driven.tell(&self.picture, &secrets, &serving.parameters);
        driven.serve(&self.common, serving);
        self.picture.shadow = driven.shadow_status();
        self.picture.door = Some(driven.door.clone());
        let request = self.picture.redis.spec.switchover.as_ref();
        if let Some(request) = request.filter(|request| self.picture.may_act && self.picture.switchover_id.as_ref() != Some(&request.id)) {
            driven.door.switch_over(request.to.clone());
            self.picture.switchover_id = Some(request.id.clone());
            self.picture.switchover_refused = None;
        }
    }
}

/// Who finds troubles.
const SPEC: &str = "spec";
const SECRETS: &str = "secrets";
const POLICY: &str = "policy";
/// For what no event tells of: how the shadow answers.
const LOOK_EVERY: Duration = Duration::from_secs(10);
