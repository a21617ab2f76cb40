//! Runs the cases with the real binary: one store, the cores that are there, and a table of what came out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use dockless::llb::{GraphBuilder, op};
use dockless::oci::Arch;
use dockless::source::read_rootfs;

use super::case::{Case, Kind, cases, unpack};
use super::compare::{Difference, Exceptions, compare};
use super::fixture;
use super::image::{Image, compare_config, compare_layer};
use super::listing::{Listing, changes, list};
use super::services::Services;
use crate::support::{self, skip};

/// The root filesystem that stands for the recorded base image.
const BASE: &str = "minbase-x86_64";

/// Everything the cases share.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    cases: Vec<Case>,
    services: Services,
    policy: PathBuf,
    exceptions: Exceptions,
    /// What is in the base.
    base: Listing,
    /// When the first step could have run, seconds since 1970.
    start: i64,
    /// What kind of machine and user this is, for exceptions.
    kinds: Vec<&'static str>,
    /// Options that say who solves.
    engine: Vec<String>,
}

/// What came out.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) failed: Vec<String>,
    lines: BTreeMap<String, String>,
}

impl Report {
    /// One line a case.
    pub(crate) fn table(&self) -> String {
        self.lines.iter().fold(String::new(), |table, (case, line)| table + case + ": " + line + "\n")
    }
}

#[expect(clippy::disallowed_methods, reason = "files written during the build carry the time of the build")]
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("a date")
}

#[expect(clippy::disallowed_methods, reason = "a person at work may want some cases only")]
fn wanted() -> String {
    std::env::var("DOCKLESS_CORPUS").unwrap_or_default()
}

impl Place {
    /// Unpacks the corpus and makes the base; `None`, said aloud, where this machine can do no such thing.
    pub(crate) fn new() -> Option<Self> {
        Self::with(&[])
    }

    /// As `new`, with options that say who solves.
    pub(crate) fn with(engine: &[String]) -> Option<Self> {
        let trials = support::cell::launcher().probe(Path::new("/tmp")).expect("the probe runs").trials;
        if !trials.can_run() {
            skip("userns", &format!("{trials:?}"));
            return None;
        }
        if dockless::source::host_mirrors(Path::new("/")).is_ok_and(|mirrors| mirrors.is_empty()) {
            skip("mirror", "apt's configuration on this machine names no Debian mirror");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("corpus-").tempdir().expect("a temporary directory");
        let corpus = directory.path().join("corpus");
        unpack(&corpus);
        let services = Services::start(&corpus, directory.path());
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let lock = read_rootfs(&project.join("rootfs"), BASE).expect("the base is locked").lock;
        let identifier = format!("{}dockless/{BASE}@{}", op::OCI_LAYOUT, lock.manifest);
        let policy = directory.path().join("policy.json");
        fs::write(&policy, services.policy(&identifier).to_string()).expect("a policy");
        let mut place = Self {
            cases: cases(&corpus),
            services,
            policy,
            exceptions: Exceptions::parse(&fixture("exceptions.toml")),
            base: Listing::new(),
            start: now(),
            kinds: if engine.is_empty() { Vec::new() } else { vec!["buildkit"] },
            engine: engine.to_vec(),
            directory,
        };
        let mut builder = GraphBuilder::new();
        let image = op::oci_layout(&format!("dockless/{BASE}"), &lock.manifest);
        let edge = builder.add("base", image, &[], Arch::X86_64, &[]);
        let bytes = builder.finish(edge).to_bytes();
        let tar = place.path().join("base.tar");
        let output = place.solve(&bytes, &["--output".to_owned(), format!("type=tar,dest={}", tar.display())]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() && said.contains("could not be fetched") {
            skip("mirror", &said);
            return None;
        }
        assert!(output.status.success(), "the base: {said}");
        place.base = listing(&tar);
        Some(place)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Solves a definition in the project's directory, as a user would.
    fn solve(&self, definition: &[u8], arguments: &[String]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["solve", "--progress", "plain", "--store"]);
        command.arg(self.path().join("store")).args(&self.engine).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        // A definition that is refused early may not be read to its end: the answer says why.
        let _ = child.stdin.take().expect("piped").write_all(definition);
        child.wait_with_output().expect("the binary ends")
    }

    /// Runs all cases, as many at once as there are cores.
    pub(crate) fn run_all(&self) -> Report {
        let (next, report) = (AtomicUsize::new(0), Mutex::new(Report::default()));
        let wanted = wanted();
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(4);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(case) = self.cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if !case.name.contains(&wanted) {
                            continue;
                        }
                        let (line, failures) = match case.kind {
                            Kind::Converts => ("decoded".to_owned(), Vec::new()),
                            Kind::Fails => self.fails(case),
                            Kind::Runs => self.runs(case),
                        };
                        let mut report = report.lock().expect("no case panics");
                        report.lines.insert(case.name.clone(), line);
                        report.failed.extend(failures.into_iter().map(|failure| format!("{}: {failure}", case.name)));
                    }
                });
            }
        });
        report.into_inner().expect("no case panics")
    }

    fn arguments(&self, case: &Case) -> Vec<String> {
        let mut arguments = case.arguments(&self.services.agent);
        arguments.extend(["--source-policy".to_owned(), self.policy.display().to_string()]);
        arguments
    }

    /// A case that must fail does so with the code of its step.
    fn fails(&self, case: &Case) -> (String, Vec<String>) {
        let [(_, definition)] = case.definitions().try_into().expect("one definition");
        let output = self.solve(&definition, &self.arguments(case));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = output.status.code() == Some(1) && said.contains("RUN exit 3") && said.contains("exit code 3");
        let failures = if told { Vec::new() } else { vec![format!("{}: {said}", output.status)] };
        ("fails as recorded".to_owned(), failures)
    }

    fn runs(&self, case: &Case) -> (String, Vec<String>) {
        if case.name.contains("git") && !self.services.has_git() {
            skip("git", "there is no git daemon on this machine");
            return ("skipped".to_owned(), Vec::new());
        }
        let [(_, definition)] = case.definitions().try_into().expect("one definition");
        let mut arguments = self.arguments(case);
        let place = self.path().join(&case.name);
        fs::create_dir(&place).expect("a directory of the case");
        let (tar, layout) = (place.join("tree.tar"), place.join("image"));
        let config = case.directory.join("frontend-config.json").display().to_string();
        arguments.extend(["--image-config".to_owned(), config, "--output".to_owned(), String::new()]);
        let last = arguments.len() - 1;
        for (kind, dest) in [("tar", &tar), ("oci", &layout)] {
            arguments[last] = format!("type={kind},dest={}", dest.display());
            let output = self.solve(&definition, &arguments);
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let why = format!("{kind}: {}\n{said}", output.status);
                let difference = Difference { path: "/".to_owned(), field: "run".to_owned(), why };
                return self.judge(case, "could not be built", vec![difference]);
            }
        }
        let window = self.start..=now();
        let tree = listing(&tar);
        let (against, paths) = (if case.against_base { &self.base } else { &Listing::new() }, tree.len());
        let tree = compare(&case.tree(), &changes(against, &tree), &window);
        let image = Image::open(&layout);
        let config = compare_config(&case.config(), &image.config);
        let (layers, count) = layers(case, &image, &window);
        // A case is some megabytes of tree twice; the disk may be small.
        let _ = dockless::store::remove_tree(&place);
        let mut all = Vec::new();
        for (of, differences) in [("tree", tree), ("config", config), ("layers", layers)] {
            all.extend(differences.into_iter().map(|one| Difference { why: format!("{of}: {}", one.why), ..one }));
        }
        self.judge(case, &format!("{paths} paths, {count} layers"), all)
    }

    /// Takes away what is excused; returns a line for the table, and what is left.
    fn judge(&self, case: &Case, line: &str, differences: Vec<Difference>) -> (String, Vec<String>) {
        let before = differences.len();
        let built = differences.iter().all(|one| one.field != "run");
        let (left, idle) = self.exceptions.sift(&case.name, &self.kinds, differences);
        let excused = before - left.len();
        let mut failures: Vec<String> =
            left.into_iter().map(|one| format!("{} {}: {}", one.path, one.field, one.why)).collect();
        // What was not built has nothing else to excuse.
        failures.extend(idle.into_iter().filter(|_| built));
        let word = if failures.is_empty() { "as recorded" } else { "DIFFERS" };
        (format!("{word}: {line}, {excused} excused"), failures)
    }
}

/// Compares the layers above the base.
fn layers(case: &Case, image: &Image, window: &RangeInclusive<i64>) -> (Vec<Difference>, usize) {
    let recorded = case.layers();
    let base = usize::from(case.against_base);
    if image.count() != recorded.len() + base {
        let why = format!("{} layers, recorded: {}", image.count(), recorded.len() + base);
        return (vec![Difference { path: "/".to_owned(), field: "count".to_owned(), why }], image.count());
    }
    let mut all = Vec::new();
    for (number, layer) in recorded.iter().enumerate() {
        for mut one in compare_layer(layer, &image.layer(number + base), window) {
            one.why = format!("layer {number}, {}", one.why);
            all.push(one);
        }
    }
    (all, image.count())
}

impl Drop for Place {
    /// Trees of an ordinary user hold files of ids that only a namespace can remove.
    fn drop(&mut self) {
        if dockless::store::remove_tree(self.path()).is_err() {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--map-auto", "rm", "-rf", "--"]).arg(self.path());
            let _ = command.stderr(Stdio::null()).status();
        }
    }
}

fn listing(tar: &Path) -> Listing {
    let file = File::open(tar).unwrap_or_else(|error| panic!("{}: {error}", tar.display()));
    list(BufReader::with_capacity(1 << 20, file)).expect("an export is a tar")
}
