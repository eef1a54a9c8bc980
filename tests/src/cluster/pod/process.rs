//! A container's process: started by bubblewrap in a Pod's network with a file system of its own, signalled,
//! joined by further commands. Decides nothing: when to start and to end is the container's affair.

#![allow(unsafe_code, reason = "kill has no safe wrapper in std, tokio or libc")]

use crate::cluster::programs::workspace;
use anyhow::{Context, Result};
use redis_operator::local::Signal;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How one is started.
pub(super) struct Recipe {
    pub(super) words: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) working_dir: String,
    pub(super) hostname: String,
    pub(super) has_read_only_root: bool,
    /// Path inside, path on this machine, whether read-only. In the order of mounting.
    pub(super) mounts: Vec<(String, PathBuf, bool)>,
    pub(super) network: PathBuf,
    pub(super) log: PathBuf,
}

/// A running one. Dropping it kills it.
pub(super) struct Process {
    monitor: Child,
    /// The first process of the container, as this namespace counts.
    pid: i32,
}

impl Process {
    /// Starts it and waits until its own program runs, or has ended already.
    pub(super) async fn start(recipe: &Recipe) -> Result<Self> {
        let log = File::options().create(true).append(true).open(&recipe.log)?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", recipe.network.display())).arg("bwrap").args(SYSTEM);
        for path in SHARED {
            command.args(["--ro-bind-try", path, path]);
        }
        command.args(["--hostname", &recipe.hostname]);
        // What stands in for an image may be a script that starts a program of this clone by its path.
        let servers = workspace().join("target/servers");
        command.arg("--ro-bind-try").args([&servers, &servers]);
        for (inside, outside, is_read_only) in &recipe.mounts {
            command.arg(if *is_read_only { "--ro-bind" } else { "--bind" }).arg(outside).arg(inside);
        }
        command.args(["--dir", &recipe.working_dir, "--chdir", &recipe.working_dir]);
        if recipe.has_read_only_root {
            command.args(["--remount-ro", "/"]);
        }
        command.arg("--").args(&recipe.words).env_clear().envs(&recipe.environment);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let mut process = Self { monitor: command.spawn()?, pid: 0 };
        process.await_program().await?;
        Ok(process)
    }

    /// Finds the container's first process, and waits until bubblewrap has become it.
    async fn await_program(&mut self) -> Result<()> {
        let monitor = self.monitor.id().context("it was just started")?;
        while self.monitor.try_wait()?.is_none() {
            let children = std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children"))
                .unwrap_or_default();
            if let Some(pid) = children.split_whitespace().next().and_then(|word| word.parse().ok()) {
                let is_bwrap =
                    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path.ends_with("bwrap"));
                if !is_bwrap {
                    self.pid = pid;
                    return Ok(());
                }
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(())
    }

    /// As the container's own first process sees it.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Its end: the exit code, 128 and the signal when that ended it. May be asked again.
    pub(super) async fn ended(&mut self) -> io::Result<i32> {
        let status = self.monitor.wait().await?;
        Ok(status.code().unwrap_or(137))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // With the first process of a PID namespace go all others; the monitor by itself would leave them.
        if matches!(self.monitor.try_wait(), Ok(None)) {
            let _ = signal(self.pid, Signal::Kill);
        }
    }
}

/// Sends it to a container's first process.
pub(super) fn signal(pid: i32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Terminate => libc::SIGTERM,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    if pid <= 1 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: kill takes no pointers. The pid is positive and not our own: it addresses one process.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs a command in a running container: whether it exited with 0 in time. What is not done by then is
/// killed with its children.
pub(super) async fn exec(
    pid: i32,
    words: &[String],
    environment: &BTreeMap<String, String>,
    limit: Duration,
) -> Result<bool> {
    let mut command = Command::new("nsenter");
    command
        .args([
            "--target",
            &pid.to_string(),
            "--mount",
            "--net",
            "--pid",
            "--uts",
            "--ipc",
            "--root",
            "--wd",
            "--",
        ])
        .args(words);
    command
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = command.spawn()?;
    let group = i32::try_from(child.id().context("it was just started")?)?;
    if let Ok(status) = tokio::time::timeout(limit, child.wait()).await {
        return Ok(status?.success());
    }
    // SAFETY: kill takes no pointers. The process group was made for this command, and its leader is not
    // reaped.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    child.wait().await?;
    Ok(false)
}

/// The system as every container sees it, its own process tree and names, and its program as the tree's first
/// process.
const SYSTEM: [&str; 18] = [
    "--die-with-parent",
    "--unshare-pid",
    "--unshare-uts",
    "--unshare-ipc",
    "--as-pid-1",
    "--ro-bind",
    "/usr",
    "/usr",
    "--tmpfs",
    "/usr/local/bin",
    "--tmpfs",
    "/etc",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
    "--dir",
    "/tmp",
];

/// What programs need beside `/usr`: the rest of `/etc` is a container's own, so that volumes can be mounted
/// there.
const SHARED: &[&str] = &[
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/alternatives",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/ssl",
];

/// Between two looks at a starting process: far below what starting takes.
const PACE: Duration = Duration::from_millis(1);
