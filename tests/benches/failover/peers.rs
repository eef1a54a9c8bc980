//! The controllers that are measured beside the operator: an ideal one, and three real Redis Sentinels.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Duration;
use tests::real::{Sentinels, Servers, Watching};

/// The floor: one observer without policy, quorum, lease or record. It sleeps on the master's socket; on its
/// end it confirms by a refused connect, reads all replicas until their links are down, promotes the most
/// advanced, re-points the rest.
pub struct Ideal(Option<JoinHandle<()>>);

impl Ideal {
    /// Watches the master at place 0.
    pub fn start(servers: &Servers) -> Self {
        let address = |place| servers.id(place);
        let master = TcpStream::connect(address(0)).unwrap();
        let replicas =
            (1..servers.count()).map(|place| Talk(TcpStream::connect(address(place)).unwrap())).collect();
        let to = address(0);
        Self(Some(std::thread::spawn(move || take_over(master, &to, replicas))))
    }
}

impl Drop for Ideal {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            thread.join().unwrap();
        }
    }
}

struct Talk(TcpStream);

impl Talk {
    fn say(&mut self, command: &str) {
        self.0.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.0.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    fn bulk(&mut self) -> String {
        let length: usize = self.line()[1..].parse().unwrap();
        let mut text = vec![0; length + 2];
        self.0.read_exact(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn take_over(mut master: TcpStream, address: &str, mut replicas: Vec<Talk>) {
    let mut byte = [0];
    // Blocks until the master's end, in whatever way that shows.
    while master.read(&mut byte).is_ok_and(|count| count > 0) {}
    while TcpStream::connect(address).is_ok() {}
    let offsets: Vec<u64> = loop {
        replicas.iter_mut().for_each(|replica| replica.say("INFO replication"));
        let replies: Vec<String> = replicas.iter_mut().map(Talk::bulk).collect();
        if replies.iter().all(|text| text.contains("master_link_status:down")) {
            let offset = |text: &String| {
                text.lines().find_map(|line| line.strip_prefix("slave_repl_offset:")?.parse().ok())
            };
            break replies.iter().map(|text| offset(text).unwrap()).collect();
        }
    };
    let best = (0..replicas.len()).max_by_key(|place| offsets[*place]).unwrap();
    replicas[best].say("REPLICAOF NO ONE");
    assert_eq!(replicas[best].line(), "+OK");
    let port = replicas[best].0.peer_addr().unwrap().port();
    for (_, replica) in replicas.iter_mut().enumerate().filter(|(place, _)| *place != best) {
        replica.say(&format!("REPLICAOF 127.0.0.1 {port}"));
        assert_eq!(replica.line(), "+OK");
    }
}

/// Three Sentinels with the least down-after at which they do not fail over falsely on a busy machine.
pub async fn sentinels(servers: &Servers) -> Sentinels {
    Sentinels::start(servers, &Watching { down_after_ms: 1_000, ..Watching::default() }).await
}

/// The time that a controller gets to know the group by.
pub const WARM_UP: Duration = Duration::from_millis(1000);
