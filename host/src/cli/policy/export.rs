//! `policy export`: writes the embedded policy to a file that other hosts can load.

use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;

use crate::cli::{Exit, print};
use crate::policy::EMBEDDED;

/// Write the embedded policy, byte for byte, for other hosts
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  redis-operator policy export --output default.wasm")]
pub(super) struct Args {
    /// File for the component [default: standard output]
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
            return Err(Exit::Input("standard output is a terminal: name a file with --output".into()));
        }
        None => stdout()
            .lock()
            .write_all(EMBEDDED)
            .map_err(|error| Exit::Failed(format!("standard output: {error}")))?,
    }
    Ok(0)
}
