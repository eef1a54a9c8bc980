//! Simulated Redis servers for load: groups of three in one process, with commands on its input. Not Redis:
//! no data, no replication stream; see `tests::members`.

use anyhow::{Context, Result, bail};
use tests::members::Fleet;

const USAGE: &str = "usage: members GROUPS NETWORK PORT WRITTEN_BYTES_PER_SECOND; then lines: mark, kill \
                     PERCENT, revive, told";

fn main() -> Result<()> {
    let numbers: Vec<usize> =
        std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>().context(USAGE)?;
    let [groups, network, port, written] = numbers[..] else { bail!(USAGE) };
    let (lines_in, mut lines) = tokio::sync::mpsc::unbounded_channel();
    // Reading blocks, and the members must not wait for it.
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| lines_in.send(line))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let mut fleet = Fleet::start(groups, network.try_into()?, port.try_into()?, written.try_into()?)
            .context("a listener for each member")?;
        println!("ready");
        while let Some(line) = lines.recv().await {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["mark"] => fleet.mark(),
                ["kill", percent] => _ = fleet.kill(percent.parse()?),
                ["revive"] => fleet.revive()?,
                ["told"] => {}
                _ => bail!(USAGE),
            }
            println!("{}", serde_json::to_string(&fleet.told())?);
        }
        Ok(())
    })
}
