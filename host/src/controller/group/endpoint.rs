//! The Sentinel endpoint of one group at this operator: a face that is open while the resource asks for one.
//! It outlives the group's loop, so a loop that is started again cuts no client off.

use super::super::Context;
use super::super::endpoints::OpenFace;
use super::secrets::Secrets;
use super::snapshot::Snapshot;
use crate::driver::{GroupHandle, Witness};
use crate::face::{Entry, Gate, Peer};
use crate::kubernetes::kinds::EndpointSettings;
use crate::kubernetes::objects::sentinel_slice_name;
use crate::kubernetes::status::Problem;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch::Receiver;

/// The endpoint of one group.
#[derive(Default)]
pub struct Endpoint {
    open: Option<Open>,
    shown: Arc<Shown>,
}

struct Open {
    face: Arc<OpenFace>,
    settings: EndpointSettings,
    key: EntryKey,
    peers: Vec<Peer>,
}

/// What an [`Entry`] is made from, to tell one from the next.
#[derive(Clone, PartialEq, Eq)]
struct EntryKey {
    user: Option<String>,
    password: Option<String>,
    /// Its digest.
    certificate: Option<String>,
}

/// The group, as it is now: its loop may be started again while the face stays.
#[derive(Default)]
struct Shown {
    witness: Mutex<Option<Witness>>,
    handle: Mutex<Option<GroupHandle>>,
}

impl Endpoint {
    /// What a loop of the group shows its reports to, whether the face is open or not.
    pub fn witness(&self) -> Witness {
        let shown = Arc::clone(&self.shown);
        Arc::new(move |now, report| {
            let witness = shown.witness.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(witness) = witness {
                witness(now, report);
            }
        })
    }

    /// Takes the loop that runs now.
    pub fn set_handle(&self, handle: &GroupHandle) {
        *self.shown.handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.clone());
    }

    /// Whether another operator's face does not answer.
    pub fn has_lost_peers(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.face.face.lost_peers().is_empty())
    }

    /// Opens, changes or closes the face, as the resource asks. Returns it, and what stands in the way.
    pub fn settle(
        &mut self,
        context: &Context,
        snapshot: &Snapshot,
        secrets: &Secrets,
        authority: &Receiver<bool>,
    ) -> (Option<Arc<OpenFace>>, Option<Problem>) {
        let Some(wanted) = &snapshot.resource.settings.endpoint else {
            self.close();
            return (None, None);
        };
        let Some(endpoints) = &context.endpoints else {
            let message = "this operator does not know its own address: set POD_IP, or --sentinel-address, to that \
                           of its Pod, as deploy/operator/deployment.yaml does";
            return (None, Some(unavailable(message.into())));
        };
        let (key, problem) = match key(wanted, secrets) {
            Ok(key) => (key, None),
            // What opened it before still does.
            Err(problem) => match &self.open {
                Some(open) => (open.key.clone(), Some(problem)),
                None => return (None, Some(problem)),
            },
        };
        if self.open.as_ref().is_some_and(|open| open.settings != *wanted) {
            self.close();
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => match endpoints.open(|| entry(&key, secrets), wanted.hostnames) {
                Ok(face) => {
                    let handle = wanted.allow_failover.then(|| switch_over(&self.shown, authority.clone()));
                    let witness = face.face.show(&wanted.master_name, handle);
                    *self.shown.witness.lock().unwrap_or_else(PoisonError::into_inner) = Some(witness);
                    let (face, settings) = (Arc::new(face), wanted.clone());
                    self.open.insert(Open { face, settings, key: key.clone(), peers: vec![] })
                }
                Err(error) => {
                    let message = format!("{error}: give the operator more ports with --sentinel-ports");
                    return (None, Some(unavailable(message)));
                }
            },
        };
        if open.key != key {
            open.face.face.set_entry(entry(&key, secrets));
            open.key = key;
        }
        let own = sentinel_slice_name(&wanted.service, &endpoints.identity);
        let others = snapshot.faces.iter().filter(|(name, _)| **name != own);
        let peers: Vec<Peer> = others
            .filter_map(|(_, seen)| seen.as_ref())
            .map(|seen| Peer { host: seen.place.0.clone(), port: seen.place.1 })
            .collect();
        if open.peers != peers {
            open.face.face.set_peers(peers.clone());
            open.peers = peers;
        }
        (Some(Arc::clone(&open.face)), problem)
    }

    fn close(&mut self) {
        self.open = None;
        *self.shown.witness.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Asks the loop that runs, at the operator that acts.
fn switch_over(shown: &Arc<Shown>, authority: Receiver<bool>) -> crate::face::SwitchOver {
    let shown = Arc::clone(shown);
    Box::new(move || {
        if !*authority.borrow() {
            return Err(
                "this operator is on standby: ask the other one, which SENTINEL SENTINELS lists".into()
            );
        }
        match &*shown.handle.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(handle) => handle.switch_over(None),
            None => return Err("the operator does not look after the group yet: ask again".into()),
        }
        Ok(())
    })
}

fn key(wanted: &EndpointSettings, secrets: &Secrets) -> Result<EntryKey, Problem> {
    let certificate = wanted.has_tls.then(|| secrets.certificate()).flatten();
    let password = secrets.endpoint_password.clone().transpose()?;
    Ok(EntryKey { user: wanted.user.clone(), password, certificate })
}

fn entry(key: &EntryKey, secrets: &Secrets) -> Entry {
    let EntryKey { user, password, certificate } = key.clone();
    let gate = password.map(|password| Gate { user, password });
    let tls = secrets.tls.as_ref().filter(|_| certificate.is_some());
    Entry { gate, tls: tls.map(|identity| Arc::clone(&identity.shown)) }
}

fn unavailable(message: String) -> Problem {
    Problem { reason: "SentinelEndpointUnavailable", message }
}
