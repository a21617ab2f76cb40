//! What this machine can do, tried rather than guessed, for `dockless doctor`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{self, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::chroot::attempt;
use super::enter::is_nested;
use super::error::{MAP_IDS, MOUNT_PROC, SandboxError, UNSHARE};
use super::launch::Launcher;
use super::life::MARK;
use crate::sys::{self, Facts, Namespaces, Waited};

/// The answer to "can a step run here, and how well". In the trials `None` means that it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What the machine says of itself, as seen by the caller (whose ids differ after [`super::enter`]).
    pub facts: Facts,
    /// The caller is inside a user namespace already.
    pub nested: bool,
    /// What was tried.
    pub trials: Trials,
}

/// What was tried and why it failed; `None` where it works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trials {
    /// New user, pid, mount, network, ipc, uts and cgroup namespaces, with the caller's id mapped. Without these no
    /// step can run.
    pub namespaces: Option<String>,
    /// A tmpfs in them. Without this no step can run.
    pub tmpfs: Option<String>,
    /// A `/proc` of their own. Without this no step can run.
    pub proc: Option<String>,
    /// A changed root with devices in it. Without this no step can run where it cannot have namespaces.
    #[serde(default)]
    pub chroot: Chroot,
    /// An overlay on the store's file system. Without this trees are copied.
    pub overlay: Option<String>,
}

/// Whether steps can run in a changed root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chroot {
    /// Nobody has tried.
    #[default]
    Untried,
    /// They can.
    Works,
    /// They cannot, for this reason.
    Refused(String),
}

impl Trials {
    /// Tells whether a step can run here.
    pub fn can_run(&self) -> bool {
        self.namespaces.is_none() && self.tmpfs.is_none() && self.proc.is_none()
    }
}

/// Tries what this machine can do, with the running program; see [`Launcher::probe`].
///
/// # Errors
/// As [`Launcher::probe`].
pub fn probe(place: &Path) -> Result<Probe, SandboxError> {
    Launcher::default().probe(place)
}

impl Launcher {
    /// Tries what this machine can do in a process of its own; overlays are tried in a temporary directory below the
    /// existing directory `place`.
    ///
    /// # Errors
    /// `Io` where the trial itself cannot be made.
    pub fn probe(&self, place: &Path) -> Result<Probe, SandboxError> {
        let scratch = tempfile::Builder::new().prefix("probe-").tempdir_in(place);
        let scratch = scratch.map_err(|error| SandboxError::io("make a directory in", place, error))?;
        let trials = self.trials(Some(scratch.path()))?;
        Ok(Probe { facts: sys::facts(), nested: is_nested(), trials })
    }

    /// Tries namespaces only where there is no `place`, an empty directory.
    pub(super) fn trials(&self, place: Option<&Path>) -> Result<Trials, SandboxError> {
        let failed = |error| SandboxError::io("try this machine with", self.program(), error);
        let mut command = Command::new(self.program());
        command.args([MARK, "probe"]).args(place).env_clear().stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().map_err(failed)?;
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.into()))
    }
}

/// The life of the process that tries.
pub(super) fn answer(place: Option<&Path>) -> ! {
    let facts = sys::facts();
    let words = |operation: &str, operand: &str, error: io::Error| {
        let text = error.to_string();
        format!("{}: {text}", SandboxError::setup(operation, operand, error, &facts))
    };
    // Before anything is left, as a step without namespaces would find it.
    let chroot = match place.map(attempt) {
        None => Chroot::Untried,
        Some(Ok(())) => Chroot::Works,
        Some(Err(error)) => Chroot::Refused(error.to_string()),
    };
    let mut trials = Trials { chroot, ..Trials::default() };
    let all = Namespaces { user: true, pid: true, mount: true, network: true, ipc: true, uts: true, cgroup: true };
    let entered = sys::unshare(all).map_err(|error| words(UNSHARE, "all", error)).and_then(|()| {
        sys::write_single_map(facts.uid, facts.gid)
            .and_then(|()| sys::make_private())
            .map_err(|error| words(MAP_IDS, &facts.uid.to_string(), error))
    });
    if let Err(error) = entered {
        trials.namespaces = Some(error);
    } else {
        trials.tmpfs = sys::tmpfs(Some(4096), 0o755).err().map(|error| words("mount", "tmpfs", error));
        let overlay = place.and_then(|place| sys::probe_overlay(place).err());
        trials.overlay = overlay.map(|error| words("mount", "overlay", error));
        trials.proc = try_proc().err().map(|error| words(MOUNT_PROC, "/proc", error));
    }
    let text = serde_json::to_vec(&trials).unwrap_or_default();
    process::exit(i32::from(io::stdout().write_all(&text).is_err()))
}

/// A `/proc` belongs to a PID namespace, in which only a child is.
fn try_proc() -> io::Result<()> {
    match sys::fork()? {
        None => sys::exit_now(sys::proc_fs().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO))),
        Some(child) => match sys::wait_for(child)? {
            Waited::Code(0) => Ok(()),
            Waited::Code(errno) => Err(io::Error::from_raw_os_error(errno)),
            Waited::Signal(_) => Err(io::Error::other("the process that tried was killed")),
        },
    }
}
