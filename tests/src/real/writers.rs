//! Clients that write to every server of a group all the time, and keep what was acknowledged, by which
//! server and when: the evidence of what must not be lost. A thread each, so that the test does not delay
//! them.

use super::Servers;
use redis_operator::redis::Endpoint;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One write that a server said OK to.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Index of the server.
    pub place: usize,
    /// What was set.
    pub key: String,
    /// When the OK arrived.
    pub at: Instant,
    /// WAIT reported that a replica has it: replacing a dead master must not lose it.
    pub is_replicated: bool,
}

/// The running clients. Dropping them ends them.
pub struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    threads: Vec<JoinHandle<()>>,
}

/// The settings of all clients.
#[derive(Clone, Copy)]
struct Habit {
    /// Unique in this process, so that no two write the same key.
    number: u64,
    pace: Duration,
    waits: bool,
}

impl Writers {
    /// One client a server, logged in as [`Servers::log_in_as`] says, each with a new write every
    /// millisecond, if the one before was answered.
    pub fn start(servers: &Servers) -> Self {
        Self::with(servers, false)
    }

    /// The same, and every write waits for a replica (WAIT).
    pub fn waiting(servers: &Servers) -> Self {
        Self::with(servers, true)
    }

    fn with(servers: &Servers, waits: bool) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let habit =
            Habit { number: STARTED.fetch_add(1, Ordering::Relaxed), pace: Duration::from_millis(1), waits };
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let threads = (0..servers.count()).map(|place| {
            let (endpoint, stop, acknowledged) =
                (servers.endpoint(place).clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
            let login = servers.login().map(|(user, password)| format!("AUTH {user} {password}\r\n"));
            std::thread::spawn(move || {
                write_on(place, &endpoint, login.as_deref(), habit, &stop, &acknowledged);
            })
        });
        let threads = threads.collect();
        Self { stop, acknowledged, threads }
    }

    /// Everything that was acknowledged so far, in the order of arrival.
    pub fn so_far(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// The first write that a server other than `old` acknowledged after `since`.
    pub async fn first_elsewhere(&self, old: usize, since: Instant) -> Acknowledged {
        super::until("a write on another server", async || {
            self.find(|write| write.place != old && write.at >= since)
        })
        .await
    }

    /// Waits for so many more writes.
    pub async fn go_on(&self, writes: usize) {
        let target = self.acknowledged.lock().unwrap().len() + writes;
        super::until("writes go on", async || {
            (self.acknowledged.lock().unwrap().len() >= target).then_some(())
        })
        .await;
    }

    fn find(&self, is_it: impl Fn(&Acknowledged) -> bool) -> Option<Acknowledged> {
        self.acknowledged.lock().unwrap().iter().find(|write| is_it(write)).cloned()
    }

    /// Ends the clients and returns the acknowledged writes.
    pub fn stop(mut self) -> Vec<Acknowledged> {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Acknowledged {
    /// Those of `writes` that a server does not have.
    pub async fn lost(writes: &[Self], servers: &Servers, place: usize) -> Vec<Self> {
        let mut client = servers.client(place).await.unwrap();
        let mut lost = Vec::new();
        for some in writes.chunks(1000) {
            let mut pipeline = redis::pipe();
            for write in some {
                pipeline.cmd("EXISTS").arg(&write.key);
            }
            let held: Vec<bool> = pipeline.query_async(&mut client).await.unwrap();
            lost.extend(some.iter().zip(held).filter(|(_, held)| !held).map(|(write, _)| write.clone()));
        }
        lost
    }
}

/// The loop of one client: one connection after the other, one write after the other.
fn write_on(
    place: usize,
    endpoint: &Endpoint,
    login: Option<&str>,
    habit: Habit,
    stop: &AtomicBool,
    acknowledged: &Mutex<Vec<Acknowledged>>,
) {
    let address: SocketAddr = endpoint.to_string().parse().unwrap();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(mut client) = Client::connect(&address) else {
            std::thread::sleep(habit.pace);
            continue;
        };
        if let Some(login) = login
            && client.ask(login, stop, |line| line.starts_with("+OK")) != Some(true)
        {
            std::thread::sleep(habit.pace);
            continue;
        }
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let key = format!("w{}-{place}-{number}", habit.number);
            let Some(is_taken) =
                client.ask(&format!("SET {key} {number}\r\n"), stop, |line| line.starts_with("+OK"))
            else {
                break;
            };
            if is_taken {
                acknowledged.lock().unwrap().push(Acknowledged {
                    place,
                    key,
                    at: Instant::now(),
                    is_replicated: false,
                });
                if habit.waits {
                    let is_replicated = client
                        .ask("WAIT 1 20\r\n", stop, |line| line.starts_with(':') && !line.starts_with(":0"));
                    let Some(is_replicated) = is_replicated else { break };
                    let mut all = acknowledged.lock().unwrap();
                    let ours = all.iter_mut().rev().find(|write| write.place == place);
                    ours.unwrap().is_replicated = is_replicated;
                }
            }
            next += habit.pace;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next = next.max(Instant::now());
        }
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(address, Duration::from_millis(100)).ok()?;
        stream.set_nodelay(true).ok()?;
        // So that a client of a hung server notices that the test is over.
        stream.set_read_timeout(Some(Duration::from_millis(50))).ok()?;
        Some(Self(BufReader::new(stream)))
    }

    /// One command in the inline form; whether its answer, one line, is as wanted. None: the connection
    /// ended, or it is time to go.
    fn ask(&mut self, command: &str, stop: &AtomicBool, is_wanted: impl Fn(&str) -> bool) -> Option<bool> {
        self.0.get_mut().write_all(command.as_bytes()).ok()?;
        let mut line = String::new();
        loop {
            match self.0.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => return Some(is_wanted(&line)),
                Err(error) if is_timeout(&error) && !stop.load(Ordering::Relaxed) => {}
                Err(_) => return None,
            }
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
