//! What a kubelet serves to the API server: the logs of its Pods' containers, for `kubectl logs`. Nothing
//! else is served, as exec is not.

use super::agent::Shared;
use super::node::Node;
use anyhow::{Context, Result};
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A kubelet's.
pub(super) const PORT: u16 = 10250;

/// Serves the logs of one node for ever.
pub(super) async fn serve(node: Arc<Node>, shared: Arc<Shared>) {
    // A cluster without logs is a cluster all the same: who asks for one is told.
    if let Err(error) = listen(&node, &shared).await {
        eprintln!("no logs of {}: {error:#}", node.name);
    }
}

async fn listen(node: &Node, shared: &Arc<Shared>) -> Result<()> {
    let made = rcgen::generate_simple_self_signed([node.address.to_string()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    // The API server takes any certificate of a kubelet unless it is told otherwise.
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind((node.address, PORT)).await?);
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(shared));
        // What fails is the API server's to report.
        tokio::spawn(async move { answer(stream, &acceptor, &shared).await });
    }
}

async fn answer(stream: TcpStream, acceptor: &TlsAcceptor, shared: &Shared) -> Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    let mut request = String::new();
    stream.read_line(&mut request).await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).context("a request has a path")?;
    let (status, body) = match log(path, shared) {
        Some(log) => ("200 OK", log),
        None => ("404 Not Found", "no such container here".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

/// Of `/containerLogs/NAMESPACE/POD/CONTAINER?tailLines=N`.
fn log(path: &str, shared: &Shared) -> Option<String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut words = path.strip_prefix("/containerLogs/")?.split('/').map(str::to_owned);
    let (namespace, pod, container) = (words.next()?, words.next()?, words.next()?);
    let file = shared.seats.lock().expect("no holder panics").get(&(namespace, pod))?.log(&container);
    let text = String::from_utf8_lossy(&std::fs::read(file).ok()?).into_owned();
    let lines_max = query.split('&').find_map(|pair| pair.strip_prefix("tailLines=")?.parse::<usize>().ok());
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(lines_max.unwrap_or(usize::MAX));
    Some(lines[first..].iter().map(|line| format!("{line}\n")).collect())
}
