//! An archive becomes a tree, or changes one as a layer does.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::ahead::Ahead;
use super::dress::Dresser;
use super::error::LayerError;
use super::place::{Place, examine, is_directory, is_mark, mark, mark_opaque, open_directory};
use super::reader::{Entry, EntryKind, Limits, TarReader};
use super::sparse::Region;
use super::writers::{SMALL, Writers};
use crate::oci::DiffId;
use crate::ownership::{Special, held, record_node};

/// Most parts of a name: each open one costs a descriptor when a tree is removed.
const DEPTH: usize = 256;

/// What the names of AUFS's own files begin with; hard links lead to files below the first (moby `archive/diff.go`).
const AUFS: &[u8] = b".wh..wh.";

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
    /// Digest that the uncompressed archive must have (`image-spec config.md` `rootfs.diff_ids`).
    pub diff_id: Option<DiffId>,
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
            diff_id: None,
        }
    }
}

/// What was unpacked, and what the machine did not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Number of entries, whiteouts among them.
    pub entries: u64,
    /// Content of all files in bytes, holes among them.
    pub bytes: u64,
    /// Files that stayed ours because the owner could not be changed (`single_id` only).
    pub owners_refused: u64,
    /// Of those the ones whose owner is recorded; links and devices cannot have a record.
    pub owners_recorded: u64,
    /// Extended attributes that the file system or the kernel did not take.
    pub attributes_refused: u64,
    /// Extended attributes that are no content ([`is_content`](super::is_content)): labels and access lists of another
    /// machine, orders to overlayfs.
    pub attributes_ignored: u64,
    /// Devices and FIFOs that could not be made and are recorded: packing gives them back.
    pub nodes_recorded: u64,
    /// Devices left out: whiteouts of overlayfs, and all where there are no extended attributes either.
    pub nodes_refused: u64,
}

/// Unpacks a tar, plain or compressed, into the directory `root`. Entries replace what is there, of whatever type.
///
/// Names are taken relative to `root`; links are followed inside it only. Files never written by this archive are
/// removed only by its whiteouts and where an entry replaces them. After an error the tree is unfinished: unpack into
/// a temporary directory.
///
/// # Errors
/// `Truncated`, `Malformed`, `Entry`, `HardLink`, `Limit`, `DiffId` for the archive; `Read` for its bytes; `Io` for the
/// tree.
pub fn unpack(reader: impl Read + Send, root: &Path, options: &UnpackOptions) -> Result<Unpacked, LayerError> {
    thread::scope(|scope| {
        let mut input = Ahead::start(scope, reader, options.limits, options.diff_id.is_some());
        // What a digest vouches for is whole; and `ADD` takes what every other builder takes.
        let open_ended = options.diff_id.is_some() || options.docker_add;
        let mut archive = TarReader::new(&mut input, &options.limits).open_ended(open_ended);
        let place = Place::open(root, options.overlay).map_err(LayerError::io("open", root))?;
        let dresser = Dresser::new(root, options);
        // There a later hard link changes what its file looks like, which must be finished by then.
        let writers = if options.docker_add { None } else { Writers::start(scope, &dresser) };
        let mut unpacker = Unpacker {
            options,
            place,
            dresser,
            writers,
            directories: BTreeMap::new(),
            remembered: 0,
            leftovers: false,
            buffer: vec![0; 256 << 10],
        };
        while let Some(mut entry) = archive.next()? {
            unpacker.dresser.done.entries += 1;
            if let Some(owner) = options.owner {
                (entry.uid, entry.gid) = owner;
            }
            unpacker.entry(entry, &mut archive)?;
        }
        if let Some(writers) = unpacker.writers.take() {
            writers.finish(&mut unpacker.dresser.done)?;
        }
        unpacker.finish()?;
        let done = unpacker.dresser.done;
        let Some(expected) = options.diff_id else { return Ok(done) };
        // Known once everything was read, and the end of an archive is after everything.
        let cut = || LayerError::Read { source: io::ErrorKind::UnexpectedEof.into() };
        let found = input.diff_id().ok_or_else(cut)?;
        if found == expected {
            return Ok(done);
        }
        Err(LayerError::DiffId { expected: Box::new(expected), found: Box::new(found) })
    })
}

struct Unpacker<'a> {
    options: &'a UnpackOptions,
    place: Place,
    dresser: Dresser<'a>,
    writers: Option<Writers<'a>>,
    /// Modes and times of directories, set at the end: a closed directory takes no files, and files change its time.
    directories: BTreeMap<Vec<u8>, (u32, (i64, i64))>,
    /// Bytes of memory for what is kept until the end.
    remembered: u64,
    /// There are files of AUFS to be removed at the end.
    leftovers: bool,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: Entry, archive: &mut TarReader<'_, R>) -> Result<(), LayerError> {
        let refused = |reason| LayerError::Entry { entry: shown(&entry.path), reason };
        let path = entry.path.clone();
        let parts = parts(&path).map_err(refused)?;
        let Some((leaf, above)) = parts.split_last() else {
            return match entry.kind {
                EntryKind::Directory => self.root_directory(&entry),
                _ => Err(refused("only a directory can be the root")),
            };
        };
        if self.options.whiteouts {
            if parts[0].starts_with(AUFS) && *leaf != b".wh..wh..opq" {
                // Unpacked as any other, in case hard links lead there, and removed at the end.
                self.leftovers = true;
            } else if above.iter().any(|part| part.starts_with(b".wh.")) {
                return Err(refused("it is below a whiteout"));
            } else if let Some(hidden) = leaf.strip_prefix(b".wh.") {
                return self.whiteout(&entry, above, hidden);
            }
        }
        let parent = self.place.find_or_make(above).map_err(|error| self.failed("resolve", &entry.path, error))?;
        let parent = parent.as_fd();
        match entry.kind {
            EntryKind::Directory => self.directory(&entry, &parts, parent),
            EntryKind::File => self.file(entry, archive, parent, leaf),
            EntryKind::HardLink => self.hard_link(&entry, &parts, parent),
            EntryKind::Symlink => {
                if entry.link.is_empty() {
                    return Err(refused("it is a symbolic link to nothing"));
                }
                self.clear(&entry, parent, leaf)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), parent, OsStr::from_bytes(leaf))
                    .map_err(|error| self.failed("create", &entry.path, error))?;
                self.dress(&entry, parent, leaf)
            }
            EntryKind::Fifo => self.special(&entry, parent, leaf, Special::Fifo),
            EntryKind::Character => {
                self.special(&entry, parent, leaf, Special::Character(entry.device.0, entry.device.1))
            }
            EntryKind::Block => self.special(&entry, parent, leaf, Special::Block(entry.device.0, entry.device.1)),
        }
    }

    /// Makes a device or FIFO; where the machine does not allow it, an empty file that says so.
    fn special(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        leaf: &[u8],
        special: Special,
    ) -> Result<(), LayerError> {
        self.clear(entry, parent, leaf)?;
        let (kind, device) = match special {
            // Overlayfs's whiteout (overlayfs.rst): no archive may bring one.
            Special::Character(0, 0) => {
                self.dresser.done.nodes_refused += 1;
                return Ok(());
            }
            Special::Character(major, minor) => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
            Special::Block(major, minor) => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
            Special::Fifo => (FileType::Fifo, 0),
        };
        match rustix::fs::mknodat(parent, OsStr::from_bytes(leaf), kind, Mode::from_raw_mode(0o600), device) {
            Ok(()) => return self.dress(entry, parent, leaf),
            Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {}
            Err(error) => return Err(self.failed("create", &entry.path, error)),
        }
        let file = self.create(entry, parent, leaf)?;
        let stat = rustix::fs::fstat(&file).map_err(|error| self.failed("examine", &entry.path, error))?;
        self.remember(&stat)?;
        if record_node(held(file.as_fd()), special).is_err() {
            // Without its record it would be a plain file, which it is not.
            self.dresser.done.nodes_refused += 1;
            return self.clear(entry, parent, leaf);
        }
        self.dresser.done.nodes_recorded += 1;
        self.dresser.file(entry, &file)
    }

    fn whiteout(&mut self, entry: &Entry, above: &[&[u8]], hidden: &[u8]) -> Result<(), LayerError> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(LayerError::Entry { entry: shown(&entry.path), reason: "it is a whiteout of nothing" });
        }
        if hidden.starts_with(b".wh.") && hidden != b".wh..opq" {
            // Notes of AUFS to itself.
            return Ok(());
        }
        let parent = match (self.place.find(above), self.options.overlay) {
            (Err(Errno::NOENT | Errno::NOTDIR), true) => self.place.find_or_make(above),
            // There is nothing to hide.
            (Err(Errno::NOENT | Errno::NOTDIR), false) => return Ok(()),
            (other, _) => other,
        };
        let parent = parent.map_err(|error| self.failed("resolve", &entry.path, error))?;
        let done = match (hidden == b".wh..opq", self.options.overlay) {
            (true, true) => open_directory(parent.as_fd(), b".").and_then(|directory| mark_opaque(directory.as_fd())),
            (true, false) => self.place.hide_content(parent.as_fd()),
            (false, true) => mark(parent.as_fd(), hidden, &times(entry.mtime)),
            (false, false) => self.place.hide(parent.as_fd(), hidden),
        };
        done.map_err(|error| self.failed("hide", &entry.path, error))
    }

    fn root_directory(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if self.options.docker_add {
            return Ok(());
        }
        let root = open_directory(self.place.root(), b".").map_err(|error| self.failed("open", b"", error))?;
        let stat = rustix::fs::fstat(&root).map_err(|error| self.failed("examine", b"", error))?;
        self.dresser.own(entry, root.as_fd(), &stat)?;
        self.dresser.attributes(entry, root.as_fd());
        self.keep_directory(Vec::new(), entry)
    }

    fn directory(&mut self, entry: &Entry, parts: &[&[u8]], parent: BorrowedFd<'_>) -> Result<(), LayerError> {
        let leaf = parts.last().expect("the root is handled before");
        let name = OsStr::from_bytes(leaf);
        let mut hides = false;
        if let Err(error) = rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            if error != Errno::EXIST {
                return Err(self.failed("create", &entry.path, error));
            }
            let there = examine(parent, leaf).map_err(|error| self.failed("examine", &entry.path, error))?;
            let is_link = there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
            if self.options.keep_directory_links && is_link && self.place.find(parts).is_ok() {
                return Ok(());
            }
            if !there.as_ref().is_some_and(is_directory) {
                hides = self.options.overlay && there.as_ref().is_some_and(is_mark);
                self.clear(entry, parent, leaf)?;
                rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))
                    .map_err(|error| self.failed("create", &entry.path, error))?;
            }
        }
        let directory = open_directory(parent, leaf).map_err(|error| self.failed("open", &entry.path, error))?;
        if hides {
            mark_opaque(directory.as_fd()).map_err(|error| self.failed("hide what is below", &entry.path, error))?;
        }
        let stat = rustix::fs::fstat(&directory).map_err(|error| self.failed("examine", &entry.path, error))?;
        self.remember(&stat)?;
        self.dresser.own(entry, directory.as_fd(), &stat)?;
        self.dresser.attributes(entry, directory.as_fd());
        self.keep_directory(parts.join(&b'/'), entry)
    }

    fn keep_directory(&mut self, path: Vec<u8>, entry: &Entry) -> Result<(), LayerError> {
        self.afford(path.len() as u64 + 96)?;
        self.directories.insert(path, (entry.mode, entry.mtime));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        entry: Entry,
        archive: &mut TarReader<'_, R>,
        parent: BorrowedFd<'_>,
        leaf: &[u8],
    ) -> Result<(), LayerError> {
        let mut file = self.create(&entry, parent, leaf)?;
        if self.place.remembers() {
            let stat = rustix::fs::fstat(&file).map_err(|error| self.failed("examine", &entry.path, error))?;
            self.remember(&stat)?;
        }
        self.dresser.done.bytes += entry.size;
        // Others would hold more memory than their content.
        let is_plain = entry.regions.is_none() && entry.xattrs.is_empty();
        if let (Some(writers), true, ..=SMALL) = (&mut self.writers, is_plain, entry.size) {
            return writers.put(file, entry, |content| archive.read_all(content));
        }
        let whole = [Region { offset: 0, length: entry.size }];
        for region in entry.regions.as_deref().unwrap_or(&whole) {
            if region.offset > 0 {
                file.seek(SeekFrom::Start(region.offset)).map_err(|error| self.failed("write", &entry.path, error))?;
            }
            let mut left = region.length;
            while left > 0 {
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                let count = archive.read(&mut self.buffer[..want])?;
                file.write_all(&self.buffer[..count]).map_err(|error| self.failed("write", &entry.path, error))?;
                left -= count as u64;
            }
        }
        if entry.regions.is_some() {
            file.set_len(entry.size).map_err(|error| self.failed("write", &entry.path, error))?;
        }
        self.dresser.file(&entry, &file)
    }

    /// Creates a file, taking away what is there.
    fn create(&mut self, entry: &Entry, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<File, LayerError> {
        // Exclusive: never into a file that is already there, nor through a link. Set-user-ID comes last.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || -> Result<OwnedFd, Errno> {
            rustix::fs::openat(parent, OsStr::from_bytes(leaf), flags, Mode::from_raw_mode(entry.mode & 0o777 | 0o600))
        };
        let file = match open() {
            Err(Errno::EXIST) => {
                self.clear(entry, parent, leaf)?;
                open()
            }
            other => other,
        };
        Ok(file.map_err(|error| self.failed("create", &entry.path, error))?.into())
    }

    fn hard_link(&mut self, entry: &Entry, parts: &[&[u8]], parent: BorrowedFd<'_>) -> Result<(), LayerError> {
        let broken = || LayerError::HardLink { entry: shown(&entry.path), target: shown(&entry.link) };
        let target = self::parts(&entry.link).map_err(|_| broken())?;
        let (target_leaf, target_above) = target.split_last().ok_or_else(broken)?;
        let leaf = parts.last().expect("the root is handled before");
        let directory = self.place.find(target_above).map_err(|_| broken())?;
        let found = examine(directory.as_fd(), target_leaf).ok().flatten();
        let target_stat = found.filter(|stat| !is_directory(stat) && !is_mark(stat)).ok_or_else(broken)?;
        let there = examine(parent, leaf).map_err(|error| self.failed("examine", &entry.path, error))?;
        if there.is_some_and(|it| (it.st_dev, it.st_ino) == (target_stat.st_dev, target_stat.st_ino)) {
            // Already the same file; removing it first might remove its last name.
            return self.remember_link(parent, leaf, &target_stat, entry);
        }
        self.clear(entry, parent, leaf)?;
        // What was in the way may have held the target.
        let directory = self.place.find(target_above).map_err(|_| broken())?;
        let (from, to) = (OsStr::from_bytes(target_leaf), OsStr::from_bytes(leaf));
        match rustix::fs::linkat(&*directory, from, parent, to, AtFlags::empty()) {
            Err(Errno::NOENT) => return Err(broken()),
            other => other.map_err(|error| self.failed("link", &entry.path, error))?,
        }
        self.remember_link(parent, leaf, &target_stat, entry)?;
        let is_link = FileType::from_raw_mode(target_stat.st_mode) == FileType::Symlink;
        if self.options.docker_add && !is_link { self.dress(entry, parent, leaf) } else { Ok(()) }
    }

    fn remember_link(
        &mut self,
        parent: BorrowedFd<'_>,
        leaf: &[u8],
        target: &rustix::fs::Stat,
        entry: &Entry,
    ) -> Result<(), LayerError> {
        self.afford(leaf.len() as u64 + 64)?;
        let result = self.place.remember_link(parent, leaf, target);
        result.map_err(|error| self.failed("examine", &entry.path, error))
    }

    /// Gives a link, FIFO or device just made what it should have.
    fn dress(&mut self, entry: &Entry, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<(), LayerError> {
        // Held without opening it: a FIFO would wait for a writer, a device might act.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(parent, OsStr::from_bytes(leaf), flags, Mode::empty())
            .map_err(|error| self.failed("examine", &entry.path, error))?;
        let stat = rustix::fs::fstat(&node).map_err(|error| self.failed("examine", &entry.path, error))?;
        if entry.kind != EntryKind::HardLink {
            self.remember(&stat)?;
        }
        self.dresser.node(entry, node.as_fd(), &stat)
    }

    /// Makes room for a new file.
    fn clear(&mut self, entry: &Entry, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<(), LayerError> {
        match examine(parent, leaf) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => self.place.remove(parent, leaf).map_err(|error| self.failed("replace", &entry.path, error)),
            Err(error) => Err(self.failed("examine", &entry.path, error)),
        }
    }

    fn remember(&mut self, stat: &rustix::fs::Stat) -> Result<(), LayerError> {
        if self.place.remember(stat) { self.afford(32) } else { Ok(()) }
    }

    /// Counts memory before it is taken for as long as the archive lasts.
    fn afford(&mut self, bytes: u64) -> Result<(), LayerError> {
        self.remembered += bytes;
        let limit = self.options.limits.memory;
        if self.remembered > limit {
            return Err(LayerError::Limit { what: "bytes of names to be remembered", limit });
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, path: &[u8], source: impl Into<io::Error>) -> LayerError {
        self.dresser.failed(action, path, source)
    }

    /// Does what comes after all entries.
    fn finish(&mut self) -> Result<(), LayerError> {
        if self.leftovers {
            self.remove_leftovers()?;
        }
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

    /// Removes what AUFS left; hard links to it are made by now.
    fn remove_leftovers(&mut self) -> Result<(), LayerError> {
        self.place.remove_names(b".wh..wh.").map_err(|error| self.failed("remove", b".wh..wh.plnk", error))
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

pub(super) fn times(mtime: (i64, i64)) -> Timestamps {
    let time = Timespec { tv_sec: mtime.0, tv_nsec: mtime.1 };
    Timestamps { last_access: time, last_modification: time }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
