//! What holds for every observation, tried on seeded ones: a failure prints the seed, and `SEED=n` tries that
//! one alone. `SEEDS=n` tries n times as many.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use failover_core::contract::{Action, Decision, Evidence, Observation, Sample, Value, Verdict};
use failover_core::topology::replication::reasons::UNRELATED_DATA;
use failover_core::{decide, reasons};
use redis_model::faults::{broken, watched};
use redis_model::truth::{Life, Model, Node};
use redis_model::{Dice, Role, World, id40};

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let one = std::env::var("SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let times = std::env::var("SEEDS").map_or(1, |times| times.parse::<u64>().unwrap());
    one.map_or(0..count * times, |one| one..one + 1)
}

/// Properties of every decision.
fn check(observation: &Observation, decision: &Decision) -> Result<(), String> {
    let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let reason =
        reasons().find(|reason| reason.name == decision.reason).ok_or("the reason is not on the list")?;
    let verdict = match decision.verdict {
        Verdict::Healthy => "healthy",
        Verdict::Act => "act",
        Verdict::Wait => "wait",
        Verdict::Refuse => "refuse",
    };
    ensure(reason.verdicts.contains(verdict), "the verdict is not one of the reason's")?;
    ensure(!decision.explanation.is_empty(), "no explanation")?;
    ensure((100..=2_000_000).contains(&decision.next_look_us), "the next look is never, or at once")?;
    ensure(
        (decision.verdict == Verdict::Act) != decision.stages.is_empty(),
        "only act has a plan, and it has one",
    )?;
    ensure(decision.stages.iter().all(|stage| !stage.actions.is_empty()), "a stage without actions")?;
    let actions = || decision.stages.iter().flat_map(|stage| &stage.actions);
    ensure(actions().filter(|action| matches!(action, Action::Promote(_))).count() <= 1, "two promotions")?;
    ensure(decision.members.len() == observation.instances.len(), "not one verdict an instance")?;
    ensure(decision.members.is_sorted_by(|one, other| one.id <= other.id), "verdicts out of order")
}

struct Run {
    model: Model,
    promoted: Vec<String>,
    log: Vec<String>,
}

impl Run {
    fn new(model: Model) -> Self {
        Self { model, promoted: vec![], log: vec![] }
    }

    /// Looks and acts until nothing changes any more. `cut` carries out only a prefix of the first plan's
    /// first stage.
    fn converge(&mut self, mut cut: Option<usize>) -> Result<Decision, String> {
        let mut waited_us = 0;
        for _ in 0..40 {
            let observation = self.model.observe();
            let decision = look(&mut self.model);
            self.log.push(format!(
                "{:?} {} {} {:?}",
                decision.verdict,
                decision.reason,
                decision.explanation,
                decision.stages.first()
            ));
            check(&observation, &decision)?;
            if decision.verdict != Verdict::Act {
                if waited_us > 30_000_000 {
                    return Ok(decision);
                }
                let look_us = if waited_us < 20_000 { decision.next_look_us } else { 5_000_000 };
                waited_us += look_us;
                self.model.pass(look_us);
                self.model.settle(&[]);
                continue;
            }
            waited_us = 0;
            let actions = &decision.stages[0].actions;
            for action in actions {
                if let Action::Promote(promote) = action {
                    self.chosen_well(&decision, promote)?;
                    self.model
                        .given_up
                        .extend(promote.source.clone().zip(Some(loss(&decision).unwrap_or(u64::MAX))));
                    self.promoted.push(promote.id.clone());
                }
            }
            let end = cut.take().unwrap_or(actions.len()).min(actions.len());
            self.model.apply(&actions[..end]);
            if let Some(breach) = self.model.breaches.first() {
                return Err(breach.clone());
            }
            self.model.pass(3_000);
        }
        Err("it never ends".into())
    }

    /// No eligible member has more of the old master's data, and the loss is the reported one.
    fn chosen_well(
        &self,
        decision: &Decision,
        promote: &failover_core::contract::Promote,
    ) -> Result<(), String> {
        let model = &self.model;
        let winner = &model.nodes[model.find(&promote.id).unwrap()];
        let is_data_first = !model.world.rest.parameters.contains("priority-first");
        for node in model.nodes.iter().filter(|_| is_data_first) {
            let may = !node.server.loading
                && node.life == Life::Up
                && node.server.role != Role::Master
                && node.server.priority > 0
                && node.server.announced;
            let holds_all = model.shared(node.data, winner.data) == winner.data.at;
            // One history before one that is new after a restart with AOF: what that one has is kept, and a
            // person is asked.
            let is_new = |node: &Node| node.server.replid.starts_with(&id40("own")[..6]);
            let is_comparable = is_new(node) == is_new(winner);
            if may && is_comparable && holds_all && node.data.at > winner.data.at {
                return Err(format!(
                    "{} was promoted, and {} has {} bytes more",
                    promote.id,
                    node.server.id,
                    node.data.at - winner.data.at
                ));
            }
        }
        let old = promote.source.as_ref().and_then(|id| model.find(id)).map(|index| &model.nodes[index]);
        if let (Some(old), Some(said), Evidence::Dead | Evidence::Silent) =
            (old, loss(decision), promote.evidence)
        {
            let lost = old.data.at - model.shared(old.data, winner.data);
            // A new life of the old master is measured by the record of the former one.
            if old.server.run_id == id40(&format!("run-{}", &old.server.id[6..])) && said != lost {
                return Err(format!("{lost} bytes are lost, and {said} are said"));
            }
        }
        Ok(())
    }
}

/// Decides, and lets the host record the master that the decision names.
fn look(model: &mut Model) -> Decision {
    let decision = decide(&model.observe());
    if let Some(master) = master(&decision).and_then(|id| model.find(id)) {
        model.publish(master);
    }
    decision
}

fn fail(seed: u64, run: &Run, what: &str) -> ! {
    let nodes: Vec<String> = run
        .model
        .nodes
        .iter()
        .map(|node| {
            format!(
                "{} {:?} {:?} {:?} {}@{}",
                node.server.id,
                node.life,
                node.data,
                node.server.role,
                node.server.replid,
                node.server.offset
            )
        })
        .collect();
    panic!("seed {seed}: {what}\n{}\n{}", run.log.join("\n"), nodes.join("\n"));
}

fn master(decision: &Decision) -> Option<&str> {
    decision.shards[0].master.as_deref()
}

fn loss(decision: &Decision) -> Option<u64> {
    decision.shards[0].loss.as_ref()?.bytes
}

#[test]
fn every_plan_ends_in_rest_and_loses_nothing_that_it_could_keep() {
    for seed in seeds(10_000) {
        let mut choices = Dice::new(seed);
        let model = broken(&mut choices);
        let mut run = Run::new(model.clone());
        let first = decide(&model.observe());
        let end = run.converge(None).unwrap_or_else(|what| fail(seed, &run, &what));
        if run.promoted.len() > 1 {
            fail(seed, &run, &format!("promoted {:?} without a new fault", run.promoted));
        }
        // Every prefix of the first stage ends with the same master.
        let actions = first.stages.first().map_or(0, |stage| stage.actions.len());
        for cut in 0..actions {
            let mut other = Run::new(model.clone());
            let same = other
                .converge(Some(cut))
                .unwrap_or_else(|what| fail(seed, &other, &format!("cut at {cut}: {what}")));
            // The record moves on before the plan is carried out, and with it the proof that data without a
            // fork is given up: then a person is asked instead.
            let is_asked = same.reason == UNRELATED_DATA.name;
            // A request without a target goes to the best replica that is in sync at the moment.
            let is_open = model.world.rest.switchover.as_ref().is_some_and(|asked| asked.target.is_none());
            let is_other = master(&same) != master(&end) && !(is_open && same.verdict == end.verdict);
            if is_other || same.reason != end.reason && !is_asked {
                fail(
                    seed,
                    &other,
                    &format!(
                        "cut at {cut} it ends with {:?} {}, else with {:?} {}",
                        master(&same),
                        same.reason,
                        master(&end),
                        end.reason
                    ),
                );
            }
        }
        // Hung servers wake up, dead ones come back in their former role: no promotion follows.
        let had_master = master(&end).map(str::to_owned);
        run.promoted.clear();
        for node in &mut run.model.nodes {
            node.life = Life::Up;
        }
        run.model.settle(&[]);
        run.log.push("all wake".into());
        run.converge(None).unwrap_or_else(|what| fail(seed, &run, &what));
        if had_master.is_some() && !run.promoted.is_empty() {
            fail(seed, &run, &format!("promoted {:?} although there was a master", run.promoted));
        }
    }
}

/// A broken group; half of them have Sentinels beside it.
fn observed(choices: &mut Dice) -> Observation {
    let mut world = broken(choices).seen_world();
    if choices.chance(500) {
        watched(&mut world, choices);
    }
    world.observe()
}

#[test]
fn the_order_of_instances_never_matters() {
    for seed in seeds(6_000) {
        let mut choices = Dice::new(seed);
        let observation = observed(&mut choices);
        let mut shuffled = observation.clone();
        choices.shuffle(&mut shuffled.instances);
        assert_eq!(decide(&observation), decide(&shuffled), "seed {seed}");
    }
}

#[test]
fn any_text_gets_an_answer() {
    for seed in seeds(10_000) {
        let mut choices = Dice::new(seed);
        let mut observation =
            if choices.chance(700) { observed(&mut choices) } else { World::healthy(3).observe() };
        for instance in &mut observation.instances {
            for reply in &mut instance.replies {
                for sample in [&mut reply.newest, &mut reply.earlier].into_iter().flatten() {
                    mangle(sample, &mut choices);
                }
            }
        }
        let decision = decide(&observation);
        check(&observation, &decision).unwrap_or_else(|what| panic!("seed {seed}: {what}: {decision:?}"));
    }
}

const NUMBERS: [&str; 4] = ["99999999999999999999", "-1", "", "e"];

/// Cuts, doubles, swaps, overflows, and plain garbage.
fn mangle(sample: &mut Sample, dice: &mut Dice) {
    let (Value::Text(failover_core::contract::Text { text, .. })
    | Value::Nested(failover_core::contract::Nested { resp: text, .. })) = &mut sample.value
    else {
        return;
    };
    for _ in 0..dice.index(4) {
        let mut bytes = std::mem::take(text).into_bytes();
        let at = dice.index(bytes.len() + 1);
        match dice.index(7) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(at..),
            2 => bytes.rotate_left(at),
            3 if at < bytes.len() => bytes[at] = dice.number().to_le_bytes()[0],
            4 => bytes.splice(at..at, (0..dice.index(30)).map(|_| b':')).for_each(drop),
            5 => {
                bytes =
                    String::from_utf8_lossy(&bytes).replace(['0', '1'], NUMBERS[dice.index(4)]).into_bytes()
            }
            _ => bytes.splice(at..at, dice.number().to_le_bytes()).for_each(drop),
        }
        *text = String::from_utf8_lossy(&bytes).into_owned();
    }
    if dice.chance(50) {
        sample.age_us = dice.number();
    }
}

/// Ages, counts and ids beyond all reason.
#[test]
fn any_number_gets_an_answer() {
    for seed in seeds(5_000) {
        let mut choices = Dice::new(seed);
        let mut observation = observed(&mut choices);
        let extreme = |choices: &mut Dice| choices.one_of([0, 1, u64::MAX, u64::MAX - 1, 1 << 63]);
        let group = &mut observation.group;
        (group.hang_limit_ms, group.members_desired) =
            (choices.one_of([0, 1, 1000, u32::MAX]), choices.one_of([0, 1, 3, u16::MAX]));
        group.self_fence_lag_s = Some(choices.one_of([0, u32::MAX]));
        observation.silent_groups_permille = choices.one_of([0, u16::MAX]);
        for instance in &mut observation.instances {
            instance.link.state_age_us = extreme(&mut choices);
            instance.link.alive_age_us = choices.chance(500).then(|| extreme(&mut choices));
            instance.link.closed_age_us = choices.chance(500).then(|| extreme(&mut choices));
        }
        observation.shards[0]
            .last_failover
            .iter_mut()
            .for_each(|failover| failover.age_us = extreme(&mut choices));
        observation.shards[0]
            .published
            .iter_mut()
            .for_each(|published| published.offset = extreme(&mut choices));
        let decision = decide(&observation);
        check(&observation, &decision).unwrap_or_else(|what| panic!("seed {seed}: {what}: {decision:?}"));
    }
}
