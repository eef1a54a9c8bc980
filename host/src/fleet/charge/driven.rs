//! The group of a resource, running. What it should know goes to it at once, and waits for no API call.

use super::super::{Access, Common, Door, Driver, Seats, moment};
use super::picture::Picture;
use crate::group::{Event, Moment, Record, Report};
use crate::kubernetes::crd::Redis;
use crate::kubernetes::{pods, wishes};
use crate::policy::contract::Group as Wanted;
use crate::policy::{Component, Line, Policy};
use crate::redis::Logins;
use crate::report::{GroupNames, Reporter};
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, unbounded_channel};
use tokio::task::AbortHandle;

/// What it was told last: it is told anew when that changes.
pub struct Driven {
    pub door: Door,
    reports: Receiver<(Moment, Report)>,
    records: UnboundedReceiver<Record>,
    pub reporter: Reporter,
    policy: Arc<Component>,
    wanted: (Wanted, String),
    logins: Logins,
    members: Vec<(String, Option<String>, String)>,
    may_act: bool,
    task: AbortHandle,
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a group says.
pub enum Told {
    Report(Moment, Report),
    Record(Record),
}

impl Driven {
    /// Starts it, from what was made known before.
    pub fn start(common: &Common, picture: &Picture, logins: Logins) -> Self {
        let mut settings = wishes::settings(&picture.redis, Timestamp::now());
        settings.record = picture.record.as_ref().map(|(record, _)| record.clone()).or(settings.record);
        let policy: Arc<dyn Policy> = common.policy.clone();
        let line = Arc::new(Line::new(policy));
        let wanted = (settings.wanted.clone(), settings.parameters.clone());
        let hang_limit = Duration::from_millis(u64::from(wanted.0.hang_limit_ms));
        let access = Access { logins: logins.clone(), tls: None, hang_limit, wants: line.wants(wanted.0.topology) };
        let (records_in, records) = unbounded_channel();
        // Nobody is left to be told when this fails.
        let publish = move |_: Moment, record: Record| drop(records_in.send(record));
        let names = GroupNames { namespace: wanted.0.namespace.clone(), name: wanted.0.name.clone(), topology: wanted.0.topology };
        let (driver, reports) = Driver::new(settings, move |events| Seats::new(access, events), line, publish, common.start);
        let pulse = common.health.group(format!("{}/{}", names.namespace, names.name), moment(common.start, Instant::now()));
        let driver = driver.with_pulse(pulse);
        let reporter = Reporter::new(names, Arc::clone(&common.metrics), None);
        let door = driver.door();
        let task = common.groups.spawn(driver.run()).abort_handle();
        let policy = Arc::clone(&common.policy);
        Self { door, reports, records, reporter, policy, wanted, logins, members: Vec::new(), may_act: false, task }
    }

    /// Who decides, for people.
    pub fn title(&self) -> String {
        format!("{} {:.12}", self.policy.title(), self.policy.digest())
    }

    /// Whether it has to be started anew: its connections would be others.
    pub fn is_outdated(&self, redis: &Redis) -> bool {
        self.wanted.0.hang_limit_ms != redis.spec.failover.down_after_milliseconds
    }

    /// Tells it what is known now.
    pub fn tell(&mut self, picture: &Picture, logins: Logins) {
        let settings = wishes::settings(&picture.redis, Timestamp::now());
        let wanted = (settings.wanted, settings.parameters);
        if self.wanted != wanted {
            self.door.send(Event::Wanted { wanted: Box::new(wanted.0.clone()), parameters: wanted.1.clone() });
            self.wanted = wanted;
        }
        if self.logins != logins {
            self.door.log_in_as(logins.clone());
            self.logins = logins;
        }
        let now = SystemTime::now();
        let version = |pod: &k8s_openapi::api::core::v1::Pod| pod.metadata.resource_version.clone();
        let members: Vec<_> = picture.pods.iter().map(|(name, pod)| (name.clone(), version(pod), picture.revision.clone())).collect();
        if self.members != members {
            self.door.send(Event::Members(picture.pods.values().filter_map(|pod| pods::member(pod, &picture.revision, now)).collect()));
            self.members = members;
        }
        if self.may_act != picture.may_act {
            self.door.send(Event::Authority { may_act: picture.may_act, silent_groups_permille: 0 });
            self.may_act = picture.may_act;
        }
    }

    /// What it says next.
    pub async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            Some(record) = self.records.recv() => Told::Record(record),
            Some((now, report)) = self.reports.recv() => Told::Report(now, report),
            else => std::future::pending().await,
        }
    }
}
