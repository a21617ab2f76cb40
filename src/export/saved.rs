//! Where things that others make find their place: a directory or a file in the making, and a plain tar.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use super::artifact::{draft_directory, publish_directory};
use super::error::ExportError;

/// A directory in the making beside its destination, which must be new or empty; dropped, it leaves nothing.
#[derive(Debug)]
pub struct NewDirectory {
    draft: TempDir,
    destination: PathBuf,
}

impl NewDirectory {
    /// Begins an empty one, mode 0755.
    ///
    /// # Errors
    /// `Occupied`, `Destination`, `Io`.
    pub fn begin(destination: &Path) -> Result<Self, ExportError> {
        Ok(Self { draft: draft_directory(destination)?, destination: destination.to_owned() })
    }

    /// Returns where it is for now.
    pub fn path(&self) -> &Path {
        self.draft.path()
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// `Io`.
    pub fn publish(self) -> Result<(), ExportError> {
        publish_directory(self.draft, &self.destination)
    }
}

/// A file in the making beside its destination; dropped, it leaves nothing.
#[derive(Debug)]
pub struct NewFile {
    file: NamedTempFile,
    destination: PathBuf,
}

impl NewFile {
    /// Begins an empty one; directories above it are made.
    ///
    /// # Errors
    /// `Destination`, `Io`.
    pub fn begin(destination: &Path) -> Result<Self, ExportError> {
        let name = destination.file_name().ok_or_else(|| ExportError::Destination { path: destination.to_owned() })?;
        let above = above(destination);
        fs::create_dir_all(above).map_err(ExportError::io("create", above))?;
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .tempfile_in(above)
            .map_err(ExportError::io("create a file in", above))?;
        Ok(Self { file, destination: destination.to_owned() })
    }

    /// Gives it its name, in place of what had it.
    ///
    /// # Errors
    /// `Io`.
    pub fn publish(self) -> Result<(), ExportError> {
        let Self { file, destination } = self;
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))
            .and_then(|()| file.as_file().sync_all())
            .map_err(ExportError::io("write", file.path()))?;
        file.persist(&destination).map_err(|error| ExportError::io("publish", &destination)(error.error))?;
        let above = above(&destination);
        File::open(above).and_then(|directory| directory.sync_all()).map_err(ExportError::io("sync", above))
    }
}

/// Returns the directory that something is, or will be, in.
fn above(destination: &Path) -> &Path {
    destination.parent().filter(|above| *above != Path::new("")).unwrap_or(Path::new("."))
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A tar of files that belong to root and have no time (`pax(1)`, ustar). Names are ours and short.
#[derive(Debug)]
pub struct PlainTar<W> {
    out: W,
}

impl<W: Write> PlainTar<W> {
    /// Begins an empty one.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// What writing gives.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.header(&format!("{name}/"), tar::EntryType::Directory, 0o755, 0)
    }

    /// Adds a file of `size` bytes.
    ///
    /// # Errors
    /// What reading and writing give; `UnexpectedEof` where there are fewer bytes than promised, `InvalidData` where
    /// there are more.
    pub fn file(&mut self, name: &str, size: u64, reader: &mut dyn Read) -> io::Result<()> {
        self.header(name, tar::EntryType::Regular, 0o644, size)?;
        let mut piece = vec![0; 256 << 10];
        let mut left = size;
        loop {
            let count = match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            left = left.checked_sub(count as u64).ok_or(io::ErrorKind::InvalidData)?;
            self.out.write_all(&piece[..count])?;
        }
        if left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = usize::try_from(size % 512).expect("less than a block");
        self.out.write_all(&[0; 512][..(512 - rest) % 512])
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// What writing gives.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn header(&mut self, name: &str, kind: tar::EntryType, mode: u32, size: u64) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }
}
