//! The result of the demo: the duration of each change of master, and the acknowledged writes that are
//! missing. Pure.

use super::load::{Acknowledged, Ledger};
use super::screen::ms;
use crate::report::MasterChange;
use std::fmt::{Display, Formatter, Result};
use std::time::{Duration, Instant};

/// One change of master.
pub struct Chapter {
    /// Its cause.
    pub kind: Kind,
    /// The moment of the fault, or of the request.
    pub began: Instant,
    /// The first acknowledgement of the new master.
    pub first_write: Instant,
    /// The change, with its phases.
    pub change: MasterChange,
}

/// The cause of a change of master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL.
    Killed,
    /// A request.
    Switchover,
}

/// The summary as text.
pub struct Summary<'a> {
    /// The changes of master, in order.
    pub chapters: &'a [Chapter],
    /// All writes.
    pub ledger: &'a Ledger,
    /// The acknowledged writes that the last master does not have.
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
                .change
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
            "\n  detect: from the fault to its first sign; decide: until the promotion is sent; promote: \
             until it is confirmed;"
        )?;
        writeln!(
            f,
            "  re-point: until the last replica follows; first write: from the fault (of a switchover: from \
             the last write"
        )?;
        writeln!(f, "  on the old master) to the first acknowledged write on the new one")?;
        for pause_us in self.chapters.iter().filter_map(|chapter| chapter.change.pause_us) {
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
            "\n  Writes: {} acknowledged, {} of them lost; {unacknowledged} others refused or unanswered",
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
            "  Of the lost writes {before} were acknowledged before the fault, and {} were read after it. \
             Replication is asynchronous:",
            self.lost.len() - before
        )?;
        writeln!(
            f,
            "  a master acknowledges writes before any replica has them; those are lost if it ends before \
             it\n  sends them\n"
        )
    }

    /// Missing writes that were acknowledged between the previous change and this one. Missing writes after
    /// the last change count for the last.
    fn lost_by(&self, number: usize) -> impl Iterator<Item = &Acknowledged> {
        let from = number.checked_sub(1).map(|before| self.chapters[before].first_write);
        let to =
            if number + 1 == self.chapters.len() { None } else { Some(self.chapters[number].first_write) };
        self.lost
            .iter()
            .filter(move |lost| from.is_none_or(|from| lost.at >= from) && to.is_none_or(|to| lost.at < to))
    }

    /// How long no write was acknowledged, as the clients measured it.
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
        let MasterChange { source, target, .. } = &self.change;
        let (source, what) = (
            source.as_deref().unwrap_or("none"),
            match self.kind {
                Kind::Killed => "killed",
                Kind::Switchover => "switchover",
            },
        );
        format!("{what:<10}  {source} -> {target}")
    }
}
