//! What one step of the reconciler came to: whether it must run again, and what stands in its way. Every step
//! returns it; it names no step.

use crate::kubernetes::error::message;
use crate::kubernetes::status::Problem;

/// The result of one step.
#[derive(Debug, PartialEq, Eq)]
pub struct StepResult {
    /// Nothing is left to be tried again: only another snapshot can give this step work.
    pub is_done: bool,
    /// What stands in the way.
    pub problems: Vec<Problem>,
}

impl StepResult {
    /// Nothing is left to do.
    pub fn done() -> Self {
        Self { is_done: true, problems: Vec::new() }
    }

    /// The step runs again after a while, and no user has to act.
    pub fn again() -> Self {
        Self { is_done: false, problems: Vec::new() }
    }

    /// A user has to act; another try without a change is of no use.
    pub fn stopped(problem: Problem) -> Self {
        Self { is_done: true, problems: vec![problem] }
    }

    /// The step runs again, and a user should know why.
    pub fn blocked(problem: Problem) -> Self {
        Self { is_done: false, problems: vec![problem] }
    }

    /// The API server refused a call, or was not reached; the latter is nothing that a user could put right
    /// in the resource.
    pub fn failed(reason: &'static str, what: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(_) => {
                Self::blocked(Problem { reason, message: format!("{what}: {}", message(error)) })
            }
            other => {
                tracing::warn!(what, error = %other, "API call failed, will retry");
                Self::again()
            }
        }
    }

    /// Both: done when both are, with the problems of both.
    pub fn add(&mut self, other: Self) {
        let Self { is_done, problems } = other;
        self.is_done &= is_done;
        self.problems.extend(problems);
    }
}
