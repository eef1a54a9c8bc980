//! Everything that the rules may look at, worked out once a decision.

use super::election::{Election, elect, elect_first};
use super::mastership::mastership;
use super::proof::proof;
use super::role::{Lost, Mastership, Proof};
use super::view::View;
use crate::contract::Observation;

/// What is true of the group.
pub struct Scene<'a> {
    /// The observation, indexed.
    pub view: View<'a>,
    /// Which member is master.
    pub mastership: Mastership,
    /// If the role is lost: what proves it.
    pub proof: Option<Proof>,
    /// If the role is vacant, or proven lost: which member gets it.
    pub election: Option<Election>,
}

impl<'a> Scene<'a> {
    /// Works it out.
    pub fn new(view: View<'a>) -> Self {
        let mastership = mastership(&view);
        let (proof, election) = match &mastership {
            Mastership::Lost(lost) => match proof(&view, lost) {
                proven @ Proof::Proven { .. } => (Some(proven), Some(elect(&view, lost))),
                unproven @ (Proof::Pending { .. } | Proof::Blocked { .. } | Proof::Unsure { .. }) => {
                    (Some(unproven), None)
                }
            },
            Mastership::Vacant => (None, Some(elect_first(&view))),
            Mastership::Held(_) | Mastership::Contested(_) | Mastership::External { .. } => (None, None),
        };
        Self { view, mastership, proof, election }
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
