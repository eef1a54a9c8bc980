//! Which instance an address means: where instances are dialled, and their other names.

use crate::contract::{Address, Instance};
use crate::facts::Place;
use crate::observed::sorted;

/// Of two instances at one place, the first by id is meant.
pub struct Places {
    all: Vec<(Place, usize)>,
    /// Indices into `all`, sorted.
    order: Vec<usize>,
}

impl Places {
    /// Indexes them. Instances come sorted by id; `own_ends` are the addresses at which they see themselves
    /// dialled, and `counted` is the instance that each of them stands for.
    pub fn new(
        instances: &[&Instance],
        own_ends: &[Option<Place>],
        counted: &dyn Fn(usize) -> usize,
    ) -> Self {
        let mut all = Vec::new();
        // Where an instance is dialled, no other is known by another name: of equal places the first stands.
        let mut add = |index: usize, address: &Address| {
            all.push((Place::new(&address.host, address.port), counted(index)));
        };
        instances.iter().enumerate().for_each(|(index, instance)| add(index, &instance.address));
        instances
            .iter()
            .enumerate()
            .for_each(|(index, instance)| instance.aliases.iter().for_each(|alias| add(index, alias)));
        let shown = own_ends.iter().enumerate();
        all.extend(shown.filter_map(|(index, place)| Some((place.clone()?, counted(index)))));
        let order = sorted(all.len(), &|one, other| all[one].0.cmp(&all[other].0));
        Self { all, order }
    }

    /// The index of the instance at that place. None: no instance is known there.
    pub fn find(&self, place: &Place) -> Option<usize> {
        let first = self.order.partition_point(|&index| self.all[index].0 < *place);
        self.order
            .get(first)
            .map(|&index| &self.all[index])
            .filter(|(known, _)| known == place)
            .map(|(_, index)| *index)
    }
}
