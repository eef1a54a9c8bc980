//! The two process functions that need unsafe code: die with the parent, and send a signal.

#![allow(
    unsafe_code,
    reason = "prctl between fork and exec, and kill, have no safe wrapper in std, tokio or libc"
)]

use std::io;

/// Signals for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL: it ends at once.
    Kill,
    /// SIGTERM: Redis shuts down cleanly.
    Terminate,
    /// SIGSTOP: it hangs, while its kernel still accepts connections.
    Stop,
    /// SIGCONT: it runs again.
    Continue,
}

/// The child is killed when the *thread* that started it ends, in whatever way. Start servers from a thread
/// that outlives them, such as that of `main` or of a test, never from a blocking pool.
pub(super) fn die_with_parent(command: &mut tokio::process::Command) {
    let parent = std::process::id();
    let request = move || {
        // SAFETY: prctl and getppid take no pointers here and are async-signal-safe, as pre_exec demands.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // If the parent ended before this request, the signal never comes.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure calls the two functions above and reads one integer. It does
    // not allocate, lock or panic.
    unsafe {
        command.pre_exec(request);
    }
}

/// Sends `signal` to one process.
///
/// # Errors
/// When there is no such process.
pub(super) fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Terminate => libc::SIGTERM,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    let pid = libc::pid_t::try_from(pid)
        .ok()
        .filter(|pid| *pid > 0)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: kill takes no pointers. A positive pid addresses one process, never a group.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
