//! Content keys: what a selection of a tree is, whatever made it (BuildKit `cache/contenthash`).
//!
//! ```text
//! key of a file       = hash(header, bytes)
//! key of a directory  = hash(header, name and key of each child that is selected)
//! key of a wildcard   = hash(name and key of each match)
//! header              = type, mode, user, group, size, link target, device, extended attributes
//! ```
//!
//! The bytes hashed are our own and not BuildKit's; what is equal for one is equal for the other, except where
//! BuildKit takes a directory's header from what a client sent before.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use super::error::{FileError, shown};
use super::metadata::attributes;
use super::owner::Owner;
use super::select::select;
use super::tree::{DEPTH, Tree, clean, is_directory, kind};
use crate::oci::{Digest, Hasher};
use crate::pattern::{Filter, FilterState, has_wildcards, split_wildcards};

/// First field of every key; another number for another set of fields.
const VERSION: &[u8] = b"dockless content 1";

/// What of a tree an operation reads (BuildKit `opsutils.Selector`). The default is everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Path inside the tree; the empty one is the root.
    pub path: String,
    /// If the path, or a match of it, is a symbolic link, what it leads to is meant.
    pub follow_links: bool,
    /// The path may hold wildcards.
    pub wildcard: bool,
    /// Only what one of these patterns matches, relative to the path or the match.
    pub include: Vec<String>,
    /// Without what these patterns match.
    pub exclude: Vec<String>,
    /// Paths inside the tree that must be among what is selected.
    pub required: Vec<String>,
}

/// Returns the key of a selection of the tree `root`: equal for selections that an operation cannot tell apart except
/// by times. The name of what is selected is not in it, names below are; a wildcard brings in the names of its matches,
/// unless there is one and it is called as the pattern.
///
/// # Errors
/// `NotFound` if there is no such path, or a required one is not selected; a wildcard may match nothing. `Pattern`,
/// `TooManyLinks`, `TooDeep`, `Io`.
pub fn content(root: &Path, selection: &Selection) -> Result<Digest, FileError> {
    let tree = Tree::open(root)?;
    let filter = Filter::parse(&selection.include, &selection.exclude)?;
    let required = selection.required.iter().map(|path| clean(Path::new(path))).collect();
    let mut walk = Walk { tree: &tree, filter, required, buffer: vec![0; 128 << 10] };
    let nothing = || Digest::of(b"");
    let key = if selection.wildcard && has_wildcards(&selection.path) {
        walk.matches(selection)?
    } else {
        let path = clean(Path::new(&selection.path));
        walk.top(&path, &path, selection.follow_links)?
    };
    match walk.required.first() {
        Some(path) => Err(FileError::NotFound { path: shown(path) }),
        None => Ok(key.unwrap_or_else(nothing)),
    }
}

/// One place by its names.
#[derive(Clone, Copy)]
struct Spot<'a> {
    /// Resolved.
    place: &'a Path,
    /// As the selection has it, not as links have led.
    named: &'a Path,
    /// Relative to the top; patterns are about this.
    below: &'a Path,
}

struct Walk<'a> {
    tree: &'a Tree,
    filter: Filter,
    /// Required paths that were not met yet.
    required: Vec<PathBuf>,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    /// The key of all that a wildcard matches.
    fn matches(&mut self, selection: &Selection) -> Result<Option<Digest>, FileError> {
        let (above, rest) = split_wildcards(&selection.path);
        let found = select(self.tree, &selection.path, selection.follow_links)?;
        let base = self.tree.resolve(Path::new(&above), selection.follow_links)?;
        let mut keys = Vec::new();
        for path in &found {
            let below = path.strip_prefix(&base).unwrap_or(path);
            let named = clean(Path::new(&above)).join(below);
            if let Some(key) = self.top(path, &named, selection.follow_links)? {
                keys.push((below, key));
            }
        }
        if let [(path, key)] = keys[..]
            && path.file_name() == Path::new(&rest).file_name()
        {
            return Ok(Some(key));
        }
        let mut hasher = Hasher::default();
        hasher.field(VERSION);
        hasher.field(b"matches");
        for (path, key) in &keys {
            hasher.field(path.as_os_str().as_bytes());
            hasher.update(key.as_bytes());
        }
        Ok((!keys.is_empty()).then(|| hasher.finish()))
    }

    /// The key of a place as it is or as what it leads to; `named` is what the selection calls it.
    fn top(&mut self, path: &Path, named: &Path, follow: bool) -> Result<Option<Digest>, FileError> {
        let place = self.tree.resolve(path, follow)?;
        let stat = self.tree.examine(&place)?.ok_or_else(|| FileError::NotFound { path: shown(named) })?;
        // A directory is in for its own sake unless only for what an include pattern matches in it.
        let included = !is_directory(&stat) || !self.filter.includes_some_only();
        let spot = Spot { place: &place, named, below: Path::new("") };
        self.key(spot, &stat, included, &FilterState::default())
    }

    /// The key of a place and what is selected below it; `None` if that is nothing.
    fn key(
        &mut self,
        spot: Spot<'_>,
        stat: &Stat,
        included: bool,
        state: &FilterState,
    ) -> Result<Option<Digest>, FileError> {
        let mut hasher = Hasher::default();
        self.header(&mut hasher, spot.place, stat)?;
        let mut selected = included;
        if is_directory(stat) {
            if spot.below.iter().count() > DEPTH {
                return Err(FileError::TooDeep { path: shown(spot.place) });
            }
            for name in self.tree.names(spot.place)? {
                let below = spot.below.join(&name);
                let verdict = self.filter.look(&below, state);
                if !verdict.included && !verdict.descend {
                    continue;
                }
                let (place, named) = (spot.place.join(&name), spot.named.join(&name));
                let stat = self.tree.expect(&place)?;
                if !verdict.included && !is_directory(&stat) {
                    continue;
                }
                let child = Spot { place: &place, named: &named, below: &below };
                if let Some(key) = self.key(child, &stat, verdict.included, &verdict.state)? {
                    selected = true;
                    hasher.field(name.as_bytes());
                    hasher.update(key.as_bytes());
                }
            }
        }
        if selected {
            self.required.retain(|path| !spot.named.starts_with(path));
        }
        Ok(selected.then(|| hasher.finish()))
    }

    fn header(&mut self, hasher: &mut Hasher, place: &Path, stat: &Stat) -> Result<(), FileError> {
        let kind = kind(stat);
        let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        // A link's mode means nothing.
        let mode = if kind == FileType::Symlink { 0o777 } else { stat.st_mode & 0o7777 };
        hasher.field(VERSION);
        hasher.update(&kind.as_raw_mode().to_le_bytes());
        let owner = Owner::of(self.tree, place, stat);
        for number in [mode, owner.uid, owner.gid] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&if is_device { stat.st_rdev } else { 0 }.to_le_bytes());
        match kind {
            FileType::RegularFile => {
                let file = self.tree.open_file(place)?;
                Self::attributes(hasher, &attributes(&file));
                self.bytes(hasher, file.into(), place)
            }
            FileType::Directory => {
                Self::attributes(hasher, &attributes(&self.tree.open_directory(place)?));
                Ok(())
            }
            FileType::Symlink => {
                hasher.field(self.tree.read_link(place)?.as_bytes());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn attributes(hasher: &mut Hasher, attributes: &[(Vec<u8>, Vec<u8>)]) {
        hasher.update(&(attributes.len() as u64).to_le_bytes());
        for (name, value) in attributes {
            hasher.field(name);
            hasher.field(value);
        }
    }

    /// The bytes of a file by their own digest, which says how many there were.
    fn bytes(&mut self, hasher: &mut Hasher, mut file: File, place: &Path) -> Result<(), FileError> {
        let mut content = Hasher::default();
        loop {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => content.update(&self.buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::io("read", place)(error)),
            }
        }
        hasher.update(&content.size().to_le_bytes());
        hasher.update(content.finish().as_bytes());
        Ok(())
    }
}
