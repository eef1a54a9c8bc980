//! Redis Sentinel beside the operator: one master, its replicas, and the Sentinels that watch them. It is
//! topology `replication` with what the Sentinels know and do; without Sentinels (mode `served`) it is
//! nothing else.
//!
//! ```text
//! reasons.rs     the documented list of reasons beyond those of replication
//! sentinels.rs   the Sentinels, indexed once
//! decided.rs     which member they made master
//! scene.rs       the group and its Sentinels
//! powerless.rs   whether they can still fail over, and until when they are waited for
//! actions.rs     actions on Sentinels, with their preconditions
//! rules/         the table: replication's, with the Sentinels' rules in their places
//! verdicts.rs    a verdict for every Sentinel
//! ```
//!
//! A file knows those above it, and not those below. Time is carried by what the host and the Sentinels
//! count: for how long no master was named, `s-down-time`, `role-reported-time`, `last-hello-message`.

mod actions;
mod decided;
mod powerless;
mod reasons;
mod rules;
mod scene;
mod sentinels;
mod verdicts;

use crate::contract::{self, Action, InstanceKind, Member, Observation, RequestAnswer, ShardVerdict, Want};
use crate::facts;
use crate::reason::Reason;
use crate::rules::{Ruled, Ruling, Table};
use crate::topology::Topology;
use crate::topology::replication::Replication;
use crate::topology::replication::parameters::Parameters;
use scene::Scene;

/// One master, its replicas, and Sentinels.
pub struct Sentinel;

impl Ruled for Sentinel {
    type Scene<'a> = Scene<'a>;
}

impl Topology for Sentinel {
    type Parameters = Parameters;

    const TOPOLOGY: contract::Topology = contract::Topology::Sentinel;
    const NAME: &'static str = "sentinel";
    const REASONS: &'static [Reason] = reasons::ALL;
    const RULES: Table<Self> = rules::RULES;

    fn wants() -> Vec<Want> {
        let want = |command: &str| Want {
            topology: Self::TOPOLOGY,
            kind: InstanceKind::Sentinel,
            arguments: command.split(' ').map(str::to_owned).collect(),
        };
        let commands = [
            facts::INFO_SENTINEL,
            facts::SENTINEL_MASTERS,
            facts::SENTINEL_MYID,
            facts::SENTINEL_REPLICAS,
            facts::SENTINEL_PEERS,
        ];
        let of_redis = Replication::wants().into_iter().map(|want| Want { topology: Self::TOPOLOGY, ..want });
        of_redis.chain(commands.map(want)).collect()
    }

    fn parameters_schema() -> String {
        Parameters::schema()
    }

    fn parameters(text: &str) -> Result<Parameters, String> {
        Parameters::parse(text)
    }

    fn fault(observation: &Observation) -> Option<String> {
        let without = || "a group of topology sentinel has settings of its Sentinels".to_owned();
        Replication::fault(observation).or_else(|| observation.group.sentinel.is_none().then(without))
    }

    fn scene<'a>(observation: &'a Observation, parameters: &'a Parameters) -> Scene<'a> {
        Scene::new(observation, parameters)
    }

    fn shards(scene: &Scene, ruling: &Ruling) -> Vec<ShardVerdict> {
        Replication::shards(&scene.group, ruling)
    }

    fn members(scene: &Scene, ruling: &Ruling) -> Vec<Member> {
        let members = Replication::members(&scene.group, ruling);
        members.into_iter().map(|member| verdicts::of_sentinel(scene, member)).collect()
    }

    /// Beyond what replication says: what a former master took that answers still, and that the Sentinels
    /// replaced.
    fn unseen_loss(scene: &Scene, ruling: &Ruling) -> Option<(String, Option<u64>)> {
        let unseen = Replication::unseen_loss(&scene.group, ruling);
        let is_theirs = scene.group.master().is_some() && scene.view().appointed == scene.group.master();
        let follows = ruling.stages.iter().filter(|_| is_theirs).flat_map(|stage| &stage.actions);
        let given_up = follows.filter_map(|action| match action {
            Action::Follow(follow) => Some(follow.discards_bytes),
            _ => None,
        });
        let given_up = given_up.reduce(|sum, bytes| Some(sum?.saturating_add(bytes?)));
        match (unseen, given_up) {
            (unseen, None | Some(Some(0))) => unseen,
            (Some((text, bytes)), Some(given_up)) => {
                Some((text, bytes.zip(given_up).map(|(bytes, given_up)| bytes.max(given_up))))
            }
            (None, Some(given_up)) => {
                Some(("what the former master took since is given up".into(), given_up))
            }
        }
    }

    fn answer(scene: &Scene, ruling: &Ruling) -> Option<RequestAnswer> {
        Replication::answer(&scene.group, ruling)
    }

    fn only_repeats(scene: &Scene, ruling: &Ruling) -> bool {
        Replication::only_repeats(&scene.group, ruling)
    }
}
