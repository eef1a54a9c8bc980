//! The options by which every command chooses its policy.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Environment, Exit};
use crate::conformance::prove;
use crate::policy::{Cache, Component, Sandbox, embedded, load_file};

/// Which policy decides, and where its compiled form is kept.
#[derive(Clone, Debug, clap::Args)]
pub struct PolicyChoice {
    /// Component file of the policy [default: the one that this program carries]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Private directory (mode 0700) for compiled policies [default: redis-operator/policies in the user's
    /// cache]
    #[arg(long, value_name = "DIR", conflicts_with = "no_policy_cache")]
    pub policy_cache: Option<PathBuf>,
    /// Compile policies anew every time
    #[arg(long)]
    pub no_policy_cache: bool,
    /// Let a policy decide for servers although `policy check` fails it; the guard still looks at every plan
    #[arg(long)]
    pub unproven_policy: bool,
}

impl PolicyChoice {
    /// Where policies run. A cache that was asked for must work; the default one is only used if it does.
    ///
    /// # Errors
    /// [`Exit::Input`] for an unusable cache directory, [`Exit::Failed`] for a machine that runs no
    /// WebAssembly.
    pub fn sandbox(&self, environment: &Environment) -> Result<Arc<Sandbox>, Exit> {
        let cache = match (&self.policy_cache, &environment.cache_dir) {
            _ if self.no_policy_cache => None,
            (Some(dir), _) => Some(
                Cache::open(dir.clone())
                    .map_err(|error| Exit::Input(format!("{error}; name another with --policy-cache")))?,
            ),
            (None, Some(dir)) => match Cache::open(dir.clone()) {
                Ok(cache) => Some(cache),
                Err(error) => {
                    tracing::debug!(%error, "policies are compiled anew every time");
                    None
                }
            },
            (None, None) => None,
        };
        Sandbox::new(cache).map(Arc::new).map_err(|error| Exit::Failed(error.to_string()))
    }

    /// The chosen policy.
    ///
    /// # Errors
    /// [`Exit::Input`] when the file is no policy.
    pub fn load(&self, sandbox: &Arc<Sandbox>) -> Result<Component, Exit> {
        match &self.policy {
            Some(path) => load_file(sandbox, path).map_err(|error| Exit::Input(error.to_string())),
            None => embedded(sandbox).map_err(|error| Exit::Failed(format!("embedded policy: {error}"))),
        }
    }

    /// The chosen policy, to decide for servers: loaded, and proven as it would be before a swap. The
    /// embedded one was proven when it was built.
    ///
    /// # Errors
    /// [`Exit::Input`] when the file is no policy, or one that fails its proof and was not asked for by
    /// `--unproven-policy`.
    pub fn load_proven(&self, sandbox: &Arc<Sandbox>) -> Result<Component, Exit> {
        let component = self.load(sandbox)?;
        if self.policy.is_some() && !self.unproven_policy {
            prove(&component).map_err(|why| {
                Exit::Input(format!(
                    "policy {}: it fails its proof: {why}; `redis-operator policy check` shows all, \
                     --unproven-policy runs it all the same",
                    self.source()
                ))
            })?;
        }
        Ok(component)
    }

    /// Where the policy comes from, for people.
    pub fn source(&self) -> String {
        self.policy.as_ref().map_or_else(|| "embedded".into(), |path| path.display().to_string())
    }
}
