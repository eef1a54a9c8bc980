//! SIGKILL of the master under load, until the first acknowledged write on another.

use crate::Plan;
use crate::peers::{Ideal, WARM_UP, sentinels};
use crate::sample::{Sample, verdict};
use std::time::Instant;
use tests::real::{Acknowledged, Program, Servers, Writers};

#[derive(Clone, Copy)]
enum Controller {
    Ours,
    Ideal,
    Sentinel,
}

#[derive(Default)]
struct Outcome {
    to_write: Sample,
    /// Acknowledged by the dead before the signal, and gone: no replica had them.
    lost_before: usize,
    /// Acknowledged by the dead after the signal was sent, and gone.
    lost_during: usize,
    /// Acknowledged by the new, and gone.
    lost_after: usize,
    /// Of those lost, they that a replica had said to have.
    lost_replicated: usize,
    acknowledged: usize,
}

pub async fn run(plan: &Plan) {
    println!("\n== SIGKILL of the master under load -> first acknowledged write elsewhere");
    let (mut ours, mut ideal, mut sentinel) = (Outcome::default(), Outcome::default(), Outcome::default());
    for run in 0..plan.runs {
        // By turns, so that whatever else the machine does meets all alike.
        once(Controller::Ideal, &mut ideal).await;
        once(Controller::Ours, &mut ours).await;
        if run < plan.sentinel_runs {
            once(Controller::Sentinel, &mut sentinel).await;
        }
    }
    for (name, outcome) in [
        ("ideal controller (the floor)", &ideal),
        ("redis-operator", &ours),
        ("3 Sentinels, down-after 1000 ms", &sentinel),
    ] {
        let Outcome { to_write, lost_before, lost_during, lost_after, lost_replicated, acknowledged } =
            outcome;
        let lost = format!(
            "lost of {acknowledged}: {lost_before} before, {lost_during} during, {lost_after} by the new; \
             {lost_replicated} that a replica had"
        );
        to_write.print(name, &lost);
    }
    let median = ours.to_write.median();
    println!(
        "  ours / floor {:.2}   ours / Sentinel {:.4}",
        median / ideal.to_write.median(),
        median / sentinel.to_write.median()
    );
    verdict("median / floor", median / ideal.to_write.median(), 1.5);
    verdict("median ms", median, 6.0);
    verdict("worst ms", ours.to_write.max(), 30.0);
    verdict("lost that a replica had", ours.lost_replicated as f64, 0.0);
}

async fn once(controller: Controller, outcome: &mut Outcome) {
    let mut servers = Servers::group(3, &["--repl-backlog-size", "64mb"]).await;
    let _controller: Box<dyn std::any::Any> = match controller {
        Controller::Ideal => Box::new(Ideal::start(&servers)),
        Controller::Ours => {
            let program = Program::look_after(&servers.list(), &[]);
            program.logged("healthy").await;
            Box::new(program)
        }
        Controller::Sentinel => Box::new(sentinels(&servers).await),
    };
    // Half of the clients' writes ask whether a replica has them: those must survive any failover.
    let (writers, asking) = (Writers::start(&servers), Writers::waiting(&servers));
    tokio::time::sleep(WARM_UP).await;
    let killed = servers.kill(0);
    let first = writers.first_elsewhere(0, killed).await;
    outcome.to_write.add(first.at - killed);
    servers.end(0).await;
    writers.go_on(50).await;
    let (plain, asked) = (writers.stop(), asking.stop());
    let master = servers.settled().await;
    outcome.acknowledged += plain.len() + asked.len();
    let lost = Acknowledged::lost(&plain, &servers, master).await;
    let lost_asked = Acknowledged::lost(&asked, &servers, master).await;
    outcome.lost_replicated += lost_asked.iter().filter(|write| write.is_replicated).count();
    let class = |is_it: &dyn Fn(&Acknowledged) -> bool| {
        lost.iter().chain(&lost_asked).filter(|write| is_it(write)).count()
    };
    let by_old = |write: &Acknowledged, until: Instant| write.place == 0 && write.at < until;
    outcome.lost_before += class(&|write| by_old(write, killed));
    outcome.lost_during += class(&|write| write.place == 0 && write.at >= killed);
    outcome.lost_after += class(&|write| write.place != 0);
}
