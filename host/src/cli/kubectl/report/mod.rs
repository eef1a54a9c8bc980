//! `kubectl redis report`: a support bundle of one group, without its secrets. Reads only; what cannot be had
//! is named in the bundle.

mod bundle;
mod gather;
mod redact;

use super::cluster::Cluster;
use crate::cli::{Exit, print};
use bundle::{archive, files};
use gather::gather;
use k8s_openapi::jiff::Timestamp;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// Write a support bundle of a group: resource, objects, Pods, events, logs and decision, without secrets
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kubectl redis report example\n  kubectl redis report example --file \
                  bundle.tar.gz --since 24h\n\nValues of Secrets, passwords and what only users write (as \
                  arguments, variables and annotations) are removed. With the right to read the group's \
                  Secrets their values are removed wherever they stand; without it, what looks like one. \
                  Look at the files before you pass them on. What you have no right to read is named in its \
                  README.txt.")]
pub struct Args {
    /// The Redis or RedisFailover
    name: String,
    /// The file to write; one that exists is not changed [default: redis-NAMESPACE-NAME-TIME.tar.gz]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How far back the operators' logs go
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = crate::cli::settings::duration)]
    since: Duration,
}

pub async fn run(args: &Args, cluster: &Cluster) -> Result<u8, Exit> {
    let now = Timestamp::now();
    let gathered = gather(cluster, &args.name, args.since, now).await?;
    let stamp = now.strftime("%Y%m%dT%H%M%SZ");
    let folder = format!("redis-{}-{}-{stamp}", cluster.namespace, args.name);
    let path = args.file.clone().unwrap_or_else(|| format!("{folder}.tar.gz").into());
    let failed = |error: std::io::Error| Exit::Failed(format!("{}: {error}", path.display()));
    let made = archive(&folder, &files(&gathered), u64::try_from(now.as_second()).unwrap_or_default());
    let made = made.map_err(failed)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        // It says much about the group to others who use this machine.
        .mode(0o600)
        .open(&path)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Exit::Input(format!(
                "{} exists and is not changed: give another --file, or remove it",
                path.display()
            )),
            _ => failed(error),
        })?;
    file.write_all(&made).map_err(failed)?;
    print(&format!("{}: {} KiB\n", path.display(), made.len().div_ceil(1024)))?;
    gathered
        .missing
        .iter()
        .try_for_each(|why| print(&format!("not in it: {}\n", super::text::plain(why))))?;
    Ok(0)
}
