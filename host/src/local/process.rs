//! The two things about processes that safe Rust cannot say: die with your parent, and take this signal.

#![allow(
    unsafe_code,
    reason = "prctl between fork and exec, and kill, have no safe wrapper in std, tokio or libc"
)]

use std::io;

/// What can be sent to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL: dead at once.
    Kill,
    /// SIGTERM: Redis shuts down in order.
    Terminate,
    /// SIGSTOP: it hangs; its kernel goes on accepting.
    Stop,
    /// SIGCONT: it goes on.
    Continue,
}

/// Makes the child die when the *thread* that starts it ends, however that ends: start servers from a thread
/// that lives as long as they shall, such as that of `main` or of one test, never from a blocking pool.
pub(super) fn die_with_parent(command: &mut tokio::process::Command) {
    let parent = std::process::id();
    let ask = move || {
        // SAFETY: prctl and getppid take no pointers here and are async-signal-safe, as pre_exec demands.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have ended before the request: then nobody would ever send the signal.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure calls the two functions above and reads one integer. It does
    // not allocate, lock or panic.
    unsafe {
        command.pre_exec(ask);
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
