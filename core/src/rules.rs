//! The shape of a rule and the driver: the first rule that has something to say decides.

use crate::contract::{Action, Loss, Observation, Stage, Verdict};
use crate::election::Elected;
use crate::mastership::{Lost, Mastership, mastership};
use crate::reason::Reason;
use crate::topology::replication::proof::{Proof, proof};
use crate::view::View;

/// A line of a table: when it applies, the decision has its reason.
pub struct Rule {
    /// Its name in the documented list.
    pub reason: Reason,
    /// Says something, or leaves it to the next rule.
    pub when: fn(&Scene) -> Option<Ruling>,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What kind of answer.
    pub verdict: Verdict,
    /// The reason as one sentence, with names and numbers.
    pub explanation: String,
    /// Who is to be master in the end. None: whoever is now.
    pub goal: Option<usize>,
    /// The plan.
    pub stages: Vec<Stage>,
    /// See the contract.
    pub loss: Option<Loss>,
    /// See the contract.
    pub next_look_us: u64,
}

/// Everything that the rules of a table may look at, worked out once.
pub struct Scene<'a> {
    /// The observation, indexed.
    pub view: &'a View<'a>,
    /// Who is master.
    pub mastership: Mastership,
    /// If the role is lost: what proves it.
    pub proof: Option<Proof>,
}

impl<'a> Scene<'a> {
    /// Works it out.
    pub fn new(view: &'a View<'a>) -> Self {
        let mastership = mastership(view);
        let proof = match &mastership {
            Mastership::Lost(lost) => Some(proof(view, lost)),
            Mastership::Held(_)
            | Mastership::Contested(_)
            | Mastership::External { .. }
            | Mastership::Vacant => None,
        };
        Self { view, mastership, proof }
    }

    /// The rightful master, if one answers.
    pub fn master(&self) -> Option<usize> {
        match self.mastership {
            Mastership::Held(master) => Some(master),
            Mastership::Contested(_)
            | Mastership::Lost(_)
            | Mastership::External { .. }
            | Mastership::Vacant => None,
        }
    }

    /// The lost role, if there is one.
    pub fn lost(&self) -> Option<&Lost> {
        match &self.mastership {
            Mastership::Lost(lost) => Some(lost),
            Mastership::Held(_)
            | Mastership::Contested(_)
            | Mastership::External { .. }
            | Mastership::Vacant => None,
        }
    }

    /// What the host sent.
    pub fn observation(&self) -> &'a Observation {
        self.view.observation
    }

    /// The id of a member.
    pub fn id(&self, index: usize) -> &'a str {
        self.view.id(index)
    }
}

/// The first rule that applies. A table ends with a rule that always does.
pub fn first(rules: &[Rule], scene: &Scene) -> Option<(Reason, Ruling)> {
    rules.iter().find_map(|rule| (rule.when)(scene).map(|ruling| (rule.reason, ruling)))
}

impl Ruling {
    /// Nothing to do.
    pub fn healthy(explanation: String) -> Self {
        Self {
            verdict: Verdict::Healthy,
            next_look_us: STEADY_LOOK_US,
            ..Self::wait(explanation, STEADY_LOOK_US)
        }
    }

    /// Not yet.
    pub fn wait(explanation: String, next_look_us: u64) -> Self {
        Self { verdict: Verdict::Wait, explanation, goal: None, stages: Vec::new(), loss: None, next_look_us }
    }

    /// Not without a person.
    pub fn refuse(explanation: String) -> Self {
        Self { verdict: Verdict::Refuse, ..Self::wait(explanation, STEADY_LOOK_US) }
    }

    /// Now.
    pub fn act(explanation: String, goal: usize, stages: Vec<Stage>) -> Self {
        Self {
            verdict: Verdict::Act,
            goal: Some(goal),
            stages,
            ..Self::wait(explanation, AFTER_ACTION_LOOK_US)
        }
    }

    /// With what an election says of losses.
    pub fn losing(self, elected: Elected) -> Self {
        Self { loss: Some(Loss { bytes: elected.known_loss_bytes }), ..self }
    }
}

/// A stage of these actions; none when there are none.
pub fn stage(summary: String, actions: Vec<Action>) -> Option<Stage> {
    (!actions.is_empty()).then_some(Stage { summary, actions })
}

/// Nothing is expected to happen: the connection's end wakes the host, and so does the next reply.
pub const STEADY_LOOK_US: u64 = 1_000_000;
/// A sync or a restart is under way.
pub const CHANGING_LOOK_US: u64 = 100_000;
/// The action's own answer brings the next look; this is for one that never answers.
pub const AFTER_ACTION_LOOK_US: u64 = 50_000;
