//! The states of a Pod's containers, as a kubelet publishes them. Stores; starts nothing.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::sync::watch;

/// One Pod's.
pub(super) struct Ledger {
    entries: Mutex<BTreeMap<String, Entry>>,
    changed: watch::Sender<u64>,
}

#[derive(Clone)]
struct Entry {
    status: ContainerStatus,
    pid: Option<i32>,
}

impl Ledger {
    /// All containers wait.
    pub(super) fn new<'a>(containers: impl Iterator<Item = &'a Container>) -> Self {
        let entry = |container: &Container| {
            let image = container.image.clone().unwrap_or_default();
            let state = Some(waiting("PodInitializing", None));
            let status = ContainerStatus {
                name: container.name.clone(),
                image,
                state,
                started: Some(false),
                ..ContainerStatus::default()
            };
            (container.name.clone(), Entry { status, pid: None })
        };
        Self { entries: Mutex::new(containers.map(entry).collect()), changed: watch::Sender::new(0) }
    }

    /// Notifies of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What to publish of one container.
    pub(super) fn status(&self, name: &str) -> Option<ContainerStatus> {
        self.entries.lock().expect("no holder panics").get(name).map(|entry| entry.status.clone())
    }

    /// The first process of a running container.
    pub(super) fn pid(&self, name: &str) -> Option<i32> {
        self.entries.lock().expect("no holder panics").get(name).and_then(|entry| entry.pid)
    }

    /// It is not running, for this reason.
    pub(super) fn waits(&self, name: &str, reason: &str, message: Option<String>) {
        self.change(name, |entry| entry.status.state = Some(waiting(reason, message)));
    }

    /// It runs. One that ran before was restarted.
    pub(super) fn runs(&self, name: &str, pid: i32) {
        self.change(name, |entry| {
            entry.pid = Some(pid);
            let status = &mut entry.status;
            status.restart_count += i32::from(status.last_state.is_some());
            status.container_id = Some(format!("process://{pid}"));
            status.state = Some(ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(now()) }),
                ..Default::default()
            });
        });
    }

    /// Its startup probe is content, or it has none.
    pub(super) fn is_started(&self, name: &str) {
        self.change(name, |entry| entry.status.started = Some(true));
    }

    /// What its readiness probe says.
    pub(super) fn is_ready(&self, name: &str, ready: bool) {
        self.change(name, |entry| entry.status.ready = ready);
    }

    /// It ended, with these words.
    pub(super) fn ended(&self, name: &str, exit_code: i32, message: Option<String>) {
        self.change(name, |entry| {
            entry.pid = None;
            let status = &mut entry.status;
            let started_at =
                status.state.take().and_then(|state| state.running).and_then(|running| running.started_at);
            let reason = Some(if exit_code == 0 { "Completed" } else { "Error" }.to_owned());
            let container_id = status.container_id.clone();
            let end = ContainerStateTerminated {
                container_id,
                exit_code,
                finished_at: Some(now()),
                message,
                reason,
                started_at,
                ..Default::default()
            };
            let state = ContainerState { terminated: Some(end), ..Default::default() };
            (status.ready, status.started) = (false, Some(false));
            (status.state, status.last_state) = (Some(state.clone()), Some(state));
        });
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.lock().expect("no holder panics").get_mut(name) {
            let before = entry.clone();
            change(entry);
            if entry.status == before.status {
                return;
            }
        }
        self.changed.send_modify(|count| *count += 1);
    }
}

/// The present second.
pub(super) fn now() -> Time {
    Time(Timestamp::now())
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..Default::default()
    }
}
