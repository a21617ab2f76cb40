//! A tree becomes a tar whose bytes depend on nothing but the tree.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use tar::EntryType;

use super::error::LayerError;
use super::header::{BLOCK, Fields, pad};
use super::walk::{Kind, Node, is_opaque, recorded_owner, walk};

/// What the name of a whiteout begins with, and the rest of the one that hides all a directory has below.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &str = ".wh..opq";

/// Whose the packed files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// As on disk.
    Keep,
    /// User 0 and group 0.
    Root,
}

/// Which modification times packed files have, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackTimes {
    /// All this one.
    All(u64),
    /// Their own, but none later than this.
    Kept(Option<u64>),
}

/// How to pack.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// Modification times.
    pub times: PackTimes,
    /// The tree is an upper directory of overlayfs: what it marks as deleted or opaque becomes a whiteout
    /// (`image-spec layer.md#whiteouts`, `overlayfs.rst`).
    pub overlay: bool,
    /// The tree's root directory gets an entry too, `./`.
    pub root: bool,
    /// Whose the packed files are.
    pub owner: Owner,
    /// Directory that everything goes under, such as `opt/python`; its parts become entries of mode 0755. Empty for
    /// none.
    pub prefix: PathBuf,
}

/// What was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packed {
    /// Number of entries.
    pub entries: u64,
    /// Size of the tar in bytes.
    pub size: u64,
    /// Sockets left out: an archive cannot hold them.
    pub sockets: u64,
}

/// Writes `tree` as a tar: sorted, one time, hard links kept, content attributes as PAX records, holes written out.
///
/// Wrap a slow writer in a buffer: headers are written one by one.
///
/// # Errors
/// `Io` for the tree, `Write` for `out`, `Changed` for a file that shrinks or grows meanwhile, `WhiteoutName`.
pub fn pack(tree: &Path, options: &PackOptions, out: &mut impl Write) -> Result<Packed, LayerError> {
    let mut packer = Packer { options, out: Counted { out, size: 0 }, packed: Packed::default() };
    packer.prefix()?;
    if options.root {
        packer.root(tree)?;
    }
    for node in walk(tree) {
        packer.node(&node?)?;
    }
    packer.out.write_all(&[0; 2 * BLOCK]).map_err(|source| LayerError::Write { source })?;
    Ok(Packed { size: packer.out.size, ..packer.packed })
}

struct Packer<'a, W> {
    options: &'a PackOptions,
    out: Counted<'a, W>,
    packed: Packed,
}

impl<W: Write> Packer<'_, W> {
    fn prefix(&mut self) -> Result<(), LayerError> {
        let mut path = PathBuf::new();
        for part in self.options.prefix.components() {
            let Component::Normal(part) = part else { continue };
            path.push(part);
            self.entry(&Fields {
                path: &[path.as_os_str().as_bytes(), b"/"].concat(),
                kind: EntryType::Directory,
                mode: 0o755,
                uid: 0,
                gid: 0,
                size: 0,
                mtime: match self.options.times {
                    PackTimes::All(epoch) => (i64::try_from(epoch).unwrap_or(i64::MAX), 0),
                    PackTimes::Kept(newest) => (newest.and_then(|newest| i64::try_from(newest).ok()).unwrap_or(0), 0),
                },
                link: b"",
                device: (0, 0),
                xattrs: &[],
            })?;
        }
        Ok(())
    }

    fn root(&mut self, tree: &Path) -> Result<(), LayerError> {
        let metadata = std::fs::symlink_metadata(tree).map_err(LayerError::io("examine", tree))?;
        let owner = recorded_owner(tree, &metadata).unwrap_or((metadata.uid(), metadata.gid()));
        let (uid, gid) = self.ids(owner);
        self.entry(&Fields {
            path: b"./",
            kind: EntryType::Directory,
            mode: metadata.mode() & 0o7777,
            uid,
            gid,
            size: 0,
            mtime: self.time(&metadata),
            link: b"",
            device: (0, 0),
            xattrs: &[],
        })
    }

    fn ids(&self, own: (u32, u32)) -> (u32, u32) {
        match self.options.owner {
            Owner::Keep => own,
            Owner::Root => (0, 0),
        }
    }

    fn node(&mut self, node: &Node) -> Result<(), LayerError> {
        if node.path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".wh.")) {
            return Err(LayerError::WhiteoutName { path: node.full.clone() });
        }
        if self.options.overlay && node.kind == Kind::Character && node.device == (0, 0) {
            return self.whiteout(&node.path, &node.metadata);
        }
        let mut path = self.name(&node.path);
        let mut link = Vec::new();
        let mut size = 0;
        let kind = match &node.kind {
            Kind::File => {
                size = node.metadata.len();
                EntryType::Regular
            }
            Kind::Directory => {
                path.push(b'/');
                EntryType::Directory
            }
            Kind::Symlink(target) => {
                link = target.as_bytes().to_vec();
                EntryType::Symlink
            }
            Kind::HardLink(first) => {
                link = self.name(first);
                EntryType::Link
            }
            Kind::Character => EntryType::Char,
            Kind::Block => EntryType::Block,
            Kind::Fifo => EntryType::Fifo,
            Kind::Socket => {
                self.packed.sockets += 1;
                return Ok(());
            }
        };
        let (uid, gid) = self.ids(node.owner);
        self.entry(&Fields {
            path: &path,
            kind,
            mode: if kind == EntryType::Symlink { 0o777 } else { node.metadata.mode() & 0o7777 },
            uid,
            gid,
            size,
            mtime: self.time(&node.metadata),
            link: &link,
            device: node.device,
            xattrs: &node.xattrs,
        })?;
        if self.options.overlay && node.kind == Kind::Directory && is_opaque(&node.full) {
            return self.whiteout(&node.path.join(OPAQUE), &node.metadata);
        }
        if kind == EntryType::Regular { self.content(node, size) } else { Ok(()) }
    }

    /// Writes that what lower layers have at `path` is gone.
    fn whiteout(&mut self, path: &Path, metadata: &std::fs::Metadata) -> Result<(), LayerError> {
        let name = [WHITEOUT, path.file_name().unwrap_or_default().as_bytes()].concat();
        let path = self.name(&path.with_file_name(std::ffi::OsStr::from_bytes(&name)));
        self.entry(&Fields {
            path: &path,
            kind: EntryType::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: self.time(metadata),
            link: b"",
            device: (0, 0),
            xattrs: &[],
        })
    }

    fn time(&self, metadata: &std::fs::Metadata) -> (i64, i64) {
        let own = (metadata.mtime(), metadata.mtime_nsec());
        let bound = |epoch: u64| (i64::try_from(epoch).unwrap_or(i64::MAX), 0);
        match self.options.times {
            PackTimes::All(epoch) => bound(epoch),
            PackTimes::Kept(None) => own,
            PackTimes::Kept(Some(newest)) => own.min(bound(newest)),
        }
    }

    fn name(&self, path: &Path) -> Vec<u8> {
        let mut name = PathBuf::new();
        for part in self.options.prefix.components().chain(path.components()) {
            if let Component::Normal(part) = part {
                name.push(part);
            }
        }
        name.into_os_string().as_bytes().to_vec()
    }

    fn entry(&mut self, fields: &Fields<'_>) -> Result<(), LayerError> {
        self.packed.entries += 1;
        fields.write(&mut self.out).map_err(|source| LayerError::Write { source })
    }

    fn content(&mut self, node: &Node, size: u64) -> Result<(), LayerError> {
        let mut file = File::open(&node.full).map_err(LayerError::io("open", &node.full))?;
        let mut buffer = vec![0; usize::try_from(size.clamp(1, 256 << 10)).expect("small")];
        let mut left = size;
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LayerError::io("read", &node.full)(error)),
            };
            left = left.checked_sub(count as u64).ok_or_else(|| LayerError::Changed { path: node.full.clone() })?;
            self.out.write_all(&buffer[..count]).map_err(|source| LayerError::Write { source })?;
        }
        if left > 0 {
            return Err(LayerError::Changed { path: node.full.clone() });
        }
        pad(&mut self.out, size).map_err(|source| LayerError::Write { source })
    }
}

struct Counted<'a, W> {
    out: &'a mut W,
    size: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
