//! Keeps servers running: starts them, and starts again what dies, as a replica. Chooses no master: it is
//! told who it is, and whoever boots before that follows itself and waits for its role.

use super::process::Signal;
use super::server::{Boot, Server, ServerError, ServerSettings};
use crate::redis::Endpoint;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// Servers that are kept running until this is stopped or dropped. All of it lives on the thread that polls
/// it, since children die with the thread that started them: open it on a runtime of one thread that lives as
/// long as they shall.
#[derive(Debug)]
pub struct Supervisor {
    orders: Vec<(Endpoint, UnboundedSender<Order>)>,
    tasks: JoinSet<()>,
}

/// What became of a server.
#[derive(Debug)]
pub enum Change {
    /// It runs.
    Started {
        /// Where.
        endpoint: Endpoint,
        /// Its process.
        pid: u32,
    },
    /// It ended.
    Ended {
        /// Where it listened.
        endpoint: Endpoint,
        /// How. None: nobody can say.
        status: Option<ExitStatus>,
    },
    /// It could not be started, and will be tried again.
    NotStarted {
        /// Where it was to listen.
        endpoint: Endpoint,
        /// Why.
        error: ServerError,
    },
}

#[derive(Debug)]
enum Order {
    /// Kill it and leave it dead; answers with the moment.
    Kill(oneshot::Sender<Instant>),
    /// Start it again.
    Revive,
}

impl Supervisor {
    /// Starts a server for each of the settings and waits until all answer. `master` is whose replicas those
    /// become that are started later; a server never becomes its own master's replica but for boot.
    ///
    /// # Errors
    /// [`ServerError`] of the first that does not start; none runs then.
    pub async fn start(
        settings: Vec<ServerSettings>,
        master: watch::Receiver<Option<Endpoint>>,
    ) -> Result<(Self, UnboundedReceiver<Change>), ServerError> {
        let (told, changes) = unbounded_channel();
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
                Supervised {
                    settings: server.settings().clone(),
                    master: master.clone(),
                    ordered,
                    told: told.clone(),
                }
                .keep(server),
            );
        }
        Ok((Self { orders, tasks }, changes))
    }

    /// Kills the server with SIGKILL and leaves it dead. The moment of the signal; None if it did not run.
    pub async fn kill(&self, endpoint: &Endpoint) -> Option<Instant> {
        let (answer, killed) = oneshot::channel();
        self.order(endpoint, Order::Kill(answer));
        killed.await.ok()
    }

    /// Starts a server again that was left dead.
    pub fn revive(&self, endpoint: &Endpoint) {
        self.order(endpoint, Order::Revive);
    }

    /// Ends all servers and waits for their ends. Nothing is saved.
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

/// One server over its lives.
struct Supervised {
    settings: ServerSettings,
    master: watch::Receiver<Option<Endpoint>>,
    ordered: UnboundedReceiver<Order>,
    told: UnboundedSender<Change>,
}

/// Why a life is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It is to live on.
    Died,
    /// It is to stay dead.
    Killed,
    /// Nobody keeps it any more.
    Stopped,
}

impl Supervised {
    async fn keep(mut self, first: Server) {
        let mut next = Some(first);
        let mut back_off = RESTART_AFTER_MIN;
        loop {
            let began = Instant::now();
            let over = match next.take().map_or_else(|| self.start(), Ok) {
                Ok(server) => self.live(server).await,
                Err(error) => {
                    self.tell(Change::NotStarted { endpoint: self.settings.endpoint.clone(), error });
                    Ended::Died
                }
            };
            back_off = if began.elapsed() >= HEALTHY_LIFE {
                RESTART_AFTER_MIN
            } else {
                (back_off * 2).min(RESTART_AFTER_MAX)
            };
            let goes_on = match over {
                Ended::Died => self.pause(back_off).await,
                Ended::Killed => {
                    back_off = RESTART_AFTER_MIN;
                    self.wait_for_revival().await
                }
                Ended::Stopped => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    fn start(&self) -> Result<Server, ServerError> {
        let master = self.master.borrow().clone().filter(|master| *master != self.settings.endpoint);
        Server::start(ServerSettings {
            boot: master.map_or(Boot::FollowingItself, Boot::Following),
            ..self.settings.clone()
        })
    }

    async fn live(&mut self, mut server: Server) -> Ended {
        let endpoint = self.settings.endpoint.clone();
        if let Some(pid) = server.pid() {
            self.tell(Change::Started { endpoint: endpoint.clone(), pid });
        }
        let mut over = Ended::Died;
        let status = loop {
            tokio::select! {
                status = server.ended() => break status.ok(),
                order = self.ordered.recv(), if over != Ended::Stopped => match order {
                    Some(Order::Kill(answer)) => {
                        over = Ended::Killed;
                        let now = Instant::now();
                        // An error means that it has ended by itself, which the next turn sees.
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
        self.tell(Change::Ended { endpoint, status });
        over
    }

    /// False: nobody keeps it any more. An order to kill what is dead already leaves it dead.
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

    fn tell(&self, change: Change) {
        // Nobody may want to know.
        drop(self.told.send(change));
    }
}

/// Booting takes about 10 ms; a busy machine takes a thousand times that.
const READY_MAX: Duration = Duration::from_secs(10);
/// Doubled before its first use. Long enough that the failover is over and the master known, whose replica it
/// becomes at boot.
const RESTART_AFTER_MIN: Duration = Duration::from_millis(100);
/// A server that cannot live is started no more often than this.
const RESTART_AFTER_MAX: Duration = Duration::from_secs(5);
/// Whoever lived for this long did not die of its start.
const HEALTHY_LIFE: Duration = Duration::from_secs(10);
