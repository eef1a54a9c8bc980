//! Replication: one master and its replicas, without a Sentinel.
//!
//! ```text
//! parameters.rs  what a user may set
//! reasons.rs     the documented list of reasons, in the order of the rules
//! identity.rs    which ids and addresses are one server
//! view.rs        an Observation indexed once
//! refused.rs     what servers refused, and when the same is tried again
//! absence.rs     why a member does not answer, in words
//! ineligible.rs  the documented list of what keeps a member from becoming master
//! writes.rs      whether a member takes writes as a master
//! emptied.rs     whether a copy was emptied outside of the stream
//! fence.rs       whether a master stops taking writes by itself
//! heard.rs       what a replica heard of its master
//! in_sync.rs     whether a replica is in sync
//! discard.rs     what following a master would cost a member
//! recorded.rs    what the record tells of a member's data
//! role.rs        the state of the role of master: types
//! claims.rs      whether the claim of an answering master is valid
//! holder.rs      which member had a role that is lost
//! election/      which member gets it
//! silence.rs     what a silent-only failover must rest on
//! proof.rs       whether the loss is proven
//! mastership.rs  which member is master
//! scene.rs       all of that, worked out once
//! actions.rs     actions with their preconditions
//! rules/         the table: what is decided when
//! verdicts.rs    a verdict for every instance
//! ```
//!
//! A file knows those above it, and not those below.

mod absence;
pub(super) mod actions;
mod claims;
mod discard;
mod election;
pub(super) mod emptied;
mod fence;
pub(super) mod heard;
mod holder;
mod identity;
pub(super) mod in_sync;
pub(super) mod ineligible;
mod mastership;
pub(super) mod parameters;
mod proof;
pub mod reasons;
mod recorded;
pub(super) mod refused;
pub(super) mod role;
pub(super) mod rules;
pub(super) mod scene;
mod silence;
pub(super) mod verdicts;
pub(super) mod view;
mod writes;

pub use ineligible::Ineligible;

use crate::contract::{self, InstanceKind, Member, Observation, RequestAnswer, Shard, ShardVerdict, Want};
use crate::facts;
use crate::reason::Reason;
use crate::rules::{Ruled, Ruling, Table};
use crate::topology::Topology;
use parameters::Parameters;
use scene::Scene;
use view::View;

/// One master and its replicas.
pub struct Replication;

impl Ruled for Replication {
    type Scene<'a> = Scene<'a>;
}

impl Topology for Replication {
    type Parameters = Parameters;

    const TOPOLOGY: contract::Topology = contract::Topology::Replication;
    const NAME: &'static str = "replication";
    const REASONS: &'static [Reason] = reasons::ALL;
    const RULES: Table<Self> = rules::RULES;

    fn wants() -> Vec<Want> {
        let want = |command: &str| Want {
            topology: Self::TOPOLOGY,
            kind: InstanceKind::Redis,
            arguments: command.split(' ').map(str::to_owned).collect(),
        };
        let commands = [
            facts::CLIENT_INFO,
            fence::FENCE_COMMAND,
            facts::HEARTBEAT,
            writes::SAVE_COMMAND,
            facts::FUNCTION_LIST,
        ];
        commands.map(want).into()
    }

    fn parameters_schema() -> String {
        Parameters::schema()
    }

    fn parameters(text: &str) -> Result<Parameters, String> {
        Parameters::parse(text)
    }

    fn fault(observation: &Observation) -> Option<String> {
        let is_one_shard = matches!(&observation.shards[..], [Shard { index: 0, .. }]);
        (!is_one_shard).then(|| {
            let shards = observation.shards.len();
            format!("a replication group has one shard, of index 0, and not {shards}")
        })
    }

    fn scene<'a>(observation: &'a Observation, parameters: &'a Parameters) -> Scene<'a> {
        Scene::new(View::new(observation, parameters))
    }

    fn shards(scene: &Scene, ruling: &Ruling) -> Vec<ShardVerdict> {
        let name = |index: Option<usize>| index.map(|index| scene.id(index).to_owned());
        let (master, goal) = named(scene, ruling);
        // Of a group with several shards nothing is known here.
        let is_one = scene.observation().shards.len() == 1;
        let verdict = |shard: &Shard| ShardVerdict {
            index: shard.index,
            master: name(master.filter(|_| is_one)),
            master_goal: name(goal.filter(|_| is_one)),
            loss: ruling.loss.filter(|_| is_one),
        };
        scene.observation().shards.iter().map(verdict).collect()
    }

    fn members(scene: &Scene, ruling: &Ruling) -> Vec<Member> {
        verdicts::verdicts(scene, named(scene, ruling).1)
    }

    fn unseen_loss(scene: &Scene, ruling: &Ruling) -> Option<(String, Option<u64>)> {
        rules::unseen_loss(scene).filter(|_| ruling.names_master)
    }

    fn answer(scene: &Scene, ruling: &Ruling) -> Option<RequestAnswer> {
        rules::answer(scene, ruling)
    }

    fn only_repeats(scene: &Scene, ruling: &Ruling) -> bool {
        ruling.stages.first().is_some_and(|stage| refused::are_refused(&scene.view, &stage.actions))
    }
}

/// The master that may be named, and the one that is to be.
fn named(scene: &Scene, ruling: &Ruling) -> (Option<usize>, Option<usize>) {
    let master = scene.master().filter(|_| ruling.names_master);
    (master, ruling.goal.or(master))
}
