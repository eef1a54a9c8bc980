//! Hard invariants: what no policy may order, ours included. Pure native code over an observation and a
//! decision.
//!
//! Only the first stage of a plan is carried out, so it is checked against all evidence; the later ones are
//! hypotheses, and checked for their structure. The guard reads replies through `failover_core::facts` and
//! judges by itself: it must never use another part of the engine, repair a plan, or ask anybody.
//!
//! Unknown is never in favour of an action, and nothing that loses no data is forbidden: a guard that rejects
//! a good plan leaves a group without a master.
//!
//! Of the engine's invariants, authority is not here (people may ask a host that may not act), nor is a
//! candidate's version: a complete replica of an older Redis is better than no master.

mod candidate;
mod evidence;
mod follow;
mod handover;
mod masters;
mod scene;
mod shape;
mod structure;
#[cfg(test)]
mod tests;

use crate::contract::{Action, Decision, Follow, Handover, Observation, Promote};
use scene::Scene;

/// Whether the decision keeps every invariant.
///
/// # Errors
/// One [`Breach`] for every rule that is broken, in the order of [`Rule::ALL`]. Then no action of the plan
/// may be taken.
pub fn judge(observation: &Observation, decision: &Decision) -> Result<(), Vec<Breach>> {
    let case = Case { scene: Scene::read(observation), decision };
    let breaches: Vec<_> = Rule::ALL
        .into_iter()
        .filter_map(|rule| (rule.row().2)(&case).err().map(|text| Breach { rule, text }))
        .collect();
    if breaches.is_empty() { Ok(()) } else { Err(breaches) }
}

/// An invariant that a decision breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", rule.name())]
pub struct Breach {
    /// Which one.
    pub rule: Rule,
    /// How, with names and numbers.
    pub text: String,
}

macro_rules! rules {
    ($($(#[doc = $why:literal])+ $rule:ident = $name:literal, $check:path;)+) => {
        /// A hard invariant. The sentence of each is what [`Rule::why`] gives.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule { $($(#[doc = $why])+ $rule,)+ }

        impl Rule {
            /// All of them, in the order in which they are checked.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$rule),+];

            fn row(self) -> (&'static str, &'static str, Check) {
                match self { $(Self::$rule => ($name, concat!($($why),+), $check),)+ }
            }
        }
    };
}

rules! {
    /// Only the verdict act has a plan, and it has one; a paused group has none.
    PlanMatchesVerdict = "plan-matches-verdict", structure::plan_matches_verdict;
    /// The decision judges every instance and every shard exactly once, in their order, and answers the request.
    Members = "members", structure::members;
    /// Every id that the decision names is an instance of the observation, or the master on record.
    KnownIds = "known-ids", structure::known_ids;
    /// A stage changes the master at most once, and whom a plan promotes it lets follow nobody.
    OnePromotion = "one-promotion", shape::one_promotion;
    /// All who follow in a stage follow one other, who is the master by then: a star, without rings or chains.
    Star = "star", shape::star;
    /// What an action expects of its target is what the newest replies show, or what an earlier stage makes of it.
    Expectation = "expectation", structure::expectation;
    /// Only instances that answer now are acted on, except to restart them.
    Freshness = "freshness", structure::freshness;
    /// Only directives of the allow-list are set, each to a plain number, and nothing is done that no topology here is
    /// served with.
    AllowList = "allow-list", structure::allow_list;
    /// A pause of writes ends by itself within a minute.
    BoundedPause = "bounded-pause", structure::bounded_pause;
    /// Whoever may still be the master is accounted for, and the stated reason to replace it is true.
    Evidence = "evidence", evidence::evidence;
    /// That a master abdicated counts once the group has had no master for 100 ms.
    Abdication = "abdication", evidence::abdication;
    /// Replicas of a lost master count only when sampled after the loss, hearing nothing from it: their offsets are final.
    FinalOffsets = "final-offsets", evidence::final_offsets;
    /// With a preference for consistency, a silent master is replaced only after its self-fence surely bit.
    SelfFence = "self-fence", evidence::self_fence;
    /// A silent master is not replaced soon after another failover.
    CoolDown = "cool-down", evidence::cool_down;
    /// While many groups fall silent together, it is the host that is doubted first.
    SelfDoubt = "self-doubt", evidence::self_doubt;
    /// A master that answers gives its role away by handover only.
    ReachableMaster = "reachable-master", candidate::reachable_master;
    /// A first master is chosen only where none can be, and by its data or the record.
    Bootstrap = "bootstrap", candidate::bootstrap;
    /// The promoted one answers as a replica that may take the role: not loading, not syncing, announced, with a priority.
    Fit = "fit", candidate::fit;
    /// The promoted one holds the history of the master that it replaces.
    Lineage = "lineage", candidate::lineage;
    /// No other that is fit has all that the promoted one has and more.
    MostAdvanced = "most-advanced", candidate::most_advanced;
    /// With fewer answering members than the minimum, nobody is promoted and no data is replaced.
    Quorum = "quorum", candidate::quorum;
    /// While a promotion of another is in doubt, that other may be a master.
    InDoubt = "in-doubt", candidate::in_doubt;
    /// Nobody follows who would lose data that is not known to be discarded, and only a complete copy is followed.
    NoDestructiveFollow = "no-destructive-follow", follow::no_destructive_follow;
    /// A master that came back without its data is never followed.
    Amnesia = "amnesia", follow::amnesia;
    /// Of two masters, the one on record stays, unless the other has all that it has.
    TwoMasters = "two-masters", follow::two_masters;
    /// What holds data is restarted only while another complete copy serves.
    SafeRestart = "safe-restart", follow::safe_restart;
    /// A role is handed from an answering master to its attached replica, and for a reason that is on record.
    HandoverInSync = "handover-in-sync", handover::handover_in_sync;
}

impl Rule {
    /// Kebab-case name: metric label, row of `policy check`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The invariant, in one sentence.
    pub fn why(self) -> &'static str {
        self.row().1.trim()
    }
}

/// One check: the words for the first breach that it finds.
type Check = fn(&Case<'_>) -> Result<(), String>;

/// What a check looks at.
struct Case<'a> {
    scene: Scene<'a>,
    decision: &'a Decision,
}

impl<'a> Case<'a> {
    /// The actions that would be carried out.
    fn first(&self) -> impl Iterator<Item = &'a Action> {
        self.decision.stages.first().into_iter().flat_map(|stage| &stage.actions)
    }

    fn promotes(&self) -> impl Iterator<Item = &'a Promote> {
        self.first()
            .filter_map(|action| if let Action::Promote(promote) = action { Some(promote) } else { None })
    }

    fn follows(&self) -> impl Iterator<Item = &'a Follow> {
        self.first()
            .filter_map(|action| if let Action::Follow(follow) = action { Some(follow) } else { None })
    }

    fn handovers(&self) -> impl Iterator<Item = &'a Handover> {
        self.first()
            .filter_map(|action| if let Action::Handover(handover) = action { Some(handover) } else { None })
    }
}

/// A sentence as the error of a check, unless its claim holds.
fn ensure(claim: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if claim { Ok(()) } else { Err(text()) }
}
