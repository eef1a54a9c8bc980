//! What came of the demo: how long each change of master took, and which acknowledged writes are missing.
//! Pure.

use super::load::{Acknowledged, Ledger};
use super::screen::ms;
use crate::report::MasterChange;
use std::fmt::{Display, Formatter, Result};
use std::time::{Duration, Instant};

/// One change of master.
pub struct Chapter {
    /// What brought it about.
    pub kind: Kind,
    /// The moment of the fault, or of the request.
    pub began: Instant,
    /// The first acknowledgement of the new master.
    pub first_write: Instant,
    /// Its phases.
    pub takeover: MasterChange,
}

/// What brings a change of master about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL.
    Killed,
    /// A request.
    Switchover,
}

/// The table, as text.
pub struct Summary<'a> {
    /// In their order.
    pub chapters: &'a [Chapter],
    /// What was acknowledged.
    pub ledger: &'a Ledger,
    /// Those of it that the last master does not have.
    pub lost: &'a [Acknowledged],
}

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let names =
            self.chapters.iter().map(|chapter| chapter.name().chars().count()).max().unwrap_or_default();
        writeln!(
            f,
            "\n  {:<names$}  {:>7} {:>7} {:>8} {:>9} {:>12} {:>6}",
            "milliseconds", "detect", "decide", "promote", "re-point", "first write", "lost"
        )?;
        for (number, chapter) in self.chapters.iter().enumerate() {
            let [detect, decide, promote, repoint] = chapter
                .takeover
                .phases_us()
                .map(|(_, us)| us.map_or_else(|| "-".into(), |us| ms(Duration::from_micros(us))));
            let (first_write, lost) = (ms(self.without_writes(chapter)), self.lost_by(number).count());
            writeln!(
                f,
                "  {:<names$}  {detect:>7} {decide:>7} {promote:>8} {repoint:>9} {first_write:>12} {lost:>6}",
                chapter.name()
            )?;
        }
        writeln!(
            f,
            "\n  detect: from the fault to its first sign; decide: to the order; promote: to its \
             confirmation; re-point: from there until"
        )?;
        writeln!(
            f,
            "  the last replica was told; first write: from the fault (of a switchover: from the last write \
             on the old master) to the"
        )?;
        writeln!(f, "  first acknowledged one on the new")?;
        for pause_us in self.chapters.iter().filter_map(|chapter| chapter.takeover.pause_us) {
            writeln!(
                f,
                "\n  Write pause of the switchover: {} ms, measured by the operator",
                ms(Duration::from_micros(pause_us))
            )?;
        }
        self.write_losses(f)
    }
}

impl Summary<'_> {
    fn write_losses(&self, f: &mut Formatter<'_>) -> Result {
        let Ledger { acknowledged, unacknowledged } = self.ledger;
        writeln!(
            f,
            "\n  Writes: {} acknowledged, {} lost; {unacknowledged} more were refused or not answered",
            acknowledged.len(),
            self.lost.len()
        )?;
        if self.lost.is_empty() {
            return writeln!(f, "  The last master has every acknowledged write\n");
        }
        let before: usize = self
            .chapters
            .iter()
            .enumerate()
            .map(|(number, chapter)| self.lost_by(number).filter(|lost| lost.at <= chapter.began).count())
            .sum();
        writeln!(
            f,
            "  Of the lost ones {before} were acknowledged before the fault and {} were read after it. \
             Replication is asynchronous:",
            self.lost.len() - before
        )?;
        writeln!(
            f,
            "  a master acknowledges what no replica has received yet, and what it takes with it when it \
             dies is lost\n"
        )
    }

    /// What was acknowledged between the change before it and this one, and is missing. What is missing
    /// without a change after it counts for the last.
    fn lost_by(&self, number: usize) -> impl Iterator<Item = &Acknowledged> {
        let from = number.checked_sub(1).map(|before| self.chapters[before].first_write);
        let to =
            if number + 1 == self.chapters.len() { None } else { Some(self.chapters[number].first_write) };
        self.lost
            .iter()
            .filter(move |lost| from.is_none_or(|from| lost.at >= from) && to.is_none_or(|to| lost.at < to))
    }

    /// How long nobody took writes, as the clients saw it.
    fn without_writes(&self, chapter: &Chapter) -> Duration {
        let last = || {
            self.ledger.acknowledged.iter().map(|write| write.at).filter(|at| *at < chapter.first_write).max()
        };
        let from = match chapter.kind {
            Kind::Killed => chapter.began,
            Kind::Switchover => last().unwrap_or(chapter.began),
        };
        chapter.first_write.saturating_duration_since(from)
    }
}

impl Chapter {
    fn name(&self) -> String {
        let MasterChange { source, target, .. } = &self.takeover;
        let (source, what) = (
            source.as_deref().unwrap_or("nobody"),
            match self.kind {
                Kind::Killed => "killed",
                Kind::Switchover => "switchover",
            },
        );
        format!("{what:<10}  {source} -> {target}")
    }
}
