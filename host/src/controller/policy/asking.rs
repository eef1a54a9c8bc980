//! The group that asks for a policy, and what it is told of one that does not know its topology. Pure.

use crate::contract::Topology;
use crate::kubernetes::status::Problem;
use crate::policy::PolicyChain;
use crate::report::words;

/// A group for which a policy is to decide.
pub struct Asking<'a> {
    /// Its topology.
    pub topology: Topology,
    /// Kind and name of its resource.
    pub resource: &'a str,
}

/// The problem that the policy in front of a chain does not decide for groups of that topology.
pub fn wrong_topology(named: &str, chain: &PolicyChain, group: &Asking<'_>) -> Problem {
    let Asking { topology, resource } = *group;
    let (name, live) = (words::topology(topology), chain.live());
    let deciding = chain.policies().into_iter().find(|policy| policy.serves(topology));
    let deciding = deciding.map(|policy| policy.title().to_owned()).unwrap_or_default();
    let way_out = match topology {
        Topology::Sentinel => "change spec.policy.name, or set spec.sentinel.mode to Served",
        Topology::Replication | Topology::Cluster => "or change spec.policy.name",
    };
    let message = format!(
        "{named} ({}) does not decide for topology {name}, which {resource} has, and the default policy \
         {deciding} decides: add {name} to the topologies that the policy describes, {way_out}",
        live.title()
    );
    Problem { reason: "PolicyWrongTopology", message }
}
