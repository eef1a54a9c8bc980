//! The operator as its users have it: the built binary, as a child process.

use super::until;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A running `redis-operator`. Dropping it kills it.
pub struct Program {
    child: Child,
    dir: tempfile::TempDir,
}

/// What a program that ended has left.
#[derive(Debug)]
pub struct Ended {
    /// Exit code. None: ended by a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub error: String,
}

/// The binary of the profile that this very program was built in, built if need be.
pub fn build_program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // target/<profile>/deps/<this>
        let profile_dir = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
        let profile = match profile_dir.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        // The same packages as for this program, so that no dependency is built twice with other features.
        let words = [
            "build",
            "--quiet",
            "--locked",
            "--profile",
            profile,
            "-p",
            "tests",
            "-p",
            "redis-operator",
            "-p",
            "simulator",
            "--bin",
            "redis-operator",
        ];
        let mut cargo = Command::new(env!("CARGO"));
        // Dependencies are rebuilt when the variables that cargo sets for a package are not what they were
        // built with.
        let of_a_package = |name: &str| {
            name == "OUT_DIR" || name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_")
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_a_package)) {
            cargo.env_remove(name);
        }
        let built = cargo.args(words).current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
        assert!(built.success(), "redis-operator is not built");
        profile_dir.join("redis-operator")
    })
}

impl Program {
    /// Starts it.
    pub fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name| std::fs::File::create(dir.path().join(name)).unwrap();
        let mut command = Command::new(build_program());
        command.args(arguments).stdin(Stdio::null()).stdout(file("out")).stderr(file("error"));
        command.env_remove("REDIS_OPERATOR_PASSWORD").env_remove("RUST_LOG");
        Self { child: command.spawn().unwrap(), dir }
    }

    /// `static` over so many servers.
    pub fn look_after(redis: &str, further: &[&str]) -> Self {
        Self::start(&[&["static", "--redis", redis], further].concat())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that it started.
    pub fn children(&self) -> Vec<String> {
        let listed = Command::new("pgrep").args(["-P", &self.pid().to_string()]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap().success());
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.text("error")
    }

    /// Waits until a word is in its log.
    pub async fn logged(&self, word: &str) {
        until(&format!("{word} in the log"), async || self.log().contains(word).then_some(())).await;
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let status = until("the end of the program", async || self.child.try_wait().unwrap()).await;
        Ended { code: status.code(), out: self.text("out"), error: self.text("error") }
    }

    /// Waits for its end, however long it takes.
    pub async fn wait(&mut self) {
        while self.child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Runs it to its end.
    pub async fn run(arguments: &[&str]) -> Ended {
        Self::start(arguments).ended().await
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the program logged:\n{}", self.log());
        }
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ended {
    /// Exit code 2 and one line with these words, as bad input has it.
    pub fn is_bad_input(&self, words: &[&str]) -> bool {
        let line = self.error.trim_end();
        self.code == Some(2)
            && line.starts_with("error: ")
            && line.lines().count() == 1
            && words.iter().all(|word| line.contains(word))
    }
}
