//! A root to run steps in without building one: an empty directory that shows the machine's own programs.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dockless::sandbox::{Cancel, Exit, Launcher, Mount, Outcome, SandboxError, Step, StepMount};
use tempfile::TempDir;

use super::skip;

/// The program whose `main` knows the lives.
pub(crate) fn launcher() -> Launcher {
    Launcher::at(Path::new(env!("CARGO_BIN_EXE_dockless")))
}

/// A step in the making, its scratch directory, and what it printed.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) dir: TempDir,
    pub(crate) step: Step,
    pub(crate) launcher: Launcher,
}

impl Cell {
    /// A step that runs `script` with the machine's shell; `None`, said aloud, where no step can run.
    pub(crate) fn new(script: &str) -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("cell-").tempdir().expect("a temporary directory");
        let trials = launcher().probe(dir.path()).expect("the probe runs").trials;
        if !trials.can_run() {
            skip("userns", &format!("{trials:?}"));
            return None;
        }
        let root = dir.path().join("root");
        fs::create_dir(&root).expect("made");
        let mut mounts = Vec::new();
        for name in ["bin", "lib", "lib32", "lib64", "sbin", "usr"] {
            let path = Path::new("/").join(name);
            if let Ok(target) = fs::read_link(&path) {
                symlink(target, root.join(name)).expect("made");
            } else if path.is_dir() {
                mounts.push(bind(&path, &path, true));
            }
        }
        mounts.push(StepMount::new("/tmp", Mount::Tmpfs { size: None }));
        let args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let step = Step {
            mounts,
            env: vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
            hostname: "dockless".to_owned(),
            timeout: Some(Duration::from_mins(1)),
            ..Step::bare(Mount::Bind { source: root, readonly: true }, args)
        };
        Some(Self { dir, step, launcher: launcher() })
    }

    /// The directory that is the step's root.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Changes the step.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Step)) -> Self {
        change(&mut self.step);
        self
    }

    /// A fresh directory of this name beside the root, mounted writable at `destination`.
    pub(crate) fn writable(self, name: &str, destination: &str) -> Self {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).expect("made");
        self.with(|step| step.mounts.push(bind(&path, Path::new(destination), false)))
    }

    /// Runs it; returns the end and all it printed.
    pub(crate) fn try_run(&self, cancel: &Cancel) -> (Result<Exit, SandboxError>, Vec<u8>) {
        let mut log = Vec::new();
        let exit = self.launcher.run(&self.step, cancel, &mut |bytes| log.extend_from_slice(bytes));
        (exit, log)
    }

    /// Runs it; returns how the program ended and what it printed, as text.
    pub(crate) fn run(&self) -> (Outcome, String) {
        let (exit, log) = self.try_run(&Cancel::new().expect("a switch"));
        let log = String::from_utf8_lossy(&log).into_owned();
        match exit {
            Ok(exit) => (exit.outcome, log),
            Err(error) => panic!("{error}: {:?}\n{log}", std::error::Error::source(&error)),
        }
    }

    /// Runs it, wants exit code 0, and returns what it printed without the last line end.
    pub(crate) fn output(&self) -> String {
        let (outcome, log) = self.run();
        assert_eq!(outcome, Outcome::Code(0), "{log}");
        log.trim_end().to_owned()
    }
}

/// A bind mount of a step.
pub(crate) fn bind(source: &Path, destination: &Path, readonly: bool) -> StepMount {
    StepMount::new(destination, Mount::Bind { source: source.to_owned(), readonly })
}

/// Tells whether any process on this machine has `word` among its arguments.
pub(crate) fn is_running(word: &str) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    entries.flatten().any(|entry| {
        let arguments: io::Result<Vec<u8>> = fs::read(entry.path().join("cmdline"));
        arguments.is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
    })
}
