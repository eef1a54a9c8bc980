//! The sockets of simulated members: one listener each, on loopback addresses of their own. A member that
//! dies closes its connections and refuses new ones. Everything runs on the thread that calls.

use super::MEMBERS;
use super::commands::Session;
use super::group::Group;
use redis_model::wire;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, spawn_local};

/// Groups that can be dialled.
pub struct Fleet {
    groups: Vec<Rc<Served>>,
    rounds: usize,
}

/// What happened since the last mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Masters that were killed.
    pub killed: usize,
    /// Microseconds from each of these deaths to the promotion in its group, sorted; those that came.
    pub promoted_us: Vec<u64>,
    /// Groups that nobody was killed in, and that were sent what changes a server.
    pub touched: usize,
    /// Killed members that live again and whose link is up.
    pub back: usize,
}

struct Served {
    state: RefCell<State>,
}

struct State {
    group: Group,
    /// By member: the listener and the connections.
    tasks: Vec<Vec<AbortHandle>>,
    /// Who was killed since the mark, and when.
    killed: Option<(usize, Instant)>,
    promoted: Option<Instant>,
    changes: usize,
}

/// Where a member of a group listens: a loopback address of its own.
pub fn place(network: u8, port: u16, group: usize, member: usize) -> SocketAddrV4 {
    let [_, _, high, low] = u32::try_from(group * 4 + member + 1).expect("few groups").to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(127, network, high, low), port)
}

impl Fleet {
    /// So many healthy groups on 127.`network`.0.0/16, whose masters take `written` bytes a second. Within a
    /// `LocalSet`.
    ///
    /// # Errors
    /// An address that is taken, or too few file descriptors.
    pub fn start(groups: usize, network: u8, port: u16, written: u64) -> std::io::Result<Self> {
        let now = Instant::now();
        let mut fleet = Self { groups: Vec::new(), rounds: 0 };
        for number in 0..groups {
            let places: Vec<_> = (0..MEMBERS).map(|member| place(network, port, number, member)).collect();
            let tasks = vec![Vec::new(); MEMBERS];
            let state = State {
                group: Group::healthy(&places, written, now),
                tasks,
                killed: None,
                promoted: None,
                changes: 0,
            };
            let served = Rc::new(Served { state: RefCell::new(state) });
            for member in 0..MEMBERS {
                served.open(member)?;
            }
            fleet.groups.push(served);
        }
        Ok(fleet)
    }

    /// Forgets what was told so far.
    pub fn mark(&self) {
        for served in &self.groups {
            let state = &mut *served.state.borrow_mut();
            (state.killed, state.promoted, state.changes) = (None, None, 0);
        }
    }

    /// Kills the masters of so many percent of the groups at once, spread evenly; other groups with each
    /// call. Returns how many.
    pub fn kill(&mut self, percent: usize) -> usize {
        let chosen = (0..self.groups.len())
            .filter(|number| (number + 100 - self.rounds % 100) * percent % 100 < percent);
        let mut killed = 0;
        for number in chosen {
            killed += usize::from(self.groups[number].kill());
        }
        self.rounds += 1;
        killed
    }

    /// Starts those that were killed anew, empty.
    ///
    /// # Errors
    /// An address that is taken.
    pub fn revive(&self) -> std::io::Result<()> {
        for served in &self.groups {
            let killed = served.state.borrow().killed;
            if let Some((member, _)) = killed {
                served.state.borrow_mut().group.revive(member, Instant::now());
                served.open(member)?;
            }
        }
        Ok(())
    }

    /// What happened since the mark.
    pub fn told(&self) -> Told {
        let mut told = Told::default();
        for served in &self.groups {
            let state = served.state.borrow();
            let Some((member, at)) = state.killed else {
                told.touched += usize::from(state.changes > 0);
                continue;
            };
            told.killed += 1;
            told.promoted_us.extend(
                state.promoted.map(|promoted| u64::try_from((promoted - at).as_micros()).unwrap_or(u64::MAX)),
            );
            told.back += usize::from(
                state
                    .group
                    .master()
                    .is_some_and(|master| state.group.attached(master).any(|replica| replica == member)),
            );
        }
        told.promoted_us.sort_unstable();
        told
    }
}

impl Served {
    fn open(self: &Rc<Self>, member: usize) -> std::io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.state.borrow().group.members[member].at.into())?;
        let listener = socket.listen(16)?;
        let served = Rc::clone(self);
        let task = spawn_local(async move { served.listen(member, listener).await }).abort_handle();
        self.state.borrow_mut().tasks[member].push(task);
        Ok(())
    }

    async fn listen(self: Rc<Self>, member: usize, listener: TcpListener) {
        loop {
            // One that is gone before it was taken is none.
            let Ok((stream, _)) = listener.accept().await else { continue };
            let served = Rc::clone(&self);
            let task = spawn_local(async move { served.talk(member, stream).await }).abort_handle();
            let tasks = &mut self.state.borrow_mut().tasks[member];
            tasks.retain(|task| !task.is_finished());
            tasks.push(task);
        }
    }

    async fn talk(&self, member: usize, mut stream: TcpStream) {
        let (mut session, mut asked, mut reply) = (Session::default(), Vec::new(), String::new());
        // Whatever ends it, the other side sees an end.
        while matches!(stream.read_buf(&mut asked).await, Ok(count) if count > 0) {
            let mut taken = 0;
            while let Ok(Some((words, length))) = wire::request(&asked[taken..]) {
                taken += length;
                self.take(member, words, &mut session, &mut reply);
            }
            asked.drain(..taken);
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
            reply.clear();
        }
    }

    fn take(&self, member: usize, words: Vec<String>, session: &mut Session, reply: &mut String) {
        let (now, state) = (Instant::now(), &mut *self.state.borrow_mut());
        let was = state.group.master();
        state.changes += usize::from(session.take(&mut state.group, member, words, now, reply));
        if state.killed.is_some() && was.is_none() && state.group.master().is_some() {
            state.promoted.get_or_insert(now);
        }
    }

    fn kill(&self) -> bool {
        let (now, state) = (Instant::now(), &mut *self.state.borrow_mut());
        let Some(master) = state.group.master().filter(|_| state.killed.is_none()) else { return false };
        state.group.kill(master, now);
        (state.killed, state.promoted) = (Some((master, now)), None);
        state.tasks[master].drain(..).for_each(|task| task.abort());
        true
    }
}
