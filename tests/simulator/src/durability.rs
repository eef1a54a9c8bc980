//! What becomes of acknowledged writes, by the kind of fault, by `prefer`, and by how many replicas had them
//! when their client was answered: the table of
//! `deploy/docs/src/promises.md`. Schedules as of the seeds, with faults of one
//! kind only.

use crate::Schedule;
use crate::checks::Class;
use crate::policies::kept_embedded_policy;
use crate::schedule::{BootRule, Fault, Step, Target};
use crate::simulate;
use anyhow::Result;
use redis_model::Dice;
use redis_model::live::{Files, Wait};
use std::fmt::{Display, Formatter};

/// A kind of fault, in words.
type Kind = (&'static str, Option<Files>, fn(&mut Dice, usize) -> Vec<Fault>);

const KINDS: [Kind; 9] = [
    ("the master's process is killed and starts again", None, |_, _| vec![kill(Target::Master, false)]),
    ("the master's process hangs for 3 s", None, |_, _| {
        vec![Fault::Stop { target: Target::Master, for_us: 3_000_000 }]
    }),
    ("the master is cut off from all servers and the operator", None, |_, _| {
        vec![Fault::Isolate { target: Target::Master, for_us: 4_000_000 }]
    }),
    ("a replica is killed, then the master", None, |_, _| {
        vec![kill(Target::Replica(0), false), kill(Target::Master, false)]
    }),
    ("the operator is killed, two operators act, a reply is lost", None, |_, _| {
        vec![
            Fault::LoseReply { target: Target::Master },
            Fault::StealLead { late_us: 1_000_000 },
            Fault::KillOperator { back_us: 400_000 },
        ]
    }),
    ("switchovers", None, |_, _| {
        vec![Fault::SwitchOver { target: None }, Fault::SwitchOver { target: Some(Target::Replica(0)) }]
    }),
    ("a power cut of all, append-only files", Some(Files::Aof), power_cut),
    ("a power cut of all, snapshots", Some(Files::Rdb), power_cut),
    ("all end at once, nothing on disk", Some(Files::None), power_cut),
];

fn kill(target: Target, empty: bool) -> Fault {
    Fault::Kill { target, back_us: Some(1_200_000), empty, power: false }
}

fn power_cut(dice: &mut Dice, count: usize) -> Vec<Fault> {
    let back_us = (0..count).map(|_| dice.one_of([140_000, 500_000, 1_300_000, 2_600_000])).collect();
    vec![Fault::Save { target: Target::Replica(0) }, Fault::KillAll { back_us, power: true }]
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    kind: &'static str,
    is_consistent: bool,
    /// By how many replicas had the write: none, one or more, a majority of the members with the master, all.
    /// The last: on the disks of the master and of a replica.
    classes: [Class; 5],
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let prefer = if self.is_consistent { "Consistency" } else { "Availability" };
        write!(f, "| {} | {prefer} |", self.kind)?;
        self.classes.iter().try_for_each(|class| {
            let Class { acknowledged, lost, reported } = class;
            match (acknowledged, lost) {
                (0, _) => write!(f, " - |"),
                (_, 0) => write!(f, " 0 of {acknowledged} |"),
                _ => write!(f, " {lost} of {acknowledged}, {reported} after a report |"),
            }
        })
    }
}

/// The head of the table.
pub const HEAD: &str = "| fault | prefer | on the master only | on a replica | on a majority | on all | on two disks |\n\
                        |--|--|--|--|--|--|--|";

/// The rows, of so many schedules each.
///
/// # Errors
/// A machine that runs no WebAssembly.
pub fn rows(seeds: u64) -> Result<Vec<Row>> {
    let policies = kept_embedded_policy()?;
    let row = |(kind, files, faults): &Kind, is_consistent: bool| {
        let mut classes = [Class::default(); 5];
        for seed in 0..seeds {
            let schedule = schedule(seed, is_consistent, *files, *faults);
            let others = schedule.servers.len() - 1;
            for ((wait, replicas), class) in simulate(&schedule, &policies, false).account.classes {
                let place = match replicas {
                    0 => 0,
                    _ if matches!(wait, Wait::Disks(_)) => 4,
                    _ if replicas >= others => 3,
                    _ if replicas >= schedule.servers.len() / 2 => 2,
                    _ => 1,
                };
                classes[place].add(class);
            }
        }
        Row { kind, is_consistent, classes }
    };
    Ok(KINDS.iter().flat_map(|kind| [false, true].map(|it| row(kind, it))).collect())
}

fn schedule(
    seed: u64,
    is_consistent: bool,
    files: Option<Files>,
    faults: fn(&mut Dice, usize) -> Vec<Fault>,
) -> Schedule {
    let mut schedule = Schedule { is_consistent, boot: BootRule::Itself, ..Schedule::of(seed) };
    for server in &mut schedule.servers {
        (server.priority, server.files) = (100, files.unwrap_or(server.files));
    }
    schedule = schedule.with_disks();
    let mut dice = Dice::new(seed);
    let mut at_us = 800_000 + dice.below(400_000);
    schedule.steps.clear();
    for fault in faults(&mut dice, schedule.servers.len()) {
        schedule.steps.push(Step { at_us, fault });
        at_us += 300_000 + dice.below(3_000_000);
    }
    schedule
}
