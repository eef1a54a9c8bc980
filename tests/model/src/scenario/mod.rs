//! Scenario files: one situation each, and what is to be decided in it.
//!
//! Three forms are read, distinguished by their fields:
//!
//! | fields | form |
//! |--|--|
//! | `why`, `base`, `expect`, differences | the short one, which people write: `tests/scenarios/README.md` |
//! | `why`, `observation`, `decision` | the full one: a recorded incident, what other hosts read |
//! | the same, in the JSON of contract 0.1 | recorded incidents of that time |
//!
//! Expanding is deterministic: equal files give equal observations.

mod answer;
mod directory;
mod format;
mod given;
mod refusals;
mod sentinels;
mod short;
mod upgrade;

pub use answer::{Answer, action_text, difference};
pub use directory::{ScenarioError, read, read_directory};
pub use format::format;
pub use given::Word;

use failover_core::contract::{Decision, Observation};
use serde::Deserialize as _;
use serde_json::Value;

/// A situation, and what follows from it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// A fact: the file's name without its ending.
    pub name: String,
    /// Which rule or which known bug it stands for.
    pub why: String,
    /// What was seen.
    pub observation: Observation,
    /// What the embedded policy decides. Other policies may differ.
    pub expected: Expected,
}

/// What a file says of the decision.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Of the short form: verdict, reason, masters, loss, request and plan.
    Answer(Box<Answer>),
    /// Of the full form: everything but the texts for people.
    Decision(Box<Decision>),
    /// Of contract 0.1: as of the short form, as far as both contracts say the same.
    Old(Box<upgrade::OldAnswer>),
}

impl Scenario {
    /// Out of a file's name and text.
    ///
    /// # Errors
    /// [`ScenarioError::Invalid`], which names the file, the field, and what may stand there.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let name = name.strip_suffix(".json").unwrap_or(name).to_owned();
        parse(&name, text).map_err(|text| ScenarioError::Invalid { name, text })
    }
}

impl Expected {
    /// Where a decision is another than expected, for people. None: it is the expected one.
    pub fn difference(&self, decision: &Decision) -> Option<String> {
        match self {
            Self::Answer(expected) => answer::differs(expected, &Answer::of(decision)),
            Self::Decision(expected) => difference(expected, decision),
            Self::Old(expected) => expected.differs(&Answer::of(decision)),
        }
    }

    /// What is expected, in its short form.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Answer(expected) => (**expected).clone(),
            Self::Decision(expected) => Answer::of(expected),
            Self::Old(expected) => expected.answer.clone(),
        }
    }
}

fn parse(name: &str, text: &str) -> Result<Scenario, String> {
    let Value::Object(mut file) = serde_json::from_str(text).map_err(|error| error.to_string())? else {
        return Err("a scenario is an object".into());
    };
    let is_full = file.contains_key("observation");
    let fields = if is_full { FULL } else { short::FIELDS };
    if let Some(unknown) = file.keys().find(|field| !fields.contains(&field.as_str())) {
        return Err(format!("unknown field `{unknown}`, expected one of {}", fields.join(", ")));
    }
    let mut take = |field: &str| file.remove(field).ok_or_else(|| format!("missing field `{field}`"));
    let why = String::deserialize(take("why")?).map_err(|error| format!("why: {error}"))?;
    let (observation, expected) = if is_full {
        let (observation, decision) = (take("observation")?, take("decision")?);
        if upgrade::is_old(&observation) {
            upgrade::upgrade(observation, decision)?
        } else {
            let observation =
                Observation::deserialize(observation).map_err(|error| format!("observation: {error}"))?;
            let decision = Decision::deserialize(decision).map_err(|error| format!("decision: {error}"))?;
            (observation, Expected::Decision(Box::new(decision)))
        }
    } else {
        let expect = take("expect")?;
        let answer = Answer::deserialize(expect).map_err(|error| format!("expect: {error}"))?;
        (short::observation(file)?, Expected::Answer(Box::new(answer)))
    };
    Ok(Scenario { name: name.to_owned(), why, observation, expected })
}

const FULL: &[&str] = &["why", "observation", "decision"];

#[cfg(test)]
mod tests;
