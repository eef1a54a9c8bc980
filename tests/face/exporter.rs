//! redis_exporter at the Sentinel endpoint: a monitoring system that knows Sentinel reads the same of a face.

use super::{is_named, served};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tests::real::until;

/// A running exporter. Dropping it ends it.
struct Exporter {
    child: Child,
    address: String,
}

impl Exporter {
    /// Of that endpoint. None: it has not been set up here.
    fn start(endpoint: &str) -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/redis_exporter");
        if !program.exists() {
            println!("skipped: redis_exporter is missing: tests/setup/setup.sh exporter");
            return None;
        }
        let address = super::wire::free_address();
        let mut command = Command::new(program);
        command.args(["--redis.addr", &format!("redis://{endpoint}"), "--web.listen-address", &address]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Self { child, address })
    }

    /// The samples of Sentinel, each under its name with labels. None: it does not answer yet.
    fn scrape(&self) -> Option<BTreeMap<String, String>> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let lines =
            answer.lines().filter(|line| line.starts_with("redis_sentinel_") || line.starts_with("redis_up"));
        let samples = lines.filter_map(|line| line.rsplit_once(' '));
        Some(samples.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn redis_exporter_reads_master_and_replicas_and_follows_a_failover() {
    let (mut servers, _program, listen) = served(3, &[]).await;
    is_named(&listen, &servers.id(0)).await;
    let Some(exporter) = Exporter::start(&listen) else { return };
    let shows = async |master: &str, replicas_ok: &str| {
        let of = |what: &str| {
            format!("redis_sentinel_master_{what}{{master_address=\"{master}\",master_name=\"mymaster\"}}")
        };
        until(&format!("it shows {master} with {replicas_ok} replicas"), async || {
            let samples = exporter.scrape()?;
            let is = |name: &str, value: &str| samples.get(name).is_some_and(|sample| sample == value);
            let is_so = is("redis_up", "1")
                && is("redis_sentinel_masters", "1")
                && is(&of("slaves"), "2")
                && is(&of("ok_slaves"), replicas_ok)
                && is(&of("sentinels"), "1")
                && is(&of("ok_sentinels"), "1");
            is_so.then_some(())
        })
        .await;
    };
    shows(&servers.id(0), "2").await;
    servers.end(0).await;
    let master = servers.settled().await;
    shows(&servers.id(master), "1").await;
    servers.start(0, &[]).await;
    servers.in_sync(master).await;
    shows(&servers.id(master), "2").await;
}
