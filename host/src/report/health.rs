//! Liveness and readiness of this process: whether the loops of its groups run, and whether its dependencies
//! answer. The loops report it, HTTP serves it. Liveness is about this process alone: a restart repairs no
//! API server, and would leave the groups without their operator.

use crate::group::{Moment, Report};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The groups of this process and its dependencies. All moments count from one start.
#[derive(Debug)]
pub struct Health {
    stale_us: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    next: u64,
    groups: BTreeMap<u64, Arc<Signs>>,
    contacts: Vec<Arc<Answers>>,
}

/// Signs of life of one group.
#[derive(Debug)]
struct Signs {
    name: String,
    newest_us: AtomicU64,
    has_decided: AtomicBool,
    is_held: AtomicBool,
}

/// Answers of one dependency.
#[derive(Debug)]
struct Answers {
    name: String,
    within_us: u64,
    /// The moment of the newest answer, or [`NEVER`].
    newest_us: AtomicU64,
    /// The moment of the newest refusal, or [`NEVER`].
    refused_us: AtomicU64,
}

impl Health {
    /// Without groups, and so healthy. The loop of every group runs at least once in an interval.
    pub fn new(interval_us: u64) -> Self {
        Self { stale_us: interval_us.saturating_mul(INTERVALS), known: Mutex::default() }
    }

    /// Adds a group, until the returned value is dropped.
    pub fn group(self: &Arc<Self>, name: String, now: Moment) -> Heartbeat {
        let signs = Signs {
            name,
            newest_us: AtomicU64::new(now.0),
            has_decided: AtomicBool::new(false),
            is_held: AtomicBool::new(false),
        };
        let signs = Arc::new(signs);
        let mut known = self.known();
        let number = known.next;
        known.next += 1;
        known.groups.insert(number, Arc::clone(&signs));
        Heartbeat { health: Arc::clone(self), number, signs }
    }

    /// Adds a dependency that answers at least so often.
    pub fn dependency(&self, name: String, within_us: u64) -> Dependency {
        let answers = Arc::new(Answers {
            name,
            within_us,
            newest_us: AtomicU64::new(NEVER),
            refused_us: AtomicU64::new(NEVER),
        });
        self.known().contacts.push(Arc::clone(&answers));
        Dependency(answers)
    }

    /// The loops run: the newest sign of life of each group, or its start, is younger than ten intervals.
    ///
    /// # Errors
    /// One line that names the first group whose loop does not run.
    pub fn alive(&self, now: Moment) -> Result<(), String> {
        self.known().groups.values().try_for_each(|signs| {
            let age_us = Moment(signs.newest_us.load(Ordering::Relaxed)).age_us(now);
            if age_us < self.stale_us {
                Ok(())
            } else {
                Err(format!("the loop of {} has not run for {} ms", signs.name, age_us / 1000))
            }
        })
    }

    /// The loops run, every group has a decision and a policy with usable answers, and every dependency
    /// answers. Authority to act is not needed: an operator that waits for it is ready to take over.
    ///
    /// # Errors
    /// One line that says what is missing.
    pub fn ready(&self, now: Moment) -> Result<(), String> {
        self.alive(now)?;
        let known = self.known();
        known.contacts.iter().try_for_each(|answers| {
            let refused_us = answers.refused_us.load(Ordering::Relaxed);
            let is_refused = refused_us != NEVER && Moment(refused_us).age_us(now) < REFUSED_US;
            if is_refused {
                Err(format!("{}: access refused; the log names the missing right", answers.name))
            } else {
                Ok(())
            }
        })?;
        known.contacts.iter().try_for_each(|answers| match answers.newest_us.load(Ordering::Relaxed) {
            NEVER => Err(format!("{}: no answer yet", answers.name)),
            newest_us => match Moment(newest_us).age_us(now) {
                age_us if age_us < answers.within_us => Ok(()),
                age_us => Err(format!("{}: no answer for {} ms", answers.name, age_us / 1000)),
            },
        })?;
        known.groups.values().try_for_each(|signs| {
            if signs.is_held.load(Ordering::Relaxed) {
                return Err(format!("no policy gives a usable answer for {}", signs.name));
            }
            if signs.has_decided.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err(format!("no decision has been made yet for {}", signs.name))
            }
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signs of life of one group, given by its driver. They count even while nothing reads them.
#[derive(Debug)]
pub struct Heartbeat {
    health: Arc<Health>,
    number: u64,
    signs: Arc<Signs>,
}

impl Heartbeat {
    /// The loop has run.
    pub fn beat(&self, now: Moment) {
        self.signs.newest_us.fetch_max(now.0, Ordering::Relaxed);
    }

    /// The loop has reported.
    pub fn report(&self, now: Moment, report: &Report) {
        self.beat(now);
        match report {
            Report::Decided(_) => {
                self.signs.has_decided.store(true, Ordering::Relaxed);
                self.signs.is_held.store(false, Ordering::Relaxed);
            }
            Report::Held => self.signs.is_held.store(true, Ordering::Relaxed),
            Report::Link { .. }
            | Report::Fault { .. }
            | Report::Sent { .. }
            | Report::Withheld { .. }
            | Report::Finished { .. } => {}
        }
    }
}

impl Drop for Heartbeat {
    /// Removes the group. One whose loop panicked is started again, with another heartbeat.
    fn drop(&mut self) {
        self.health.known().groups.remove(&self.number);
    }
}

/// The answers of one dependency.
#[derive(Debug)]
pub struct Dependency(Arc<Answers>);

impl Dependency {
    /// The dependency has answered.
    pub fn answered(&self, now: Moment) {
        self.0.newest_us.store(now.0.min(NEVER - 1), Ordering::Relaxed);
    }

    /// The dependency has refused access. While the refusals last, requests are repeated and refused again.
    pub fn refused(&self, now: Moment) {
        self.0.refused_us.store(now.0.min(NEVER - 1), Ordering::Relaxed);
    }
}

/// A probe round may take as long as a hung server's deadline; ten in a row do not.
const INTERVALS: u64 = 10;
const NEVER: u64 = u64::MAX;
/// Several times the longest delay between two requests.
const REFUSED_US: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::super::script::{decided, lost};
    use super::*;
    use crate::contract::Verdict;

    fn health(interval_us: u64) -> Arc<Health> {
        Arc::new(Health::new(interval_us))
    }

    fn decision() -> Report {
        decided(Verdict::Refuse, "nobody-eligible", "cart-0000", vec![])
    }

    #[test]
    fn a_process_without_groups_is_alive_and_ready() {
        let health = health(100);
        assert_eq!((health.alive(Moment(1 << 40)), health.ready(Moment(1 << 40))), (Ok(()), Ok(())));
    }

    #[test]
    fn a_loop_is_alive_while_its_newest_sign_is_younger_than_ten_intervals() {
        let health = health(100);
        let cart = health.group("shop/cart".into(), Moment(1_000));
        assert_eq!(health.alive(Moment(1_999)), Ok(()));
        assert!(health.alive(Moment(2_000)).is_err());
        cart.report(Moment(2_000), &lost("cart-0000"));
        assert_eq!(health.alive(Moment(2_999)), Ok(()));
        cart.beat(Moment(3_000));
        assert_eq!(health.alive(Moment(3_999)), Ok(()));
        assert_eq!(
            health.alive(Moment(2_003_000)),
            Err("the loop of shop/cart has not run for 2000 ms".into())
        );
    }

    #[test]
    fn a_running_group_does_not_hide_a_stuck_one_and_a_removed_one_does_not_count() {
        let health = health(100);
        let (stuck, well) =
            (health.group("shop/stuck".into(), Moment(0)), health.group("shop/well".into(), Moment(0)));
        well.beat(Moment(5_000));
        assert!(health.alive(Moment(5_001)).unwrap_err().contains("shop/stuck"));
        drop(stuck);
        assert_eq!(health.alive(Moment(5_001)), Ok(()));
    }

    #[test]
    fn it_is_ready_once_each_group_has_decided_and_while_policies_answer() {
        let health = health(1_000);
        let (cart, till) =
            (health.group("shop/cart".into(), Moment(0)), health.group("shop/till".into(), Moment(0)));
        cart.report(Moment(1), &decision());
        till.report(Moment(1), &lost("till-0000"));
        assert_eq!(health.ready(Moment(2)), Err("no decision has been made yet for shop/till".into()));
        till.report(Moment(2), &decision());
        assert_eq!(health.ready(Moment(3)), Ok(()));
        cart.report(Moment(3), &Report::Held);
        till.report(Moment(3), &decision());
        assert_eq!(health.ready(Moment(4)), Err("no policy gives a usable answer for shop/cart".into()));
        cart.report(Moment(4), &decision());
        assert_eq!((health.ready(Moment(5)), health.ready(Moment(20_000)).is_err()), (Ok(()), true));
    }

    #[test]
    fn a_missing_dependency_makes_the_process_unready_and_leaves_it_alive() {
        let health = health(1_000);
        let (api, list) = (
            health.dependency("the API server".into(), 500),
            health.dependency("the list of Redis objects".into(), u64::MAX),
        );
        assert_eq!(health.ready(Moment(0)), Err("the API server: no answer yet".into()));
        api.answered(Moment(0));
        assert_eq!(health.ready(Moment(1)), Err("the list of Redis objects: no answer yet".into()));
        list.answered(Moment(1));
        assert_eq!(health.ready(Moment(499)), Ok(()));
        assert_eq!(health.ready(Moment(5_000)), Err("the API server: no answer for 5 ms".into()));
        assert_eq!(health.alive(Moment(1 << 40)), Ok(()));
        api.answered(Moment(1 << 40));
        assert_eq!(health.ready(Moment(1 << 40)), Ok(()));
    }

    #[test]
    fn a_refused_dependency_makes_the_process_unready_until_the_refusals_end() {
        let health = health(1_000);
        let list = health.dependency("the list of Redis objects".into(), u64::MAX);
        list.answered(Moment(0));
        list.refused(Moment(1));
        let why = "the list of Redis objects: access refused; the log names the missing right";
        assert_eq!(health.ready(Moment(REFUSED_US)), Err(why.into()));
        assert_eq!(health.ready(Moment(1 + REFUSED_US)), Ok(()));
    }
}
