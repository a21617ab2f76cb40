//! A directory of gpg that is never on a disk.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FsWord, statfs};
use tempfile::TempDir;

use super::error::SignError;
use super::signer::{KEY_VARIABLE, PASSPHRASE_VARIABLE};

/// `statfs(2)`: file systems that live in memory.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// A private directory (mode 0700) on a tmpfs. Dropped, its gpg-agent is told to end and everything in it is gone.
///
/// What is on a tmpfs may be swapped out (`tmpfs(5)`): a machine whose swap is not encrypted should have none.
#[derive(Debug)]
pub(super) struct Home {
    directory: TempDir,
}

impl Home {
    /// Makes one in the first of `places` that lies in memory and lets us.
    pub(super) fn in_memory(places: &[PathBuf]) -> Result<Self, SignError> {
        let make = |place: &PathBuf| {
            is_in_memory(place).then(|| tempfile::Builder::new().prefix("dockless-gpg-").tempdir_in(place).ok())?
        };
        match places.iter().find_map(make) {
            Some(directory) => Ok(Self { directory }),
            None => Err(SignError::NoMemory { places: places.to_vec() }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for act in ["--kill", "--remove-socketdir"] {
            let mut command = Command::new("gpgconf");
            command.arg("--homedir").arg(self.path()).arg(act);
            if act == "--kill" {
                command.arg("gpg-agent");
            }
            command.env_remove(KEY_VARIABLE).env_remove(PASSPHRASE_VARIABLE);
            // Without gpgconf the agent ends by itself when it finds its directory gone (`gpg-agent(1)`).
            let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

fn is_in_memory(place: &Path) -> bool {
    #[expect(clippy::cast_sign_loss, reason = "a magic number, whatever the kernel's type for it")]
    let magic = |found: FsWord| found as u64 & 0xffff_ffff;
    place.is_absolute() && statfs(place).is_ok_and(|found| IN_MEMORY.contains(&magic(found.f_type)))
}
