//! What goes wrong with a sandbox, whose fault it is, and the way out.

use std::io;
use std::path::{Path, PathBuf};

use crate::cgroup::CgroupError;
use crate::sys::Facts;

/// Whose fault an error is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step as written: exit code 2.
    Input,
    /// This machine cannot do it: exit code 3.
    Machine,
    /// Ours: exit code 70.
    Bug,
}

/// A step that could not be set up, or whose end is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// [`super::Step::args`] is empty.
    #[error("the step has no program to run")]
    NoProgram,
    /// A destination or the working directory is not usable.
    #[error("`{}` is not an absolute path below `/` without `..`", path.display())]
    Destination {
        /// The path as given.
        path: PathBuf,
    },
    /// A descriptor number is outside 3 to 999 or given twice.
    #[error("descriptor {number} cannot be inherited by a step: use each number from 3 to 999 once")]
    Inherit {
        /// The number.
        number: i32,
    },
    /// A limit that no kernel has.
    #[error(
        "no resource limit is called `{name}`: as, core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending or stack"
    )]
    UnknownLimit {
        /// The name as given.
        name: String,
    },
    /// A soft limit above its hard limit.
    #[error("the soft limit {soft} of `{name}` is above the hard limit {hard}: lower the first or raise the second")]
    LimitOrder {
        /// The limit.
        name: String,
        /// Its soft value.
        soft: u64,
        /// Its hard value.
        hard: u64,
    },
    /// A host name with a space in it, or an empty or too long one.
    #[error("`{name}` is not a host name: use 1 to 64 characters without spaces")]
    HostName {
        /// The name as given.
        name: String,
    },
    /// [`super::enter`] came too late.
    #[error("the process already has more than one thread, so it cannot enter a user namespace")]
    Threads,
    /// No way of running steps works here.
    #[error(
        "no step can run here{}{}; ways out: {}",
        userns.as_deref().map(|reason| format!("; in namespaces: {reason}")).unwrap_or_default(),
        chroot.as_deref().map(|reason| format!("; in a changed root: {reason}")).unwrap_or_default(),
        WAYS_OUT
    )]
    NoRung {
        /// Why not in namespaces, where that was asked.
        userns: Option<String>,
        /// Why not in a changed root, where that was asked.
        chroot: Option<String>,
    },
    /// An act of the setup failed.
    #[error("failed to {operation} `{operand}` for the step{}", hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    Setup {
        /// What was tried.
        operation: String,
        /// On what.
        operand: String,
        /// What the kernel said.
        source: io::Error,
        /// The way out, where we know one.
        hint: Option<String>,
    },
    /// The process that looks after the step ended without a word.
    #[error("the step's init ended without a report ({status}); was it killed, or is memory short?")]
    Lost {
        /// How it ended.
        status: String,
    },
    /// The step could not be put into its control group.
    #[error("the step's limits could not be set")]
    Group {
        /// Why.
        source: CgroupError,
    },
    /// Something around the step failed on the builder's side.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SandboxError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// A socket of an agent that could not be given to its owner.
    pub(super) fn agent(path: &Path, source: io::Error) -> Self {
        let hint = (source.raw_os_error() == Some(UNMAPPED)).then(|| NO_ID.to_owned());
        Self::Setup { operation: AGENT.to_owned(), operand: path.display().to_string(), source, hint }
    }

    /// An act that failed here or in the step's init, with the way out as far as the facts tell.
    pub(super) fn setup(operation: &str, operand: &str, source: io::Error, facts: &Facts) -> Self {
        let hint = match source.raw_os_error() {
            Some(errno) => hint(operation, errno, facts),
            None if operation == FIND_USER => Some("use a name that is in it, or a number".to_owned()),
            None => None,
        };
        Self::Setup { operation: operation.to_owned(), operand: operand.to_owned(), source, hint }
    }

    /// Tells whose fault this is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NoProgram
            | Self::Destination { .. }
            | Self::Inherit { .. }
            | Self::UnknownLimit { .. }
            | Self::LimitOrder { .. }
            | Self::HostName { .. } => Fault::Input,
            Self::Threads => Fault::Bug,
            Self::Lost { .. } | Self::NoRung { .. } | Self::Group { .. } => Fault::Machine,
            Self::Setup { operation, .. } if operation == EXECUTE || operation == ENTER_DIRECTORY => Fault::Input,
            Self::Setup { operation, .. } if operation == UNSHARE || operation == MAP_IDS => Fault::Machine,
            // What the step wants at a place does not go with what its trees have there.
            Self::Setup { operation, source, .. }
                if [MOUNT, MOUNT_FILE, MAKE_DIRECTORY, PREPARE].contains(&operation.as_str())
                    && matches!(
                        source.raw_os_error(),
                        Some(libc::ENOENT | libc::ENOTDIR | libc::EISDIR | libc::EEXIST | libc::ELOOP)
                    ) =>
            {
                Fault::Input
            }
            Self::Setup { operation, source, .. } if [FIND_USER, SECRET, AGENT].contains(&operation.as_str()) => {
                if source.raw_os_error() == Some(UNMAPPED) {
                    Fault::Machine
                } else {
                    Fault::Input
                }
            }
            // With the words of whoever tried it.
            Self::Setup { source, .. } | Self::Io { source, .. }
                if source.raw_os_error().is_none()
                    && matches!(
                        source.kind(),
                        io::ErrorKind::StorageFull
                            | io::ErrorKind::QuotaExceeded
                            | io::ErrorKind::PermissionDenied
                            | io::ErrorKind::ReadOnlyFilesystem
                            | io::ErrorKind::OutOfMemory
                    ) =>
            {
                Fault::Machine
            }
            Self::Setup { source, .. } | Self::Io { source, .. } => match source.raw_os_error() {
                Some(
                    libc::EPERM
                    | libc::EACCES
                    | libc::ENOSYS
                    | libc::ENODEV
                    | libc::ENOSPC
                    | libc::EDQUOT
                    | libc::EMFILE
                    | libc::ENFILE
                    | libc::ENOMEM
                    | libc::EAGAIN
                    | libc::EROFS
                    | libc::EIO,
                ) => Fault::Machine,
                _ => Fault::Bug,
            },
        }
    }
}

pub(super) const UNSHARE: &str = "leave the namespaces";
pub(super) const MAP_IDS: &str = "map the ids";
pub(super) const EXECUTE: &str = "execute";
pub(super) const ENTER_DIRECTORY: &str = "enter the directory";
pub(super) const MOUNT_PROC: &str = "mount proc at";
pub(super) const FIND_USER: &str = "become the user";
pub(super) const SECRET: &str = "show the secret at";
pub(super) const AGENT: &str = "show the agent at";
pub(super) const MOUNT: &str = "mount at";
pub(super) const MOUNT_FILE: &str = "mount a file at";
pub(super) const MAKE_DIRECTORY: &str = "make the working directory";
/// Fails where a mount of the step's own covers what every step has, such as `/proc`.
pub(super) const PREPARE: &str = "prepare";
pub(super) const SET_LIMIT: &str = "set the limit";

/// What helps where no step can run.
const WAYS_OUT: &str = "allow user namespaces to this user, or in a container run as root with its default capabilities, \
     or start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt \
     systempaths=unconfined`";

/// What the kernel says to an id that a user namespace does not have.
pub(super) const UNMAPPED: i32 = libc::EINVAL;

/// The way out where an id is not there.
const NO_ID: &str = "this build does not have its id: give the user that builds subordinate ids \
     (`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 <user>`) and newuidmap";

/// The way out of an errno at an operation, on a machine with these facts.
fn hint(operation: &str, errno: i32, facts: &Facts) -> Option<String> {
    let denied = matches!(errno, libc::EPERM | libc::EACCES);
    let no_namespace = operation == UNSHARE || operation == MAP_IDS;
    if no_namespace && (errno == libc::ENOSPC || facts.max_user_namespaces == Some(0)) {
        return Some(
            "user namespaces are used up or switched off: `sudo sysctl -w user.max_user_namespaces=15000`".to_owned(),
        );
    }
    if no_namespace && denied && facts.unprivileged_userns_clone == Some(false) && facts.uid != 0 {
        return Some(
            "the kernel keeps user namespaces from ordinary users: `sudo sysctl -w kernel.unprivileged_userns_clone=1`"
                .to_owned(),
        );
    }
    if denied && facts.apparmor_restricts == Some(true) && facts.uid != 0 {
        return Some(
            "AppArmor restricts user namespaces: `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, \
             or give the dockless binary a profile with `userns,`"
                .to_owned(),
        );
    }
    if operation == UNSHARE && (denied || errno == libc::ENOSYS) {
        return Some(
            "a container's seccomp filter forbids it: start the container with \
             `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`"
                .to_owned(),
        );
    }
    if operation == UNSHARE && errno == libc::EINVAL {
        return Some("the kernel is built without one of user, pid, net, ipc, uts or cgroup namespaces".to_owned());
    }
    if operation == MOUNT_PROC && denied {
        return Some(
            "the surrounding container masks parts of /proc: start it with `--security-opt systempaths=unconfined`"
                .to_owned(),
        );
    }
    if [FIND_USER, SECRET, AGENT].contains(&operation) && errno == UNMAPPED {
        return Some(NO_ID.to_owned());
    }
    if operation == SET_LIMIT && denied {
        return Some("the builder's own hard limit is lower (`ulimit -H -a`): raise that, or ask for less".to_owned());
    }
    match errno {
        libc::ENOSPC => Some("the disk is full".to_owned()),
        libc::ENOMEM => Some("memory is short".to_owned()),
        libc::ENOSYS => Some("the kernel is too old: Linux 5.11 or newer is needed".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{CgroupVersion, Facts};

    fn machine() -> Facts {
        Facts {
            kernel: "6.8.0".to_owned(),
            uid: 1000,
            gid: 1000,
            user: None,
            max_user_namespaces: Some(1000),
            unprivileged_userns_clone: None,
            apparmor_restricts: None,
            newuidmap: None,
            newgidmap: None,
            subuid: None,
            subgid: None,
            cgroups: CgroupVersion::V2,
            overlay_listed: true,
            seccomp_filtered: false,
        }
    }

    #[test]
    fn a_machine_without_user_namespaces_is_told_its_own_way_out() {
        let off = Facts { max_user_namespaces: Some(0), ..machine() };
        let debian = Facts { unprivileged_userns_clone: Some(false), ..machine() };
        let ubuntu = Facts { apparmor_restricts: Some(true), ..machine() };
        for (operation, errno, facts, word) in [
            (UNSHARE, libc::ENOSPC, &machine(), "user.max_user_namespaces=15000"),
            (UNSHARE, libc::EPERM, &off, "user.max_user_namespaces=15000"),
            (UNSHARE, libc::EPERM, &debian, "kernel.unprivileged_userns_clone=1"),
            (UNSHARE, libc::EPERM, &ubuntu, "kernel.apparmor_restrict_unprivileged_userns=0"),
            (MAP_IDS, libc::EPERM, &ubuntu, "kernel.apparmor_restrict_unprivileged_userns=0"),
            ("mount a tmpfs at", libc::EACCES, &ubuntu, "kernel.apparmor_restrict_unprivileged_userns=0"),
            (UNSHARE, libc::EPERM, &machine(), "seccomp=unconfined"),
            (MOUNT_PROC, libc::EPERM, &machine(), "systempaths=unconfined"),
        ] {
            let error = SandboxError::setup(operation, "x", io::Error::from_raw_os_error(errno), facts);
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(error.fault(), Fault::Machine, "{error}");
        }
    }

    #[test]
    fn an_agent_for_an_id_that_is_not_there_is_for_the_machine_to_mend() {
        let error = SandboxError::agent(Path::new("agent"), io::Error::from_raw_os_error(UNMAPPED));
        assert_eq!(error.fault(), Fault::Machine);
        assert!(error.to_string().contains("--add-subuids"), "{error}");
    }

    #[test]
    fn whose_fault_it_is_follows_from_what_failed() {
        let error = |operation, errno| {
            SandboxError::setup(operation, "x", io::Error::from_raw_os_error(errno), &machine()).fault()
        };
        assert_eq!(error(EXECUTE, libc::ENOENT), Fault::Input);
        assert_eq!(error(ENTER_DIRECTORY, libc::ENOENT), Fault::Input);
        assert_eq!(error(MOUNT, libc::ENOTDIR), Fault::Input);
        assert_eq!(error(MOUNT_FILE, libc::EISDIR), Fault::Input);
        assert_eq!(error(MAKE_DIRECTORY, libc::ENOTDIR), Fault::Input);
        assert_eq!(error("open", libc::ENOENT), Fault::Bug);
        assert_eq!(error("open", libc::ENOSPC), Fault::Machine);
        assert_eq!(SandboxError::Threads.fault(), Fault::Bug);
        assert_eq!(SandboxError::NoProgram.fault(), Fault::Input);
    }
}
