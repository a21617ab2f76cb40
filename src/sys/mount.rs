//! Mounts by descriptor (`fsopen(2)`, `open_tree(2)`, `move_mount(2)`, `mount_setattr(2)`, `overlayfs.rst`).
//!
//! A new mount is a descriptor first and belongs to no place; dropped unattached it is gone, so a half-built step
//! leaves nothing. Paths reach the kernel as `/proc/self/fd/N` only, so no character of a path can be taken for an
//! option's separator.

#![expect(unsafe_code, reason = "neither nix nor rustix wraps mount_setattr")]

use std::ffi::CStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
    mount_remount, move_mount, open_tree, unmount,
};

/// What a mount forbids; nothing here ever gives back what the machine forbade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one switch an attribute is what the kernel has")]
pub struct Attributes {
    /// No writing.
    pub read_only: bool,
    /// Set-uid bits and file capabilities mean nothing.
    pub no_suid: bool,
    /// Device files mean nothing.
    pub no_dev: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
}

/// A mount that is attached nowhere yet, or the descriptor of its root once it is.
#[derive(Debug)]
pub struct Detached(OwnedFd);

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens `path` as a place only (`O_PATH`), following symbolic links.
pub fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Cuts the mounts of the current mount namespace off from those it was copied from.
pub fn make_private() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?)
}

/// Clones the mounts at `source` and below it.
///
/// Always with the mounts below: in a user namespace those are locked in place and the kernel refuses to show what
/// they cover.
pub fn bind(source: impl AsFd) -> io::Result<Detached> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let flags = flags | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE;
    Ok(Detached(open_tree(source, c"", flags)?))
}

fn finish(context: &OwnedFd, attributes: MountAttrFlags) -> io::Result<Detached> {
    fsconfig_create(context)?;
    Ok(Detached(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?))
}

/// Makes an empty tmpfs of at most `size` bytes (half of the memory without) whose root has `mode`.
pub fn tmpfs(size: Option<u64>, mode: u32) -> io::Result<Detached> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"mode", format!("{mode:o}"))?;
    if let Some(size) = size {
        fsconfig_set_string(&context, c"size", size.to_string())?;
    }
    finish(&context, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
}

/// Makes the `/proc` of the current PID namespace.
pub fn proc_fs() -> io::Result<Detached> {
    closed(c"proc", false)
}

const CLOSED: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV).union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

fn closed(file_system: &CStr, read_only: bool) -> io::Result<Detached> {
    let read_only = if read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    finish(&fsopen(file_system, FsOpenFlags::FSOPEN_CLOEXEC)?, CLOSED | read_only)
}

/// Makes the `/sys` of the current network namespace.
///
/// # Errors
/// `EPERM` in a user namespace that does not own the network namespace, or that sees only a part of `/sys`.
pub fn sys_fs(read_only: bool) -> io::Result<Detached> {
    closed(c"sysfs", read_only)
}

/// Makes the control groups (version 2) of the current cgroup namespace.
///
/// # Errors
/// `EPERM` where the machine shows none.
pub fn cgroups(read_only: bool) -> io::Result<Detached> {
    closed(c"cgroup2", read_only)
}

/// Makes the message queues of the current ipc namespace.
pub fn queues() -> io::Result<Detached> {
    closed(c"mqueue", false)
}

/// Makes a fresh set of pseudo terminals, owned by group `group` where that exists.
pub fn devpts(group: Option<u32>) -> io::Result<Detached> {
    let context = fsopen(c"devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(&context, c"newinstance")?;
    fsconfig_set_string(&context, c"ptmxmode", c"0666")?;
    fsconfig_set_string(&context, c"mode", c"0620")?;
    if let Some(group) = group {
        fsconfig_set_string(&context, c"gid", group.to_string())?;
    }
    finish(&context, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

/// Lays `lower` (the uppermost first) under `upper`; without an upper the result is read-only.
///
/// With `userxattr`, the only kind a user namespace may mount, and the same as root, so that uppers look alike. And
/// `volatile` where the kernel can (5.10): else it writes all that the upper's file system holds to disk at the end of
/// the mount, which takes longer than most steps and is the business of whoever keeps the upper.
///
/// # Errors
/// `EPERM` or `ENODEV` where the kernel has no overlay for user namespaces (before 5.11), `EINVAL` where the file
/// system of a layer cannot carry it.
pub fn overlay(lower: &[BorrowedFd<'_>], upper: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>) -> io::Result<Detached> {
    let Some((_, work)) = upper else { return layered(lower, None, false) };
    layered(lower, upper, true).or_else(|_| {
        // The mark of an earlier mount, of the same step or the one before: what it wrote is in the upper or in memory.
        let _ = rustix::fs::unlinkat(work, c"work/incompat/volatile/dirty", AtFlags::empty());
        for mark in [c"work/incompat/volatile", c"work/incompat"] {
            let _ = rustix::fs::unlinkat(work, mark, AtFlags::REMOVEDIR);
        }
        layered(lower, upper, false)
    })
}

/// Bytes of a value (`fs/fsopen.c`, `strndup_user` with 256).
const LONGEST_VALUE: usize = 255;

fn layered(
    lower: &[BorrowedFd<'_>],
    upper: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>,
    volatile: bool,
) -> io::Result<Detached> {
    let path = |fd: BorrowedFd<'_>| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(&context, c"userxattr")?;
    fsconfig_set_string(&context, c"index", c"off")?;
    if volatile {
        fsconfig_set_flag(&context, c"volatile")?;
    }
    let lower: Vec<String> = lower.iter().map(|fd| path(*fd)).collect();
    let joined = lower.join(":");
    // A value of fsconfig(2) has at most 255 bytes, which is fifteen layers; one by one they go since Linux 6.7.
    if joined.len() > LONGEST_VALUE {
        lower.into_iter().try_for_each(|one| fsconfig_set_string(&context, c"lowerdir+", one))?;
    } else {
        fsconfig_set_string(&context, c"lowerdir", joined)?;
    }
    if let Some((upper, work)) = upper {
        fsconfig_set_string(&context, c"upperdir", path(upper))?;
        fsconfig_set_string(&context, c"workdir", path(work))?;
    }
    finish(&context, MountAttrFlags::empty())
}

/// Attaches `mount` at `place`; it stays usable as a descriptor of its root.
pub fn attach(mount: &Detached, place: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, c"", place, c"", flags)?)
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Adds `attributes` to an attached mount, and to all below it if `recursive`.
pub fn set_attributes(mount: &Detached, attributes: Attributes, recursive: bool) -> io::Result<()> {
    let switches = [
        (attributes.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (attributes.no_suid, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (attributes.no_dev, MountAttrFlags::MOUNT_ATTR_NODEV),
        (attributes.no_exec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ];
    let set: MountAttrFlags = switches.into_iter().filter_map(|(wanted, flag)| wanted.then_some(flag)).collect();
    let attr = MountAttr { set: set.bits().into(), clear: 0, propagation: 0, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel reads `size_of::<MountAttr>()` bytes of `attr` and an empty C string; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.0.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOSYS) { remount(mount, attributes) } else { Err(error) }
}

/// Adds attributes as kernels before 5.12 can: to one mount, keeping the flags that the machine has locked.
fn remount(mount: &Detached, attributes: Attributes) -> io::Result<()> {
    use rustix::fs::StatVfsMountFlags as Has;
    let has = rustix::fs::fstatvfs(mount)?.f_flag;
    let switches = [
        (attributes.read_only || has.contains(Has::RDONLY), MountFlags::RDONLY),
        (attributes.no_suid || has.contains(Has::NOSUID), MountFlags::NOSUID),
        (attributes.no_dev || has.contains(Has::NODEV), MountFlags::NODEV),
        (attributes.no_exec || has.contains(Has::NOEXEC), MountFlags::NOEXEC),
        (has.contains(Has::NOATIME), MountFlags::NOATIME),
        (has.contains(Has::NODIRATIME), MountFlags::NODIRATIME),
        (has.contains(Has::RELATIME), MountFlags::RELATIME),
    ];
    let flags: MountFlags = switches.into_iter().filter_map(|(wanted, flag)| wanted.then_some(flag)).collect();
    Ok(mount_remount(format!("/proc/self/fd/{}", mount.0.as_raw_fd()), flags | MountFlags::BIND, c"")?)
}

/// Makes the attached mount `root` the root of the calling process and drops all mounts of the old one.
///
/// # Errors
/// `EINVAL` where the old root is the initial ramfs, which cannot be left this way.
pub fn pivot(root: &Detached) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

/// Tries an overlay whose layers lie in the existing directory `place`, writing and deleting through it.
///
/// The caller must be privileged in its mount namespace. Nothing is attached and nothing stays behind.
///
/// # Errors
/// The errno of what failed.
pub fn probe_overlay(place: &Path) -> io::Result<()> {
    for name in ["lower", "upper", "work"] {
        fs::create_dir(place.join(name))?;
    }
    fs::write(place.join("lower/old"), "old")?;
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| open_path(&place.join(name)));
    let (lower, upper, work) = (lower?, upper?, work?);
    let mount = overlay(&[lower.as_fd()], Some((upper.as_fd(), work.as_fd())))?;
    let new = rustix::fs::openat(&mount, c"new", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR)?;
    fs::File::from(new).write_all(b"new")?;
    rustix::fs::unlinkat(&mount, c"old", AtFlags::empty())?;
    match rustix::fs::accessat(&mount, c"old", rustix::fs::Access::EXISTS, AtFlags::empty()) {
        Err(Errno::NOENT) => {}
        _ => return Err(io::Error::other("a deleted file can still be seen")),
    }
    drop(mount);
    // The kernel leaves a closed directory with a whiteout in it, which an ordinary user's clean-up could not enter.
    let work = place.join("work");
    let _ = fs::set_permissions(work.join("work"), fs::Permissions::from_mode(0o700));
    let _ = fs::remove_dir_all(&work);
    let seen = rustix::fs::statat(CWD, place.join("upper/new"), AtFlags::SYMLINK_NOFOLLOW)?;
    if seen.st_size == 3 { Ok(()) } else { Err(io::Error::other("a written file did not reach the upper layer")) }
}
