//! How the objects of a kind of resource are called and labelled. The controllers and the watches use these
//! words, and know no kind.

use kube::ResourceExt;

/// The words of one kind of resource.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The label with the name of the resource, on all its objects.
    pub label: &'static str,
    /// The names of its StatefulSet and of its Secret: this, and the name of the resource.
    pub prefix: &'static str,
    /// Before the name of the resource: the Deployment of its Sentinels. None: it has none.
    pub sentinels_prefix: Option<&'static str>,
    /// After the name of that Secret: the one by which clients find the group. None: there is none.
    pub binding: Option<&'static str>,
    /// The label with the role of a Pod. Services select by it.
    pub role_label: &'static str,
    /// Its value for the master.
    pub master: &'static str,
    /// Its value for all other instances.
    pub replica: &'static str,
    /// Another operator makes objects of the same names for the same owner: only those that are marked as
    /// this operator's are its own ([`MARK_ANNOTATION`]).
    pub are_marked: bool,
}

/// The annotation of an object that this operator made, or was handed over.
///
/// [`Family::are_marked`] says where it counts.
pub const MARK_ANNOTATION: &str = "k8s.amaiz.com/operated";

/// Its value on an object that this operator made, or was handed over.
pub const MADE: &str = "true";
/// Its value on an object of another operator whose Pods are as that one made them.
pub const ADOPTED: &str = "adopted";
/// Its value on an object of another operator that has this operator's template of Pods.
pub const ROLLED: &str = "rolled";

/// Of Redis.
pub static REDIS: Family = Family {
    label: super::GROUP_LABEL,
    prefix: super::PREFIX,
    sentinels_prefix: None,
    binding: Some(super::binding::BINDING),
    role_label: super::ROLE_LABEL,
    master: super::MASTER,
    replica: super::REPLICA,
    are_marked: false,
};

/// Of RedisFailover: in the words of spotahome/redis-operator.
pub static FAILOVER: Family = Family {
    label: "redisfailovers.databases.spotahome.com/name",
    prefix: "rfr-",
    sentinels_prefix: Some("rfs-"),
    binding: None,
    role_label: "redisfailovers-role",
    master: "master",
    replica: super::failover::REPLICA,
    are_marked: true,
};

/// All. The first whose label an object has is its own: a label of the user may be called as another's.
pub static FAMILIES: [&Family; 2] = [&FAILOVER, &REDIS];

impl Family {
    /// The name of the StatefulSet and the Secret of a resource.
    pub fn set_name(&self, resource: &str) -> String {
        format!("{}{resource}", self.prefix)
    }

    /// The name of the Deployment of a resource's Sentinels. None: such a resource has none.
    pub fn sentinels_name(&self, resource: &str) -> Option<String> {
        self.sentinels_prefix.map(|prefix| format!("{prefix}{resource}"))
    }

    /// The Secrets that the operator makes for a resource, beside one for its password.
    pub fn secrets(&self, resource: &str) -> Vec<String> {
        let own = self.set_name(resource);
        let binding = self.binding.map(|binding| own.clone() + binding);
        [own].into_iter().chain(binding).collect()
    }

    /// The family of an object, and the resource that its label names.
    pub fn of(object: &impl ResourceExt) -> Option<(&'static Self, &str)> {
        let labels = object.labels();
        FAMILIES.iter().find_map(|family| Some((*family, labels.get(family.label)?.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    #[test]
    fn an_object_is_of_the_resource_that_its_own_family_s_label_names() {
        let of = |labels: serde_json::Value| {
            let map: ConfigMap = serde_json::from_value(json!({ "metadata": { "labels": labels } })).unwrap();
            Family::of(&map).map(|(family, name)| family.set_name(name))
        };
        let failover = "redisfailovers.databases.spotahome.com/name";
        assert_eq!(of(json!({ "redis": "cart" })).as_deref(), Some("redis-cart"));
        assert_eq!(of(json!({ failover: "cart" })).as_deref(), Some("rfr-cart"));
        assert_eq!(of(json!({ failover: "cart", "redis": "x" })).as_deref(), Some("rfr-cart"));
        assert_eq!(of(json!({ "app": "cart" })), None);
    }
}
