//! Which packages are installed in a tree, by what their databases say.
//!
//! The tree may be anybody's. Databases are opened with `RESOLVE_IN_ROOT` (`openat2(2)`): their directories may be
//! symbolic links, which then lead to where they would in a container. The search for Python's follows no link at all
//! and crosses no mount. Only regular files are opened, everything is counted and bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{AttestError, Component, Kind, apk, dpkg, python, vendored};
use crate::oci::Digest;

/// What was found in a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The distribution, if it says so, and installed packages.
    pub components: Vec<Component>,
    /// What looks like packages and is not among the components: to be said aloud.
    pub passed: Vec<Passed>,
}

/// Something that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Where it is in the tree.
    pub path: PathBuf,
    /// Why.
    pub why: &'static str,
}

/// A package, before it is known which of the others it needs.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) component: Component,
    /// Names that others may need it by, with its own.
    pub(super) provides: Vec<String>,
    /// What it needs, each one of several alternatives.
    pub(super) wants: Vec<Vec<String>>,
}

/// The distribution (`os-release(5)`).
#[derive(Debug, Default)]
pub(super) struct Distribution {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) name: String,
}

/// Bytes of a database; Debian's of a desktop has five millions.
const DATABASE: u64 = 64 << 20;
/// Bytes of a Python package's metadata, which holds its README too.
const METADATA: u64 = 4 << 20;
/// Packages of a tree, and entries of a directory of databases; a desktop has four thousand.
const PACKAGES: usize = 20_000;
/// Entries of a tree.
const ENTRIES: usize = 4_000_000;

/// Returns what is installed in the tree at `root`, sorted.
///
/// # Errors
/// `Database`, `TooLarge`, `Io`: a database that cannot be understood is an error, since a list without its packages
/// would be taken for the whole. Odd directories of Python packages are passed over with a note.
pub fn of_tree(root: &Path) -> Result<Inventory, AttestError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(|errno| io_error("open", root, errno))?;
    let tree = Tree { root: fd };
    let mut inventory = Inventory::default();
    let mut found = Vec::new();
    let distribution = tree.distribution()?;
    if let Some(status) = tree.read("var/lib/dpkg/status", DATABASE)? {
        found.extend(dpkg::parse(&status, "var/lib/dpkg/status", &distribution)?);
    }
    // Images without dpkg itself have one file a package.
    for name in tree.list("var/lib/dpkg/status.d")? {
        let path = format!("var/lib/dpkg/status.d/{name}");
        if !name.ends_with(".md5sums")
            && let Some(status) = tree.read(&path, METADATA)?
        {
            found.extend(dpkg::parse(&status, &path, &distribution)?);
            bounded(found.len(), &path)?;
        }
    }
    inventory.components.extend(linked(found));
    // `usr/lib/apk/db` since Alpine 3.23.
    for path in ["lib/apk/db/installed", "usr/lib/apk/db/installed"] {
        if let Some(installed) = tree.read(path, DATABASE)? {
            inventory.components.extend(linked(apk::parse(&installed, path, &distribution)?));
            break;
        }
    }
    for path in ["var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/Packages", "usr/lib/sysimage/rpm/rpmdb.sqlite"] {
        if tree.examine(path)?.is_some() {
            inventory.passed.push(Passed { path: path.into(), why: "databases of rpm are not read" });
        }
    }
    tree.python(&mut inventory)?;
    if !distribution.id.is_empty() {
        let supplier = Some(distribution.name.clone()).filter(|name| !name.is_empty());
        let system = Component::new(Kind::OperatingSystem, &distribution.id, &distribution.version);
        inventory.components.push(Component { supplier, ..system });
    }
    inventory.components.sort();
    inventory.components.dedup();
    Ok(inventory)
}

/// Resolves what packages need to the packages that are there.
fn linked(found: Vec<Found>) -> Vec<Component> {
    let mut providers: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in &found {
        let id = package.component.id();
        for name in &package.provides {
            providers.entry(name).or_default().insert(id.clone());
        }
    }
    let needs: Vec<BTreeSet<String>> = found
        .iter()
        .map(|package| {
            let own = package.component.id();
            // The first alternative that is there; of several that provide it, the first by name.
            let one =
                |names: &Vec<String>| names.iter().find_map(|name| providers.get(name.as_str())?.first().cloned());
            package.wants.iter().filter_map(one).filter(|id| *id != own).collect()
        })
        .collect();
    found.into_iter().zip(needs).map(|(package, needs)| Component { needs, ..package.component }).collect()
}

struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// Examines what `path` leads to within the tree.
    fn examine(&self, path: &str) -> Result<Option<FileType>, AttestError> {
        let opened = self.open(path, OFlags::PATH, IN_ROOT).and_then(rustix::fs::fstat);
        match opened {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(io_error("examine", Path::new(path), errno)),
        }
    }

    /// Reads the regular file `path`, of at most `limit` bytes.
    fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, AttestError> {
        // Looked at before it is opened: to open a device may do something.
        match self.examine(path)? {
            None => return Ok(None),
            Some(FileType::RegularFile) => {}
            Some(_) => return Err(AttestError::Database { path: path.into(), line: 0, why: "it is not a file" }),
        }
        let opened = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, IN_ROOT);
        let file = File::from(opened.map_err(|errno| io_error("open", Path::new(path), errno))?);
        let mut bytes = Vec::new();
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|source| AttestError::Io { action: "read", path: path.into(), source })?;
        if bytes.len() as u64 > limit {
            return Err(AttestError::TooLarge { path: path.into(), what: "bytes", limit });
        }
        Ok(Some(bytes))
    }

    /// Returns the names in a directory, sorted; none where there is none. What is not UTF-8 is no database's name.
    fn list(&self, path: &str) -> Result<Vec<String>, AttestError> {
        if self.examine(path)? != Some(FileType::Directory) {
            return Ok(Vec::new());
        }
        let failed = |errno| io_error("list", Path::new(path), errno);
        let fd = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY, IN_ROOT).map_err(failed)?;
        let mut names = Vec::new();
        for entry in Dir::new(fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str()
                && !name.starts_with('.')
            {
                names.push(name.to_owned());
            }
            bounded(names.len(), path)?;
        }
        names.sort();
        Ok(names)
    }

    fn open(
        &self,
        path: impl rustix::path::Arg + Copy,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd, Errno> {
        loop {
            match rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn distribution(&self) -> Result<Distribution, AttestError> {
        for path in ["etc/os-release", "usr/lib/os-release"] {
            if let Some(text) = self.read(path, METADATA)? {
                return Ok(release(&String::from_utf8_lossy(&text)));
            }
        }
        Ok(Distribution::default())
    }

    /// Looks for `*.dist-info/METADATA` everywhere.
    fn python(&self, inventory: &mut Inventory) -> Result<(), AttestError> {
        let mut waiting = vec![PathBuf::new()];
        let mut left = ENTRIES;
        while let Some(directory) = waiting.pop() {
            let place = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
            let opened = self.open(place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, NO_LINKS);
            let entries = match opened.and_then(Dir::new) {
                Ok(entries) => entries,
                // Another file system, or no directory after all.
                Err(Errno::XDEV | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(Errno::NAMETOOLONG) => {
                    inventory.passed.push(Passed { path: directory, why: "it lies too deep" });
                    continue;
                }
                Err(errno) => return Err(io_error("list", &directory, errno)),
            };
            let mut below = Vec::new();
            for entry in entries {
                let entry = entry.map_err(|errno| io_error("list", &directory, errno))?;
                let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
                if name == "." || name == ".." {
                    continue;
                }
                left = left.checked_sub(1).ok_or_else(|| AttestError::TooLarge {
                    path: directory.clone(),
                    what: "entries in its tree",
                    limit: ENTRIES as u64,
                })?;
                if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                    below.push(directory.join(name));
                }
            }
            below.sort();
            self.carried(&directory, inventory)?;
            for path in below {
                match path.to_str().filter(|path| path.ends_with(".dist-info")) {
                    Some(name) => self.distribution_info(name, inventory)?,
                    None => waiting.push(path),
                }
            }
        }
        Ok(())
    }

    /// Looks for what a Python package carries within itself.
    fn carried(&self, directory: &Path, inventory: &mut Inventory) -> Result<(), AttestError> {
        let Some(place) = directory.to_str() else { return Ok(()) };
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == "_vendor" {
            for list in ["vendor.txt", "vendored.txt"].map(|list| format!("{place}/{list}")) {
                match self.read(&list, METADATA) {
                    Ok(Some(text)) => inventory.components.extend(vendored::parse(&text, &list)),
                    Ok(None) | Err(AttestError::Database { .. } | AttestError::TooLarge { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        } else if name == "_bundled" {
            for file in self.list(place)? {
                let path = format!("{place}/{file}");
                let Some(wheel) = vendored::wheel(&file, &path) else { continue };
                if let Ok(Some(bytes)) = self.read(&path, DATABASE) {
                    inventory.components.push(Component { digest: Some(Digest::of(&bytes)), ..wheel });
                }
            }
        }
        bounded(inventory.components.len() + inventory.passed.len(), place)
    }

    fn distribution_info(&self, directory: &str, inventory: &mut Inventory) -> Result<(), AttestError> {
        let path = format!("{directory}/METADATA");
        let mut pass = |why| inventory.passed.push(Passed { path: path.clone().into(), why });
        match self.read(&path, METADATA) {
            Ok(Some(text)) => match python::parse(&text, &path) {
                Ok(component) => inventory.components.push(component),
                Err(why) => pass(why),
            },
            Ok(None) => pass("there is no metadata"),
            Err(AttestError::TooLarge { .. }) => pass("its metadata is too large"),
            Err(AttestError::Database { .. }) => pass("its metadata is not a file"),
            Err(error) => return Err(error),
        }
        bounded(inventory.components.len() + inventory.passed.len(), directory)
    }
}

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const NO_LINKS: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

fn io_error(action: &'static str, path: &Path, errno: Errno) -> AttestError {
    AttestError::Io { action, path: path.to_owned(), source: io::Error::from(errno) }
}

/// Refuses more packages than any honest tree has; `path` is where they are.
pub(super) fn bounded(count: usize, path: &str) -> Result<(), AttestError> {
    if count <= PACKAGES {
        return Ok(());
    }
    Err(AttestError::TooLarge { path: path.into(), what: "packages", limit: PACKAGES as u64 })
}

/// Reads `os-release(5)`: what is not of the form of a distribution's name is not taken.
fn release(text: &str) -> Distribution {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
    };
    let word = |text: String| {
        let fine = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fine { text } else { String::new() }
    };
    let name = value("NAME");
    let name = if name.len() <= 128 && !name.contains(|c: char| c.is_control()) { name } else { String::new() };
    Distribution { id: word(value("ID")), version: word(value("VERSION_ID")), name }
}
