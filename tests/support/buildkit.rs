//! A real buildkitd on a socket of its own, one a test or shared by several.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::skip;

/// How a daemon is started.
#[derive(Default)]
pub(crate) struct Setting<'a> {
    /// Further arguments; without an address among them it listens on a socket.
    pub(crate) arguments: &'a [&'a str],
    /// Bytes of the disk it has for itself, for root alone.
    pub(crate) disk: Option<u64>,
}

/// A daemon; it ends with this value.
pub(crate) struct Buildkitd {
    place: TempDir,
    child: Child,
    address: String,
}

/// Returns the directory with `buildkitd` and `buildctl`; says aloud why there is none.
pub(crate) fn programs() -> Option<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(project.join("tests/buildkit/go.mod")).expect("the module is there");
    let pinned = text.lines().find_map(|line| line.trim().strip_prefix("github.com/moby/buildkit "));
    let version = pinned.and_then(|rest| rest.split(' ').next()).expect("the version is pinned");
    let directory = project.join("target/buildkit").join(version);
    if !directory.join("buildkitd").is_file() {
        // Some minutes of compiling are not what a test run should begin with unasked.
        skip("buildkit", "it is not built yet: scripts/buildkit builds it where Go is installed");
        return None;
    }
    Some(directory)
}

fn is_there(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Returns what a daemon of an ordinary user is started by: a namespace in which this user has the ids of `/etc/subuid`.
fn rootless(place: &Path) -> Option<Command> {
    let name = Command::new("id").arg("-un").output().expect("id").stdout;
    let name = String::from_utf8_lossy(&name).trim().to_owned();
    let has_range = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.starts_with(&format!("{name}:")))
    };
    if !(has_range("/etc/subuid") && has_range("/etc/subgid")) {
        // What it pulls belongs to many.
        skip("subids", "buildkitd has no other ids than this user's own: see subuid(5)");
        return None;
    }
    if !is_there("rootlesskit") {
        skip("rootlesskit", "buildkitd needs it where it is not root's: install rootlesskit");
        return None;
    }
    let mut command = Command::new("rootlesskit");
    command.arg("--net=host").arg(format!("--state-dir={}", place.join("rootlesskit").display()));
    // Where runc keeps what it knows of its containers.
    command.env("XDG_RUNTIME_DIR", place);
    Some(command)
}

impl Buildkitd {
    /// Starts one on a socket; `None`, said aloud, where this machine or user cannot.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&Setting::default())
    }

    /// Starts one that is set up so.
    pub(crate) fn with(setting: &Setting<'_>) -> Option<Self> {
        let Setting { arguments, disk } = setting;
        let programs = programs()?;
        if !is_there("runc") {
            skip("runc", "buildkitd needs it");
            return None;
        }
        let is_root = rustix::process::geteuid().is_root();
        let place = tempfile::Builder::new().prefix("buildkitd-").tempdir().expect("a temporary directory");
        let given = arguments.iter().position(|argument| *argument == "--addr").map(|at| arguments[at + 1].to_owned());
        let address = given.clone().unwrap_or_else(|| format!("unix://{}/buildkitd.sock", place.path().display()));
        let log = fs::File::create(place.path().join("log")).expect("a log");
        let (program, root) = (programs.join("buildkitd"), place.path().join("root"));
        fs::create_dir(&root).expect("a directory");
        let mut command = if is_root {
            Command::new(program)
        } else {
            let mut command = rootless(place.path())?;
            command.arg(program);
            command
        };
        if let Some(bytes) = disk {
            let size = std::ffi::CString::new(format!("size={bytes}")).expect("no NUL");
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", &root, "tmpfs", flags, size.as_c_str()).expect("root may mount");
        }
        command.arg("--root").arg(root).args(["--oci-worker=true", "--containerd-worker=false"]);
        // One of its own: that of the machine is not for tests.
        let configuration = place.path().join("buildkitd.toml");
        let otel = place.path().join("otel.sock");
        fs::write(&configuration, format!("[otel]\n  socketPath = '{}'\n", otel.display())).expect("a configuration");
        command.arg("--config").arg(&configuration).args(*arguments);
        if given.is_none() {
            command.args(["--addr", &address]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("buildkitd starts");
        let mut daemon = Self { place, child, address };
        for _ in 0..300 {
            if daemon.log().contains("running server on") {
                return Some(daemon);
            }
            if let Ok(Some(status)) = daemon.child.try_wait() {
                skip("buildkit", &format!("buildkitd ends at once, {status}: {}", daemon.log()));
                return None;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("buildkitd does not come up: {}", daemon.log());
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns what it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    /// Ends it at once, as a machine that fails.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Buildkitd {
    fn drop(&mut self) {
        self.kill();
        let root = self.place.path().join("root");
        // Overlays and namespaces of steps stay mounted where the daemon was killed.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for at in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
            if Path::new(at).starts_with(&root) {
                let _ = rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH);
            }
        }
        if !rustix::process::geteuid().is_root()
            && let Some(mut command) = rootless(self.place.path())
        {
            // Files of other ids are removed where those ids are.
            let _ = command.args(["rm", "-rf"]).arg(&root).stderr(Stdio::null()).status();
        }
        let _ = dockless::store::remove_tree(&root);
    }
}
