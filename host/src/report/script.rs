//! Reports of a group of three, for the tests of this room: `cart-0000` is lost, `cart-0001` takes over.

use super::inspect::{DecisionRef, PublishedView};
use crate::contract::{
    Action, Decision, Evidence, Expectation, Follow, Handover, Health, LinkState, Loss, Member, Observation,
    Progress, Promote, Promotion, Role, ShardVerdict, Stage, Verdict,
};
use crate::group::{Decided, Moment, Outcome, Report};
use crate::policy::{PolicyFault, healthy_group};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

pub const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A whole failover from `start`; the link is lost 1.7 ms later.
pub fn failover(start: u64) -> Vec<(u64, Report)> {
    vec![
        (start + 1_700, lost("cart-0000")),
        (start + 1_800, decided(Verdict::Wait, "confirming-death", "cart-0000", vec![])),
        (start + 2_300, act(vec![promote(Evidence::Dead)])),
        (start + 2_300, sent(promote(Evidence::Dead))),
        (start + 2_600, done(promote(Evidence::Dead))),
        (start + 3_000, act(vec![follow("cart-0002")])),
        (start + 3_000, sent(follow("cart-0002"))),
        (start + 3_500, done(follow("cart-0002"))),
        (start + 4_000, decided(Verdict::Wait, "replica-missing", "cart-0001", vec![])),
    ]
}

/// A new decision.
pub fn decided(verdict: Verdict, reason: &str, master: &str, stages: Vec<Stage>) -> Report {
    let mut observation = healthy_group(3);
    if verdict != Verdict::Healthy {
        observation.instances[0].link.state = LinkState::Closed;
    }
    let member = |(id, health, lag_bytes): (&str, Health, Option<u64>)| Member {
        id: id.into(),
        role: Role::Replica,
        assigned: None,
        health,
        proof: "its row says online".into(),
        rank: None,
        ineligible: None,
        lag_bytes,
    };
    let members = [
        ("cart-0000", Health::Dead, None),
        ("cart-0001", Health::InSync, Some(7)),
        ("cart-0002", Health::InSync, Some(9)),
    ];
    let decision = Decision {
        verdict,
        reason: reason.into(),
        explanation: "the master is dead".into(),
        progress: Progress::Settled,
        shards: vec![ShardVerdict {
            index: 0,
            master: Some(master.into()),
            master_goal: Some(master.into()),
            loss: (verdict == Verdict::Act).then_some(Loss { bytes: Some(42) }),
        }],
        members: members.map(member).into(),
        request: None,
        stages,
        next_look_us: 1_000,
    };
    Report::Decided(Box::new(Decided {
        observation: Arc::new(observation),
        decision: Arc::new(decision),
        digest: DIGEST.into(),
        picture: Arc::default(),
        is_news: true,
    }))
}

pub fn act(actions: Vec<Action>) -> Report {
    decided(Verdict::Act, "master-dead", "cart-0001", vec![Stage { summary: "go".into(), actions }])
}

/// The same decision again.
pub fn repeated(report: Report) -> Report {
    match report {
        Report::Decided(decided) => Report::Decided(Box::new(Decided { is_news: false, ..*decided })),
        other => other,
    }
}

/// Changes the Observation of a decision.
pub fn observed(report: &mut Report, change: impl FnOnce(&mut Observation)) {
    if let Report::Decided(decided) = report {
        change(Arc::make_mut(&mut decided.observation));
    }
}

pub fn silent_for(report: &mut Report, alive_age_us: u64) {
    observed(report, |observation| observation.instances[0].link.alive_age_us = Some(alive_age_us));
}

pub fn lost(member: &str) -> Report {
    Report::Link { member: member.into(), state: LinkState::Closed }
}

pub fn sent(action: Action) -> Report {
    Report::Sent { order: 0, action, is_repeat: false }
}

pub fn done(action: Action) -> Report {
    Report::Finished {
        action,
        outcome: Outcome::Done { note: "done".into(), pause_us: None },
        elapsed_us: 300,
        is_repeat: false,
    }
}

pub fn failed(action: Action) -> Report {
    let outcome = Outcome::Failed("refused".into());
    Report::Finished { action, outcome, elapsed_us: 300, is_repeat: false }
}

pub fn in_doubt(action: Action) -> Report {
    let outcome = Outcome::InDoubt("no answer".into());
    Report::Finished { action, outcome, elapsed_us: 300, is_repeat: false }
}

pub fn handed_over(pause_us: u64) -> Report {
    let outcome = Outcome::Done { note: "nothing lost".into(), pause_us: Some(pause_us) };
    Report::Finished { action: handover(), outcome, elapsed_us: 3_000, is_repeat: false }
}

pub fn fault() -> Report {
    let fault = PolicyFault::Trap("unreachable".into());
    Report::Fault {
        digest: DIGEST.into(),
        title: "mine 1.0.0".into(),
        fault,
        observation: Arc::new(healthy_group(3)),
    }
}

pub fn promote(evidence: Evidence) -> Action {
    let (id, source) = ("cart-0001".to_owned(), Some("cart-0000".into()));
    Action::Promote(Promote {
        meant_for: id.clone(),
        id,
        source,
        evidence,
        how: Promotion::ReplicaofNoOne,
        completes: vec![],
        expect: expect(Role::Replica),
    })
}

pub fn follow(id: &str) -> Action {
    Action::Follow(Follow {
        id: id.into(),
        master: "cart-0001".into(),
        discards_bytes: Some(0),
        expect: expect(Role::Replica),
    })
}

pub fn handover() -> Action {
    Action::Handover(Handover {
        source: "cart-0000".into(),
        target: "cart-0001".into(),
        meant_for: "cart-0001".into(),
        pause_max_ms: 1_000,
        expect_source: expect(Role::Master),
        expect_target: expect(Role::Replica),
    })
}

fn expect(role: Role) -> Expectation {
    Expectation { run_id: "a".repeat(40), role, replid: None, node: None }
}

/// Shows a group with a healthy decision.
pub fn show(view: &PublishedView, at: u64, reason: &str) {
    show_with(view, at, reason, || ());
}

/// The same, and counts the Observations that are made of it.
pub fn show_counted(view: &PublishedView, made: &Arc<AtomicUsize>) {
    let made = Arc::clone(made);
    show_with(view, 0, "healthy", move || _ = made.fetch_add(1, Ordering::Relaxed));
}

fn show_with(view: &PublishedView, at: u64, reason: &str, made: impl Fn() + Send + Sync + 'static) {
    let Report::Decided(decided) = decided(Verdict::Healthy, reason, "cart-0000", vec![]) else {
        unreachable!()
    };
    let Decided { observation, decision, digest, picture: _, is_news: _ } = *decided;
    let observe = move |sender: oneshot::Sender<Observation>| {
        made();
        drop(sender.send(observation.as_ref().clone()));
    };
    view.show(Moment(at), Arc::new(DecisionRef { decision, digest }), Arc::new(observe));
}
