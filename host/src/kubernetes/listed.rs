//! What exists of one kind, kept by kube's reflector store, which swaps a new list in as a whole. So an
//! object that was deleted while the watch was interrupted ends like any other: as [`Change::Gone`].
//!
//! The store holds names only. Whole objects go to their readers as soon as they are listed, and not when the
//! list is complete: a Pod's new address is worth more than the end of a list of thousands.

use super::watch::Key;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, Store, store};
use kube::runtime::watcher::Event;
use std::borrow::Cow;

/// The objects of one kind that exist.
pub struct Listed {
    writer: Writer<Identity>,
    store: Store<Identity>,
}

/// What is left of an object when it is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The resource that it belongs to, or is.
    pub of: Key,
    /// Its own name, in the namespace of that resource.
    pub name: String,
}

/// What an event of the watch means.
#[derive(Debug, PartialEq, Eq)]
pub enum Change<K> {
    /// It exists, as it is now.
    Seen(Identity, K),
    /// It was deleted, now or while the watch was interrupted.
    Gone(Identity),
    /// A list is complete, and all that it left out has been Gone.
    Complete,
}

impl Default for Listed {
    fn default() -> Self {
        let (store, writer) = store();
        Self { writer, store }
    }
}

impl Listed {
    /// What one event means. Objects without identity are none of ours.
    pub fn on<K>(&mut self, event: Event<K>, identity: impl Fn(&K) -> Option<Identity>) -> Vec<Change<K>> {
        match event {
            Event::Apply(object) => self.seen(object, identity, Event::Apply),
            Event::InitApply(object) => self.seen(object, identity, Event::InitApply),
            Event::Delete(object) => {
                let Some(identity) = identity(&object) else { return Vec::new() };
                self.writer.apply_watcher_event(&Event::Delete(identity.clone()));
                vec![Change::Gone(identity)]
            }
            Event::Init => {
                self.writer.apply_watcher_event(&Event::Init);
                Vec::new()
            }
            Event::InitDone => {
                let before = self.store.state();
                self.writer.apply_watcher_event(&Event::InitDone);
                let mut gone: Vec<Identity> = before
                    .iter()
                    .filter(|known| self.store.get(&known.to_object_ref(())).is_none())
                    .map(|known| Identity::clone(known))
                    .collect();
                gone.sort();
                gone.into_iter().map(Change::Gone).chain([Change::Complete]).collect()
            }
        }
    }

    fn seen<K>(
        &mut self,
        object: K,
        identity: impl Fn(&K) -> Option<Identity>,
        event: impl Fn(Identity) -> Event<Identity>,
    ) -> Vec<Change<K>> {
        let Some(identity) = identity(&object) else { return Vec::new() };
        // An object whose label changed is gone for the resource that it belonged to.
        let before = self.store.get(&identity.to_object_ref(())).filter(|before| before.of != identity.of);
        self.writer.apply_watcher_event(&event(identity.clone()));
        let gone = before.map(|before| Change::Gone(Identity::clone(&before)));
        gone.into_iter().chain([Change::Seen(identity, object)]).collect()
    }
}

/// One store has one kind, so the kind tells nothing apart.
impl Lookup for Identity {
    type DynamicType = ();

    fn kind((): &()) -> Cow<'_, str> {
        "Identity".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        Some(self.name.as_str().into())
    }

    fn namespace(&self) -> Option<Cow<'_, str>> {
        Some(self.of.0.as_str().into())
    }

    fn resource_version(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn uid(&self) -> Option<Cow<'_, str>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The resource that an object belongs to, and its name.
    type Object = (&'static str, &'static str);

    fn identity((of, name): &Object) -> Option<Identity> {
        (*of != "none of ours").then(|| Identity { of: ("shop".into(), (*of).into()), name: (*name).into() })
    }

    fn observe_all(listed: &mut Listed, events: impl IntoIterator<Item = Event<Object>>) -> Vec<String> {
        let changes = events.into_iter().flat_map(|event| listed.on(event, identity));
        let words = |change| match change {
            Change::Seen(Identity { of, name }, _) => format!("seen {name} of {}", of.1),
            Change::Gone(Identity { of, name }) => format!("gone {name} of {}", of.1),
            Change::Complete => "complete".to_owned(),
        };
        changes.map(words).collect()
    }

    #[test]
    fn what_a_new_list_leaves_out_is_gone_and_only_when_the_list_is_complete() {
        let mut listed = Listed::default();
        let (a, b, c) = (("cart", "a"), ("cart", "b"), ("till", "c"));
        let first = [Event::Init, Event::InitApply(a), Event::InitApply(b), Event::InitDone];
        assert_eq!(observe_all(&mut listed, first), ["seen a of cart", "seen b of cart", "complete"]);
        assert_eq!(observe_all(&mut listed, [Event::Apply(c)]), ["seen c of till"]);
        let begun = [Event::Init, Event::InitApply(b)];
        assert_eq!(observe_all(&mut listed, begun), ["seen b of cart"], "nothing is gone yet");
        assert_eq!(
            observe_all(&mut listed, [Event::InitDone]),
            ["gone a of cart", "gone c of till", "complete"]
        );
        let again = [Event::Init, Event::InitApply(b), Event::InitDone];
        assert_eq!(
            observe_all(&mut listed, again),
            ["seen b of cart", "complete"],
            "an object that is gone is reported once"
        );
    }

    #[test]
    fn a_list_that_was_interrupted_and_begins_anew_counts_from_its_beginning() {
        let mut listed = Listed::default();
        let (a, b) = (("cart", "a"), ("cart", "b"));
        observe_all(&mut listed, [Event::Init, Event::InitApply(a), Event::InitApply(b), Event::InitDone]);
        let interrupted =
            [Event::Init, Event::InitApply(a), Event::Init, Event::InitApply(b), Event::InitDone];
        assert_eq!(
            observe_all(&mut listed, interrupted),
            ["seen a of cart", "seen b of cart", "gone a of cart", "complete"]
        );
    }

    #[test]
    fn an_object_ends_by_deletion_or_by_becoming_another_s() {
        let mut listed = Listed::default();
        assert_eq!(observe_all(&mut listed, [Event::Apply(("none of ours", "x"))]), Vec::<String>::new());
        let events = [Event::Apply(("cart", "a")), Event::Apply(("till", "a")), Event::Delete(("till", "a"))];
        assert_eq!(
            observe_all(&mut listed, events),
            ["seen a of cart", "gone a of cart", "seen a of till", "gone a of till"]
        );
    }
}
