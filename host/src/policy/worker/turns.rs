//! A bound on how many worker processes do the same at a time.

use std::sync::{Condvar, Mutex, PoisonError};

use super::Stop;
use crate::policy::bounds;

/// So many turns at a time.
pub(in crate::policy) struct Turns {
    free: Mutex<u32>,
    freed: Condvar,
}

/// One of them, until dropped.
pub(in crate::policy) struct Turn<'a>(&'a Turns);

impl Turns {
    pub fn new(at_once: u32) -> Self {
        Self { free: Mutex::new(at_once), freed: Condvar::new() }
    }

    /// Waits for a turn. None: it was stopped meanwhile.
    pub fn take(&self, stop: &Stop) -> Option<Turn<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            if stop.is_stopped() {
                return None;
            }
            (free, _) = self.freed.wait_timeout(free, bounds::STEP).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
