//! Groups that Sentinels watch: what a careful engine plans there, and the same with one thing wrong.

use super::*;
use redis_model::sentinel::Sentinel;

/// The same play, watched by three Sentinels that see what the host sees.
fn watched(mode: SentinelMode, mut play: Play) -> Play {
    let mut world = World::of(play.servers.clone());
    world.watch(3, same(&mode));
    play.sentinels = std::mem::take(&mut world.sentinels);
    play.observation.group.topology = Topology::Sentinel;
    play.observation.group.sentinel = same(&world.rest.group.sentinel);
    // Long enough that no rule waits for it to be, and too short for the Sentinels to be out of time.
    play.observation.shards[0].no_master_age_us = 1_000_000;
    for action in play.decision.stages.iter_mut().flat_map(|stage| &mut stage.actions) {
        if let Action::Promote(promote) = action {
            promote.how = Promotion::Votes;
        }
    }
    play
}

fn assisted(play: Play) -> Play {
    watched(SentinelMode::Assisted, play)
}

/// The Sentinels call it down.
fn down(play: &mut Play) {
    for sentinel in &mut play.sentinels {
        (sentinel.flags, sentinel.down_ms) = (vec!["s_down".into()], Some(100));
    }
}

/// A working group whose plan changes a Sentinel.
fn changed(change: SentinelChange) -> Play {
    let action = SentinelAction { id: "sentinel-1".into(), change, expect: expect(Role::Unknown) };
    let healthy = master(0, "a", 100);
    let servers = vec![healthy.clone(), replica(1, &healthy), replica(2, &healthy)];
    let mut play = assisted(Play::new(servers, Verdict::Act, vec![vec![Action::Sentinel(action)]]));
    play.decision.shards[0].master = Some("redis-0".into());
    play.decision.shards[0].loss = None;
    play
}

fn announce(master: &str, config_epoch: u64) -> SentinelChange {
    SentinelChange::Announce(Announce { master: master.into(), config_epoch })
}

fn rewrite() -> SentinelChange {
    SentinelChange::Rewrite(Rewrite { master: "redis-0".into() })
}

fn set(name: &str, to: &str) -> SentinelChange {
    SentinelChange::SetOption(SetOption { name: name.into(), to: to.into() })
}

/// One names another member.
fn told() -> Play {
    with(changed(announce("redis-0", 2)), |play| {
        play.sentinels[0].master = Some((play.servers[1].host.clone(), 6379));
    })
}

fn restart(id: &str) -> Action {
    Action::Restart(Restart { id: id.into(), uid: format!("u-{id}") })
}

/// One hangs.
fn stuck() -> Play {
    with(changed(rewrite()), |play| {
        for sentinel in &mut play.sentinels {
            sentinel.seen.pod = Some(pod(&format!("u-{}", sentinel.id)));
        }
        play.sentinels[0].seen.hung(12_000_000);
        play.decision.stages[0].actions = vec![restart("sentinel-1")];
    })
}

/// They promoted the first replica, and the former master takes writes all the same.
fn decided() -> Play {
    with(told(), |play| {
        let former = master(0, "a", 120);
        let mut next = master(1, "b", 110);
        next.former = Some(("a".into(), 100));
        let place = (next.host.clone(), next.port);
        play.servers = vec![former, next.clone(), replica(2, &next)];
        for sentinel in &mut play.sentinels {
            (sentinel.master, sentinel.epoch) = (Some(place.clone()), 2);
        }
        let follow = Follow {
            id: "redis-0".into(),
            master: "redis-1".into(),
            discards_bytes: Some(20),
            expect: expect(Role::Master),
        };
        play.decision.stages[0].actions = vec![Action::Follow(follow)];
        play.decision.shards[0].master = Some("redis-1".into());
        play.decision.shards[0].loss = Some(Loss { bytes: Some(20) });
    })
}

/// They promoted a replica that had no data.
fn erred() -> Play {
    with(watched(SentinelMode::Deferred, dead()), |play| {
        play.servers[2] = server(2);
        let place = (play.servers[2].host.clone(), 6379);
        for sentinel in &mut play.sentinels {
            (sentinel.master, sentinel.epoch) = (Some(place.clone()), 2);
        }
        play.decision.stages.truncate(1);
    })
}

/// The master has been lost for so long, by the word of all witnesses.
fn lost_for(play: &mut Play, seconds: u64) {
    play.observation.shards[0].no_master_age_us = seconds * 1_000_000;
    play.servers[0].seen.link.alive_age_us = Some(seconds * 1_000_000);
    for replica in &mut play.servers[1..] {
        replica.link_down(seconds);
    }
}

fn by(how: Promotion) -> impl FnOnce(&mut Play) {
    move |play| play.promote().how = how
}

pub(super) fn rejected() -> Vec<(Rule, &'static str, Play)> {
    let few = |which: &[usize], mode, how| {
        with(watched(mode, dead()), |play| {
            which.iter().for_each(|&index| play.sentinels[index].seen.dead());
            play.promote().how = how;
        })
    };
    vec![
        (Rule::NoFailoverOfTheirs, "a Sentinel was elected", {
            with(assisted(dead()), |play| play.sentinels[1].flags = vec!["failover_in_progress".into()])
        }),
        (Rule::NoFailoverOfTheirs, "a word of half a second ago", {
            with(assisted(dead()), |play| play.sentinels[1].seen.age_us = Some(500_000))
        }),
        (Rule::NoFailoverOfTheirs, "a handover into a forced failover", {
            with(assisted(handover()), |play| {
                play.sentinels[1].failover_state = Some("wait_promotion".into())
            })
        }),
        (Rule::NoFailoverOfTheirs, "a Sentinel begins anew while another one fails over", {
            with(changed(rewrite()), |play| play.sentinels[1].failover_state = Some("select_slave".into()))
        }),
        (Rule::Votes, "without asking them", with(assisted(dead()), by(Promotion::ReplicaofNoOne))),
        (Rule::Votes, "with fewer votes, where all answer", {
            with(assisted(dead()), by(Promotion::AvailableVotes))
        }),
        (Rule::Votes, "deferred, and they have just heard of it", watched(SentinelMode::Deferred, dead())),
        (Rule::Votes, "one of three took a stranger for the master", {
            with(few(&[], SentinelMode::Deferred, Promotion::AvailableVotes), |play| {
                play.sentinels[0].master = Some(("10.0.0.9".into(), 6379));
            })
        }),
        (Rule::Votes, "two are only out of sight", {
            with(few(&[], SentinelMode::Deferred, Promotion::AvailableVotes), |play| {
                for sentinel in &mut play.sentinels[..2] {
                    sentinel.seen.lost(
                        LinkState::Unreachable,
                        500_000,
                        failover_core::contract::FailureKind::Unreachable,
                    );
                }
            })
        }),
        (Rule::Votes, "two are silent, and consistency is preferred", {
            with(few(&[], SentinelMode::Deferred, Promotion::AvailableVotes), |play| {
                play.sentinels[..2].iter_mut().for_each(|sentinel| sentinel.seen.hung(1_500_000));
                play.observation.group.prefer = Preference::Consistency;
            })
        }),
        (Rule::Votes, "the host lost sight long ago, and a replica two seconds ago", {
            with(few(&[], SentinelMode::Deferred, Promotion::AvailableVotes), |play| {
                lost_for(play, 100);
                play.servers[1].link_down(2);
            })
        }),
        (Rule::Votes, "a vote of an earlier epoch is no attempt", {
            with(few(&[], SentinelMode::Deferred, Promotion::AvailableVotes), |play| {
                lost_for(play, 9);
                for sentinel in &mut play.sentinels {
                    (sentinel.flags, sentinel.down_ms) = (vec!["o_down".into()], Some(3_800));
                    (sentinel.epoch, sentinel.voted_epoch) = (4, 4);
                }
            })
        }),
        (Rule::Votes, "a handover with one of three", {
            with(assisted(handover()), |play| {
                play.sentinels[..2].iter_mut().for_each(|sentinel| sentinel.seen.dead());
            })
        }),
        (Rule::SentinelWitnesses, "silent for the host alone", assisted(silent())),
        (Rule::ToldMaster, "a replica", {
            with(changed(announce("redis-1", 2)), |play| play.decision.shards[0].master = None)
        }),
        (Rule::ToldMaster, "a master that the decision does not name", {
            with(told(), |play| play.decision.shards[0].master = None)
        }),
        (Rule::ToldEpoch, "an epoch that they know", {
            with(told(), |play| play.sentinels[1].voted_epoch = 2)
        }),
        (Rule::ToldEpoch, "the last epoch that there is", {
            with(told(), |play| {
                let Action::Sentinel(action) = &mut play.decision.stages[0].actions[0] else { return };
                action.change = announce("redis-0", u64::MAX);
            })
        }),
        (Rule::ToldEpoch, "hello would leave a loopback address as a replica", {
            with(changed(announce("redis-0", 2)), |play| {
                play.sentinels[0].master = Some(("127.0.0.1".into(), 6379));
            })
        }),
        (Rule::SentinelSettings, "a quorum of one", changed(set("quorum", "1"))),
        (Rule::SentinelSettings, "another group's timeout", changed(set("failover-timeout", "1"))),
        (Rule::OneRewrite, "two at once", {
            with(changed(rewrite()), |play| {
                let Action::Sentinel(action) = play.decision.stages[0].actions[0].clone() else { return };
                play.act(Action::Sentinel(SentinelAction { id: "sentinel-2".into(), ..action }));
            })
        }),
        (Rule::OneRewrite, "one of two that are left", {
            with(changed(rewrite()), |play| play.sentinels[2].seen.dead())
        }),
        (Rule::OneRewrite, "a ghost that does not answer, and too few others", {
            with(changed(rewrite()), |play| {
                play.sentinels[2].seen.dead();
                play.sentinels[0].ghosts = vec![("10.0.0.9".into(), 6379)];
            })
        }),
        (Rule::OneRewrite, "two that take a stranger for their own", {
            with(changed(rewrite()), |play| {
                let Action::Sentinel(action) = play.decision.stages[0].actions[0].clone() else { return };
                play.act(Action::Sentinel(SentinelAction { id: "sentinel-2".into(), ..action }));
                for sentinel in &mut play.sentinels {
                    sentinel.strangers = vec![("10.0.0.9".into(), 6379)];
                }
            })
        }),
        (Rule::OneRestart, "two at once", with(stuck(), |play| play.act(restart("sentinel-2")))),
        (Rule::OneRestart, "another one is gone", with(stuck(), |play| play.sentinels[2].seen.dead())),
        (Rule::KnownIds, "a Sentinel that is none", {
            with(told(), |play| {
                let Action::Sentinel(action) = &mut play.decision.stages[0].actions[0] else { return };
                action.id = "sentinel-9".into();
            })
        }),
        (Rule::Expectation, "an earlier process of the Sentinel", {
            with(told(), |play| {
                let Action::Sentinel(action) = &mut play.decision.stages[0].actions[0] else { return };
                action.expect.run_id = "before".into();
            })
        }),
        (Rule::AllowList, "mode served has no Sentinels", {
            with(told(), |play| {
                if let Some(settings) = &mut play.observation.group.sentinel {
                    settings.mode = SentinelMode::Served;
                }
            })
        }),
        (Rule::TwoMasters, "a minority of the Sentinels made it master", {
            with(decided(), |play| {
                (play.sentinels[1].epoch, play.sentinels[2].epoch) = (1, 1);
                let place = Some((play.servers[0].host.clone(), 6379));
                (play.sentinels[1].master, play.sentinels[2].master) = (place.clone(), place);
                play.decision.shards[0].master = Some("redis-0".into());
                play.decision.shards[0].loss = None;
            })
        }),
    ]
}

fn accepted() -> Vec<(&'static str, Play)> {
    let left = |count: usize, mode| {
        with(watched(mode, dead()), |play| {
            play.sentinels[..count].iter_mut().for_each(|sentinel| sentinel.seen.dead());
            play.promote().how = Promotion::AvailableVotes;
        })
    };
    let set_up_anew =
        |change: &dyn Fn(&mut Sentinel)| with(changed(rewrite()), |play| change(&mut play.sentinels[0]));
    vec![
        ("by votes", assisted(dead())),
        ("an abdication by votes", with(assisted(ring()), |_| {})),
        ("a hung master that they call down", with(assisted(silent()), down)),
        ("a hung master, and two Sentinels are gone", {
            with(assisted(silent()), |play| {
                play.sentinels[..2].iter_mut().for_each(|sentinel| sentinel.seen.dead());
                play.promote().how = Promotion::AvailableVotes;
            })
        }),
        ("one of two that are left, which takes a stranger for its own", {
            with(changed(rewrite()), |play| {
                play.sentinels[2].seen.dead();
                play.sentinels[0].strangers = vec![("10.0.0.9".into(), 6379)];
            })
        }),
        ("two of three took a stranger for the master", {
            with(watched(SentinelMode::Deferred, dead()), |play| {
                for sentinel in &mut play.sentinels[..2] {
                    sentinel.master = Some(("10.0.0.9".into(), 6379));
                }
                play.promote().how = Promotion::AvailableVotes;
            })
        }),
        ("no Sentinel is left", left(3, SentinelMode::Assisted)),
        ("one of three is left, in mode deferred", left(2, SentinelMode::Deferred)),
        ("two are silent, and availability is preferred", {
            with(left(0, SentinelMode::Deferred), |play| {
                play.sentinels[..2].iter_mut().for_each(|sentinel| sentinel.seen.hung(1_500_000));
            })
        }),
        ("they had their time", with(left(0, SentinelMode::Deferred), |play| lost_for(play, 18))),
        ("they tried in vain", {
            with(left(0, SentinelMode::Deferred), |play| {
                lost_for(play, 9);
                for sentinel in &mut play.sentinels {
                    (sentinel.flags, sentinel.down_ms) = (vec!["o_down".into()], Some(3_800));
                    sentinel.voted_epoch = 4;
                }
            })
        }),
        ("a first master", with(assisted(bootstrap()), by(Promotion::AvailableVotes))),
        ("a handover", assisted(handover())),
        ("the master came back empty, and is well to them", watched(SentinelMode::Deferred, amnesic())),
        ("they made an empty replica master", erred()),
        ("they decided, and the former master follows", decided()),
        ("hello", told()),
        ("one watches nothing", set_up_anew(&|sentinel| sentinel.master = None)),
        ("one knows a ghost", set_up_anew(&|sentinel| sentinel.ghosts = vec![("10.0.0.9".into(), 6379)])),
        ("a setting of the group", changed(set("down-after-milliseconds", "5000"))),
        ("one hangs", stuck()),
        ("one that was elected and ended is not waited for", {
            with(assisted(dead()), |play| {
                play.sentinels[0].flags = vec!["failover_in_progress".into()];
                play.sentinels[0].seen.dead();
            })
        }),
    ]
}

#[test]
fn what_a_careful_engine_plans_beside_sentinels() {
    let outcomes = accepted().into_iter().map(|(name, play)| (name, play.breached()));
    let wrong: Vec<_> = outcomes.filter(|(_, breached)| !breached.is_empty()).collect();
    assert_eq!(wrong, []);
}
