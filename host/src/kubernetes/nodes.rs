//! What is told of the nodes that Pods run on.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

/// One node, as far as a policy may want to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its kubelet is heard and content. None: nothing was said of it yet.
    pub is_ready: Option<bool>,
    /// Nodes of one zone are lost together.
    pub zone: Option<String>,
}

/// The place that a node is. One that was not heard of for long has the condition "Unknown": not ready.
pub fn place(node: &Node) -> Place {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions
        .filter(|condition| condition.type_ == "Ready")
        .map(|condition| condition.status == "True")
        .next();
    Place { is_ready, zone: node.labels().get(ZONE_LABEL).cloned() }
}

/// The node that a Pod runs on. None: nowhere yet.
pub fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// A node without it is in no zone that is known.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_that_is_not_heard_of_is_not_ready() {
        let seen = |status: &str| {
            let labels = json!({ "topology.kubernetes.io/zone": "a" });
            let conditions = json!([{ "type": "MemoryPressure", "status": "False" }, { "type": "Ready", "status": status }]);
            place(
                &serde_json::from_value(
                    json!({ "metadata": { "labels": labels }, "status": { "conditions": conditions } }),
                )
                .unwrap(),
            )
        };
        let zone = Some("a".to_owned());
        assert_eq!(seen("True"), Place { is_ready: Some(true), zone: zone.clone() });
        assert_eq!((seen("Unknown").is_ready, seen("False").is_ready), (Some(false), Some(false)));
        assert_eq!(place(&Node::default()), Place::default());
    }
}
