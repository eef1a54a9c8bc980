//! `demo`: the operator at work on real servers under load. This file is the script; `story` waits and
//! prints, `load` writes, `swap` changes the policy file, `summary` counts.

mod beside;
mod load;
mod screen;
mod sentinel;
mod story;
mod summary;
mod swap;

use super::local_group::{Interrupts, LocalServers};
use super::{Environment, Exit};
use screen::{Screen, Tone};
use std::time::Duration;
use story::{Kind, Story};

/// See failover under load on servers of its own: a killed master, a switchover, a policy swap, in half a
/// minute
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Example:\n  redis-operator demo --replicas 3\n\nExit codes: 0 the group ended \
                  healthy and every acknowledged write was checked, 1 otherwise.")]
pub struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    servers: LocalServers,
}

/// Another demo.
#[derive(Debug, clap::Subcommand)]
enum Other {
    Sentinel(sentinel::Args),
}

pub async fn run(args: &Args, environment: &Environment) -> Result<u8, Exit> {
    if let Some(Other::Sentinel(args)) = &args.other {
        return sentinel::run(args, environment).await;
    }
    if args.servers.replicas == 0 {
        return Err(Exit::Input("--replicas: give 1 or more: without a replica there is no failover".into()));
    }
    let mut interrupts = Interrupts::open()?;
    let screen = Screen::new(environment);
    let mut story = tokio::select! {
        story = Story::open(&args.servers, screen, environment) => story?,
        () = interrupts.recv() => return Err(interrupted()),
    };
    let shown = tokio::select! {
        shown = show(&mut story) => shown,
        () = interrupts.recv() => Err(interrupted()),
    };
    story.stop().await;
    match shown {
        Ok(()) => Ok(0),
        // The end was not visible to the user.
        Err(Exit::Done) => Ok(1),
        Err(stop) => Err(stop),
    }
}

async fn show(story: &mut Story) -> Result<(), Exit> {
    story.title("Real Redis servers on loopback, nothing on disk; there is no master yet")?;
    story.begin().await?;
    story.start_to_write()?;
    story.pass(Duration::from_secs(1)).await?;

    story.title("SIGKILL of the master, under load")?;
    let dead = story.kill_master().await?;
    story.changed(Kind::Killed).await?;
    story.pass(Duration::from_millis(500)).await?;

    story.title("The killed server comes back, empty")?;
    story.revive(&dead).await?;

    story.title("A planned switchover, under load")?;
    story.switch_over()?;
    story.changed(Kind::Switchover).await?;
    story.healthy().await?;

    story.title("The policy file is truncated, as by an interrupted copy")?;
    story.break_policy().await?;
    story.title("The policy file is replaced: the same engine with a note in it, and so another digest")?;
    story.swap_policy().await?;

    story.title("SIGKILL again, under the new policy")?;
    let dead = story.kill_master().await?;
    story.changed(Kind::Killed).await?;
    story.revive(&dead).await?;
    story.pass(Duration::from_millis(500)).await?;

    story.title("Every acknowledged write is checked")?;
    story.summarise().await
}

fn interrupted() -> Exit {
    Exit::Failed("interrupted: the servers are stopped and their directory is deleted".into())
}
