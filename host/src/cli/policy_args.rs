//! The options of every command that choose its policy.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Environment, Exit};
use crate::conformance::prove;
use crate::policy::{Cache, Loaded, Sandbox, Stop, embedded, load_file};

/// The policy that decides, and the cache of its compiled form.
#[derive(Clone, Debug, clap::Args)]
pub struct PolicyChoice {
    /// Component file of the policy [default: the embedded policy]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Private directory (mode 0700) for compiled policies [default: redis-operator/policies in the user's
    /// cache]
    #[arg(long, value_name = "DIR", conflicts_with = "no_policy_cache")]
    pub policy_cache: Option<PathBuf>,
    /// Compile policies every time, without a cache
    #[arg(long)]
    pub no_policy_cache: bool,
    /// Use a policy even if `policy check` fails it; the guard still checks every plan
    #[arg(long)]
    pub unproven_policy: bool,
}

impl PolicyChoice {
    /// The sandbox that runs policies. A cache directory from an option must work; the default one is used if
    /// it works.
    ///
    /// # Errors
    /// [`Exit::Input`] for an unusable cache directory, [`Exit::Failed`] for a machine that cannot run
    /// WebAssembly.
    pub fn sandbox(&self, environment: &Environment) -> Result<Arc<Sandbox>, Exit> {
        let cache = match (&self.policy_cache, &environment.cache_dir) {
            _ if self.no_policy_cache => None,
            (Some(dir), _) => Some(
                Cache::open(dir.clone())
                    .map_err(|error| Exit::Input(format!("{error}: name another with --policy-cache")))?,
            ),
            (None, Some(dir)) => match Cache::open(dir.clone()) {
                Ok(cache) => Some(cache),
                Err(error) => {
                    tracing::debug!(%error, "policy cache not used");
                    None
                }
            },
            (None, None) => None,
        };
        Sandbox::new(cache).map(Arc::new).map_err(|error| Exit::Failed(error.to_string()))
    }

    /// Loads the chosen policy: the embedded one into this process, a file's into a worker process.
    ///
    /// # Errors
    /// [`Exit::Input`] if the file is no policy.
    pub fn load(&self, sandbox: &Arc<Sandbox>) -> Result<Loaded, Exit> {
        match &self.policy {
            Some(path) => load_file(sandbox, path).map_err(|error| Exit::Input(error.to_string())),
            None => embedded(sandbox)
                .map(Loaded::Embedded)
                .map_err(|error| Exit::Failed(format!("embedded policy: {error}"))),
        }
    }

    /// Loads the chosen policy to decide for servers, after the conformance check that precedes every swap.
    /// The embedded policy was checked when it was built.
    ///
    /// # Errors
    /// [`Exit::Input`] if the file is no policy, or one that fails the check without `--unproven-policy`.
    pub fn load_proven(&self, sandbox: &Arc<Sandbox>) -> Result<Loaded, Exit> {
        let policy = self.load(sandbox)?;
        if self.policy.is_some() && !self.unproven_policy {
            prove(&policy.on_trial(&Stop::default())).map_err(|why| {
                Exit::Input(format!(
                    "policy {}: it fails its check: {why}: `redis-operator policy check` shows all failures, \
                     --unproven-policy uses it nevertheless",
                    self.source()
                ))
            })?;
            policy.keep(sandbox);
        }
        Ok(policy)
    }

    /// The file of the policy, or "embedded".
    pub fn source(&self) -> String {
        self.policy.as_ref().map_or_else(|| "embedded".into(), |path| path.display().to_string())
    }
}
