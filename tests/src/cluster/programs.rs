//! Where the programs of a cluster are on this machine. Finds, and starts with a log of their own; installs
//! nothing: that is `tests/setup/setup.sh cluster`.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// The control plane's programs.
pub(super) struct Programs {
    components: PathBuf,
    etcd: PathBuf,
}

impl Programs {
    /// Those of `KUBEBUILDER_ASSETS`, if complete, else those that were built here.
    ///
    /// # Errors
    /// When one is missing, with the way out.
    pub(super) fn find() -> Result<Self> {
        for tool in ["bwrap", "ip", "nft", "nsenter"] {
            in_path(tool).with_context(|| format!("{tool} is missing: {WAY_OUT}"))?;
        }
        if let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from)
            && COMPONENTS.iter().chain(&["etcd"]).all(|name| assets.join(name).is_file())
        {
            return Ok(Self { etcd: assets.join("etcd"), components: assets });
        }
        let components = workspace().join("target/cluster");
        if let Some(missing) = COMPONENTS.iter().find(|name| !components.join(name).is_file()) {
            bail!("{missing} is missing: {WAY_OUT}");
        }
        Ok(Self { components, etcd: in_path("etcd").with_context(|| format!("etcd is missing: {WAY_OUT}"))? })
    }

    /// One of them, by its name.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        if name == "etcd" { self.etcd.clone() } else { self.components.join(name) }
    }

    /// Starts one, with its output in `<logs>/<name>.log`. It ends with its handle.
    pub(super) fn start<A: AsRef<OsStr>>(&self, name: &str, arguments: &[A], logs: &Path) -> Result<Child> {
        let log = File::options().create(true).append(true).open(logs.join(format!("{name}.log")))?;
        let mut command = Command::new(self.path(name));
        command
            .args(arguments)
            .current_dir(logs)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        command.spawn().with_context(|| name.to_owned())
    }
}

/// The clone that this was built in.
pub(super) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// A program of the system. None: not installed.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

const COMPONENTS: &[&str] = &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];

const WAY_OUT: &str = "run tests/setup/setup.sh cluster (make test does)";
