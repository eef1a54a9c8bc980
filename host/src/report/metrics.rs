//! Prometheus metrics. Every label is a name of the group, one of its instances, or one of a bounded set of
//! words, so that no policy can make the registry grow without bound.

use super::GroupNames;
use super::supervise::Task;
use super::timeline::MasterChange;
use super::words::{self, short};
use crate::group::{Decided, Outcome, Report};
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder, text};
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info,
};
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The metrics of one process, shared by its groups.
pub struct Metrics {
    registry: Registry,
    decisions: Family<Labels, Counter>,
    actions: Family<Labels, Counter>,
    faults: Family<Labels, Counter>,
    unavailable: Family<Labels, Counter>,
    shadows: Family<Labels, Counter>,
    master_changes: Family<Labels, Counter>,
    known_loss: Family<Labels, Counter>,
    phases: Family<Labels, Histogram>,
    pauses: Family<Labels, Histogram>,
    verdicts: Family<Labels, Gauge>,
    instances: Family<Labels, Gauge>,
    lags: Family<Labels, Gauge>,
    policies: Family<Labels, Gauge>,
    authority: Family<NoLabels, Gauge>,
    groups: Family<[(&'static str, &'static str); 1], Gauge>,
    task_restarts: Family<[(&'static str, &'static str); 1], Counter>,
    pub(super) stale_roles: Family<Labels, Gauge>,
    pub(super) role_staleness: Family<Labels, Histogram>,
    reasons: Mutex<BTreeSet<String>>,
}

/// The labels of one series. A group has 17 series: they share its names, and words are not copied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Labels {
    group: Arc<Named>,
    more: Vec<(&'static str, Cow<'static, str>)>,
}

type Named = [(&'static str, String); 2];
type NoLabels = [(&'static str, &'static str); 0];

impl Labels {
    /// The labels of a group, without further ones.
    pub(super) fn of(namespace: String, name: String) -> Self {
        Self { group: Arc::new([("namespace", namespace), ("name", name)]), more: Vec::new() }
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> std::fmt::Result {
        self.group.as_ref().encode(encoder)?;
        self.more.encode(encoder)
    }
}

impl Metrics {
    /// Metrics with nothing counted. `version` is the operator's.
    pub fn new(version: &'static str) -> Self {
        let mut registry = Registry::with_prefix("redis_operator");
        registry.register("build", "Version of the operator", Info::new(vec![("version", version)]));
        let histogram =
            || Family::new_with_constructor((|| Histogram::new(BUCKETS_SECONDS)) as fn() -> Histogram);
        let mut metrics = Self {
            registry,
            decisions: Family::default(),
            actions: Family::default(),
            faults: Family::default(),
            unavailable: Family::default(),
            shadows: Family::default(),
            master_changes: Family::default(),
            known_loss: Family::default(),
            phases: histogram(),
            pauses: histogram(),
            verdicts: Family::default(),
            instances: Family::default(),
            lags: Family::default(),
            policies: Family::default(),
            authority: Family::default(),
            groups: Family::default(),
            task_restarts: Family::default(),
            stale_roles: Family::default(),
            role_staleness: histogram(),
            reasons: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("decisions", "Decisions by reason and verdict", self.decisions.clone());
        all.register("actions", "Actions by kind and outcome", self.actions.clone());
        all.register("policy_faults", "Faults of policies, by kind", self.faults.clone());
        all.register(
            "policy_unavailable",
            "Decisions for which no policy had a usable answer",
            self.unavailable.clone(),
        );
        all.register("shadow_decisions", "Answers of shadow policies, by outcome", self.shadows.clone());
        all.register("master_changes", "Changes of master by evidence", self.master_changes.clone());
        let help = "Bytes that replaced masters had and their successors had not";
        all.register_with_unit("known_loss", help, Unit::Bytes, self.known_loss.clone());
        all.register_with_unit(
            "failover_phase",
            "Phases of failovers, from the first sign of the fault",
            Unit::Seconds,
            self.phases.clone(),
        );
        all.register_with_unit(
            "handover_pause",
            "Write pauses of handovers",
            Unit::Seconds,
            self.pauses.clone(),
        );
        all.register(
            "group_verdict",
            "1 for the verdict of the last decision, 0 for the others",
            self.verdicts.clone(),
        );
        all.register("instances", "Instances by health", self.instances.clone());
        all.register_with_unit(
            "instance_lag",
            "Offset behind the most advanced instance of the same history",
            Unit::Bytes,
            self.lags.clone(),
        );
        all.register("policy_info", "1 for the policy of the last decision", self.policies.clone());
        all.register(
            "authority",
            "1 while this operator may act, 0 while another one may",
            self.authority.clone(),
        );
        all.register(
            "groups",
            "Groups by state: silent, healthy, failing-over, rolling-out",
            self.groups.clone(),
        );
        all.register(
            "task_restarts",
            "Tasks that panicked and were started again",
            self.task_restarts.clone(),
        );
        // From the start, as alerts need it.
        for task in Task::ALL {
            drop(self.task_restarts.get_or_create(&[("task", task.label())]));
        }
        all.register(
            "roles_stale",
            "1 while the role labels of the Pods do not show the master",
            self.stale_roles.clone(),
        );
        let help = "From a change of master until the role labels of the Pods showed it";
        all.register_with_unit("role_staleness", help, Unit::Seconds, self.role_staleness.clone());
    }

    /// Whether this operator may act now. Set only where several operators share a Lease: otherwise the
    /// series does not exist.
    pub fn may_act(&self, may_act: bool) {
        self.authority.get_or_create(&[]).set(i64::from(may_act));
    }

    /// How many groups are in each state. Set only where one operator has many groups.
    pub fn count_groups(&self, counts: impl IntoIterator<Item = (&'static str, u64)>) {
        for (state, count) in counts {
            self.groups.get_or_create(&[("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// A task panicked, and is started again.
    pub fn task_restarts(&self, task: Task) {
        self.task_restarts.get_or_create(&[("task", task.label())]).inc();
    }

    /// All metrics as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to a string never fails");
        text
    }

    /// A reason as a label. Policies choose their reasons: beyond [`REASONS_MAX`] they are counted together.
    fn reason(&self, reason: &str) -> String {
        let mut known = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(reason) {
            if known.len() == REASONS_MAX || reason.len() > REASON_BYTES_MAX {
                return OTHER.into();
            }
            known.insert(reason.into());
        }
        reason.into()
    }
}

/// The metrics of one group.
pub struct GroupMetrics {
    names: Arc<Named>,
    all: Arc<Metrics>,
    /// Instances with a lag series.
    lagging: BTreeSet<String>,
    /// Digest in the policy series.
    policy: Option<String>,
}

impl GroupMetrics {
    pub fn new(names: GroupNames, all: Arc<Metrics>) -> Self {
        let GroupNames { namespace, name, topology: _ } = names;
        let group = Self {
            names: Arc::new([("namespace", namespace), ("name", name)]),
            all,
            lagging: BTreeSet::new(),
            policy: None,
        };
        // Alerts need these series from the start: the increase of a series that begins at its first event is
        // zero.
        drop(group.all.unavailable.get_or_create(&group.labels([])));
        drop(group.all.known_loss.get_or_create(&group.labels([])));
        group
    }

    pub fn report(&mut self, report: &Report) {
        match report {
            Report::Decided(decided) => self.decided(decided),
            Report::Fault { fault, .. } => {
                self.all.faults.get_or_create(&self.labels([("kind", words::fault(fault))])).inc();
            }
            Report::Held => {
                self.all.unavailable.get_or_create(&self.labels([])).inc();
            }
            Report::Withheld { action, .. } => self.action(words::action(action).0, "withheld"),
            Report::Finished { action, outcome, .. } => {
                self.action(words::action(action).0, words::outcome(outcome));
                if let Outcome::Done { pause_us: Some(pause_us), .. } = outcome {
                    self.all.pauses.get_or_create(&self.labels([])).observe(seconds(*pause_us));
                }
            }
            Report::Link { .. } | Report::Sent { .. } => {}
        }
    }

    /// `policy` is the name of a resource.
    pub fn shadow(&self, policy: &str, outcome: &'static str) {
        let labels =
            self.with([("policy", Cow::Owned(policy.to_owned())), ("outcome", Cow::Borrowed(outcome))]);
        self.all.shadows.get_or_create(&labels).inc();
    }

    pub fn master_change(&self, change: &MasterChange) {
        self.all
            .master_changes
            .get_or_create(&self.labels([("evidence", words::evidence(change.evidence))]))
            .inc();
        self.all.known_loss.get_or_create(&self.labels([])).inc_by(change.known_loss_bytes.unwrap_or(0));
        if !change.is_failover() {
            return;
        }
        for (phase, us) in change.phases_us() {
            if let Some(us) = us {
                self.all.phases.get_or_create(&self.labels([("phase", phase.name())])).observe(seconds(us));
            }
        }
    }

    fn decided(&mut self, decided: &Decided) {
        let Decided { observation: _, decision, digest, picture: _, is_news: _ } = decided;
        let reason = self.all.reason(&decision.reason);
        self.all
            .decisions
            .get_or_create(
                &self.with([("reason", reason.into()), ("verdict", words::verdict(decision.verdict).into())]),
            )
            .inc();
        for verdict in words::VERDICTS {
            let labels = self.labels([("verdict", words::verdict(verdict))]);
            self.all.verdicts.get_or_create(&labels).set(i64::from(verdict == decision.verdict));
        }
        for health in words::HEALTHS {
            let count = decision.members.iter().filter(|member| member.health == health).count();
            self.all
                .instances
                .get_or_create(&self.labels([("health", words::health(health))]))
                .set(whole(count));
        }
        let lags = decision.members.iter().filter_map(|member| Some((member.id.as_str(), member.lag_bytes?)));
        let lagging: BTreeSet<String> = lags
            .map(|(id, lag_bytes)| {
                self.all.lags.get_or_create(&self.labels_of("instance", id)).set(whole(lag_bytes));
                id.to_owned()
            })
            .collect();
        for gone in self.lagging.difference(&lagging) {
            self.all.lags.remove(&self.labels_of("instance", gone));
        }
        self.lagging = lagging;
        if self.policy.as_ref() != Some(digest) {
            if let Some(before) = self.policy.replace(digest.clone()) {
                self.all.policies.remove(&self.labels_of("policy", short(&before)));
            }
            self.all.policies.get_or_create(&self.labels_of("policy", short(digest))).set(1);
        }
    }

    fn action(&self, action: &'static str, outcome: &'static str) {
        self.all.actions.get_or_create(&self.labels([("action", action), ("outcome", outcome)])).inc();
    }

    fn labels<const N: usize>(&self, more: [(&'static str, &'static str); N]) -> Labels {
        self.with(more.map(|(key, word)| (key, Cow::Borrowed(word))))
    }

    /// With a label whose value is not a constant.
    fn labels_of(&self, key: &'static str, value: &str) -> Labels {
        self.with([(key, Cow::Owned(value.to_owned()))])
    }

    fn with<const N: usize>(&self, more: [(&'static str, Cow<'static, str>); N]) -> Labels {
        Labels { group: Arc::clone(&self.names), more: more.into() }
    }
}

impl Drop for GroupMetrics {
    /// A removed group has no state. Its counts stay.
    fn drop(&mut self) {
        for verdict in words::VERDICTS {
            self.all.verdicts.remove(&self.labels([("verdict", words::verdict(verdict))]));
        }
        for health in words::HEALTHS {
            self.all.instances.remove(&self.labels([("health", words::health(health))]));
        }
        for instance in &self.lagging {
            self.all.lags.remove(&self.labels_of("instance", instance));
        }
        if let Some(digest) = &self.policy {
            self.all.policies.remove(&self.labels_of("policy", short(digest)));
        }
    }
}

/// As the value of a gauge, which is signed.
fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "durations stay far below 2^53 microseconds, which is 285 years"
)]
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// From a round trip on loopback to a minute, dense at 3 to 6 ms and at hang limits, where failovers are.
const BUCKETS_SECONDS: [f64; 17] =
    [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// The embedded policy has about 45.
const REASONS_MAX: usize = 64;
/// The bound of a reason in the contract.
const REASON_BYTES_MAX: usize = 64;
const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::super::script::{decided, done, failover, fault, follow, handed_over, in_doubt, promote};
    use super::super::timeline::Timeline;
    use super::*;
    use crate::contract::{Evidence, Topology, Verdict};
    use crate::group::Moment;

    fn group() -> GroupMetrics {
        let names =
            GroupNames { namespace: "shop".into(), name: "cart".into(), topology: Topology::Replication };
        GroupMetrics::new(names, Arc::new(Metrics::new("1.2.3")))
    }

    /// The value of one series.
    fn value(metrics: &GroupMetrics, series: &str) -> Option<String> {
        metrics.all.text().lines().find_map(|line| Some(line.strip_prefix(series)?.trim().to_owned()))
    }

    #[test]
    fn every_series_has_its_unit_and_its_labels() {
        let mut metrics = group();
        let mut timeline = Timeline::default();
        for (at, report) in failover(0) {
            metrics.report(&report);
            if let Some(change) = timeline.take(Moment(at), &report) {
                metrics.master_change(&change);
            }
        }
        for report in [
            fault(),
            Report::Held,
            handed_over(2_500),
            Report::Withheld { action: follow("cart-0002"), why: "gone".into(), is_repeat: false },
        ] {
            metrics.report(&report);
        }
        let group = r#"namespace="shop",name="cart""#;
        for (series, count) in [
            (format!(r#"decisions_total{{{group},reason="master-dead",verdict="act"}}"#), "2"),
            (format!(r#"actions_total{{{group},action="promote",outcome="done"}}"#), "1"),
            (format!(r#"actions_total{{{group},action="follow",outcome="withheld"}}"#), "1"),
            (format!(r#"policy_faults_total{{{group},kind="trap"}}"#), "1"),
            (format!("policy_unavailable_total{{{group}}}"), "1"),
            (format!(r#"master_changes_total{{{group},evidence="dead"}}"#), "1"),
            (format!("known_loss_bytes_total{{{group}}}"), "42"),
            (format!(r#"failover_phase_seconds_sum{{{group},phase="decide"}}"#), "0.0006"),
            (format!(r#"failover_phase_seconds_bucket{{le="0.0005",{group},phase="promote"}}"#), "1"),
            (format!(r#"failover_phase_seconds_bucket{{le="0.0005",{group},phase="repoint"}}"#), "0"),
            (format!("handover_pause_seconds_sum{{{group}}}"), "0.0025"),
            (format!(r#"group_verdict{{{group},verdict="wait"}}"#), "1"),
            (format!(r#"group_verdict{{{group},verdict="act"}}"#), "0"),
            (format!(r#"instances{{{group},health="in-sync"}}"#), "2"),
            (format!(r#"instance_lag_bytes{{{group},instance="cart-0002"}}"#), "9"),
            (format!(r#"policy_info{{{group},policy="0123456789ab"}}"#), "1"),
            (r#"build_info{version="1.2.3"}"#.into(), "1"),
        ] {
            assert_eq!(
                value(&metrics, &format!("redis_operator_{series}")).as_deref(),
                Some(count),
                "{series} in\n{}",
                metrics.all.text()
            );
        }
    }

    #[test]
    fn the_sixty_fifth_reason_and_an_overlong_one_are_other() {
        let mut metrics = group();
        metrics.report(&decided(Verdict::Wait, &"a".repeat(65), "cart-0000", vec![]));
        for index in 0..100 {
            metrics.report(&decided(Verdict::Wait, &format!("reason-{index}"), "cart-0000", vec![]));
        }
        metrics.report(&decided(Verdict::Wait, "reason-63", "cart-0000", vec![]));
        let count = |reason: &str| {
            value(
                &metrics,
                &format!(
                    "redis_operator_decisions_total\
                     {{namespace=\"shop\",name=\"cart\",reason=\"{reason}\",verdict=\"wait\"}}"
                ),
            )
        };
        assert_eq!(
            [count("other"), count("reason-63"), count("reason-64")],
            [Some("37".into()), Some("2".into()), None]
        );
        assert_eq!(metrics.all.text().lines().filter(|line| line.contains("decisions_total{")).count(), 65);
    }

    #[test]
    fn series_of_removed_instances_and_replaced_policies_are_removed() {
        let mut metrics = group();
        let mut report = decided(Verdict::Healthy, "healthy", "cart-0000", vec![]);
        metrics.report(&report);
        if let Report::Decided(decided) = &mut report {
            Arc::make_mut(&mut decided.decision).members.pop();
            decided.digest = "f".repeat(64);
        }
        metrics.report(&report);
        let text = metrics.all.text();
        assert!(
            text.contains(r#"instance="cart-0001""#) && !text.contains(r#"instance="cart-0002""#),
            "{text}"
        );
        assert!(
            text.contains(r#"policy="ffffffffffff""#) && !text.contains(r#"policy="0123456789ab""#),
            "{text}"
        );
    }

    #[test]
    fn a_group_starts_with_zero_loss_and_leaves_its_counts_without_state() {
        let mut metrics = group();
        assert_eq!(
            value(&metrics, r#"redis_operator_known_loss_bytes_total{namespace="shop",name="cart"}"#)
                .as_deref(),
            Some("0")
        );
        metrics.report(&decided(Verdict::Healthy, "healthy", "cart-0000", vec![]));
        let all = Arc::clone(&metrics.all);
        drop(metrics);
        let left: Vec<String> = all
            .text()
            .lines()
            .filter(|line| line.contains("shop"))
            .map(|line| line[..line.find('{').unwrap()].into())
            .collect();
        assert_eq!(
            left,
            [
                "redis_operator_decisions_total",
                "redis_operator_policy_unavailable_total",
                "redis_operator_known_loss_bytes_total"
            ]
        );
    }

    #[test]
    fn an_action_in_doubt_is_neither_done_nor_failed() {
        let mut metrics = group();
        metrics.report(&in_doubt(promote(Evidence::Dead)));
        metrics.report(&done(follow("cart-0002")));
        let text = metrics.all.text();
        assert!(
            text.contains(r#"action="promote",outcome="in-doubt"} 1"#)
                && !text.contains(r#"action="promote",outcome="failed""#),
            "{text}"
        );
    }
}
