//! Opening a release directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::asset::{Asset, Kind, variant_of};
use super::description::{Description, Stage};
use super::error::DistError;
use super::sums::{SUMS, is_plain, parse};
use crate::oci::{Arch, Digest, Hasher};

/// The directory of logs, which stays where it is.
const LOGS: &str = "logs";

/// The most bytes of a list of sums or of release.json.
const MOST: u64 = 8 << 20;

/// A release directory whose bytes are what they are said to be.
#[derive(Debug, Clone)]
pub struct Dist {
    root: PathBuf,
    assets: Vec<Asset>,
    description: Option<Description>,
}

impl Dist {
    /// Reads the directory of a release and every byte of its files.
    ///
    /// # Errors
    /// `NoSums`, `Sums`, `Missing`, `Tampered`, `Unlisted`, `NotAFile`, `Name`, `Empty`, `Description`, `Stage`, `Io`.
    pub fn open(root: &Path) -> Result<Self, DistError> {
        Self::open_of(root, None)
    }

    /// As `open`, but what a stage made; none is the last one.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_of(root: &Path, stage: Option<Stage>) -> Result<Self, DistError> {
        let dist = Self::open_any(root)?;
        let found = dist.description.as_ref().and_then(|description| description.stage);
        if found != stage || (stage.is_some() && dist.description.is_none()) {
            return Err(DistError::Stage { root: root.to_owned(), found, wanted: stage });
        }
        Ok(dist)
    }

    fn open_any(root: &Path) -> Result<Self, DistError> {
        let names = names(root)?;
        if !names.iter().any(|name| name == SUMS) {
            return Err(DistError::NoSums { root: root.to_owned() });
        }
        let path = root.join(SUMS);
        let text = read(&path)?;
        let sums = parse(&text).map_err(|(line, reason)| DistError::Sums { path, line, reason })?;
        if let Some(name) = sums.keys().find(|name| !names.contains(name)) {
            return Err(DistError::Missing { root: root.to_owned(), name: name.clone(), by: SUMS });
        }
        let known = |name: &&String| !sums.contains_key(*name) && !Kind::of(name).vouches();
        let unlisted: Vec<String> = names.iter().filter(known).cloned().collect();
        if !unlisted.is_empty() {
            return Err(DistError::Unlisted { root: root.to_owned(), names: unlisted });
        }
        let mut assets = Vec::new();
        for name in names {
            let (digest, size) = hash(&root.join(&name))?;
            if let Some(expected) = sums.get(&name).filter(|expected| **expected != digest) {
                return Err(DistError::Tampered { name, by: SUMS.to_owned(), expected: *expected, actual: digest });
            }
            assets.push(Asset { kind: Kind::of(&name), name, size, digest });
        }
        let mut dist = Self { root: root.to_owned(), assets, description: None };
        dist.check_companions()?;
        dist.describe()?;
        Ok(dist)
    }

    /// Returns the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns all files in the order of their names.
    pub fn assets(&self) -> &[Asset] {
        &self.assets
    }

    /// Returns where a file is.
    pub fn path(&self, asset: &Asset) -> PathBuf {
        self.root.join(&asset.name)
    }

    /// Returns what release.json says, where there is one.
    pub const fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// Returns the tarballs, each with its version and architecture.
    pub fn tarballs(&self) -> impl Iterator<Item = (&Asset, String, Arch)> {
        self.assets.iter().filter(|asset| asset.kind == Kind::Tarball).filter_map(|asset| {
            let (version, arch) = variant_of(asset.stem()?)?;
            Some((asset, version, arch))
        })
    }

    /// Returns what is about a tarball: its checksum, signatures, documents and log.
    pub fn about<'a>(&'a self, tarball: &'a Asset) -> impl Iterator<Item = &'a Asset> {
        let same = |asset: &&Asset| asset.kind != Kind::Tarball && asset.stem() == tarball.stem();
        self.assets.iter().filter(same)
    }

    /// Returns the tarballs that no signature and no sigstore bundle is beside.
    pub fn unsigned(&self) -> Vec<&str> {
        let is_signature = |asset: &Asset| matches!(asset.kind, Kind::Signature | Kind::Bundle);
        let tarballs = self.assets.iter().filter(|asset| asset.kind == Kind::Tarball);
        tarballs.filter(|tarball| !self.about(tarball).any(is_signature)).map(|tarball| tarball.name.as_str()).collect()
    }

    /// Returns the text of `RELEASE_NOTES.md`, where there is one.
    ///
    /// # Errors
    /// `Io`, and `Description` where it is no text.
    pub fn notes(&self) -> Result<Option<String>, DistError> {
        let notes = self.assets.iter().find(|asset| asset.kind == Kind::Notes);
        notes.map(|notes| read(&self.path(notes))).transpose()
    }

    /// Returns the sums of everything that SHA256SUMS has to vouch for.
    pub fn sums(&self) -> BTreeMap<String, Digest> {
        let listed = self.assets.iter().filter(|asset| !asset.kind.vouches());
        listed.map(|asset| (asset.name.clone(), asset.digest)).collect()
    }

    fn check_companions(&self) -> Result<(), DistError> {
        let tarballs: Vec<&Asset> = self.assets.iter().filter(|asset| asset.kind == Kind::Tarball).collect();
        if tarballs.is_empty() {
            return Err(DistError::Empty { root: self.root.clone() });
        }
        if let Some(odd) = tarballs.iter().find(|asset| asset.stem().and_then(variant_of).is_none()) {
            return Err(DistError::Name { name: odd.name.clone() });
        }
        for asset in self.assets.iter().filter(|asset| asset.kind == Kind::Checksum) {
            let path = self.path(asset);
            let text = read(&path)?;
            let sums = parse(&text).map_err(|(line, reason)| DistError::Sums { path, line, reason })?;
            for (name, expected) in sums {
                let Some(tarball) = self.assets.iter().find(|asset| asset.name == name) else {
                    return Err(DistError::Missing { root: self.root.clone(), name, by: "a .sha256" });
                };
                if tarball.digest != expected {
                    let by = asset.name.clone();
                    return Err(DistError::Tampered { name, by, expected, actual: tarball.digest });
                }
            }
        }
        Ok(())
    }

    fn describe(&mut self) -> Result<(), DistError> {
        let Some(asset) = self.assets.iter().find(|asset| asset.kind == Kind::Description) else { return Ok(()) };
        let path = self.path(asset);
        let text = read(&path)?;
        let description =
            Description::parse(&text).map_err(|reason| DistError::Description { path: path.clone(), reason })?;
        for variant in &description.variants {
            let Some(name) = &variant.tarball else { continue };
            let Some(tarball) = self.assets.iter().find(|asset| asset.name == *name) else {
                return Err(DistError::Missing { root: self.root.clone(), name: name.clone(), by: "release.json" });
            };
            if let Some(expected) = variant.sha256.filter(|expected| *expected != tarball.digest) {
                let by = "release.json".to_owned();
                return Err(DistError::Tampered { name: name.clone(), by, expected, actual: tarball.digest });
            }
        }
        self.description = Some(description);
        Ok(())
    }
}

/// Looks at what is where a release is to be put; tells whether there is one, or nothing yet.
///
/// # Errors
/// `Foreign` where there is something that no release leaves there, `Io`.
pub fn release_at(root: &Path) -> Result<bool, DistError> {
    let foreign = |name: &str| DistError::Foreign { root: root.to_owned(), name: name.to_owned() };
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(DistError::io("read directory", root)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(DistError::io("read directory", root))?;
        let kind = entry.file_type().map_err(DistError::io("examine", &entry.path()))?;
        found.push((entry.file_name().to_string_lossy().into_owned(), kind.is_file(), kind.is_dir()));
    }
    found.sort();
    if found.is_empty() {
        return Ok(false);
    }
    if !found.iter().any(|(name, is_file, _)| name == "release.json" && *is_file) {
        return Err(foreign(&found[0].0));
    }
    Description::parse(&read(&root.join("release.json"))?).map_err(|_| foreign("release.json"))?;
    let path = root.join(SUMS);
    let sums = if path.is_file() { parse(&read(&path)?).map_err(|_| foreign(SUMS))? } else { BTreeMap::new() };
    let ours = |(name, is_file, is_dir): &&(String, bool, bool)| {
        let known = *is_file && (sums.contains_key(name) || Kind::of(name) != Kind::Other);
        known || (*is_dir && name == LOGS)
    };
    match found.iter().find(|entry| !ours(entry)) {
        Some((name, _, _)) => Err(foreign(name)),
        None => Ok(true),
    }
}

/// Returns the names of the files that may be published; what is hidden is half-written or somebody else's.
fn names(root: &Path) -> Result<Vec<String>, DistError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root).map_err(DistError::io("read directory", root))? {
        let entry = entry.map_err(DistError::io("read directory", root))?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(DistError::NotAFile { path, kind: "a file with a name that is no text" });
        };
        let kind = entry.file_type().map_err(DistError::io("examine", &path))?;
        if name.starts_with('.') || (kind.is_dir() && name == LOGS) {
            continue;
        }
        let odd = match kind {
            kind if kind.is_symlink() => Some("a symbolic link"),
            kind if kind.is_dir() => Some("a directory"),
            kind if !kind.is_file() => Some("a device, pipe or socket"),
            _ if !is_plain(&name) => Some("a file with a name that cannot be published"),
            _ => None,
        };
        if let Some(kind) = odd {
            return Err(DistError::NotAFile { path, kind });
        }
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// Opens a plain file, whatever was put in its place meanwhile.
fn open(path: &Path) -> Result<File, DistError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let opened = File::options().read(true).custom_flags(i32::try_from(flags).unwrap_or_default()).open(path);
    opened.map_err(DistError::io("open", path))
}

fn read(path: &Path) -> Result<String, DistError> {
    let mut bytes = Vec::new();
    open(path)?.take(MOST + 1).read_to_end(&mut bytes).map_err(DistError::io("read", path))?;
    let wrong = |reason: &str| DistError::Description { path: path.to_owned(), reason: reason.to_owned() };
    if bytes.len() as u64 > MOST {
        return Err(wrong("larger than 8 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("not UTF-8"))
}

/// Returns digest and size of a plain file.
///
/// # Errors
/// `Io`.
pub fn hash(path: &Path) -> Result<(Digest, u64), DistError> {
    let mut hasher = Hasher::default();
    let mut file = open(path)?;
    io::copy(&mut file, &mut hasher).map_err(DistError::io("read", path))?;
    let size = hasher.size();
    Ok((hasher.finish(), size))
}
