//! What servers truly have: writes on the branches of a tree, and where each replication history has which of
//! them. A test can so tell what was lost from what was reported.

/// The first writes of a branch, so many counted from the root. Two servers with one place have the same
/// data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    branch: usize,
    at: usize,
}

/// Where one write stands in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteAt {
    branch: usize,
    index: usize,
}

/// All writes that any server ever took.
#[derive(Clone, Debug)]
pub struct Tree(Vec<Branch>);

#[derive(Clone, Debug, Default)]
struct Branch {
    /// Where it left another one.
    parent: Place,
    /// Its end, counted from the root.
    end: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self(vec![Branch::default()])
    }
}

impl Tree {
    /// A server with the data of `place` takes a write. On a branch of its own, where another server has
    /// taken a write after the same data.
    pub fn write(&mut self, place: Place) -> (Place, WriteAt) {
        let branch = if self.0[place.branch].end == place.at {
            place.branch
        } else {
            self.0.push(Branch { parent: place, end: place.at });
            self.0.len() - 1
        };
        self.0[branch].end += 1;
        (Place { branch, at: place.at + 1 }, WriteAt { branch, index: place.at })
    }

    /// Whether the data of `place` has a write.
    pub fn has(&self, place: Place, write: WriteAt) -> bool {
        self.path(place).any(|place| place.branch == write.branch && write.index < place.at)
    }

    /// How many writes two places share.
    pub fn shared(&self, one: Place, other: Place) -> usize {
        let on_both = |place: Place| {
            let there = self.path(other).find(|there| there.branch == place.branch)?;
            Some(place.at.min(there.at))
        };
        self.path(one).find_map(on_both).unwrap_or(0)
    }

    /// How many writes `place` has and `other` has not.
    pub fn surplus(&self, place: Place, other: Place) -> usize {
        place.at - self.shared(place, other)
    }

    /// The place, and where its branch and the branches before it left another.
    fn path(&self, place: Place) -> impl Iterator<Item = Place> {
        std::iter::successors(Some(place), |place| {
            let parent = self.0[place.branch].parent;
            (place.branch != 0).then_some(Place { branch: parent.branch, at: parent.at.min(place.at) })
        })
    }
}

/// The stream of one replication id: which data a server has at which offset. A server's data follows from
/// its history and its offset alone.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The stream that it grew out of, and its last offset there.
    parent: Option<(usize, u64)>,
    /// The data at its begin.
    begin: (Place, u64),
    /// Offset behind a write, and the data and the keys from there on.
    writes: Vec<(u64, Place, u64)>,
}

/// The streams of all replication ids.
#[derive(Clone, Debug, Default)]
pub struct Streams(Vec<Stream>);

impl Streams {
    /// A stream of its own, which begins with these data and keys.
    pub fn begin(&mut self, place: Place, keys: u64) -> usize {
        self.0.push(Stream { parent: None, begin: (place, keys), writes: vec![] });
        self.0.len() - 1
    }

    /// A stream that continues another one after `offset`.
    pub fn grow(&mut self, parent: usize, offset: u64) -> usize {
        let begin = self.data(parent, offset);
        self.0.push(Stream { parent: Some((parent, offset)), begin, writes: vec![] });
        self.0.len() - 1
    }

    /// A write ends at this offset.
    pub fn write(&mut self, stream: usize, offset: u64, place: Place, keys: u64) {
        self.0[stream].writes.push((offset, place, keys));
    }

    /// The data and the number of keys at an offset.
    pub fn data(&self, mut stream: usize, mut offset: u64) -> (Place, u64) {
        loop {
            let Stream { parent, begin, writes } = &self.0[stream];
            match (writes.partition_point(|(end, ..)| *end <= offset), parent) {
                (0, Some((parent, fork))) => (stream, offset) = (*parent, offset.min(*fork)),
                (0, None) => return *begin,
                (count, _) => return (writes[count - 1].1, writes[count - 1].2),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_write_after_the_same_data_part() {
        let mut tree = Tree::default();
        let (both, first) = tree.write(Place::default());
        let (one, on_one) = tree.write(both);
        let (other, on_other) = tree.write(both);
        assert!(tree.has(one, first) && tree.has(other, first));
        assert!(tree.has(one, on_one) && !tree.has(other, on_one));
        assert!(tree.has(other, on_other) && !tree.has(one, on_other));
        assert_eq!((tree.shared(one, other), tree.surplus(one, other), tree.surplus(both, one)), (1, 1, 0));
    }

    #[test]
    fn a_place_in_a_history_has_the_data_of_its_offset() {
        let (mut tree, mut streams) = (Tree::default(), Streams::default());
        let stream = streams.begin(Place::default(), 0);
        let (place, _) = tree.write(Place::default());
        streams.write(stream, 40, place, 1);
        let grown = streams.grow(stream, 47);
        let (later, _) = tree.write(place);
        streams.write(grown, 80, later, 2);
        assert_eq!(streams.data(stream, 39), (Place::default(), 0));
        assert_eq!(streams.data(stream, 54), (place, 1));
        assert_eq!(streams.data(grown, 20), (Place::default(), 0));
        assert_eq!(streams.data(grown, 79), (place, 1));
        assert_eq!(streams.data(grown, 80), (later, 2));
    }
}
