//! What was found out about the machine.

use std::path::PathBuf;
use std::time::Duration;

/// Facts that decide how a step can run here. `None`: the kernel has no such switch, or nobody may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// `uname -r`.
    pub kernel: String,
    /// The effective user id of this process.
    pub uid: u32,
    /// The user's name, where it has one.
    pub user: Option<String>,
    /// Most user namespaces (`user.max_user_namespaces`); 0 forbids them.
    pub max_user_namespaces: Option<u64>,
    /// Debian's switch `kernel.unprivileged_userns_clone`.
    pub unprivileged_userns_clone: Option<bool>,
    /// Ubuntu's switch `kernel.apparmor_restrict_unprivileged_userns`.
    pub apparmor_restricts: Option<bool>,
    /// `newuidmap`.
    pub newuidmap: Option<PathBuf>,
    /// `newgidmap`.
    pub newgidmap: Option<PathBuf>,
    /// First id and number of ids granted in `/etc/subuid`.
    pub subuid: Option<(u32, u32)>,
    /// First id and number of ids granted in `/etc/subgid`.
    pub subgid: Option<(u32, u32)>,
    /// A seccomp filter is at work on this process, as in most containers.
    pub seccomp_filtered: bool,
}

/// What came of trying namespaces for real.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// A step can have its own.
    Work {
        /// Whether a file system made of layers can be mounted there; copies are made otherwise.
        overlay: bool,
    },
    /// The kernel refused.
    Refused {
        /// What it said, e.g. `unshare: Operation not permitted`.
        reason: String,
    },
}

/// The file system of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Where the store is or will be.
    pub store: PathBuf,
    /// Bytes that this user may still write there.
    pub free: u64,
    /// Whether this user may write there.
    pub writable: bool,
}

/// Memory in bytes (`proc_meminfo(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What can be had without swapping.
    pub available: u64,
}

/// What came of asking a Debian mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorAnswer {
    /// It answered in this time.
    Reached(Duration),
    /// It did not, and this is why.
    Failed(String),
}

/// Everything that `dockless doctor` looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Kernel, user, switches.
    pub machine: Machine,
    /// Namespaces, tried.
    pub namespaces: Namespaces,
    /// Control groups of which this process may make children; `None` where there are none.
    pub cgroup: Option<PathBuf>,
    /// The store's file system, or why it could not be looked at.
    pub disk: Result<Disk, String>,
    /// Memory, where the kernel tells.
    pub memory: Option<Memory>,
    /// Processors that this process may use.
    pub cores: usize,
    /// The Debian mirror that would be asked first, and what it said.
    pub mirror: Option<(String, MirrorAnswer)>,
    /// Proxy variables that are set, passwords left out.
    pub proxies: Vec<(String, String)>,
    /// Whether standard error is a terminal with a live view, and its columns.
    pub terminal: Option<u16>,
    /// This program, for a profile that lets it through.
    pub program: Option<PathBuf>,
}
