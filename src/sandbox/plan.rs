//! The setup of a step as a value: every act in its order, tested without a kernel.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{ENTER_DIRECTORY, EXECUTE, MOUNT_PROC, UNSHARE};
use super::step::{Mount, Network, Step, StepMount};
use crate::oci::Arch;

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
        /// Mount points that will be wanted.
        wanted: Vec<PathBuf>,
    },
    /// Mount a tree of the step.
    Mount {
        /// Where.
        destination: PathBuf,
        /// What.
        mount: Mount,
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
    /// Mount the `/proc` of the step's own PID namespace.
    Proc {
        /// Where.
        destination: PathBuf,
    },
    /// Cover a path with nothing, where it exists (`runtime-spec config-linux.md#masked-paths`).
    Mask {
        /// The path.
        path: PathBuf,
    },
    /// Make a path read-only, where it exists (`runtime-spec config-linux.md#readonly-paths`).
    Protect {
        /// The path.
        path: PathBuf,
    },
    /// Make the root mount read-only.
    SealRoot,
    /// Make the root the root, and let go of the machine's.
    Pivot,
    /// Leave the session and terminal of the builder.
    NewSession,
    /// Resource limits, umask 022, default signals, standard input from `/dev/null`.
    Settle,
    /// `uname -m` says i686.
    Personality32,
    /// Enter the working directory.
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// Only the capabilities that Docker gives by default, and no way to more.
    DropPrivileges,
    /// Become the program.
    Execute {
        /// Program and arguments.
        args: Vec<String>,
        /// The whole environment.
        env: Vec<String>,
    },
}

impl SetupOp {
    /// Tells whether the program does this itself, after process 1 has done its part.
    pub(super) fn is_programs(&self) -> bool {
        matches!(
            self,
            Self::NewSession
                | Self::Settle
                | Self::Personality32
                | Self::Directory { .. }
                | Self::DropPrivileges
                | Self::Execute { .. }
        )
    }

    /// What is tried and on what, for errors.
    pub(super) fn describe(&self) -> (&'static str, String) {
        let show = |path: &Path| path.display().to_string();
        match self {
            Self::Unshare { network: true } => (UNSHARE, "mount, ipc, uts, cgroup, network".to_owned()),
            Self::Unshare { network: false } => (UNSHARE, "mount, ipc, uts, cgroup".to_owned()),
            Self::MakePrivate => ("make the mounts private below", "/".to_owned()),
            Self::Open { source } => ("open", show(source)),
            Self::HostName { name } => ("set the host name", name.clone()),
            Self::LoopbackUp => ("bring up the network device", "lo".to_owned()),
            Self::Root { mount, .. } => ("mount the root", mount.describe()),
            Self::Mount { destination, mount } => ("mount at", format!("{} ({})", show(destination), mount.describe())),
            Self::Memory { destination, .. } => ("mount a tmpfs at", show(destination)),
            Self::Device { path } => ("show the device", show(path)),
            Self::Link { path, .. } => ("make the link", show(path)),
            Self::Terminals { destination } => ("mount devpts at", show(destination)),
            Self::Proc { destination } => (MOUNT_PROC, show(destination)),
            Self::Mask { path } => ("mask", show(path)),
            Self::Protect { path } => ("make read-only", show(path)),
            Self::SealRoot => ("make read-only", "/".to_owned()),
            Self::Pivot => ("change the root to", "/".to_owned()),
            Self::NewSession => ("start a session", "setsid".to_owned()),
            Self::Settle => ("set limits and signals", "rlimits".to_owned()),
            Self::Personality32 => ("set the personality", "PER_LINUX32".to_owned()),
            Self::Directory { path } => (ENTER_DIRECTORY, show(path)),
            Self::DropPrivileges => ("drop", "capabilities".to_owned()),
            Self::Execute { args, .. } => (EXECUTE, args.first().cloned().unwrap_or_default()),
        }
    }
}

impl Mount {
    fn describe(&self) -> String {
        match self {
            Self::Bind { source, .. } => source.display().to_string(),
            Self::Overlay { lower, upper, .. } => format!("overlay of {} under {}", lower.len(), upper.display()),
            Self::Layers { lower } => format!("overlay of {}", lower.len()),
            Self::Tmpfs { .. } => "tmpfs".to_owned(),
        }
    }

    fn sources(&self) -> Vec<&PathBuf> {
        match self {
            Self::Bind { source, .. } => vec![source],
            Self::Overlay { lower, upper, work } => lower.iter().chain([upper, work]).collect(),
            Self::Layers { lower } => lower.iter().collect(),
            Self::Tmpfs { .. } => Vec::new(),
        }
    }

    /// Tells whether mount points made in it outlive the step.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Overlay { .. } | Self::Bind { readonly: false, .. })
    }
}

const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
];

const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];

const PROTECTED: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Names of servers are the machine's where the network is.
const RESOLVER: &str = "/etc/resolv.conf";

/// Plans the setup of `step`: equal steps give equal plans.
pub fn plan(step: &Step) -> Vec<SetupOp> {
    let network = step.network == Network::None;
    let mounts = mounts(step);
    let mut ops = vec![SetupOp::Unshare { network }, SetupOp::MakePrivate];
    ops.extend(sources(step, &mounts).into_iter().map(|source| SetupOp::Open { source }));
    ops.push(SetupOp::HostName { name: step.hostname.clone() });
    if network {
        ops.push(SetupOp::LoopbackUp);
    }
    let throwaway = !step.root.is_kept() && !matches!(step.root, Mount::Tmpfs { .. });
    ops.push(SetupOp::Root {
        mount: step.root.clone(),
        throwaway,
        replaceable: throwaway && step.root_readonly,
        wanted: mounts.iter().filter_map(|op| op.destination().map(Path::to_owned)).collect(),
    });
    ops.extend(mounts);
    if step.root_readonly {
        ops.push(SetupOp::SealRoot);
    }
    ops.extend([SetupOp::Pivot, SetupOp::NewSession, SetupOp::Settle]);
    if step.arch == Arch::X86 {
        ops.push(SetupOp::Personality32);
    }
    ops.push(SetupOp::Directory { path: step.cwd.clone() });
    ops.push(SetupOp::DropPrivileges);
    ops.push(SetupOp::Execute { args: step.args.clone(), env: step.env.clone() });
    ops
}

impl SetupOp {
    fn destination(&self) -> Option<&Path> {
        match self {
            Self::Mount { destination, .. }
            | Self::Memory { destination, .. }
            | Self::Terminals { destination }
            | Self::Proc { destination } => Some(destination),
            _ => None,
        }
    }
}

/// Everything that is mounted below the root, outer before inner; what the step mounts itself replaces ours.
fn mounts(step: &Step) -> Vec<SetupOp> {
    let memory = |destination: &str, size, mode, no_exec| SetupOp::Memory {
        destination: destination.into(),
        size,
        mode,
        no_exec,
    };
    let mut ours = vec![
        memory("/dev", Some(64 << 10), 0o755, true),
        memory("/dev/shm", None, 0o1777, false),
        SetupOp::Terminals { destination: "/dev/pts".into() },
        SetupOp::Proc { destination: "/proc".into() },
        memory("/tmp", None, 0o1777, false),
    ];
    if step.network == Network::Host {
        let mount = Mount::Bind { source: RESOLVER.into(), readonly: true };
        ours.push(SetupOp::Mount { destination: RESOLVER.into(), mount });
    }
    ours.retain(|op| !step.mounts.iter().any(|mount| Some(mount.destination.as_path()) == op.destination()));
    let theirs = step.mounts.iter().map(|StepMount { destination, mount }| SetupOp::Mount {
        destination: destination.components().collect(),
        mount: mount.clone(),
    });
    let mut all: Vec<SetupOp> = ours.into_iter().chain(theirs).collect();
    // Stable: of two mounts at one place the later one given is on top.
    all.sort_by(|a, b| a.destination().cmp(&b.destination()));
    let mut ops = Vec::new();
    for op in all {
        let place = op.destination().map(Path::to_owned);
        let is_ours = !matches!(op, SetupOp::Mount { .. });
        ops.push(op);
        match place.as_deref().and_then(Path::to_str) {
            Some("/dev") if is_ours => ops.extend(devices()),
            Some("/proc") if is_ours => {
                ops.extend(MASKED.map(|path| SetupOp::Mask { path: path.into() }));
                ops.extend(PROTECTED.map(|path| SetupOp::Protect { path: path.into() }));
            }
            _ => {}
        }
    }
    ops
}

fn devices() -> impl Iterator<Item = SetupOp> {
    let devices = DEVICES.iter().map(|name| SetupOp::Device { path: Path::new("/dev").join(name) });
    devices.chain(LINKS.iter().map(|(path, target)| SetupOp::Link { path: path.into(), target: target.into() }))
}

fn sources(step: &Step, mounts: &[SetupOp]) -> BTreeSet<PathBuf> {
    let mut sources: BTreeSet<PathBuf> = step.root.sources().into_iter().cloned().collect();
    // Masks cover files with it.
    sources.insert("/dev/null".into());
    for op in mounts {
        match op {
            SetupOp::Mount { mount, .. } => sources.extend(mount.sources().into_iter().cloned()),
            SetupOp::Device { path } => {
                sources.insert(path.clone());
            }
            _ => {}
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Step {
        Step {
            root: Mount::Bind { source: "/r".into(), readonly: true },
            root_readonly: true,
            mounts: vec![
                StepMount { destination: "/out/x".into(), mount: Mount::Tmpfs { size: None } },
                StepMount { destination: "/out".into(), mount: Mount::Bind { source: "/o".into(), readonly: false } },
            ],
            args: vec!["/bin/true".to_owned()],
            env: vec!["A=1".to_owned()],
            cwd: "/out".into(),
            hostname: "dockless".to_owned(),
            network: Network::None,
            arch: Arch::X86_64,
            timeout: None,
            inherit: Vec::new(),
        }
    }

    fn places(ops: &[SetupOp]) -> Vec<String> {
        ops.iter().filter_map(|op| op.destination().map(|path| path.display().to_string())).collect()
    }

    #[test]
    fn outer_mounts_come_before_inner_ones() {
        assert_eq!(places(&plan(&step())), ["/dev", "/dev/pts", "/dev/shm", "/out", "/out/x", "/proc", "/tmp"]);
    }

    #[test]
    fn everything_of_the_machine_is_opened_before_the_root_is_mounted_and_nothing_after() {
        let ops = plan(&step());
        let root = ops.iter().position(|op| matches!(op, SetupOp::Root { .. })).expect("a root");
        let opens: Vec<usize> =
            ops.iter().enumerate().filter(|(_, op)| matches!(op, SetupOp::Open { .. })).map(|(at, _)| at).collect();
        assert!(opens.len() >= 8 && opens.iter().all(|at| *at < root), "{opens:?} {root}");
        for source in ["/r", "/o", "/dev/null"] {
            assert!(ops.contains(&SetupOp::Open { source: source.into() }), "{source}");
        }
    }

    #[test]
    fn the_program_starts_sealed_pivoted_and_without_privileges() {
        let ops = plan(&step());
        let at = |wanted: &SetupOp| ops.iter().position(|op| op == wanted).expect("planned");
        assert!(at(&SetupOp::SealRoot) < at(&SetupOp::Pivot));
        assert!(at(&SetupOp::Pivot) < at(&SetupOp::DropPrivileges));
        assert!(matches!(ops.last(), Some(SetupOp::Execute { .. })));
        assert!(ops[at(&SetupOp::Pivot) + 1..].iter().all(SetupOp::is_programs));
        assert!(!ops[..=at(&SetupOp::Pivot)].iter().any(SetupOp::is_programs));
    }

    #[test]
    fn only_the_asked_for_doors_are_open() {
        let closed = plan(&step());
        assert!(closed.contains(&SetupOp::Unshare { network: true }) && closed.contains(&SetupOp::LoopbackUp));
        assert!(!places(&closed).iter().any(|place| place == RESOLVER));
        assert!(!closed.contains(&SetupOp::Personality32));
        let open = plan(&Step { network: Network::Host, arch: Arch::X86, ..step() });
        assert!(open.contains(&SetupOp::Unshare { network: false }) && !open.contains(&SetupOp::LoopbackUp));
        assert!(places(&open).iter().any(|place| place == RESOLVER));
        assert!(open.contains(&SetupOp::Personality32));
    }

    #[test]
    fn a_writable_root_is_not_covered_and_a_mount_at_our_place_replaces_ours() {
        let mounts = vec![StepMount { destination: "/tmp/".into(), mount: Mount::Tmpfs { size: Some(1) } }];
        let root = Mount::Bind { source: "/r".into(), readonly: false };
        let ops = plan(&Step { root, root_readonly: false, mounts, ..step() });
        assert!(ops.iter().any(|op| matches!(op, SetupOp::Root { throwaway: false, .. })));
        assert!(!ops.contains(&SetupOp::SealRoot));
        assert_eq!(places(&ops).iter().filter(|place| *place == "/tmp").count(), 1);
    }
}
