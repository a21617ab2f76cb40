//! A real buildkitd on a socket of its own, one a test or shared by several.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::skip;

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

fn runc() -> bool {
    Command::new("runc")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

impl Buildkitd {
    /// Starts one on a socket; `None`, said aloud, where this machine or user cannot.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// Starts one with further arguments; without an address among them it listens on a socket.
    pub(crate) fn with(arguments: &[&str]) -> Option<Self> {
        let programs = programs()?;
        if !runc() {
            skip("buildkit", "there is no runc on this machine");
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            skip("buildkit", "buildkitd needs root, or rootlesskit, which is not tried here");
            return None;
        }
        let place = tempfile::Builder::new().prefix("buildkitd-").tempdir().expect("a temporary directory");
        let given = arguments.iter().position(|argument| *argument == "--addr").map(|at| arguments[at + 1].to_owned());
        let address = given.clone().unwrap_or_else(|| format!("unix://{}/buildkitd.sock", place.path().display()));
        let log = fs::File::create(place.path().join("log")).expect("a log");
        let mut command = Command::new(programs.join("buildkitd"));
        command.arg("--root").arg(place.path().join("root")).args(["--oci-worker=true", "--containerd-worker=false"]);
        // Without a configuration: that of the machine is not for tests.
        let configuration = place.path().join("buildkitd.toml");
        fs::write(&configuration, "").expect("a configuration");
        command.arg("--config").arg(&configuration).args(arguments);
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
        let _ = dockless::store::remove_tree(&root);
    }
}
