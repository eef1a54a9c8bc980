//! The built binary: what a user types, what it says, and its exit codes.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tests::policies::noted;
use tests::real::{AS_MASTER, Program, Servers, until};

#[tokio::test]
async fn static_replaces_a_killed_master() {
    let mut servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 100, 50).await;
    let program = Program::look_after(&servers.list(), &[]);
    program.logged("healthy").await;
    servers.end(0).await;
    let master = servers.settled().await;
    servers.start(0, &[]).await;
    servers.in_sync(master).await;
    assert_eq!(servers.held(0, "k", 100).await, 100);
}

/// As a crash in the midst of a write of an earlier version leaves it, or a downgrade.
#[tokio::test]
async fn a_state_file_that_is_not_understood_is_set_aside_and_its_successor_is_private() {
    let servers = Servers::group(3, &[]).await;
    let (state, record) = (servers.dir().join("state.json"), servers.dir().join("record.jsonl"));
    let mode = |path: &Path| std::fs::metadata(path).map(|file| file.permissions().mode() & 0o777).ok();
    for (number, content) in ["", r#"{"of a later version": 1}"#].iter().enumerate() {
        std::fs::write(&state, content).unwrap();
        std::fs::set_permissions(&state, Permissions::from_mode(0o644)).unwrap();
        let (state_path, record_path) = (state.to_str().unwrap(), record.to_str().unwrap());
        let further = ["--state", state_path, "--record", record_path];
        let program = Program::look_after(&servers.list(), &further);
        program.logged("state file not read and set aside: the record is unknown").await;
        let aside = servers.dir().join(format!("state.json.unread-{}", number + 1));
        assert_eq!(std::fs::read_to_string(aside).unwrap(), *content);
        program.logged("healthy").await;
        until("the record is written", async || mode(&state)).await;
        assert_eq!((mode(&state), mode(&record)), (Some(0o600), Some(0o600)));
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.pid())).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "no core dump: {core}");
        program.terminate();
        assert_eq!(program.ended().await.code, Some(0));
    }
    let stored = std::fs::read_to_string(&state).unwrap();
    assert!(stored.contains(&servers.id(0)), "{stored}");
}

#[tokio::test]
async fn one_pass_exits_with_a_code_for_its_verdict() {
    let servers = Servers::group(3, &[]).await;
    let list = servers.list();
    let once = async |further: &[&str]| {
        Program::run(&[&["static", "--redis", &list, "--once"], further].concat()).await.code
    };
    assert_eq!(once(&[]).await, Some(0), "healthy");
    let said = Program::run(&["static", "--redis", &list, "--once"]).await.out;
    assert!(said.starts_with("healthy: healthy: ") && said.lines().count() == 1, "one line: {said:?}");
    servers.say(1, &["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(once(&["--dry-run"]).await, Some(10), "it would act");
    assert_eq!(servers.info(1, "replication").await.unwrap().row("master_port"), "1", "and did nothing");
    assert_eq!(once(&[]).await, Some(10), "it acted");
    servers.in_sync(0).await;
    assert_eq!(once(&[]).await, Some(0));
}

#[tokio::test]
async fn switchover_hands_over_and_prints_the_pause() {
    let servers = Servers::group(3, &[]).await;
    let (list, to) = (servers.list(), servers.id(2));
    let ended = Program::run(&["switchover", "--redis", &list, "--to", &to]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("writes paused for "), "{ended:?}");
    servers.in_sync(2).await;
    let again = Program::run(&["switchover", "--redis", &list, "--to", &to]).await;
    assert!(again.code == Some(0) && again.out.contains("already"), "{again:?}");
    let nowhere = Program::run(&["switchover", "--redis", &list, "--to", "127.0.0.1:1"]).await;
    assert!(nowhere.is_bad_input(&["127.0.0.1:1", "--to"]), "{nowhere:?}");
}

#[tokio::test]
async fn a_wrong_password_is_one_line() {
    let mut servers = Servers::planned(2, &["--requirepass", "right", "--masterauth", "right"]);
    servers.log_in_as("default", "right");
    servers.start_all().await;
    servers.attach_all().await;
    let (list, file) = (servers.list(), servers.dir().join("password"));
    let once = async || {
        Program::run(&["static", "--redis", &list, "--once", "--password-file", file.to_str().unwrap()]).await
    };
    std::fs::write(&file, "wrong\n").unwrap();
    let ended = once().await;
    assert!(ended.is_bad_input(&["127.0.0.1", "password"]), "{ended:?}");
    std::fs::write(&file, "right\n").unwrap();
    assert_eq!(once().await.code, Some(0));
    let none = Program::run(&["static", "--redis", &list, "--once"]).await;
    assert!(none.is_bad_input(&["password"]), "{none:?}");
}

#[tokio::test]
async fn the_documented_acl_user_is_enough_for_a_failover() {
    let file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/acl/operator.acl")).unwrap();
    let user =
        file.lines().find_map(|line| line.strip_prefix("user ")).unwrap().replace(">change-me", ">secret");
    let arguments: Vec<&str> = ["--user"].into_iter().chain(user.split(' ')).collect();
    let mut servers = Servers::group(3, &arguments).await;
    let password = servers.dir().join("password");
    std::fs::write(&password, "secret").unwrap();
    let login = ["--user", "redis-operator", "--password-file", password.to_str().unwrap()];
    let program = Program::look_after(&servers.list(), &login);
    program.logged("healthy").await;
    servers.end(0).await;
    let master = servers.settled().await;
    servers.start(0, &[]).await;
    servers.in_sync(master).await;
    let (list, to) = (servers.list(), servers.id(0));
    drop(program);
    let ended = Program::run(&[&["switchover", "--redis", &list, "--to", &to][..], &login].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.error.contains("NOPERM"), "{ended:?}");
    servers.in_sync(0).await;
}

#[tokio::test]
async fn a_server_that_is_no_redis_of_a_group_is_bad_input() {
    // An HTTP server.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut question = [0; 4096];
                // The client may be gone.
                let _ = stream.read(&mut question).await;
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            });
        }
    });
    let ended = Program::run(&["static", "--once", "--redis", &format!("127.0.0.1:{port}")]).await;
    assert!(ended.is_bad_input(&[&format!("127.0.0.1:{port}"), "HTTP"]), "{ended:?}");
    serve.abort();
    // Redis in cluster mode.
    let mut servers = Servers::planned(2, &["--cluster-enabled", "yes"]);
    // Its bus would take port + 10000, where an outgoing connection may be.
    let bus = servers.endpoint(1).port.to_string();
    servers.start(0, &[&["--cluster-port", &bus][..], &AS_MASTER].concat()).await;
    let ended = Program::run(&["static", "--once", "--redis", &servers.id(0)]).await;
    assert!(ended.is_bad_input(&[&servers.id(0), "cluster"]), "{ended:?}");
    // No server.
    let nowhere = Servers::planned(2, &[]).list();
    let ended = Program::run(&["static", "--once", "--redis", &nowhere]).await;
    assert!(ended.is_bad_input(&["--redis"]), "{ended:?}");
    // The same server twice, under two names.
    let ended = Program::run(&["static", "--once", "--redis", "127.0.0.1:6379,localhost:6379"]).await;
    assert!(ended.is_bad_input(&["twice"]), "{ended:?}");
    let ended = Program::run(&["static", "--once", "--redis", "no-such-host.invalid:6379"]).await;
    assert!(ended.is_bad_input(&["no-such-host.invalid"]), "{ended:?}");
}

#[tokio::test]
async fn parameters_that_the_policy_refuses_start_no_operator() {
    let servers = Servers::group(2, &[]).await;
    for (parameters, word) in [(r#"{"restart_wait":60}"#, "restart_wait"), ("{", "parameters")] {
        let ended = Program::run(&["static", "--redis", &servers.list(), "--parameters", parameters]).await;
        assert!(ended.is_bad_input(&["--parameters", word]), "{parameters}: {ended:?}");
    }
}

#[tokio::test]
async fn tls_works_end_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority of its own name");
    let authority_key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(file("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let own_key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let signed = own.signed_by(&own_key, &rcgen::Issuer::new(authority, authority_key)).unwrap();
    std::fs::write(file("cert.pem"), signed.pem()).unwrap();
    std::fs::write(file("key.pem"), own_key.serialize_pem()).unwrap();
    let (cert, key, ca) = (file("cert.pem"), file("key.pem"), file("ca.pem"));
    let mut servers = Servers::planned(2, &[]);
    for place in 0..2 {
        let port = servers.endpoint(place).port.to_string();
        let tls = [
            "--port",
            "0",
            "--tls-port",
            &port,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
        ];
        servers.arguments(place, &tls);
        servers.arguments(place, &["--tls-auth-clients", "no", "--tls-replication", "yes"]);
        // Not as replicas of themselves: over TLS that hangs for seconds on its own handshake (tried on 7.0).
        servers.arguments(place, &AS_MASTER);
    }
    servers.start_all().await;
    let list = servers.list();
    let once = async |further: &[&str]| {
        Program::run(&[&["static", "--redis", &list, "--once"], further].concat()).await
    };
    let ended = once(&["--tls-ca", &ca]).await;
    assert!(matches!(ended.code, Some(10 | 11)), "{ended:?}");
    let until_healthy =
        until("healthy over TLS", async || (once(&["--tls-ca", &ca]).await.code == Some(0)).then_some(()));
    until_healthy.await;
    let in_the_clear = once(&[]).await;
    assert!(in_the_clear.code == Some(2), "{in_the_clear:?}");
}

#[tokio::test]
async fn a_policy_is_swapped_while_it_runs_and_a_broken_file_changes_nothing() {
    let mut servers = Servers::group(3, &[]).await;
    let file = servers.dir().join("policy.wasm");
    let put = |bytes: &[u8]| {
        let new = servers.dir().join("policy.new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    let good = redis_operator::policy::EMBEDDED.to_vec();
    put(&good);
    // The checks take long in a build without optimisation, and do not matter for what is swapped or refused.
    let program =
        Program::look_after(&servers.list(), &["--policy", file.to_str().unwrap(), "--unproven-policy"]);
    program.logged("healthy").await;
    put(b"no component");
    program.logged("policy refused").await;
    // The same policy in another file: a custom section of one name and no content at its end.
    put(&[&good[..], &[0x00, 0x02, 0x01, b'x']].concat());
    program.logged("policy activated").await;
    servers.end(0).await;
    let master = servers.settled().await;
    servers.start(0, &[]).await;
    servers.in_sync(master).await;
}

/// The embedded policy decides in place of the file's, whose process hangs at the wrong moment.
#[tokio::test]
async fn a_master_and_the_worker_of_the_policy_end_at_once_and_the_failover_costs_one_line_more() {
    for how in ["-STOP", "-KILL"] {
        let mut servers = Servers::group(3, &[]).await;
        let file = servers.dir().join("policy.wasm");
        std::fs::write(&file, noted(9)).unwrap();
        let program =
            Program::look_after(&servers.list(), &["--policy", file.to_str().unwrap(), "--unproven-policy"]);
        program.logged("healthy").await;
        // The process that compiled the policy may still be ending.
        until("one worker", async || (program.children().len() == 1).then_some(())).await;
        let worker = program.children();
        assert!(std::process::Command::new("kill").args([how, &worker[0]]).status().unwrap().success());
        servers.end(0).await;
        servers.settled().await;
        until("another worker", async || {
            (program.children().len() == 1 && program.children() != worker).then_some(())
        })
        .await;
        assert_eq!(program.log().matches("policy fault").count(), 1, "{how}: {}", program.log());
    }
}

#[tokio::test]
async fn it_ends_in_order_at_a_signal() {
    let servers = Servers::group(2, &[]).await;
    let program = Program::look_after(&servers.list(), &[]);
    program.logged("healthy").await;
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    servers.in_sync(0).await;
}
