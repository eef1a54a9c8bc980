//! Where clients find servers, where that is not the servers' own addresses: clients outside of a cluster
//! dial what the cluster has for them.

use super::group::{Group, Node};
use std::collections::BTreeMap;

/// Host and port by member. A member that is not in it is not named to clients: what they cannot dial would
/// hold them up.
pub type Places = BTreeMap<String, (String, u16)>;

/// The group as clients are told of it. None: by the servers' own addresses.
pub(super) fn shown(group: &Group, places: Option<&Places>) -> Group {
    let Some(places) = places else { return group.clone() };
    let all = || group.master.iter().chain(&group.replicas);
    let of_own = |own: &(String, u16)| {
        let node = all().find(|node| (&node.host, node.port) == (&own.0, own.1))?;
        places.get(&node.member).cloned()
    };
    let placed = |node: &Node| {
        let (host, port) = places.get(&node.member)?.clone();
        let follows = node.follows.as_ref().map(|own| of_own(own).unwrap_or_else(|| own.clone()));
        Some(Node { host, port, follows, ..node.clone() })
    };
    Group {
        master: group.master.as_ref().and_then(placed),
        replicas: group.replicas.iter().filter_map(placed).collect(),
        ..group.clone()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn node(member: &str, host: &str, follows: Option<&str>) -> Node {
        Node {
            member: member.into(),
            host: host.into(),
            port: 6379,
            run_id: String::new(),
            role: None,
            heard: None,
            down: None,
            priority: 100,
            offset: 0,
            is_announced: true,
            follows: follows.map(|host| (host.to_owned(), 6379)),
            is_link_up: true,
            link_down_s: 0,
        }
    }

    #[test]
    fn servers_are_named_by_their_places_and_those_without_one_not_at_all() {
        let group = Group {
            master: Some(node("a", "10.0.0.1", None)),
            replicas: vec![
                node("b", "10.0.0.2", Some("10.0.0.1")),
                node("c", "10.0.0.3", Some("10.0.0.9")),
                node("d", "10.0.0.4", Some("10.0.0.1")),
            ],
            ..Group::default()
        };
        assert_eq!(shown(&group, None), group);
        let place = |member: &str, port| (member.to_owned(), ("lb.example.com".to_owned(), port));
        let places: Places = [place("a", 1), place("b", 2), place("c", 3)].into();
        let Group { master, replicas, .. } = shown(&group, Some(&places));
        assert_eq!(master.unwrap().address(), "lb.example.com 1");
        let named: Vec<_> =
            replicas.iter().map(|node| (node.name(), node.follows.clone().unwrap())).collect();
        let own = |host: &str, port| (host.to_owned(), port);
        assert_eq!(
            named,
            [
                ("lb.example.com:2".to_owned(), own("lb.example.com", 1)),
                ("lb.example.com:3".to_owned(), own("10.0.0.9", 6379)),
            ],
            "what a replica follows is named as clients know it, and a stranger as it is"
        );
        assert_eq!(shown(&group, Some(&Places::new())).master, None);
    }
}
