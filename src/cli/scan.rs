//! `dockless scan`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::command::println;
use super::failure::Failure;
use super::progress::{View, clean};
use super::report::{Exit, Report};
use super::session::{Session, stop, variable};
use crate::dist::{Dist, Kind};
use crate::progress::{Event, Progress};
use crate::publish::PublishError;
use crate::sandbox::Cancel;
use crate::scan::{self, Finding, Limits, SCANNERS, Scanned, Scanner, Severity, Subject};

pub(super) const EXAMPLES: &str = "Examples:
  dockless scan dist --fail-on high
  dockless scan dist --tree unpacked/opt/python --repository . --sarif findings.sarif
  dockless scan dist --with trivy,grype

Runs what is installed of trivy, grype, osv-scanner (bills of materials, trees, repository), gitleaks and semgrep
(repository). Exit codes: 1 something as severe as --fail-on was found or a scanner failed, 3 none is installed.";

/// Arguments of `scan`.
#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// What `dockless release` made: its bills of materials are looked at
    #[arg(value_name = "DIST")]
    dist: Option<PathBuf>,
    /// An unpacked tree; may be repeated
    #[arg(long, value_name = "DIR")]
    tree: Vec<PathBuf>,
    /// The repository
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// Fail where something is at least this severe: low, medium, high, critical
    #[arg(long, value_name = "SEVERITY", default_value = "high")]
    fail_on: Severity,
    /// Write all that was found to one SARIF file
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Only these scanners, each of which must be installed
    #[arg(long = "with", value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// For each scanner and subject
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    timeout: u64,
}

/// Runs the command.
pub(super) fn scan(session: &Session<'_>, args: &Scan, cancel: &Cancel, view: &View) -> Result<ExitCode, Failure> {
    let subjects = args.subjects()?;
    let scanners = args.scanners()?;
    let mut scanned: Vec<Scanned> = Vec::new();
    let mut failed = 0;
    let rules = variable("SEMGREP_RULES").unwrap_or_default();
    let limits = Limits {
        patience: Duration::from_secs(args.timeout.saturating_mul(60)),
        offline: session.global.offline,
        rules: rules.split_whitespace().map(str::to_owned).collect(),
    };
    for (scanner, program) in &scanners {
        for subject in &subjects {
            match scan::scan(scanner, program, subject, &limits, &stop(cancel)) {
                Ok(Some(done)) => {
                    view.event(&Event::Note { message: &format!("{} looked at {}", scanner.name, subject.name()) });
                    scanned.push(done);
                }
                Ok(None) => {}
                Err(error @ scan::ScanError::Stopped { .. }) => {
                    return Err(Failure::Told(Box::new(Report::new(Exit::Interrupted, error.to_string()))));
                }
                Err(error) => {
                    failed += 1;
                    view.event(&Event::Note { message: &error.to_string() });
                }
            }
        }
    }
    let merged = scan::merge(&scanned.iter().map(|it| it.document.clone()).collect::<Vec<_>>());
    if let Some(path) = &args.sarif {
        write(path, &merged.to_string())?;
    }
    let found = scan::findings(&merged).unwrap_or_default();
    view.suspend(|| show(&found))?;
    let severe = found.iter().filter(|finding| finding.severity >= args.fail_on).count();
    let message = match (severe, failed, scanned.len()) {
        (0, 0, 0) => Some("no scanner had anything to look at: name a release, --tree or --repository".to_owned()),
        (0, 0, _) => None,
        (0, failed, _) => Some(format!("{failed} scans failed: what they did not look at is not known to be clean")),
        (severe, _, _) => Some(format!("{severe} of {} findings are at least {}", found.len(), args.fail_on)),
    };
    match message {
        None => Ok(ExitCode::SUCCESS),
        Some(message) => Err(Failure::Told(Box::new(Report::new(Exit::Failed, message)))),
    }
}

impl Scan {
    fn subjects(&self) -> Result<Vec<Subject>, Failure> {
        let mut subjects = Vec::new();
        if let Some(root) = &self.dist {
            let dist = Dist::open(root).map_err(PublishError::from)?;
            // One form is enough: both say the same.
            let of = |kind| dist.assets().iter().filter(move |asset| asset.kind == kind).map(|asset| dist.path(asset));
            let cyclone: Vec<PathBuf> = of(Kind::CycloneDx).collect();
            let boms = if cyclone.is_empty() { of(Kind::Spdx).collect() } else { cyclone };
            subjects.extend(boms.into_iter().map(Subject::Sbom));
        }
        subjects.extend(self.tree.iter().cloned().map(Subject::Tree));
        subjects.extend(self.repository.iter().cloned().map(Subject::Repository));
        if let Some(absent) = subjects.iter().find(|subject| !subject.path().exists()) {
            return Err(Failure::Usage { message: format!("{} is not there", absent.name()) });
        }
        if subjects.is_empty() {
            let message =
                "nothing to look at: name a release with bills of materials, --tree or --repository".to_owned();
            return Err(Failure::Usage { message });
        }
        Ok(subjects)
    }

    fn scanners(&self) -> Result<Vec<(&'static Scanner, PathBuf)>, Failure> {
        if let Some(unknown) = self.only.iter().find(|name| SCANNERS.iter().all(|scanner| scanner.name != **name)) {
            let names: Vec<&str> = SCANNERS.iter().map(|scanner| scanner.name).collect();
            return Err(Failure::Usage { message: format!("no scanner `{unknown}`, only {}", names.join(", ")) });
        }
        let path = variable("PATH").unwrap_or_default();
        let wanted = SCANNERS.iter().filter(|it| self.only.is_empty() || self.only.iter().any(|name| name == it.name));
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for scanner in wanted {
            match scan::installed(scanner.name, &path) {
                Some(program) => found.push((scanner, program)),
                None => missing.push(scanner),
            }
        }
        if found.is_empty() || !(self.only.is_empty() || missing.is_empty()) {
            let names: Vec<&str> = missing.iter().map(|scanner| scanner.name).collect();
            let ways: Vec<String> = missing.iter().map(|it| format!("{}: {}", it.name, it.get)).collect();
            let message = format!("not installed: {}", names.join(", "));
            let help = format!("install one of them:\n{}", ways.join("\n"));
            return Err(Failure::Told(Box::new(Report::new(Exit::Machine, message).help(help))));
        }
        Ok(found)
    }
}

fn show(found: &[Finding]) -> Result<(), Failure> {
    for finding in found {
        let Finding { severity, tool, rule, place, text } = finding;
        println(&clean(format!("{severity} {rule} {place} ({tool}) {text}").as_bytes()))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |source| Failure::Io { action: "write", path: path.to_owned(), source };
    let mut file = std::fs::File::create(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
