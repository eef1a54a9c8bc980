//! One attempt to connect: resolve, TCP, TLS. Must end within its caller's deadline, and must not retry.

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::meter::{Meter, Metered};
use super::tls::Tls;
use crate::contract::FailureKind;
use futures_util::future::BoxFuture;
use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The carrier of a connection: data moves only while it is polled; it ends with the socket.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct DialFailure {
    /// The kind of failure, for the Observation.
    pub kind: FailureKind,
    /// The failure in words, with the way out if it is known.
    pub text: String,
}

/// A network other than the machine's: that of a simulation, in one process and without sockets.
pub trait Dial: Send + Sync + std::fmt::Debug {
    /// Opens a byte stream to the server.
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, std::io::Result<Box<dyn Stream>>>;
}

/// A byte stream to a server.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Connects on another network than the machine's, in the clear, within `deadline`.
pub(super) async fn dial_on(
    network: &dyn Dial,
    endpoint: &Endpoint,
    deadline: Duration,
) -> Result<(Connection, Driver), DialFailure> {
    let dialled = tokio::time::timeout(deadline, network.connect(endpoint)).await;
    match dialled.map_err(|_| late(endpoint, "not connected", deadline))? {
        Ok(stream) => Ok(carried(stream, Meter::default())),
        Err(error) => Err(failure(endpoint, &error)),
    }
}

/// Connects within `deadline`, with TLS in the way number `turn`. A connection alone proves nothing: the
/// kernel of a hung server accepts it too.
pub(super) async fn dial(
    endpoint: &Endpoint,
    tls: Option<&Tls>,
    turn: usize,
    deadline: Duration,
) -> Result<(Connection, Driver), DialFailure> {
    let until = tokio::time::Instant::now() + deadline;
    let late = || late(endpoint, "not connected", deadline);
    let stream = tokio::time::timeout_at(until, connect(endpoint)).await.map_err(|_| late())??;
    let meter = Meter::default();
    let Some(tls) = tls else { return Ok(carried(stream, meter)) };
    Ok(carried(secure(stream, endpoint, tls, turn, deadline, until).await?, meter))
}

/// Connects as [`dial`] does, and returns the byte stream: for what is no question and answer.
pub(super) async fn stream(
    endpoint: &Endpoint,
    tls: Option<&Tls>,
    turn: usize,
    deadline: Duration,
) -> Result<Box<dyn Stream>, DialFailure> {
    let until = tokio::time::Instant::now() + deadline;
    let late = || late(endpoint, "not connected", deadline);
    let stream = tokio::time::timeout_at(until, connect(endpoint)).await.map_err(|_| late())??;
    Ok(match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(secure(stream, endpoint, tls, turn, deadline, until).await?),
    })
}

/// True if the server of a new connection presents the operator's newest certificate, which servers of the
/// group share.
///
/// # Errors
/// Why there is no connection: one sentence that names the server.
pub async fn shows_ours(endpoint: &Endpoint, tls: &Tls, limit: Duration) -> Result<bool, String> {
    let until = tokio::time::Instant::now() + limit;
    let shown = async {
        let stream = connect(endpoint).await?;
        let stream = secure(stream, endpoint, tls, 0, limit, until).await?;
        Ok(tls.is_ours(stream.get_ref().1.peer_certificates().and_then(<[_]>::first)))
    };
    let shown = tokio::time::timeout_at(until, shown).await;
    shown
        .unwrap_or_else(|_| Err(late(endpoint, "not connected", limit)))
        .map_err(|failure: DialFailure| failure.text)
}

fn late(endpoint: &Endpoint, what: &str, limit: Duration) -> DialFailure {
    DialFailure {
        kind: FailureKind::TimedOut,
        text: format!("{endpoint}: {what} within {} ms", limit.as_millis()),
    }
}

async fn secure(
    stream: TcpStream,
    endpoint: &Endpoint,
    tls: &Tls,
    turn: usize,
    limit: Duration,
    until: tokio::time::Instant,
) -> Result<TlsStream<TcpStream>, DialFailure> {
    let (connector, name) = tls.for_endpoint(endpoint, turn).ok_or_else(|| DialFailure {
        kind: FailureKind::Unauthorized,
        text: format!(
            "{endpoint}: no certificate can be issued for this host: configure the server name to expect"
        ),
    })?;
    let handshake = tokio::time::timeout_at(until, connector.connect(name, stream)).await;
    // A plain Redis port reads the ClientHello as the begin of a command, and waits for the rest.
    let secured = handshake
        .map_err(|_| late(endpoint, "connected, but no TLS handshake (is it a plain port?)", limit))?;
    secured.map_err(|error| handshake_failure(endpoint, &error))
}

/// Connects to the first address that accepts, in the resolver's order. Of several errors a refusal is
/// reported: it says more than a missing route, which is normal for a name with IPv4 and IPv6 on a host that
/// has only one.
async fn connect(endpoint: &Endpoint) -> Result<TcpStream, DialFailure> {
    let unresolved = |why: String| DialFailure {
        kind: FailureKind::Unreachable,
        text: format!("{endpoint}: name does not resolve: {why}; check its spelling, or give an IP address"),
    };
    let addresses = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port))
        .await
        .map_err(|error| unresolved(error.to_string()))?;
    let mut failure = None;
    for address in addresses {
        let error = match TcpStream::connect(address).await {
            // A connect to a free port of the ephemeral range can reach itself (TCP simultaneous open): no
            // process listens there.
            Ok(stream) if stream.local_addr().ok() == Some(address) => ErrorKind::ConnectionRefused.into(),
            Ok(stream) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if error.kind() == ErrorKind::ConnectionRefused || failure.is_none() {
            failure = Some(error);
        }
    }
    let error = failure.ok_or_else(|| unresolved("the name has no address".into()))?;
    Err(self::failure(endpoint, &error))
}

fn failure(endpoint: &Endpoint, error: &std::io::Error) -> DialFailure {
    DialFailure { kind: kind(error.kind()), text: format!("{endpoint}: {error}") }
}

fn carried<S>(stream: S, meter: Meter) -> (Connection, Driver)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // RESP2, which every version uses without HELLO. AUTH is sent with the first probe: one round trip less,
    // and its error reply can be shown.
    let (connection, carrier) = Connection::new(Metered::new(stream, meter.clone()), meter);
    (connection, Box::pin(carrier))
}

fn kind(kind: ErrorKind) -> FailureKind {
    match kind {
        ErrorKind::ConnectionRefused => FailureKind::Refused,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => FailureKind::Reset,
        ErrorKind::TimedOut => FailureKind::TimedOut,
        _ => FailureKind::Unreachable,
    }
}

fn handshake_failure(endpoint: &Endpoint, error: &std::io::Error) -> DialFailure {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (kind, text) = match cause {
        Some(rustls::Error::InvalidMessage(_)) => (
            FailureKind::ProtocolError,
            "the server does not answer in TLS: use its tls-port, or switch TLS off".into(),
        ),
        Some(rustls::Error::InvalidCertificate(why)) => (
            FailureKind::Unauthorized,
            format!(
                "the server's certificate is not trusted: {why}; configure the CA that signed it, or the \
                 server name that it is issued for"
            ),
        ),
        Some(other) => (FailureKind::Unauthorized, format!("TLS: {other}")),
        None => match kind(error.kind()) {
            FailureKind::Reset => {
                (FailureKind::Reset, format!("the connection ended during the TLS handshake: {error}"))
            }
            other => (other, format!("TLS: {error}")),
        },
    };
    DialFailure { kind, text: format!("{endpoint}: {text}") }
}
