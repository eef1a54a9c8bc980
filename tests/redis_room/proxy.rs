//! Proxies in front of one server: one that stops forwarding, one that holds a certain command back.

use super::strangers::stranger;
use redis_operator::redis::Endpoint;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Forwards. After `forget` it keeps its connections open and forwards no more bytes on them.
pub struct Proxy {
    pub endpoint: Endpoint,
    is_over: Arc<Mutex<watch::Sender<bool>>>,
}

impl Proxy {
    pub async fn start(to: &Endpoint) -> Self {
        let is_over = Arc::new(Mutex::new(watch::Sender::new(false)));
        let (server, shared) = ((to.host.clone(), to.port), Arc::clone(&is_over));
        let endpoint = stranger(move |mut client| {
            let (server, mut over) = (server.clone(), shared.lock().unwrap().subscribe());
            async move {
                let Ok(mut upstream) = TcpStream::connect(server).await else { return };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut upstream) => {}
                    () = async { drop(over.wait_for(|over| *over).await) } => {}
                }
                if *over.borrow() {
                    std::future::pending::<()>().await;
                }
            }
        })
        .await;
        Self { endpoint, is_over }
    }

    /// Existing connections are dead without a sign; later ones work.
    pub fn forget(&self) {
        std::mem::take(&mut *self.is_over.lock().unwrap()).send_replace(true);
    }
}

/// Forwards, but stops before the first request that contains a word, until it is opened.
pub struct Gate {
    pub endpoint: Endpoint,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Waiting,
    Reached,
    Open,
}

impl Gate {
    pub async fn start(to: &Endpoint, word: &'static str) -> Self {
        let state = watch::Sender::new(State::Waiting);
        let (server, shared) = ((to.host.clone(), to.port), state.clone());
        let endpoint = stranger(move |client| {
            let (server, state) = (server.clone(), shared.clone());
            async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
                let back =
                    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
                    if *state.borrow() == State::Waiting
                        && bytes[..length].windows(word.len()).any(|window| window == word.as_bytes())
                    {
                        state.send_replace(State::Reached);
                        state.subscribe().wait_for(|state| *state == State::Open).await.unwrap();
                    }
                    if to_server.write_all(&bytes[..length]).await.is_err() {
                        break;
                    }
                }
                back.abort();
            }
        })
        .await;
        Self { endpoint, state }
    }

    pub async fn reached(&self) {
        let mut state = self.state.subscribe();
        tokio::time::timeout(super::rig::SOON, state.wait_for(|state| *state == State::Reached))
            .await
            .expect("the word was never sent")
            .unwrap();
    }

    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }
}
