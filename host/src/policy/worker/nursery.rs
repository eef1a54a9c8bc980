//! One thread starts all worker processes of an operator and waits for their end: the system kills a worker
//! when the *thread* that started it ends (`PR_SET_PDEATHSIG`), so no thread of a pool may start one.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use super::{ARGUMENT, Role};

/// Starts and ends worker processes. Its thread starts with the first of them.
pub(in crate::policy) struct Nursery {
    program: PathBuf,
    orders: Mutex<Option<Sender<Order>>>,
}

/// Something that ends its worker process when it was not used for long.
pub(in crate::policy) trait Rest: Send + Sync {
    fn rest(&self);
}

type Started = io::Result<(Child, UnixStream)>;

enum Order {
    Start(Role, SyncSender<Started>),
    End(Child),
    LetRest(Weak<dyn Rest>),
}

impl Nursery {
    /// `program`: of this version, with [`super::worker_main`] in its `main`.
    pub fn new(program: PathBuf) -> Self {
        Self { program, orders: Mutex::new(None) }
    }

    /// A new process, and the socket on its standard input.
    pub fn start(&self, role: Role) -> Started {
        let (sender, started) = sync_channel(1);
        self.order(Order::Start(role, sender))?;
        started.recv().map_err(|_| gone())?
    }

    /// Kills a process, and waits for its end on the nursery's thread.
    pub fn end(&self, mut child: Child) {
        // It may have ended by itself.
        drop(child.kill());
        drop(self.order(Order::End(child)));
    }

    /// Asks `resting` to rest at intervals, for as long as it lives.
    pub fn let_rest(&self, resting: Weak<dyn Rest>) {
        drop(self.order(Order::LetRest(resting)));
    }

    fn order(&self, order: Order) -> io::Result<()> {
        // No code that holds the lock panics halfway through a change.
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &*orders {
            Some(sender) => sender,
            None => {
                let (sender, receiver) = channel();
                let program = self.program.clone();
                std::thread::Builder::new()
                    .name("policy-workers".into())
                    .spawn(move || obey(&program, &receiver))?;
                orders.insert(sender)
            }
        };
        sender.send(order).map_err(|_| gone())
    }
}

fn obey(program: &Path, orders: &Receiver<Order>) {
    let mut ending: Vec<Child> = Vec::new();
    let mut resting: Vec<Weak<dyn Rest>> = Vec::new();
    loop {
        let wait = match (ending.is_empty(), resting.is_empty()) {
            (false, _) => REAP,
            (true, false) => REST,
            (true, true) => Duration::MAX,
        };
        match orders.recv_timeout(wait) {
            // Nobody may wait for it any more; then it is dropped, its socket closes, and it ends.
            Ok(Order::Start(role, to)) => drop(to.send(start(program, role))),
            Ok(Order::End(child)) => ending.push(child),
            Ok(Order::LetRest(further)) => resting.push(further),
            Err(RecvTimeoutError::Timeout) if ending.is_empty() => {
                resting.retain(|resting| resting.upgrade().inspect(|resting| resting.rest()).is_some())
            }
            Err(RecvTimeoutError::Timeout) => {}
            // With this thread all workers end.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        ending.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

fn start(program: &Path, role: Role) -> Started {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new(program)
        .arg0("redis-operator")
        .args([ARGUMENT, role.name(), &std::process::id().to_string()])
        // No password of this process, and nothing that changes how the program works.
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // An abort of the engine writes there, and a log has one line for it already.
        .stderr(Stdio::null())
        // The terminal's Ctrl-C is for the operator.
        .process_group(0)
        .spawn()?;
    Ok((child, ours))
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts worker processes has ended")
}

/// Between two looks at processes that were killed: the system takes some milliseconds.
const REAP: Duration = Duration::from_millis(20);
/// Between two looks at who may rest.
const REST: Duration = Duration::from_secs(30);
