//! The Sentinel endpoint: how long a look-up takes, what a connection costs, and how soon subscribers hear of
//! a promotion. `cargo bench -p tests --bench face`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark: a failure ends it where it happens"
)]

use redis_model::World;
use redis_operator::contract::{Action, Evidence, Expectation, Observation, Promote, Promotion, Role, same};
use redis_operator::driver::Witness;
use redis_operator::face::{Entry, Face, FaceSettings, Faces};
use redis_operator::group::{Decided, Moment, Outcome, Report};
use redis_operator::guard::Picture;
use redis_operator::policy::{Policy, Sandbox, embedded};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() {
    // Cargo says `--bench`.
    let start = Instant::now();
    let listen = "127.0.0.1:0".parse().unwrap();
    let settings =
        FaceSettings { listen, entry: Entry::default(), announces_names: false, lists_peers: true };
    let faces = Faces::start().unwrap();
    let face = faces.open(settings, start).unwrap();
    let healthy = healthy();
    let shown: Vec<Witness> = (0..GROUPS).map(|group| face.show(&format!("group-{group}"), None)).collect();
    shown.iter().for_each(|witness| witness(Moment(1), &healthy));
    look_ups(&face);
    told(&face, &shown[0]);
    connections(&face);
    told_all(&face, &shown);
}

/// One connection, one look-up after the other.
fn look_ups(face: &Face) {
    let mut client = Client::to(face);
    let request = b"*3\r\n$8\r\nSENTINEL\r\n$23\r\nget-master-addr-by-name\r\n$7\r\ngroup-1\r\n";
    let times = (0..20_000).map(|_| {
        let begun = Instant::now();
        client.stream.write_all(request).unwrap();
        client.read();
        begun.elapsed()
    });
    show("look-up", times.collect());
}

/// From the reply to a promotion to the event on the wire.
fn told(face: &Face, witness: &Witness) {
    let mut client = Client::to(face);
    client.stream.write_all(b"SUBSCRIBE +switch-master\r\n").unwrap();
    client.read();
    let times = (0..2_000).map(|number| {
        let report = promoted(number);
        let begun = Instant::now();
        witness(Moment(2 + number), &report);
        client.read();
        begun.elapsed()
    });
    show("promotion to +switch-master", times.collect());
}

/// What so many connections take of memory, the kernel's buffers apart.
fn connections(face: &Face) {
    let before = resident_kib();
    let clients: Vec<Client> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = Client::to(face);
            client.stream.write_all(b"PING\r\n").unwrap();
            client.read();
            client
        })
        .collect();
    let of_clients = clients.len() * size_of::<Client>() / 1024;
    let taken = resident_kib() - before - of_clients;
    println!(
        "{CONNECTIONS} connections: {:.1} MiB, {:.2} KiB each",
        taken as f64 / 1024.0,
        taken as f64 / CONNECTIONS as f64
    );
}

/// All groups promote at once, and each has subscribers.
fn told_all(face: &Face, shown: &[Witness]) {
    let mut clients: Vec<Client> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut client = Client::to(face);
            client.stream.write_all(b"SUBSCRIBE +switch-master\r\n").unwrap();
            client.read();
            client
        })
        .collect();
    let report = promoted(0);
    let begun = Instant::now();
    shown.iter().for_each(|witness| witness(Moment(1_000_000), &report));
    // Each subscriber of the endpoint hears of all groups.
    for client in &mut clients {
        let mut told = String::new();
        while told.matches("+switch-master\r\n").count() < GROUPS {
            told.push_str(&client.read());
        }
    }
    println!(
        "{GROUPS} promotions to {SUBSCRIBERS} subscribers each: {:.1} ms",
        begun.elapsed().as_secs_f64() * 1e3
    );
}

struct Client {
    stream: TcpStream,
}

impl Client {
    fn to(face: &Face) -> Self {
        let stream = TcpStream::connect(face.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream }
    }

    /// What has arrived, and at least something.
    fn read(&mut self) -> String {
        let mut part = [0; 1 << 13];
        let count = self.stream.read(&mut part).unwrap();
        assert_ne!(count, 0, "the connection ended");
        String::from_utf8_lossy(&part[..count]).into_owned()
    }
}

fn healthy() -> Report {
    let observation: Observation = same(&World::healthy(3).observe());
    let policy = embedded(&Arc::new(Sandbox::new(None).unwrap())).unwrap();
    let decision = policy.decide(&observation).unwrap();
    Report::Decided(Box::new(Decided {
        observation: Arc::new(observation),
        decision: Arc::new(decision),
        digest: String::new(),
        picture: Arc::new(Picture::default()),
        is_news: true,
    }))
}

/// The other of two servers, in turn.
fn promoted(number: u64) -> Report {
    let id = if number.is_multiple_of(2) { "redis-2" } else { "redis-1" };
    let expect = Expectation { run_id: String::new(), role: Role::Replica, replid: None, node: None };
    let promote = Promote {
        id: id.into(),
        source: None,
        meant_for: id.into(),
        evidence: Evidence::Dead,
        how: Promotion::ReplicaofNoOne,
        completes: vec![],
        expect,
    };
    let outcome = Outcome::Done { note: String::new(), pause_us: None };
    Report::Finished { action: Action::Promote(promote), outcome, elapsed_us: 0, is_repeat: false }
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what}: median {:.3} ms, p99 {:.3} ms", at(0.5), at(0.99));
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let row = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    row.trim().split(' ').next().unwrap().parse().unwrap()
}

const GROUPS: usize = 1_000;
const SUBSCRIBERS: usize = 10;
const CONNECTIONS: usize = 9_000;
