//! An ordinary unprivileged container, as Docker starts one, with a tiny system of its own.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::skip;
use crate::filters::{CAPABILITIES, rules};

/// A root file system and a bundle around it; vanishes at the end.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) dir: tempfile::TempDir,
    /// User and group of what runs in it.
    pub(crate) user: (u32, u32),
    /// What root holds.
    pub(crate) capabilities: Vec<String>,
    /// Docker's filter of system calls is in force.
    pub(crate) filtered: bool,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Programs of busybox that tests use.
const PROGRAMS: [&str; 24] = [
    "sh", "cat", "cp", "mkdir", "sleep", "date", "id", "ls", "chmod", "chown", "touch", "find", "sort", "stat", "head",
    "wc", "ln", "rm", "mv", "test", "uname", "kill", "nc", "mknod",
];

/// Puts a static shell and its programs into the existing directory `root`; false, said aloud, where there is none.
pub(crate) fn furnish(root: &Path) -> bool {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).is_file());
    let Some(busybox) = busybox else {
        skip("busybox", "busybox-static is not on this machine");
        return false;
    };
    let linked = Command::new("ldd").arg(busybox).output().map(|output| [output.stdout, output.stderr].concat());
    let linked = String::from_utf8_lossy(&linked.unwrap_or_default()).into_owned();
    if !linked.contains("not a dynamic") && !linked.contains("statically linked") {
        skip("busybox", "it is not the static one: install busybox-static");
        return false;
    }
    for directory in ["bin", "tmp", "proc", "dev", "sys", "etc", "root", "usr", "lib64", "lib"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    fs::copy(busybox, root.join("bin/busybox")).expect("a copy");
    for program in PROGRAMS {
        symlink("busybox", root.join("bin").join(program)).expect("a link");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\njoe:x:777:1000::/:/bin/sh\n").expect("written");
    fs::write(root.join("etc/group"), "root:x:0:\njoe:x:1000:\n").expect("written");
    true
}

/// Puts our program and what it is linked with into `root`.
pub(crate) fn install(root: &Path) {
    let program = Path::new(env!("CARGO_BIN_EXE_dockless"));
    fs::copy(program, root.join("bin/dockless")).expect("a copy");
    let ldd = Command::new("ldd").arg(program).output().expect("ldd");
    for word in String::from_utf8_lossy(&ldd.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(word.trim_start_matches('/'));
        fs::create_dir_all(to.parent().expect("a directory")).expect("made");
        fs::copy(word, to).expect("a copy");
    }
}

impl Container {
    /// Makes one that can run `dockless`, with the root of steps at `/root/step`; `None`, said aloud, where it cannot be.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("root", "only root starts containers without user namespaces");
            return None;
        }
        if !Command::new("runc").arg("--version").output().is_ok_and(|output| output.status.success()) {
            skip("runc", "there is none");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("container-").tempdir().expect("a temporary directory");
        let root = dir.path().join("rootfs");
        fs::create_dir(&root).expect("made");
        let step = root.join("root/step");
        fs::create_dir_all(&step).expect("made");
        if !furnish(&root) || !furnish(&step) {
            return None;
        }
        install(&root);
        let capabilities = CAPABILITIES.map(str::to_owned).to_vec();
        Some(Self { dir, user: (0, 0), capabilities, filtered: true })
    }

    /// As `docker run` configures it (`moby oci/defaults.go`).
    fn config(&self, script: &str) -> Value {
        let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
        let kinds = ["pid", "network", "ipc", "uts", "mount"];
        let device = |access: &str, major: Option<u32>, minor: Option<u32>| {
            json!({ "allow": true, "type": "c", "major": major.unwrap_or_default(), "minor": minor.unwrap_or_default(),
                    "access": access })
        };
        let mut devices = vec![json!({ "allow": false, "access": "rwm" })];
        for kind in ["c", "b"] {
            devices.push(json!({ "allow": true, "type": kind, "access": "m" }));
        }
        let used = [(1, 5), (1, 3), (1, 9), (1, 8), (1, 7), (5, 0), (5, 1)];
        devices.extend(used.map(|(major, minor)| device("rwm", Some(major), Some(minor))));
        let held = if self.user.0 == 0 { self.capabilities.clone() } else { Vec::new() };
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": { "uid": self.user.0, "gid": self.user.1 },
                "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin", "HOME=/root", "DOCKLESS_PROGRESS=plain"],
                "cwd": "/",
                "capabilities": { "bounding": self.capabilities, "effective": held, "permitted": held },
            },
            "root": { "path": "rootfs", "readonly": false },
            "hostname": "container",
            "mounts": [
                mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
                mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
                mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
                mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
                mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
                mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"]),
            ],
            "linux": {
                "namespaces": kinds.map(|kind| json!({ "type": kind })),
                "resources": { "devices": devices },
                "maskedPaths": ["/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                    "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
                    "/sys/firmware", "/sys/devices/virtual/powercap"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            },
        });
        if self.filtered {
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": 1,
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                "syscalls": rules(),
            });
        }
        config
    }

    /// Runs a shell script in it with this standard input; `None`, said aloud, where no container can be started.
    pub(crate) fn run(&self, script: &str, input: &[u8]) -> Option<Output> {
        let config = serde_json::to_vec(&self.config(script)).expect("JSON");
        fs::write(self.dir.path().join("config.json"), config).expect("written");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("dockless-container-{}-{number}", std::process::id());
        let mut command = Command::new("runc");
        command
            .arg("--root")
            .arg(self.dir.path().join("state"))
            .args(["run", "--bundle"])
            .arg(self.dir.path())
            .arg(&id);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let _ = child.stdin.take().expect("piped").write_all(input);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        // Machines that are containers themselves may forbid what every runtime does first.
        if !output.status.success() && said.contains("runc") && output.stdout.is_empty() {
            skip("runc", &said);
            return None;
        }
        Some(output)
    }
}
