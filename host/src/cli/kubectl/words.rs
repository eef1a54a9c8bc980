//! Explanations of reasons: those of the default policy from its own documented list, and those for which a
//! member is not eligible as master. Another policy's reasons are not explained here.

use failover_core::reason::Reason;

/// What a reason means, and the way out. None: not a reason of the default policy.
pub fn reason(name: &str) -> Option<&'static str> {
    Reason::ALL.iter().find(|reason| reason.name() == name).map(|reason| reason.why())
}

/// Why a member is not eligible as master, and the way out. None: unknown.
pub fn ineligible(name: &str) -> Option<&'static str> {
    INELIGIBLE.iter().find(|(known, ..)| *known == name).map(|(_, _, words)| *words)
}

/// Whether it passes by itself, so that a switchover can wait for it.
pub fn is_passing(name: &str) -> bool {
    INELIGIBLE.iter().any(|(known, passing, _)| *known == name && *passing)
}

/// The reason, whether it passes by itself, and its meaning.
const INELIGIBLE: &[(&str, bool, &str)] = &[
    ("no-reply", false, "It does not answer: see its Pod, kubectl describe pod."),
    (
        "not-a-replica",
        false,
        "It answers, and not as a replica: the operator makes it follow the master, unless its data \
         forbids that.",
    ),
    ("priority-zero", false, "Its replica-priority is 0, which means never: change it in spec.config."),
    ("priority-unknown", false, "It does not report its replica-priority: check that it is a Redis."),
    ("not-announced", false, "It has replica-announced no, which hides it: set it to yes."),
    (
        "failover-in-progress",
        true,
        "It carries out a FAILOVER command, which ends by its TIMEOUT or by FAILOVER ABORT.",
    ),
    ("syncing", true, "It receives a copy of the data, which ends by itself."),
    ("loading", true, "It loads its data, which ends by itself."),
    ("run-id-unknown", true, "It has not reported its run id yet: the next round shows it."),
    ("history-unknown", true, "It has never been in sync with a master, so it has no data to take over."),
    (
        "foreign-history",
        false,
        "Its data is no copy of the group's: it will follow the master, or a person must decide about its \
         data.",
    ),
    ("not-redis", false, "It is no Redis server."),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The quoted words of a function in the engine's source.
    fn words_in<'a>(source: &'a str, from: &str, to: &str) -> Vec<&'a str> {
        let body = source.split_once(from).unwrap().1.split_once(to).unwrap().0;
        body.split('"').skip(1).step_by(2).collect()
    }

    #[test]
    fn each_documented_reason_is_explained() {
        let page = include_str!("../../../../wit/REASONS.md");
        let documented: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(documented.len(), Reason::ALL.len());
        for name in documented {
            assert!(reason(name).is_some_and(|words| words.len() > 20 && page.contains(words)), "{name}");
        }
        assert_eq!(reason("a-reason-of-ones-own"), None);
    }

    #[test]
    fn each_cause_of_ineligibility_is_explained() {
        let mut known =
            words_in(include_str!("../../../../core/src/election.rs"), "pub fn unfit", "() => return None");
        known.extend(["foreign-history", "not-redis"]);
        assert!(known.len() > 10, "{known:?}");
        for name in known {
            assert!(ineligible(name).is_some(), "{name}");
        }
        assert!(is_passing("loading") && !is_passing("priority-zero") && !is_passing("something-else"));
    }
}
