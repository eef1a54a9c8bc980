//! Whose an object is: its ownerReferences name the uid of what it belongs to. Names and labels are anybody's
//! to choose, and a uid is given once; so nothing is taken over, changed or deleted by name or label alone.
//! Calls nothing.

use super::apply::version;
use super::objects::{Family, MARK_ANNOTATION};
use super::outside::Outside;
use super::record::RECORD_ANNOTATION;
use kube::ResourceExt;

/// An object as a watch shows it, without its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Its resource version.
    pub version: u64,
    /// Its own uid.
    pub uid: String,
    /// The uids of its owners.
    pub owners: Vec<String>,
    /// The record of a group, which one object of each group has.
    pub record: Option<String>,
    /// The value of its [`MARK_ANNOTATION`]. None: it has none.
    pub mark: Option<String>,
    /// Other operators make such objects for the same owner: [`Family::are_marked`].
    pub may_be_of_others: bool,
    /// How a Service is reached from outside of the cluster. None: it is not, or this is no Service.
    pub outside: Option<Outside>,
}

impl Sighting {
    /// Of an object. None: the API server gave it no version.
    pub fn of(object: &impl ResourceExt) -> Option<Self> {
        let owners = object.owner_references().iter().map(|owner| owner.uid.clone()).collect();
        let record = object.annotations().get(RECORD_ANNOTATION).cloned();
        let mark = object.annotations().get(MARK_ANNOTATION).cloned();
        let family = Family::of(object).map(|(family, _)| family);
        Some(Self {
            version: version(object)?,
            uid: object.uid().unwrap_or_default(),
            owners,
            record,
            mark,
            may_be_of_others: family.is_some_and(|family| family.are_marked),
            outside: None,
        })
    }

    /// Whether it is this operator's, for the resource with that uid: owned by it, and marked where others
    /// make objects for the same owner.
    pub fn is_ours(&self, uid: Option<&str>, family: &Family) -> bool {
        self.is_owned_by(uid) && (self.mark.is_some() || !family.are_marked)
    }

    /// Whether the resource with that uid owns it. A resource without uid owns nothing.
    pub fn is_owned_by(&self, uid: Option<&str>) -> bool {
        uid.is_some_and(|uid| !uid.is_empty() && self.owners.iter().any(|owner| owner == uid))
    }
}

/// Whether the resource with that uid owns an object.
pub fn is_owned_by(object: &impl ResourceExt, uid: Option<&str>) -> bool {
    let has = |uid: &str| object.owner_references().iter().any(|owner| owner.uid == uid);
    uid.is_some_and(|uid| !uid.is_empty() && has(uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    #[test]
    fn an_object_is_owned_by_uid_and_not_by_name_or_label() {
        let map = |uid: &str| -> ConfigMap {
            serde_json::from_value(json!({ "metadata": {
                "name": "redis-cart", "uid": "m", "resourceVersion": "7", "labels": { "redis": "cart" },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Redis", "name": "cart", "uid": uid }]
            } }))
            .unwrap()
        };
        for (owner, asked, expected) in
            [("u", Some("u"), true), ("former", Some("u"), false), ("", Some(""), false), ("u", None, false)]
        {
            let seen = Sighting::of(&map(owner)).unwrap();
            assert_eq!((seen.is_owned_by(asked), is_owned_by(&map(owner), asked)), (expected, expected));
            assert_eq!((seen.version, seen.uid.as_str()), (7, "m"));
        }
    }
}
