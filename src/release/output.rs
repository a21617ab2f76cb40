//! A directory that appears whole: written beside its place, checked, and put there by one rename.
//!
//! ```text
//! dist/                     what is there stays until the moment of the rename
//! .dist.release-XXXXXX/     the new one, locked by the run that writes it; those of dead runs are swept
//! ```
//!
//! Where something is there already, `RENAME_EXCHANGE` (`renameat2(2)`) changes both in one step. A file system that cannot
//! do that gets two renames: for a moment there is nothing, and never a half of one and a half of the other.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::product::Bytes;
use crate::dist::{self, DistError};
use crate::oci::{Digest, Hasher};

/// Why a directory was not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// What is there is not to be replaced, or what was written is not what it should be.
    #[error(transparent)]
    Dist(#[from] DistError),
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no directory to write beside.
    #[error("`{}` is no place for a directory", path.display())]
    Place {
        /// What was named.
        path: PathBuf,
    },
    /// A directory cannot be changed for another where it is.
    #[error("`{}` is a mount point, and cannot be changed for another directory", path.display())]
    Mounted {
        /// The directory.
        path: PathBuf,
    },
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OutputError {
    let path = path.to_owned();
    move |source| OutputError::Io { action, path, source }
}

/// A directory in the making. Dropped before it is published, it vanishes.
#[derive(Debug)]
pub(super) struct Output {
    /// Where it is to be.
    place: PathBuf,
    /// Where it is made.
    aside: PathBuf,
    /// Open as long as it is made, so that other runs leave it alone.
    _lock: File,
}

impl Output {
    /// Begins a directory that is to be at `place`.
    pub(super) fn begin(place: &Path) -> Result<Self, OutputError> {
        dist::release_at(place)?;
        let place = resolved(place)?;
        let (above, name) = parts(&place)?;
        fs::create_dir_all(above).map_err(io_error("create directory", above))?;
        let prefix = format!(".{name}.release-");
        sweep(above, &prefix)?;
        let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(above);
        let aside = made.map_err(io_error("create a directory in", above))?.keep();
        let lock = File::open(&aside).map_err(io_error("open", &aside))?;
        lock.try_lock().map_err(io::Error::from).map_err(io_error("lock", &aside))?;
        Ok(Self { place, aside, _lock: lock })
    }

    /// Returns where it is made.
    pub(super) fn path(&self) -> &Path {
        &self.aside
    }

    /// Writes a file, which may lie in a directory of its own; returns digest and size of what was written.
    pub(super) fn put(&self, name: &str, bytes: &Bytes) -> Result<(Digest, u64), OutputError> {
        let path = self.aside.join(name);
        let above = path.parent().expect("a file lies in a directory");
        fs::create_dir_all(above).map_err(io_error("create directory", above))?;
        let mut file =
            Hashing { file: File::create(&path).map_err(io_error("create", &path))?, seen: Hasher::default() };
        match bytes {
            Bytes::Here(bytes) => file.write_all(bytes),
            Bytes::File { path: from, .. } => {
                let mut from = File::open(from).map_err(io_error("open", from))?;
                io::copy(&mut from, &mut file).map(drop)
            }
        }
        .and_then(|()| file.file.set_permissions(fs::Permissions::from_mode(0o644)))
        .and_then(|()| file.file.sync_all())
        .map_err(io_error("write", &path))?;
        let size = file.seen.size();
        let actual = file.seen.finish();
        if let Bytes::File { digest: expected, .. } = bytes
            && actual != *expected
        {
            let by = "what made it".to_owned();
            return Err(DistError::Tampered { name: name.to_owned(), by, expected: *expected, actual }.into());
        }
        Ok((actual, size))
    }

    /// Copies a file that nobody vouches for, such as a log, if it is there.
    pub(super) fn copy(&self, name: &str, from: &Path) -> Result<(), OutputError> {
        match fs::read(from) {
            Ok(bytes) => self.put(name, &Bytes::Here(bytes)).map(drop),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(io_error("read", from)(source)),
        }
    }

    /// Puts it where it is to be.
    pub(super) fn publish(self) -> Result<(), OutputError> {
        let (place, aside) = (&self.place, &self.aside);
        // A directory for one user's eyes would be of no use to a server or to another job.
        fs::set_permissions(aside, fs::Permissions::from_mode(0o755)).map_err(io_error("set permissions of", aside))?;
        let above = parts(place)?.0;
        let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all()).map_err(io_error("write", path));
        sync(aside)?;
        let failed = |errno: Errno| match errno {
            Errno::BUSY | Errno::XDEV => OutputError::Mounted { path: place.clone() },
            errno => io_error("rename to", place)(errno.into()),
        };
        match renameat_with(CWD, aside, CWD, place, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                // Looked at once more: it may have been made meanwhile.
                dist::release_at(place)?;
                match renameat_with(CWD, aside, CWD, place, RenameFlags::EXCHANGE) {
                    Ok(()) => {}
                    Err(Errno::INVAL | Errno::NOSYS) => in_two(aside, place).map_err(failed)?,
                    Err(errno) => return Err(failed(errno)),
                }
            }
            Err(Errno::INVAL | Errno::NOSYS) => in_two(aside, place).map_err(failed)?,
            Err(errno) => return Err(failed(errno)),
        }
        sync(above)
        // What was there before is where this one was made, and goes now.
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // What cannot be removed now is swept by a later run.
        let _ = fs::remove_dir_all(&self.aside);
    }
}

/// Renames where the file system knows no exchange.
fn in_two(aside: &Path, place: &Path) -> Result<(), Errno> {
    let mut old = aside.as_os_str().to_owned();
    old.push(".old");
    let old = PathBuf::from(old);
    let had = match rustix::fs::rename(place, &old) {
        Ok(()) => true,
        Err(Errno::NOENT) => false,
        Err(errno) => return Err(errno),
    };
    if let Err(errno) = rustix::fs::rename(aside, place) {
        if had {
            rustix::fs::rename(&old, place)?;
        }
        return Err(errno);
    }
    if had {
        // Now it is what is thrown away.
        rustix::fs::rename(&old, aside)?;
    }
    Ok(())
}

struct Hashing {
    file: File,
    seen: Hasher,
}

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.seen.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Follows symbolic links: the directory is changed where it really is.
fn resolved(place: &Path) -> Result<PathBuf, OutputError> {
    match fs::canonicalize(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::path::absolute(place).map_err(io_error("find", place))
        }
        found => found.map_err(io_error("find", place)),
    }
}

/// Returns the directory above and the name in it.
fn parts(place: &Path) -> Result<(&Path, String), OutputError> {
    let parts = place.parent().zip(place.file_name());
    let (above, name) = parts.ok_or_else(|| OutputError::Place { path: place.to_owned() })?;
    Ok((above, name.to_string_lossy().into_owned()))
}

/// Removes what dead runs left: nobody holds a lock on it.
fn sweep(above: &Path, prefix: &str) -> Result<(), OutputError> {
    for entry in fs::read_dir(above).map_err(io_error("read directory", above))? {
        let entry = entry.map_err(io_error("read directory", above))?;
        let is_ours = entry.file_name().to_string_lossy().starts_with(prefix);
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            // Another user's, or gone by now: not ours to remove.
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_ok() {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(place: &Path, text: &str) -> Output {
        let output = Output::begin(place).expect("begun");
        output.put("release.json", &Bytes::Here(br#"{"format":1,"variants":[]}"#.to_vec())).expect("written");
        output.put("logs/a/one.log", &Bytes::Here(text.as_bytes().to_vec())).expect("written");
        output
    }

    fn names(above: &Path) -> Vec<String> {
        let entries = fs::read_dir(above).expect("readable").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_appears_whole_replaces_its_like_and_leaves_nothing_beside() {
        let above = tempfile::tempdir().expect("a directory");
        let place = above.path().join("deep/dist");
        let output = put(&place, "one");
        assert!(!place.exists());
        output.publish().expect("published");
        drop(put(&place, "never"));
        assert_eq!(fs::read_to_string(place.join("logs/a/one.log")).expect("text"), "one");
        put(&place, "two").publish().expect("published");
        assert_eq!(fs::read_to_string(place.join("logs/a/one.log")).expect("text"), "two");
        assert_eq!(names(&above.path().join("deep")), ["dist"]);
        // The way of file systems that cannot exchange.
        let output = put(&place, "three");
        in_two(&output.aside, &place).expect("renamed");
        drop(output);
        assert_eq!(fs::read_to_string(place.join("logs/a/one.log")).expect("text"), "three");
        assert_eq!(names(&above.path().join("deep")), ["dist"]);
    }

    #[test]
    fn what_is_no_release_is_not_replaced() {
        let above = tempfile::tempdir().expect("a directory");
        let place = above.path().join("dist");
        fs::create_dir(&place).expect("made");
        // An empty directory is nobody's work.
        put(&place, "one").publish().expect("published");
        for stranger in ["thesis.odt", ".git", "src"] {
            fs::write(place.join(stranger), "").expect("written");
            let error = Output::begin(&place).expect_err("refused").to_string();
            assert!(error.contains(stranger), "{error}");
            fs::remove_file(place.join(stranger)).expect("removed");
        }
        fs::remove_file(place.join("release.json")).expect("removed");
        assert!(matches!(Output::begin(&place), Err(OutputError::Dist(DistError::Foreign { .. }))));
    }

    #[test]
    fn what_dead_runs_left_is_swept_and_what_others_make_is_not() {
        let above = tempfile::tempdir().expect("a directory");
        let place = above.path().join("dist");
        fs::create_dir(above.path().join(".dist.release-dead")).expect("made");
        let alive = Output::begin(&place).expect("begun");
        let other = Output::begin(&place).expect("begun");
        assert!(!above.path().join(".dist.release-dead").exists() && alive.path().exists());
        drop(other);
        alive.publish().expect("published");
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_refused() {
        let above = tempfile::tempdir().expect("a directory");
        let file = above.path().join("file");
        fs::write(&file, "changed").expect("written");
        let output = Output::begin(&above.path().join("dist")).expect("begun");
        let error = output.put("a.tar.gz", &Bytes::File { path: file, digest: Digest::of(b"as it was") });
        assert!(matches!(error, Err(OutputError::Dist(DistError::Tampered { .. }))), "{error:?}");
    }
}
