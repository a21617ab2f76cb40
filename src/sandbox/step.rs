//! What a step is: values only.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::SandboxError;
use super::mount::{Mount, StepMount};
use crate::cgroup::Group;
use crate::oci::Arch;
use crate::sys;

/// What a step can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Its own loopback device only.
    None,
    /// Everything the builder can reach.
    Host,
}

/// What a step may do (`ops.proto SecurityMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// The capabilities that Docker gives by default; parts of `/proc` and `/sys` are masked or read-only.
    Sandbox,
    /// All capabilities of its user namespace, which are those of the builder's user and no more; nothing is masked.
    Insecure,
}

/// A resource limit of a step (`ops.proto Ulimit`, `getrlimit(2)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// As in `RLIMIT_<NAME>`, in any case.
    pub name: String,
    /// The limit in force; `u64::MAX` is none.
    pub soft: u64,
    /// Up to where the program may raise it; without, as far as the builder itself may, and `soft` gives way to that.
    pub hard: Option<u64>,
}

/// One run of one program in its own namespaces.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one switch a question that a graph answers")]
pub struct Step {
    /// The tree at `/`.
    pub root: Mount,
    /// The program cannot write to `/` (mounts keep their own word).
    pub root_readonly: bool,
    /// Further trees; they may lie in one another in any order. What lies at or below one of them is theirs, also
    /// where the sandbox would have mounted something itself.
    pub mounts: Vec<StepMount>,
    /// The program (searched in `PATH` of `env` where it has no slash) and its arguments.
    pub args: Vec<String>,
    /// The environment, `NAME=value`.
    pub env: Vec<String>,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// `name|uid[:group|gid]`, looked up in the root's own `/etc/passwd` and `/etc/group`; empty is root.
    pub user: String,
    /// The host name; empty is `buildkitsandbox`.
    pub hostname: String,
    /// Further lines of `/etc/hosts`.
    pub hosts: Vec<(String, IpAddr)>,
    /// The network.
    pub network: Network,
    /// What it may do.
    pub security: Security,
    /// Set-uid programs give nothing.
    pub no_new_privileges: bool,
    /// Resource limits; those not named are the builder's own.
    pub ulimits: Vec<Ulimit>,
    /// Of what was made for mount points only, remove the parents as well (`ops.proto Meta.removeMountStubsRecursive`).
    pub remove_stubs: bool,
    /// Nothing is added to what the step names, except `/proc` and a minimal `/dev`: no variable, no `/sys`, no files in
    /// `/etc` but the resolver of [`Network::Host`], no working directory; and no mount point at all stays.
    pub bare: bool,
    /// `X86` makes `uname -m` say `i686`.
    pub arch: Arch,
    /// How long the program may run.
    pub timeout: Option<Duration>,
    /// The control group it is to run in, with its limits; without, that of the builder.
    pub group: Option<Group>,
    /// Descriptors that the program finds under these numbers (3 to 999), such as a jobserver's.
    pub inherit: Vec<(i32, OwnedFd)>,
}

/// Numbers that [`Step::inherit`] may use.
pub(super) const INHERITABLE: std::ops::Range<i32> = 3..1000;

impl Step {
    /// A step as BuildKit runs it where its `ExecOp` names nothing but these.
    pub fn new(root: Mount, args: Vec<String>) -> Self {
        Self {
            root,
            root_readonly: false,
            mounts: Vec::new(),
            args,
            env: Vec::new(),
            cwd: "/".into(),
            user: String::new(),
            hostname: String::new(),
            hosts: Vec::new(),
            network: Network::Host,
            security: Security::Sandbox,
            no_new_privileges: false,
            ulimits: Vec::new(),
            remove_stubs: true,
            bare: false,
            arch: Arch::X86_64,
            timeout: None,
            group: None,
            inherit: Vec::new(),
        }
    }

    /// A step of our own recipes: bare, read-only, without network and new privileges, without core files, and with
    /// as many descriptors as programs know that close all of them one by one.
    pub fn bare(root: Mount, args: Vec<String>) -> Self {
        let limit = |name: &str, soft, hard| Ulimit { name: name.to_owned(), soft, hard };
        Self {
            root_readonly: true,
            network: Network::None,
            no_new_privileges: true,
            ulimits: vec![limit("core", 0, Some(0)), limit("nofile", 1024, None)],
            bare: true,
            ..Self::new(root, args)
        }
    }

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
        for Ulimit { name, soft, hard } in &self.ulimits {
            if !sys::is_limit(name) {
                return Err(SandboxError::UnknownLimit { name: name.clone() });
            }
            if let Some(hard) = hard.filter(|hard| hard < soft) {
                return Err(SandboxError::LimitOrder { name: name.clone(), soft: *soft, hard });
            }
        }
        let name = |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
        if let Some((host, _)) = self.hosts.iter().find(|(host, _)| !name(host)) {
            return Err(SandboxError::HostName { name: host.clone() });
        }
        if !self.hostname.is_empty() && (!name(&self.hostname) || self.hostname.len() > 64) {
            return Err(SandboxError::HostName { name: self.hostname.clone() });
        }
        let mut numbers = BTreeSet::new();
        match self.inherit.iter().find(|(number, _)| !INHERITABLE.contains(number) || !numbers.insert(*number)) {
            Some((number, _)) => Err(SandboxError::Inherit { number: *number }),
            None => Ok(()),
        }
    }
}
