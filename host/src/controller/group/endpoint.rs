//! The Sentinel endpoint of one group at this operator: a face that is open while the resource asks for one.
//! It outlives the group's loop, so a loop that is started again cuts no client off.

use super::super::Context;
use super::super::endpoints::{Naming, OpenFace};
use super::secrets::Secrets;
use super::snapshot::Snapshot;
use crate::driver::{GroupHandle, Witness};
use crate::face::{Entry, Gate, Peer, Places};
use crate::kubernetes::kinds::EndpointSettings;
use crate::kubernetes::objects::sentinel_slice_name;
use crate::kubernetes::outside::{Outside, place_of};
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
    /// Empty where servers are named by their own addresses.
    places: Places,
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
            None => match endpoints.open(|| entry(&key, secrets), naming(wanted)) {
                Ok(face) => {
                    let handle = wanted.allow_failover.then(|| switch_over(&self.shown, authority.clone()));
                    let witness = face.face.show(&wanted.master_name, handle);
                    if wanted.external.is_some() {
                        // Before the first report: nobody is named by an address that clients do not reach.
                        face.face.set_places(&wanted.master_name, Places::new());
                    }
                    *self.shown.witness.lock().unwrap_or_else(PoisonError::into_inner) = Some(witness);
                    let (face, settings) = (Arc::new(face), wanted.clone());
                    let (peers, places) = (vec![], Places::new());
                    self.open.insert(Open { face, settings, key: key.clone(), peers, places })
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
        let mut awaited = None;
        if let Some(host) = &wanted.external {
            let (known, problem) = plan_places(snapshot, host.as_deref());
            // One whose Pod is away for a moment keeps its address.
            let places: Places = open.places.clone().into_iter().chain(known).collect();
            if places != open.places {
                open.face.face.set_places(&wanted.master_name, places.clone());
                open.places = places;
            }
            awaited = problem;
        }
        (Some(Arc::clone(&open.face)), problem.or(awaited))
    }

    fn close(&mut self) {
        self.open = None;
        *self.shown.witness.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Where clients outside of the cluster find each Pod, as far as the cluster says, and what they wait for.
fn plan_places(snapshot: &Snapshot, host: Option<&str>) -> (Places, Option<Problem>) {
    let (mut places, mut awaited) = (Places::new(), vec![]);
    for (name, pod) in &snapshot.pods {
        let seen = snapshot.seen.get(&("Service", name.clone()));
        let Some(outside) = seen.and_then(|seen| seen.outside.as_ref()) else { continue };
        match place_of((name, pod), outside, host, snapshot.resource.settings.port) {
            Some(place) => _ = places.insert(name.clone(), place),
            None if *outside == Outside::Balancer(None) => awaited.push(name.as_str()),
            None => {}
        }
    }
    let problem = (!awaited.is_empty()).then(|| Problem {
        reason: "AddressAwaited",
        message: format!(
            "the load balancer of Service {} has no address yet, so clients of the Sentinel endpoint are not told of that \
             Pod: kubectl describe service {} shows why",
            awaited.join(" and "),
            awaited[0]
        ),
    });
    (places, problem)
}

fn naming(wanted: &EndpointSettings) -> Naming {
    Naming { announces_names: wanted.hostnames, lists_peers: wanted.external.is_none() }
}

/// Asks the loop that runs, at the operator that acts.
fn switch_over(shown: &Arc<Shown>, authority: Receiver<bool>) -> crate::face::SwitchOver {
    let shown = Arc::clone(shown);
    Box::new(move || {
        if !*authority.borrow() {
            return Err(
                "this operator is on standby: ask the other one, which SENTINEL SENTINELS lists, or the \
                 Service again"
                    .into(),
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

#[cfg(test)]
mod tests {
    use super::super::fixture::{pod, snapshot};
    use super::*;
    use crate::kubernetes::ownership::Sighting;

    #[test]
    fn pods_are_found_at_their_services_and_a_load_balancer_without_an_address_is_said() {
        let mut snapshot = snapshot(&["cart-0", "cart-1", "cart-2", "cart-3"]);
        let mut see = |pod: &str, outside| {
            let sighting = Sighting { outside, ..Sighting::default() };
            snapshot.seen.insert(("Service", pod.to_owned()), Arc::new(sighting));
        };
        see("cart-0", Some(Outside::Balancer(Some("203.0.113.1".into()))));
        see("cart-1", Some(Outside::Balancer(None)));
        // Not of its type yet.
        see("cart-2", None);
        let port = snapshot.resource.settings.port;
        let (places, problem) = plan_places(&snapshot, None);
        assert_eq!(places, [("cart-0".to_owned(), ("203.0.113.1".to_owned(), port))].into());
        let problem = problem.unwrap();
        assert_eq!(problem.reason, "AddressAwaited");
        assert!(problem.message.contains("Service cart-1 has"), "{}", problem.message);
        let (places, problem) = plan_places(&snapshot, Some("{pod}.example.com"));
        let hosts: Vec<&str> = places.values().map(|(host, _)| host.as_str()).collect();
        assert_eq!((hosts, problem), (vec!["cart-0.example.com", "cart-1.example.com"], None));
        // A node port leads nowhere before the Pod has a node.
        let node = Sighting { outside: Some(Outside::Node(30_001)), ..Sighting::default() };
        snapshot.seen.insert(("Service", "cart-3".into()), Arc::new(node));
        assert!(!plan_places(&snapshot, None).0.contains_key("cart-3"));
        let mut placed = pod("cart-3");
        placed.status.get_or_insert_default().host_ip = Some("10.1.0.7".into());
        snapshot.pods.insert("cart-3".into(), Arc::new(placed));
        assert_eq!(plan_places(&snapshot, None).0["cart-3"], ("10.1.0.7".into(), 30_001));
    }
}
