//! The next step of a rollout, from facts alone.

use super::super::handover::HandoverRequest;
use crate::contract::Health;
use crate::kubernetes::status::Problem;
use crate::redis::Server;
use std::time::Instant;

/// Plans the next step:
///
/// 1. Nothing without a published master and a known revision; nothing while a Pod terminates, the group is
///    paused, or a switchover is under way.
/// 2. Two kinds of old replicas are replaced although the group is not healthy, since each may be what keeps
///    it from health: (a) one whose Redis does not run, which has nothing to lose; (b) one that cannot sync
///    from a newer master: it is syncing while all Pods exist and all new ones, the master among them, are in
///    sync.
/// 3. Nothing else happens while the group is not healthy: so at most one Pod is away at a time. A new
///    replica that does not read what the master sends is told: it never gets healthy.
/// 4. Old replicas, by name.
/// 5. The old master, unless it is to be kept: hands over if there is another Pod; an only one is replaced if
///    its volume keeps the data, and else is left to the user.
pub fn plan(view: &RolloutView, now: Instant) -> Rollout {
    if view.pods.iter().all(|pod| !pod.is_old) {
        return Rollout::Done;
    }
    let Some(master) = &view.master else { return Rollout::Wait(Wait::NoMaster) };
    let is_master = |pod: &&PodView| pod.name == *master;
    let (masters, replicas): (Vec<&PodView>, Vec<&PodView>) =
        view.pods.iter().filter(|pod| pod.is_old).partition(is_master);
    let old_master = masters.first();
    let obstacles = [
        (!view.is_revision_known, Wait::RevisionUnknown),
        (view.pods.iter().any(|pod| pod.is_terminating), Wait::PodTerminating),
        (view.is_paused, Wait::Paused),
        (view.is_switching, Wait::Switching),
    ];
    if let Some((_, why)) = obstacles.into_iter().find(|(stands, _)| *stands) {
        return Rollout::Wait(why);
    }
    if let Some(pod) = replicas.iter().find(|pod| !pod.runs) {
        return pod.replace(Replace::NotRunning);
    }
    let in_sync = |pod: &PodView| pod.health == Some(Health::InSync);
    let only_old_ones_lack =
        old_master.is_none() && view.is_whole && view.pods.iter().all(|pod| pod.is_old || in_sync(pod));
    let cannot_sync = |pod: &&&PodView| only_old_ones_lack && pod.health == Some(Health::Syncing);
    if let Some(pod) = replicas.iter().find(cannot_sync) {
        return pod.replace(Replace::CannotSync);
    }
    match (replicas.first(), old_master) {
        (None, None) => Rollout::Done,
        (Some(_), _) | (None, Some(_)) if !view.is_healthy => {
            unreadable(view, master).map_or(Rollout::Wait(Wait::NotHealthy), Rollout::Blocked)
        }
        (Some(replica), _) => replica.replace(Replace::Outdated),
        (None, Some(_)) if view.keeps_master_pod => Rollout::Wait(Wait::MasterKept),
        (None, Some(_)) if view.pods.len() > 1 && view.handover.is_due(now) => Rollout::HandOver,
        (None, Some(_)) if view.pods.len() > 1 => Rollout::Wait(Wait::HandoverRequested),
        (None, Some(only)) if view.has_volume => only.replace(Replace::Outdated),
        (None, Some(_)) => Rollout::Blocked(Problem {
            reason: "RolloutBlocked",
            message: "the only instance has its data in memory and would lose it: raise spec.replicas, or \
                      delete the Pod yourself"
                .into(),
        }),
    }
}

/// A new replica that does not read what the master sends: no wait helps it.
fn unreadable(view: &RolloutView, master: &str) -> Option<Problem> {
    let sender = view.pods.iter().find(|pod| pod.name == master)?.server.as_ref()?;
    let cannot = |pod: &&PodView| {
        let reads = pod.server.as_ref().and_then(|server| server.reads(sender));
        !pod.is_old && pod.runs && pod.health != Some(Health::InSync) && reads == Some(false)
    };
    let (name, server) =
        view.pods.iter().find(cannot).and_then(|pod| Some((&pod.name, pod.server.as_ref()?)))?;
    Some(Problem {
        reason: "RolloutBlocked",
        message: format!(
            "{name} runs {server}, which does not read the files of {sender}, as {master} sends them: set the image \
             back, or move the data to another resource"
        ),
    })
}

/// What a rollout rests on.
#[derive(Clone, Debug)]
pub struct RolloutView {
    /// All of the group, by name.
    pub pods: Vec<PodView>,
    /// The master as last published. None: none was.
    pub master: Option<String>,
    /// The StatefulSet has said which revision its Pods should have.
    pub is_revision_known: bool,
    pub is_paused: bool,
    /// A switchover was requested and has not ended.
    pub is_switching: bool,
    /// As many Pods exist as are wanted.
    pub is_whole: bool,
    /// The same, and the last verdict is healthy.
    pub is_healthy: bool,
    /// The data outlives the Pod.
    pub has_volume: bool,
    /// The master's Pod is left to the user.
    pub keeps_master_pod: bool,
    pub handover: HandoverRequest,
}

/// One Pod, as far as a rollout needs it.
#[derive(Clone, Debug)]
pub struct PodView {
    pub name: String,
    pub uid: Option<String>,
    /// It runs with what is not wanted any more.
    pub is_old: bool,
    /// Its Redis process runs, whatever it answers.
    pub runs: bool,
    pub is_terminating: bool,
    /// None: it has not been decided on.
    pub health: Option<Health>,
    /// None: not known.
    pub server: Option<Server>,
}

/// The next step of a rollout.
#[derive(Debug, PartialEq, Eq)]
pub enum Rollout {
    /// No Pod is old.
    Done,
    /// An old Pod exists, and now is not the time.
    Wait(Wait),
    /// The StatefulSet makes the Pod anew, with what is wanted.
    Replace { pod: String, uid: Option<String>, why: Replace },
    /// Only the master is old: another instance becomes master first.
    HandOver,
    /// A user has to act.
    Blocked(Problem),
}

/// Why nothing is done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    NoMaster,
    RevisionUnknown,
    PodTerminating,
    Paused,
    Switching,
    NotHealthy,
    /// The resource keeps the master's Pod out of it.
    MasterKept,
    /// The only one that ends by time alone.
    HandoverRequested,
}

/// Why a Pod is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    NotRunning,
    CannotSync,
    Outdated,
}

impl PodView {
    fn replace(&self, why: Replace) -> Rollout {
        Rollout::Replace { pod: self.name.clone(), uid: self.uid.clone(), why }
    }
}

impl Wait {
    /// Every other one ends with a snapshot that shows it.
    pub fn ends_by_time(self) -> bool {
        match self {
            Self::HandoverRequested => true,
            Self::NoMaster
            | Self::RevisionUnknown
            | Self::PodTerminating
            | Self::Paused
            | Self::Switching
            | Self::NotHealthy
            | Self::MasterKept => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Three new Pods in sync, `r-0` the master, and nothing in the way.
    fn settled() -> RolloutView {
        let pod = |name: &str| PodView {
            name: name.into(),
            uid: Some(format!("uid of {name}")),
            is_old: false,
            runs: true,
            is_terminating: false,
            health: Some(Health::InSync),
            server: None,
        };
        RolloutView {
            pods: ["r-0", "r-1", "r-2"].map(pod).into(),
            master: Some("r-0".into()),
            is_revision_known: true,
            is_paused: false,
            is_switching: false,
            is_whole: true,
            is_healthy: true,
            has_volume: false,
            keeps_master_pod: false,
            handover: HandoverRequest::default(),
        }
    }

    /// The same, all old.
    fn outdated() -> RolloutView {
        let mut view = settled();
        view.pods.iter_mut().for_each(|pod| pod.is_old = true);
        view
    }

    fn with(mut view: RolloutView, change: impl FnOnce(&mut RolloutView)) -> RolloutView {
        change(&mut view);
        view
    }

    fn replace(pod: &str, why: Replace) -> Rollout {
        Rollout::Replace { pod: pod.into(), uid: Some(format!("uid of {pod}")), why }
    }

    fn agrees(rows: Vec<(&str, RolloutView, Rollout)>) {
        let now = Instant::now();
        for (fact, view, expected) in rows {
            assert_eq!(plan(&view, now), expected, "{fact}");
        }
    }

    #[test]
    fn nothing_is_replaced_while_something_stands_in_the_way() {
        agrees(vec![
            ("no Pod is old", settled(), Rollout::Done),
            (
                "no master was published",
                with(outdated(), |view| view.master = None),
                Rollout::Wait(Wait::NoMaster),
            ),
            (
                "the StatefulSet has not named its revision",
                with(outdated(), |view| view.is_revision_known = false),
                Rollout::Wait(Wait::RevisionUnknown),
            ),
            (
                "a new Pod terminates",
                with(outdated(), |view| (view.pods[2].is_old, view.pods[2].is_terminating) = (false, true)),
                Rollout::Wait(Wait::PodTerminating),
            ),
            (
                "the group is paused",
                with(outdated(), |view| view.is_paused = true),
                Rollout::Wait(Wait::Paused),
            ),
            (
                "a switchover is under way",
                with(outdated(), |view| view.is_switching = true),
                Rollout::Wait(Wait::Switching),
            ),
            (
                "the group is not healthy",
                with(outdated(), |view| view.is_healthy = false),
                Rollout::Wait(Wait::NotHealthy),
            ),
            (
                "only the master is old, and the group is not healthy",
                with(settled(), |view| (view.pods[0].is_old, view.is_healthy) = (true, false)),
                Rollout::Wait(Wait::NotHealthy),
            ),
        ]);
    }

    #[test]
    fn replicas_go_by_name_and_the_master_hands_over_last() {
        let master_only = || with(settled(), |view| view.pods[0].is_old = true);
        let asked = HandoverRequest::sent_at(Instant::now());
        agrees(vec![
            ("all are old: the first replica", outdated(), replace("r-1", Replace::Outdated)),
            (
                "the first by name may be a replica",
                with(outdated(), |view| view.master = Some("r-1".into())),
                replace("r-0", Replace::Outdated),
            ),
            (
                "one replica is left",
                with(settled(), |view| view.pods[2].is_old = true),
                replace("r-2", Replace::Outdated),
            ),
            ("only the master is old", master_only(), Rollout::HandOver),
            (
                "a handover was requested a moment ago",
                with(master_only(), |view| view.handover = asked),
                Rollout::Wait(Wait::HandoverRequested),
            ),
            (
                "the resource keeps the master's Pod",
                with(master_only(), |view| view.keeps_master_pod = true),
                Rollout::Wait(Wait::MasterKept),
            ),
            (
                "the published master is no Pod any more: all old ones are replicas",
                with(outdated(), |view| view.master = Some("r-7".into())),
                replace("r-0", Replace::Outdated),
            ),
        ]);
        let view = with(master_only(), |view| view.handover = asked);
        assert_eq!(plan(&view, Instant::now() + Duration::from_secs(4)), Rollout::HandOver);
    }

    #[test]
    fn an_old_replica_that_holds_up_the_group_is_replaced_at_once() {
        let unwell = |change: fn(&mut RolloutView)| {
            with(outdated(), |view| {
                view.is_healthy = false;
                change(view);
            })
        };
        agrees(vec![
            (
                "its Redis does not run, and it is not the first",
                unwell(|view| view.pods[2].runs = false),
                replace("r-2", Replace::NotRunning),
            ),
            (
                "a master that does not run is no matter of a rollout",
                unwell(|view| view.pods[0].runs = false),
                Rollout::Wait(Wait::NotHealthy),
            ),
            (
                "a new Pod that does not run is waited for: no second one is replaced",
                unwell(|view| (view.pods[2].is_old, view.pods[2].runs) = (false, false)),
                Rollout::Wait(Wait::NotHealthy),
            ),
            (
                "it is syncing from a new master, and all new ones are in sync",
                unwell(|view| {
                    view.pods[0].is_old = false;
                    view.pods[2].health = Some(Health::Syncing);
                }),
                replace("r-2", Replace::CannotSync),
            ),
            (
                "it is syncing from an old master: it may only be slow",
                unwell(|view| view.pods[2].health = Some(Health::Syncing)),
                Rollout::Wait(Wait::NotHealthy),
            ),
            (
                "it is syncing, and so is a new one",
                unwell(|view| {
                    (view.pods[0].is_old, view.pods[1].is_old) = (false, false);
                    view.pods[1].health = Some(Health::Syncing);
                    view.pods[2].health = Some(Health::Syncing);
                }),
                Rollout::Wait(Wait::NotHealthy),
            ),
            (
                "it is syncing, and a Pod is missing",
                unwell(|view| {
                    (view.pods[0].is_old, view.is_whole) = (false, false);
                    view.pods[2].health = Some(Health::Syncing);
                }),
                Rollout::Wait(Wait::NotHealthy),
            ),
            (
                "one that does not run comes before one that cannot sync",
                unwell(|view| {
                    view.pods[0].is_old = false;
                    view.pods[1].health = Some(Health::Syncing);
                    view.pods[2].runs = false;
                }),
                replace("r-2", Replace::NotRunning),
            ),
        ]);
    }

    #[test]
    fn a_new_replica_that_does_not_read_what_the_master_sends_is_told_with_both_servers() {
        let of = |new: &str, health| {
            let mut view = with(outdated(), |view| view.is_healthy = false);
            let server = |version: &str| Server::of_info(&format!("redis_version:{version}\r\n"));
            view.pods[0].server = server("8.0.2");
            (view.pods[2].is_old, view.pods[2].server, view.pods[2].health) = (false, server(new), health);
            plan(&view, Instant::now())
        };
        let Rollout::Blocked(problem) = of("7.0.15", Some(Health::Syncing)) else { panic!("not blocked") };
        assert!(
            problem
                .message
                .starts_with("r-2 runs Redis 7.0.15, which does not read the files of Redis 8.0.2")
        );
        for (new, health) in [("8.2.1", Some(Health::Syncing)), ("7.0.15", Some(Health::InSync))] {
            assert_eq!(of(new, health), Rollout::Wait(Wait::NotHealthy), "{new}");
        }
    }

    #[test]
    fn an_only_instance_is_replaced_if_its_volume_keeps_the_data() {
        let only = || with(outdated(), |view| view.pods.truncate(1));
        agrees(vec![(
            "its data is on a volume",
            with(only(), |view| view.has_volume = true),
            replace("r-0", Replace::Outdated),
        )]);
        assert!(
            matches!(plan(&only(), Instant::now()), Rollout::Blocked(problem) if problem.reason == "RolloutBlocked")
        );
    }
}
