//! Whether what runs is what the resource asks for: not from the moment that a change of it, or of what it
//! names, is seen until the last Pod has it and the group is healthy. A Pod that dies later is trouble and no
//! change.

use super::live_config::LiveConfig;
use super::objects::Objects;
use super::rollout::has_old_pods;
use super::snapshot::Snapshot;
use crate::kubernetes::objects::AclUser;
use crate::kubernetes::pods::is_ready;

/// The answer for one version of the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// `metadata.generation`. None: the API server gave it none.
    pub generation: Option<i64>,
    /// All of it runs.
    pub is_settled: bool,
    /// What is missing, in words. None: nothing, or it is not known yet.
    pub awaits: Option<&'static str>,
}

impl Settled {
    /// What a predecessor left.
    pub fn recorded(snapshot: &Snapshot) -> Self {
        let generation = snapshot.resource.object.metadata.generation;
        let settled = snapshot.resource.settings.recorded.settled_generation;
        Self { generation, is_settled: generation.is_some() && settled == generation, awaits: None }
    }
}

/// Follows one resource.
pub struct Settling {
    wanted: Option<Wanted>,
    settled: Settled,
}

/// What a change changes: the spec, and what it names.
#[derive(PartialEq, Eq)]
struct Wanted {
    generation: Option<i64>,
    password: Option<String>,
    certificate: Option<String>,
    users: Vec<AclUser>,
}

impl Settling {
    pub fn new(snapshot: &Snapshot) -> Self {
        Self { wanted: None, settled: Settled::recorded(snapshot) }
    }

    /// Takes in a snapshot that was maintained. `is_done`: nothing is left to be tried again.
    pub fn observe(
        &mut self,
        snapshot: &Snapshot,
        objects: &Objects,
        live_config: &LiveConfig,
        is_done: bool,
    ) -> Settled {
        let wanted = wanted(snapshot);
        let is_rolled = snapshot.is_set_current && !has_old_pods(snapshot, live_config);
        let are_ready = snapshot.pods.values().all(|pod| is_ready(pod));
        // Of a group that hibernates nothing is left to be healthy.
        let hibernates = snapshot.resource.settings.replicas == 0;
        let works = if hibernates { snapshot.pods.is_empty() } else { snapshot.is_healthy() };
        let conditions = [
            (is_rolled, "not all Pods have what the resource asks for"),
            (are_ready, "not all Pods are ready"),
            (works, "the group is not yet healthy with these Pods"),
            (objects.are_seen(snapshot), "the API server has not shown all objects as they were applied"),
            (is_done, "a step is not done, and is tried again"),
        ];
        let awaits = conditions.into_iter().find_map(|(holds, otherwise)| (!holds).then_some(otherwise));
        self.note(wanted, is_rolled, awaits);
        self.settled
    }

    fn note(&mut self, wanted: Wanted, is_rolled: bool, awaits: Option<&'static str>) {
        let is_same = self.wanted.as_ref().is_none_or(|before| *before == wanted)
            && self.settled.generation == wanted.generation;
        let was_settled = self.settled.is_settled && is_same;
        let generation = wanted.generation;
        self.wanted = Some(wanted);
        // Another version of the operator may want other Pods for the same spec.
        let is_settled = is_rolled && was_settled || awaits.is_none();
        self.settled = Settled { generation, is_settled, awaits: awaits.filter(|_| !is_settled) };
    }
}

fn wanted(snapshot: &Snapshot) -> Wanted {
    let secrets = snapshot.secrets.as_deref();
    Wanted {
        generation: snapshot.resource.object.metadata.generation,
        password: secrets.and_then(|secrets| secrets.passwords.wanted.clone()),
        certificate: secrets.and_then(|secrets| secrets.certificate()),
        users: secrets.map(|secrets| secrets.users.set.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(generation: i64) -> Wanted {
        let (password, certificate, users) = (None, None, Vec::new());
        Wanted { generation: Some(generation), password, certificate, users }
    }

    #[test]
    fn it_is_settled_from_the_last_pod_that_has_a_change_until_the_next_change() {
        let settled = Settled { generation: Some(1), is_settled: false, awaits: None };
        let mut settling = Settling { wanted: None, settled };
        let mut note = |generation, password: &str, is_rolled, is_complete: bool| {
            let wanted = Wanted { password: Some(password.into()), ..of(generation) };
            settling.note(wanted, is_rolled, (!is_complete).then_some("a Pod"));
            settling.settled.is_settled
        };
        assert!(!note(1, "a", true, false), "its Pods start");
        assert!(note(1, "a", true, true));
        assert!(note(1, "a", true, false), "a replica died: no change");
        assert!(!note(2, "a", true, false), "another spec, before the StatefulSet has it");
        assert!(!note(2, "a", false, false), "Pods are replaced");
        assert!(note(2, "a", true, true));
        assert!(!note(2, "b", true, false), "another password");
        assert!(note(2, "b", true, true));
        assert!(!note(2, "b", false, false), "the operator wants other Pods");
        let recorded = Settled { generation: Some(3), is_settled: true, awaits: None };
        let mut settling = Settling { wanted: None, settled: recorded };
        settling.note(of(3), true, Some("a Pod"));
        assert!(settling.settled.is_settled, "a predecessor saw it through");
    }
}
