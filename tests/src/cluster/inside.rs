//! The way into a network, mount and process namespace of our own, in which all of a cluster lives: fixed
//! ports cannot collide, addresses are free, and with its first process, which ends when this one does, every
//! other one ends too. Changes nothing outside.

use anyhow::{Context, Result, bail};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Command, Stdio};

/// Starts this program again inside, unless it is there: returns inside only, once `/run` is an empty file
/// system of its own. What the door makes, outside, is to be had inside by [`listener`].
///
/// # Errors
/// In one sentence, why this machine cannot do it.
pub fn enter(door: impl FnOnce() -> io::Result<Option<TcpListener>>) -> Result<()> {
    // Both: an inherited variable alone must not make us take the machine's own network for ours.
    if std::env::var_os(MARK).is_some() && parent_id() == 1 {
        run("mount", &["-t", "tmpfs", "-o", "mode=755", "none", "/run"])?;
        std::fs::create_dir("/run/netns")?;
        return run("ip", &["link", "set", "lo", "up"]);
    }
    let way = WAYS
        .iter()
        .find(|way| is_open(way))
        .context("namespaces need root, sudo without a password, or user namespaces")?;
    let stdin = door()?.map_or_else(Stdio::null, |listener| OwnedFd::from(listener).into());
    let environment = std::env::vars_os()
        .filter(|(name, _)| PASSED_ON.iter().any(|passed| name == passed))
        .map(|(name, value)| {
            let mut pair = name;
            pair.push("=");
            pair.push(value);
            pair
        });
    let mut words = way.iter().chain(UNSHARE);
    let mut command = Command::new(words.next().expect("a way has a first word"));
    // What we become is the first to unshare, unless sudo stays in between.
    let pid = if way.contains(&"sudo") { 0 } else { std::process::id() };
    command.args(words).args(FIRST).arg("env").args(environment).arg(format!("{MARK}={pid}"));
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).stdin(stdin);
    Err(command.exec()).context("unshare")
}

/// What [`enter`] was given. A socket stays in the network that it was made in, so it is the door between the
/// two.
///
/// # Errors
/// When nothing was given.
pub fn listener() -> Result<TcpListener> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.local_addr().context("standard input is no listener")?;
    Ok(listener)
}

/// The pid, outside, of a process in this network. None: unknown.
pub fn outside_pid() -> Option<u32> {
    std::env::var(MARK).ok()?.parse().ok().filter(|pid| *pid > 0)
}

/// Runs a program of the system to its end.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| program.to_owned())?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

const MARK: &str = "REDIS_OPERATOR_TEST_INSIDE";

/// What reaches the inside, since sudo passes on nothing by itself.
const PASSED_ON: &[&str] = &[
    "PATH",
    "HOME",
    "TERM",
    "REDIS_SERVER",
    "KUBEBUILDER_ASSETS",
    "RUST_BACKTRACE",
    "CARGO",
    "CARGO_HOME",
    "RUSTUP_HOME",
];

/// The powers to use, in this order: those of this process, of a user namespace, of root.
const WAYS: &[&[&str]] = &[&["env"], &["unshare", "--map-root-user"], &["sudo", "-n"]];

const UNSHARE: &[&str] = &[
    "unshare",
    "--net",
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--fork",
    "--kill-child=SIGKILL",
    "--mount-proc",
];

/// The first process inside: a shell that waits for us, and for every orphan, as an init does. An orphan that
/// is never waited for would hold up the end of its container for ever.
const FIRST: &[&str] = &["sh", "-c", "\"$@\"; exit $?", "sh"];

fn is_open(way: &[&str]) -> bool {
    let mut words = way.iter().chain(UNSHARE).chain(&["ip", "link", "add", "br0", "type", "bridge"]);
    let mut command = Command::new(words.next().expect("a way has a first word"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
