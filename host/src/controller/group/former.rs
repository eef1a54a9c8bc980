//! Former Pods: a Pod that was the master on record is gone, and nothing showed that its process ended (it
//! was deleted by force, or its node was lost). It may live and take writes behind a cut network:
//!
//! 1. Its node is cut off, and `kubectl delete --force` removes the Pod of the master.
//! 2. The StatefulSet makes a Pod of the same name, which starts empty and answers.
//! 3. If the name now meant the new Pod, the master on record would answer as a replica without data: proof
//!    enough to promote another at once, without a majority and without the wait that `prefer: Consistency`
//!    promises. The old process takes writes meanwhile.
//!
//! So the name means the old process until another master is on record, its port refuses connections, or
//! [`NAME_KEPT`] is over: until then it is a silent master like any other. Afterwards its address is still
//! dialled, under another name, for [`DIALLED`]: when it answers again it is a second master and is stopped.

use crate::contract::LinkState;
use crate::group::Member;
use crate::kubernetes::kinds::ObservedPod;
use crate::kubernetes::pods;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A Pod that is gone, whose process may live.
#[derive(Clone, Debug)]
pub struct FormerPod {
    /// The Pod as it was seen last.
    pod: Arc<Pod>,
    gone: Instant,
    /// Its name still means it, and no Pod that came after it.
    keeps_name: bool,
}

/// Those of one group, the newest last.
#[derive(Clone, Debug, Default)]
pub struct FormerPods(Vec<FormerPod>);

impl FormerPods {
    /// The Pod of the master on record is gone, or another has its name.
    pub fn observe_gone(&mut self, pod: &Arc<Pod>, now: Instant) {
        let has_ended = !pods::is_running(pod) || pods::address(pod).is_none();
        // A Pod that came later was not the master yet.
        if has_ended || self.keeps_name(&pod.name_any()) {
            return;
        }
        tracing::warn!(
            namespace = pod.namespace(),
            pod = pod.name_any(),
            "Pod of the master gone without an observed end of its container: its process counts as silent"
        );
        self.0.push(FormerPod { pod: Arc::clone(pod), gone: now, keeps_name: true });
        let surplus = self.0.len().saturating_sub(FORMER_MAX);
        self.0.drain(..surplus);
    }

    /// The connection to a member is in this state now. True: a former Pod's process is gone.
    pub fn observe_link(&mut self, member: &str, state: LinkState) -> bool {
        let count = self.0.len();
        self.0.retain(|former| former.id() != member || state != LinkState::Refused);
        self.0.len() != count
    }

    /// Takes in which master is on record, which Pods there are, and what time it is. True: a former Pod lost
    /// its name, or is not dialled any more.
    pub fn settle<'a>(
        &mut self,
        master: Option<&str>,
        pods: impl Iterator<Item = &'a Arc<Pod>> + Clone,
        now: Instant,
    ) -> bool {
        let before: Vec<_> = self.0.iter().map(FormerPod::id).collect();
        self.0.retain(|former| {
            let address = pods::address(&former.pod);
            now - former.gone < DIALLED && !pods.clone().any(|pod| pods::address(pod) == address)
        });
        for former in &mut self.0 {
            let name = former.pod.name_any();
            let has_others = pods.clone().any(|pod| pod.name_any() != name);
            let is_recorded = master == Some(name.as_str());
            former.keeps_name &= is_recorded && has_others && now - former.gone < NAME_KEPT;
        }
        before != self.0.iter().map(FormerPod::id).collect::<Vec<_>>()
    }

    /// Whether that name means a former Pod.
    pub fn keeps_name(&self, pod: &str) -> bool {
        self.0.iter().any(|former| former.keeps_name && former.pod.name_any() == pod)
    }

    /// Those that are dialled, as members. `members`: what Pods would be if they were there.
    pub fn members(&self, members: impl Fn(&[ObservedPod<'_>]) -> Vec<Member>) -> Vec<Member> {
        let all = self.0.iter().flat_map(|former| {
            let observed = ObservedPod { pod: &former.pod, revision: "", place: None };
            members(&[observed]).into_iter().map(|member| former.as_member(member))
        });
        all.collect()
    }

    /// Their names as members.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(FormerPod::id)
    }
}

impl FormerPod {
    /// Its own name, or, where a Pod that came later has that, the same with the start of its uid.
    fn id(&self) -> String {
        let name = self.pod.name_any();
        if self.keeps_name {
            return name;
        }
        let uid = self.pod.uid().unwrap_or_default();
        format!("{name}@{}", uid.get(..UID_SHOWN).unwrap_or(&uid))
    }

    fn as_member(&self, member: Member) -> Member {
        let pod = member.pod.map(|pod| crate::contract::Pod { terminating: true, ready: false, ..pod });
        // The names lead to the Pod that has the name now.
        let aliases = if self.keeps_name { member.aliases } else { Vec::new() };
        Member { id: self.id(), aliases, pod, is_former: !self.keeps_name, ..member }
    }
}

/// Longer than a silence takes to be replaced in either preference; afterwards a group of which no other
/// member can be master goes on with the new Pod.
const NAME_KEPT: Duration = Duration::from_secs(60);
/// As long as Kubernetes waits before it gives up the Pods of a lost node.
const DIALLED: Duration = Duration::from_secs(300);
const FORMER_MAX: usize = 4;
const UID_SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kinds::sample::sample;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::{Value, json};

    fn pod(name: &str, uid: &str, address: &str, state: Value) -> Arc<Pod> {
        let pod = json!({
            "metadata": { "name": name, "namespace": "shop", "uid": uid },
            "spec": { "containers": [] },
            "status": {
                "podIP": address,
                "containerStatuses": [{
                    "name": "redis", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state
                }]
            }
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn running(name: &str, uid: &str, address: &str) -> Arc<Pod> {
        pod(name, uid, address, json!({ "running": {} }))
    }

    fn as_members(pods: &[ObservedPod<'_>]) -> Vec<Member> {
        sample(|_| ()).managed.members(pods, Timestamp::UNIX_EPOCH)
    }

    fn ids(former: &FormerPods) -> Vec<String> {
        former.ids().collect()
    }

    #[test]
    fn the_name_means_the_old_process_until_another_master_is_on_record_and_its_address_is_dialled_longer() {
        let (mut former, begin) = (FormerPods::default(), Instant::now());
        former.observe_gone(&running("a", "0123456789", "10.0.0.1"), begin);
        let present = [running("a", "new", "10.0.0.9"), running("b", "u", "10.0.0.2")];
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(!former.settle(Some("a"), present.iter(), at(59)) && former.keeps_name("a"));
        let known = former.members(as_members).remove(0);
        assert_eq!(
            (known.id.as_str(), known.address.host.as_str(), known.is_former),
            ("a", "10.0.0.1", false)
        );
        assert!(former.settle(Some("b"), present.iter(), at(59)) && !former.keeps_name("a"));
        let known = former.members(as_members).remove(0);
        assert_eq!((known.id.as_str(), known.is_former), ("a@01234567", true));
        assert!(known.aliases.is_empty() && known.pod.unwrap().terminating);
        // It is not the master again because a Pod of its former name becomes master.
        assert!(!former.settle(Some("a"), present.iter(), at(60)) && ids(&former) == ["a@01234567"]);
        assert!(former.settle(Some("b"), present.iter(), at(300)) && ids(&former).is_empty());
    }

    #[test]
    fn a_pod_whose_end_was_seen_or_whose_port_refuses_or_whose_address_is_another_pods_is_forgotten() {
        let now = Instant::now();
        for state in [json!({ "terminated": { "exitCode": 0 } }), json!({ "waiting": {} })] {
            let mut former = FormerPods::default();
            former.observe_gone(&pod("a", "u", "10.0.0.1", state), now);
            assert!(ids(&former).is_empty());
        }
        let mut former = FormerPods::default();
        former.observe_gone(&running("a", "u", "10.0.0.1"), now);
        assert!(
            !former.observe_link("a", LinkState::TimedOut) && !former.observe_link("b", LinkState::Refused)
        );
        let mut refused = former.clone();
        assert!(refused.observe_link("a", LinkState::Refused) && ids(&refused).is_empty());
        let present = [running("b", "v", "10.0.0.1"), running("c", "w", "10.0.0.3")];
        assert!(former.settle(Some("a"), present.iter(), now) && ids(&former).is_empty());
    }

    #[test]
    fn where_no_other_pod_could_be_master_or_none_becomes_it_the_new_pod_gets_the_name() {
        let now = Instant::now();
        let mut former = FormerPods::default();
        former.observe_gone(&running("a", "u", "10.0.0.1"), now);
        let mut alone = former.clone();
        assert!(alone.settle(Some("a"), [running("a", "v", "10.0.0.2")].iter(), now));
        assert_eq!(ids(&alone), ["a@u"]);
        let present = [running("a", "v", "10.0.0.2"), running("b", "w", "10.0.0.3")];
        former.observe_gone(&running("a", "v", "10.0.0.2"), now);
        assert_eq!(ids(&former), ["a"], "the new Pod never was the master");
        assert!(former.settle(Some("a"), present.iter(), now + NAME_KEPT) && ids(&former) == ["a@u"]);
        for number in 0..2 * FORMER_MAX {
            former.observe_gone(&running(&format!("a{number}"), "u", "10.0.0.1"), now);
        }
        assert_eq!(former.0.len(), FORMER_MAX);
    }
}
