//! The Sentinel endpoints of this operator: one face for each group that has one, all on one thread, each at
//! a port of its own, because all groups may have the same name of a master, and a Service hides which one
//! was dialled.

use crate::face::{Entry, Face, FaceError, FaceSettings, Faces};
use crate::kubernetes::apply::delete;
use futures_util::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Where this operator serves Sentinel endpoints.
pub struct Endpoints {
    faces: Faces,
    /// Its own address, as clients dial it.
    address: IpAddr,
    ports: RangeInclusive<u16>,
    /// The place in `ports` to try next.
    next: AtomicUsize,
    /// Of this operator among others.
    pub identity: String,
    /// Moment zero of the groups.
    start: Instant,
    published: Mutex<Published>,
    has_ended: AtomicBool,
}

/// The slices that lead to this operator: their uids, by namespace and name.
type Published = BTreeMap<(String, String), String>;

/// A face that is open for one group.
pub struct OpenFace {
    /// The face.
    pub face: Face,
    /// Where clients dial it.
    pub place: SocketAddr,
}

/// What a face names to its clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct Naming {
    /// As of [`FaceSettings`].
    pub announces_names: bool,
    /// As of [`FaceSettings`].
    pub lists_peers: bool,
}

impl Endpoints {
    /// Starts the thread. `address` is this operator's own.
    ///
    /// # Errors
    /// [`FaceError::Thread`].
    pub fn start(
        address: IpAddr,
        ports: RangeInclusive<u16>,
        identity: String,
        start: Instant,
    ) -> Result<Self, FaceError> {
        let (faces, next) = (Faces::start()?, AtomicUsize::new(0));
        let (published, has_ended) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { faces, address, ports, next, identity, start, published, has_ended })
    }

    /// Opens a face at a free port.
    ///
    /// # Errors
    /// [`FaceError::Listen`], with [`ErrorKind::AddrInUse`] when no port is free.
    pub fn open(&self, mut entry: impl FnMut() -> Entry, naming: Naming) -> Result<OpenFace, FaceError> {
        let any = match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut last = None;
        for _ in 0..self.ports.len() {
            let place = self.next.fetch_add(1, Ordering::Relaxed) % self.ports.len();
            let Some(port) = self.ports.clone().nth(place) else { continue };
            let listen = SocketAddr::new(any, port);
            let Naming { announces_names, lists_peers } = naming;
            let settings = FaceSettings { listen, entry: entry(), announces_names, lists_peers };
            match self.faces.open(settings, self.start) {
                Ok(face) => return Ok(OpenFace { face, place: SocketAddr::new(self.address, port) }),
                Err(FaceError::Listen { address, source }) if source.kind() == ErrorKind::AddrInUse => {
                    last = Some(FaceError::Listen { address, source });
                }
                Err(error) => return Err(error),
            }
        }
        let (address, source) = (SocketAddr::new(any, *self.ports.start()), ErrorKind::AddrInUse.into());
        Err(last.unwrap_or(FaceError::Listen { address, source }))
    }

    /// This operator ends: nobody is to be led here any more.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Remembers a slice that leads here.
    pub fn note_published(&self, namespace: &str, name: &str, uid: String) {
        self.published().insert((namespace.to_owned(), name.to_owned()), uid);
    }

    /// Forgets it.
    pub fn note_deleted(&self, namespace: &str, name: &str) {
        self.published().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Deletes all slices that lead here, before this operator ends: another one answers from then on.
    pub async fn withdraw(&self, client: &Client) {
        self.has_ended.store(true, Ordering::Relaxed);
        let all = std::mem::take(&mut *self.published());
        let deleted =
            futures_util::stream::iter(&all).for_each_concurrent(DELETED_AT_ONCE, |(key, uid)| async move {
                let (namespace, name) = key;
                if let Err(error) = delete::<EndpointSlice>(client, namespace, name, uid).await {
                    tracing::warn!(namespace, name, %error, "slice of the sentinel endpoint not deleted");
                }
            });
        deleted.await;
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const DELETED_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_face_gets_a_port_of_its_own_until_none_is_free() {
        let first = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let endpoints = |ports| Endpoints::start(local, ports, "o".into(), Instant::now()).unwrap();
        let full = endpoints(port..=port);
        let error = full.open(Entry::default, Naming::default()).map(|open| open.place).unwrap_err();
        assert!(error.to_string().contains(&format!("0.0.0.0:{port}")), "{error}");
        drop(first);
        let open = full.open(Entry::default, Naming::default()).unwrap();
        assert_eq!(open.place, SocketAddr::new(local, port));
        assert!(full.open(Entry::default, Naming::default()).is_err(), "it is taken");
        drop(open);
        // Its socket goes with its task.
        let is_free_again = (0..5000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            full.open(Entry::default, Naming::default()).is_ok()
        });
        assert!(is_free_again);
    }
}
