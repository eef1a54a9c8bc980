//! One attempt to connect: resolve, TCP, TLS. Bounded by its caller; never tries again.

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::meter::{Meter, Metered};
use super::tls::Tls;
use crate::contract::FailureKind;
use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Carries a connection: it moves only while this is polled, and ends when the socket does.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct DialFailure {
    /// For the observation.
    pub kind: FailureKind,
    /// For people, with the way out where we know one.
    pub text: String,
}

/// Connects within `deadline`; with TLS in the way whose turn it is. Nothing was asked yet, so nothing is
/// proven yet: a hung server's kernel accepts too.
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

/// Whether a new connection to a server is shown the newest of our own certificates, as by servers that share
/// it with us.
///
/// # Errors
/// Why there is no such connection: one sentence that names the server.
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
            "{endpoint}: no certificate can be made out to this host: give the server name to \
             expect"
        ),
    })?;
    let handshake = tokio::time::timeout_at(until, connector.connect(name, stream)).await;
    // Redis takes our first words for a command that goes on, and waits for the rest of it.
    let secured = handshake
        .map_err(|_| late(endpoint, "connected, and no TLS handshake (is it a plain port?)", limit))?;
    secured.map_err(|error| handshake_failure(endpoint, &error))
}

/// The first address that takes the connection, in the resolver's order. A refusal says more than a missing
/// route, as with a name for both IPv4 and IPv6 on a host that has only one of them.
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
            // A dial to a free port of the ephemeral range can meet itself: TCP's simultaneous open. Nobody
            // listens there.
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
    let error = failure.ok_or_else(|| unresolved("it has no address".into()))?;
    Err(DialFailure { kind: kind(error.kind()), text: format!("{endpoint}: {error}") })
}

fn carried<S>(stream: S, meter: Meter) -> (Connection, Driver)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // RESP2, which every version speaks without a word. AUTH travels with the first probe: one round trip
    // less, and its error text is ours to show.
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
            "it does not answer in TLS: use its tls-port, or leave TLS out".into(),
        ),
        Some(rustls::Error::InvalidCertificate(why)) => (
            FailureKind::Unauthorized,
            format!(
                "its certificate is not trusted: {why}; give the CA that signed it, or the \
                 server name that it is made out to"
            ),
        ),
        Some(other) => (FailureKind::Unauthorized, format!("TLS: {other}")),
        None => match kind(error.kind()) {
            FailureKind::Reset => {
                (FailureKind::Reset, format!("connection ended within the TLS handshake: {error}"))
            }
            other => (other, format!("TLS: {error}")),
        },
    };
    DialFailure { kind, text: format!("{endpoint}: {text}") }
}
