//! Running the suite.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::super::prove::{Outcome, Proof, hash, unpack_tree};
use super::error::SuiteError;
use super::expected::{Expectation, Expectations};
use super::judge::{judge, row, unexpected};
use super::report::Report;
use super::sibling::compare;
use crate::layer::{self, UnpackOptions};
use crate::oci::{Arch, Digest};
use crate::progress::{Event, Progress};
use crate::rootfs::Rootfs;
use crate::sandbox::{Cancel, Launcher, Mount, Step, StepMount};
use crate::source::{self, Origins};
use crate::store::Store;

const RUNNER: &str = include_str!("suite.py");

/// What CPython's tests may use. Nobody is on the network of our sandbox, there is no display and no sound. Everything
/// else is on: files of gigabytes, minutes of computing.
const RESOURCES: &str = "all,-network,-urlfetch,-gui,-audio";

/// Seconds that one file may take: the slowest takes some five minutes on two quiet cores.
const FILE: u64 = 1800;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_hours(12);

/// The root filesystem it runs in: the one that steps run in.
const ROOT: &str = "bookworm";

/// CPython's tests are for an ordinary user: as root, files that nobody may read can be read.
const USER: &str = "tester";

/// What running takes.
#[derive(Debug)]
pub struct Place<'a> {
    /// Directory with `expected-3.X.toml`.
    pub lists: &'a Path,
    /// The project's locked root filesystems, by `<name>-<arch>`.
    pub rootfs: &'a std::collections::BTreeMap<String, Rootfs>,
    /// Where images are kept, and what is unpacked.
    pub store: &'a Store,
    /// Where packages come from.
    pub origins: &'a Origins,
    /// Test files at once.
    pub jobs: NonZeroUsize,
    /// There is one user only, root.
    pub single_id: bool,
}

/// A suite that has run.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The verdict.
    pub proof: Proof,
    /// All that is known of each file.
    pub report: Report,
    /// Digests of the tarballs that it says something of: the `-full` one, and the one beside it with the same files.
    pub of: Vec<Digest>,
}

#[derive(Deserialize)]
struct Description {
    version: String,
    series: String,
    architecture: String,
    abi: Abi,
}

/// What tells the builds of one version apart; `lib/python3.13t` is the free-threaded one's.
#[derive(Deserialize)]
struct Abi {
    flags: String,
    free_threaded: bool,
}

/// Runs the test suite of the `-full` tarball at `path`, or only the files `only`.
///
/// # Errors
/// `NoTests`, `List`, `NoRoot`, `Broken`, and those of the tarball, the sandbox and the root filesystem.
pub fn suite(
    path: &Path,
    only: &[String],
    place: &Place<'_>,
    (launcher, cancel): (&Launcher, &Cancel),
    view: &dyn Progress,
) -> Result<Suite, SuiteError> {
    let start = Instant::now();
    let digest = hash(path)?;
    let scratch = place.store.temporary_directory().map_err(source::SourceError::from)?;
    let root = scratch.path().join("root");
    fs::create_dir(&root).map_err(SuiteError::io("create directory", &root))?;
    unpack_tree(path, &root)?;
    let told = root.join("opt/python/PYTHON.json");
    let no_tests = || SuiteError::NoTests { path: path.to_owned() };
    let told = fs::read(&told).map_err(|_| no_tests())?;
    let Description { version, series, architecture, abi } = serde_json::from_slice(&told).map_err(|_| no_tests())?;
    let arch: Arch = architecture.parse().map_err(|_| no_tests())?;
    if !root.join(format!("opt/python/lib/python{series}{}/test/regrtest.py", abi.flags)).is_file() {
        return Err(no_tests());
    }
    let expectations = list(place.lists, &series)?;
    let expected = expectations.of(&version, arch, abi.free_threaded);
    furnish(&root, arch, place, view)?;
    let temporary = scratch.path().join("tmp");
    fs::create_dir(&temporary).map_err(SuiteError::io("create directory", &temporary))?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777))
        .map_err(SuiteError::io("change the mode of", &temporary))?;
    let inside = Room { root: &root, temporary: &temporary, arch, single_id: place.single_id };

    let (mut rows, same) = compare(path)?;
    if place.single_id {
        rows.push(row("ordinary user", Outcome::Skipped, "one id only (no range in /etc/subuid): it ran as root"));
    }
    let mut report = Report::default();
    run(&inside, place.jobs, only, (launcher, cancel), view, &mut report)?;
    rows.extend(again(&inside, &expected, (launcher, cancel), view, &mut report)?);
    rows.extend(judge(&report, &expected, only.is_empty()));
    if let Some(row) = rows.last_mut() {
        row.elapsed = Some(start.elapsed());
    }
    let of = [Some(digest), same].into_iter().flatten().collect();
    Ok(Suite { proof: Proof { digest, arch: Some(arch), rows, sizes: None }, report, of })
}

/// Reads the list of a series; a series without one expects that nothing fails.
fn list(lists: &Path, series: &str) -> Result<Expectations, SuiteError> {
    let path = lists.join(format!("expected-{series}.toml"));
    match fs::read_to_string(&path) {
        Ok(text) => Expectations::parse(&text, &path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Expectations::default()),
        Err(error) => Err(SuiteError::io("read", &path)(error)),
    }
}

/// Puts Debian's files, a user and the runner around the tree.
fn furnish(root: &Path, arch: Arch, place: &Place<'_>, view: &dyn Progress) -> Result<(), SuiteError> {
    let name = format!("{ROOT}-{arch}");
    let rootfs = place.rootfs.get(&name).ok_or_else(|| SuiteError::NoRoot { name })?;
    let told = (view, Digest::of(b"dockless test --suite"));
    let assembled = source::assemble(place.store, rootfs, place.origins, place.jobs, told)?;
    for layer in assembled.layers {
        let options = UnpackOptions { single_id: place.single_id, ..UnpackOptions::default() };
        let blob = place.store.read(&layer.digest).map_err(source::SourceError::from)?;
        layer::unpack(blob, root, &options).map_err(|source| super::super::prove::ProofError::Unpack {
            path: place.store.path(&layer.digest),
            source: Box::new(source),
        })?;
    }
    let write = |file: &str, text: &str| {
        let file = root.join(file);
        let mut open = fs::OpenOptions::new();
        let opened = open.create(true).append(true).open(&file);
        opened.and_then(|mut opened| opened.write_all(text.as_bytes())).map_err(SuiteError::io("write", &file))
    };
    write("etc/passwd", &format!("{USER}:x:1000:1000:{USER}:/tmp/home:/bin/sh\n"))?;
    write("etc/group", &format!("{USER}:x:1000:\n"))?;
    write("etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.0.1\ttest\n")?;
    // Of netbase, which steps do without: the services that tests of sockets ask for by name.
    write("etc/services", "echo\t7/tcp\necho\t7/udp\ndaytime\t13/tcp\ndomain\t53/tcp\ndomain\t53/udp\nhttp\t80/tcp\n")?;
    write("suite.py", RUNNER)
}

/// Where the files run.
struct Room<'a> {
    root: &'a Path,
    temporary: &'a Path,
    arch: Arch,
    single_id: bool,
}

impl Room<'_> {
    fn step(&self, jobs: NonZeroUsize, only: &[String]) -> Step {
        let (jobs, file) = (jobs.to_string(), FILE.to_string());
        let args = ["/opt/python/bin/python3", "/suite.py", &jobs, &file, RESOURCES, "/tmp"];
        let args = args.into_iter().map(str::to_owned).chain(only.iter().cloned()).collect();
        let temporary = Mount::Bind { source: self.temporary.to_owned(), readonly: false };
        // The tree is root's, and who tests it may not write there. Not a read-only mount: Linux says of any file there that it
        // cannot be removed (EROFS), also of one that does not exist (ENOENT), which tests of imports ask all the time.
        Step {
            root_readonly: false,
            mounts: vec![StepMount::new("/tmp", temporary)],
            env: ["PATH=/opt/python/bin:/usr/bin:/bin", "HOME=/tmp/home", "LANG=C.UTF-8", "TERM=xterm"]
                .map(str::to_owned)
                .to_vec(),
            cwd: PathBuf::from("/tmp"),
            user: if self.single_id { String::new() } else { USER.to_owned() },
            hostname: "test".to_owned(),
            arch: self.arch,
            timeout: Some(PATIENCE),
            ..Step::bare(Mount::Bind { source: self.root.to_owned(), readonly: false }, args)
        }
    }
}

fn run(
    room: &Room<'_>,
    jobs: NonZeroUsize,
    only: &[String],
    (launcher, cancel): (&Launcher, &Cancel),
    view: &dyn Progress,
    report: &mut Report,
) -> Result<(), SuiteError> {
    let (mut rest, mut other) = (Vec::new(), String::new());
    let step = room.step(jobs, only);
    let before = report.files.len();
    let mut take = |data: &[u8]| {
        rest.extend_from_slice(data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if report.read(&line) {
                tell(report, only.len(), before, view);
            } else {
                other.push_str(&line);
            }
        }
    };
    let exit = launcher.run(&step, cancel, &mut take).map_err(super::super::prove::ProofError::from)?;
    if !exit.success() {
        let last: Vec<&str> = other.lines().rev().take(3).collect();
        let said = last.into_iter().rev().collect::<Vec<_>>().join(" / ");
        return Err(SuiteError::Broken { ended: exit.to_string(), said });
    }
    Ok(())
}

fn tell(report: &Report, asked: usize, before: usize, view: &dyn Progress) {
    let all = if asked == 0 { report.known.len() } else { asked };
    let Some(file) = report.files.last() else { return };
    let how = match (&file.absent, file.is_failed()) {
        (Some(_), _) => "skipped",
        (None, true) => "failed",
        (None, false) => "ok",
    };
    let (test, seconds) = (&file.test, file.seconds);
    let done = report.files.len().saturating_sub(before);
    view.event(&Event::Note { message: &format!("{done}/{all} {test} {how} {seconds:.0}s") });
}

/// Runs files that failed against expectation once more, one at a time: a busy machine makes tests of clocks fail. What
/// passes now passes, and a row says that it did not at first.
fn again(
    room: &Room<'_>,
    expected: &[&Expectation],
    with: (&Launcher, &Cancel),
    view: &dyn Progress,
    report: &mut Report,
) -> Result<Vec<super::super::prove::Row>, SuiteError> {
    let names = unexpected(report, expected);
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut second = Report::default();
    run(room, NonZeroUsize::MIN, &names, with, view, &mut second)?;
    let still: BTreeSet<String> = unexpected(&second, expected).into_iter().collect();
    for file in second.files {
        report.replace(file);
    }
    let passed = names.iter().filter(|name| !still.contains(*name));
    Ok(passed.map(|name| row(name, Outcome::Noticed, "failed, and passed when it ran again, alone")).collect())
}
