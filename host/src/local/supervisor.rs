//! Keeps servers running: starts them, and restarts a server that ended. Chooses no master: every server
//! starts as a replica of itself and waits for its role, so that one that has data never drops it by its
//! start.

use super::process::Signal;
use super::server::{Server, ServerError, ServerSettings};
use crate::redis::Endpoint;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Servers that are kept running until this value is stopped or dropped. All of it runs on the thread that
/// polls it, since children end with the thread that started them: create it on a current-thread runtime that
/// outlives the servers.
#[derive(Debug)]
pub struct Supervisor {
    orders: Vec<(Endpoint, UnboundedSender<Order>)>,
    tasks: JoinSet<()>,
}

/// A change of a server.
#[derive(Debug)]
pub enum Change {
    /// It runs.
    Started {
        /// Its address.
        endpoint: Endpoint,
        /// Its process.
        pid: u32,
    },
    /// It ended.
    Ended {
        /// Its address.
        endpoint: Endpoint,
        /// Its exit status. None: unknown.
        status: Option<ExitStatus>,
    },
    /// It could not be started; it will be retried.
    NotStarted {
        /// Its address.
        endpoint: Endpoint,
        /// The error.
        error: ServerError,
    },
}

#[derive(Debug)]
enum Order {
    /// Kill it and do not restart it. The answer is the moment of the signal.
    Kill(oneshot::Sender<Instant>),
    /// Start it again.
    Revive,
}

impl Supervisor {
    /// Starts a server for each of the settings and waits until all answer.
    ///
    /// # Errors
    /// [`ServerError`] of the first server that does not start; all are ended then.
    pub async fn start(
        settings: Vec<ServerSettings>,
    ) -> Result<(Self, UnboundedReceiver<Change>), ServerError> {
        let (sender, changes) = unbounded_channel();
        let mut servers: Vec<Server> = settings.into_iter().map(Server::start).collect::<Result<_, _>>()?;
        let deadline = Instant::now() + READY_MAX;
        for server in &mut servers {
            server.ready(deadline).await?;
        }
        let (mut orders, mut tasks) = (Vec::new(), JoinSet::new());
        for server in servers {
            let (order, ordered) = unbounded_channel();
            orders.push((server.endpoint().clone(), order));
            tasks.spawn(
                Supervised { settings: server.settings().clone(), ordered, changes: sender.clone() }
                    .keep(server),
            );
        }
        Ok((Self { orders, tasks }, changes))
    }

    /// Kills the server with SIGKILL and does not restart it. Returns the moment of the signal; None if it
    /// was not running.
    pub async fn kill(&self, endpoint: &Endpoint) -> Option<Instant> {
        let (answer, killed) = oneshot::channel();
        self.order(endpoint, Order::Kill(answer));
        killed.await.ok()
    }

    /// Starts a killed server again.
    pub fn revive(&self, endpoint: &Endpoint) {
        self.order(endpoint, Order::Revive);
    }

    /// Ends all servers and waits for that. Nothing is saved.
    pub async fn stop(mut self) {
        self.orders.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    fn order(&self, endpoint: &Endpoint, order: Order) {
        if let Some((_, orders)) = self.orders.iter().find(|(known, _)| known == endpoint) {
            drop(orders.send(order));
        }
    }
}

/// One server through all its restarts.
struct Supervised {
    settings: ServerSettings,
    ordered: UnboundedReceiver<Order>,
    changes: UnboundedSender<Change>,
}

/// Why a server ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// By itself: it is restarted.
    Died,
    /// By [`Order::Kill`]: it is not restarted.
    Killed,
    /// The supervisor was stopped or dropped.
    Stopped,
}

impl Supervised {
    async fn keep(mut self, first: Server) {
        let mut next = Some(first);
        let mut back_off = RESTART_AFTER_MIN;
        loop {
            let began = Instant::now();
            let over = match next.take().map_or_else(|| Server::start(self.settings.clone()), Ok) {
                Ok(server) => self.live(server).await,
                Err(error) => {
                    self.send(Change::NotStarted { endpoint: self.settings.endpoint.clone(), error });
                    Ended::Died
                }
            };
            back_off = if began.elapsed() >= HEALTHY_LIFE {
                RESTART_AFTER_MIN
            } else {
                (back_off * 2).min(RESTART_AFTER_MAX)
            };
            let continues = match over {
                Ended::Died => self.pause(back_off).await,
                Ended::Killed => {
                    back_off = RESTART_AFTER_MIN;
                    self.wait_for_revival().await
                }
                Ended::Stopped => false,
            };
            if !continues {
                return;
            }
        }
    }

    async fn live(&mut self, mut server: Server) -> Ended {
        let endpoint = self.settings.endpoint.clone();
        if let Some(pid) = server.pid() {
            self.send(Change::Started { endpoint: endpoint.clone(), pid });
        }
        let mut over = Ended::Died;
        let status = loop {
            tokio::select! {
                status = server.ended() => break status.ok(),
                order = self.ordered.recv(), if over != Ended::Stopped => match order {
                    Some(Order::Kill(answer)) => {
                        over = Ended::Killed;
                        let now = Instant::now();
                        // An error means that it has just ended, which the next turn of the loop sees.
                        if server.signal(Signal::Kill).is_ok() {
                            answer.send(now).ok();
                        }
                    }
                    Some(Order::Revive) => over = Ended::Died,
                    None => {
                        over = Ended::Stopped;
                        drop(server.signal(Signal::Kill));
                    }
                },
            }
        };
        self.send(Change::Ended { endpoint, status });
        over
    }

    /// Waits before a restart. False: the supervisor was dropped. A kill meanwhile means no restart.
    async fn pause(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            order = self.ordered.recv() => match order {
                Some(Order::Kill(_)) => self.wait_for_revival().await,
                Some(Order::Revive) => true,
                None => false,
            },
        }
    }

    async fn wait_for_revival(&mut self) -> bool {
        loop {
            match self.ordered.recv().await {
                Some(Order::Revive) => return true,
                Some(Order::Kill(_)) => {}
                None => return false,
            }
        }
    }

    fn send(&self, change: Change) {
        // The receiver may be dropped.
        drop(self.changes.send(change));
    }
}

/// A start needs about 10 ms, and on a busy machine up to a thousand times that.
const READY_MAX: Duration = Duration::from_secs(10);
/// Doubled before its first use. Long enough for a failover to be over.
const RESTART_AFTER_MIN: Duration = Duration::from_millis(100);
/// A server that ends soon after each start is restarted no more often than this.
const RESTART_AFTER_MAX: Duration = Duration::from_secs(5);
/// A server that ran for this long did not end because of its start.
const HEALTHY_LIFE: Duration = Duration::from_secs(10);
