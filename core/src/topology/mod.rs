//! What a topology is: a folder of this one, with its scene, its rules, its parameters and its reasons. The
//! course of a decision is the same for all of them and stands here.

pub mod replication;
pub mod sentinel;

use crate::contract::{
    self, Decision, Member, Observation, Progress, RequestAnswer, ShardVerdict, Verdict, Want,
};
use crate::observed::fault_of_ids;
use crate::reason::{INVALID_OBSERVATION, INVALID_PARAMETERS, Reason};
use crate::rules::{Rule, Ruled, Ruling, STEADY_LOOK_US, Table};
use crate::text::tidied;

/// A way in which Redis servers form a group, and how this policy decides for it.
pub trait Topology: Ruled {
    /// What a user may set.
    type Parameters: Default;

    /// In the contract.
    const TOPOLOGY: contract::Topology;
    /// For people.
    const NAME: &'static str;
    /// Every reason that the rules give and that no topology listed before gives, in the order of the rules.
    const REASONS: &'static [Reason];
    /// What is decided when.
    const RULES: Table<Self>;

    /// Further read-only commands whose replies the rules look at.
    fn wants() -> Vec<Want>;

    /// JSON Schema of the parameters.
    fn parameters_schema() -> String;

    /// Reads the parameters' JSON text; blank text means the defaults.
    ///
    /// # Errors
    /// The sentence that a person needs: what is wrong, and where.
    fn parameters(text: &str) -> Result<Self::Parameters, String>;

    /// Why an observation cannot be one of a group of this topology. None: it can.
    fn fault(observation: &Observation) -> Option<String>;

    /// Works it out. Total, whatever the observation.
    fn scene<'a>(observation: &'a Observation, parameters: &'a Self::Parameters) -> Self::Scene<'a>;

    /// What is true of each shard.
    fn shards(scene: &Self::Scene<'_>, ruling: &Ruling) -> Vec<ShardVerdict>;

    /// A verdict for every instance, sorted by id.
    fn members(scene: &Self::Scene<'_>, ruling: &Ruling) -> Vec<Member>;

    /// A loss that no action of the plan causes, in words, and its bytes. None: not known.
    fn unseen_loss(_: &Self::Scene<'_>, _: &Ruling) -> Option<(String, Option<u64>)> {
        None
    }

    /// What becomes of the request that the host sent along, whichever rule decided.
    fn answer(scene: &Self::Scene<'_>, ruling: &Ruling) -> Option<RequestAnswer>;

    /// Whether the first stage only tries again what servers refused a moment ago: no progress yet.
    fn only_repeats(scene: &Self::Scene<'_>, ruling: &Ruling) -> bool;
}

/// A topology in the list of those that this policy serves.
pub struct Served {
    /// [`Topology::TOPOLOGY`].
    pub topology: contract::Topology,
    /// [`Topology::NAME`].
    pub name: &'static str,
    /// [`Topology::REASONS`].
    pub reasons: &'static [Reason],
    /// [`Topology::wants`].
    pub wants: fn() -> Vec<Want>,
    /// [`Topology::parameters_schema`].
    pub parameters_schema: fn() -> String,
    /// The names of the rules of [`Topology::RULES`].
    pub rules: fn() -> Vec<&'static str>,
    /// [`decide`].
    pub decide: fn(&Observation) -> Decision,
}

impl Served {
    /// Its row.
    pub const fn of<T: Topology>() -> Self {
        Self {
            topology: T::TOPOLOGY,
            name: T::NAME,
            reasons: T::REASONS,
            wants: T::wants,
            parameters_schema: T::parameters_schema,
            rules: || T::RULES.sections.iter().copied().flatten().map(Rule::name).collect(),
            decide: decide::<T>,
        }
    }
}

/// What should be done now with a group of this topology. Total.
pub fn decide<T: Topology>(observation: &Observation) -> Decision {
    if let Some(fault) = T::fault(observation).or_else(|| fault_of_ids(observation)) {
        return refuse::<T>(observation, INVALID_OBSERVATION, fault);
    }
    let parameters = match T::parameters(&observation.parameters) {
        Ok(parameters) => parameters,
        Err(error) => {
            let text = format!("the parameters are not valid: {error}");
            return refuse::<T>(observation, INVALID_PARAMETERS, text);
        }
    };
    let scene = T::scene(observation, &parameters);
    let ruling = T::RULES.decide(&scene);
    conclude::<T>(observation, &scene, ruling)
}

/// A refusal that no rule gave, with what can be said of the instances all the same.
pub fn refuse<T: Topology>(observation: &Observation, reason: Reason, text: String) -> Decision {
    let parameters = T::Parameters::default();
    conclude::<T>(observation, &T::scene(observation, &parameters), Ruling::refuse(reason, text))
}

/// A ruling in the words of the contract. A paused group keeps its verdict, and loses its plan and its goal.
fn conclude<T: Topology>(observation: &Observation, scene: &T::Scene<'_>, ruling: Ruling) -> Decision {
    let request = T::answer(scene, &ruling);
    let only_repeats = T::only_repeats(scene, &ruling);
    let (ruling, progress) = if observation.group.paused { paused(ruling) } else { unhindered(ruling) };
    let progress = if only_repeats { Progress::Hindered } else { progress };
    let ruling = match T::unseen_loss(scene, &ruling) {
        Some((text, bytes)) => {
            Ruling { explanation: format!("{}; {text}", ruling.explanation), ..ruling }.losing(bytes)
        }
        None => ruling,
    };
    let members = T::members(scene, &ruling).into_iter();
    Decision {
        shards: T::shards(scene, &ruling),
        members: members.map(|member| Member { proof: tidied(member.proof), ..member }).collect(),
        verdict: ruling.verdict,
        reason: ruling.reason.name.into(),
        explanation: tidied(ruling.explanation),
        progress,
        request: request.map(|answer| RequestAnswer { text: tidied(answer.text), ..answer }),
        stages: ruling.stages,
        next_look_us: ruling.next_look_us,
    }
}

fn unhindered(ruling: Ruling) -> (Ruling, Progress) {
    let progress = ruling.reason.progress(ruling.verdict);
    (ruling, progress)
}

fn paused(ruling: Ruling) -> (Ruling, Progress) {
    let (explanation, progress) = match ruling.verdict {
        Verdict::Act => {
            (format!("the group is paused; otherwise: {}", ruling.explanation), Progress::Hindered)
        }
        Verdict::Healthy | Verdict::Wait | Verdict::Refuse => {
            (format!("the group is paused; {}", ruling.explanation), ruling.reason.progress(ruling.verdict))
        }
    };
    let next_look_us = ruling.next_look_us.max(STEADY_LOOK_US);
    (Ruling { explanation, goal: None, stages: Vec::new(), loss: None, next_look_us, ..ruling }, progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Group, Health, Preference, Role};

    /// A topology of its own, as small as one can be: nothing outside of this module knows it.
    struct Pair;

    const LONELY: Reason =
        Reason { name: "lonely", verdicts: "wait", why: "Fewer than two instances.", is_planned: false };
    const PAIRED: Reason = Reason { name: "paired", verdicts: "healthy", ..LONELY };

    impl Ruled for Pair {
        type Scene<'a> = &'a Observation;
    }

    impl Topology for Pair {
        type Parameters = ();

        const TOPOLOGY: contract::Topology = contract::Topology::Sentinel;
        const NAME: &'static str = "pair";
        const REASONS: &'static [Reason] = &[LONELY, PAIRED];
        const RULES: Table<Self> = Table {
            sections: &[&[Rule {
                gives: &[LONELY],
                when: |scene| {
                    (scene.instances.len() < 2)
                        .then(|| Ruling::wait(LONELY, "one is missing".into(), STEADY_LOOK_US))
                },
            }]],
            otherwise: |_| Ruling::healthy(PAIRED, "both are there".into()),
            otherwise_gives: &[PAIRED],
        };

        fn wants() -> Vec<Want> {
            Vec::new()
        }

        fn parameters_schema() -> String {
            "{}".into()
        }

        fn parameters(text: &str) -> Result<(), String> {
            if text.is_empty() { Ok(()) } else { Err("there are none".into()) }
        }

        fn fault(_: &Observation) -> Option<String> {
            None
        }

        fn scene<'a>(observation: &'a Observation, (): &'a ()) -> &'a Observation {
            observation
        }

        fn shards(_: &&Observation, _: &Ruling) -> Vec<ShardVerdict> {
            Vec::new()
        }

        fn members(scene: &&Observation, _: &Ruling) -> Vec<Member> {
            let member = |instance: &contract::Instance| Member {
                id: instance.id.clone(),
                role: Role::Unknown,
                assigned: None,
                health: Health::Suspect,
                proof: String::new(),
                rank: None,
                ineligible: None,
                lag_bytes: None,
            };
            scene.instances.iter().map(member).collect()
        }

        fn answer(_: &&Observation, _: &Ruling) -> Option<RequestAnswer> {
            None
        }

        fn only_repeats(_: &&Observation, _: &Ruling) -> bool {
            false
        }
    }

    fn observation(parameters: &str, paused: bool) -> Observation {
        Observation {
            group: Group {
                namespace: "default".into(),
                name: "pair".into(),
                topology: Pair::TOPOLOGY,
                members_desired: 2,
                members_min: None,
                prefer: Preference::Availability,
                paused,
                hang_limit_ms: 1000,
                self_fence_lag_s: None,
                sentinel: None,
                cluster: None,
            },
            instances: Vec::new(),
            shards: Vec::new(),
            switchover: None,
            in_doubt: Vec::new(),
            refused: Vec::new(),
            silent_groups_permille: 0,
            authority: true,
            parameters: parameters.into(),
            extras: Vec::new(),
        }
    }

    #[test]
    fn a_second_topology_is_its_own_folder_and_one_line() {
        let served = Served::of::<Pair>();
        assert_eq!((served.topology, served.name, served.reasons.len()), (Pair::TOPOLOGY, "pair", 2));
        let reason = |parameters| (served.decide)(&observation(parameters, false)).reason;
        assert_eq!((reason("").as_str(), reason("{}").as_str()), ("lonely", "invalid-parameters"));
    }

    #[test]
    fn a_paused_group_keeps_its_verdict_and_looks_less_often() {
        let decision = decide::<Pair>(&observation("", true));
        assert_eq!(decision.verdict, Verdict::Wait);
        assert_eq!(decision.explanation, "the group is paused; one is missing");
        assert_eq!(decision.next_look_us, STEADY_LOOK_US);
    }
}
