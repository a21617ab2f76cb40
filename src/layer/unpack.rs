//! An archive becomes a tree, or changes one as a layer does.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::decompress::decompress;
use super::error::LayerError;
use super::place::{Place, examine, is_directory, open_directory};
use super::reader::{Entry, EntryKind, Limits, TarReader};
use super::walk::{is_content, path_from};

/// Most parts of a name: each open one costs a descriptor when a tree is removed.
const DEPTH: usize = 256;

/// Attribute by which overlayfs knows in a user namespace that a directory hides the one below (`overlayfs.rst`).
const OPAQUE: &str = "user.overlay.opaque";

/// How to unpack.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of one another, and named where they are set")]
pub struct UnpackOptions {
    /// How much the archive may ask for.
    pub limits: Limits,
    /// There is only one user and one group here: what cannot be given to another owner stays ours and is counted.
    pub single_id: bool,
    /// `.wh.` names delete what lower layers brought (`image-spec layer.md#whiteouts`); else they are plain names.
    pub whiteouts: bool,
    /// The directory is an upper directory of overlayfs: whiteouts become its marks (`overlayfs.rst`).
    pub overlay: bool,
    /// A directory entry whose name is a link to a directory leaves the link, as dpkg does for merged `/usr`.
    pub keep_directory_links: bool,
    /// User and group of everything, instead of what the archive says.
    pub owner: Option<(u32, u32)>,
    /// As Docker's `ADD` unpacks into a place of a tree (moby/go-archive `Unpack`): an entry for the root itself
    /// changes nothing, and owner, mode and time of a hard link are those of the file from then on.
    pub docker_add: bool,
}

impl Default for UnpackOptions {
    /// A layer, with all owners.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            single_id: false,
            whiteouts: true,
            overlay: false,
            keep_directory_links: false,
            owner: None,
            docker_add: false,
        }
    }
}

/// What was unpacked, and what the machine did not allow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Number of entries, whiteouts among them.
    pub entries: u64,
    /// Content of all files in bytes.
    pub bytes: u64,
    /// Files that stayed ours because the owner could not be changed (`single_id` only).
    pub owners_refused: u64,
    /// Extended attributes that the file system or the kernel did not take.
    pub attributes_refused: u64,
    /// Device nodes left out: a user namespace must not make any.
    pub devices: Vec<PathBuf>,
}

/// Unpacks a tar, plain or compressed, into the directory `root`. Entries replace what is there, of whatever type.
///
/// Names are taken relative to `root`; links are followed inside it only. Files never written by this archive are
/// removed only by its whiteouts and where an entry replaces them. After an error the tree is unfinished: unpack into
/// a temporary directory.
///
/// # Errors
/// `Truncated`, `Malformed`, `Entry`, `HardLink`, `Limit` for the archive; `Read` for its bytes; `Io` for the tree.
pub fn unpack(reader: impl Read, root: &Path, options: &UnpackOptions) -> Result<Unpacked, LayerError> {
    let input = decompress(reader, &options.limits).map_err(|source| LayerError::Read { source })?;
    let mut archive = TarReader::new(input, &options.limits);
    let place = Place::open(root).map_err(LayerError::io("open", root))?;
    let mut unpacker = Unpacker {
        root,
        options,
        place,
        done: Unpacked::default(),
        directories: BTreeMap::new(),
        buffer: vec![0; 128 << 10],
    };
    while let Some(mut entry) = archive.next()? {
        unpacker.done.entries += 1;
        if let Some(owner) = options.owner {
            (entry.uid, entry.gid) = owner;
        }
        unpacker.entry(&entry, &mut archive)?;
    }
    unpacker.finish_directories()?;
    Ok(unpacker.done)
}

/// Tells whether the bytes are a tar, plain or compressed, with at least one entry.
pub fn is_archive(reader: impl Read, limits: &Limits) -> bool {
    decompress(reader, limits).is_ok_and(|input| matches!(TarReader::new(input, limits).next(), Ok(Some(_))))
}

struct Unpacker<'a> {
    root: &'a Path,
    options: &'a UnpackOptions,
    place: Place,
    done: Unpacked,
    /// Modes and times of directories, set at the end: a closed directory takes no files, and files change its time.
    directories: BTreeMap<Vec<u8>, (u32, (i64, i64))>,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &Entry, archive: &mut TarReader<'_, R>) -> Result<(), LayerError> {
        let refused = |reason| LayerError::Entry { entry: shown(&entry.path), reason };
        let parts = parts(&entry.path).map_err(refused)?;
        let Some((leaf, above)) = parts.split_last() else {
            return match entry.kind {
                EntryKind::Directory => self.root_directory(entry),
                _ => Err(refused("only a directory can be the root")),
            };
        };
        if self.options.whiteouts {
            if above.iter().any(|part| part.starts_with(b".wh.")) {
                return Err(refused("it is below a whiteout"));
            }
            if let Some(hidden) = leaf.strip_prefix(b".wh.") {
                return self.whiteout(entry, above, hidden);
            }
        }
        let parent = self.place.find_or_make(above).map_err(|error| self.failed("resolve", &entry.path, error))?;
        let parent = parent.as_fd();
        let act = match entry.kind {
            EntryKind::Directory => return self.directory(entry, &parts, parent),
            EntryKind::File => return self.file(entry, archive, parent, leaf),
            EntryKind::HardLink => return self.hard_link(entry, &parts, parent),
            EntryKind::Symlink => {
                if entry.link.is_empty() {
                    return Err(refused("it is a symbolic link to nothing"));
                }
                self.clear(entry, parent, leaf)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), parent, OsStr::from_bytes(leaf))
            }
            EntryKind::Fifo => {
                self.clear(entry, parent, leaf)?;
                rustix::fs::mknodat(parent, OsStr::from_bytes(leaf), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            }
            EntryKind::Character | EntryKind::Block => {
                self.clear(entry, parent, leaf)?;
                if !self.device(entry, parent, leaf)? {
                    return Ok(());
                }
                Ok(())
            }
        };
        act.map_err(|error| self.failed("create", &entry.path, error))?;
        self.dress(entry, parent, leaf)
    }

    /// Makes a device node; tells whether it did.
    fn device(&mut self, entry: &Entry, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<bool, LayerError> {
        let kind = if entry.kind == EntryKind::Block { FileType::BlockDevice } else { FileType::CharacterDevice };
        // Character device 0:0 is overlayfs's whiteout (overlayfs.rst): no archive may bring one.
        let made = if entry.device == (0, 0) {
            Err(Errno::PERM)
        } else {
            let device = rustix::fs::makedev(entry.device.0, entry.device.1);
            rustix::fs::mknodat(parent, OsStr::from_bytes(leaf), kind, Mode::from_raw_mode(0o600), device)
        };
        match made {
            Ok(()) => Ok(true),
            Err(Errno::PERM) => {
                self.done.devices.push(path_from(&entry.path));
                Ok(false)
            }
            Err(error) => Err(self.failed("create", &entry.path, error)),
        }
    }

    fn whiteout(&mut self, entry: &Entry, above: &[&[u8]], hidden: &[u8]) -> Result<(), LayerError> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(LayerError::Entry { entry: shown(&entry.path), reason: "it is a whiteout of nothing" });
        }
        if self.options.overlay {
            return self.mark(entry, above, hidden);
        }
        let parent = match self.place.find(above) {
            Ok(parent) => parent,
            // There is nothing to hide.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(self.failed("resolve", &entry.path, error)),
        };
        let done = if hidden == b".wh..opq" {
            self.place.hide_content(parent.as_fd())
        } else if hidden.starts_with(b".wh.") {
            // Notes of AUFS to itself.
            Ok(())
        } else {
            self.place.hide(parent.as_fd(), hidden)
        };
        done.map_err(|error| self.failed("hide", &entry.path, error))
    }

    /// Marks what lower layers have as gone, as overlayfs itself does.
    fn mark(&mut self, entry: &Entry, above: &[&[u8]], hidden: &[u8]) -> Result<(), LayerError> {
        let parent = self.place.find_or_make(above).map_err(|error| self.failed("resolve", &entry.path, error))?;
        if hidden == b".wh..opq" {
            return open_directory((*parent).as_fd(), b".")
                .and_then(|directory| rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty()))
                .map_err(|error| self.failed("hide what is below", &entry.path, error));
        }
        let name = OsStr::from_bytes(hidden);
        rustix::fs::mknodat(&*parent, name, FileType::CharacterDevice, Mode::empty(), 0)
            .and_then(|()| rustix::fs::utimensat(&*parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|error| self.failed("hide", &entry.path, error))
    }

    fn root_directory(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if self.options.docker_add {
            return Ok(());
        }
        let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        let result = rustix::fs::fchown(self.place.root(), owner.0, owner.1);
        self.owner(entry, result)?;
        self.directories.insert(Vec::new(), (entry.mode, entry.mtime));
        Ok(())
    }

    fn directory(&mut self, entry: &Entry, parts: &[&[u8]], parent: BorrowedFd<'_>) -> Result<(), LayerError> {
        let leaf = parts.last().expect("the root is handled before");
        let there = examine(parent, leaf).map_err(|error| self.failed("examine", &entry.path, error))?;
        let is_link = there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        if self.options.keep_directory_links && is_link && self.place.find(parts).is_ok() {
            return Ok(());
        }
        if !there.as_ref().is_some_and(is_directory) {
            self.clear(entry, parent, leaf)?;
            rustix::fs::mkdirat(parent, OsStr::from_bytes(leaf), Mode::from_raw_mode(0o700))
                .map_err(|error| self.failed("create", &entry.path, error))?;
        }
        let directory = open_directory(parent, leaf).map_err(|error| self.failed("open", &entry.path, error))?;
        let stat = rustix::fs::fstat(&directory).map_err(|error| self.failed("examine", &entry.path, error))?;
        self.place.remember(&stat);
        let result = rustix::fs::fchown(&directory, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        self.owner(entry, result)?;
        self.attributes(entry, directory.as_fd());
        self.directories.insert(parts.join(&b'/'), (entry.mode, entry.mtime));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        archive: &mut TarReader<'_, R>,
        parent: BorrowedFd<'_>,
        leaf: &[u8],
    ) -> Result<(), LayerError> {
        self.clear(entry, parent, leaf)?;
        // Exclusive: never into a file that is already there, nor through a link.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, OsStr::from_bytes(leaf), flags, Mode::from_raw_mode(0o600))
            .map_err(|error| self.failed("create", &entry.path, error))?;
        let mut file = File::from(file);
        loop {
            let count = archive.read(&mut self.buffer)?;
            if count == 0 {
                break;
            }
            file.write_all(&self.buffer[..count]).map_err(|error| self.failed("write", &entry.path, error))?;
        }
        self.done.bytes += entry.size;
        let stat = rustix::fs::fstat(&file).map_err(|error| self.failed("examine", &entry.path, error))?;
        self.place.remember(&stat);
        // In this order: a change of owner takes set-user-ID bits and file capabilities away.
        let result = rustix::fs::fchown(&file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        self.owner(entry, result)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))
            .map_err(|error| self.failed("set the mode of", &entry.path, error))?;
        self.attributes(entry, file.as_fd());
        rustix::fs::futimens(&file, &times(entry.mtime))
            .map_err(|error| self.failed("set the time of", &entry.path, error))
    }

    fn hard_link(&mut self, entry: &Entry, parts: &[&[u8]], parent: BorrowedFd<'_>) -> Result<(), LayerError> {
        let broken = || LayerError::HardLink { entry: shown(&entry.path), target: shown(&entry.link) };
        let target = self::parts(&entry.link).map_err(|_| broken())?;
        let (target_leaf, target_above) = target.split_last().ok_or_else(broken)?;
        let leaf = parts.last().expect("the root is handled before");
        let directory = self.place.find(target_above).map_err(|_| broken())?;
        let found = examine(directory.as_fd(), target_leaf).ok().flatten().filter(|stat| !is_directory(stat));
        let target_stat = found.ok_or_else(broken)?;
        let there = examine(parent, leaf).map_err(|error| self.failed("examine", &entry.path, error))?;
        if there.is_some_and(|it| (it.st_dev, it.st_ino) == (target_stat.st_dev, target_stat.st_ino)) {
            // Already the same file; removing it first might remove its last name.
            return Ok(());
        }
        self.clear(entry, parent, leaf)?;
        let (from, to) = (OsStr::from_bytes(target_leaf), OsStr::from_bytes(leaf));
        rustix::fs::linkat(&*directory, from, parent, to, AtFlags::empty())
            .map_err(|error| self.failed("link", &entry.path, error))?;
        let is_link = FileType::from_raw_mode(target_stat.st_mode) == FileType::Symlink;
        if self.options.docker_add && !is_link { self.dress(entry, parent, leaf) } else { Ok(()) }
    }

    /// Makes room for a new file.
    fn clear(&mut self, entry: &Entry, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<(), LayerError> {
        match examine(parent, leaf) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => self.place.remove(parent, leaf).map_err(|error| self.failed("replace", &entry.path, error)),
            Err(error) => Err(self.failed("examine", &entry.path, error)),
        }
    }

    /// Gives a link, fifo or device its owner, mode and time.
    fn dress(&mut self, entry: &Entry, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<(), LayerError> {
        let name = OsStr::from_bytes(leaf);
        let stat = examine(parent, leaf).map_err(|error| self.failed("examine", &entry.path, error))?;
        if let Some(stat) = stat {
            self.place.remember(&stat);
        }
        let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        let result = rustix::fs::chownat(parent, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW);
        self.owner(entry, result)?;
        if entry.kind != EntryKind::Symlink {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(|error| self.failed("set the mode of", &entry.path, error))?;
        }
        rustix::fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.failed("set the time of", &entry.path, error))
    }

    fn owner(&mut self, entry: &Entry, result: rustix::io::Result<()>) -> Result<(), LayerError> {
        match result {
            // EINVAL: the ID is not mapped in this user namespace (user_namespaces(7)).
            Err(Errno::PERM | Errno::INVAL) if self.options.single_id => {
                self.done.owners_refused += 1;
                Ok(())
            }
            other => other.map_err(|error| self.failed("set the owner of", &entry.path, error)),
        }
    }

    fn attributes(&mut self, entry: &Entry, file: BorrowedFd<'_>) {
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_content(name)) {
            if rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty()).is_err() {
                self.done.attributes_refused += 1;
            }
        }
    }

    fn finish_directories(&mut self) -> Result<(), LayerError> {
        // Backwards, so that a directory is closed after those in it.
        for (path, (mode, mtime)) in std::mem::take(&mut self.directories).iter().rev() {
            let parts = parts(path).expect("checked when it was unpacked");
            let directory = match parts.split_last() {
                None => open_directory(self.place.root(), b"."),
                Some((leaf, above)) => self.place.find(above).and_then(|parent| open_directory(parent.as_fd(), leaf)),
            };
            let directory = match directory {
                Ok(directory) => directory,
                // A later entry replaced or removed it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => return Err(self.failed("open", path, error)),
            };
            rustix::fs::fchmod(&directory, Mode::from_raw_mode(*mode))
                .and_then(|()| rustix::fs::futimens(&directory, &times(*mtime)))
                .map_err(|error| self.failed("set the mode of", path, error))?;
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, path: &[u8], source: impl Into<io::Error>) -> LayerError {
        // Joined as text: an absolute name must not hide the root.
        let relative = path_from(path.strip_prefix(b"/").unwrap_or(path));
        LayerError::Io { action, path: self.root.join(relative), source: source.into() }
    }
}

/// Splits a name; leading slashes and `.` mean nothing, as everywhere in archives.
fn parts(path: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.iter().any(|part| *part == b"..") {
        return Err("it climbs with `..`");
    }
    if parts.iter().any(|part| part.len() > 255) {
        return Err("a part of its name is longer than 255 bytes");
    }
    if parts.len() > DEPTH {
        return Err("it is nested deeper than 256 directories");
    }
    Ok(parts)
}

fn times(mtime: (i64, i64)) -> Timestamps {
    let time = Timespec { tv_sec: mtime.0, tv_nsec: mtime.1 };
    Timestamps { last_access: time, last_modification: time }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
