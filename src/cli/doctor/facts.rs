//! What was found out about the machine.

use std::path::PathBuf;
use std::time::Duration;

use super::container::Container;
use super::groups::Delegation;
use super::ids::Ids;
use super::kernel::{Clock, Descriptors, Offers};
use super::place::Disk;
use crate::sandbox::Trials;
use crate::sys;

/// Memory in bytes (`proc_meminfo(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What can be had without swapping.
    pub available: u64,
}

/// What came of asking a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
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
    /// The container around us, where it has left a mark.
    pub container: Option<Container>,
    /// A namespace with root in it may be mapped: for root that takes `CAP_SETFCAP` (`user_namespaces(7)`, since 5.12).
    pub maps_root: bool,
    /// What came of trying to set a step up, or why it could not even be tried.
    pub trials: Result<Trials, String>,
    /// Subordinate ids and what gives them.
    pub ids: Ids,
    /// What came of executing a program of 32-bit x86.
    pub thirty_two_bits: Result<(), String>,
    /// Limits that steps can be given.
    pub delegation: Delegation,
    /// What the kernel offers beyond namespaces.
    pub offers: Offers,
    /// The store's file system, or why it could not be looked at.
    pub disk: Result<Disk, String>,
    /// That of temporary files.
    pub temporary: Result<Disk, String>,
    /// Memory, where the kernel tells.
    pub memory: Option<Memory>,
    /// Processors that this process may use.
    pub cores: usize,
    /// Most open files.
    pub descriptors: Descriptors,
    /// The time.
    pub clock: Clock,
    /// The Debian mirror that would be asked first, and what it said.
    pub mirror: Option<(String, Answer)>,
    /// Addresses of registries and what they said; `None` where the network is not to be used.
    pub registries: Option<Vec<(String, Answer)>>,
    /// Proxy variables that are set, passwords left out.
    pub proxies: Vec<(String, String)>,
    /// Whether standard error is a terminal with a live view, and its columns.
    pub terminal: Option<u16>,
    /// This program, for a profile that lets it through.
    pub program: Option<PathBuf>,
}

/// A machine with nothing to complain about.
#[cfg(test)]
pub(super) fn good() -> Facts {
    use super::ids::{Grants, Tool};
    use crate::cgroup::Controller;

    let disk = |path: &str| Disk {
        path: path.into(),
        kind: "ext4".to_owned(),
        free: 80_000_000_000,
        files: Some(5_000_000),
        writable: true,
        read_only: false,
        no_exec: false,
    };
    let tool = |name: &'static str| Tool {
        name,
        path: Some(PathBuf::from("/usr/bin").join(name)),
        privileged: true,
        no_suid: false,
    };
    let grants = Grants { own: vec![(100_000, 65_536)], others: Vec::new() };
    Facts {
        machine: sys::Facts {
            kernel: "6.1.0-18-amd64".to_owned(),
            uid: 1000,
            gid: 1000,
            user: Some("ada".to_owned()),
            max_user_namespaces: Some(63_000),
            unprivileged_userns_clone: Some(true),
            apparmor_restricts: Some(false),
            newuidmap: Some(PathBuf::from("/usr/bin/newuidmap")),
            newgidmap: Some(PathBuf::from("/usr/bin/newgidmap")),
            subuid: Some((100_000, 65_536)),
            subgid: Some((100_000, 65_536)),
            cgroups: sys::CgroupVersion::V2,
            overlay_listed: true,
            seccomp_filtered: false,
        },
        container: None,
        maps_root: true,
        trials: Ok(Trials::default()),
        ids: Ids {
            tools: vec![tool("newuidmap"), tool("newgidmap")],
            no_new_privileges: false,
            uids: grants.clone(),
            gids: grants,
            tried: Some(65_537),
        },
        thirty_two_bits: Ok(()),
        delegation: Delegation { controllers: Controller::ALL.into(), lacks: std::collections::BTreeMap::new() },
        offers: Offers { user_notification: true, landlock: Some(4) },
        disk: Ok(disk("/home/ada/store")),
        temporary: Ok(disk("/tmp")),
        memory: Some(Memory { total: 8_000_000_000, available: 4_000_000_000 }),
        cores: 2,
        descriptors: Descriptors { soft: 1024, hard: 1_048_576 },
        clock: Clock { now: 1_800_000_000, program: None },
        mirror: Some(("http://mirror.example/debian".to_owned(), Answer::Reached(Duration::from_millis(12)))),
        registries: Some(Vec::new()),
        proxies: Vec::new(),
        terminal: Some(80),
        program: Some(PathBuf::from("/home/ada/dockless/target/release/dockless")),
    }
}
