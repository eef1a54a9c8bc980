//! One member's own fault is no verdict on its group: another server at its address, a name that does not
//! resolve, another password.

use tests::real::{AS_MASTER, Operator, Program, Servers, Terms, until};

async fn is_promoted(servers: &Servers, place: usize) {
    until("the replica that is left is promoted", async || {
        (servers.info(place, "replication").await?.row("role") == "master").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_cluster_node_at_a_dead_replicas_address_holds_up_no_failover() {
    let mut servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 100, 50).await;
    let operator = Operator::start(&servers, Terms::default()).await;
    operator.healthy(&servers.id(0)).await;
    servers.end(2).await;
    let bus = Servers::planned(1, &[]).endpoint(0).port.to_string();
    servers.start(2, &[&AS_MASTER[..], &["--cluster-enabled", "yes", "--cluster-port", &bus]].concat()).await;
    operator
        .decided("the stranger is named", |decided| {
            decided.decision.reason == "replica-missing"
                && decided.decision.explanation.contains("cluster mode")
        })
        .await;
    servers.end(0).await;
    is_promoted(&servers, 1).await;
    assert_eq!(servers.held(1, "k", 100).await, 100);
    // A later start of the operator is no different.
    drop(operator);
    let program = Program::look_after(&servers.list(), &[]);
    program.logged("cluster mode").await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_cluster_node_at_the_dead_masters_address_is_no_reason_to_wait() {
    let mut servers = Servers::group(3, &[]).await;
    servers.fill(0, "k", 100, 50).await;
    servers.end(0).await;
    // Its replicas must not have copied the stranger before the operator looks.
    let bus = Servers::planned(1, &[]).endpoint(0).port.to_string();
    let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--repl-diskless-sync-delay", "600"];
    servers.start(0, &[&AS_MASTER[..], &cluster].concat()).await;
    let _operator = Operator::start(&servers, Terms::default()).await;
    let new = until("a replica is promoted", async || {
        for place in 1..3 {
            if servers.info(place, "replication").await?.row("role") == "master" {
                return Some(place);
            }
        }
        None
    })
    .await;
    assert_eq!(servers.held(new, "k", 100).await, 100);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named_and_the_rest_is_looked_after() {
    let mut servers = Servers::group(3, &[]).await;
    let list = format!("{},no-such-host.invalid:6379", servers.list());
    let program = Program::look_after(&list, &[]);
    program.logged("name does not resolve").await;
    program.logged("replica-missing").await;
    assert!(program.log().contains("no-such-host.invalid:6379"), "{}", program.log());
    servers.end(0).await;
    let master = servers.settled().await;
    servers.start(0, &[]).await;
    servers.in_sync(master).await;
}

/// Sets another password on all, and ends the operator's connections.
async fn rotate(servers: &mut Servers, to: &str) {
    for place in 0..servers.count() {
        for directive in ["masterauth", "requirepass"] {
            servers.say(place, &["CONFIG", "SET", directive, to]).await;
        }
    }
    servers.log_in_as("default", to);
    for place in 0..servers.count() {
        servers.say(place, &["CLIENT", "KILL", "TYPE", "normal"]).await;
    }
}

#[tokio::test]
async fn a_changed_password_file_is_read_and_until_then_the_password_is_what_is_named() {
    let mut servers = Servers::planned(3, &["--requirepass", "old", "--masterauth", "old"]);
    servers.log_in_as("default", "old");
    servers.start_all().await;
    servers.attach_all().await;
    servers.in_sync(0).await;
    let file = servers.dir().join("password");
    std::fs::write(&file, "old\n").unwrap();
    let program = Program::look_after(&servers.list(), &["--password-file", file.to_str().unwrap()]);
    program.logged("healthy").await;
    rotate(&mut servers, "new").await;
    program.logged("locked-out").await;
    std::fs::write(&file, "new\n").unwrap();
    program.logged("credentials changed").await;
    servers.end(0).await;
    let master = servers.settled().await;
    servers.start(0, &["--requirepass", "new", "--masterauth", "new"]).await;
    servers.in_sync(master).await;
    // The other order: the file first, as a mounted Secret has it.
    std::fs::write(&file, "newest\n").unwrap();
    rotate(&mut servers, "newest").await;
    servers.end(master).await;
    assert_ne!(servers.settled().await, master);
}

/// An authority of its own, and a certificate for 127.0.0.1 that it signed: PEM of both, and the key.
fn issued(name: &str) -> (String, String, String) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, name);
    let (authority_key, own_key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let ca = authority.self_signed(&authority_key).unwrap().pem();
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let signed = own.signed_by(&own_key, &rcgen::Issuer::new(authority, authority_key)).unwrap();
    (ca, signed.pem(), own_key.serialize_pem())
}

#[tokio::test]
async fn a_changed_authority_is_read_and_the_former_one_is_still_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (one, other) = (issued("one"), issued("another"));
    let all = put("all.pem", &(one.0.clone() + &other.0));
    let ca = put("ca.pem", &one.0);
    let (cert, key) = (put("cert.pem", &one.1), put("key.pem", &one.2));
    let mut servers = Servers::planned(2, &[]);
    for place in 0..2 {
        let port = servers.endpoint(place).port.to_string();
        servers.arguments(place, &["--port", "0", "--tls-port", &port, "--tls-ca-cert-file", &all]);
        servers.arguments(place, &["--tls-cert-file", &cert, "--tls-key-file", &key]);
        servers.arguments(place, &["--tls-auth-clients", "no", "--tls-replication", "yes"]);
        // Not as replicas of themselves: over TLS that hangs for seconds on its own handshake (tried on 7.0).
        servers.arguments(place, &AS_MASTER);
    }
    servers.start_all().await;
    let program = Program::look_after(&servers.list(), &["--tls-ca", &ca]);
    program.logged("verdict=\"healthy\"").await;
    put("ca.pem", &other.0);
    program.logged("credentials changed").await;
    // The second server gets a certificate of the new authority; the first keeps its own.
    let (cert, key) = (put("cert-2.pem", &other.1), put("key-2.pem", &other.2));
    servers.end(1).await;
    servers.start(1, &["--tls-cert-file", &cert, "--tls-key-file", &key]).await;
    until("healthy again", async || {
        let log = program.log();
        let changed = log.find("credentials changed")?;
        let missing = changed + log[changed..].find("replica-missing")?;
        log[missing..].find("verdict=\"healthy\"").map(drop)
    })
    .await;
}
