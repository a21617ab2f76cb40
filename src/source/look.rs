//! What a user's directory looks like from outside, without reading a file of it.
//!
//! Two looks that are equal are of equal files: whatever is written to a file, or done to its mode or its time, changes the
//! time of its inode, which nobody can set (`inode(7)` ctime). But for one gap, known from git's index: what is written
//! twice within one tick of the kernel's clock has one time. So a look counts only if the newest change is older than that.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::error::SourceError;
use super::identifier::LocalSource;
use super::local::filter;
use super::names::names;
use crate::oci::{Digest, Hasher};
use crate::pattern::{Filter, FilterState};

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Digest of the names, inodes, sizes and times of everything that the source takes, good on this machine only.
    pub digest: Digest,
    /// The newest change of any of it: seconds since 1970 and nanoseconds.
    pub newest: (i64, i64),
}

/// Looks at what `source` takes of `directory`.
///
/// # Errors
/// `Pattern`, `Io`.
pub fn look(directory: &Path, source: &LocalSource) -> Result<Look, SourceError> {
    let root = directory.canonicalize().map_err(SourceError::io("find", directory))?;
    let filter = filter(&root, source)?;
    let mut hasher = Hasher::default();
    hasher.field(b"dockless look 1");
    hasher.field(&[u8::from(source.metadata_only)]);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(&root, flags, Mode::empty());
    let top = top.map_err(|errno| SourceError::io("open", &root)(errno.into()))?;
    let mut walk = Walk { root: &root, filter: &filter, hasher, newest: (0, 0) };
    walk.directory(&top, Path::new(""), &FilterState::default(), 0)?;
    Ok(Look { digest: walk.hasher.finish(), newest: walk.newest })
}

/// As deep as `local` can copy with the descriptors that a process has.
const DEEPEST: usize = 400;

struct Walk<'a> {
    root: &'a Path,
    filter: &'a Filter,
    hasher: Hasher,
    newest: (i64, i64),
}

impl Walk<'_> {
    fn directory(&mut self, from: &OwnedFd, path: &Path, state: &FilterState, depth: usize) -> Result<(), SourceError> {
        for name in names(from).map_err(|errno| self.error("list", path, errno))? {
            let below = path.join(OsStr::from_bytes(name.as_bytes()));
            let verdict = self.filter.look(&below, state);
            if !verdict.included && !verdict.descend {
                continue;
            }
            let stat = match rustix::fs::statat(from, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(self.error("examine", &below, errno)),
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            // A directory that is only passed through comes along with what is in it.
            self.put(&below, &stat);
            if is_directory && verdict.descend && depth < DEEPEST {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(from, &name, flags, Mode::empty()) {
                    Ok(inner) => self.directory(&inner, &below, &verdict.state, depth + 1)?,
                    // Whoever copies it says what is wrong.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
                    Err(errno) => return Err(self.error("open", &below, errno)),
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &Path, stat: &Stat) {
        self.hasher.field(path.as_os_str().as_bytes());
        let changed = (stat.st_ctime, stat.st_ctime_nsec.cast_signed());
        // What is put into a directory changes its times, and is seen by itself.
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let numbers = [
            stat.st_dev,
            stat.st_ino,
            u64::from(stat.st_mode),
            if directory { 0 } else { stat.st_size.cast_unsigned() },
            stat.st_rdev,
            changed.0.cast_unsigned(),
            changed.1.cast_unsigned(),
        ];
        for number in numbers {
            self.hasher.update(&number.to_le_bytes());
        }
        self.newest = self.newest.max(changed);
    }

    fn error(&self, action: &'static str, path: &Path, errno: Errno) -> SourceError {
        SourceError::Io { action, path: self.root.join(path), source: errno.into() }
    }
}
