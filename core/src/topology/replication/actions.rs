//! Actions with their preconditions: what must still hold is what was seen.

use super::discard::{Discard, discarded_by_following};
use super::role::Elected;
use super::view::{Member, View};
use crate::contract::{
    Action, Configure, Demote, Evidence, Expectation, Follow, Handover, Promote, Promotion, Role, Stage,
};
use crate::facts::ReportedRole;
use crate::rules::stage;

/// What a member says that it is, in the words of the contract.
pub fn reported_role(member: &Member) -> Role {
    match member.replication.role {
        ReportedRole::Master => Role::Master,
        ReportedRole::Replica => Role::Replica,
        ReportedRole::Unknown => Role::Unknown,
    }
}

fn expect(member: &Member) -> Expectation {
    Expectation {
        run_id: member.server.run_id.unwrap_or_default().to_owned(),
        role: reported_role(member),
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
        .filter(|(index, member)| *index != winner && member.accepts_commands())
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
    match discarded_by_following(view, follower, master) {
        Discard::Unproven(why) => Err(why),
        Discard::Proven(bytes) => Ok(repoint(view, follower, master, Some(bytes))),
        Discard::Unknown => Ok(repoint(view, follower, master, None)),
    }
}

fn repoint(view: &View, follower: usize, master: usize, discards_bytes: Option<u64>) -> Action {
    Action::Follow(Follow {
        id: view.id(follower).to_owned(),
        master: view.id(master).to_owned(),
        discards_bytes,
        expect: expect(&view.members[follower]),
    })
}

/// The end of a second master's role: it takes no more writes, and keeps its data.
pub fn demote(view: &View, index: usize) -> Action {
    Action::Demote(Demote { id: view.id(index).to_owned(), expect: expect(&view.members[index]) })
}

/// The lossless exchange of roles.
pub fn handover(view: &View, source: usize, target: usize) -> Action {
    Action::Handover(Handover {
        source: view.id(source).to_owned(),
        target: view.id(target).to_owned(),
        meant_for: view.id(target).to_owned(),
        pause_max_ms: view.parameters.pause_max_ms.clamp(1, 3_000),
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

/// An action for people.
pub fn words(action: &Action) -> String {
    match action {
        Action::Promote(action) => format!("REPLICAOF NO ONE on {}", action.id),
        Action::Follow(action) => format!("REPLICAOF {} on {}", action.master, action.id),
        Action::Demote(action) => format!("the demotion of {}", action.id),
        Action::Handover(action) => format!("the handover from {} to {}", action.source, action.target),
        Action::Fence(action) => format!("the fence of {}", action.id),
        Action::Unfence(action) => format!("the end of the fence of {}", action.id),
        Action::KickClients(action) => format!("to disconnect the clients of {}", action.id),
        Action::Configure(action) => format!("{} {} on {}", action.directive, action.to, action.id),
        Action::Restart(action) => format!("the restart of {}", action.id),
        Action::Sentinel(action) => format!("a change of {}", action.id),
        Action::Cluster(action) => format!("a change of {}", action.id),
    }
}
