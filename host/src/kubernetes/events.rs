//! Kubernetes Events of a resource. One task writes them all, so that a slow API server delays nothing else.
//! An event that does not fit into the queue is dropped; the status stays complete.

use super::status::{camel, shortened};
use crate::contract::Verdict;
use crate::group::{Outcome, Report};
use crate::report::{MasterChange, Metrics, Task, supervise};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Queues events for the writer.
#[derive(Clone, Debug)]
pub struct EventWriter(Sender<(ObjectReference, Event)>);

impl EventWriter {
    /// Starts the writer. It runs for as long as a clone of this value exists.
    pub fn start(client: Client, instance: String, metrics: Arc<Metrics>) -> Self {
        let (sender, queue) = channel(QUEUED_MAX);
        let queue = Arc::new(Mutex::new(queue));
        tokio::spawn(async move {
            let write = || write_all(client.clone(), instance.clone(), Arc::clone(&queue));
            supervise(Task::Events, "all resources", &metrics, write).await;
        });
        Self(sender)
    }

    /// Queues one event.
    pub fn emit(&self, about: ObjectReference, event: Event) {
        drop(self.0.try_send((about, event)));
    }
}

type Queue = Arc<Mutex<Receiver<(ObjectReference, Event)>>>;

async fn write_all(client: Client, instance: String, queue: Queue) {
    let mut queue = queue.lock().await;
    let recorder =
        Recorder::new(client, Reporter { controller: "redis-operator".into(), instance: Some(instance) });
    while let Some((about, event)) = queue.recv().await {
        if let Err(error) = recorder.publish(&event, &about).await {
            tracing::warn!(%error, reason = event.reason, "event not written");
        }
    }
}

/// The event for a step of an adoption.
pub fn of_adoption(reason: &str, text: &str) -> Event {
    event(EventType::Normal, reason.into(), text, "Adopt")
}

/// The event for a report. None: the report is not worth an event. `was_made`: the group once ran as asked
/// for. Before, it waits for its Pods, which is no trouble; one of them that cannot start has events of its
/// own.
pub fn of_report(report: &Report, was_made: bool) -> Option<Event> {
    match report {
        Report::Decided(decided) if decided.is_news => {
            let type_ = match decided.decision.verdict {
                Verdict::Healthy | Verdict::Act => EventType::Normal,
                Verdict::Wait | Verdict::Refuse if was_made => EventType::Warning,
                Verdict::Wait | Verdict::Refuse => EventType::Normal,
            };
            Some(event(type_, camel(&decided.decision.reason), &decided.decision.explanation, "Decide"))
        }
        Report::Finished {
            action,
            outcome: Outcome::Failed(why) | Outcome::NotSent(why) | Outcome::InDoubt(why),
            is_repeat: false,
            ..
        } => Some(event(
            EventType::Warning,
            "ActionFailed".into(),
            &format!("{}: {why}", words(action)),
            "Act",
        )),
        Report::Fault { title, fault, .. } => {
            Some(event(EventType::Warning, "PolicyFault".into(), &format!("{title}: {fault}"), "Decide"))
        }
        Report::Held => Some(event(
            EventType::Warning,
            "NoPolicyAnswers".into(),
            "no policy gave a usable answer: the group is left as it is",
            "Decide",
        )),
        Report::Decided(_)
        | Report::Link { .. }
        | Report::Sent { .. }
        | Report::Withheld { .. }
        | Report::Finished { .. } => None,
    }
}

/// The event for a completed change of master.
pub fn of_master_change(change: &MasterChange) -> Event {
    let MasterChange {
        source,
        target,
        evidence,
        known_loss_bytes,
        decide_us,
        promote_us,
        repoint_us,
        pause_us,
        ..
    } = change;
    let ms = |us: u64| format!("{:.1} ms", us as f64 / 1000.0);
    let phases = [
        ("decided in", decide_us.map(ms)),
        ("promoted in", Some(ms(*promote_us))),
        ("re-pointed in", repoint_us.map(ms)),
        ("writes paused for", pause_us.map(ms)),
    ];
    let phases: Vec<String> =
        phases.into_iter().filter_map(|(what, time)| Some(format!("{what} {}", time?))).collect();
    let from = source.as_ref().map(|source| format!(" in place of {source}")).unwrap_or_default();
    let loss = known_loss_bytes
        .filter(|bytes| *bytes > 0)
        .map(|bytes| format!("; known loss {bytes} bytes"))
        .unwrap_or_default();
    let note = format!(
        "{target} is master{from} ({}): {}{loss}",
        crate::report::words::evidence(*evidence),
        phases.join(", ")
    );
    let type_ = if change.is_handover || source.is_none() { EventType::Normal } else { EventType::Warning };
    event(type_, "MasterChanged".into(), &note, "Failover")
}

fn event(type_: EventType, reason: String, note: &str, action: &str) -> Event {
    Event {
        type_,
        reason,
        note: Some(shortened(note, NOTE_BYTES_MAX)),
        action: action.into(),
        secondary: None,
    }
}

fn words(action: &crate::contract::Action) -> String {
    let (what, member) = crate::report::words::action(action);
    format!("{what} {member}")
}

/// Events waiting to be written. A storm beyond this is in the log only.
const QUEUED_MAX: usize = 256;
/// The limit of Kubernetes.
const NOTE_BYTES_MAX: usize = 1000;
