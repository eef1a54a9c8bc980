//! What a decision states, field by field: a truthful decision passes, and a lie in each field is found.

use super::*;

/// A group in order, called healthy.
fn well() -> Play {
    let first = master(0, "a", 100);
    let servers = vec![first.clone(), replica(1, &first), replica(2, &first)];
    with(Play::new(servers, Verdict::Healthy, vec![]), |play| {
        play.decision.shards[0] = ShardVerdict {
            index: 0,
            master: Some("redis-0".into()),
            master_goal: Some("redis-0".into()),
            loss: None,
        };
    })
}

/// The same, and a server of another life with one key that answers as a master, too.
fn stale_second() -> Play {
    with(well(), |play| {
        let stale = Server { keys: 1, ..master(3, "b", 900) };
        play.servers.push(stale);
        play.decision.verdict = Verdict::Wait;
    })
}

/// Redis-1 was promoted behind the host's back, while the recorded master is only out of sight.
fn promoted_elsewhere() -> Play {
    with(well(), |play| {
        play.decision.verdict = Verdict::Wait;
        play.servers[1] = Server { former: Some(("a".into(), 100)), ..master(1, "b", 100) };
        (play.servers[0].seen.link.state, play.servers[0].seen.link.alive_age_us) =
            (LinkState::TimedOut, Some(40_000));
        play.decision.shards[0].master = Some("redis-1".into());
    })
}

fn configured(settings: &[(&str, &str, &str)]) -> Play {
    with(well(), |play| {
        play.decision.verdict = Verdict::Act;
        let action = |(id, directive, to): &(&str, &str, &str)| {
            let role = if *id == "redis-0" { Role::Master } else { Role::Replica };
            Action::Configure(Configure {
                id: (*id).into(),
                directive: (*directive).into(),
                to: (*to).into(),
                expect: expect(role),
            })
        };
        let actions = settings.iter().map(action).collect();
        play.decision.stages = vec![Stage { summary: String::new(), actions }];
    })
}

fn fenced(mut play: Play) -> Play {
    (play.observation.group.prefer, play.observation.group.self_fence_lag_s) =
        (Preference::Consistency, Some(10));
    play
}

fn says_loss(mut play: Play, bytes: Option<u64>) -> Play {
    play.decision.shards[0].loss = Some(Loss { bytes });
    play
}

/// A copy from its files takes over, after the others had their time.
fn from_files() -> Play {
    with(dead(), |play| {
        play.observation.parameters = r#"{"restart_wait_s":1}"#.into();
        for server in &mut play.servers[1..] {
            server.uptime_s = 5;
            link(server).down_s = None;
        }
    })
}

/// The master restarted in its place, and its replicas have its new history.
fn restarted() -> Play {
    with(well(), |play| play.servers[0].run_id = "again".into())
}

/// A request for a switchover to the first replica, answered.
fn answered(state: RequestState) -> Play {
    with(handover(), |play| {
        (play.decision.verdict, play.decision.stages) = (Verdict::Wait, vec![]);
        play.decision.request = Some(RequestAnswer { state, reason: "test".into(), text: String::new() });
    })
}

pub(super) fn lies() -> Vec<(Rule, &'static str, Play)> {
    let names = |mut play: Play, id: &str| {
        (play.decision.shards[0].master, play.decision.shards[0].loss) =
            (Some(id.into()), Some(Loss { bytes: None }));
        play
    };
    vec![
        (Rule::NamedMaster, "a replica", names(dead(), "redis-1")),
        (Rule::NamedMaster, "the dead one", names(dead(), "redis-0")),
        (
            Rule::NamedMaster,
            "a loading one",
            with(names(restarted(), "redis-0"), |play| {
                play.decision.verdict = Verdict::Wait;
                play.servers[0].loading = true;
            }),
        ),
        (Rule::NamedMaster, "an empty return", names(amnesic(), "redis-0")),
        (Rule::NamedMaster, "a stale second master: it would be the record", {
            names(stale_second(), "redis-3")
        }),
        (
            Rule::NamedMaster,
            "the same, while the recorded one is dead and its copies are there",
            with(names(stale_second(), "redis-3"), |play| {
                play.servers[0].seen.link = dead().servers[0].seen.link;
                for copy in &mut play.servers[1..3] {
                    copy.link_down(0);
                }
            }),
        ),
        (Rule::NamedMaster, "another one, while the recorded one is only out of sight", promoted_elsewhere()),
        (
            Rule::Healthy,
            "the master is dead",
            with(dead(), |play| (play.decision.verdict, play.decision.stages) = (Verdict::Healthy, vec![])),
        ),
        (Rule::Healthy, "two masters", {
            with(stale_second(), |play| play.decision.verdict = Verdict::Healthy)
        }),
        (Rule::Healthy, "a replica follows another server", {
            with(well(), |play| play.servers[2].follow("192.0.2.7", 6379).up = false)
        }),
        (Rule::AllowedValues, "writes need two replicas", {
            configured(&[("redis-0", "min-replicas-to-write", "2")])
        }),
        (Rule::AllowedValues, "writes need more replicas than there can be", {
            configured(&[("redis-0", "min-replicas-to-write", "4294967295")])
        }),
        (Rule::AllowedValues, "all writes of the rightful master are stopped", {
            configured(&[("redis-0", "min-replicas-to-write", "1000000")])
        }),
        (Rule::AllowedValues, "the self-fence of consistency is taken away", {
            fenced(configured(&[("redis-0", "min-replicas-to-write", "0")]))
        }),
        (Rule::AllowedValues, "a self-fence that bites later than is counted on", {
            fenced(configured(&[("redis-0", "min-replicas-max-lag", "11")]))
        }),
        (Rule::AllowedValues, "no lag at all", configured(&[("redis-0", "min-replicas-max-lag", "0")])),
        (Rule::AllowedValues, "a heartbeat that hides a hang", {
            configured(&[("redis-0", "repl-ping-replica-period", "60")])
        }),
        (Rule::AllowedValues, "the last candidate", {
            with(configured(&[("redis-1", "replica-priority", "0")]), |play| play.servers[2].priority = 0)
        }),
        (Rule::AllowedValues, "all candidates in two stages", {
            with(configured(&[("redis-1", "replica-priority", "0")]), |play| {
                let mut further = configured(&[("redis-2", "replica-priority", "0")]).decision.stages;
                play.decision.stages.append(&mut further);
            })
        }),
        (Rule::AllowedValues, "a priority that Redis cannot read", {
            configured(&[("redis-1", "replica-priority", "4000000000")])
        }),
        (Rule::ReportedLoss, "none is reported", {
            with(dead(), |play| play.decision.shards[0].loss = None)
        }),
        (Rule::ReportedLoss, "less than the last words of the dead one show", {
            with(says_loss(dead(), Some(49)), |play| play.servers[0].offset = 150)
        }),
        (Rule::ReportedLoss, "less than the record shows, where no last words are known", {
            with(says_loss(dead(), Some(99)), |play| {
                let gone = play.servers.remove(0);
                assert_eq!(gone.id, "redis-0");
                play.observation.shards[0].published.iter_mut().for_each(|record| record.offset = 200);
            })
        }),
        (Rule::ReportedLoss, "a number for a copy from its files", says_loss(from_files(), Some(0))),
        (Rule::ReportedLoss, "a number for a restart in place", says_loss(restarted(), Some(0))),
        (Rule::ReportedLoss, "none for a restart in place", restarted()),
        (Rule::RequestDone, "the target is a replica yet", answered(RequestState::Done)),
        (Rule::RequestDone, "the target is no member", {
            with(answered(RequestState::Done), |play| {
                play.observation.switchover.iter_mut().for_each(|it| it.target = Some("ghost".into()));
            })
        }),
        (Rule::HandoverInSync, "the role would come back", {
            with(handover(), |play| {
                if let Action::Handover(handover) = &mut play.decision.stages[0].actions[0] {
                    handover.meant_for = "redis-0".into();
                }
            })
        }),
        (Rule::BoundedPause, "a fence of eleven seconds", {
            with(dead(), |play| {
                play.act(Action::Fence(Fence {
                    id: "redis-2".into(),
                    max_ms: 11_000,
                    expect: expect(Role::Replica),
                }))
            })
        }),
    ]
}

#[test]
fn a_truthful_decision_passes() {
    let plays = [
        ("all is well", well()),
        ("the right one of two masters is named", stale_second()),
        (
            "the recorded one is out of sight, and its replicas left it",
            with(promoted_elsewhere(), |play| play.servers[2] = replica(2, &play.servers[1])),
        ),
        ("the self-fence is set", {
            fenced(configured(&[
                ("redis-0", "min-replicas-to-write", "1"),
                ("redis-0", "min-replicas-max-lag", "10"),
            ]))
        }),
        ("a left pause is put back", configured(&[("redis-0", "min-replicas-to-write", "0")])),
        (
            "the writes of a second master are stopped",
            with(stale_second(), |play| {
                play.decision.verdict = Verdict::Act;
                let action = Action::Configure(Configure {
                    id: "redis-3".into(),
                    directive: "min-replicas-to-write".into(),
                    to: "1000000".into(),
                    expect: expect(Role::Master),
                });
                play.decision.stages = vec![Stage { summary: String::new(), actions: vec![action] }];
            }),
        ),
        ("one of two candidates steps back", configured(&[("redis-1", "replica-priority", "0")])),
        ("a heartbeat of a second", configured(&[("redis-0", "repl-ping-replica-period", "1")])),
        ("the very loss", with(says_loss(dead(), Some(50)), |play| play.servers[0].offset = 150)),
        ("more than the facts show", says_loss(dead(), Some(1_000))),
        ("it is not known", says_loss(from_files(), None)),
        ("a restart in place", says_loss(restarted(), None)),
        ("a request waits", answered(RequestState::Waiting)),
        ("a request is refused", answered(RequestState::Refused)),
        (
            "a request is done",
            with(answered(RequestState::Done), |play| {
                play.observation.switchover.iter_mut().for_each(|it| it.target = Some("redis-0".into()));
            }),
        ),
    ];
    for (name, play) in plays {
        assert_eq!(play.breached(), [], "{name}");
    }
}

#[test]
fn the_picture_is_the_guards_own() {
    let picture = |play: &Play| {
        let observation =
            Observation { instances: observe(&play.servers, &[]).instances, ..play.observation.clone() };
        crate::guard::Reading::of(&observation).picture()
    };
    let all = picture(&well());
    let followers: Vec<&str> = all.followers.iter().map(String::as_str).collect();
    assert_eq!((all.master.as_deref(), followers), (Some("redis-0"), vec!["redis-1", "redis-2"]));
    assert!(all.is_whole && !all.has_misplaced);
    let with_second = picture(&stale_second());
    assert_eq!((with_second.master.as_deref(), with_second.is_whole), (Some("redis-0"), false));
    assert!(with_second.has_second_master && !all.has_second_master);
    let lagging = with(well(), |play| _ = play.servers[2].link_down(3));
    assert_eq!((picture(&lagging).followers.len(), picture(&lagging).is_whole), (2, false));
    let elsewhere = with(well(), |play| _ = play.servers[2].follow("192.0.2.7", 6379));
    assert!(picture(&elsewhere).has_misplaced && picture(&elsewhere).followers.len() == 1);
    let gone = picture(&dead());
    assert_eq!((gone.master, gone.is_master_silent), (None, false), "proven dead is not silent");
    assert!(picture(&silent()).is_master_silent && !all.is_master_silent);
    let in_pods = with(well(), |play| {
        for (number, server) in play.servers.iter_mut().enumerate() {
            server.seen.pod = Some(pod(&format!("uid-{number}")));
        }
        link(&mut play.servers[1]).syncing = true;
    });
    let pods: Vec<String> = picture(&in_pods).pods.into_iter().collect();
    assert_eq!(pods, ["uid-0", "uid-2"]);
}
