//! The Sentinel endpoint: what it says beside a real Sentinel, what it tells subscribers, and real client
//! libraries that write through it while masters die.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

#[path = "face/clients.rs"]
mod clients;
#[path = "face/exporter.rs"]
mod exporter;
#[path = "face/wire.rs"]
mod wire;

use redis_operator::local::Signal;
use std::collections::BTreeSet;
use tests::real::{Program, Servers, Wire, until};
use wire::{event, free_address, texts};

/// A group, its operator, and the endpoint.
async fn served(count: usize, further: &[&str]) -> (Servers, Program, String) {
    let servers = Servers::group(count, &[]).await;
    let listen = free_address();
    let options = [&["--down-after", "500ms", "--sentinel-listen", &listen], further].concat();
    let program = Program::look_after(&servers.list(), &options);
    program.logged("healthy").await;
    (servers, program, listen)
}

fn master_of(listen: &str) -> Option<String> {
    let reply = Wire::to(listen)?.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]);
    let words = texts(&reply)?;
    Some(words.join(":"))
}

async fn is_named(listen: &str, master: &str) {
    until("the endpoint names it", async || (master_of(listen).as_deref() == Some(master)).then_some(()))
        .await;
}

#[tokio::test]
async fn fields_are_those_of_a_real_sentinel_in_its_order() {
    let (servers, _program, listen) = served(3, &[]).await;
    let sentinel = wire::Sentinel::start(&servers, 0);
    let mut both = [Wire::to(&listen).unwrap(), Wire::to(&sentinel.address).unwrap()];
    for command in ["MASTER", "REPLICAS"] {
        let mut names = vec![];
        for wire in &mut both {
            let reply = until("both know both replicas", async || {
                let reply = wire.ask(&["SENTINEL", command, "mymaster"]);
                let is_whole = wire::field(&reply, "num-slaves").is_none_or(|count| count == "2");
                (is_whole && wire::first_names(&reply).is_some()).then_some(reply)
            })
            .await;
            names.push(wire::first_names(&reply).unwrap());
        }
        assert_eq!(names[0], names[1], "SENTINEL {command}");
    }
    // Every row of INFO sentinel that a monitoring system reads.
    let rows = both.each_mut().map(|wire| {
        let redis::Value::BulkString(text) = wire.ask(&["INFO", "sentinel"]) else { panic!("no text") };
        let text = String::from_utf8(text).unwrap();
        let names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned());
        names.collect::<BTreeSet<String>>()
    });
    let missing: Vec<&String> = rows[1].difference(&rows[0]).collect();
    assert!(missing.is_empty() && rows[0].contains("master0"), "{missing:?}");
    let errors = both.each_mut().map(|wire| {
        [
            "SENTINEL MASTER nobody",
            "SENTINEL GET-MASTER-ADDR-BY-NAME nobody",
            "SENTINEL CKQUORUM nobody",
            "NOSUCH",
        ]
        .map(|command| wire.ask(&command.split(' ').collect::<Vec<_>>()))
        .map(|reply| match reply {
            redis::Value::ServerError(error) => error.code().to_owned(),
            other => format!("{other:?}"),
        })
    });
    assert_eq!(errors[0], errors[1]);
}

#[tokio::test]
async fn subscribers_are_told_of_a_failover_in_the_words_and_the_order_of_sentinel() {
    let (mut servers, _program, listen) = served(3, &[]).await;
    let was = servers.id(0);
    is_named(&listen, &was).await;
    let mut told = Wire::to(&listen).unwrap();
    told.ask(&["PSUBSCRIBE", "*"]);
    servers.end(0).await;
    let mut channels = vec![];
    let switched = loop {
        let words = event(&mut told);
        println!("{}: {}", words[2], words[3]);
        channels.push(words[2].clone());
        if words[2] == "+switch-master" {
            break words[3].clone();
        }
    };
    let words: Vec<&str> = switched.split(' ').collect();
    let [name, host, port, to_host, to_port] = words[..] else { panic!("five words: {switched}") };
    assert_eq!((name, format!("{host}:{port}")), ("mymaster", was.clone()));
    let master = format!("{to_host}:{to_port}");
    assert_eq!(master_of(&listen), Some(master.clone()), "named before it is told");
    let places = [
        "+odown",
        "+try-failover",
        "+elected-leader",
        "+selected-slave",
        "+promoted-slave",
        "+switch-master",
    ]
    .map(|channel| channels.iter().position(|told| told == channel));
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{channels:?}");
    servers.start(0, &[]).await;
    let mut later = BTreeSet::new();
    while !later.contains("+convert-to-slave") && !later.contains("+slave-reconf-done")
        || !later.contains("-sdown")
        || !later.contains("+failover-end")
    {
        let words = event(&mut told);
        println!("{}: {}", words[2], words[3]);
        later.insert(words[2].clone());
    }
    assert!(!later.contains("+switch-master"), "once");
}

#[tokio::test]
async fn sentinel_failover_is_a_handover_without_loss_where_it_is_allowed() {
    let (servers, _program, listen) = served(3, &[]).await;
    let mut wire = Wire::to(&listen).unwrap();
    let redis::Value::ServerError(refused) = wire.ask(&["SENTINEL", "FAILOVER", "mymaster"]) else {
        panic!()
    };
    assert!(refused.details().unwrap().contains("not allowed"), "{refused:?}");
    let (servers_2, _program_2, listen) = served(2, &["--sentinel-allow-failover"]).await;
    drop(servers);
    let writers = tests::real::Writers::start(&servers_2);
    writers.go_on(50).await;
    let mut wire = Wire::to(&listen).unwrap();
    assert_eq!(wire.ask(&["SENTINEL", "FAILOVER", "mymaster"]), redis::Value::Okay);
    is_named(&listen, &servers_2.id(1)).await;
    servers_2.in_sync(1).await;
    writers.go_on(50).await;
    let writes = writers.stop();
    assert_eq!(tests::real::Acknowledged::lost(&writes, &servers_2, 1).await.len(), 0);
}

#[tokio::test]
async fn a_client_that_must_log_in_sees_nothing_before_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    let (_servers, _program, listen) = served(2, &["--sentinel-password-file", file.to_str().unwrap()]).await;
    let code = |reply: redis::Value| match reply {
        redis::Value::ServerError(error) => error.code().to_owned(),
        other => format!("{other:?}"),
    };
    let mut wire = Wire::to(&listen).unwrap();
    for command in
        [&["SENTINEL", "MASTERS"][..], &["PING"], &["SUBSCRIBE", "+switch-master"], &["HELLO", "3"]]
    {
        assert_eq!(code(wire.ask(command)), "NOAUTH", "{command:?}");
    }
    assert_eq!(code(wire.ask(&["AUTH", "wrong"])), "WRONGPASS");
    assert_eq!(code(wire.ask(&["AUTH", "admin", "s3cret"])), "WRONGPASS");
    assert_eq!(wire.ask(&["AUTH", "s3cret"]), redis::Value::Okay);
    assert!(texts(&wire.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"])).is_some());
    let mut wire = Wire::to(&listen).unwrap();
    let redis::Value::Map(hello) = wire.ask(&["HELLO", "3", "AUTH", "default", "s3cret"]) else {
        panic!("a map")
    };
    assert!(format!("{hello:?}").contains("sentinel"), "{hello:?}");
}

#[tokio::test]
async fn with_a_certificate_look_ups_are_encrypted_and_a_renewed_one_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    let write = || {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(&chain, made.cert.pem()).unwrap();
    };
    write();
    let files = [chain.to_str().unwrap(), key.to_str().unwrap()];
    let further = ["--sentinel-tls-cert", files[0], "--sentinel-tls-key", files[1]];
    let (servers, _program, listen) = served(2, &further).await;
    let port = listen.rsplit_once(':').unwrap().1;
    for renewed in [false, true] {
        if renewed {
            write();
        }
        let output = std::process::Command::new("redis-cli")
            .args(["--tls", "--cacert", files[0], "-h", "localhost", "-p", port])
            .args(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let place: Vec<&str> = said.lines().collect();
        assert_eq!(place.join(":"), servers.id(0), "renewed: {renewed}");
    }
}

#[tokio::test]
async fn while_nobody_is_master_the_last_one_is_named_with_its_flags_and_then_nobody() {
    let (mut servers, _program, listen) = served(2, &["--min-size", "2"]).await;
    is_named(&listen, &servers.id(0)).await;
    servers.end(0).await;
    servers.end(1).await;
    let mut wire = Wire::to(&listen).unwrap();
    until("it is flagged", async || {
        let flags = wire::field(&wire.ask(&["SENTINEL", "MASTER", "mymaster"]), "flags")?;
        flags.contains("s_down").then_some(())
    })
    .await;
    assert_eq!(master_of(&listen), Some(servers.id(0)));
    until("nobody is named", async || master_of(&listen).is_none().then_some(())).await;
    let reply = wire.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]);
    assert_eq!(reply, redis::Value::Nil, "and no error, so that clients ask again");
}

/// Each client in a loop through kill, hang, handover, and the death of one endpoint.
#[tokio::test]
async fn client_libraries_write_on_through_every_change_of_master() {
    let clients = clients::installed();
    let (first, second) = (free_address(), free_address());
    let mut servers = Servers::group(3, &[]).await;
    let list = servers.list();
    let options = ["--down-after", "500ms", "--sentinel-listen", &first, "--sentinel-peers", &second];
    let operator = Program::look_after(&list, &[&options[..], &["--sentinel-allow-failover"]].concat());
    operator.logged("healthy").await;
    let other = Program::start(&[
        "face",
        "--redis",
        &list,
        "--down-after",
        "500ms",
        "--sentinel-listen",
        &second,
        "--sentinel-peers",
        &first,
    ]);
    is_named(&second, &servers.id(0)).await;
    let mut writing: Vec<clients::Writing> =
        clients.iter().map(|client| client.start(&format!("{second},{first}"))).collect();
    clients::all_go_on(&mut writing, "at first").await;

    servers.end(0).await;
    let master = servers.settled().await;
    is_named(&second, &servers.id(master)).await;
    clients::all_go_on(&mut writing, "after a kill").await;
    servers.start(0, &[]).await;
    servers.in_sync(master).await;

    servers.signal(master, Signal::Stop);
    until("another one is named", async || master_of(&first).filter(|named| *named != servers.id(master)))
        .await;
    clients::all_go_on(&mut writing, "after a hang").await;
    servers.signal(master, Signal::Continue);
    let master = servers.settled().await;
    is_named(&second, &servers.id(master)).await;
    clients::all_go_on(&mut writing, "with all back").await;

    let kept = writing.iter().map(|client| client.acknowledged().len()).collect::<Vec<_>>();
    assert_eq!(Wire::to(&first).unwrap().ask(&["SENTINEL", "FAILOVER", "mymaster"]), redis::Value::Okay);
    until("another one is named", async || master_of(&first).filter(|named| *named != servers.id(master)))
        .await;
    clients::all_go_on(&mut writing, "after a handover").await;
    let master = servers.settled().await;
    is_named(&second, &servers.id(master)).await;

    drop(other);
    servers.end(master).await;
    let master = servers.settled().await;
    clients::all_go_on(&mut writing, "after one endpoint and a master died").await;
    for (client, from) in writing.iter_mut().zip(kept) {
        let keys = client.acknowledged();
        println!("{}: {} writes, {} of them since the handover", client.name, keys.len(), keys.len() - from);
        client.stop();
    }
    assert!(servers.size(master).await > 0);
}
