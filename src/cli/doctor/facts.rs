//! What was found out about the machine.

use std::path::PathBuf;
use std::time::Duration;

use crate::sandbox::Trials;
use crate::sys;

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
    pub machine: sys::Facts,
    /// What came of trying to set a step up, or why it could not even be tried.
    pub trials: Result<Trials, String>,
    /// What came of executing a program of 32-bit x86.
    pub thirty_two_bits: Result<(), String>,
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
