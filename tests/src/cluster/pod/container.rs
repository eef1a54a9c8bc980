//! One container's life: its image, its process, its probes, its restarts, its end. Knows no other container.

use super::Seat;
use super::environment::{Variables, environment_of, expand};
use super::probe::{Question, Target, seconds};
use super::process::{Process, Recipe, signal};
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Probe};
use redis_operator::local::Signal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// When running processes are killed. None: the Pod is not ending.
pub(super) type Deadline = watch::Receiver<Option<Instant>>;

/// Keeps a container running as the Pod's restart policy wants, until it is done or the Pod ends. Returns its
/// last exit code, if it ever ran.
pub(super) async fn keep(
    seat: &Seat,
    container: &Container,
    policy: &str,
    mut ending: Deadline,
) -> Option<i32> {
    let name = &container.name;
    let mut wait = Duration::ZERO;
    let mut last = None;
    loop {
        let recipe = tokio::select! {
            recipe = recipe(seat, container) => recipe,
            _ = asked(&mut ending) => return last,
        };
        let began = Instant::now();
        let code = run(seat, container, &recipe, &mut ending).await;
        seat.ledger.ended(name, code, last_words(seat, container, code));
        last = Some(code);
        if ending.borrow().is_some() || policy == "Never" || (policy == "OnFailure" && code == 0) {
            return last;
        }
        if began.elapsed() >= FORGIVEN {
            wait = Duration::ZERO;
        }
        if !wait.is_zero() {
            let message = format!("back-off {}s restarting failed container={name}", wait.as_secs());
            seat.ledger.waits(name, "CrashLoopBackOff", Some(message));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = asked(&mut ending) => return last,
            }
        }
        wait = (wait * 2).clamp(seat.shared.back_off, BACK_OFF_MAX);
    }
}

/// What it wrote for the status; else the end of its log, where the container's policy wants that.
fn last_words(seat: &Seat, container: &Container, code: i32) -> Option<String> {
    let message = std::fs::read_to_string(message_file(seat, container)).unwrap_or_default();
    if !message.is_empty() {
        return Some(message);
    }
    let is_wanted =
        code != 0 && container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    let said = is_wanted.then(|| std::fs::read(seat.log(&container.name)).ok())??;
    Some(String::from_utf8_lossy(&said[said.len().saturating_sub(LAST_WORDS_BYTES_MAX)..]).into_owned())
}

/// The file of its `terminationMessagePath`.
fn message_file(seat: &Seat, container: &Container) -> PathBuf {
    seat.dir.join(format!("message-{}", container.name))
}

/// What is started, once all of it can be had; says meanwhile why it cannot.
async fn recipe(seat: &Seat, container: &Container) -> Recipe {
    let mut changes = seat.shared.config.changes();
    loop {
        match try_recipe(seat, container) {
            Ok(recipe) => return recipe,
            Err((reason, error)) => seat.ledger.waits(&container.name, reason, Some(format!("{error:#}"))),
        }
        // A change that was seen too late for its event is found at the next look.
        let _ = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
    }
}

fn try_recipe(seat: &Seat, container: &Container) -> Result<Recipe, (&'static str, anyhow::Error)> {
    let reference = container.image.as_deref().unwrap_or_default();
    let image = seat.shared.images.iter().find(|image| image.is_meant_by(reference));
    let image = image
        .with_context(|| format!("Back-off pulling image \"{reference}\""))
        .map_err(|error| ("ImagePullBackOff", error))?;
    let pod = seat.pod.borrow().clone();
    let broken = |error| ("CreateContainerConfigError", error);
    let environment =
        environment_of(container, &pod, &seat.network.address().to_string(), &seat.shared.config)
            .map_err(broken)?;
    let own = |words: &Option<Vec<String>>| {
        words.iter().flatten().map(|word| expand(word, &environment)).collect::<Vec<_>>()
    };
    let (command, arguments) = (own(&container.command), own(&container.args));
    let words = match (command.is_empty(), arguments.is_empty()) {
        (true, true) => [image.entrypoint.clone(), image.command.clone()].concat(),
        (true, false) => [image.entrypoint.clone(), arguments].concat(),
        (false, _) => [command, arguments].concat(),
    };
    let mut mounts: Vec<_> =
        image.programs.iter().map(|(inside, outside)| (inside.clone(), outside.clone(), true)).collect();
    mounts.push(("/etc/hosts".into(), seat.dir.join("hosts"), true));
    let message = message_file(seat, container);
    std::fs::write(&message, "").map_err(|error| broken(error.into()))?;
    mounts.push(("/dev/termination-log".into(), message, false));
    mounts.extend(mounts_of(seat, container, &environment).map_err(broken)?);
    let security = container.security_context.as_ref();
    Ok(Recipe {
        words,
        working_dir: container.working_dir.clone().unwrap_or_else(|| image.working_dir.clone()),
        hostname: pod.metadata.name.clone().unwrap_or_default(),
        has_read_only_root: security.and_then(|security| security.read_only_root_filesystem) == Some(true),
        mounts,
        network: seat.network.path(),
        log: seat.log(&container.name),
        environment,
    })
}

fn mounts_of(
    seat: &Seat,
    container: &Container,
    environment: &Variables,
) -> Result<Vec<(String, PathBuf, bool)>> {
    let folders = seat.folders.lock().expect("no holder panics").clone();
    let mut mounts = BTreeMap::new();
    for mount in container.volume_mounts.iter().flatten() {
        let folder =
            folders.get(&mount.name).with_context(|| format!("no volume is called {}", mount.name))?;
        let part = mount
            .sub_path
            .clone()
            .or_else(|| mount.sub_path_expr.as_ref().map(|path| expand(path, environment)));
        let source = folder.join(part.unwrap_or_default());
        if !source.exists() {
            std::fs::create_dir_all(&source)?;
        }
        // The file behind the links, as it is now: so a subPath is never updated, as in Kubernetes.
        let is_written_by_us = folder.join("..data").exists();
        mounts.insert(
            mount.mount_path.clone(),
            (source.canonicalize()?, mount.read_only == Some(true) || is_written_by_us),
        );
    }
    // Sorted: a mount in a mount comes after it.
    Ok(mounts.into_iter().map(|(inside, (outside, is_read_only))| (inside, outside, is_read_only)).collect())
}

/// One run of its process, to its end.
async fn run(seat: &Seat, container: &Container, recipe: &Recipe, ending: &mut Deadline) -> i32 {
    let Ok(mut process) = Process::start(recipe).await else { return CANNOT_RUN };
    seat.ledger.runs(&container.name, process.pid());
    let target = Target {
        container,
        pid: process.pid(),
        environment: &recipe.environment,
        address: seat.network.address(),
        node: seat.node.address,
    };
    let ended = tokio::select! {
        code = process.ended() => Some(code.unwrap_or(CANNOT_RUN)),
        () = watch_over(seat, &target) => None,
        _ = asked(ending) => None,
    };
    if let Some(code) = ended {
        return code;
    }
    // A container that its own probe condemned has the Pod's grace too, from now.
    let (_condemned, mut own) = watch::channel(Some(Instant::now() + seat.grace()));
    let deadline = if ending.borrow().is_some() { ending } else { &mut own };
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    tokio::select! {
        code = process.ended() => return code.unwrap_or(CANNOT_RUN),
        () = before_stop(&target, hook) => {}
        () = passed(deadline) => {}
    }
    let _ = signal(process.pid(), Signal::Terminate);
    tokio::select! {
        code = process.ended() => return code.unwrap_or(CANNOT_RUN),
        () = passed(deadline) => {}
    }
    let _ = signal(process.pid(), Signal::Kill);
    process.ended().await.unwrap_or(CANNOT_RUN)
}

async fn before_stop(target: &Target<'_>, hook: Option<&LifecycleHandler>) {
    let Some(hook) = hook else { return };
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds.try_into().unwrap_or(0))).await;
        return;
    }
    let question = Question {
        exec: hook.exec.as_ref(),
        http_get: hook.http_get.as_ref(),
        tcp_socket: hook.tcp_socket.as_ref(),
    };
    // The deadline ends it; what it answers is of no consequence, as in Kubernetes but for an event.
    target.answers(question, Duration::MAX).await;
}

/// Asks its probes for ever; returns when it must be restarted.
async fn watch_over(seat: &Seat, target: &Target<'_>) {
    let (name, container) = (&target.container.name, target.container);
    if let Some(probe) = &container.startup_probe
        && !Prober::new(probe, target).verdict().await
    {
        return;
    }
    seat.ledger.is_started(name);
    let readiness = async {
        let Some(probe) = &container.readiness_probe else {
            seat.ledger.is_ready(name, true);
            return std::future::pending().await;
        };
        let mut prober = Prober::new(probe, target);
        loop {
            seat.ledger.is_ready(name, prober.verdict().await);
        }
    };
    let liveness = async {
        let Some(probe) = &container.liveness_probe else { return std::future::pending().await };
        let mut prober = Prober::new(probe, target);
        while prober.verdict().await {}
    };
    tokio::select! {
        () = readiness => {}
        () = liveness => {}
    }
}

/// One probe, again and again.
struct Prober<'a> {
    probe: &'a Probe,
    target: &'a Target<'a>,
    next: Instant,
    successes: i32,
    failures: i32,
}

impl<'a> Prober<'a> {
    fn new(probe: &'a Probe, target: &'a Target<'a>) -> Self {
        Self {
            probe,
            target,
            next: Instant::now() + seconds(probe.initial_delay_seconds, 0),
            successes: 0,
            failures: 0,
        }
    }

    /// Asks until so many answers in a row are the same as its thresholds want.
    async fn verdict(&mut self) -> bool {
        loop {
            tokio::time::sleep_until(self.next).await;
            self.next += seconds(self.probe.period_seconds, 10);
            let is_good =
                self.target.answers(Question::of(self.probe), seconds(self.probe.timeout_seconds, 1)).await;
            (self.successes, self.failures) =
                if is_good { (self.successes + 1, 0) } else { (0, self.failures + 1) };
            if self.successes >= self.probe.success_threshold.unwrap_or(1) {
                return true;
            }
            if self.failures >= self.probe.failure_threshold.unwrap_or(3) {
                return false;
            }
        }
    }
}

/// Returns once it is asked to end.
pub(super) async fn asked(ending: &mut Deadline) -> Instant {
    let deadline = ending.wait_for(Option::is_some).await.map(|deadline| *deadline);
    match deadline {
        Ok(Some(deadline)) => deadline,
        // The Pod's task ends, and we with it.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

/// Returns once the deadline is over, which may be moved meanwhile.
async fn passed(deadline: &mut Deadline) {
    loop {
        let at = asked(deadline).await;
        tokio::select! {
            () = tokio::time::sleep_until(at) => return,
            Ok(()) = deadline.changed() => {}
        }
    }
}

/// What a container runtime says of a program that it cannot start.
const CANNOT_RUN: i32 = 128;

/// The kubelet's: back-off is forgotten after ten minutes of running, and doubles up to five.
const FORGIVEN: Duration = Duration::from_secs(600);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// How much of a log it puts into a status.
const LAST_WORDS_BYTES_MAX: usize = 2048;
