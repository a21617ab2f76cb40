//! Who takes how much, with files that have several names counted once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::facts::Place;

/// Number of an inode with several names.
type Number = usize;

/// What all places take.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    places: BTreeMap<Place, Weight>,
    numbers: BTreeMap<(u64, u64), Number>,
    inodes: Vec<Inode>,
}

#[derive(Debug, Clone, Default)]
struct Weight {
    /// Bytes of files with one name, and of directories.
    own: u64,
    /// Names of other files.
    names: BTreeMap<Number, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Inode {
    bytes: u64,
    /// Names that are left anywhere.
    names: u64,
}

impl Usage {
    /// Adds one name of a file: its device and inode, the bytes that it takes, and how many names it has anywhere.
    pub fn add(&mut self, place: &Place, inode: (u64, u64), bytes: u64, names: u64) {
        if !self.places.contains_key(place) {
            self.places.insert(place.clone(), Weight::default());
        }
        let weight = self.places.get_mut(place).expect("just added");
        if names < 2 {
            weight.own += bytes;
            return;
        }
        let number = match self.numbers.entry(inode) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.inodes.push(Inode { bytes, names });
                *new.insert(self.inodes.len() - 1)
            }
        };
        *weight.names.entry(number).or_default() += 1;
    }

    /// Returns all places.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.keys()
    }

    /// Returns the bytes that all of it takes.
    pub fn total(&self) -> u64 {
        let own: u64 = self.places.values().map(|weight| weight.own).sum();
        own + self.inodes.iter().filter(|inode| inode.names > 0).map(|inode| inode.bytes).sum::<u64>()
    }

    /// Returns the bytes that these places take together, and how many of them others have too.
    pub fn of<'a>(&self, places: impl IntoIterator<Item = &'a Place>) -> (u64, u64) {
        let (mut bytes, mut shared) = (0, 0);
        let mut names = BTreeMap::<Number, u64>::new();
        for weight in places.into_iter().filter_map(|place| self.places.get(place)) {
            bytes += weight.own;
            for (number, count) in &weight.names {
                *names.entry(*number).or_default() += count;
            }
        }
        for (number, count) in names {
            let inode = self.inodes[number];
            bytes += inode.bytes;
            shared += if count < inode.names { inode.bytes } else { 0 };
        }
        (bytes, shared)
    }

    /// Takes a place away and returns the bytes that are free then.
    pub fn remove(&mut self, place: &Place) -> u64 {
        let Some(weight) = self.places.remove(place) else { return 0 };
        let mut free = weight.own;
        for (number, count) in weight.names {
            let inode = &mut self.inodes[number];
            let before = inode.names;
            // Names may have come while they were counted.
            inode.names = before.saturating_sub(count);
            free += if before > 0 && inode.names == 0 { inode.bytes } else { 0 };
        }
        free
    }
}
