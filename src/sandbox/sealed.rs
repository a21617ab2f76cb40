//! The program that starts steps, as a step may meet it: behind a read-only mount of its own.
//!
//! A step's file that begins with `#!/proc/self/exe` starts the builder's program once more, inside, with libraries of
//! the step's own; from there `/proc/self/exe` leads to the builder's file on the machine, which belongs to the user that
//! is root in the step. Most kernels refuse to write to a program that runs (`ETXTBSY`), but not all, and not for ever.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use crate::sys::{self, Attributes, Detached};

/// A mount that nobody else sees; it lives as long as this or a process that was started from it.
#[derive(Debug)]
pub(super) struct Sealed(Detached);

impl Sealed {
    /// Makes one for `program`.
    ///
    /// # Errors
    /// `EPERM` where the process may not mount, as before [`super::enter`]; `NotFound` where the file of the running
    /// program has been replaced since it started.
    pub(super) fn new(program: &Path) -> io::Result<Self> {
        let running = sys::open_path(program)?;
        // The magic link leads to a mount of the namespace that the process came from, which cannot be cloned.
        let named = fs::read_link(program).unwrap_or_else(|_| program.to_owned());
        let found = sys::open_path(&named)?;
        let [running, same] = [running.as_fd(), found.as_fd()].map(rustix::fs::fstat);
        let (running, same) = (running?, same?);
        if (running.st_dev, running.st_ino) != (same.st_dev, same.st_ino) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mount = sys::bind(found)?;
        sys::set_attributes(&mount, Attributes { read_only: true, ..Attributes::default() }, false)?;
        Ok(Self(mount))
    }

    /// A name of the program behind the mount, for this process and those it forks.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd()).into()
    }
}
