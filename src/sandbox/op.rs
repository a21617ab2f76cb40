//! The acts of a step's setup, as values.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{
    BECOME, ENTER_DIRECTORY, EXECUTE, FIND_USER, MAKE_DIRECTORY, MOUNT, MOUNT_FILE, MOUNT_PROC, SECRET, SET_LIMIT,
    UNSHARE,
};
use super::mount::Mount;
use super::step::{Security, Ulimit};

/// One act of a step's setup. Those up to [`SetupOp::Pivot`] are process 1's, the others the program's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetupOp {
    /// Leave the mount, ipc, uts, cgroup and, unless it is the host's, the network namespace.
    Unshare {
        /// Leave the network namespace too.
        network: bool,
    },
    /// Cut the copied mounts off from the machine's.
    MakePrivate,
    /// Open a path of the machine, before anything covers it.
    Open {
        /// The path.
        source: PathBuf,
        /// The step does without it where the machine has none.
        optional: bool,
    },
    /// Read a small file of the machine, before anything covers it; one that is not there is empty.
    Read {
        /// The file.
        source: PathBuf,
    },
    /// Set the host name.
    HostName {
        /// The name.
        name: String,
    },
    /// Bring up `lo`.
    LoopbackUp,
    /// Mount the root beside the machine's.
    Root {
        /// The tree.
        mount: Mount,
        /// Under a layer of memory that takes the mount points and all writes, and is dropped with the step.
        throwaway: bool,
        /// Where the kernel refuses the layer, a read-only root can be put together from bind mounts instead.
        replaceable: bool,
        /// Set-uid bits mean nothing.
        no_suid: bool,
        /// Paths that will be made where they are missing.
        wanted: Vec<PathBuf>,
    },
    /// Mount a tree of the step.
    Mount {
        /// Where.
        destination: PathBuf,
        /// What.
        mount: Mount,
        /// The part of it that is shown.
        selector: PathBuf,
        /// No writing.
        readonly: bool,
        /// Set-uid bits mean nothing.
        no_suid: bool,
    },
    /// Show a small read-only file of the sandbox's own.
    File {
        /// Where.
        destination: PathBuf,
        /// What is in it.
        content: Content,
    },
    /// Mount empty memory of the sandbox's own.
    Memory {
        /// Where.
        destination: PathBuf,
        /// Most bytes.
        size: Option<u64>,
        /// Mode of its root.
        mode: u32,
        /// Nothing in it can be executed.
        no_exec: bool,
    },
    /// Show a device of the machine.
    Device {
        /// Its path, the same on both sides.
        path: PathBuf,
    },
    /// Make a symbolic link.
    Link {
        /// Where.
        path: PathBuf,
        /// To what.
        target: PathBuf,
    },
    /// Mount a fresh set of pseudo terminals.
    Terminals {
        /// Where.
        destination: PathBuf,
    },
    /// Mount the message queues of the step's own ipc namespace.
    Queues {
        /// Where.
        destination: PathBuf,
    },
    /// Mount the `/proc` of the step's own PID namespace.
    Proc {
        /// Where.
        destination: PathBuf,
    },
    /// Mount the `/sys` of the step's own network namespace with its control groups, or show the machine's; where the
    /// kernel refuses it there is none.
    Sys {
        /// Where.
        destination: PathBuf,
        /// The step has a network namespace of its own.
        fresh: bool,
        /// Writing is not forbidden.
        writable: bool,
    },
    /// Cover a path with nothing, where it exists (`runtime-spec config-linux.md#masked-paths`).
    Mask {
        /// The path.
        path: PathBuf,
    },
    /// Cover a name in every subdirectory of a directory, where it exists.
    MaskEach {
        /// The directory.
        directory: PathBuf,
        /// The name.
        name: String,
    },
    /// Make a path read-only, where it exists (`runtime-spec config-linux.md#readonly-paths`).
    Protect {
        /// The path.
        path: PathBuf,
    },
    /// Make the files of the whole machine in a `/proc` read-only where they belong to an id of the step: their modes and
    /// owners are the machine's too, and who owns them may change them (`proc(5)`).
    ProtectOwned {
        /// The directory.
        directory: PathBuf,
        /// What in it is covered or made read-only by itself.
        except: Vec<PathBuf>,
    },
    /// Look up the user in the root.
    User {
        /// `name|uid[:group|gid]`; empty is root.
        user: String,
    },
    /// Make what is missing of the working directory, owned by the user.
    MakeDirectory {
        /// The path.
        path: PathBuf,
    },
    /// Make the root mount read-only.
    SealRoot,
    /// Make the root the root, and let go of the machine's.
    Pivot,
    /// Make a directory of the machine the root, without a mount namespace.
    ChangeRoot {
        /// The directory.
        path: PathBuf,
    },
    /// Leave the session, the terminal and the keys of the builder.
    NewSession,
    /// Umask 022, default signals, standard input from `/dev/null`.
    Settle,
    /// `uname -m` says i686.
    Personality32,
    /// Enter the working directory.
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// Obey the filter of system calls, for good.
    Filter,
    /// Become the user, with the capabilities of the mode.
    DropPrivileges {
        /// The mode.
        security: Security,
        /// Set-uid programs give nothing.
        no_new_privileges: bool,
    },
    /// Open nothing outside the root any more, and write only at some places, where the kernel can forbid it; signals
    /// and abstract sockets reach only what the program starts itself (`landlock(7)`).
    Confine {
        /// The places.
        writable: Vec<PathBuf>,
    },
    /// Have the kernel kill the program when its guard ends.
    EndWithGuard,
    /// Make no sockets but those of files.
    ForbidSockets,
    /// Set a resource limit.
    Limit {
        /// The limit.
        limit: Ulimit,
    },
    /// Become the program.
    Execute {
        /// Program and arguments.
        args: Vec<String>,
        /// The environment.
        env: Vec<String>,
        /// Add the user's `HOME` where the environment has none.
        home: bool,
    },
}

/// What is in a [`SetupOp::File`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// This.
    Text(String),
    /// What [`SetupOp::Read`] has read here.
    Of(PathBuf),
}

impl SetupOp {
    /// Tells whether the program does this itself, after process 1 has done its part.
    pub(super) fn is_programs(&self) -> bool {
        matches!(
            self,
            Self::ChangeRoot { .. }
                | Self::NewSession
                | Self::Settle
                | Self::Personality32
                | Self::Directory { .. }
                | Self::Filter
                | Self::DropPrivileges { .. }
                | Self::Confine { .. }
                | Self::EndWithGuard
                | Self::ForbidSockets
                | Self::Limit { .. }
                | Self::Execute { .. }
        )
    }

    /// What the program may do, where this decides it.
    pub(super) fn security(&self) -> Option<Security> {
        match self {
            Self::DropPrivileges { security, .. } => Some(*security),
            _ => None,
        }
    }

    /// Where the program may write, where this decides it.
    pub(super) fn writable(&self) -> Option<&[PathBuf]> {
        match self {
            Self::Confine { writable } => Some(writable),
            _ => None,
        }
    }

    /// Where something is mounted.
    pub(super) fn destination(&self) -> Option<&Path> {
        match self {
            Self::Mount { destination, .. }
            | Self::File { destination, .. }
            | Self::Memory { destination, .. }
            | Self::Terminals { destination }
            | Self::Queues { destination }
            | Self::Proc { destination }
            | Self::Sys { destination, .. } => Some(destination),
            _ => None,
        }
    }

    /// What is tried and on what, for errors.
    pub(super) fn describe(&self) -> (&'static str, String) {
        let show = |path: &Path| path.display().to_string();
        match self {
            Self::Unshare { network: true } => (UNSHARE, "mount, ipc, uts, cgroup, network".to_owned()),
            Self::Unshare { network: false } => (UNSHARE, "mount, ipc, uts, cgroup".to_owned()),
            Self::MakePrivate => ("make the mounts private below", "/".to_owned()),
            Self::Open { source, .. } => ("open", show(source)),
            Self::Read { source } => ("read", show(source)),
            Self::HostName { name } => ("set the host name", name.clone()),
            Self::LoopbackUp => ("bring up the network device", "lo".to_owned()),
            Self::Root { mount, .. } => ("mount the root", mount.describe()),
            Self::Mount { destination, mount: Mount::Secret(_), .. } => (SECRET, show(destination)),
            Self::Mount { destination, mount, selector, .. } if selector.as_os_str().is_empty() => {
                (MOUNT, format!("{} ({})", show(destination), mount.describe()))
            }
            Self::Mount { destination, mount, selector, .. } => {
                (MOUNT, format!("{} (`{}` of {})", show(destination), selector.display(), mount.describe()))
            }
            Self::File { destination, .. } => (MOUNT_FILE, show(destination)),
            Self::Memory { destination, .. } => ("mount a tmpfs at", show(destination)),
            Self::Device { path } => ("show the device", show(path)),
            Self::Link { path, .. } => ("make the link", show(path)),
            Self::Terminals { destination } => ("mount devpts at", show(destination)),
            Self::Queues { destination } => ("mount mqueue at", show(destination)),
            Self::Proc { destination } => (MOUNT_PROC, show(destination)),
            Self::Sys { destination, .. } => ("mount sysfs at", show(destination)),
            Self::Mask { path } => ("mask", show(path)),
            Self::MaskEach { directory, name } => ("mask", format!("{}/*/{name}", directory.display())),
            Self::Protect { path } | Self::ProtectOwned { directory: path, .. } => ("make read-only", show(path)),
            Self::User { user } => (FIND_USER, user.clone()),
            Self::MakeDirectory { path } => (MAKE_DIRECTORY, show(path)),
            Self::SealRoot => ("make read-only", "/".to_owned()),
            Self::Pivot => ("change the root to", "/".to_owned()),
            Self::ChangeRoot { path } => ("change the root to", show(path)),
            Self::NewSession => ("start a session", "setsid".to_owned()),
            Self::Settle => ("set signals and standard input", "/dev/null".to_owned()),
            Self::Personality32 => ("set the personality", "PER_LINUX32".to_owned()),
            Self::Directory { path } => (ENTER_DIRECTORY, show(path)),
            Self::Filter => ("install the filter of", "system calls".to_owned()),
            Self::DropPrivileges { .. } => (BECOME, "capabilities".to_owned()),
            Self::Confine { .. } => ("confine to", "/".to_owned()),
            Self::EndWithGuard => ("bind to", "the guard".to_owned()),
            Self::ForbidSockets => ("forbid", "sockets".to_owned()),
            Self::Limit { limit } => (SET_LIMIT, limit.name.clone()),
            Self::Execute { args, .. } => (EXECUTE, args.first().cloned().unwrap_or_default()),
        }
    }
}
