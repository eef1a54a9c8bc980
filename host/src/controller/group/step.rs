//! What one step of the reconciler came to: whether it must run again, and what stands in its way. Every step
//! returns it; it names no step.

use crate::kubernetes::error::message;
use crate::kubernetes::status::Problem;
use std::time::Duration;

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

/// The time until a step that is not done runs again with the same snapshot: doubled with each try.
pub fn retry_after(before: Option<Duration>) -> Duration {
    before.map_or(RETRY_FIRST, |before| (before * 2).min(RETRY_LAST))
}

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_come_later_and_later_up_to_a_bound() {
        let waits = std::iter::successors(Some(retry_after(None)), |wait| Some(retry_after(Some(*wait))));
        let waits: Vec<u128> = waits.take(6).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000]);
    }

    #[test]
    fn steps_are_done_when_all_are_and_each_problem_is_kept() {
        let problem = |reason| Problem { reason, message: String::new() };
        let mut result = StepResult::done();
        result.add(StepResult::stopped(problem("A")));
        assert!(result.is_done);
        result.add(StepResult::blocked(problem("B")));
        result.add(StepResult::done());
        assert_eq!(result, StepResult { is_done: false, problems: vec![problem("A"), problem("B")] });
    }
}
