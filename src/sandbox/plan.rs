//! The setup of a step as a value: every act in its order, tested without a kernel.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::mount::Mount;
use super::op::{Content, SetupOp};
use super::step::{Network, Security, Step};
use crate::oci::Arch;

const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// What an insecure step has beside them, where the machine has it.
const INSECURE_DEVICES: [&str; 6] = ["cuse", "fuse", "kmsg", "kvm", "loop-control", "net/tun"];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
];

const MASKED: [&str; 12] = [
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
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What every processor tells of its heat, and so of others' work (`moby daemon/pkg/oci/defaults.go`).
const MASKED_EACH: [(&str, &str); 1] = [("/sys/devices/system/cpu", "thermal_throttle")];

const PROTECTED: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Names of servers are the machine's where the network is.
const RESOLVER: &str = "/etc/resolv.conf";

const HOSTS: &str = "/etc/hosts";

/// Files that a step may find covered by ones of the sandbox's own.
pub const GENERATED: [&str; 2] = [HOSTS, RESOLVER];

/// BuildKit's names for a step that has none (`executor/oci/hosts.go`, `solver/llbsolver/ops/exec.go`).
const HOST_NAME: &str = "buildkitsandbox";

/// Where programs are searched when the environment has no `PATH`.
pub(super) const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of `/dev` and of `/dev/shm` (`runtime-spec` defaults of containerd).
const DEV_SIZE: u64 = 64 << 10;
const SHM_SIZE: u64 = 64 << 20;

/// Plans the setup of `step`: equal steps give equal plans.
pub fn plan(step: &Step) -> Vec<SetupOp> {
    let network = step.network == Network::None;
    let mounts = mounts(step);
    let mut ops = vec![SetupOp::Unshare { network }, SetupOp::MakePrivate];
    ops.extend(sources(step, &mounts));
    ops.push(SetupOp::HostName { name: host_name(step).to_owned() });
    if network {
        ops.push(SetupOp::LoopbackUp);
    }
    let throwaway = !step.root.is_kept() && !matches!(step.root, Mount::Tmpfs { .. });
    let mut wanted: Vec<PathBuf> = mounts.iter().filter_map(|op| op.destination().map(Path::to_owned)).collect();
    wanted.extend((!step.bare).then(|| step.cwd.clone()));
    ops.push(SetupOp::Root {
        mount: step.root.clone(),
        throwaway,
        replaceable: throwaway && step.root_readonly,
        no_suid: step.no_new_privileges,
        wanted,
    });
    ops.extend(mounts);
    if !step.bare || !step.user.is_empty() {
        ops.push(SetupOp::User { user: step.user.clone() });
    }
    if !step.bare {
        ops.push(SetupOp::MakeDirectory { path: step.cwd.clone() });
    }
    if step.root_readonly {
        ops.push(SetupOp::SealRoot);
    }
    ops.extend([SetupOp::Pivot, SetupOp::NewSession, SetupOp::Settle]);
    if step.arch == Arch::X86 {
        ops.push(SetupOp::Personality32);
    }
    ops.push(SetupOp::Directory { path: step.cwd.clone() });
    if step.security == Security::Sandbox {
        // While the process may do it without giving up set-uid programs; what follows asks for nothing forbidden.
        ops.push(SetupOp::Filter);
    }
    ops.push(SetupOp::DropPrivileges { security: step.security, no_new_privileges: step.no_new_privileges });
    ops.extend(step.ulimits.iter().map(|limit| SetupOp::Limit { limit: limit.clone() }));
    let mut env = step.env.clone();
    if !step.bare && !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.push(format!("PATH={SEARCH}"));
    }
    ops.push(SetupOp::Execute { args: step.args.clone(), env, home: !step.bare });
    ops
}

fn host_name(step: &Step) -> &str {
    if step.hostname.is_empty() { HOST_NAME } else { &step.hostname }
}

/// What the sandbox mounts by itself.
fn ours(step: &Step) -> Vec<SetupOp> {
    let memory = |destination: &str, size, mode, no_exec| SetupOp::Memory {
        destination: destination.into(),
        size,
        mode,
        no_exec,
    };
    let shm = if step.bare { None } else { Some(SHM_SIZE) };
    let mut ours = vec![
        memory("/dev", Some(DEV_SIZE), 0o755, true),
        memory("/dev/shm", shm, 0o1777, !step.bare),
        SetupOp::Terminals { destination: "/dev/pts".into() },
        SetupOp::Proc { destination: "/proc".into() },
    ];
    let file = |path: &str, content| SetupOp::File { destination: path.into(), content };
    if step.network == Network::Host {
        ours.push(file(RESOLVER, Content::Of(RESOLVER.into())));
    } else if !step.bare {
        ours.push(file(RESOLVER, Content::Text(String::new())));
    }
    if !step.bare {
        ours.push(file(HOSTS, Content::Text(hosts(step))));
        ours.push(SetupOp::Queues { destination: "/dev/mqueue".into() });
        let writable = step.security == Security::Insecure;
        ours.push(SetupOp::Sys { destination: "/sys".into(), fresh: step.network == Network::None, writable });
    }
    ours
}

/// As `executor/oci/hosts.go` of BuildKit writes it.
fn hosts(step: &Step) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", host_name(step));
    for (host, address) in &step.hosts {
        let _ = writeln!(text, "{address}\t{host}");
    }
    text
}

/// Everything that is mounted below the root, outer before inner; what the step mounts itself replaces ours.
fn mounts(step: &Step) -> Vec<SetupOp> {
    let theirs: Vec<SetupOp> = step
        .mounts
        .iter()
        .map(|mount| SetupOp::Mount {
            destination: mount.destination.components().collect(),
            mount: mount.mount.clone(),
            selector: mount.selector.clone(),
            readonly: mount.readonly || mount.mount.is_readonly(),
            no_suid: step.no_new_privileges,
        })
        .collect();
    let mut all = ours(step);
    all.retain(|ours| {
        let covers = |place: &Path| ours.destination().is_some_and(|destination| destination.starts_with(place));
        !theirs.iter().filter_map(SetupOp::destination).any(covers)
    });
    all.extend(theirs);
    // Stable: of two mounts at one place the later one given is on top.
    all.sort_by(|a, b| a.destination().cmp(&b.destination()));
    let mut ops = Vec::new();
    for op in all {
        let inside = match (&op, op.destination().and_then(Path::to_str)) {
            (SetupOp::Memory { .. }, Some("/dev")) => devices(step),
            (SetupOp::Proc { .. } | SetupOp::Sys { .. }, Some(place)) if step.security == Security::Sandbox => {
                covers(Path::new(place))
            }
            _ => Vec::new(),
        };
        ops.push(op);
        ops.extend(inside);
    }
    ops
}

/// What is masked and protected in a system's own file system.
fn covers(place: &Path) -> Vec<SetupOp> {
    let below = |paths: &[&str]| -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).filter(|path| path.starts_with(place)).collect()
    };
    let masks = below(&MASKED).into_iter().map(|path| SetupOp::Mask { path });
    let each = MASKED_EACH.iter().filter(|(directory, _)| Path::new(directory).starts_with(place));
    let each =
        each.map(|(directory, name)| SetupOp::MaskEach { directory: directory.into(), name: (*name).to_owned() });
    let except = || [below(&MASKED), below(&PROTECTED)].concat();
    let owned =
        (place == Path::new("/proc")).then(|| SetupOp::ProtectOwned { directory: place.to_owned(), except: except() });
    owned
        .into_iter()
        .chain(masks)
        .chain(each)
        .chain(below(&PROTECTED).into_iter().map(|path| SetupOp::Protect { path }))
        .collect()
}

fn devices(step: &Step) -> Vec<SetupOp> {
    let more: &[&str] = if step.security == Security::Insecure { &INSECURE_DEVICES } else { &[] };
    let device = |name: &&str| SetupOp::Device { path: Path::new("/dev").join(name) };
    let link = |(path, target): &(&str, &str)| SetupOp::Link { path: path.into(), target: target.into() };
    DEVICES.iter().chain(more).map(device).chain(LINKS.iter().map(link)).collect()
}

/// Everything of the machine that is opened or read.
fn sources(step: &Step, mounts: &[SetupOp]) -> Vec<SetupOp> {
    let mut sources: BTreeMap<PathBuf, bool> =
        step.root.sources().into_iter().map(|path| (path.into(), false)).collect();
    // Masks cover files with it.
    sources.insert("/dev/null".into(), false);
    let mut texts = Vec::new();
    for op in mounts {
        match op {
            SetupOp::Mount { mount, .. } => {
                sources.extend(mount.sources().into_iter().map(|path| (path.to_owned(), false)));
            }
            SetupOp::Device { path } => {
                let name = path.strip_prefix("/dev").ok().and_then(Path::to_str).unwrap_or_default();
                sources.entry(path.clone()).or_insert(INSECURE_DEVICES.contains(&name));
            }
            SetupOp::Sys { fresh: false, .. } => {
                sources.entry("/sys".into()).or_insert(true);
            }
            SetupOp::File { content: Content::Of(path), .. } => texts.push(SetupOp::Read { source: path.clone() }),
            _ => {}
        }
    }
    let opens = sources.into_iter().map(|(source, optional)| SetupOp::Open { source, optional });
    opens.chain(texts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::StepMount;
    use crate::sandbox::step::Ulimit;

    fn step() -> Step {
        let root = Mount::Bind { source: "/r".into(), readonly: true };
        Step {
            mounts: vec![
                StepMount::new("/out/x", Mount::Tmpfs { size: None }),
                StepMount::new("/out", Mount::Bind { source: "/o".into(), readonly: false }),
            ],
            env: vec!["A=1".to_owned()],
            cwd: "/out".into(),
            ..Step::bare(root, vec!["/bin/true".to_owned()])
        }
    }

    fn foreign() -> Step {
        let root = Mount::Bind { source: "/r".into(), readonly: false };
        Step { network: Network::None, ..Step::new(root, vec!["true".to_owned()]) }
    }

    fn places(ops: &[SetupOp]) -> Vec<String> {
        ops.iter().filter_map(|op| op.destination().map(|path| path.display().to_string())).collect()
    }

    #[test]
    fn outer_mounts_come_before_inner_ones() {
        assert_eq!(places(&plan(&step())), ["/dev", "/dev/pts", "/dev/shm", "/out", "/out/x", "/proc"]);
    }

    #[test]
    fn everything_of_the_machine_is_opened_before_the_root_is_mounted_and_nothing_after() {
        let ops = plan(&step());
        let root = ops.iter().position(|op| matches!(op, SetupOp::Root { .. })).expect("a root");
        let opens: Vec<usize> =
            ops.iter().enumerate().filter(|(_, op)| matches!(op, SetupOp::Open { .. })).map(|(at, _)| at).collect();
        assert!(opens.len() >= 8 && opens.iter().all(|at| *at < root), "{opens:?} {root}");
        for source in ["/r", "/o", "/dev/null"] {
            assert!(ops.contains(&SetupOp::Open { source: source.into(), optional: false }), "{source}");
        }
    }

    #[test]
    fn the_program_starts_sealed_pivoted_and_without_privileges() {
        let ops = plan(&step());
        let at = |wanted: &SetupOp| ops.iter().position(|op| op == wanted).expect("planned");
        assert!(at(&SetupOp::SealRoot) < at(&SetupOp::Pivot));
        let drop = SetupOp::DropPrivileges { security: Security::Sandbox, no_new_privileges: true };
        assert!(at(&SetupOp::Pivot) < at(&drop));
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
        let mounts = vec![StepMount::new("/dev/shm/", Mount::Tmpfs { size: Some(1) })];
        let root = Mount::Bind { source: "/r".into(), readonly: false };
        let ops = plan(&Step { root, root_readonly: false, mounts, ..step() });
        assert!(ops.iter().any(|op| matches!(op, SetupOp::Root { throwaway: false, .. })));
        assert!(!ops.contains(&SetupOp::SealRoot));
        assert_eq!(places(&ops).iter().filter(|place| *place == "/dev/shm").count(), 1);
    }
    #[test]
    fn a_foreign_step_finds_what_buildkit_gives() {
        let ops = plan(&Step { hosts: vec![("db".to_owned(), [10, 1, 2, 3].into())], ..foreign() });
        let wanted = ["/dev", "/dev/mqueue", "/dev/pts", "/dev/shm", "/etc/hosts", "/etc/resolv.conf", "/proc", "/sys"];
        assert_eq!(places(&ops), wanted);
        let hosts = "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3\tdb\n";
        assert!(ops.contains(&SetupOp::File { destination: HOSTS.into(), content: Content::Text(hosts.to_owned()) }));
        assert!(ops.contains(&SetupOp::Mask { path: "/sys/firmware".into() }));
        assert!(ops.iter().any(|op| matches!(op, SetupOp::MaskEach { name, .. } if name == "thermal_throttle")));
        let owned = ops.iter().find_map(|op| match op {
            SetupOp::ProtectOwned { directory, except } if directory == Path::new("/proc") => Some(except),
            _ => None,
        });
        assert!(
            owned.is_some_and(|except| except.contains(&"/proc/sys".into()) && !except.contains(&"/proc/stat".into()))
        );
        assert!(ops.contains(&SetupOp::MakeDirectory { path: "/".into() }));
        let Some(SetupOp::Execute { env, home: true, .. }) = ops.last() else { panic!("no program") };
        assert_eq!(env, &[format!("PATH={SEARCH}")]);
    }

    #[test]
    fn an_insecure_step_has_nothing_masked() {
        let ops = plan(&Step { security: Security::Insecure, ..foreign() });
        assert!(
            !ops.iter()
                .any(|op| matches!(op, SetupOp::Mask { .. } | SetupOp::Protect { .. } | SetupOp::ProtectOwned { .. }))
        );
        assert!(ops.contains(&SetupOp::Sys { destination: "/sys".into(), fresh: true, writable: true }));
        assert!(ops.contains(&SetupOp::Open { source: "/dev/fuse".into(), optional: true }));
    }

    #[test]
    fn what_the_step_mounts_hides_what_we_would_mount_below() {
        let etc = StepMount::new("/etc", Mount::Bind { source: "/e".into(), readonly: true });
        let ops = plan(&Step { mounts: vec![etc], ..foreign() });
        assert_eq!(places(&ops).iter().filter(|place| place.starts_with("/etc")).count(), 1);
    }

    #[test]
    fn limits_come_last_so_that_they_hit_the_program_only() {
        let limit = Ulimit { name: "nofile".to_owned(), soft: 1, hard: Some(1) };
        let ops = plan(&Step { ulimits: vec![limit.clone()], ..foreign() });
        assert_eq!(ops[ops.len() - 2], SetupOp::Limit { limit });
    }
}
