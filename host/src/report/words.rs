//! The names of things in log fields and metric labels: those of `wit/failover.wit`.

use crate::contract::{Action, Evidence, Health, LinkState, Topology, Verdict};
use crate::group::Outcome;
use crate::policy::PolicyFault;

pub fn topology(topology: Topology) -> &'static str {
    match topology {
        Topology::Replication => "replication",
        Topology::Sentinel => "sentinel",
        Topology::Cluster => "cluster",
    }
}

pub const VERDICTS: [Verdict; 4] = [Verdict::Healthy, Verdict::Act, Verdict::Wait, Verdict::Refuse];

pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Act => "act",
        Verdict::Wait => "wait",
        Verdict::Refuse => "refuse",
    }
}

pub const HEALTHS: [Health; 11] = [
    Health::InSync,
    Health::Syncing,
    Health::Alive,
    Health::Suspect,
    Health::Silent,
    Health::Dead,
    Health::Abdicated,
    Health::Amnesic,
    Health::Blank,
    Health::Stranger,
    Health::Isolated,
];

pub fn health(health: Health) -> &'static str {
    match health {
        Health::InSync => "in-sync",
        Health::Syncing => "syncing",
        Health::Alive => "alive",
        Health::Suspect => "suspect",
        Health::Silent => "silent",
        Health::Dead => "dead",
        Health::Abdicated => "abdicated",
        Health::Amnesic => "amnesic",
        Health::Blank => "blank",
        Health::Stranger => "stranger",
        Health::Isolated => "isolated",
    }
}

pub fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Requested => "requested",
        Evidence::Dead => "dead",
        Evidence::Replaced => "replaced",
        Evidence::Elected => "elected",
        Evidence::Abdicated => "abdicated",
        Evidence::Amnesic => "amnesic",
        Evidence::Silent => "silent",
        Evidence::Bootstrap => "bootstrap",
    }
}

pub fn link(state: LinkState) -> &'static str {
    match state {
        LinkState::Unknown => "unknown",
        LinkState::Answering => "answering",
        LinkState::Closed => "closed",
        LinkState::Refused => "refused",
        LinkState::Unreachable => "unreachable",
        LinkState::TimedOut => "timed-out",
        LinkState::Unauthorized => "unauthorized",
        LinkState::Loading => "loading",
        LinkState::Busy => "busy",
        LinkState::ProtocolError => "protocol-error",
    }
}

pub fn fault(fault: &PolicyFault) -> &'static str {
    match fault {
        PolicyFault::Trap(_) => "trap",
        PolicyFault::Fuel { .. } => "fuel",
        PolicyFault::Time { .. } => "time",
        PolicyFault::Worker(_) => "worker",
        PolicyFault::Memory { .. } => "memory",
        PolicyFault::Malformed(_) => "malformed",
        PolicyFault::Breach(_) => "breach",
        PolicyFault::Idle { .. } => "idle",
    }
}

pub fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done { .. } => "done",
        Outcome::Failed(_) => "failed",
        Outcome::NotSent(_) => "not-sent",
        Outcome::InDoubt(_) => "in-doubt",
    }
}

/// The name of the action, and the id of the instance that it changes.
pub fn action(action: &Action) -> (&'static str, &str) {
    (action.name(), action.target())
}

/// The part of a digest that identifies a policy to people.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
