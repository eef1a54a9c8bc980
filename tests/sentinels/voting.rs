//! Elections that are not simply won: too few voters, a later epoch, a rival, a failover under way.

use super::rig::{Rig, in_time, soon};
use redis_operator::redis::act::ActFailure;
use redis_operator::redis::act::sentinel::{Votes, elect, rewrite, set_option};
use std::time::{Duration, Instant};
use tests::real::{MASTER_NAME, Sentinels, Servers, Watching, until};

fn refused(outcome: Result<redis_operator::redis::act::sentinel::Elected, ActFailure>) -> String {
    match outcome {
        Err(failure @ ActFailure::Precondition { .. }) => failure.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_a_majority_nothing_is_promoted_and_the_words_say_which_sentinel_is_missing() {
    let mut rig = Rig::new(Watching::default()).await;
    rig.sentinels.end(0);
    rig.sentinels.end(1);
    rig.servers.kill(0);
    let text = refused(rig.fail_over(1, &[2]).await.map(|(elected, _)| elected));
    assert!(text.contains("1 of 3 Sentinels can vote, and 2 must"), "{text}");
    assert!(text.contains(&rig.sentinels.id(0)), "{text}");
    assert!(rig.servers.masters().await.is_empty(), "no effect");
    assert!(rig.sentinels.heard("+vote-for-leader").is_empty(), "and no vote was spent");
    // What votes there are is what the guard may allow when the others are provably gone.
    let elected = elect(&rig.watch, &rig.master(1), Votes::Available, in_time()).await.unwrap();
    assert_eq!((elected.votes, elected.voters), (1, 3));
}

#[tokio::test]
async fn voters_that_are_gone_count_for_the_majority() {
    let mut rig = Rig::new(Watching::default()).await;
    // Two that left and were not forgotten: five voters, of which three are asked.
    for (id, port) in [("a", "1"), ("b", "2")] {
        let hello = format!("127.0.0.1,{port},{},0,{MASTER_NAME},127.0.0.1,1,0", id.repeat(40));
        for place in 0..3 {
            rig.sentinels.ask(place, &["PUBLISH", "__sentinel__:hello", &hello]);
        }
    }
    let elected = elect(&rig.watch, &rig.master(1), Votes::Majority, in_time()).await.unwrap();
    assert_eq!((elected.votes, elected.voters), (3, 5));
    rig.sentinels.end(0);
    let text = refused(elect(&rig.watch, &rig.master(1), Votes::Majority, in_time()).await);
    assert!(text.contains("2 of 5 Sentinels can vote, and 3 must"), "{text}");
}

#[tokio::test]
async fn an_epoch_that_is_over_is_asked_beyond() {
    let rig = Rig::new(Watching::default()).await;
    // All are in epoch 40, as after elections that no Sentinel won, and show no more than config epoch 0.
    for place in 0..3 {
        let peer = rig.sentinels.rows(place, "SENTINELS").remove(0);
        let of = |name: &str| peer.iter().find(|(field, _)| field == name).unwrap().1.clone();
        let (port, id) = (of("port"), of("runid"));
        let hello = format!("127.0.0.1,{port},{id},40,{MASTER_NAME},127.0.0.1,1,0");
        rig.sentinels.ask(place, &["PUBLISH", "__sentinel__:hello", &hello]);
    }
    let elected = elect(&rig.watch, &rig.master(1), Votes::Majority, in_time()).await.unwrap();
    assert!(elected.epoch > 40 && elected.votes >= 2, "{elected:?}");
}

#[tokio::test]
async fn the_votes_of_a_rival_are_waited_out_and_its_master_is_left_to_it() {
    let mut rig = Rig::new(Watching::default()).await;
    let (rival, port) = ("c".repeat(40), rig.servers.endpoint(0).port.to_string());
    let vote = |rig: &Rig, epoch: &str| {
        for place in 0..3 {
            let words = ["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", &port, epoch, &rival];
            rig.sentinels.ask(place, &words);
        }
    };
    vote(&rig, "1");
    let begun = Instant::now();
    let elected = elect(&rig.watch, &rig.master(1), Votes::Majority, in_time()).await.unwrap();
    assert!(elected.epoch > 1 && begun.elapsed() >= Duration::from_millis(60), "{elected:?}");

    // This one promotes and tells within the pause.
    vote(&rig, &(elected.epoch + 1).to_string());
    rig.servers.kill(0);
    rig.servers.end(0).await;
    let other = async {
        redis_operator::redis::act::promote(rig.member(2), soon()).await.unwrap();
        let to = rig.servers.endpoint(2);
        for place in 0..3 {
            let peer = rig.sentinels.rows(place, "SENTINELS").remove(0);
            let of = |name: &str| peer.iter().find(|(field, _)| field == name).unwrap().1.clone();
            let epoch = elected.epoch + 1;
            let from = format!("127.0.0.1,{},{}", of("port"), of("runid"));
            let hello = format!("{from},{epoch},{MASTER_NAME},{},{},{epoch}", to.host, to.port);
            rig.sentinels.ask(place, &["PUBLISH", "__sentinel__:hello", &hello]);
        }
    };
    let candidate = rig.master(1);
    let ours = elect(&rig.watch, &candidate, Votes::Majority, in_time());
    let (outcome, ()) = tokio::join!(ours, other);
    // It saw the other master at once, or after the pause; and never took the votes of the same change.
    match outcome {
        Ok(later) => assert!(later.epoch > elected.epoch + 1, "{later:?}"),
        Err(failure) => assert!(failure.to_string().contains("names another master"), "{failure}"),
    }
}

#[tokio::test]
async fn a_failover_of_the_sentinels_is_not_disturbed() {
    let watching = Watching { down_after_ms: 600, ..Watching::default() };
    let mut rig = Rig::new(watching).await;
    rig.servers.kill(0);
    rig.servers.end(0).await;
    let text = until("a Sentinel runs a failover", async || {
        if rig.sentinels.heard("+try-failover").is_empty() {
            return None;
        }
        Some(elect(&rig.watch, &rig.master(1), Votes::Majority, in_time()).await)
    })
    .await;
    match text {
        Err(failure) => assert!(
            failure.to_string().contains("runs a failover")
                || failure.to_string().contains("names another master"),
            "{failure}"
        ),
        // It had ended by then: the Sentinels name the next master, and vote again.
        Ok(elected) => assert!(elected.epoch > 1, "{elected:?}"),
    }
    let old = rig.servers.id(0);
    let new = until("they switch", async || Some(rig.sentinels.named(0)).filter(|named| *named != old)).await;
    rig.sentinels.all_told(&new, Instant::now() - Duration::from_secs(60)).await;
    // Where the votes made one of them begin anew, it takes them a moment to demote the one that was first.
    until("one master", async || (rig.servers.masters().await.len() == 1).then_some(())).await;
}

#[tokio::test]
async fn sentinels_that_want_another_password_give_no_vote() {
    let mut servers = Servers::planned(3, &[]);
    servers.start_all().await;
    servers.attach_all().await;
    let further = vec!["requirepass secret".into(), "sentinel sentinel-pass secret".into()];
    let watching = Watching { further, ..Watching::default() };
    let sentinels = Sentinels::start(&servers, &watching).await;
    let strangers = Rig::around(servers, sentinels, watching, None, None).await;
    let text = refused(elect(&strangers.watch, &strangers.master(1), Votes::Majority, in_time()).await);
    assert!(text.contains("0 of 3 Sentinels can vote") && text.contains("3 have no connection"), "{text}");
    let Rig { servers, sentinels, watching, .. } = strangers;
    let known = Rig::around(servers, sentinels, watching, Some((None, "secret")), None).await;
    assert!(elect(&known.watch, &known.master(1), Votes::Majority, in_time()).await.is_ok());
}

/// The documented user, with a password of its own.
#[tokio::test]
async fn the_least_rights_at_a_sentinel_are_enough_for_every_action() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/acl/sentinel.acl");
    let file = std::fs::read_to_string(file).unwrap();
    let user = file.lines().find(|line| line.starts_with("user ")).unwrap().replace(">change-me", ">secret");
    let servers = Servers::group(3, &[]).await;
    let watching = Watching { further: vec![user], ..Watching::default() };
    let sentinels = Sentinels::start(&servers, &watching).await;
    let login = Some((Some("redis-operator"), "secret"));
    let mut rig = Rig::around(servers, sentinels, watching, login, None).await;
    let id = rig.sentinels.id(0);
    rewrite(&rig.watch, &id, &rig.master(0), soon()).await.unwrap();
    set_option(&rig.watch, &id, "quorum", "2", soon()).await.unwrap();
    rig.servers.kill(0);
    rig.servers.end(0).await;
    let (_, told) = rig.fail_over(1, &[2]).await.unwrap();
    assert!(told.untold.is_empty(), "{told:?}");
    let mut wire = tests::real::Wire::to(&id).unwrap();
    wire.ask(&["AUTH", "redis-operator", "secret"]);
    for refused in [&["SENTINEL", "RESET", "*"][..], &["SENTINEL", "FAILOVER", MASTER_NAME], &["SHUTDOWN"]] {
        let reply = format!("{:?}", wire.ask(refused));
        assert!(reply.contains("NOPERM") || reply.contains("no permissions"), "{refused:?}: {reply}");
    }
    for channel in ["+switch-master", "-failover-abort-not-elected"] {
        let reply = format!("{:?}", wire.ask(&["SUBSCRIBE", channel]));
        assert!(reply.contains("subscribe") && !reply.contains("NOPERM"), "{reply}");
    }
}

#[tokio::test]
async fn a_sentinel_that_refuses_to_vote_is_not_asked_for_ever_and_its_words_are_told() {
    let user = "user mute on >secret resetkeys allchannels +@all -sentinel|is-master-down-by-addr";
    let servers = Servers::group(3, &[]).await;
    let watching = Watching { further: vec![user.into()], ..Watching::default() };
    let sentinels = Sentinels::start(&servers, &watching).await;
    let rig = Rig::around(servers, sentinels, watching, Some((Some("mute"), "secret")), None).await;
    let begun = Instant::now();
    let text = refused(elect(&rig.watch, &rig.master(1), Votes::Majority, in_time()).await);
    assert!(text.contains("0 of 3 Sentinels voted") && text.contains("NOPERM"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let elected = elect(&rig.watch, &rig.master(1), Votes::Available, in_time()).await.unwrap();
    assert_eq!((elected.votes, elected.voters), (0, 3));
}

#[tokio::test]
async fn votes_that_come_too_late_count_in_the_next_attempt() {
    let rig = Rig::new(Watching::default()).await;
    for ms in [1, 2, 5] {
        let outcome =
            elect(&rig.watch, &rig.master(1), Votes::Majority, Instant::now() + Duration::from_millis(ms))
                .await;
        // By how fast the disk is: won, asked and not answered, or not even asked.
        match outcome {
            Ok(elected) => assert_eq!(elected.epoch, 1),
            Err(ActFailure::NotInTime { .. } | ActFailure::Precondition { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    let elected = elect(&rig.watch, &rig.master(1), Votes::Majority, in_time()).await.unwrap();
    assert_eq!(elected.epoch, 1, "no epoch was burnt");
    let votes = rig.sentinels.heard("+vote-for-leader");
    assert!(votes.iter().all(|heard| heard.text.ends_with(" 1")), "{}", rig.sentinels.story());
}
