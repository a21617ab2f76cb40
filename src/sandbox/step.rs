//! What a step is and how it ends: values only.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use serde::{Deserialize, Serialize};

use super::error::SandboxError;
use crate::oci::Arch;

/// A tree that a step can see. `snapshot` makes it, this module mounts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A directory or file of the machine as it is.
    Bind {
        /// The directory or file; symbolic links are followed.
        source: PathBuf,
        /// No writing.
        readonly: bool,
    },
    /// Layers over one another, read-only (`overlayfs.rst`).
    Layers {
        /// At least two, the uppermost first.
        lower: Vec<PathBuf>,
    },
    /// Layers under a writable one (`overlayfs.rst`).
    Overlay {
        /// The layers below, the uppermost first.
        lower: Vec<PathBuf>,
        /// Takes the writes.
        upper: PathBuf,
        /// An empty directory on the file system of `upper`.
        work: PathBuf,
    },
    /// Empty memory, gone with the step.
    Tmpfs {
        /// Most bytes; half of the memory without.
        size: Option<u64>,
    },
}

/// A [`Mount`] and where the step sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMount {
    /// Absolute path without `..`; made where it does not exist.
    pub destination: PathBuf,
    /// The tree.
    pub mount: Mount,
}

/// What a step can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Its own loopback device only.
    None,
    /// Everything the builder can reach.
    Host,
}

/// One run of one program in its own namespaces.
#[derive(Debug)]
pub struct Step {
    /// The tree at `/`.
    pub root: Mount,
    /// The program cannot write to `/` (mounts keep their own word).
    pub root_readonly: bool,
    /// Further trees; they may lie in one another in any order.
    pub mounts: Vec<StepMount>,
    /// The program (searched in `PATH` of `env` where it has no slash) and its arguments.
    pub args: Vec<String>,
    /// The whole environment, `NAME=value`.
    pub env: Vec<String>,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// The host name.
    pub hostname: String,
    /// The network.
    pub network: Network,
    /// `X86` makes `uname -m` say `i686`.
    pub arch: Arch,
    /// How long the program may run.
    pub timeout: Option<Duration>,
    /// Descriptors that the program finds under these numbers (3 to 999), such as a jobserver's.
    pub inherit: Vec<(i32, OwnedFd)>,
}

/// Numbers that [`Step::inherit`] may use.
pub(super) const INHERITABLE: std::ops::Range<i32> = 3..1000;

impl Step {
    pub(super) fn check(&self) -> Result<(), SandboxError> {
        if self.args.is_empty() {
            return Err(SandboxError::NoProgram);
        }
        for path in self.mounts.iter().map(|mount| &mount.destination).chain([&self.cwd]) {
            let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
            if !path.is_absolute() || !path.components().all(plain) {
                return Err(SandboxError::Destination { path: path.clone() });
            }
        }
        if let Some(mount) = self.mounts.iter().find(|mount| mount.destination == Path::new("/")) {
            return Err(SandboxError::Destination { path: mount.destination.clone() });
        }
        let mut numbers = BTreeSet::new();
        match self.inherit.iter().find(|(number, _)| !INHERITABLE.contains(number) || !numbers.insert(*number)) {
            Some((number, _)) => Err(SandboxError::Inherit { number: *number }),
            None => Ok(()),
        }
    }
}

/// How the program of a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It ran longer than [`Step::timeout`] and was killed with all it had started.
    TimedOut,
    /// [`Cancel::cancel`] was called and it was killed with all it had started.
    Cancelled,
}

/// The end of a step whose program ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// How.
    pub outcome: Outcome,
    /// Most memory in bytes that one of its processes had resident; 0 where it was killed before that was known.
    pub max_rss: u64,
}

impl Exit {
    /// Tells whether the program exited with code 0.
    pub fn success(&self) -> bool {
        self.outcome == Outcome::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Code(code) => write!(f, "exit code {code}"),
            Outcome::Signal(signal) => match nix::sys::signal::Signal::try_from(signal) {
                Ok(name) => write!(f, "killed by {name}"),
                Err(_) => write!(f, "killed by signal {signal}"),
            },
            Outcome::TimedOut => f.write_str("timed out"),
            Outcome::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// Stops running steps, from any thread. Clones stop together.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<Switch>);

#[derive(Debug)]
struct Switch {
    on: AtomicBool,
    /// Readable for ever once the switch is on, so that sleepers wake.
    event: OwnedFd,
}

impl Cancel {
    /// Makes one that nobody has pulled yet.
    ///
    /// # Errors
    /// `Io` when the process has no descriptor left.
    pub fn new() -> Result<Self, SandboxError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| SandboxError::io("make an event", Path::new("eventfd"), errno.into()))?;
        Ok(Self(Arc::new(Switch { on: AtomicBool::new(false), event })))
    }

    /// Stops every step that runs with this or a clone, and every one that would.
    pub fn cancel(&self) {
        self.0.on.store(true, Ordering::SeqCst);
        // Fails only where the counter is full, and then it is readable already.
        let _: io::Result<usize> = rustix::io::write(&self.0.event, &1_u64.to_ne_bytes()).map_err(io::Error::from);
    }

    /// Tells whether [`Cancel::cancel`] has been called.
    pub fn is_cancelled(&self) -> bool {
        self.0.on.load(Ordering::SeqCst)
    }

    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
