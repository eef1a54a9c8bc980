//! How clients outside of the cluster reach a Service, and through it a Pod. Calls nothing.

use super::objects::REDIS_PORT;
use k8s_openapi::api::core::v1::{Pod, Service};

/// How a Service is reached from outside of the cluster, as the cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// At this port of every node.
    Node(u16),
    /// At its load balancer. None: that has no address yet.
    Balancer(Option<String>),
}

/// How a Service is reached. None: only inside, or its node port is not given yet.
pub fn outside(service: &Service) -> Option<Outside> {
    let spec = service.spec.as_ref()?;
    match spec.type_.as_deref()? {
        "NodePort" => {
            let mut ports = spec.ports.iter().flatten();
            let port = ports.find(|port| port.name.as_deref() == Some(REDIS_PORT))?;
            Some(Outside::Node(u16::try_from(port.node_port?).ok()?))
        }
        "LoadBalancer" => {
            let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let mut ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
            let address = ingress.next().and_then(|first| first.ip.clone().or(first.hostname.clone()));
            Some(Outside::Balancer(address.filter(|address| !address.is_empty())))
        }
        _ => None,
    }
}

/// Host and port of a Pod whose own Service is reached so. `host`: the name that the user has for it, in
/// which `{pod}` is the Pod's; `port`: that of the Service. None: it has no such address yet.
pub fn place_of(
    pod: (&str, &Pod),
    outside: &Outside,
    host: Option<&str>,
    port: u16,
) -> Option<(String, u16)> {
    let (name, pod) = pod;
    let given = host.map(|host| host.replace(POD_MARK, name));
    match outside {
        Outside::Node(port) => {
            let node = || pod.status.as_ref()?.host_ip.clone().filter(|address| !address.is_empty());
            Some((given.or_else(node)?, *port))
        }
        Outside::Balancer(address) => Some((given.or_else(|| address.clone())?, port)),
    }
}

/// Stands for the name of a Pod in what users write.
pub const POD_MARK: &str = "{pod}";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(spec: Value, status: Value) -> Service {
        serde_json::from_value(json!({ "spec": spec, "status": status })).unwrap()
    }

    #[test]
    fn a_service_is_reached_at_its_node_port_or_its_load_balancer() {
        let ports = json!([{ "name": "exporter", "port": 9121, "nodePort": 30001 },
            { "name": "redis", "port": 6379, "nodePort": 30002 }]);
        let with =
            |kind: &str, status: Value| outside(&service(json!({ "type": kind, "ports": ports }), status));
        let ingress = |ingress: Value| json!({ "loadBalancer": { "ingress": ingress } });
        assert_eq!(with("NodePort", json!({})), Some(Outside::Node(30002)));
        assert_eq!(with("ClusterIP", json!({})), None);
        assert_eq!(with("LoadBalancer", json!({})), Some(Outside::Balancer(None)));
        let both = json!([{ "hostname": "lb.example.com", "ip": "203.0.113.1" }]);
        for (status, expected) in
            [(both, "203.0.113.1"), (json!([{ "hostname": "lb.example.com" }]), "lb.example.com")]
        {
            let reached = with("LoadBalancer", ingress(status));
            assert_eq!(reached, Some(Outside::Balancer(Some(expected.into()))));
        }
        let no_port_yet = json!({ "type": "NodePort", "ports": [{ "name": "redis", "port": 6379 }] });
        assert_eq!(outside(&service(no_port_yet, json!({}))), None);
    }

    #[test]
    fn a_pod_is_found_by_the_users_name_or_by_the_address_that_the_cluster_gives() {
        let pod: Pod = serde_json::from_value(json!({ "status": { "hostIP": "10.1.0.7" } })).unwrap();
        let of = |pod: &Pod, outside: &Outside, host| place_of(("redis-cart-1", pod), outside, host, 6379);
        let name = Some("{pod}.redis.example.com");
        let balancer = Outside::Balancer(Some("203.0.113.1".into()));
        let (node, pending) = (Outside::Node(30002), Outside::Balancer(None));
        let rows = [
            (&node, None, Some(("10.1.0.7", 30002))),
            (&node, Some("192.0.2.9"), Some(("192.0.2.9", 30002))),
            (&balancer, None, Some(("203.0.113.1", 6379))),
            (&balancer, name, Some(("redis-cart-1.redis.example.com", 6379))),
            (&pending, None, None),
            (&pending, name, Some(("redis-cart-1.redis.example.com", 6379))),
        ];
        for (outside, host, expected) in rows {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(of(&pod, outside, host), expected, "{outside:?} {host:?}");
        }
        assert_eq!(of(&Pod::default(), &Outside::Node(1), None), None, "it has no node yet");
    }
}
