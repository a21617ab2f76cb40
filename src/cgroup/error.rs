//! Why a limit cannot be set, and the way out.

use std::io;
use std::path::{Path, PathBuf};

use super::place::Controller;

/// Why a controller is not ours to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// No tree of control groups that the builder is in has it.
    Absent,
    /// It is one of version 1, which are root's.
    Legacy,
    /// Our group may not be written to.
    Denied,
    /// Our group is ours, and has not got this controller.
    Withheld,
    /// Other processes are in our group (`cgroup-v2.rst`, no internal process constraint).
    Crowded,
}

/// Control groups cannot do what they are to do.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A limit was asked for that this machine does not let us set.
    #[error("no step can be given a limit of {controller} here: {}", words(*lack))]
    Missing {
        /// What would do it.
        controller: Controller,
        /// What stands in the way.
        lack: Lack,
    },
    /// A file of a group could not be used.
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

const fn words(lack: Lack) -> &'static str {
    match lack {
        Lack::Absent => "the kernel or the container shows no such controller",
        Lack::Legacy => "control groups of version 1 are not for ordinary users",
        Lack::Denied => "the control group of this process is not delegated to its user",
        Lack::Withheld => "the control group of this process was delegated without that controller",
        Lack::Crowded => "other processes are in the control group of this process",
    }
}

impl CgroupError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Returns the way out.
    pub fn help(&self) -> Option<&'static str> {
        let Self::Missing { lack, .. } = self else { return None };
        Some(match lack {
            Lack::Absent => "run on a machine with control groups of version 2, or leave the limit out",
            Lack::Legacy => "boot with `systemd.unified_cgroup_hierarchy=1`, build as root, or leave the limit out",
            Lack::Withheld => {
                "as root: write `[Service]` and `Delegate=cpu cpuset io memory pids` to \
                /etc/systemd/system/user@.service.d/delegate.conf, then `systemctl daemon-reload` and log in anew; \
                or leave the limit out"
            }
            Lack::Denied | Lack::Crowded => {
                "start it in a group of its own: \
                `systemd-run --user --scope -p Delegate=yes dockless …` (root: without --user); or leave the limit out"
            }
        })
    }
}
