//! `dockless test`: a release tarball shows what it can do before anybody gets it.
//!
//! The archive is read once for the gates that need no execution. Then it is unpacked and its own Python runs
//! `checks.py` and its kin in our sandbox over a root that holds the tree and nothing else: no libc, no shell, no terminfo, no
//! certificates of any host (the scenario of the scripts, which begin with `#!/bin/sh`, shows the machine's shell, and that
//! of the display its X server). One process a scenario, so that a crash of one is a row and not the end.

use std::fs;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::archive::{self, Findings};
use super::sizes::{LARGEST, Sizes};
use crate::layer::{self, LayerError, UnpackOptions};
use crate::oci::{Arch, Digest, Hasher};
use crate::sandbox::{Cancel, Launcher, Mount, SandboxError, Step, StepMount};

/// What the Python under test runs, by the names that it has in the root, and a server's key and certificate.
const FILES: [(&str, &str); 5] = [
    ("checks.py", include_str!("checks.py")),
    ("contract.py", include_str!("contract.py")),
    ("library.py", include_str!("library.py")),
    ("server.pem", include_str!("trials/server.pem")),
    ("windows.py", include_str!("windows.py")),
];

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it must be.
    Passed,
    /// Not as it must be.
    Failed,
    /// Not tried: this machine lacks what the row's detail names.
    Skipped,
    /// As it must be, but somebody should look: what was expected to fail passes.
    Noticed,
}

/// One line of a proof.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Group of checks: archive, elf, library, …
    pub group: String,
    /// What was checked.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// A version, a count, or what went wrong.
    pub detail: String,
    /// Wall time of the group's run; set on its last row only.
    pub elapsed: Option<Duration>,
}

/// What a tarball showed.
#[derive(Debug, Clone)]
pub struct Proof {
    /// SHA-256 of the tarball.
    pub digest: Digest,
    /// Architecture of its programs.
    pub arch: Option<Arch>,
    /// Every check, in order.
    pub rows: Vec<Row>,
    /// What it consists of, where it says so.
    pub sizes: Option<Sizes>,
}

/// Why a tarball could not be tried at all.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is not a readable archive.
    #[error("`{}` is not a release tarball", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be unpacked.
    #[error("`{}` cannot be unpacked", path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<LayerError>,
    },
    /// The sandbox does not work here.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A file could not be used.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Proof {
    /// Tells whether no check failed; what was skipped says so in its row.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.outcome != Outcome::Failed)
    }
}

/// Scenarios of these programs, and how many seconds each may take: what hangs ends, what is slow on a busy machine does not.
const SCENARIOS: [(&str, u64); 9] = [
    ("library", 600),
    ("without-proc", 600),
    ("moved", 600),
    ("process", 600),
    ("environments", 1200),
    ("scripts", 600),
    ("contract", 600),
    ("compiler", 600),
    ("display", 600),
];

/// Returns what proofs of this version check, as a digest: a proof of another edition proves something else.
pub fn edition() -> Digest {
    Digest::of([&[env!("CARGO_PKG_VERSION")][..], &FILES.map(|(_, content)| content)].concat().join("\n").as_bytes())
}

/// Tries the tarball at `path`; everything it writes is in a temporary directory.
pub fn prove(path: &Path, launcher: &Launcher, cancel: &Cancel) -> Result<Proof, ProofError> {
    let digest = hash(path)?;
    let start = Instant::now();
    let unreadable = |source| ProofError::Archive { path: path.to_owned(), source };
    let tar = layer::decompress(open(path)?, &layer::Limits::default()).map_err(unreadable)?;
    let findings = archive::inspect(tar).map_err(unreadable)?;
    let told = findings.description.as_deref().ok_or_else(|| "no PYTHON.json".to_owned()).and_then(Sizes::of);
    let size = fs::metadata(path).map_err(|source| io_error("look at", path, source))?.len();
    let mut rows = size_rows(size, findings.bytes, &told);
    rows.extend(static_rows(&findings, start.elapsed()));
    rows.extend(checksum_row(path, &digest));
    let sizes = told.ok();
    let Some(arch) = findings.arch else {
        rows.push(failed("archive", "architecture", "no program inside".to_owned()));
        return Ok(Proof { digest, arch: None, rows, sizes });
    };
    let scratch = tempfile::Builder::new().prefix("dockless-test-").tempdir();
    let scratch = scratch.map_err(|source| ProofError::Io {
        action: "create a directory in",
        path: std::env::temp_dir(),
        source,
    })?;
    let root = scratch.path().join("root");
    furnish(path, &root)?;
    for (scenario, seconds) in SCENARIOS {
        rows.extend(run(&root, arch, scenario, Duration::from_secs(seconds), launcher, cancel)?);
    }
    Ok(Proof { digest, arch: Some(arch), rows, sizes })
}

/// Makes the root that all scenarios share, read-only: the tree, the checks, and a place for `/tmp`.
fn furnish(tarball: &Path, root: &Path) -> Result<(), ProofError> {
    for directory in [root, &root.join("tmp")] {
        fs::create_dir_all(directory).map_err(|source| io_error("create directory", directory, source))?;
    }
    unpack_tree(tarball, root)?;
    for (name, content) in FILES {
        let path = root.join(name);
        fs::write(&path, content).map_err(|source| io_error("write", &path, source))?;
    }
    Ok(())
}

/// Unpacks a release tarball into `root`.
pub(super) fn unpack_tree(tarball: &Path, root: &Path) -> Result<(), ProofError> {
    // A tarball for tar(1): `.wh.` means nothing in it, and all of it may be ours.
    let options = UnpackOptions { single_id: true, whiteouts: false, ..UnpackOptions::default() };
    layer::unpack(open(tarball)?, root, &options)
        .map_err(|source| ProofError::Unpack { path: tarball.to_owned(), source: Box::new(source) })?;
    Ok(())
}

/// Returns what a scenario sees beside the tree at `/opt/python`.
fn mounts(root: &Path, scenario: &str) -> Vec<StepMount> {
    let show = |source: &Path, destination: &str| {
        StepMount::new(destination, Mount::Bind { source: source.to_owned(), readonly: true })
    };
    match scenario {
        // A root in the root, with no /proc and no /dev.
        "without-proc" => {
            let memory = StepMount::new("/empty/tmp", Mount::Tmpfs { size: None });
            vec![show(root, "/empty"), memory]
        }
        "moved" | "contract" => vec![show(&root.join("opt"), "/moved")],
        // The machine's shell, for scripts that are for a machine with one, and its Xvfb; the rest comes along as it is.
        "scripts" | "compiler" | "display" => {
            let machine =
                ["/bin", "/lib", "/lib32", "/lib64", "/usr"].into_iter().filter(|path| Path::new(path).is_dir());
            machine.map(|path| show(Path::new(path), path)).chain([show(&root.join("opt"), "/moved")]).collect()
        }
        _ => Vec::new(),
    }
}

fn run(
    root: &Path,
    arch: Arch,
    scenario: &str,
    timeout: Duration,
    launcher: &Launcher,
    cancel: &Cancel,
) -> Result<Vec<Row>, ProofError> {
    let program = match scenario {
        "display" => "/windows.py",
        "contract" | "compiler" => "/contract.py",
        "library" => "/library.py",
        _ => "/checks.py",
    };
    let args = ["/opt/python/bin/python3", program, scenario].map(str::to_owned).to_vec();
    let mut mounts = mounts(root, scenario);
    mounts.push(StepMount::new("/tmp", Mount::Tmpfs { size: None }));
    let step = Step {
        mounts,
        env: ["PATH=/opt/python/bin", "HOME=/tmp", "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"]
            .map(str::to_owned)
            .to_vec(),
        hostname: "test".to_owned(),
        arch,
        timeout: Some(timeout),
        ..Step::bare(Mount::Bind { source: root.to_owned(), readonly: true }, args)
    };
    let start = Instant::now();
    let mut output = Vec::new();
    let exit = launcher.run(&step, cancel, &mut |data| output.extend_from_slice(data))?;
    let text = String::from_utf8_lossy(&output);
    let mut rows: Vec<Row> = text.lines().filter_map(|line| row(scenario, line)).collect();
    if !exit.success() || rows.is_empty() {
        let last: Vec<&str> = text.lines().rev().take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        rows.push(failed(scenario, "runs to its end", format!("{exit}: {}", last.join(" / "))));
    }
    if let Some(row) = rows.last_mut() {
        row.elapsed = Some(start.elapsed());
    }
    Ok(rows)
}

/// Reads a line of `checks.py`; other output is not a check.
fn row(group: &str, line: &str) -> Option<Row> {
    let mut fields = line.splitn(3, '\t');
    let outcome = match fields.next()? {
        "ok" => Outcome::Passed,
        "FAIL" => Outcome::Failed,
        "skip" => Outcome::Skipped,
        _ => return None,
    };
    let name = fields.next()?.to_owned();
    Some(Row { group: group.to_owned(), name, outcome, detail: fields.next()?.to_owned(), elapsed: None })
}

fn check(group: &str, name: &str, faults: &[String], fine: String) -> Row {
    match faults {
        [] => Row {
            group: group.to_owned(),
            name: name.to_owned(),
            outcome: Outcome::Passed,
            detail: fine,
            elapsed: None,
        },
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            failed(group, name, format!("{first}{more}"))
        }
    }
}

/// Compares the tarball's size with what it may be, and the tree's with what it says.
fn size_rows(size: u64, bytes: u64, told: &Result<Sizes, String>) -> Vec<Row> {
    let full = told.as_ref().is_ok_and(|sizes| sizes.full);
    let large = (size > LARGEST && !full).then(|| format!("{size} bytes, {LARGEST} at most"));
    let fine = if full { format!("{size} bytes") } else { format!("{size} bytes of at most {LARGEST}") };
    let faults = match told {
        Ok(sizes) => sizes.faults(bytes),
        Err(error) => vec![error.clone()],
    };
    vec![
        check("archive", "size", large.as_slice(), fine),
        check("archive", "sizes in PYTHON.json", &faults, format!("{bytes} bytes")),
    ]
}

fn static_rows(findings: &Findings, elapsed: Duration) -> Vec<Row> {
    let mut rows = vec![
        check("archive", "owner, order, time", &findings.shape, format!("{} entries", findings.entries)),
        check("archive", "no build path", &findings.paths, String::new()),
        check("elf", "needs only libc.so, hardened", &findings.elf, format!("{} files", findings.programs)),
    ];
    if let Some(row) = rows.last_mut() {
        row.elapsed = Some(elapsed);
    }
    rows
}

/// Compares with the checksum file beside the tarball, if there is one.
fn checksum_row(path: &Path, digest: &Digest) -> Option<Row> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sha256");
    let text = fs::read_to_string(PathBuf::from(beside)).ok()?;
    let told = text.split_whitespace().next().unwrap_or_default().to_owned();
    let (group, name) = ("archive".to_owned(), "checksum file".to_owned());
    Some(if told == digest.hex() {
        Row { group, name, outcome: Outcome::Passed, detail: String::new(), elapsed: None }
    } else {
        failed(&group, &name, format!("says {told}, the file is {}", digest.hex()))
    })
}

fn failed(group: &str, name: &str, detail: String) -> Row {
    Row { group: group.to_owned(), name: name.to_owned(), outcome: Outcome::Failed, detail, elapsed: None }
}

fn open(path: &Path) -> Result<File, ProofError> {
    File::open(path).map_err(|source| io_error("open", path, source))
}

pub(super) fn hash(path: &Path) -> Result<Digest, ProofError> {
    let mut hasher = Hasher::default();
    io::copy(&mut open(path)?, &mut hasher).map_err(|source| io_error("read", path, source))?;
    Ok(hasher.finish())
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> ProofError {
    ProofError::Io { action, path: path.to_owned(), source }
}
