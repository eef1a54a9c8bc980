//! What a link sees of real servers: answers, silence, ends, logins.

use super::proxy::Proxy;
use super::rig::{Probed, Rig, SOON, free_port, link_settings};
use futures_util::future::BoxFuture;
use redis_operator::contract::{FailureKind, InstanceKind, Topology, Want};
use redis_operator::local::Signal;
use redis_operator::redis::{Dial, Endpoint, LinkEvent, LinkSettings, Probe, Stream, Tls};
use redis_operator::topology::{commands, standard_commands};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};

#[tokio::test]
async fn a_probe_returns_the_standard_replies_and_the_wanted_ones() {
    let rig = Rig::new();
    let server = rig.idle(&[]).await;
    let want = |command: &str| Want {
        topology: Topology::Replication,
        kind: InstanceKind::Redis,
        arguments: command.split(' ').map(str::to_owned).collect(),
    };
    let wants = [want("CONFIG GET min-replicas-*"), want("NONSENSE")];
    let probe = |wants| Arc::new(Probe::new(&commands(Topology::Replication, InstanceKind::Redis, wants)));
    let mut it = Probed::with(LinkSettings { probe: probe(&wants), ..link_settings(server.endpoint()) });
    let (first, replies) = it.answer().await;
    let asked: Vec<_> = replies.0.iter().map(|(command, _)| command.as_ref()).collect();
    let standard = standard_commands(InstanceKind::Redis);
    assert_eq!(asked, [standard, &["CONFIG GET min-replicas-*", "NONSENSE"]].concat());
    assert!(replies.text("INFO server").contains("run_id:"));
    assert!(replies.text("INFO replication").contains("role:slave"), "it started as a replica of itself");
    assert!(matches!(&replies.0[4].1, Ok(redis_operator::contract::Value::Nested(nested))
            if nested.resp.starts_with("*4\r\n")));
    assert_eq!(replies.0[5].1.as_ref().unwrap_err().kind, FailureKind::ErrorReply);
    it.link.set_probe(probe(&[]));
    let (second, replies) = it.answer().await;
    assert_eq!((first, replies.0.len()), (second, 4), "the connection is kept, the wanted commands are not");
}

/// A network whose connections take what is sent, and panic when they are read, as a decoder might.
#[derive(Debug)]
struct Panics;

impl Dial for Panics {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, std::io::Result<Box<dyn Stream>>> {
        let stream: Box<dyn Stream> = Box::new(tokio::io::join(Panics, tokio::io::sink()));
        Box::pin(async { Ok(stream) })
    }
}

impl AsyncRead for Panics {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        panic!("a decoder")
    }
}

#[tokio::test]
async fn a_panic_on_a_connection_is_a_failure_and_the_next_probe_dials() {
    let endpoint = Endpoint { host: "127.0.0.1".into(), port: free_port() };
    let settings = LinkSettings { network: Some(Arc::new(Panics)), ..link_settings(&endpoint) };
    let mut it = Probed::with(settings);
    for _ in 0..2 {
        let (kind, text) = it.failure().await;
        assert_eq!(kind, FailureKind::ProtocolError);
        assert!(text.contains("the operator panicked"), "{text}");
    }
}

#[tokio::test]
async fn the_death_of_a_server_is_seen_at_once_and_then_it_refuses() {
    let rig = Rig::new();
    let mut server = rig.idle(&[]).await;
    let mut it = Probed::new(server.endpoint());
    let (number, _) = it.answer().await;
    let killed = Instant::now();
    server.signal(Signal::Kill).unwrap();
    assert_eq!(it.event().await, LinkEvent::Closed { member: "it".into(), link: number });
    let took = killed.elapsed();
    println!("closed socket seen after {took:?}");
    assert!(took < Duration::from_millis(100), "{took:?}; 2.3 ms on a quiet machine");
    assert!(it.link.connection(number).is_none());
    server.ended().await.unwrap();
    let (kind, text) = it.failure().await;
    assert_eq!(kind, FailureKind::Refused);
    assert!(text.starts_with(&server.endpoint().to_string()), "{text}");
}

#[tokio::test]
async fn the_answer_to_the_probe_in_flight_is_the_first_sign_of_life_of_a_hung_server() {
    let rig = Rig::new();
    let server = rig.idle(&[]).await;
    let mut it = Probed::new(server.endpoint());
    let (number, _) = it.answer().await;
    server.signal(Signal::Stop).unwrap();
    it.link.probe();
    let asked = Instant::now();
    assert!(
        tokio::time::timeout(Duration::from_millis(700), it.next()).await.is_err(),
        "no answer, no failure, no end"
    );
    it.link.probe();
    let resumed = Instant::now();
    server.signal(Signal::Continue).unwrap();
    match it.event().await {
        LinkEvent::Answered { link, sent, .. } => {
            let took = resumed.elapsed();
            println!("first sign of life after {took:?}");
            assert!(link == number && sent <= asked, "the answer is to the old probe, on the old connection");
            assert!(took < Duration::from_millis(50), "{took:?}; under 1 ms on a quiet machine");
        }
        other => panic!("{other:?}"),
    }
    it.answer().await;
}

#[tokio::test]
async fn a_second_connection_to_a_hung_server_is_accepted_and_proves_nothing() {
    let rig = Rig::new();
    let server = rig.idle(&[]).await;
    let short = Duration::from_millis(20);
    let mut it = Probed::with(LinkSettings {
        dial_deadline: short,
        redial_after: short,
        ..link_settings(server.endpoint())
    });
    let (number, _) = it.answer().await;
    server.signal(Signal::Stop).unwrap();
    it.link.probe();
    let deadline = Instant::now() + SOON;
    // The hang limit has to pass: time itself is the condition.
    let failure = loop {
        it.link.probe();
        match tokio::time::timeout(Duration::from_millis(5), it.next()).await {
            Ok(Some(event)) => break event,
            Ok(None) | Err(_) => assert!(Instant::now() < deadline, "never dialled again"),
        }
    };
    assert!(
        matches!(&failure, LinkEvent::Failed { kind: FailureKind::TimedOut, text, .. }
            if text.contains("no reply within 20 ms")),
        "{failure:?}"
    );
    assert!(it.link.connection(number).is_some(), "the old connection stays open");
    server.signal(Signal::Continue).unwrap();
    loop {
        match it.event().await {
            LinkEvent::Answered { link, .. } => break assert!(it.link.connection(link).is_some()),
            LinkEvent::Failed { .. } => {}
            closed @ LinkEvent::Closed { .. } => panic!("{closed:?}"),
        }
    }
}

#[tokio::test]
async fn a_connection_that_died_without_a_sign_is_replaced_by_a_new_one() {
    let rig = Rig::new();
    let server = rig.idle(&[]).await;
    // A proxy that stops forwarding what it holds, and forwards what is new: a rebooted firewall.
    let proxy = Proxy::start(server.endpoint()).await;
    let short = Duration::from_millis(20);
    let mut it = Probed::with(LinkSettings {
        dial_deadline: SOON,
        redial_after: short,
        ..link_settings(&proxy.endpoint)
    });
    let (old, _) = it.answer().await;
    proxy.forget();
    let deadline = Instant::now() + SOON;
    let new = loop {
        it.link.probe();
        match tokio::time::timeout(Duration::from_millis(5), it.next()).await {
            Ok(Some(LinkEvent::Answered { link, .. })) => break link,
            Ok(other) => panic!("{other:?}"),
            Err(_) => assert!(Instant::now() < deadline, "never dialled again"),
        }
    };
    assert!(new > old && it.link.connection(old).is_none() && it.link.connection(new).is_some());
}

#[tokio::test]
async fn passwords_and_users_are_checked_with_the_first_probe() {
    let rig = Rig::new();
    let with_password = rig.idle(&["--requirepass", "right", "--user", "op", "on", ">pass", "+info"]).await;
    let at = with_password.endpoint();
    Probed::logged_in(at, None, "right", None).answer().await;
    Probed::logged_in(at, Some("op"), "pass", None).answer().await;
    for (mut wrong, words) in [
        (Probed::logged_in(at, None, "wrong", None), "check user and password"),
        (Probed::logged_in(at, Some("unknown"), "pass", None), "check user and password"),
        (Probed::new(at), "give a password"),
    ] {
        let (kind, text) = wrong.failure().await;
        assert!(
            kind == FailureKind::Unauthorized && text.contains(words) && !text.contains("wrong"),
            "{text}"
        );
        assert_eq!(wrong.failure().await.0, FailureKind::Unauthorized, "a further probe tries again");
    }
    let open = rig.idle(&[]).await;
    let (kind, text) = Probed::logged_in(open.endpoint(), None, "any", None).failure().await;
    assert!(kind == FailureKind::Unauthorized && text.contains("leave the password out"), "{text}");
}

#[tokio::test]
async fn tls_needs_the_right_authority_name_and_client_certificate() {
    let rig = Rig::new();
    let pem = |name: &str, text: String| {
        let path = rig.path(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), rcgen::Issuer::new(params, key))
    };
    let (ca_pem, ca) = authority("ours");
    let signed = |names: &[&str]| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params =
            rcgen::CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        (params.signed_by(&key, &ca).unwrap().pem(), key.serialize_pem())
    };
    let (ca_file, other_ca) = (pem("ca.pem", ca_pem), pem("other.pem", authority("theirs").0));
    let (server_pem, client_pem) = (signed(&["127.0.0.1", "redis.test"]), signed(&["op"]));
    let (chain, key) = (pem("server.pem", server_pem.0), pem("server.key", server_pem.1));
    let (client_chain, client_key) = (pem("client.pem", client_pem.0), pem("client.key", client_pem.1));

    let mut settings = rig.settings(None, &[]);
    let port = settings.endpoint.port.to_string();
    let tls = [
        "--port",
        "0",
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "yes",
        "--tls-cert-file",
        chain.to_str().unwrap(),
    ];
    let files = ["--tls-key-file", key.to_str().unwrap(), "--tls-ca-cert-file", ca_file.to_str().unwrap()];
    settings.arguments = tls.into_iter().chain(files).map(ToString::to_string).collect();
    let server = rig.start(settings).await;
    let with = |tls: Tls| Probed::with(LinkSettings { tls: Some(tls), ..link_settings(server.endpoint()) });
    let client = Some((client_chain.as_path(), client_key.as_path()));

    with(Tls::new(&ca_file, client, None).unwrap()).answer().await;
    with(Tls::new(&ca_file, client, Some("redis.test")).unwrap()).answer().await;
    for (tls, words) in [
        (Tls::new(&other_ca, client, None), "configure the CA that signed it"),
        (Tls::new(&ca_file, client, Some("other.test")), "the server name that it is issued for"),
        (Tls::new(&ca_file, None, None), "client certificate"),
    ] {
        let (kind, text) = with(tls.unwrap()).failure().await;
        assert!(kind == FailureKind::Unauthorized && text.contains(words), "{kind:?} {text}");
    }
    let (kind, text) = Probed::new(server.endpoint()).failure().await;
    assert!(
        matches!(kind, FailureKind::ProtocolError | FailureKind::Reset) && text.contains("TLS"),
        "without TLS: {kind:?} {text}"
    );
    let plain = rig.idle(&[]).await;
    let settings = LinkSettings {
        tls: Some(Tls::new(&ca_file, None, None).unwrap()),
        dial_deadline: Duration::from_millis(200),
        ..link_settings(plain.endpoint())
    };
    let (kind, text) = Probed::with(settings).failure().await;
    assert!(
        kind == FailureKind::TimedOut && text.contains("is it a plain port?"),
        "to a plain port: {kind:?} {text}"
    );

    assert!(Tls::new(&rig.path("missing"), None, None).unwrap_err().to_string().contains("missing"));
    assert!(Tls::new(&key, None, None).unwrap_err().to_string().contains("contains no certificate"));
}

#[tokio::test]
async fn a_server_of_ipv6_is_dialled_and_a_name_that_does_not_resolve_is_named() {
    let rig = Rig::new();
    let mut settings = rig.settings(None, &[]);
    settings.endpoint.host = "::1".into();
    let server = rig.start(settings).await;
    Probed::new(server.endpoint()).answer().await;
    assert_eq!(
        server.endpoint().resolve().await.unwrap(),
        [format!("[::1]:{}", server.endpoint().port).parse().unwrap()]
    );
    let (kind, text) =
        Probed::new(&Endpoint { host: "no-such-host.invalid".into(), port: free_port() }).failure().await;
    assert!(
        matches!(kind, FailureKind::Unreachable)
            && text.contains("no-such-host.invalid")
            && text.contains("does not resolve"),
        "{kind:?} {text}"
    );
}

#[tokio::test]
async fn a_server_with_too_many_clients_is_reported_as_such() {
    let rig = Rig::new();
    // It follows an address without a server, because a server that follows itself is its own client.
    let nowhere = Endpoint { host: "127.0.0.1".into(), port: free_port() };
    let server = rig.start(rig.settings(Some(&nowhere), &["--maxclients", "1"])).await;
    let deadline = Instant::now() + SOON;
    // The server frees the place of the readiness check a moment after that is gone.
    let mut first = Probed::new(server.endpoint());
    loop {
        first.link.probe();
        match first.event().await {
            LinkEvent::Answered { .. } => break,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    }
    let (kind, text) = Probed::new(server.endpoint()).failure().await;
    assert!(kind == FailureKind::Busy && text.contains("raise its maxclients"), "{kind:?} {text}");
}
