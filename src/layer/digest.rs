//! The digest of a tree: equal for trees that a step cannot tell apart except by times that the clock gave.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};

use super::error::LayerError;
use super::walk::{Kind, Node, is_opaque, recorded_owner, walk};
use crate::oci::{Digest, Hasher};

/// First field of every tree's digest; another number for another set of fields.
const VERSION: &[u8] = b"dockless tree 1";

/// A moment by the clock of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instant {
    /// Seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: i64,
}

/// Returns a digest over path, type, mode, owner, size, content, link target, device number, content attributes and
/// hard links of everything in `tree`, in sorted order; nothing of the root directory itself.
///
/// Of times nothing. Files are read in parallel; the result does not depend on how.
///
/// # Errors
/// `Io`.
pub fn tree_digest(tree: &Path) -> Result<Digest, LayerError> {
    written_digest(tree, None)
}

/// As [`tree_digest`], with those times of files that are before `since`: whoever wrote the tree from then on has
/// chosen them.
///
/// # Errors
/// `Io`.
pub fn written_digest(tree: &Path, since: Option<Instant>) -> Result<Digest, LayerError> {
    digest(tree, since, Marks::None)
}

/// As [`written_digest`], with the mode and owner of the root and the marks by which overlayfs hides what is below a layer
/// (`overlayfs.rst`).
///
/// # Errors
/// `Io`.
pub fn layer_digest(layer: &Path, since: Option<Instant>) -> Result<Digest, LayerError> {
    digest(layer, since, Marks::Overlay)
}

/// Returns a digest over the names and times of everything in `tree` that is no directory.
///
/// # Errors
/// `Io`.
pub fn times_digest(tree: &Path) -> Result<Digest, LayerError> {
    let mut hasher = Hasher::default();
    for node in walk(tree) {
        let node = node?;
        if node.kind == Kind::Directory {
            continue;
        }
        hasher.field(node.path.as_os_str().as_bytes());
        hasher.update(&node.metadata.mtime().to_le_bytes());
        hasher.update(&node.metadata.mtime_nsec().to_le_bytes());
    }
    Ok(hasher.finish())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Marks {
    None,
    Overlay,
}

fn digest(tree: &Path, since: Option<Instant>, marks: Marks) -> Result<Digest, LayerError> {
    let mut hasher = Hasher::default();
    hasher.field(VERSION);
    if marks == Marks::Overlay {
        let root = std::fs::symlink_metadata(tree).map_err(LayerError::io("examine", tree))?;
        let (uid, gid) = recorded_owner(tree, &root).unwrap_or((root.uid(), root.gid()));
        for number in [root.mode() & 0o7777, uid, gid] {
            hasher.update(&number.to_le_bytes());
        }
    }
    let mut nodes = walk(tree);
    loop {
        // A part at a time: enough for all threads, and little memory for any tree.
        let part = nodes.by_ref().take(PART).collect::<Result<Vec<_>, _>>()?;
        if part.is_empty() {
            return Ok(hasher.finish());
        }
        for (node, content) in part.iter().zip(contents(&part)?) {
            put(&mut hasher, node, content, since, marks);
        }
    }
}

/// Files that are read by several threads before the next ones are listed.
const PART: usize = 2048;

fn put(hasher: &mut Hasher, node: &Node, content: Option<Digest>, since: Option<Instant>, marks: Marks) {
    let metadata = &node.metadata;
    let (kind, link): (&[u8], &[u8]) = match &node.kind {
        Kind::File => (b"file", b""),
        Kind::Directory => (b"directory", b""),
        Kind::Symlink(target) => (b"symlink", target.as_bytes()),
        Kind::HardLink(first) => (b"hard link", first.as_os_str().as_bytes()),
        Kind::Character => (b"character", b""),
        Kind::Block => (b"block", b""),
        Kind::Fifo => (b"fifo", b""),
        // As `pack`: a socket is not content.
        Kind::Socket => return,
    };
    let mode = if matches!(node.kind, Kind::Symlink(_)) { 0 } else { metadata.mode() & 0o7777 };
    let device = match node.kind {
        Kind::Character | Kind::Block => rustix::fs::makedev(node.device.0, node.device.1),
        _ => 0,
    };
    hasher.field(node.path.as_os_str().as_bytes());
    hasher.field(kind);
    hasher.field(link);
    for number in [u64::from(mode), u64::from(node.owner.0), u64::from(node.owner.1), device] {
        hasher.update(&number.to_le_bytes());
    }
    if let Some(content) = content {
        hasher.update(&metadata.len().to_le_bytes());
        hasher.update(content.as_bytes());
    }
    hasher.update(&(node.xattrs.len() as u64).to_le_bytes());
    for (name, value) in &node.xattrs {
        hasher.field(name);
        hasher.field(value);
    }
    let time = Instant { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() };
    // Whatever is put into a directory changes its time, which therefore says nothing of its own.
    if node.kind != Kind::Directory && since.is_some_and(|since| time < since) {
        hasher.field(b"mtime");
        hasher.update(&time.seconds.to_le_bytes());
        hasher.update(&time.nanoseconds.to_le_bytes());
    }
    if marks == Marks::Overlay && node.kind == Kind::Directory && is_opaque(&node.full) {
        hasher.field(b"opaque");
    }
}

/// Returns the digest of each regular file's content, in the order of `nodes`.
fn contents(nodes: &[Node]) -> Result<Vec<Option<Digest>>, LayerError> {
    let next = AtomicUsize::new(0);
    let files = nodes.iter().filter(|node| node.kind == Kind::File);
    let bytes: u64 = files.map(|node| node.metadata.len()).sum();
    // Starting threads and asking how many takes longer than to read what most steps leave.
    let jobs = if bytes < LARGE { 1 } else { thread::available_parallelism().map_or(1, NonZeroUsize::get).min(8) };
    let work = || -> Result<Vec<(usize, Digest)>, LayerError> {
        let mut done = Vec::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(node) = nodes.get(index) else { return Ok(done) };
            if node.kind == Kind::File {
                done.push((index, content(&node.full, &mut buffer)?));
            }
        }
    };
    let mut digests = vec![None; nodes.len()];
    let results: Vec<_> = thread::scope(|scope| {
        if jobs == 1 {
            return vec![work()];
        }
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("hashing does not panic")).collect()
    });
    for result in results {
        for (index, digest) in result? {
            digests[index] = Some(digest);
        }
    }
    Ok(digests)
}

/// More bytes than this are read by several threads.
const LARGE: u64 = 4 << 20;

fn content(path: &Path, buffer: &mut [u8]) -> Result<Digest, LayerError> {
    let mut file = File::open(path).map_err(LayerError::io("open", path))?;
    let mut hasher = Hasher::default();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(LayerError::io("read", path)(error)),
        }
    }
}
