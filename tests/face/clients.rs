//! Client libraries in processes of their own, each with a program that writes through Sentinel: see
//! `tests/face/clients`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tests::real::until;

/// A client library, and the program that uses it.
pub struct Client {
    name: &'static str,
    program: PathBuf,
}

/// Those that are installed, and the one that comes with the tests.
pub fn installed() -> Vec<Client> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients/bin");
    let client = |name| Client { name, program: folder.join(name) };
    let all = ["redis-py", "ioredis", "node-redis", "go-redis", "jedis", "redis-rb"].map(client);
    let own = Client { name: "redis-rs", program: env!("CARGO_BIN_EXE_redis-rs").into() };
    all.into_iter().chain([own]).filter(|client| client.program.exists()).collect()
}

/// A client that writes.
pub struct Writing {
    pub name: &'static str,
    child: Child,
    keys: Arc<Mutex<Vec<String>>>,
}

impl Client {
    /// Writes through these endpoints.
    pub fn start(&self, endpoints: &str) -> Writing {
        let mut command = Command::new(&self.program);
        command.args([endpoints, "mymaster", self.name, ""]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let keys = Arc::new(Mutex::new(vec![]));
        let (lines, kept) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(&keys));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Writing { name: self.name, child, keys }
    }
}

impl Writing {
    /// The keys whose writes were acknowledged.
    pub fn acknowledged(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }

    /// Ends it.
    pub fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until each has written twenty times more.
pub async fn all_go_on(clients: &mut [Writing], when: &str) {
    for client in clients {
        let from = client.keys.lock().unwrap().len();
        until(&format!("{} writes on {when}", client.name), async || {
            (client.keys.lock().unwrap().len() >= from + 20).then_some(())
        })
        .await;
    }
}
