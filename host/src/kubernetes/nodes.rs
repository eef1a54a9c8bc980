//! What the API server reports of the nodes that Pods run on.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

/// The facts about a node that a policy may need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The condition `Ready` of the node. None: not reported yet.
    pub is_ready: Option<bool>,
    /// `topology.kubernetes.io/zone`. Nodes of one zone fail together.
    pub zone: Option<String>,
}

/// The facts about a node. `Ready` is "Unknown" after long silence of its kubelet, which counts as not ready.
pub fn place(node: &Node) -> Place {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions
        .filter(|condition| condition.type_ == "Ready")
        .map(|condition| condition.status == "True")
        .next();
    Place { is_ready, zone: node.labels().get(ZONE_LABEL).cloned() }
}

/// The node that a Pod runs on. None: not scheduled yet.
pub fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// A node without this label has no known zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_whose_kubelet_is_silent_is_not_ready() {
        let place_with = |status: &str| {
            let labels = json!({ "topology.kubernetes.io/zone": "a" });
            let conditions = json!([
                { "type": "MemoryPressure", "status": "False" },
                { "type": "Ready", "status": status },
            ]);
            place(
                &serde_json::from_value(
                    json!({ "metadata": { "labels": labels }, "status": { "conditions": conditions } }),
                )
                .unwrap(),
            )
        };
        let zone = Some("a".to_owned());
        assert_eq!(place_with("True"), Place { is_ready: Some(true), zone: zone.clone() });
        assert_eq!(
            (place_with("Unknown").is_ready, place_with("False").is_ready),
            (Some(false), Some(false))
        );
        assert_eq!(place(&Node::default()), Place::default());
    }
}
