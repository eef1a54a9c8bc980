//! One log event per report: a constant message, everything else in fields. Info for news, debug for repeats,
//! warn for what a human must read. Text in an Observation comes from the servers; it contains no secrets,
//! since the host reads none.

use super::GroupNames;
use super::timeline::MasterChange;
use super::words::{self, short};
use crate::contract::{Observation, Verdict};
use crate::group::{Decided, Outcome, Report};

/// The log of one group.
pub struct Log {
    names: GroupNames,
    /// The published epoch as of the last decision. The outer None: no decision yet.
    published: Option<Option<u64>>,
}

enum Level {
    Warn,
    Info,
    Debug,
}

/// Logs an event with the names of its group; fields that are None are left out.
macro_rules! event {
    ($log:expr, $level:expr, $message:literal, $($fields:tt)+) => {{
        let GroupNames { namespace, name, topology } = &$log.names;
        let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let (name, topology, epoch) = (name.as_str(), words::topology(*topology), $log.published.flatten());
        match $level {
            Level::Warn => tracing::warn!(namespace, name, topology, epoch, $($fields)+, $message),
            Level::Info => tracing::info!(namespace, name, topology, epoch, $($fields)+, $message),
            Level::Debug => tracing::debug!(namespace, name, topology, epoch, $($fields)+, $message),
        }
    }};
}

impl Log {
    pub fn new(names: GroupNames) -> Self {
        Self { names, published: None }
    }

    pub fn report(&mut self, report: &Report, is_news: bool) {
        match report {
            Report::Decided(decided) => self.decided(decided, is_news),
            Report::Link { member, state } => {
                event!(
                    self,
                    Level::Info,
                    "link changed",
                    instance = member.as_str(),
                    state = words::link(*state)
                )
            }
            Report::Fault { digest, title, fault, observation } => {
                let level = if is_news { Level::Warn } else { Level::Debug };
                event!(
                    self,
                    level,
                    "policy fault",
                    policy = short(digest),
                    title = title.as_str(),
                    kind = words::fault(fault),
                    error = %fault
                );
                self.observed(observation, digest, words::fault(fault), is_news);
            }
            Report::Held => {
                let level = if is_news { Level::Warn } else { Level::Debug };
                event!(
                    self,
                    level,
                    "no policy gave a usable answer",
                    explanation = "the group is left as it is until a policy does"
                );
            }
            Report::Sent { order, action, is_repeat } => {
                let (action, instance) = words::action(action);
                let level = if *is_repeat { Level::Debug } else { Level::Info };
                event!(self, level, "action sent", action = action, instance = instance, order = *order);
            }
            Report::Withheld { action, why, is_repeat } => {
                let (action, instance) = words::action(action);
                let level = if *is_repeat { Level::Debug } else { Level::Info };
                event!(
                    self,
                    level,
                    "action withheld",
                    action = action,
                    instance = instance,
                    error = why.as_str()
                );
            }
            Report::Finished { action, outcome, elapsed_us, is_repeat } => {
                let (action, instance) = words::action(action);
                let (level, note, error, pause_us) = match outcome {
                    Outcome::Done { note, pause_us } => (Level::Info, Some(note.as_str()), None, *pause_us),
                    Outcome::Failed(error) | Outcome::NotSent(error) | Outcome::InDoubt(error) => {
                        let level = if *is_repeat { Level::Debug } else { Level::Warn };
                        (level, None, Some(error.as_str()), None)
                    }
                };
                let (outcome, elapsed_ms, pause_ms) =
                    (words::outcome(outcome), ms(*elapsed_us), pause_us.map(ms));
                event!(
                    self,
                    level,
                    "action finished",
                    action,
                    instance,
                    outcome,
                    note,
                    pause_ms,
                    elapsed_ms,
                    error
                );
            }
        }
    }

    pub fn master_change(&self, change: &MasterChange) {
        let MasterChange {
            source,
            target,
            meant_for,
            evidence,
            is_handover,
            known_loss_bytes,
            detect_us,
            decide_us,
            promote_us,
            repoint_us,
            pause_us,
        } = change;
        let meant_for = Some(meant_for.as_str()).filter(|meant_for| meant_for != target);
        let (source, instance, reason) = (source.as_deref(), target.as_str(), words::evidence(*evidence));
        let (detect_ms, decide_ms, promote_ms) = (detect_us.map(ms), decide_us.map(ms), ms(*promote_us));
        let (repoint_ms, pause_ms, known_loss_bytes) =
            (repoint_us.map(ms), pause_us.map(ms), *known_loss_bytes);
        if *is_handover {
            event!(
                self,
                Level::Info,
                "handover finished",
                reason,
                source,
                instance,
                meant_for,
                promote_ms,
                repoint_ms,
                pause_ms,
                known_loss_bytes
            );
        } else if source.is_none() {
            event!(
                self,
                Level::Info,
                "promotion finished",
                reason,
                instance,
                meant_for,
                promote_ms,
                repoint_ms
            );
        } else {
            event!(
                self,
                Level::Info,
                "failover finished",
                reason,
                source,
                instance,
                meant_for,
                detect_ms,
                decide_ms,
                promote_ms,
                repoint_ms,
                known_loss_bytes
            );
        }
    }

    fn decided(&mut self, decided: &Decided, is_news: bool) {
        let Decided { observation, decision, digest, picture: _, is_news: _ } = decided;
        self.publication(observation);
        let level = match (is_news, decision.verdict) {
            (false, _) => Level::Debug,
            (true, Verdict::Refuse) => Level::Warn,
            (true, Verdict::Healthy | Verdict::Act | Verdict::Wait) => Level::Info,
        };
        // The first action represents its stage; every action has an event of its own when it is sent.
        let (action, instance) =
            decision.stages.first().and_then(|stage| stage.actions.first()).map(words::action).unzip();
        let lag_bytes = decision
            .members
            .iter()
            .find(|member| Some(member.id.as_str()) == instance)
            .and_then(|member| member.lag_bytes);
        let (verdict, reason, explanation) =
            (words::verdict(decision.verdict), decision.reason.as_str(), decision.explanation.as_str());
        let (master, master_goal) = (decision.master(), decision.master_goal());
        let (known_loss_bytes, policy) = (decision.loss().and_then(|loss| loss.bytes), short(digest));
        event!(
            self,
            level,
            "decided",
            verdict,
            reason,
            explanation,
            master,
            master_goal,
            action,
            instance,
            lag_bytes,
            known_loss_bytes,
            policy
        );
        if decision.verdict == Verdict::Act {
            self.observed(observation, digest, reason, is_news);
        }
    }

    /// The decision after a publication shows the new epoch.
    fn publication(&mut self, observation: &Observation) {
        let epoch = observation.published().map(|published| published.epoch);
        let before = self.published.replace(epoch);
        if let Some(published) =
            observation.published().filter(|_| before.is_some_and(|before| before != epoch))
        {
            event!(
                self,
                Level::Info,
                "published",
                instance = published.master.as_str(),
                offset = published.offset
            );
        }
    }

    /// The Observation of a decision, ready for `policy decide`. It has a log target of its own:
    /// `RUST_LOG=info,observation=off`.
    fn observed(&self, observation: &Observation, digest: &str, reason: &str, is_news: bool) {
        let is_wanted = if is_news {
            tracing::enabled!(target: "observation", tracing::Level::INFO)
        } else {
            tracing::enabled!(target: "observation", tracing::Level::DEBUG)
        };
        if !is_wanted {
            return;
        }
        let json = serde_json::to_string(observation).unwrap_or_default();
        let observation_bytes = json.len();
        // A truncated Observation cannot be decided again; a recording has it in full.
        let observation = Some(json.as_str()).filter(|json| json.len() <= OBSERVATION_BYTES_MAX);
        let GroupNames { namespace, name, topology } = &self.names;
        let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let (name, topology, policy) = (name.as_str(), words::topology(*topology), short(digest));
        if is_news {
            tracing::info!(
                target: "observation",
                namespace, name, topology, reason, policy, observation_bytes, observation,
                "observed"
            );
        } else {
            tracing::debug!(
                target: "observation",
                namespace, name, topology, reason, policy, observation_bytes, observation,
                "observed"
            );
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "durations stay far below 2^53 microseconds, which is 285 years"
)]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// About a hundred members, already far too much for one log line.
const OBSERVATION_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::super::script::{
        act, decided, failed, failover, fault, in_doubt, observed, promote, repeated,
    };
    use super::super::timeline::Timeline;
    use super::*;
    use crate::contract::{Evidence, Topology};
    use crate::group::Moment;
    use serde_json::Value;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The events logged by `what`.
    fn logged(what: impl FnOnce(&mut Log)) -> Vec<Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || writer.clone())
            .finish();
        let names =
            GroupNames { namespace: String::new(), name: "cart".into(), topology: Topology::Replication };
        tracing::subscriber::with_default(subscriber, || what(&mut Log::new(names)));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn heads(events: &[Value]) -> Vec<(&str, &str)> {
        events
            .iter()
            .map(|event| (event["level"].as_str().unwrap(), event["message"].as_str().unwrap()))
            .collect()
    }

    #[test]
    fn a_plan_is_logged_with_its_fields_and_its_observation() {
        let report = act(vec![promote(Evidence::Dead)]);
        let events = logged(|log| log.report(&report, true));
        assert_eq!(heads(&events), [("INFO", "decided"), ("INFO", "observed")]);
        let decided = &events[0];
        for (field, text) in [
            ("name", "cart"),
            ("topology", "replication"),
            ("verdict", "act"),
            ("reason", "master-dead"),
            ("explanation", "the master is dead"),
            ("action", "promote"),
            ("instance", "cart-0001"),
            ("policy", "0123456789ab"),
        ] {
            assert_eq!(decided[field], text, "{field}");
        }
        assert_eq!(
            (&decided["epoch"], &decided["lag_bytes"], &decided["known_loss_bytes"]),
            (&1.into(), &7.into(), &42.into())
        );
        assert_eq!(decided.get("namespace"), None);
        let Report::Decided(expected) = &report else { unreachable!() };
        let observation: Observation =
            serde_json::from_str(events[1]["observation"].as_str().unwrap()).unwrap();
        assert_eq!(observation, *expected.observation);
    }

    #[test]
    fn repeats_are_debug_and_what_a_human_must_read_is_a_warning() {
        let refused = decided(Verdict::Refuse, "nobody-eligible", "cart-0000", vec![]);
        let cases = [
            (decided(Verdict::Healthy, "healthy", "cart-0000", vec![]), true, "INFO"),
            (repeated(decided(Verdict::Healthy, "healthy", "cart-0000", vec![])), false, "DEBUG"),
            (refused.clone(), true, "WARN"),
            (repeated(refused), false, "DEBUG"),
            (fault(), true, "WARN"),
            (fault(), false, "DEBUG"),
            (Report::Held, true, "WARN"),
            (Report::Held, false, "DEBUG"),
            (failed(promote(Evidence::Dead)), true, "WARN"),
            (in_doubt(promote(Evidence::Dead)), true, "WARN"),
            (
                Report::Withheld { action: promote(Evidence::Dead), why: "gone".into(), is_repeat: false },
                true,
                "INFO",
            ),
        ];
        for (report, is_news, level) in cases {
            let events = logged(|log| log.report(&report, is_news));
            assert_eq!(heads(&events)[0].0, level, "{report:?}");
        }
    }

    #[test]
    fn a_new_epoch_is_logged_once_and_not_at_the_start() {
        let mut second = decided(Verdict::Healthy, "healthy", "cart-0001", vec![]);
        observed(&mut second, |observation| observation.shards[0].published.as_mut().unwrap().epoch = 2);
        let events = logged(|log| {
            log.report(&decided(Verdict::Healthy, "healthy", "cart-0000", vec![]), true);
            log.report(&second, true);
            log.report(&second, true);
        });
        assert_eq!(heads(&events).iter().filter(|(_, message)| *message == "published").count(), 1);
        assert_eq!(events[1]["epoch"], 2);
    }

    #[test]
    fn a_failover_ends_with_its_phases_in_milliseconds() {
        let mut timeline = Timeline::default();
        timeline.fault(Moment(0));
        let change = failover(0).iter().find_map(|(at, report)| timeline.take(Moment(*at), report)).unwrap();
        let first = MasterChange { source: None, ..change.clone() };
        let handed_over = MasterChange { is_handover: true, ..change.clone() };
        let events =
            logged(|log| [&change, &first, &handed_over].into_iter().for_each(|it| log.master_change(it)));
        let messages = ["failover finished", "promotion finished", "handover finished"];
        assert_eq!(heads(&events), messages.map(|message| ("INFO", message)));
        let times = ["detect_ms", "decide_ms", "promote_ms", "repoint_ms"]
            .map(|field| events[0][field].as_f64().unwrap());
        assert_eq!((times, &events[0]["known_loss_bytes"]), ([1.7, 0.6, 0.3, 0.9], &42.into()));
    }

    #[test]
    fn an_observation_beyond_the_bound_is_left_out_and_its_size_is_logged() {
        let mut report = act(vec![promote(Evidence::Dead)]);
        observed(&mut report, |observation| observation.parameters = "x".repeat(OBSERVATION_BYTES_MAX));
        let events = logged(|log| log.report(&report, true));
        assert_eq!(events[1].get("observation"), None);
        assert!(events[1]["observation_bytes"].as_u64().unwrap() > OBSERVATION_BYTES_MAX as u64);
    }
}
