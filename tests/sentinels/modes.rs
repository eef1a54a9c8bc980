//! `static` that is started again in another mode, while clients write.

use std::time::Instant;
use tests::real::{Acknowledged, Program, Sentinels, Servers, Watching, Writers, until};

#[tokio::test]
async fn another_mode_changes_no_master_and_loses_no_write_and_the_sentinels_have_its_settings() {
    let servers = Servers::group(3, &[]).await;
    let watching = Watching { down_after_ms: 1_000, ..Watching::default() };
    let sentinels = Sentinels::start(&servers, &watching).await;
    let (redis, list) = (servers.list(), sentinels.list());
    let writers = Writers::start(&servers);
    let runs: [(&str, &[&str], &str); 4] = [
        ("deferred", &[], "1000"),
        ("assisted", &["--sentinels-down-after", "2s"], "2000"),
        ("deferred", &["--sentinels-down-after", "1s"], "1000"),
        ("assisted", &["--sentinels-down-after", "1500ms", "--sentinels-quorum", "3"], "1500"),
    ];
    for (mode, further, down_after_ms) in runs {
        let options = [&["--sentinels", &list, "--mode", mode][..], further].concat();
        let program = Program::look_after(&redis, &options);
        until("all Sentinels have its settings", async || {
            let has = |place| sentinels.field(place, "down-after-milliseconds") == down_after_ms;
            (0..3).all(has).then_some(())
        })
        .await;
        program.logged("healthy").await;
        writers.go_on(300).await;
        for place in 0..3 {
            sentinels.knows(place, 2, 2).await;
            assert_eq!(sentinels.named(place), servers.id(0), "{mode}");
        }
        program.terminate();
        let ended = program.ended().await;
        assert_eq!(ended.code, Some(0), "{mode}: {ended:?}");
    }
    for place in 0..3 {
        assert_eq!(sentinels.field(place, "quorum"), "3");
    }
    let heard = |channel| sentinels.heard(channel);
    for channel in ["+switch-master", "+try-failover", "+sdown", "-monitor"] {
        assert!(heard(channel).is_empty(), "{channel}: {}", sentinels.story());
    }
    servers.in_sync(0).await;
    let writes = writers.stop();
    assert!(Acknowledged::lost(&writes, &servers, 0).await.is_empty());
}

#[tokio::test]
async fn the_mode_of_the_last_start_says_who_promotes() {
    let mut servers = Servers::group(3, &[]).await;
    let sentinels =
        Sentinels::start(&servers, &Watching { down_after_ms: 1_500, ..Watching::default() }).await;
    let (redis, list) = (servers.list(), sentinels.list());
    let run = async |mode: &str| {
        let program = Program::look_after(&redis, &["--sentinels", &list, "--mode", mode]);
        program.logged("healthy").await;
        program
    };
    run("assisted").await.terminate();
    let program = run("deferred").await;
    let killed = Instant::now();
    servers.end(0).await;
    let next = until("the Sentinels switch", async || {
        let heard = sentinels.heard("+switch-master");
        (heard.len() >= 3 && heard[0].at > killed).then(|| sentinels.named(0))
    })
    .await;
    assert!(!sentinels.heard("+try-failover").is_empty(), "they began it: {}", sentinels.story());
    program.logged(&next).await;
    let place = (0..3).find(|place| servers.id(*place) == next).unwrap();
    servers.start(0, &[]).await;
    servers.in_sync(place).await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
    for of in 0..3 {
        sentinels.knows(of, 2, 2).await;
    }

    let (before, tried) = (Instant::now(), sentinels.heard("+try-failover").len());
    let program = run("assisted").await;
    servers.end(place).await;
    let last = until("a server is promoted", async || {
        let masters = servers.masters().await;
        masters.first().copied().filter(|_| masters.len() == 1)
    })
    .await;
    sentinels.all_told(&servers.id(last), before).await;
    program.logged("elected by").await;
    assert_eq!(sentinels.heard("+try-failover").len(), tried, "with their votes: {}", sentinels.story());
}
