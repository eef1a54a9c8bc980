//! `policy export`: the policy that this program carries, as a file that any other host loads.

use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;

use crate::cli::{Exit, print};
use crate::policy::EMBEDDED;

/// Write the policy that this program carries, byte by byte, for other hosts
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator policy export --output default.wasm")]
pub(super) struct Args {
    /// Where to put the component [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: &Args) -> Result<u8, Exit> {
    match &arguments.output {
        Some(path) => {
            std::fs::write(path, EMBEDDED)
                .map_err(|error| Exit::Input(format!("{}: {error}", path.display())))?;
            print(&format!("{}: {} bytes\n", path.display(), EMBEDDED.len()))?;
        }
        None if stdout().is_terminal() => {
            return Err(Exit::Input("standard output is a terminal; name a file with --output".into()));
        }
        None => stdout()
            .lock()
            .write_all(EMBEDDED)
            .map_err(|error| Exit::Failed(format!("standard output: {error}")))?,
    }
    Ok(0)
}
