//! Looking at a store: what there is, what it takes, when it was used, and what leads to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use walkdir::WalkDir;

use super::error::CollectError;
use super::facts::{Facts, Keep, Kind, Place, Tree, Unit};
use super::usage::Usage;
use crate::image;
use crate::oci::Digest;
use crate::snapshot::{CACHE_MOUNTS, Described, Snapshots};
use crate::solver::{PACKED, PARTS, RECORDS, Record, SEEN};
use crate::store::Store;

/// Rooms whose entries are told apart; the names that `Place` gives them.
const BLOBS: &str = "blobs/sha256";
const LOGS: &str = "logs";
const DOWNLOADS: &str = "downloads";
const CLONES: &str = "git";

/// Manifests are small (`distribution-spec spec.md#pushing-manifests` speaks of 4 MiB).
const LARGEST_MANIFEST: u64 = 4 << 20;

/// Gathers what is in `store`; `locked` are the blobs that locks of the project name, with names for people.
///
/// What vanishes meanwhile, or cannot be read, is left out.
///
/// # Errors
/// `Store`, `Snapshot`, `Io`.
pub fn gather(store: &Store, snapshots: &Snapshots, locked: &BTreeMap<Digest, String>) -> Result<Facts, CollectError> {
    let mut gathering = Gathering { store, snapshots, facts: Facts::default() };
    let described = gathering.trees()?;
    let keys = gathering.steps()?;
    let tags = gathering.tagged()?;
    gathering.other_trees(&described, &tags);
    let loose = gathering.untagged(&tags)?;
    gathering.blobs(&described, &tags, &loose, locked)?;
    gathering.entries(image::UNTAGGED, |unit, _| unit.keep = Keep::Gone)?;
    gathering.entries(CACHE_MOUNTS, |unit, _| {
        unit.kind = Kind::Mount;
        (unit.name, unit.used) = snapshots.describe_cache_mount(&unit.id);
    })?;
    gathering.entries(CLONES, |unit, _| unit.kind = Kind::Repository)?;
    gathering.entries(DOWNLOADS, |unit, _| {
        unit.kind = Kind::Download;
        let stem = unit.id.split('.').next().and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
        unit.name = stem.and_then(|digest| locked.get(&digest).cloned()).unwrap_or_default();
        unit.keep = Keep::Gone;
    })?;
    for room in HINTS {
        gathering.entries(room, |_, _| {})?;
    }
    gathering.entries(LOGS, |unit, _| {
        unit.kind = Kind::Log;
        unit.id = unit.id.trim_end_matches(".log").to_owned();
        match keys.get(&unit.id) {
            Some(name) => unit.name.clone_from(name),
            None => unit.keep = Keep::Gone,
        }
    })?;
    gathering.rest()?;
    Ok(gathering.facts)
}

struct Gathering<'a> {
    store: &'a Store,
    snapshots: &'a Snapshots,
    facts: Facts,
}

/// Rooms of small notes that save work where they are right and cost it where they are gone.
const HINTS: [&str; 3] = [PACKED, SEEN, "http"];

/// What leads to blobs from tags: the digest, and how a person calls it; and tags by the layers of their images.
struct Tagged {
    names: BTreeMap<Digest, String>,
    images: BTreeMap<Vec<Digest>, String>,
}

impl Gathering<'_> {
    /// All snapshots.
    fn trees(&mut self) -> Result<BTreeMap<String, Described>, CollectError> {
        let mut all = BTreeMap::new();
        for id in self.snapshots.list()? {
            let Some(described) = self.snapshots.describe(&id)? else { continue };
            let place = self.store.root().join("snapshots").join(&id);
            measure(&mut self.facts.usage, &Place::Snapshot(id.clone()), &place)?;
            let below = described.below.iter().cloned().collect();
            self.facts.trees.insert(id.clone(), Tree { below });
            all.insert(id, described);
        }
        Ok(all)
    }

    /// Records of operations and what is noted of them; returns names by key of those that are good.
    fn steps(&mut self) -> Result<BTreeMap<String, String>, CollectError> {
        let mut keys = BTreeMap::new();
        let mut steps = BTreeMap::<(String, Vec<String>), Unit>::new();
        for key in self.store.records(RECORDS)? {
            let path = self.store.root().join(RECORDS).join(&key);
            let Some(metadata) = examine(&path)? else { continue };
            let place = Place::Entry(RECORDS, key.clone());
            weigh(&mut self.facts.usage, &place, &metadata);
            let bytes = self.store.get_record(RECORDS, &key)?.unwrap_or_default();
            let record = serde_json::from_slice::<Record>(&bytes).ok();
            let name = record.as_ref().map(|record| record.name.clone()).unwrap_or_default();
            let unit = Unit {
                kind: Kind::Step,
                id: key.clone(),
                name: name.clone(),
                used: metadata.mtime(),
                keep: Keep::Gone,
                entries: vec![place],
                trees: Vec::new(),
            };
            let trees: Option<Vec<String>> =
                record.map(|record| record.outputs.iter().map(|output| output.snapshot.hex()).collect());
            match trees.filter(|trees| trees.iter().all(|id| self.facts.trees.contains_key(id))) {
                None => self.facts.units.push(unit),
                Some(trees) => {
                    keys.insert(key, name.clone());
                    let step = steps.entry((name, trees.clone()));
                    // Two keys may lead to one result: it goes with both.
                    step.and_modify(|step| {
                        step.used = step.used.max(unit.used);
                        step.entries.extend(unit.entries.clone());
                    })
                    .or_insert(Unit { keep: Keep::Cache, trees, ..unit });
                }
            }
        }
        let names: BTreeMap<String, &String> =
            steps.keys().map(|(name, _)| (Digest::of(name.as_bytes()).hex(), name)).collect();
        for key in self.store.records(PARTS)? {
            let Some(metadata) = examine(&self.store.root().join(PARTS).join(&key))? else { continue };
            weigh(&mut self.facts.usage, &Place::Entry(PARTS, key.clone()), &metadata);
            let name = names.get(&key).map(|name| (*name).clone()).unwrap_or_default();
            self.facts.notes.insert(key, name);
        }
        self.facts.units.extend(steps.into_values());
        Ok(keys)
    }

    /// Everything that tags lead to.
    fn tagged(&self) -> Result<Tagged, CollectError> {
        let mut tagged = Tagged { names: BTreeMap::new(), images: BTreeMap::new() };
        for (tag, descriptor) in self.store.tags()? {
            if let Ok(digest) = descriptor.digest().to_string().parse() {
                self.follow(digest, &tag, &mut tagged)?;
            }
        }
        if tagged.names.is_empty() {
            return Ok(tagged);
        }
        // What is attached to an image goes with it.
        for digest in image::attached(self.store, &tagged.names.keys().copied().collect())? {
            self.follow(digest, "an attachment", &mut tagged)?;
        }
        Ok(tagged)
    }

    /// Everything that leads from one manifest or index.
    fn follow(&self, from: Digest, tag: &str, tagged: &mut Tagged) -> Result<(), CollectError> {
        let mut open = vec![(from, tag.to_owned())];
        while let Some((digest, name)) = open.pop() {
            if tagged.names.insert(digest, name.clone()).is_some() {
                continue;
            }
            let Some(manifest) = self.manifest(&digest)? else { continue };
            let list = |key: &str| -> Vec<Digest> {
                let items = manifest.get(key).and_then(serde_json::Value::as_array).into_iter().flatten();
                items.filter_map(digest_of).collect()
            };
            let layers = list("layers");
            open.extend(list("manifests").into_iter().map(|digest| (digest, tag.to_owned())));
            open.extend(manifest.get("config").and_then(digest_of).map(|digest| (digest, format!("config of {tag}"))));
            open.extend(layers.iter().map(|digest| (*digest, format!("layer of {tag}"))));
            tagged.images.insert(layers, tag.to_owned());
        }
        Ok(())
    }

    /// What images that lost their name lead to: nothing can use it any more, unless something else leads there.
    fn untagged(&self, tagged: &Tagged) -> Result<BTreeMap<Digest, String>, CollectError> {
        let mut loose = Tagged { names: BTreeMap::new(), images: BTreeMap::new() };
        for hex in self.store.records(image::UNTAGGED)? {
            let Ok(digest) = Digest::from_hex(&hex) else { continue };
            if tagged.names.contains_key(&digest) || self.store.contains(&digest).is_none() {
                continue;
            }
            let called = self.store.get_record(image::UNTAGGED, &hex)?.unwrap_or_default();
            self.follow(digest, &String::from_utf8_lossy(&called), &mut loose)?;
        }
        Ok(loose.names)
    }

    /// Reads a blob as JSON if it may be a manifest or an index.
    fn manifest(&self, digest: &Digest) -> Result<Option<serde_json::Value>, CollectError> {
        if self.store.contains(digest).is_none_or(|size| size > LARGEST_MANIFEST) {
            return Ok(None);
        }
        let path = self.store.path(digest);
        let bytes = fs::read(&path).map_err(|source| CollectError::Io { action: "read", path, source })?;
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Trees that no record leads to, and images whoever does.
    fn other_trees(&mut self, described: &BTreeMap<String, Described>, tagged: &Tagged) {
        let recorded: BTreeSet<&String> = self.facts.units.iter().flat_map(|unit| &unit.trees).collect();
        let mut units = Vec::new();
        for (id, tree) in described {
            let is_image = !tree.packed.is_empty();
            if recorded.contains(id) && !is_image {
                continue;
            }
            let layers: Vec<Digest> = tree.packed.iter().map(|layer| layer.digest).collect();
            let name = match tagged.images.get(&layers) {
                Some(tag) if is_image => tag.clone(),
                _ if is_image => format!("image of {} layers", layers.len()),
                _ => String::new(),
            };
            units.push(Unit {
                kind: if is_image { Kind::Image } else { Kind::Tree },
                id: id.clone(),
                name,
                used: tree.used,
                keep: if tree.is_found { Keep::Cache } else { Keep::Gone },
                entries: Vec::new(),
                trees: vec![id.clone()],
            });
        }
        self.facts.units.extend(units);
    }

    fn blobs(
        &mut self,
        described: &BTreeMap<String, Described>,
        tagged: &Tagged,
        loose: &BTreeMap<Digest, String>,
        locked: &BTreeMap<Digest, String>,
    ) -> Result<(), CollectError> {
        let layers: BTreeSet<Digest> =
            described.values().flat_map(|tree| &tree.packed).map(|layer| layer.digest).collect();
        self.entries(BLOBS, |unit, metadata| {
            unit.kind = Kind::Blob;
            // Reading a file marks it by itself, at least once a day (mount(8), relatime).
            unit.used = metadata.atime().max(metadata.mtime());
            let Ok(digest) = format!("sha256:{}", unit.id).parse::<Digest>() else { return };
            if let Some(name) = tagged.names.get(&digest) {
                (unit.name, unit.keep) = (name.clone(), Keep::Tag);
            } else if let Some(name) = locked.get(&digest) {
                (unit.name, unit.keep) = (name.clone(), Keep::Lock);
            } else if layers.contains(&digest) {
                "layer of an image".clone_into(&mut unit.name);
            } else if let Some(name) = loose.get(&digest) {
                (unit.name, unit.keep) = (format!("{name}, untagged"), Keep::Gone);
            }
        })
    }

    /// Makes units of all that is in a room; `dress` makes one what it is.
    fn entries(&mut self, room: &'static str, mut dress: impl FnMut(&mut Unit, &Metadata)) -> Result<(), CollectError> {
        let directory = self.store.root().join(room);
        for name in names(&directory)? {
            let path = directory.join(&name);
            let Some(metadata) = examine(&path)? else { continue };
            let place = Place::Entry(room, name.clone());
            measure(&mut self.facts.usage, &place, &path)?;
            let mut unit = Unit {
                kind: Kind::Other,
                id: name,
                name: String::new(),
                used: metadata.mtime(),
                keep: Keep::Cache,
                entries: vec![place],
                trees: Vec::new(),
            };
            dress(&mut unit, &metadata);
            self.facts.units.push(unit);
        }
        Ok(())
    }

    /// Measures what belongs to no unit.
    fn rest(&mut self) -> Result<(), CollectError> {
        const TOLD: [&str; 9] =
            ["snapshots", RECORDS, PARTS, CACHE_MOUNTS, LOGS, DOWNLOADS, CLONES, image::UNTAGGED, "blobs"];
        let root = self.store.root().to_owned();
        for name in names(&root)? {
            if !TOLD.contains(&name.as_str()) && !HINTS.contains(&name.as_str()) {
                measure(&mut self.facts.usage, &Place::Entry("", name.clone()), &root.join(&name))?;
            }
        }
        Ok(())
    }
}

fn digest_of(descriptor: &serde_json::Value) -> Option<Digest> {
    descriptor.get("digest")?.as_str()?.parse().ok()
}

/// Names in a directory, sorted; none where there is no directory. Names that are no text are not ours.
fn names(directory: &Path) -> Result<Vec<String>, CollectError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other,
    };
    let listed =
        entries.and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
    let listed = listed.map_err(|source| CollectError::Io { action: "list", path: directory.to_owned(), source })?;
    let mut names: Vec<String> = listed.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn examine(path: &Path) -> Result<Option<Metadata>, CollectError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CollectError::Io { action: "examine", path: path.to_owned(), source }),
    }
}

/// Counts all that is under `path` for `place`.
fn measure(usage: &mut Usage, place: &Place, path: &Path) -> Result<(), CollectError> {
    for entry in WalkDir::new(path).follow_root_links(false).same_file_system(true) {
        let metadata = entry.and_then(|entry| entry.metadata());
        match metadata {
            Ok(metadata) => weigh(usage, place, &metadata),
            Err(error) => {
                let kind = error.io_error().map(io::Error::kind);
                // Other runs make and remove things meanwhile, and keep some closed.
                if !matches!(kind, Some(ErrorKind::NotFound | ErrorKind::PermissionDenied)) {
                    let path = error.path().unwrap_or(path).to_owned();
                    let source = error.into_io_error().unwrap_or_else(|| ErrorKind::InvalidData.into());
                    return Err(CollectError::Io { action: "examine", path, source });
                }
            }
        }
    }
    Ok(())
}

fn weigh(usage: &mut Usage, place: &Place, metadata: &Metadata) {
    // Directories have a name in each of their own directories, and go with the first.
    let names = if metadata.is_dir() { 1 } else { metadata.nlink() };
    // `st_blocks` counts 512 bytes whatever the file system's own (stat(2)).
    usage.add(place, (metadata.dev(), metadata.ino()), metadata.blocks() * 512, names);
}
