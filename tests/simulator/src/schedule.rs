//! What a seed stands for: a group, its clients, and a list of faults. Equal seeds give equal schedules.

use crate::lies::Lie;
use crate::pods::PodPlan;
use crate::watched::SentinelPlan;
use redis_model::Dice;
use redis_model::live::{Boot, Files, Timing, Wait};
use serde::{Deserialize, Serialize};

/// A group, its clients, and what happens to them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Schedule {
    /// Its number.
    pub seed: u64,
    /// The servers, by index.
    pub servers: Vec<ServerPlan>,
    /// `hang-limit-ms`.
    pub hang_limit_ms: u32,
    /// `prefer: Consistency`.
    pub is_consistent: bool,
    /// Between two rounds of probes.
    pub interval_us: u64,
    /// The clients.
    pub clients: Vec<(u64, Wait)>,
    /// How long things take.
    pub timing: Timing,
    /// How a server that was started again begins.
    pub boot: BootRule,
    /// The policy lies until everything works again.
    #[serde(default)]
    pub is_hostile: bool,
    /// Policies that lie are swapped in.
    #[serde(default)]
    pub has_lies: bool,
    /// The Sentinels that watch the servers. None: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinels: Option<SentinelPlan>,
    /// The servers are Pods. None: they are processes at fixed addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodPlan>,
    /// The servers that operators reach through a hop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<usize>,
    /// What happens, in the order of its time.
    pub steps: Vec<Step>,
}

/// One server.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ServerPlan {
    /// Its files.
    pub files: Files,
    /// Its `replica-priority`.
    pub priority: u64,
}

/// How a server is configured to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BootRule {
    /// As a replica of itself.
    Itself,
    /// As a replica of the master on record.
    Recorded,
    /// As a master.
    Master,
}

impl BootRule {
    /// How a server starts, with that master on record.
    pub fn boot(self, server: usize, recorded: Option<usize>) -> Boot {
        match (self, recorded) {
            (Self::Recorded, Some(master)) if master != server => Boot::Following(master),
            (Self::Master, _) => Boot::Master,
            (Self::Itself | Self::Recorded, _) => Boot::Itself,
        }
    }
}

/// Something that happens, this long after the first write.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at_us: u64,
    /// What.
    pub fault: Fault,
}

/// A server, chosen when the step happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The master on record.
    Master,
    /// One that is not, by its place after it.
    Replica(usize),
    /// A Sentinel: of what happens to servers only, nothing happens to it.
    Sentinel(usize),
}

/// A fault, or something that people and programs do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Fault {
    /// A process ends, and starts again after a while. `None`: at the end of all faults.
    Kill {
        /// The server.
        target: Target,
        /// Until it starts again.
        back_us: Option<u64>,
        /// Its volume is lost, too.
        empty: bool,
        /// What was not on the disk yet is lost.
        power: bool,
    },
    /// A process stands still.
    Stop {
        /// The server.
        target: Target,
        /// For so long.
        for_us: u64,
    },
    /// All processes end at once, and start again one by one.
    KillAll {
        /// Until each of them starts again.
        back_us: Vec<u64>,
        /// What was not on the disk yet is lost.
        power: bool,
    },
    /// The leading operator and a server do not reach each other.
    CutOperator {
        /// The server.
        target: Target,
        /// For so long.
        for_us: u64,
        /// Replies are lost, commands arrive.
        one_way: bool,
    },
    /// Two servers do not reach each other.
    CutPeers {
        /// One server.
        one: Target,
        /// The other.
        other: Target,
        /// For so long.
        for_us: u64,
    },
    /// A server is cut off from the operators and from all servers; clients that are connected to it are not.
    Isolate {
        /// The server.
        target: Target,
        /// For so long.
        for_us: u64,
    },
    /// The next command that changes the server is carried out, and its reply is lost.
    LoseReply {
        /// The server.
        target: Target,
    },
    /// The leading operator ends, and another one starts after a while.
    KillOperator {
        /// Until then.
        back_us: u64,
    },
    /// The leading operator is asked to stop, and another one takes the lead after a while.
    StopOperator {
        /// Until then.
        back_us: u64,
    },
    /// Another operator takes the lead; the former one learns of it later.
    StealLead {
        /// Until the former one learns of it.
        late_us: u64,
    },
    /// A person asks for another master.
    SwitchOver {
        /// To this one. None: the best.
        target: Option<Target>,
    },
    /// A server writes a snapshot.
    Save {
        /// The server.
        target: Target,
    },
    /// A server's `replica-priority` is changed.
    Priority {
        /// The server.
        target: Target,
        /// To this.
        priority: u64,
    },
    /// A server refuses these commands: they were renamed, or a right was taken away.
    Refuse {
        /// The server.
        target: Target,
        /// The commands.
        commands: Vec<String>,
        /// For so long.
        for_us: u64,
    },
    /// A server is at maxmemory.
    Fill {
        /// The server.
        target: Target,
        /// For so long.
        for_us: u64,
    },
    /// The files of a server cannot be written.
    BreakDisk {
        /// The server.
        target: Target,
        /// For so long.
        for_us: u64,
    },
    /// The policy that decides is replaced by one that lies.
    Policy {
        /// How.
        lie: Lie,
    },
    /// All Sentinels end at once, and start again one by one.
    KillSentinels {
        /// Until each of them starts again.
        back_us: Vec<u64>,
        /// Their files are lost, too.
        empty: bool,
    },
    /// The leading operator and all Sentinels do not reach each other.
    CutSentinels {
        /// For so long.
        for_us: u64,
    },
    /// A replica ends, and starts again at another address; a server of another group starts at the former
    /// one.
    Move {
        /// The server.
        target: Target,
        /// Until it starts again.
        back_us: u64,
    },
    /// The clock of a Sentinel jumps ahead.
    JumpClock {
        /// Which.
        sentinel: usize,
        /// So far.
        by_us: u64,
    },
    /// A person sends a Sentinel a command.
    Say {
        /// Which.
        sentinel: usize,
        /// The command.
        words: Vec<String>,
    },
    /// A Pod is deleted, and the next one of its name starts elsewhere. Nothing, where servers are no Pods.
    Evict {
        /// The server.
        target: Target,
        /// From its removal until the next one has an address.
        back_us: u64,
        /// Its volume goes with it.
        empty: bool,
    },
    /// The machine of a Pod is cut off from all but clients on it. The Pod is removed by force, and the next
    /// one of its name starts elsewhere, while the process lives on.
    LoseNode {
        /// The server.
        target: Target,
        /// Until the Pod is removed.
        gone_us: u64,
        /// From its removal until the next one has an address.
        back_us: u64,
        /// For so long the machine is cut off; its kubelet ends the container soon after.
        for_us: u64,
        /// The volume is moved: the next one starts with the files as they are then.
        keeps_files: bool,
    },
    /// All Pods are deleted at once.
    EvictAll {
        /// By server: from its removal until the next one has an address.
        back_us: Vec<u64>,
        /// Their volumes go with them.
        empty: bool,
    },
    /// A server wants another password than the operators'.
    Lock {
        /// The server.
        target: Target,
        /// For so long.
        for_us: u64,
    },
    /// So many of the other groups of the operators are silent.
    Fleet {
        /// In thousandths of all.
        permille: u16,
        /// For so long.
        for_us: u64,
    },
    /// The hop before a server ends, and starts again.
    StopHop {
        /// The server.
        target: Target,
        /// Until it starts again.
        for_us: u64,
    },
    /// The records of the operators are stored this much later from now on.
    SlowRecords {
        /// In microseconds.
        delay_us: u64,
    },
}

impl Schedule {
    /// The schedule of a seed.
    pub fn of(seed: u64) -> Self {
        let dice = &mut Dice::new(seed);
        let count = dice.one_of([2, 3, 3, 3, 3, 4, 5]);
        let files = dice.one_of([Files::None, Files::Rdb, Files::Aof, Files::Aof]);
        let server = |dice: &mut Dice| ServerPlan {
            files,
            priority: if dice.chance(850) { 100 } else { dice.one_of([10, 0, 200]) },
        };
        let servers: Vec<ServerPlan> = (0..count).map(|_| server(dice)).collect();
        let waits = [Wait::Master, Wait::Replicas(1), Wait::Replicas(count / 2), Wait::Replicas(count - 1)];
        let clients =
            (0..1 + dice.index(3)).map(|_| (dice.one_of([15_000, 40_000, 120_000]), dice.one_of(waits)));
        let clients = clients.collect();
        let timing = Timing {
            latency_us: dice.one_of([500, 1_000, 1_000, 3_000]),
            copy_delay_us: dice.one_of([2_000, 200_000, 1_000_000]),
            transfer_us: dice.one_of([2_000, 50_000, 800_000]),
            load_us: dice.one_of([1_000, 30_000, 700_000, 3_000_000]),
            repl_timeout_us: dice.one_of([5_000_000, 10_000_000]),
            ping_us: 1_000_000,
            backlog_bytes: dice.one_of([1_000, 20_000, 1_048_576]),
        };
        let mut at_us = 500_000;
        let mut steps = vec![];
        for _ in 0..1 + dice.index(6) {
            at_us += dice.one_of([0, 1_000, 3_000, 30_000, 200_000, 700_000, 1_500_000, 3_000_000]);
            steps.push(Step { at_us, fault: fault(dice, count) });
        }
        let schedule = Self {
            seed,
            servers,
            hang_limit_ms: dice.one_of([300, 1000]),
            is_consistent: dice.chance(250),
            interval_us: if dice.chance(50) { 25_000 } else { dice.one_of([100_000, 250_000, 500_000]) },
            clients,
            timing,
            boot: if dice.chance(900) { BootRule::Itself } else { BootRule::Master },
            is_hostile: false,
            sentinels: None,
            pods: None,
            hops: vec![],
            steps,
            has_lies: false,
        };
        schedule.with_disks()
    }

    /// The same, in which some clients wait for disks, where all servers have append-only files.
    pub fn with_disks(mut self) -> Self {
        // Apart from the dice of the schedule, whose other parts stay what they are.
        let dice = &mut Dice::new(self.seed ^ 0xa0f);
        let others = self.servers.len() - 1;
        let has_files = self.servers.iter().all(|server| server.files == Files::Aof);
        for (_, wait) in &mut self.clients {
            *wait = match *wait {
                _ if has_files && dice.chance(300) => Wait::Disks(dice.one_of([0, 1, others])),
                Wait::Disks(replicas) if !has_files => Wait::Replicas(replicas),
                other => other,
            };
        }
        self
    }

    /// The same, in which the policy is swapped one to four times: for one that lies, or for an honest one.
    pub fn with_lies(seed: u64) -> Self {
        let mut schedule = Self::of(seed);
        // Apart from the dice of the schedule, whose other steps stay what they are.
        let dice = &mut Dice::new(seed ^ 0x11e5);
        let last_us = schedule.steps.last().map_or(0, |step| step.at_us);
        for _ in 0..1 + dice.index(4) {
            let at_us = dice.below(last_us + 1_000_000);
            schedule.steps.push(Step { at_us, fault: Fault::Policy { lie: Lie::any(dice) } });
        }
        schedule.steps.sort_by_key(|step| step.at_us);
        schedule.has_lies = true;
        schedule
    }
}

fn fault(dice: &mut Dice, count: usize) -> Fault {
    let target = |dice: &mut Dice| {
        if dice.chance(550) { Target::Master } else { Target::Replica(dice.index(count.max(2) - 1)) }
    };
    let time =
        |dice: &mut Dice| dice.one_of([5_000, 40_000, 150_000, 400_000, 1_200_000, 2_500_000, 6_000_000]);
    match dice.index(25) {
        0..=3 => Fault::Kill {
            target: target(dice),
            back_us: dice.chance(800).then(|| time(dice)),
            empty: dice.chance(250),
            power: dice.chance(400),
        },
        4 | 5 => Fault::Stop { target: target(dice), for_us: time(dice) },
        6 | 7 => {
            let mut back_us: Vec<u64> = (0..count).map(|_| 100_000 + time(dice)).collect();
            dice.shuffle(&mut back_us);
            Fault::KillAll { back_us, power: dice.chance(500) }
        }
        8 => Fault::CutOperator { target: target(dice), for_us: time(dice), one_way: dice.chance(500) },
        9 => Fault::CutPeers { one: target(dice), other: target(dice), for_us: time(dice) },
        10 | 11 => Fault::Isolate { target: target(dice), for_us: time(dice) },
        12 => Fault::LoseReply { target: target(dice) },
        13 => Fault::KillOperator { back_us: time(dice) },
        14 => Fault::StealLead { late_us: time(dice) },
        15 => {
            let target = dice.chance(600).then(|| target(dice));
            Fault::SwitchOver { target }
        }
        16 | 17 => Fault::Save { target: target(dice) },
        20 | 21 => {
            let commands = dice.one_of(REFUSED).iter().map(|word| (*word).to_owned()).collect();
            Fault::Refuse { target: target(dice), commands, for_us: 4 * time(dice) }
        }
        22 => Fault::Fill { target: target(dice), for_us: 2 * time(dice) },
        23 => Fault::BreakDisk { target: target(dice), for_us: 2 * time(dice) },
        24 => Fault::StopOperator { back_us: time(dice) },
        18 => Fault::Priority { target: target(dice), priority: dice.one_of([0, 10, 100, 200]) },
        _ => Fault::SlowRecords { delay_us: time(dice) },
    }
}

/// What a server may refuse at once.
const REFUSED: [&[&str]; 6] =
    [&["REPLICAOF", "SLAVEOF"], &["REPLICAOF"], &["MULTI"], &["EXEC"], &["CLIENT"], &["CONFIG", "CLIENT"]];
