//! What `/proc`, `/sys` and `/etc` say about this machine, as plain data for `dockless doctor`.

use std::fs;
use std::path::{Path, PathBuf};

use super::idmap::{MapTool, find_tool, subordinate_range};

/// Which control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// None.
    Absent,
    /// Version 1 only.
    V1,
    /// Version 1 with version 2 beside it.
    Hybrid,
    /// Version 2 only.
    V2,
}

/// Facts that decide how a step can run here. `None`: the kernel has no such switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `uname -r`.
    pub kernel: String,
    /// The effective user id of this process.
    pub uid: u32,
    /// The effective group id of this process.
    pub gid: u32,
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
    /// Control groups.
    pub cgroups: CgroupVersion,
    /// The overlay file system is known to the kernel (a module not loaded yet counts as unknown).
    pub overlay_listed: bool,
    /// This process runs under a seccomp filter, as in a container.
    pub seccomp_filtered: bool,
}

/// Reads the facts; what cannot be read is absent.
pub fn facts() -> Facts {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
    let range = |tool: MapTool, id| {
        subordinate_range(&fs::read_to_string(tool.grants()).unwrap_or_default(), user.as_deref(), id)
    };
    Facts {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        uid,
        gid,
        max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
        unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone").map(|value| value != 0),
        apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").map(|value| value != 0),
        newuidmap: find_tool(MapTool::Uid),
        newgidmap: find_tool(MapTool::Gid),
        subuid: range(MapTool::Uid, uid),
        subgid: range(MapTool::Gid, uid),
        cgroups: cgroups(Path::new("/sys/fs/cgroup")),
        overlay_listed: has_line("/proc/filesystems", "overlay"),
        seccomp_filtered: has_line("/proc/self/status", "Seccomp:\t2"),
        user,
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn has_line(path: &str, end: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.ends_with(end)))
}

fn cgroups(root: &Path) -> CgroupVersion {
    let is_v2 = |path: &Path| path.join("cgroup.controllers").exists();
    if is_v2(root) {
        CgroupVersion::V2
    } else if is_v2(&root.join("unified")) {
        CgroupVersion::Hybrid
    } else if fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
        CgroupVersion::V1
    } else {
        CgroupVersion::Absent
    }
}
