//! Whether a group is whole, and what it looks like.

use super::{Run, watched};
use redis_model::Role;
use redis_model::live::LinkPhase;
use redis_operator::contract::Verdict;

impl Run<'_> {
    /// A server that has data has the priority that excludes it, or all have.
    pub(super) fn one_is_excluded(&self) -> bool {
        let cluster = self.world.cluster();
        let is_excluded = |server: usize| cluster.view(server).priority == 0;
        let mut servers = cluster.members();
        servers.clone().any(|server| is_excluded(server) && cluster.view(server).keys > 0)
            || servers.all(is_excluded)
    }

    pub(super) fn state(&self) -> String {
        let cluster = self.world.cluster();
        let show = |server: usize| {
            let view = cluster.view(server);
            let role = match &view.role {
                Role::Master => "master".to_owned(),
                Role::Replica(link) => {
                    format!("replica of {} {}", link.host, if link.up { "up" } else { "down" })
                }
                Role::Unsaid => "?".into(),
            };
            let (offset, keys, loading) = (view.offset, view.keys, view.loading);
            format!("{} {role} at {offset} keys {keys} {:.6} loading {loading}", view.host, &view.replid[..6])
        };
        let all = cluster.members().map(show);
        let all: Vec<String> = all.chain(watched::state(&cluster)).collect();
        all.join("; ")
    }

    /// One master takes writes, all others follow it, the Sentinels name it and know exactly the group, and
    /// the leader calls that healthy.
    pub(super) fn is_whole(&self) -> bool {
        let is_healthy = matches!(self.last, Some((Verdict::Healthy, _)));
        is_healthy && self.are_servers_whole() && watched::are_whole(&self.world.cluster())
    }

    pub(super) fn are_servers_whole(&self) -> bool {
        let cluster = self.world.cluster();
        let servers = cluster.members();
        let masters: Vec<usize> = servers.clone().filter(|server| cluster.is_writable(*server)).collect();
        let [master] = masters[..] else { return false };
        let at = cluster.processes()[master].server();
        let names = |role: &Role| matches!(role, Role::Replica(link) if at.is_at(&link.host, link.port));
        let follows = |server: usize| {
            let process = &cluster.processes()[server];
            server == master
                || process.is_serving()
                    && process.upstream().is_some_and(|upstream| upstream.phase() == LinkPhase::Up)
                    && names(&process.server().role)
        };
        servers.into_iter().all(follows)
    }
}
