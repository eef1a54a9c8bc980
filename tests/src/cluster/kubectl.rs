//! kubectl, with all rights in the cluster.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Its path, and its kubeconfig.
#[derive(Clone, Debug)]
pub(super) struct Kubectl {
    pub(super) program: PathBuf,
    pub(super) kubeconfig: PathBuf,
    /// Where it keeps what it has learned of the cluster. None: where it does for its user.
    pub(super) home: Option<PathBuf>,
}

impl Kubectl {
    /// What it prints.
    pub(super) async fn run(&self, arguments: &[&str], stdin: &str) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .envs(self.home.iter().map(|home| ("HOME", home)))
            .args(arguments)
            .kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().context("piped")?.write_all(stdin.as_bytes()).await?;
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
