//! The form of a policy's answers: bounds and cross-references that WIT types cannot state. Must not judge
//! whether a decision is safe: the guard does.

use serde::{Deserialize, Serialize};

use crate::contract::{Decision, Description, Observation};
use crate::topology::allowed::is_allowed;

/// Why a description is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DescriptionError {
    /// `name`.
    #[error("its name {0:?} is not in kebab-case with 1 to {NAME_BYTES_MAX} characters")]
    Name(String),
    /// `version`.
    #[error("its version {0:?} is not of the form 1.2.3")]
    Version(String),
    /// `summary`.
    #[error("its summary is not one line of 1 to {SUMMARY_BYTES_MAX} bytes")]
    Summary,
    /// `parameters-schema`.
    #[error("its parameters-schema is not a JSON object of at most {SCHEMA_BYTES_MAX} bytes")]
    Schema,
    /// `topologies`.
    #[error("it names no topology, or one topology twice")]
    Topologies,
    /// One of `wants`.
    #[error("it wants `{0}`, which is not on the host's list of allowed commands for that topology and kind")]
    Want(String),
    /// `wants`, as a whole.
    #[error(
        "it wants more than {WANTS_MAX} commands, or one command twice, or one for a topology that it does \
         not serve"
    )]
    Wants,
}

/// Checks the answer of `describe`.
///
/// # Errors
/// The first field that is invalid.
pub fn check_description(description: &Description) -> Result<(), DescriptionError> {
    let Description { name, version, summary, parameters_schema, topologies, wants } = description;
    if !is_kebab_case(name) {
        return Err(DescriptionError::Name(shortened(name)));
    }
    if !is_version(version) {
        return Err(DescriptionError::Version(shortened(version)));
    }
    if summary.is_empty() || summary.len() > SUMMARY_BYTES_MAX || summary.chars().any(char::is_control) {
        return Err(DescriptionError::Summary);
    }
    if parameters_schema.len() > SCHEMA_BYTES_MAX
        || !serde_json::from_str(parameters_schema).is_ok_and(|json: serde_json::Value| json.is_object())
    {
        return Err(DescriptionError::Schema);
    }
    if topologies.is_empty() || has_repeats(topologies) {
        return Err(DescriptionError::Topologies);
    }
    if let Some(want) = wants.iter().find(|want| !is_allowed(want)) {
        return Err(DescriptionError::Want(shortened(&want.arguments.join(" "))));
    }
    if wants.len() > WANTS_MAX
        || has_repeats(wants)
        || wants.iter().any(|want| !topologies.contains(&want.topology))
    {
        return Err(DescriptionError::Wants);
    }
    Ok(())
}

/// Checks an answer of `decide` to `observation`.
///
/// # Errors
/// The first field that is invalid, as half a sentence.
pub fn check_decision(observation: &Observation, decision: &Decision) -> Result<(), String> {
    let Decision {
        verdict: _,
        reason,
        explanation,
        progress: _,
        shards,
        members,
        request,
        stages,
        next_look_us,
    } = decision;
    if !is_kebab_case(reason) {
        return Err(format!(
            "its reason {:?} is not in kebab-case with 1 to {NAME_BYTES_MAX} characters",
            shortened(reason)
        ));
    }
    if explanation.is_empty() || !is_text(explanation) {
        return Err(format!("its explanation does not have 1 to {TEXT_BYTES_MAX} bytes of plain text"));
    }
    if let Some(answer) = request
        && (!is_kebab_case(&answer.reason) || answer.text.is_empty() || !is_text(&answer.text))
    {
        return Err(format!(
            "its answer to the request has no reason in kebab-case, or no text of 1 to {TEXT_BYTES_MAX} \
             bytes"
        ));
    }
    let observed = observation.instances.len();
    if members.len() > observed || shards.len() > observation.shards.len() {
        return Err("it has verdicts on more members or shards than the observation has".into());
    }
    let is_named = |why: &String| is_kebab_case(why);
    if let Some(member) = members
        .iter()
        .find(|member| !is_text(&member.proof) || !member.ineligible.as_ref().is_none_or(is_named))
    {
        return Err(format!(
            "its verdict on {:?} has a proof of more than {TEXT_BYTES_MAX} bytes of plain text, or a reason \
             of ineligibility that is not in kebab-case",
            shortened(&member.id)
        ));
    }
    if stages.iter().any(|stage| !is_text(&stage.summary)) {
        return Err(format!("the summary of a stage has more than {TEXT_BYTES_MAX} bytes of plain text"));
    }
    if stages.len() > STAGES_MAX
        || stages
            .iter()
            .any(|stage| stage.actions.is_empty() || stage.actions.len() > observed * ACTIONS_PER_MEMBER_MAX)
    {
        return Err(format!(
            "it has more than {STAGES_MAX} stages, or one with no action or more than \
             {ACTIONS_PER_MEMBER_MAX} for each instance"
        ));
    }
    if *next_look_us == 0 {
        return Err("its next-look-us is 0".into());
    }
    Ok(())
}

/// Text for people: of bounded length, and without control characters, which a terminal would obey.
fn is_text(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

fn is_kebab_case(name: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.split('-').all(word)
}

/// Three numbers, then any characters of a semantic version.
fn is_version(version: &str) -> bool {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let tail = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    version.len() <= NAME_BYTES_MAX
        && numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && version.bytes().all(tail)
}

fn has_repeats<T: PartialEq>(items: &[T]) -> bool {
    items.iter().enumerate().any(|(index, item)| items[..index].contains(item))
}

/// Foreign text, cut to the length of a line and without control characters.
fn shortened(text: &str) -> String {
    text.chars().take(NAME_BYTES_MAX).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

const NAME_BYTES_MAX: usize = 64;
const SUMMARY_BYTES_MAX: usize = 256;
const SCHEMA_BYTES_MAX: usize = 64 << 10;
const WANTS_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 1 << 10;
/// A failover takes four: fence, promote, follow, unfence.
const STAGES_MAX: usize = 64;
const ACTIONS_PER_MEMBER_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{
        Action, Health, InstanceKind, Member, Progress, RequestAnswer, RequestState, Restart, Role, Stage,
        Switchover, Topology, Verdict, Want,
    };

    fn description() -> Description {
        Description {
            name: "default".into(),
            version: "0.1.0".into(),
            summary: "One line.".into(),
            parameters_schema: "{}".into(),
            topologies: vec![Topology::Replication],
            wants: vec![Want {
                topology: Topology::Replication,
                kind: InstanceKind::Redis,
                arguments: vec!["ROLE".into()],
            }],
        }
    }

    #[test]
    fn an_ordinary_description_is_accepted() {
        assert_eq!(check_description(&description()), Ok(()));
    }

    #[test]
    fn names_are_kebab_case() {
        for name in ["a", "my-policy-2"] {
            assert!(is_kebab_case(name), "{name}");
        }
        for name in ["", "-a", "a-", "a--b", "A", "a_b", "a b", "2a", "ä", &"a".repeat(65)] {
            assert!(!is_kebab_case(name), "{name}");
        }
    }

    #[test]
    fn versions_are_semantic() {
        for version in ["0.1.0", "10.20.30-rc.1+abc"] {
            assert!(is_version(version), "{version}");
        }
        for version in ["", "1", "1.2", "1.2.x", "v1.2.3", "1.2.3.4", "1..3", "1.2.3-\n"] {
            assert!(!is_version(version), "{version}");
        }
    }

    #[test]
    fn each_text_of_a_decision_is_bounded() {
        let mut observation = crate::policy::healthy_group(3);
        observation.switchover = Some(Switchover { shard: 0, target: None, age_us: 0 });
        let member = |id: &str| Member {
            id: id.into(),
            role: Role::Unknown,
            assigned: None,
            health: Health::Alive,
            proof: "it answers".into(),
            rank: None,
            ineligible: Some("loading".into()),
            lag_bytes: None,
        };
        let (state, reason) = (RequestState::Waiting, "later".to_owned());
        let decision = Decision {
            verdict: Verdict::Wait,
            reason: "replica-missing".into(),
            explanation: "a replica is missing".into(),
            progress: Progress::Changing,
            shards: vec![],
            members: observation.instances.iter().map(|instance| member(&instance.id)).collect(),
            request: Some(RequestAnswer { state, reason, text: "a replica is missing".into() }),
            stages: vec![],
            next_look_us: 1,
        };
        assert_eq!(check_decision(&observation, &decision), Ok(()));
        let restart = Action::Restart(Restart { id: "redis-1".into(), uid: "u".into() });
        let (long, escape) = ("x".repeat(1025), "\u{1b}[2J".to_owned());
        type Change<'a> = Box<dyn Fn(&mut Decision) + 'a>;
        let changes: Vec<(&str, Change<'_>)> = vec![
            ("reason", Box::new(|it| it.reason = "Not Kebab".into())),
            ("explanation", Box::new(|it| it.explanation = long.clone())),
            ("explanation", Box::new(|it| it.explanation = escape.clone())),
            ("explanation", Box::new(|it| it.explanation.clear())),
            ("request", Box::new(|it| it.request.as_mut().unwrap().text = long.clone())),
            ("request", Box::new(|it| it.request.as_mut().unwrap().reason = long.clone())),
            ("proof", Box::new(|it| it.members[1].proof = long.clone())),
            ("proof", Box::new(|it| it.members[1].proof = escape.clone())),
            ("ineligibility", Box::new(|it| it.members[0].ineligible = Some(long.clone()))),
            ("ineligibility", Box::new(|it| it.members[0].ineligible = Some("no\nline".into()))),
            ("more members", Box::new(|it| it.members.push(it.members[0].clone()))),
            (
                "summary",
                Box::new(|it| {
                    it.stages = vec![Stage { summary: long.clone(), actions: vec![restart.clone()] }];
                }),
            ),
            (
                "stages",
                Box::new(|it| {
                    let stage = || Stage { summary: String::new(), actions: vec![restart.clone()] };
                    it.stages = (0..65).map(|_| stage()).collect();
                }),
            ),
            ("next-look-us", Box::new(|it| it.next_look_us = 0)),
        ];
        for (field, change) in changes {
            let mut changed = decision.clone();
            change(&mut changed);
            let why = check_decision(&observation, &changed).unwrap_err();
            assert!(why.contains(field) && why.len() < 300, "{field}: {why}");
        }
    }

    #[test]
    fn each_field_of_a_description_is_bounded() {
        let refused = |change: fn(&mut Description)| {
            let mut changed = description();
            change(&mut changed);
            check_description(&changed)
        };
        assert_eq!(refused(|changed| changed.summary = "a\nb".into()), Err(DescriptionError::Summary));
        assert_eq!(refused(|changed| changed.parameters_schema = "[]".into()), Err(DescriptionError::Schema));
        assert_eq!(refused(|changed| changed.parameters_schema = "{".into()), Err(DescriptionError::Schema));
        assert_eq!(refused(|changed| changed.topologies.clear()), Err(DescriptionError::Topologies));
        assert_eq!(
            refused(|it| it.topologies.push(Topology::Replication)),
            Err(DescriptionError::Topologies)
        );
        assert_eq!(refused(|it| it.wants.push(it.wants[0].clone())), Err(DescriptionError::Wants));
        assert_eq!(refused(|it| it.wants[0].topology = Topology::Cluster), Err(DescriptionError::Wants));
        assert_eq!(
            refused(|it| it.wants[0].arguments = vec!["ACL".into(), "LIST".into()]),
            Err(DescriptionError::Want("ACL LIST".into()))
        );
    }
}
