//! Explanations of reasons: those of the default policy from its own documented list, and those for which a
//! member is not eligible as master. Another policy's reasons are not explained here.

use failover_core::reasons;
use failover_core::topology::replication::Ineligible;

/// What a reason means, and the way out. None: not a reason of the default policy.
pub fn reason(name: &str) -> Option<&'static str> {
    reasons().find(|reason| reason.name == name).map(|reason| reason.why)
}

/// Why a member cannot become master, and the way out. None: it is no word of the default policy.
pub fn ineligible(name: &str) -> Option<String> {
    known(name).map(|why| format!("{} {}", why.sentence(), why.way_out()))
}

/// Whether it ends by itself, so that a switchover may wait for it.
pub fn is_passing(name: &str) -> bool {
    known(name).is_some_and(Ineligible::is_passing)
}

fn known(name: &str) -> Option<Ineligible> {
    Ineligible::ALL.iter().copied().find(|why| why.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_documented_reason_is_explained() {
        let page = include_str!("../../../../wit/REASONS.md");
        let documented: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(documented.len(), reasons().count());
        for name in documented {
            assert!(reason(name).is_some_and(|words| words.len() > 20 && page.contains(words)), "{name}");
        }
        assert_eq!(reason("a-reason-of-ones-own"), None);
    }

    #[test]
    fn each_way_to_be_ineligible_has_words() {
        for why in Ineligible::ALL {
            assert!(ineligible(why.name()).is_some_and(|words| words.len() > 20), "{why:?}");
        }
        assert_eq!(ineligible("a-word-of-ones-own"), None);
        assert!(is_passing("loading") && !is_passing("priority-zero") && !is_passing("something-else"));
    }
}
