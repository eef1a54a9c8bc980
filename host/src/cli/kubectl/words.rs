//! What reasons mean and what to do about them, in words: those of the default policy from its own documented
//! list, and those for which a member cannot become master. Another policy's words are its own, and nothing
//! is made up for them.

use failover_core::reason::Reason;

/// What holds when a decision has this reason, and the way out. None: it is no reason of the default policy.
pub fn reason(name: &str) -> Option<&'static str> {
    Reason::ALL.iter().find(|reason| reason.name() == name).map(|reason| reason.why())
}

/// Why a member cannot become master, and the way out. None: it is no word of the default policy.
pub fn ineligible(name: &str) -> Option<&'static str> {
    INELIGIBLE.iter().find(|(known, ..)| *known == name).map(|(_, _, words)| *words)
}

/// Whether it goes away by itself, so that a switchover may be waited for.
pub fn is_passing(name: &str) -> bool {
    INELIGIBLE.iter().any(|(known, passing, _)| *known == name && *passing)
}

/// The word, whether it passes by itself, and what it means.
const INELIGIBLE: &[(&str, bool, &str)] = &[
    ("no-reply", false, "It does not answer: see its Pod, kubectl describe pod."),
    (
        "not-a-replica",
        false,
        "It answers, and not as a replica: it will be told to follow the master, unless its data speaks \
         against that.",
    ),
    ("priority-zero", false, "Its replica-priority is 0, which means never: give it another in spec.config."),
    ("priority-unknown", false, "It does not say its replica-priority: is it a Redis?"),
    ("not-announced", false, "It sets replica-announced no, so nobody is to know of it: set it to yes."),
    (
        "failover-in-progress",
        true,
        "It carries out a FAILOVER command of its own, which ends by its TIMEOUT or by FAILOVER ABORT.",
    ),
    ("syncing", true, "It receives a copy of the data, which ends by itself."),
    ("loading", true, "It loads its data, which ends by itself."),
    ("run-id-unknown", true, "It has not said who it is yet: the next look tells."),
    (
        "history-unknown",
        true,
        "It has never been in sync with a master, so there is nothing in it to take over.",
    ),
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

    /// The words in quotes that follow `arrow` in a function of the engine's source.
    fn words_in<'a>(source: &'a str, from: &str, to: &str) -> Vec<&'a str> {
        let body = source.split_once(from).unwrap().1.split_once(to).unwrap().0;
        body.split('"').skip(1).step_by(2).collect()
    }

    #[test]
    fn each_documented_reason_has_words() {
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
    fn each_way_to_be_ineligible_has_words() {
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
