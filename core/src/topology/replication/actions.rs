//! Actions with their preconditions: what must still hold is what was seen.

use crate::contract::{
    Action, Configure, Evidence, Expectation, Follow, Handover, Promote, Promotion, Role, Stage,
};
use crate::election::Elected;
use crate::facts::Speaks;
use crate::rules::stage;
use crate::surrender::{Surrender, surrender};
use crate::view::{Member, Names, View};

/// What a member says that it is, in the words of the contract.
pub fn role(member: &Member) -> Role {
    match member.replication.role {
        Speaks::AsMaster => Role::Master,
        Speaks::AsReplica => Role::Replica,
        Speaks::AsNeither => Role::Unknown,
    }
}

fn expect(member: &Member) -> Expectation {
    Expectation {
        run_id: member.server.run_id.unwrap_or_default().to_owned(),
        role: role(member),
        replid: member.history().map(|history| history.replid.to_owned()),
        node: None,
    }
}

/// The whole way to a new master: promote, re-point the others, hand over if the winner only bridges.
pub fn takeover(view: &View, elected: Elected, source: Option<String>, evidence: Evidence) -> Vec<Stage> {
    let Elected { winner, meant_for, .. } = elected;
    let (id, goal) = (view.id(winner), view.id(meant_for));
    let promote = Action::Promote(Promote {
        id: id.to_owned(),
        source: source.filter(|source| source != id),
        meant_for: goal.to_owned(),
        evidence,
        how: Promotion::ReplicaofNoOne,
        completes: Vec::new(),
        expect: expect(&view.members[winner]),
    });
    let others = view
        .answering()
        .filter(|(index, member)| *index != winner && can_be_told(member))
        .filter_map(|(index, _)| follow(view, index, winner).ok())
        .collect();
    let hand_over = (meant_for != winner).then(|| handover(view, winner, meant_for));
    [
        stage(format!("promote {id}"), vec![promote]),
        stage(format!("re-point the others to {id}"), others),
        stage(
            format!("hand over from {id} to {goal}, which has the better priority"),
            hand_over.into_iter().collect(),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// REPLICAOF for one member, or why it must not be.
///
/// # Errors
/// The sentence that says which data would be lost.
pub fn follow(view: &View, follower: usize, master: usize) -> Result<Action, String> {
    match surrender(view, follower, master) {
        Surrender::Unproven(why) => Err(why),
        Surrender::Discards(discards_bytes) => Ok(Action::Follow(Follow {
            id: view.id(follower).to_owned(),
            master: view.id(master).to_owned(),
            discards_bytes: Some(discards_bytes),
            expect: expect(&view.members[follower]),
        })),
    }
}

/// The lossless exchange of roles.
pub fn handover(view: &View, source: usize, target: usize) -> Action {
    Action::Handover(Handover {
        source: view.id(source).to_owned(),
        target: view.id(target).to_owned(),
        meant_for: view.id(target).to_owned(),
        pause_max_ms: view.parameters.pause_max_ms.clamp(1, 60_000),
        expect_source: expect(&view.members[source]),
        expect_target: expect(&view.members[target]),
    })
}

/// CONFIG SET.
pub fn configure(view: &View, index: usize, directive: &str, to: String) -> Action {
    Action::Configure(Configure {
        id: view.id(index).to_owned(),
        directive: directive.to_owned(),
        to,
        expect: expect(&view.members[index]),
    })
}

/// It would obey: Redis refuses REPLICAOF while it loads or fails over by itself.
pub fn can_be_told(member: &Member) -> bool {
    member.answers
        && !member.is_loading()
        && !member.replication.in_failover
        && member.server.run_id.is_some()
}

/// A replica of that very master, by its own word.
pub fn follows(member: &Member, master: usize) -> bool {
    member.is_replica() && member.names == Names::Member(master)
}
