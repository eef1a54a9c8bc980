//! One Sentinel, which has no peer that could speak to it.

use super::rig::{Rig, soon};
use redis_operator::redis::act::sentinel::announce;
use tests::real::{Watching, versions};

#[tokio::test]
async fn on_each_version_a_sentinel_alone_votes_and_its_clients_hear_of_the_switch() {
    for (name, program) in versions() {
        let mut rig = Rig::of(&program, Watching { count: 1, ..Watching::default() }).await;
        let killed = rig.servers.kill(0);
        rig.servers.end(0).await;
        let (elected, told) = rig.fail_over(1, &[2]).await.unwrap();
        assert_eq!((elected.votes, elected.voters, told.untold), (1, 1, vec![]), "{name}");
        rig.sentinels.all_told(&rig.servers.id(1), killed).await;
        assert_eq!(rig.sentinels.named(0), rig.servers.id(1), "{name}");
        assert!(
            rig.sentinels.rows(0, "SENTINELS").is_empty(),
            "{name}: no voter is left that does not exist"
        );
        assert_eq!(rig.sentinels.field(0, "down-after-milliseconds"), "5000", "{name}");
        rig.sentinels.knows(0, 1, 0).await;

        // The next one: it is elected and told again.
        rig.servers.start(0, &[]).await;
        rig.servers.follow(0, 1).await;
        rig.servers.in_sync(1).await;
        rig.reconnect(0).await;
        let killed = rig.servers.kill(1);
        rig.servers.end(1).await;
        let (later, told) = rig.fail_over(2, &[0]).await.unwrap();
        // With MONITOR its epochs begin anew.
        assert!(later.votes == 1 && told.untold.is_empty(), "{name}: {later:?}, {told:?}");
        rig.sentinels.all_told(&rig.servers.id(2), killed).await;
    }
}

#[tokio::test]
async fn a_sentinel_that_lost_its_peers_is_told_by_a_real_one_and_knows_that_one_again() {
    let mut rig = Rig::new(Watching::default()).await;
    // What a person may do; the operator never does.
    rig.sentinels.ask(0, &["SENTINEL", "RESET", "*"]);
    rig.servers.kill(0);
    rig.servers.end(0).await;
    redis_operator::redis::act::promote(rig.member(1), soon()).await.unwrap();
    announce(&rig.watch, &rig.sentinels.id(0), &rig.master(1), 9, soon()).await.unwrap();
    assert_eq!(rig.sentinels.named(0), rig.servers.id(1));
    let real: Vec<String> = (1..3).map(|place| rig.sentinels.id(place)).collect();
    for row in rig.sentinels.rows(0, "SENTINELS") {
        let of = |name: &str| row.iter().find(|(field, _)| field == name).unwrap().1.clone();
        assert!(real.contains(&format!("{}:{}", of("ip"), of("port"))), "{row:?}");
    }
}
