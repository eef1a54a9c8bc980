//! Replies of a Sentinel, read; and a real Sentinel.

use redis::Value;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use tests::real::{SOON, Servers, Wire};

/// An address on loopback where nobody listens.
pub fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The words of the next event.
pub fn event(told: &mut Wire) -> Vec<String> {
    texts(&told.next_reply()).unwrap()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An array of texts. None: it is none.
pub fn texts(value: &Value) -> Option<Vec<String>> {
    let Value::Array(values) = value else { return None };
    values.iter().map(text).collect()
}

/// The first server of a reply, as its names and values.
fn first(value: &Value) -> Option<Vec<String>> {
    let Value::Array(values) = value else { return None };
    match values.first()? {
        Value::Array(_) => texts(&values[0]),
        _ => texts(value),
    }
}

/// The names of the fields of the first server.
pub fn first_names(value: &Value) -> Option<Vec<String>> {
    let words = first(value)?;
    Some(words.into_iter().step_by(2).collect())
}

/// A field of the first server.
pub fn field(value: &Value, name: &str) -> Option<String> {
    let words = first(value)?;
    words.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone())
}

/// A real Sentinel.
pub struct Sentinel {
    child: Child,
    pub address: String,
    _dir: tempfile::TempDir,
}

impl Sentinel {
    /// Watches that master.
    pub fn start(servers: &Servers, master: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (address, at) = (free_address(), servers.endpoint(master));
        let port = address.rsplit_once(':').unwrap().1;
        let file = dir.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster {} {} 1\n\
             sentinel down-after-milliseconds mymaster 60000\n",
            dir.path().display(),
            at.host,
            at.port
        );
        std::fs::write(&file, text).unwrap();
        let child =
            Command::new("redis-server").arg(&file).arg("--sentinel").stdout(Stdio::null()).spawn().unwrap();
        let sentinel = Self { child, address, _dir: dir };
        let begun = std::time::Instant::now();
        while TcpStream::connect(&sentinel.address).is_err() {
            assert!(begun.elapsed() < SOON, "the Sentinel does not listen");
            std::thread::yield_now();
        }
        sentinel
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
