//! Compares `deploy/monitoring` with the exposed metrics: an alert on a metric that does not exist never
//! fires.

use super::metrics::{GroupMetrics, Metrics};
use super::script::{decided, failover, fault, follow, handed_over};
use super::timeline::Timeline;
use super::{GroupNames, RoleMetrics, words};
use crate::contract::{Topology, Verdict};
use crate::group::{Moment, Report};
use std::collections::BTreeSet;
use std::sync::Arc;

const RULES: &str = include_str!("../../../deploy/monitoring/rules.yaml");
const PROMETHEUS_RULE: &str = include_str!("../../../deploy/monitoring/prometheusrule.yaml");
const DASHBOARD: &str = include_str!("../../../deploy/monitoring/dashboard.json");

/// All series, after every kind of report.
fn exposed() -> BTreeSet<String> {
    let names = GroupNames { namespace: "shop".into(), name: "cart".into(), topology: Topology::Replication };
    let all = Arc::new(Metrics::new("1.2.3"));
    let mut group = GroupMetrics::new(names, Arc::clone(&all));
    let mut timeline = Timeline::default();
    let further = [
        fault(),
        Report::Held,
        handed_over(2_500),
        Report::Withheld { action: follow("cart-0002"), why: "gone".into(), is_repeat: false },
    ];
    let last = decided(Verdict::Healthy, "healthy", "cart-0001", vec![]);
    let script =
        failover(0).into_iter().chain(further.into_iter().chain([last]).map(|report| (10_000_000, report)));
    for (at, report) in script {
        group.report(&report);
        if let Some(change) = timeline.take(Moment(at), &report) {
            group.master_change(&change);
        }
    }
    all.may_act(true);
    let roles = RoleMetrics::new("shop".into(), "cart".into(), Arc::clone(&all));
    roles.are_stale(false);
    roles.updated(9_000);
    let text = all.text();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned()))
        .collect()
}

fn named(text: &str) -> BTreeSet<&str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter: char| !is_part(letter));
    words.filter(|word| word.starts_with("redis_operator_")).collect()
}

#[test]
fn dashboard_and_alerts_name_exposed_metrics_and_the_dashboard_shows_all() {
    let exposed = exposed();
    let unknown = |text| named(text).into_iter().filter(|name| !exposed.contains(*name)).collect::<Vec<_>>();
    assert_eq!((unknown(RULES), unknown(DASHBOARD)), (vec![], vec![]), "not among {exposed:#?}");
    assert_eq!(unknown("sum(redis_operator_made_up_total)"), ["redis_operator_made_up_total"]);
    let shown = named(DASHBOARD);
    let part = |name: &&String| name.ends_with("_sum") || name.ends_with("_count");
    let missing: Vec<_> =
        exposed.iter().filter(|name| !part(name) && !shown.contains(name.as_str())).collect();
    assert_eq!(missing, Vec::<&String>::new(), "exposed, and not on a panel");
}

/// `label="word"` and `label=~"word|word"` in queries, for one label.
fn values<'a>(text: &'a str, label: &str) -> Vec<&'a str> {
    let after = text.match_indices(label).map(|(at, _)| &text[at + label.len()..]);
    let starts = after
        .filter(|rest| rest.starts_with(['=', '!']))
        .map(|rest| rest.trim_start_matches(['=', '~', '!', '\\']));
    starts
        .filter_map(|rest| rest.strip_prefix('"')?.split(['"', '\\']).next())
        .flat_map(|words| words.split('|'))
        .collect()
}

#[test]
fn alerts_select_by_values_that_labels_have() {
    let verdicts = words::VERDICTS.map(words::verdict);
    let healths = words::HEALTHS.map(words::health);
    for text in [RULES, DASHBOARD] {
        assert!(
            values(text, "verdict").iter().all(|word| verdicts.contains(word)),
            "{:?}",
            values(text, "verdict")
        );
        assert!(
            values(text, "health").iter().all(|word| healths.contains(word)),
            "{:?}",
            values(text, "health")
        );
    }
    assert_eq!(
        (values(RULES, "verdict"), values(RULES, "health")),
        (vec!["refuse", "healthy"], vec!["dead", "silent"])
    );
}

#[test]
fn the_rules_are_the_same_for_prometheus_and_for_its_operator() {
    let (_, spec) = PROMETHEUS_RULE.split_once("spec:\n").unwrap();
    let (_, groups) = RULES.split_once('\n').unwrap();
    assert_eq!(
        spec.lines().map(|line| line.strip_prefix("  ").unwrap()).collect::<Vec<_>>(),
        groups.lines().collect::<Vec<_>>()
    );
}
