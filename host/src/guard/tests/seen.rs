//! What was not seen is none: a fence that only the group's settings have, a role from before a change, a
//! name at which another process is.

use super::*;
use redis_model::Row;

/// The rule, what is wrong, and the play.
pub(super) fn rejected() -> Vec<(Rule, &'static str, Play)> {
    vec![
        (
            Rule::SelfFence,
            "a fence that the master never showed",
            with(fenced(), |play| play.servers[0].fence = None),
        ),
        (
            Rule::SelfFence,
            "a master that wants no replica",
            with(fenced(), |play| play.servers[0].fence = Some((0, 1))),
        ),
        (
            Rule::SelfFence,
            "a replica that is not listed may be on the master's side",
            with(fenced(), |play| play.servers[0].attached.push(stranger())),
        ),
        (
            Rule::SelfFence,
            "a member that does not answer may be on the master's side",
            with(fenced(), |play| {
                let mut third = replica(3, &play.servers[0]);
                third.link_down(4);
                play.servers.push(third);
                play.observation.group.members_desired = 5;
            }),
        ),
        (
            Rule::Abdication,
            "a member that may be the new master has not replied since",
            with(ring(), |play| {
                play.observation.shards[0].no_master_age_us = 150_000;
                play.servers[2].seen.age_us = Some(160_000);
            }),
        ),
        (
            Rule::HandoverInSync,
            "the target has no keys at the master's place of the stream",
            with(handover(), |play| play.servers[1].keys = 0),
        ),
        (
            Rule::NoDestructiveFollow,
            "a process that was up before the failover is not the member that lost the role",
            with(replaced(), |play| play.servers[2].uptime_s = 3600),
        ),
        (
            Rule::NoDestructiveFollow,
            "a master with replicas of others is no member",
            with(replaced(), |play| play.servers[2].attached.push(stranger())),
        ),
    ]
}

/// A silent master whose fence has bitten.
pub(super) fn fenced() -> Play {
    with(silent(), |play| {
        (play.observation.group.prefer, play.observation.group.self_fence_lag_s) =
            (Preference::Consistency, Some(1));
        play.servers[0].fence = Some((1, 1));
        play.servers[0].seen.link.alive_age_us = Some(4_000_000);
        for replica in &mut play.servers[1..] {
            replica.link_down(4);
        }
    })
}

/// The master of before comes back with a history of its own, which nothing knows.
pub(super) fn replaced() -> Play {
    with(rejoin(|last| last.uptime_s = 5), |play| {
        play.observation.shards[0].last_failover = last_failover("redis-2", "redis-0", 9_000_000);
        play.decision.stages[0].actions = vec![Action::Follow(Follow {
            id: "redis-2".into(),
            master: "redis-0".into(),
            discards_bytes: None,
            expect: expect(Role::Master),
        })];
    })
}

fn stranger() -> Row {
    Row { host: "10.9.9.9".into(), port: 6379, state: "online".into(), offset: 0, lag_s: 0 }
}
