//! `redis-operator completions`: the completion script of a shell.

use super::{Cli, Exit, print};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator completions bash > \
                        ~/.local/share/bash-completion/completions/redis-operator")]
pub(super) struct Args {
    /// Shell to complete for
    shell: clap_complete::Shell,
}

pub(super) fn run(arguments: &Args) -> Result<u8, Exit> {
    // Into memory first: the generator panics if its writer fails, as with a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::definition(), "redis-operator", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
