//! A real OCI registry on loopback: Debian's docker-registry, as `tests/setup` installs it.

#![allow(
    clippy::unwrap_used,
    reason = "the steps that tests share: a failure here is a failed test, at the line that says so"
)]

use crate::real::until;
use redis_operator::local::free_ports;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpStream;

/// A running registry. Dropping it ends it.
pub struct Registry {
    child: Child,
    /// Host and port.
    pub address: String,
    dir: tempfile::TempDir,
}

/// The user of a registry with a login.
pub const USER: &str = "user";
/// Its password.
pub const PASSWORD: &str = "sesame";
/// Hash of the password, by bcrypt with five rounds.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O";

impl Registry {
    /// Whether this machine has one.
    pub fn is_possible() -> bool {
        Path::new(PROGRAM).exists()
    }

    /// One without a login, and without TLS.
    pub async fn start() -> Self {
        Self::with("", "").await
    }

    /// One for [`USER`] only, over TLS. Clients trust [`Registry::authority`].
    pub async fn start_closed() -> Self {
        let tls = ", tls: {certificate: PATH/cert.pem, key: PATH/key.pem}";
        Self::with("auth: {htpasswd: {realm: here, path: PATH/htpasswd}}\n", tls).await
    }

    /// The certificate to trust, for `SSL_CERT_FILE`.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    async fn with(auth: &str, tls: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        static STARTED: AtomicU64 = AtomicU64::new(0);
        // Tests of one program look at the same time.
        let seed = u64::from(std::process::id()) ^ (STARTED.fetch_add(1, Ordering::Relaxed) << 32);
        let address = format!("127.0.0.1:{}", free_ports(seed, 1).unwrap()[0]);
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {path}/blobs}}}}\nhttp: {{addr: \
             \"{address}\"{}}}\n",
            tls.replace("PATH", &path)
        );
        let certificate = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(dir.path().join("cert.pem"), certificate.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
        std::fs::write(dir.path().join("htpasswd"), format!("{USER}:{HASH}\n")).unwrap();
        std::fs::write(dir.path().join("config.yml"), config + &auth.replace("PATH", &path)).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["serve", &format!("{path}/config.yml")]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        until("a registry that listens", async || TcpStream::connect(&address).await.ok()).await;
        Self { child, address, dir }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const PROGRAM: &str = "/usr/bin/docker-registry";
