//! `redis-operator man`: the manual pages, one for each command, for those who package the program.

use super::{Cli, Exit, kubectl};
use clap::CommandFactory;
use std::path::PathBuf;

/// Write manual pages into a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator man ~/.local/share/man/man1")]
pub(super) struct Args {
    /// Directory, made if it does not exist
    directory: PathBuf,
}

pub(super) fn run(arguments: &Args) -> Result<u8, Exit> {
    let directory = &arguments.directory;
    let failed = |error: std::io::Error| Exit::Failed(format!("{}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    // The plugin's names have dashes here: `man kubectl-redis-status`.
    for command in [Cli::definition(), kubectl::Plugin::command().bin_name("kubectl-redis")] {
        clap_mangen::generate_to(command, directory).map_err(failed)?;
    }
    Ok(0)
}
