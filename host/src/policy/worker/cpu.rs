//! CPU time: of this process, and of a worker process.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time that this process has used.
pub(super) fn own() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

fn duration(time: rustix::time::Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The CPU time that a child process has used. None: it ended and was waited for.
#[allow(unsafe_code, reason = "no crate in use names the CPU clock of another process")]
pub(super) fn of(pid: u32) -> Option<Duration> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both pointers are to live locals, which the calls fill in; any pid is allowed, and an unknown
    // one is an error.
    let is_known = unsafe {
        libc::clock_getcpuclockid(pid, &mut clock) == 0 && libc::clock_gettime(clock, &mut time) == 0
    };
    is_known.then(|| {
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_of_a_process_agree_and_advance_with_work() {
        let before = of(std::process::id()).unwrap();
        while own() < before + Duration::from_millis(2) {
            std::hint::black_box(0);
        }
        assert!(of(std::process::id()).unwrap() >= before + Duration::from_millis(2));
        assert_eq!(of(u32::MAX), None);
    }
}
