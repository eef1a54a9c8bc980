//! The shape of a rule, and of what a rule says. Knows no topology: a table of rules belongs to one.

use crate::contract::{Action, Loss, Stage, Verdict};
use crate::mutant;
use crate::reason::Reason;
use crate::text::tidied;

/// What a table of rules decides for.
pub trait Ruled: Sized + 'static {
    /// Everything that the rules may look at, worked out once a decision.
    type Scene<'a>;
}

/// The ordered rules of a topology. The first that applies decides; `otherwise` always applies.
pub struct Table<T: Ruled> {
    /// Read from top to bottom; in sections, between which another topology can put rules of its own.
    pub sections: &'static [&'static [Rule<T>]],
    /// What is decided where no rule applies.
    pub otherwise: fn(&T::Scene<'_>) -> Ruling,
    /// The reasons that `otherwise` may give and that no rule gives.
    pub otherwise_gives: &'static [Reason],
}

/// A line of a table.
pub struct Rule<T: Ruled> {
    /// The reasons that it may give. Several where their order means nothing, because one state of the group
    /// has one of them.
    pub gives: &'static [Reason],
    /// Decides, or leaves it to the next rule.
    pub when: fn(&T::Scene<'_>) -> Option<Ruling>,
}

impl<T: Ruled> Table<T> {
    /// The ruling of the first rule that applies.
    pub fn decide(&self, scene: &T::Scene<'_>) -> Ruling {
        self.sections
            .iter()
            .find_map(|section| first(section, scene))
            .unwrap_or_else(|| (self.otherwise)(scene))
    }
}

/// The ruling of the first of these rules that applies.
pub fn first<T: Ruled>(rules: &[Rule<T>], scene: &T::Scene<'_>) -> Option<Ruling> {
    let mut rules = rules.iter().filter(|rule| !mutant::is_left_out("rule", rule.name()));
    rules.find_map(|rule| (rule.when)(scene))
}

impl<T: Ruled> Rule<T> {
    /// Its name: that of its first reason.
    pub fn name(&self) -> &'static str {
        self.gives.first().map_or("", |reason| reason.name)
    }
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Why, as documented.
    pub reason: Reason,
    /// What kind of answer.
    pub verdict: Verdict,
    /// The reason as one sentence, with names and numbers.
    pub explanation: String,
    /// Whether the master that answers may be named, and so published. It may not while members that could
    /// have a better claim get their time to appear.
    pub names_master: bool,
    /// The member that is to be master in the end. None: the present one.
    pub goal: Option<usize>,
    /// The plan.
    pub stages: Vec<Stage>,
    /// See the contract.
    pub loss: Option<Loss>,
    /// See the contract.
    pub next_look_us: u64,
}

impl Ruling {
    /// Nothing to do.
    pub fn healthy(reason: Reason, explanation: String) -> Self {
        Self { verdict: Verdict::Healthy, ..Self::wait(reason, explanation, STEADY_LOOK_US) }
    }

    /// Not yet.
    pub fn wait(reason: Reason, explanation: String, next_look_us: u64) -> Self {
        Self {
            reason,
            verdict: Verdict::Wait,
            explanation,
            names_master: true,
            goal: None,
            stages: Vec::new(),
            loss: None,
            next_look_us,
        }
    }

    /// Not without a person.
    pub fn refuse(reason: Reason, explanation: String) -> Self {
        Self { verdict: Verdict::Refuse, ..Self::wait(reason, explanation, STEADY_LOOK_US) }
    }

    /// Now.
    pub fn act(reason: Reason, explanation: String, goal: usize, stages: Vec<Stage>) -> Self {
        Self {
            verdict: Verdict::Act,
            goal: Some(goal),
            stages,
            ..Self::wait(reason, explanation, AFTER_ACTION_LOOK_US)
        }
    }

    /// Now, and no member is to be master by it.
    pub fn act_without_goal(reason: Reason, explanation: String, stages: Vec<Stage>) -> Self {
        Self { verdict: Verdict::Act, stages, ..Self::wait(reason, explanation, AFTER_ACTION_LOOK_US) }
    }

    /// With the bytes that are known to be lost by it. None: not known.
    pub fn losing(self, bytes: Option<u64>) -> Self {
        Self { loss: Some(Loss { bytes }), ..self }
    }
}

/// A stage of these actions; none when there are none.
pub fn stage(summary: String, actions: Vec<Action>) -> Option<Stage> {
    (!actions.is_empty()).then(|| Stage { summary: tidied(summary), actions })
}

/// Nothing is expected to happen: the connection's end wakes the host, and so does the next reply.
pub const STEADY_LOOK_US: u64 = 1_000_000;
/// A sync or a restart is under way.
pub const CHANGING_LOOK_US: u64 = 100_000;
/// The action's own answer brings the next look; this is for one that never answers.
pub const AFTER_ACTION_LOOK_US: u64 = 50_000;
