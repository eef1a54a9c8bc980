//! Step 2 of the reconciler: the group of the resource runs, and gets what it should know. Calls no API: all
//! goes through the group's queue.

use super::super::policy::Asking;
use super::Reconciler;
use super::observe::{ENDPOINT, POLICY};
use super::running::RunningGroup;

impl Reconciler {
    /// Starts the group as soon as its login is known, and sends it what changed.
    pub fn drive(&mut self) {
        let Some(secrets) = self.snapshot.secrets.clone() else { return };
        // A group that started without its record would judge its data by what answers first.
        if self.running.is_none() && !self.snapshot.is_record_known {
            return;
        }
        if self.running.as_ref().is_some_and(|running| running.is_outdated(&self.snapshot, &secrets)) {
            self.running = None;
        }
        let (face, problem) = self.endpoint.settle(&self.context, &self.snapshot, &secrets, &self.authority);
        self.snapshot.endpoint = face;
        self.snapshot.problems.insert(ENDPOINT, problem.into_iter().collect());
        let resource = &self.snapshot.resource;
        let about = format!("{} {}", resource.api.kind, resource.name());
        let group = Asking { topology: self.snapshot.group().topology, resource: &about };
        let mut assignment =
            self.context.policies.assignment(&resource.namespace(), &resource.references.policy, &group);
        self.snapshot.problems.insert(POLICY, assignment.problem.take().into_iter().collect());
        self.count_rollout();
        if self.running.is_none() && self.starts_at.is_some() {
            return;
        }
        let running = match &mut self.running {
            Some(running) => running,
            None => {
                let witness = self.endpoint.witness();
                let started =
                    RunningGroup::start(&self.context, &self.snapshot, &secrets, &assignment, witness);
                self.running.insert(started)
            }
        };
        running.tell(
            &self.snapshot,
            &secrets,
            &assignment.parameters,
            *self.context.census.silent_permille().borrow(),
        );
        running.serve(&self.context, assignment);
        self.snapshot.shadow = running.shadow_status();
        self.endpoint.set_handle(&running.handle);
        self.snapshot.handle = Some(running.handle.clone());
        #[cfg(debug_assertions)]
        super::fault_of_group(&self.snapshot.resource, &running.handle);
        if let Some(request) = self.snapshot.switchover_to_send().cloned() {
            running.handle.switch_over(request.to);
            self.snapshot.switchover_id = Some(request.id);
            self.snapshot.switchover_refused = None;
        }
    }
}
