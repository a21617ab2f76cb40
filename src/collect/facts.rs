//! What is in a store, as a value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::usage::Usage;

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An operation that ran: its records and what it wrote.
    Step,
    /// A base tree that was unpacked from layers.
    Image,
    /// Another tree.
    Tree,
    /// A blob.
    Blob,
    /// A cache mount.
    Mount,
    /// A clone of a git repository.
    Repository,
    /// What a step printed.
    Log,
    /// A part of a download.
    Download,
    /// Small things that go with others, and what other runs have in the making.
    Other,
}

impl Kind {
    /// All of them, as users may name them.
    pub const NAMED: [Self; 8] =
        [Self::Step, Self::Image, Self::Tree, Self::Blob, Self::Mount, Self::Repository, Self::Log, Self::Download];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Image => "image",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Mount => "mount",
            Self::Repository => "repository",
            Self::Log => "log",
            Self::Download => "download",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a unit is kept, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// A tag leads to it: it always stays.
    Tag,
    /// A lock of the project names it: it goes only with everything.
    Lock,
    /// It may be used again, and can be had again.
    Cache,
    /// Nothing can use it any more, unless something that stays lies on it.
    Gone,
}

impl Keep {
    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Lock => "lock",
            Self::Cache => "cache",
            Self::Gone => "unused",
        }
    }
}

/// One thing on disk that goes as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `<room>/<name>`: a file or a tree that nothing lies on.
    Entry(&'static str, String),
    /// `snapshots/<id>`.
    Snapshot(String),
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Ids of what it lies on.
    pub below: BTreeSet<String>,
}

/// What is kept or goes as one, for people a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What it is.
    pub kind: Kind,
    /// A key, a digest or a file name, unique among its kind.
    pub id: String,
    /// A name for people; may be empty.
    pub name: String,
    /// When it was last used, in seconds since 1970.
    pub used: i64,
    /// Why it is kept.
    pub keep: Keep,
    /// Files and trees of its own.
    pub entries: Vec<Place>,
    /// Ids of the snapshots that it consists of; what they lie on is kept with them.
    pub trees: Vec<String>,
}

/// All that is in a store.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// What may be kept or go.
    pub units: Vec<Unit>,
    /// All snapshots by id.
    pub trees: BTreeMap<String, Tree>,
    /// Notes about steps by the names of steps (`parts/`), with the names that they belong to.
    pub notes: BTreeMap<String, String>,
    /// What each place takes.
    pub usage: Usage,
}

impl Facts {
    /// Returns the snapshots that `roots` consist of and lie on, directly or not; those that are missing are left out.
    pub(super) fn closure(&self, roots: &[String]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&String> = roots.iter().collect();
        while let Some(id) = open.pop() {
            if let Some((id, tree)) = self.trees.get_key_value(id)
                && found.insert(id.clone())
            {
                open.extend(&tree.below);
            }
        }
        found
    }
}
