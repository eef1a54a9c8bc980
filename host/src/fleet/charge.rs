//! One Redis resource in our charge: its objects, its group, and its truth made known. Whatever happens, what should be is worked
//! out anew and what differs is mended; the group goes on by itself meanwhile and waits for nothing here.

use super::{Access, Crowd, Door, Driver, Reports, Seats};
use crate::group::{Event, Moment, Record, Report};
use crate::kubernetes::apply::apply;
use crate::kubernetes::crd::{Redis, RedisStatus};
use crate::kubernetes::objects::{MASTER, REPLICA, ROLE_LABEL, Wanted, objects};
use crate::kubernetes::{pods, told, wishes};
use crate::policy::contract::Verdict;
use crate::policy::{Component, Line, Policy};
use crate::redis::Credentials;
use crate::report::{GroupNames, Health, Metrics, Reporter};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What all charges share.
pub struct Common {
    /// The cluster.
    pub client: Client,
    /// Who decides.
    pub policy: Arc<Component>,
    /// Where groups run: apart from what speaks with the API server.
    pub groups: Handle,
    /// How many they are.
    pub crowd: Crowd,
    /// For all groups.
    pub metrics: Arc<Metrics>,
    /// For all groups.
    pub health: Arc<Health>,
    /// The zero of all moments.
    pub start: Instant,
}

/// What a charge is told.
#[derive(Debug)]
pub enum Word {
    /// What is wanted, as it is now.
    Wanted(Box<Redis>),
    /// A Pod, as it is now.
    Pod(Box<Pod>),
    /// It is gone.
    PodGone(String),
    /// The revision that Pods should have.
    Revision(String),
    /// An object was changed or deleted, maybe by us.
    Object(&'static str, String, Option<String>),
}

struct Charge {
    common: Arc<Common>,
    redis: Redis,
    pods: BTreeMap<String, Pod>,
    revision: String,
    driven: Option<Driven>,
    record: Option<Record>,
    status: RedisStatus,
    /// As last written.
    written: Option<RedisStatus>,
    /// Kind and name: what was applied last, and the version that came of it.
    applied: BTreeMap<(String, String), (Value, Option<String>)>,
    is_healthy: bool,
}

/// The group, running.
struct Driven {
    door: Door,
    reports: Reports,
    records: UnboundedReceiver<Box<Record>>,
    reporter: Reporter,
    title: String,
    /// What it was made from: when that changes, it is made anew.
    made_from: (String, Option<String>),
    /// What it was told last of its members: they are told anew when that changes.
    members: Vec<(String, Option<String>, String)>,
    may_act: bool,
    task: AbortHandle,
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks after one resource until no word can come any more.
pub async fn charge(common: Arc<Common>, redis: Redis, mut words: UnboundedReceiver<Word>, mut authority: watch::Receiver<bool>) {
    let status = redis.status.clone().unwrap_or_default();
    let mut charge = Charge {
        common,
        redis,
        pods: BTreeMap::new(),
        revision: String::new(),
        driven: None,
        record: None,
        status,
        written: None,
        applied: BTreeMap::new(),
        is_healthy: false,
    };
    let mut retry = Instant::now();
    loop {
        tokio::select! {
            word = words.recv() => match word {
                Some(word) => charge.take(word),
                None => return,
            },
            changed = authority.changed() => if changed.is_err() { return },
            told = next(&mut charge.driven) => if !charge.hear(told) { continue },
            () = tokio::time::sleep_until(retry.into()) => {}
        }
        while let Ok(word) = words.try_recv() {
            charge.take(word);
        }
        let may_act = *authority.borrow_and_update();
        if let Err(error) = charge.settle(may_act).await {
            tracing::warn!(namespace = charge.namespace(), name = charge.redis.name_any(), %error, "not settled; it is tried again");
            retry = Instant::now() + RETRY_AFTER;
        } else {
            retry = Instant::now() + LOOK_AFTER;
        }
    }
}

/// What a group says.
enum Told {
    Report(Moment, Report),
    Record(Record),
}

async fn next(driven: &mut Option<Driven>) -> Told {
    let Some(driven) = driven else { return std::future::pending().await };
    tokio::select! {
        biased;
        Some(record) = driven.records.recv() => Told::Record(*record),
        Some((now, report)) = driven.reports.recv() => Told::Report(now, report),
        else => std::future::pending().await,
    }
}

impl Charge {
    fn namespace(&self) -> String {
        self.redis.namespace().unwrap_or_default()
    }

    fn take(&mut self, word: Word) {
        match word {
            Word::Wanted(redis) => self.redis = *redis,
            Word::Pod(pod) => {
                self.pods.insert(pod.name_any(), *pod);
            }
            Word::PodGone(name) => {
                self.pods.remove(&name);
            }
            Word::Revision(revision) => self.revision = revision,
            Word::Object(kind, name, version) => {
                let key = (kind.to_owned(), name);
                // Our own doing comes back as a word, too.
                if self.applied.get(&key).is_some_and(|(_, known)| *known != version) {
                    self.applied.remove(&key);
                }
            }
        }
    }

    /// Whether it changes what should be.
    fn hear(&mut self, told: Told) -> bool {
        match told {
            Told::Record(record) => {
                self.status = told::published(std::mem::take(&mut self.status), &record, Timestamp::now());
                self.record = Some(record);
                true
            }
            Told::Report(now, report) => {
                let Some(driven) = &mut self.driven else { return false };
                driven.reporter.take(now, &report);
                let Report::Decided(decided) = &report else { return false };
                self.is_healthy = decided.decision.verdict == Verdict::Healthy;
                if decided.is_news {
                    let before = std::mem::take(&mut self.status);
                    self.status = told::decided(before, &self.redis, &decided.decision, &driven.title, Timestamp::now());
                }
                decided.is_news
            }
        }
    }

    /// Makes everything as it should be. What the group needs comes first.
    async fn settle(&mut self, may_act: bool) -> Result<(), String> {
        let password = self.password().await?;
        self.drive(password.as_deref(), may_act);
        if !may_act {
            return Ok(());
        }
        self.publish_roles().await?;
        self.apply(password.as_deref()).await?;
        self.roll().await?;
        self.write_status().await
    }

    async fn password(&self) -> Result<Option<String>, String> {
        let Some(password) = &self.redis.spec.password else { return Ok(None) };
        let (name, key) = (&password.secret_key_ref.name, &password.secret_key_ref.key);
        let secrets: Api<Secret> = Api::namespaced(self.common.client.clone(), &self.namespace());
        let secret = secrets.get_opt(name).await.map_err(|error| format!("secret {name}: {error}"))?;
        let secret = secret.ok_or_else(|| format!("secret {name} is not there: create it, or take spec.password out"))?;
        let bytes = secret.data.and_then(|mut data| data.remove(key)).ok_or_else(|| format!("secret {name} has no key {key}"))?;
        String::from_utf8(bytes.0).map(Some).map_err(|_| format!("key {key} of secret {name} is no UTF-8 text"))
    }

    /// Starts the group, or tells it what there is now.
    fn drive(&mut self, password: Option<&str>, may_act: bool) {
        let mut settings = wishes::settings(&Redis { status: Some(self.status.clone()), ..self.redis.clone() }, Timestamp::now());
        let made_from = (format!("{:?} {}", settings.wanted, settings.parameters), password.map(str::to_owned));
        if self.driven.as_ref().is_none_or(|driven| driven.made_from != made_from) {
            settings.record = self.record.clone().or(settings.record);
            let credentials = password.and_then(|password| Credentials::new(None, password).ok());
            let policy: Arc<dyn Policy> = self.common.policy.clone();
            let line = Arc::new(Line::new(policy));
            let hang_limit = Duration::from_millis(u64::from(settings.wanted.hang_limit_ms));
            let access = Access { credentials, tls: None, hang_limit, wants: line.wants(settings.wanted.topology) };
            let (records_in, records) = unbounded_channel();
            // Nobody is left to be told when this fails.
            let publish = move |_: Moment, record: Record| drop(records_in.send(Box::new(record)));
            let names =
                GroupNames { namespace: settings.wanted.namespace.clone(), name: settings.wanted.name.clone(), topology: settings.wanted.topology };
            let (driver, reports) = Driver::new(settings, move |events| Seats::new(access, events), line, publish, self.common.start);
            let reporter = Reporter::new(names, Arc::clone(&self.common.metrics), Arc::clone(&self.common.health), None);
            let door = driver.door();
            let task = self.common.groups.spawn(driver.among(&self.common.crowd).run()).abort_handle();
            let title = format!("{} {:.12}", self.common.policy.title(), self.common.policy.digest());
            self.driven = Some(Driven { door, reports, records, reporter, title, made_from, members: Vec::new(), may_act: false, task });
        }
        let Some(driven) = &mut self.driven else { return };
        let now = SystemTime::now();
        let members: Vec<_> = self.pods.values().map(|pod| (pod.name_any(), pod.resource_version(), self.revision.clone())).collect();
        if driven.members != members {
            driven.door.send(Event::Members(self.pods.values().filter_map(|pod| pods::member(pod, &self.revision, now)).collect()));
            driven.members = members;
        }
        if driven.may_act != may_act {
            driven.door.send(Event::Authority { may_act, silent_groups_permille: 0 });
            driven.may_act = may_act;
        }
        if let Some(request) =
            self.redis.spec.switchover.as_ref().filter(|request| may_act && self.status.switchover_id.as_ref() != Some(&request.id))
        {
            driven.door.switch_over(request.to.clone());
            self.status.switchover_id = Some(request.id.clone());
        }
    }

    /// Labels, which the Services select on: all at once, and first of all.
    async fn publish_roles(&self) -> Result<(), String> {
        let Some(master) = self.record.as_ref().map(|record| &record.published.master) else { return Ok(()) };
        let api: Api<Pod> = Api::namespaced(self.common.client.clone(), &self.namespace());
        let wrong = self.pods.iter().filter_map(|(name, pod)| {
            let role = if name == master { MASTER } else { REPLICA };
            (pod.labels().get(ROLE_LABEL).map(String::as_str) != Some(role)).then_some((name, role))
        });
        let patches = wrong.map(async |(name, role)| {
            let patch = json!({ "metadata": { "labels": { ROLE_LABEL: role } } });
            match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => Ok(()),
                // It went away meanwhile.
                Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
                Err(error) => Err(format!("label of {name}: {error}")),
            }
        });
        futures_util::future::join_all(patches).await.into_iter().collect()
    }

    async fn apply(&mut self, password: Option<&str>) -> Result<(), String> {
        let master = self.record.as_ref().and_then(|record| self.pods.get(&record.published.master)?.status.as_ref()?.pod_ip.clone());
        let wanted = Wanted { redis: &self.redis, replicas: self.replicas(), master: master.as_deref(), password };
        for object in objects(&wanted).map_err(|error| error.to_string())? {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let key = (text("/kind"), text("/metadata/name"));
            if self.applied.get(&key).is_some_and(|(before, _)| *before == object) {
                continue;
            }
            let version = apply(&self.common.client, &self.namespace(), &object).await.map_err(|error| format!("{} {}: {error}", key.0, key.1))?;
            self.applied.insert(key, (object, version));
        }
        Ok(())
    }

    /// As many as are wanted; as there are, while the master is among those that would go: it hands over first.
    fn replicas(&self) -> i32 {
        let wanted = self.redis.spec.replicas;
        let ordinal = |name: &str| name.rsplit('-').next().and_then(|ordinal| ordinal.parse::<i32>().ok());
        let master =
            self.record.as_ref().and_then(|record| ordinal(&record.published.master).filter(|_| self.pods.contains_key(&record.published.master)));
        match master {
            Some(master) if master >= wanted => {
                if let Some(driven) = self.driven.as_ref().filter(|_| self.is_healthy) {
                    driven.door.switch_over(Some(format!("redis-{}-0", self.redis.name_any())));
                }
                self.pods.keys().filter_map(|name| ordinal(name)).max().map_or(wanted, |last| last + 1)
            }
            Some(_) | None => wanted,
        }
    }

    /// Replaces Pods of another revision, one at a time, each in sync again before the next: replicas first, and the master by
    /// handover.
    async fn roll(&mut self) -> Result<(), String> {
        let Some(master) = self.record.as_ref().map(|record| record.published.master.as_str()) else { return Ok(()) };
        let is_old = |pod: &Pod| pod.labels().get("controller-revision-hash").is_some_and(|revision| *revision != self.revision);
        let is_whole = self.is_healthy && self.pods.len() == usize::try_from(self.redis.spec.replicas).unwrap_or(usize::MAX);
        if self.revision.is_empty() || !is_whole || self.pods.values().any(|pod| pod.metadata.deletion_timestamp.is_some()) || self.redis.spec.paused
        {
            return Ok(());
        }
        let old: Vec<&String> = self.pods.iter().filter(|(_, pod)| is_old(pod)).map(|(name, _)| name).collect();
        match old.iter().find(|name| name.as_str() != master) {
            Some(replica) => {
                let replica = (*replica).clone();
                let api: Api<Pod> = Api::namespaced(self.common.client.clone(), &self.namespace());
                api.delete(&replica, &DeleteParams::default()).await.map_err(|error| format!("roll {replica}: {error}"))?;
                // It is told of again while it goes, and when it is back.
                self.pods.remove(&replica);
            }
            None if !old.is_empty() => {
                if let Some(driven) = &self.driven {
                    driven.door.switch_over(None);
                }
            }
            None => {}
        }
        Ok(())
    }

    async fn write_status(&mut self) -> Result<(), String> {
        if self.written.as_ref() == Some(&self.status) {
            return Ok(());
        }
        let api: Api<Redis> = Api::namespaced(self.common.client.clone(), &self.namespace());
        let patch = json!({ "status": self.status });
        api.patch_status(&self.redis.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.map_err(|error| format!("status: {error}"))?;
        self.written = Some(self.status.clone());
        Ok(())
    }
}

/// After a refusal of the API server.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// When nothing happens: a password may have changed.
const LOOK_AFTER: Duration = Duration::from_secs(10);
