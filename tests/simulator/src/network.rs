//! The network that an operator dials on: streams to the servers of the model.

use futures_util::future::BoxFuture;
use redis_model::live::{Cluster, Peer};
use redis_operator::redis::{Dial, Endpoint, Stream};
use std::io::{ErrorKind, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The model, and the clock that it shares with the operators.
#[derive(Clone, Debug)]
pub struct World {
    cluster: Arc<Mutex<Cluster>>,
    /// Something may be due earlier than before.
    pub news: Arc<Notify>,
    start: Instant,
}

impl World {
    /// This model, from now on.
    pub fn new(cluster: Cluster) -> Self {
        let start = Instant::now();
        Self { cluster: Arc::new(Mutex::new(cluster)), news: Arc::new(Notify::new()), start }
    }

    /// The model as of now.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        cluster.advance(self.now_us());
        cluster
    }

    /// Microseconds since the start.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The moment of the clock.
    pub fn at(&self, us: u64) -> Instant {
        self.start + std::time::Duration::from_micros(us)
    }
}

/// The model's network, as one operator's process has it.
#[derive(Debug)]
pub struct Network {
    /// The model.
    pub world: World,
    /// The process.
    pub operator: usize,
}

impl Dial for Network {
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let dial = {
                let mut cluster = self.world.cluster();
                let found = cluster.find_dialled(&endpoint.host, endpoint.port);
                let (to, is_passed_on) = found.ok_or(ErrorKind::HostUnreachable)?;
                cluster.dial(Peer::Operator(self.operator), to, is_passed_on)
            };
            self.world.news.notify_one();
            let ended = std::future::poll_fn(|context| {
                let end = self.world.cluster().dial_end(dial, context.waker());
                end.map_or(Poll::Pending, Poll::Ready)
            });
            let connection = ended.await?;
            let connected: Box<dyn Stream> = Box::new(Connected { world: self.world.clone(), connection });
            Ok(connected)
        })
    }
}

/// One connection to a server or a Sentinel of the model.
struct Connected {
    world: World,
    connection: u64,
}

impl AsyncRead for Connected {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        match self.world.cluster().read(self.connection, context.waker(), buffer.remaining()) {
            Some(bytes) => {
                buffer.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connected {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.world.cluster().write(self.connection, bytes.to_vec());
        self.world.news.notify_one();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.world.cluster().close(self.connection);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.world.cluster().close(self.connection);
        self.world.news.notify_one();
    }
}
