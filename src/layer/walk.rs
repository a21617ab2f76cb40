//! A tree as a sorted list.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::error::LayerError;
use crate::ownership::{self, Records, SECURITY_CAPABILITY, Special, is_record};

/// One file of a tree.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it is.
    pub(super) full: PathBuf,
    /// Relative to the tree.
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) metadata: Metadata,
    /// User and group; where those on disk are not meant, the recorded ones.
    pub(super) owner: (u32, u32),
    /// Major and minor number of a device.
    pub(super) device: (u32, u32),
    /// Extended attributes that belong to the content, sorted by name.
    pub(super) xattrs: Attributes,
}

/// Names and values of extended attributes.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink(OsString),
    /// Another name of a file met before, under this path.
    HardLink(PathBuf),
    Character,
    Block,
    Fifo,
    Socket,
}

/// Lists what is in `tree`, without the tree itself: children after their directory, siblings by the bytes of their
/// names. Symbolic links are not followed. One file at a time, so that a tree of any size takes little memory.
pub(super) fn walk(tree: &Path) -> Walk {
    let entries = walkdir::WalkDir::new(tree).min_depth(1).sort_by_file_name().into_iter();
    Walk { tree: tree.to_owned(), entries, first_names: BTreeMap::new() }
}

/// See [`walk`].
#[derive(Debug)]
pub(super) struct Walk {
    tree: PathBuf,
    entries: walkdir::IntoIter,
    /// Of files with several names the one met first, by device and inode.
    first_names: BTreeMap<(u64, u64), PathBuf>,
}

impl Iterator for Walk {
    type Item = Result<Node, LayerError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        Some(self.node(entry))
    }
}

impl Walk {
    fn node(&mut self, entry: walkdir::Result<walkdir::DirEntry>) -> Result<Node, LayerError> {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(&self.tree).to_owned();
            let source = error.into_io_error().expect("without following links there are no loops");
            LayerError::Io { action: "list", path, source }
        })?;
        let full = entry.path().to_owned();
        let metadata = fs::symlink_metadata(&full).map_err(LayerError::io("examine", &full))?;
        let path = full.strip_prefix(&self.tree).expect("a walk stays below its root").to_owned();
        let mut kind = kind_of(&full, &metadata)?;
        // overlayfs makes one inode do for all that was deleted.
        let is_whiteout = kind == Kind::Character && metadata.rdev() == 0;
        if kind != Kind::Directory && !is_whiteout && metadata.nlink() > 1 {
            let id = (metadata.dev(), metadata.ino());
            match self.first_names.get(&id) {
                Some(first) => kind = Kind::HardLink(PathBuf::clone(first)),
                None => {
                    self.first_names.insert(id, path.clone());
                }
            }
        }
        let mut device = match kind {
            Kind::Character | Kind::Block => (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev())),
            _ => (0, 0),
        };
        let mut owner = (metadata.uid(), metadata.gid());
        let mut found = Vec::new();
        if matches!(kind, Kind::File | Kind::Directory) {
            let (content, records) = xattrs(&full)?;
            found = content;
            owner = records.owner.unwrap_or(owner);
            if let (Some(special), true) = (records.node, kind == Kind::File && metadata.len() == 0) {
                (kind, device) = match special {
                    Special::Character(major, minor) => (Kind::Character, (major, minor)),
                    Special::Block(major, minor) => (Kind::Block, (major, minor)),
                    Special::Fifo => (Kind::Fifo, (0, 0)),
                };
                found.clear();
            }
        } else {
            owner = recorded_owner(&full, &metadata).unwrap_or(owner);
        }
        Ok(Node { full, path, kind, metadata, owner, device, xattrs: found })
    }
}

fn kind_of(full: &Path, metadata: &Metadata) -> Result<Kind, LayerError> {
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Symlink(fs::read_link(full).map_err(LayerError::io("read link", full))?.into_os_string())
    } else if kind.is_char_device() {
        Kind::Character
    } else if kind.is_block_device() {
        Kind::Block
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_socket() {
        Kind::Socket
    } else {
        Kind::File
    })
}

/// Tells whether an extended attribute is content: what programs set for themselves, and file capabilities.
///
/// Labels of security modules belong to the host, and overlayfs reads its own (`user.overlay.` in a user namespace)
/// as orders: an archive that carries `user.overlay.redirect` could show a directory that it does not hold. Our own
/// records ([`is_record`]) say what else the file is.
pub fn is_content(name: &[u8]) -> bool {
    name == SECURITY_CAPABILITY || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && !is_record(name)
}

/// Reads the extended attributes of a file or directory; none where the file system has none.
fn xattrs(path: &Path) -> Result<(Attributes, Records), LayerError> {
    use rustix::io::Errno;

    // Hardly a file has any, so room for all that there could be is made only for those that do.
    let mut list = vec![0; 256];
    let mut length = rustix::fs::llistxattr(path, &mut list[..]);
    if length == Err(Errno::RANGE) {
        list = vec![0; 64 << 10];
        length = rustix::fs::llistxattr(path, &mut list[..]);
    }
    let length = match length {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => 0,
        Err(error) => return Err(LayerError::io("list attributes of", path)(error)),
    };
    let mut found = Vec::new();
    let mut records = Records::default();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| is_content(name) || is_record(name)) {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..])
            .map_err(LayerError::io("read attributes of", path))?;
        value.truncate(length);
        if is_record(name) {
            records.read(name, &value);
        } else {
            found.push((name.to_vec(), value));
        }
    }
    if let Some(value) = records.capability.take()
        && !found.iter().any(|(name, _)| name == SECURITY_CAPABILITY)
    {
        found.push((SECURITY_CAPABILITY.to_vec(), value));
    }
    found.sort();
    Ok((found, records))
}

/// Returns the recorded owner of a file without following it.
pub(super) fn recorded_owner(path: &Path, metadata: &Metadata) -> Option<(u32, u32)> {
    ownership::owner_of(path, FileType::from_raw_mode(metadata.mode()))
}

/// Tells whether overlayfs hides what lower layers have in a directory (`overlayfs.rst`).
pub(super) fn is_opaque(directory: &Path) -> bool {
    let mut value = [0; 4];
    rustix::fs::lgetxattr(directory, c"user.overlay.opaque", &mut value[..])
        .is_ok_and(|length| value[..length] == *b"y")
}

/// Returns a path from bytes of an archive.
pub(super) fn path_from(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}
