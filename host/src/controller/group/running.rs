//! The running group of a resource: starts its driver, and sends it what changed. Waits for no API call.

use super::super::Context;
use super::super::policy::{Assignment, Shadow};
use super::restart::restarter;
use super::secrets::Secrets;
use super::snapshot::Snapshot;
use crate::contract::Group as Wanted;
use crate::driver::{Access, Driver, GroupHandle, NewestDecision, Reports, Witness, moment};
use crate::group::{Changed, Decided, Event, Moment, Record, Report, Settings};
use crate::kubernetes::crd::ShadowStatus;
use crate::kubernetes::kinds::ObservedPod;
use crate::kubernetes::nodes::Place;
use crate::kubernetes::status::{Problem, shortened};
use crate::policy::PolicyChain;
use crate::redis::Logins;
use crate::report::{GroupNames, ObserveFn, Reporter};
use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use futures_util::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// What the group was sent last: it is sent anew when it changes.
pub struct RunningGroup {
    pub handle: GroupHandle,
    reports: Reports,
    records: UnboundedReceiver<Record>,
    pub reporter: Reporter,
    chain: Arc<PolicyChain>,
    /// The digest of the policy in front.
    in_front: String,
    shadow: Option<Shadow>,
    names: GroupNames,
    wanted: (Wanted, String),
    logins: Logins,
    /// None: in the clear.
    certificate: Option<String>,
    /// The versions of the resource and of the stored record that the group got last.
    version: (Option<String>, Option<u64>),
    members: Vec<(String, Standing)>,
    /// Whether the operator may act, and the share of silent groups.
    authority: (bool, u16),
    task: AbortHandle,
    began: Instant,
}

impl Drop for RunningGroup {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What makes a Pod another member than before: its version, the revision that it should have, and its node.
type Standing = (Option<String>, String, Option<Place>);

/// What comes from a group.
pub enum GroupOutput {
    Report(Moment, Report),
    Record(Record),
    /// Its loop ended, which only a fault makes it do.
    Ended,
}

impl RunningGroup {
    /// Starts it, from the record as last published.
    pub fn start(
        context: &Context,
        snapshot: &Snapshot,
        secrets: &Secrets,
        assignment: &Assignment,
        witness: Witness,
    ) -> Self {
        let logins = secrets.passwords.logins();
        let settings = Settings {
            wanted: snapshot.group(),
            parameters: assignment.parameters.clone(),
            interval_us: INTERVAL_US,
            records: match &snapshot.record {
                Some((record, _)) => vec![record.clone()],
                None => snapshot.records(Timestamp::now()),
            },
        };
        let chain = Arc::clone(&assignment.chain);
        let in_front = chain.live().digest().to_owned();
        let wanted = (settings.wanted.clone(), settings.parameters.clone());
        let hang_limit = Duration::from_millis(u64::from(wanted.0.hang_limit_ms));
        let access = Access {
            logins: logins.clone(),
            tls: secrets.tls.as_ref().map(|identity| identity.tls.clone()),
            sentinels: secrets.passwords.entry(),
            network: None,
            hang_limit,
        };
        let (records_in, records) = unbounded();
        // It fails when the reconciler has ended.
        let publish = move |now: Moment, record: Record| {
            // Ages as of now: what reads them knows no moments.
            let aged = |changed: Changed| Changed {
                age_us: changed.age_us.saturating_add(changed.at.age_us(now)),
                at: Moment::default(),
                ..changed
            };
            let last_failover = record.last_failover.map(aged);
            drop(records_in.unbounded_send(Record { last_failover, ..record }));
        };
        let names = GroupNames {
            namespace: wanted.0.namespace.clone(),
            name: wanted.0.name.clone(),
            topology: wanted.0.topology,
        };
        let (driver, reports) = Driver::new(settings, access, Arc::clone(&chain), publish, context.start);
        let pulse = context
            .health
            .group(format!("{}/{}", names.namespace, names.name), moment(context.start, Instant::now()));
        let restarter = restarter(context.client.clone(), names.namespace.clone());
        let driver = driver.with_heartbeat(pulse).with_restarter(restarter).under(&context.authority);
        let driver = driver.seen_by(Some(witness));
        let reporter = Reporter::new(names.clone(), Arc::clone(&context.metrics), None);
        let handle = driver.handle();
        let task = context.groups.spawn(driver.among(&context.thread_load).run()).abort_handle();
        let certificate = secrets.tls.as_ref().map(|identity| identity.digest.clone());
        let (shadow, members) = (None, Vec::new());
        Self {
            handle,
            reports,
            records,
            reporter,
            chain,
            in_front,
            shadow,
            names,
            wanted,
            logins,
            certificate,
            version: snapshot.records_version(),
            members,
            authority: (false, 0),
            task,
            began: Instant::now(),
        }
    }

    /// Name and digest of the policy that decided, for people.
    pub fn title(&self, digest: &str) -> String {
        let policies = self.chain.policies();
        let title = policies.iter().find(|policy| policy.digest() == digest).map(|policy| policy.title());
        format!("{} {digest:.12}", title.unwrap_or("policy"))
    }

    /// What a report changes of the problem that the policy is at fault. Outer None: nothing; inner None: it
    /// is at fault no more, or in quarantine, which is a problem of its own.
    pub fn fault_after(&self, report: &Report) -> Option<Option<Problem>> {
        let live = self.chain.live();
        match report {
            Report::Fault { digest, title, fault, .. } if digest == live.digest() => {
                let message = format!(
                    "{title} gave no usable decision, and the next policy decided: {fault}; mend it, or name \
                     another policy"
                );
                let problem =
                    Problem { reason: "PolicyFault", message: shortened(&message, FAULT_BYTES_MAX) };
                Some(Some(problem).filter(|_| !self.chain.is_quarantined(digest)))
            }
            Report::Decided(decided) if decided.digest == live.digest() => Some(None),
            Report::Decided(_)
            | Report::Fault { .. }
            | Report::Link { .. }
            | Report::Held
            | Report::Sent { .. }
            | Report::Withheld { .. }
            | Report::Finished { .. } => None,
        }
    }

    /// Asks the group for its observation.
    pub fn look(&self) -> ObserveFn {
        let handle = self.handle.clone();
        Arc::new(move |asking| handle.look(asking))
    }

    /// Has the shadow asked the same, if there is one.
    pub fn shadow(&self, decided: &Decided) {
        if let Some(shadow) = &self.shadow {
            shadow.follow(decided);
        }
    }

    /// How the shadow has answered so far. None: there is none, or it was not asked yet.
    pub fn shadow_status(&self) -> Option<ShadowStatus> {
        self.shadow.as_ref().and_then(Shadow::shown)
    }

    /// Sends the policies that decide, and starts the shadow that the assignment names.
    pub fn serve(&mut self, context: &Context, assignment: Assignment) {
        let in_front = assignment.chain.live().digest().to_owned();
        if !Arc::ptr_eq(&self.chain, &assignment.chain) || self.in_front != in_front {
            (self.chain, self.in_front) = (assignment.chain, in_front);
            self.handle.set_policies(Arc::clone(&self.chain));
        }
        if self.shadow.as_ref().map(|shadow| shadow.target().name())
            != assignment.shadow.as_ref().map(|target| target.name())
        {
            self.shadow = assignment.shadow.map(|target| {
                Shadow::new(&context.shadows, target, self.names.clone(), Arc::clone(&context.metrics))
            });
        }
    }

    /// Whether it has to be started anew: its connections would be others, or its rules.
    pub fn is_outdated(&self, snapshot: &Snapshot, secrets: &Secrets) -> bool {
        let group = snapshot.group();
        self.names.topology != group.topology
            || self.wanted.0.hang_limit_ms != group.hang_limit_ms
            || self.certificate.is_some() != secrets.tls.is_some()
    }

    /// Sends what has changed since it was sent last.
    pub fn tell(
        &mut self,
        snapshot: &Snapshot,
        secrets: &Secrets,
        parameters: &str,
        silent_groups_permille: u16,
    ) {
        let resource = &snapshot.resource;
        let wanted = (snapshot.group(), parameters.to_owned());
        if self.wanted != wanted {
            self.handle
                .send(Event::Wanted { wanted: Box::new(wanted.0.clone()), parameters: wanted.1.clone() });
            self.wanted = wanted;
        }
        let (logins, certificate) =
            (secrets.passwords.logins(), secrets.tls.as_ref().map(|identity| &identity.digest));
        if self.logins != logins || self.certificate.as_ref() != certificate {
            self.handle.log_in_as(logins.clone(), secrets.tls.as_ref().map(|identity| identity.tls.clone()));
            self.handle.enter_sentinels_as(secrets.passwords.entry());
            (self.logins, self.certificate) = (logins, certificate.cloned());
        }
        let mut pods = snapshot.observed_pods();
        pods.retain(|pod| !snapshot.former.keeps_name(&pod.pod.name_any()));
        let standing = |ObservedPod { pod, revision, place }: &ObservedPod<'_>| {
            (pod.metadata.resource_version.clone(), (*revision).to_owned(), place.cloned())
        };
        let former = snapshot.former.ids().map(|id| (id, (None, String::new(), None)));
        let sentinels = snapshot.sentinel_pods.values();
        let watching = sentinels.map(|pod| ObservedPod { pod, revision: "", place: None });
        let others = watching.map(|pod| (pod.pod.name_any(), standing(&pod))).chain(former);
        let members: Vec<_> =
            pods.iter().map(|pod| (pod.pod.name_any(), standing(pod))).chain(others).collect();
        if self.members != members {
            let mut all = resource.managed.members(&pods, Timestamp::now());
            all.extend(snapshot.sentinels(Timestamp::now()));
            let as_members = |pods: &[ObservedPod<'_>]| resource.managed.members(pods, Timestamp::now());
            all.extend(snapshot.former.members(as_members));
            self.handle.send(Event::Members(all));
            self.members = members;
        }
        // With authority, too: a late watch may bring the last change of the operator before this one.
        let own = snapshot.record.as_ref().map(|(record, _)| record.published.epoch);
        let is_ahead = own < snapshot.recorded_epoch();
        let version = snapshot.records_version();
        if (!self.authority.0 || is_ahead) && self.version != version {
            self.handle.send(Event::Records(snapshot.records(Timestamp::now())));
            self.version = version;
        }
        let authority = (snapshot.may_change(), silent_groups_permille);
        if self.authority != authority {
            self.handle.send(Event::Authority { may_act: authority.0, silent_groups_permille });
            self.authority = authority;
        }
    }

    /// Its newest decision, if it was not read yet.
    pub fn newest_decision(&self) -> Option<NewestDecision> {
        self.reports.newest_decision()
    }

    /// What comes from it next.
    pub async fn next(&mut self) -> GroupOutput {
        tokio::select! {
            biased;
            Some(record) = self.records.next() => GroupOutput::Record(record),
            report = self.reports.recv() => match report {
                Some((now, report)) => GroupOutput::Report(now, report),
                None => GroupOutput::Ended,
            },
        }
    }

    /// How long it has run.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

/// As long as any text of a policy may be.
const FAULT_BYTES_MAX: usize = 1 << 10;
/// Time between two rounds of probes while nothing is wrong.
const INTERVAL_US: u64 = 25_000;
