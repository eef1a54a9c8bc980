//! TLS between the operator, servers and Sentinels: an authority of the servers, and one of the Sentinels.

use redis_operator::local::free_ports;
use std::path::Path;
use std::time::Duration;
use tests::real::{AS_MASTER, Encrypted, Program, Sentinels, Servers, Watching, Writers, until};

/// An authority, and a certificate that it signed: their files, `NAME-ca.pem`, `NAME.pem`, `NAME.key`.
fn certify(dir: &Path, name: &str) -> String {
    let file = |ending: &str| dir.join(format!("{name}{ending}"));
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, format!("the authority of {name}"));
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    std::fs::write(file("-ca.pem"), &pem).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let signed = own.signed_by(&key, &rcgen::Issuer::new(authority, authority_key)).unwrap();
    std::fs::write(file(".pem"), signed.pem()).unwrap();
    std::fs::write(file(".key"), key.serialize_pem()).unwrap();
    pem
}

async fn replicas(servers: &Servers, master: usize) -> Option<usize> {
    servers.info(master, "replication").await?.row("connected_slaves").parse().ok()
}

#[tokio::test]
async fn sentinels_that_speak_tls_alone_vote_and_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let authorities = certify(dir.path(), "servers") + &certify(dir.path(), "sentinels");
    std::fs::write(file("all-ca.pem"), authorities).unwrap();
    let mut servers = Servers::planned(3, &[]);
    let ports = free_ports(u64::from(servers.endpoint(0).port) << 5, 3).unwrap();
    for (place, port) in ports.iter().enumerate() {
        let (cert, key, all) = (file("servers.pem"), file("servers.key"), file("all-ca.pem"));
        let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &all];
        servers.arguments(place, &files);
        servers.arguments(place, &["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
        servers.arguments(place, &["--tls-replication", "yes"]);
        // Not as replicas of themselves: over TLS that hangs for seconds on its own handshake (tried on 7.0).
        servers.arguments(place, &AS_MASTER);
    }
    servers.start_all().await;
    for place in 1..3 {
        servers.say(place, &["REPLICAOF", "127.0.0.1", &ports[0].to_string()]).await;
    }
    until("both replicas are in sync", async || (replicas(&servers, 0).await == Some(2)).then_some(())).await;
    let (cert, key, all) = (file("sentinels.pem"), file("sentinels.key"), file("all-ca.pem"));
    let files = [("cert", cert), ("key", key), ("ca-cert", all)];
    let files = files.map(|(of, path)| format!("tls-{of}-file {path}")).to_vec();
    let tls = Some(Encrypted { files, master_port: ports[0] });
    let sentinels = Sentinels::start(&servers, &Watching { tls, ..Watching::default() }).await;

    let redis = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
    let (list, of_servers, of_sentinels) =
        (sentinels.tls_list(), file("servers-ca.pem"), file("sentinels-ca.pem"));
    let options = ["--tls-ca", &of_servers, "--sentinels", &list, "--sentinels-tls"];
    let once = async |further: &[&str]| {
        Program::run(&[&["static", "--once", "--redis", &redis][..], &options, further].concat()).await
    };
    let ended = once(&[]).await;
    assert!(ended.is_bad_input(&["is not trusted", "configure the CA"]), "{ended:?}");
    let options = [&options[..], &["--sentinels-tls-ca", &of_sentinels]].concat();
    let in_the_clear = ["static", "--once", "--redis", &redis, "--tls-ca", &of_servers, "--sentinels", &list];
    let ended = Program::run(&in_the_clear).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");

    let program = Program::look_after(&redis, &options);
    program.logged("healthy").await;
    let writers = Writers::start(&servers);
    writers.go_on(100).await;
    let killed = servers.kill(0);
    let first = writers.first_elsewhere(0, killed).await;
    servers.end(0).await;
    let told = sentinels.all_told(&format!("127.0.0.1:{}", ports[first.place]), killed).await;
    println!("write {:?}, all told {:?}", first.at - killed, told - killed);
    program.logged(" of 3 Sentinels in epoch").await;
    until("the other replica follows", async || {
        (replicas(&servers, first.place).await == Some(1)).then_some(())
    })
    .await;
    // Longer than a Sentinel needs to reach the new master, and to notice that it could not.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(sentinels.heard("+switch-master").len(), 3, "{}", sentinels.story());
    assert!(sentinels.heard("+try-failover").is_empty(), "{}", sentinels.story());
}
