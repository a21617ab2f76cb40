//! Everything that can end a command, and what the user reads then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::progress::elapsed;
use super::proof;
use super::report::{Exit, Report, SourcePicture};
use crate::attest::AttestError;
use crate::build::BuildError;
use crate::buildkit::BuildKitError;
use crate::cgroup::CgroupError;
use crate::collect::CollectError;
use crate::dockerfile::DockerfileError;
use crate::export::ExportError;
use crate::image::ImageError;
use crate::policy::PolicyError;
use crate::publish::PublishError;
use crate::recipe::RecipeError;
use crate::release::{AssembleError, ProofError, ReleaseError, SuiteError, TrialError, VariantError};
use crate::sandbox::{self, Fault, Outcome, SandboxError};
use crate::sign::SignError;
use crate::snapshot::SnapshotError;
use crate::solver::SolveError;
use crate::source::SourceError;
use crate::store::StoreError;
use crate::training::TrainingError;
use crate::verify::VerifyError;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Attest(#[from] AttestError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Dockerfile(#[from] DockerfileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Suite(SuiteError),
    #[error(transparent)]
    Trial(TrialError),
    #[error("`{name}` did not pass its tests and is not released")]
    Unproven { name: String, table: String },
    #[error(transparent)]
    Assemble(AssembleError),
    #[error("it took longer than {}: {} stopped", elapsed(*timeout), names(running))]
    VariantTime { timeout: Duration, running: Vec<String> },
    /// One variant of several, and what else there is to say.
    #[error("{failure}")]
    Variant { title: Option<String>, failure: Box<Failure>, rest: Vec<String> },
    #[error("{} of {all} variants failed: {}", failed.len(), failed.join(", "))]
    Variants { failed: Vec<String>, all: usize, rest: Vec<String> },
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Limits(#[from] CgroupError),
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error(transparent)]
    Training(#[from] TrainingError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("the store `{}` is in use", root.display())]
    Busy { root: PathBuf },
    #[error("{message}")]
    Usage { message: String },
    #[error("there is no place for the store: neither HOME nor XDG_DATA_HOME is set")]
    NoHome,
    #[error("failed to {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{}", .0.message)]
    Told(Box<Report>),
    #[error("failed to take over signals")]
    Signals { source: std::io::Error },
}

impl From<SuiteError> for Failure {
    fn from(error: SuiteError) -> Self {
        match error {
            SuiteError::Proof(error) => error.into(),
            SuiteError::Source(error) => Self::Build(error.into()),
            error => Self::Suite(error),
        }
    }
}

impl From<TrialError> for Failure {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::Proof(error) => error.into(),
            TrialError::Source(error) => error.into(),
            TrialError::Store(error) => error.into(),
            error => Self::Trial(error),
        }
    }
}

impl From<VariantError> for Failure {
    fn from(error: VariantError) -> Self {
        match error {
            VariantError::Build(error) => error.into(),
            VariantError::Release(error) => error.into(),
            VariantError::Snapshot(error) => error.into(),
            VariantError::Attest(error) => error.into(),
            VariantError::Proof(error) => error.into(),
            VariantError::Store(error) => error.into(),
            VariantError::Unproven { name, proof } => {
                let table = proof::render(Path::new(&name), &proof);
                Self::Unproven { name, table }
            }
        }
    }
}

impl From<RecipeError> for Failure {
    fn from(error: RecipeError) -> Self {
        Self::Build(error.into())
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self::Build(error.into())
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Build(error.into())
    }
}

impl Failure {
    /// Returns the step that failed, if that is it.
    pub(super) fn step(&mut self) -> Option<&mut crate::solver::Failure> {
        match self {
            Self::Build(BuildError::Engine(SolveError::Step(failure))) => Some(failure),
            Self::Variant { failure, .. } => failure.step(),
            _ => None,
        }
    }

    /// Returns what went wrong and why, in one line.
    pub(super) fn line(&self) -> String {
        self.report().line()
    }

    /// Returns what the user reads.
    pub(super) fn report(&self) -> Report {
        if let Self::Told(report) = self {
            return Report::clone(report);
        }
        if let Self::Variant { title, failure, rest } = self {
            let mut report = failure.report();
            if let Some(title) = title {
                report.message = format!("{title}: {}", report.message);
            }
            let lines: Vec<String> = report.help.into_iter().chain(rest.iter().cloned()).collect();
            report.help = (!lines.is_empty()).then(|| lines.join("\n"));
            return report;
        }
        // A full disk looks the same wherever it is met.
        let (exit, help) = if is_disk_full(self) { (Exit::Machine, Some(MAKE_ROOM.to_owned())) } else { self.kind() };
        let mut report = Report::of(exit, self);
        report.help = help;
        match self {
            Self::Build(BuildError::Recipe(error)) => {
                report.source = error.picture().map(|picture| SourcePicture {
                    name: picture.path.display().to_string(),
                    text: picture.text.clone(),
                    span: picture.span.clone(),
                    label: "here".to_owned(),
                });
            }
            Self::Dockerfile(error) => {
                report.source = error.picture().map(|picture| SourcePicture {
                    name: picture.name.clone(),
                    text: picture.text.clone(),
                    span: picture.span.clone(),
                    label: "here".to_owned(),
                });
            }
            Self::Build(BuildError::Source(SourceError::Rootfs(error))) => {
                report.source = error.picture().map(|picture| SourcePicture {
                    name: picture.path.display().to_string(),
                    text: picture.text.clone(),
                    span: picture.span.clone(),
                    label: "here".to_owned(),
                });
            }
            Self::Build(BuildError::Engine(SolveError::Step(failure))) => {
                report.log_tail = Some(failure.tail.join("\n").into_bytes());
                report.log_path = Some(failure.log.clone());
            }
            Self::Unproven { table, .. } => report.message = format!("{}\n{table}", report.message),
            _ => {}
        }
        report
    }

    fn kind(&self) -> (Exit, Option<String>) {
        match self {
            Self::Build(error) => build(error),
            Self::Attest(error) => {
                let exit = if matches!(error, AttestError::Io { .. }) { Exit::Machine } else { Exit::Input };
                (exit, error.help().map(str::to_owned))
            }
            Self::Dockerfile(error) => dockerfile(error),
            Self::Store(error)
            | Self::Collect(CollectError::Store(error))
            | Self::Release(ReleaseError::Store(error)) => store(error),
            Self::Snapshot(error) | Self::Collect(CollectError::Snapshot(error)) => snapshot(error),
            Self::Proof(ProofError::Sandbox(error)) | Self::Sandbox(error) => sandbox(error),
            Self::Proof(ProofError::Archive { .. } | ProofError::Unpack { .. })
            | Self::Trial(TrialError::Description { .. }) => {
                (Exit::Input, Some("name a tarball that `dockless release` made".to_owned()))
            }
            Self::Proof(ProofError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                (Exit::Input, Some("name a tarball that `dockless release` made".to_owned()))
            }
            Self::Suite(error) => suite(error),
            Self::Trial(TrialError::List { .. }) | Self::Signals { .. } => (Exit::Bug, None),
            Self::Policy(_) | Self::Trial(_) => (Exit::Input, None),
            Self::Training(_) => (Exit::Input, Some("an archive that `dockless profile train` made".to_owned())),
            Self::Limits(error) => limits(error),
            Self::Image(error) | Self::Collect(CollectError::Image(error)) => image(error),
            Self::Publish(error) => publish(error),
            Self::Sign(error) => sign(error),
            Self::Verify(error) => {
                (if error.is_input() { Exit::Input } else { Exit::Machine }, error.help().map(str::to_owned))
            }
            Self::Unproven { .. } => (Exit::Failed, None),
            Self::Assemble(error) => super::release::blame(error),
            Self::VariantTime { .. } => {
                (Exit::Failed, Some("give it longer with --timeout: what was finished is kept".to_owned()))
            }
            Self::Variants { rest, .. } => (Exit::Failed, Some(rest.join("\n")).filter(|rest| !rest.is_empty())),
            Self::Variant { failure, .. } => failure.kind(),
            Self::Usage { .. } => (Exit::Input, Some("see --help".to_owned())),
            Self::Busy { .. } => (Exit::Machine, Some("wait for the build, or leave --no-wait out".to_owned())),
            Self::NoHome => (Exit::Input, Some("say where with --store DIR".to_owned())),
            Self::Release(_)
            | Self::Collect(CollectError::Io { .. })
            | Self::Proof(_)
            | Self::Io { .. }
            | Self::Told(_) => (Exit::Machine, None),
        }
    }
}

/// Names what was stopped.
fn names(running: &[String]) -> String {
    if running.is_empty() {
        return "it was".to_owned();
    }
    let names: Vec<String> = running.iter().map(|name| format!("`{name}`")).collect();
    format!("{} {}", names.join(", "), if names.len() == 1 { "was" } else { "were" })
}

fn suite(error: &SuiteError) -> (Exit, Option<String>) {
    match error {
        SuiteError::NoTests { .. } => {
            (Exit::Input, Some("name a tarball that `dockless release --full` made".to_owned()))
        }
        SuiteError::NoRoot { name } => (
            Exit::Input,
            Some(format!("run it in the project, or make the lock: dockless lock --update rootfs/{name}")),
        ),
        SuiteError::List { .. } => (Exit::Input, None),
        _ => (Exit::Failed, None),
    }
}

fn dockerfile(error: &DockerfileError) -> (Exit, Option<String>) {
    match error {
        DockerfileError::Graph(_) => (Exit::Bug, None),
        DockerfileError::Resolve { source: why, .. } => match why.downcast_ref::<SourceError>() {
            Some(why) => {
                let (exit, help) = source(why);
                (exit, error.help().or(help))
            }
            None if why.is::<StoreError>() => (Exit::Machine, None),
            None => (Exit::Input, error.help()),
        },
        _ => (Exit::Input, error.help()),
    }
}

fn build(error: &BuildError) -> (Exit, Option<String>) {
    match error {
        BuildError::Recipe(error) => (Exit::Input, error.help()),
        BuildError::NoProject { .. } => {
            (Exit::Input, Some("go to a clone of the project, or name it with --project DIR".to_owned()))
        }
        BuildError::Io { .. } => (Exit::Input, None),
        BuildError::Export(error) => export(error),
        BuildError::Source(error) => source(error),
        BuildError::Engine(error) => engine(error),
        BuildError::BuildKit(error) => (buildkit(error), error.help()),
    }
}

fn export(error: &ExportError) -> (Exit, Option<String>) {
    match error {
        ExportError::Store(error) => store(error),
        ExportError::Stopped => {
            (Exit::Interrupted, Some("run the same command again: finished steps are kept".to_owned()))
        }
        ExportError::Config { .. } | ExportError::MediaTypes { .. } | ExportError::ImageName { .. } => {
            (Exit::Input, None)
        }
        _ => (Exit::Machine, None),
    }
}

fn engine(error: &SolveError) -> (Exit, Option<String>) {
    match error {
        SolveError::Step(failure) => (Exit::Failed, raise(&failure.exit).map(str::to_owned)),
        SolveError::Cancelled => {
            (Exit::Interrupted, Some("run the same command again: finished steps are kept".to_owned()))
        }
        SolveError::Refused(_)
        | SolveError::Graph(_)
        | SolveError::Unsupported { .. }
        | SolveError::MissingInput { .. } => (Exit::Input, None),
        SolveError::Sandbox { source, .. } => sandbox(source),
        SolveError::Limits { source, .. } => limits(source),
        SolveError::Low { .. } | SolveError::Room { .. } => {
            (Exit::Machine, Some(format!("{MAKE_ROOM}, or let less stay free with --disk-reserve")))
        }
        SolveError::Source { source: error, .. } => source(error),
        SolveError::Snapshot { source, .. } => snapshot(source),
        SolveError::File { source, .. } => (Exit::Failed, source.help()),
        SolveError::Store(error) => store(error),
        SolveError::Jobs(_) | SolveError::Io { .. } | SolveError::Cache(_) | SolveError::Lost { .. } => {
            (Exit::Machine, None)
        }
    }
}

fn buildkit(error: &BuildKitError) -> Exit {
    if error.is_input() {
        Exit::Input
    } else if error.is_build() {
        Exit::Failed
    } else {
        Exit::Machine
    }
}

/// What to raise for a step that ran into a bound.
fn raise(exit: &sandbox::Exit) -> Option<&'static str> {
    if exit.met.memory.is_some() {
        Some("raise --memory, or let it start fewer programs at a time with --jobs")
    } else if exit.met.pids.is_some() {
        Some("raise --pids-limit")
    } else if exit.outcome == Outcome::TimedOut {
        Some("raise --step-timeout, or `timeout` in its recipe, or give it more --jobs")
    } else {
        None
    }
}

fn limits(error: &CgroupError) -> (Exit, Option<String>) {
    (Exit::Machine, error.help().map(str::to_owned))
}

fn source(error: &SourceError) -> (Exit, Option<String>) {
    match error {
        SourceError::Store(error) => store(error),
        SourceError::Io { .. } => (Exit::Machine, error.help()),
        SourceError::Stopped { .. } => {
            (Exit::Interrupted, Some("run the same command again: what has come is kept".to_owned()))
        }
        _ if error.is_input() => (Exit::Input, error.help()),
        _ => (Exit::Failed, error.help()),
    }
}

fn image(error: &ImageError) -> (Exit, Option<String>) {
    let exit = match error {
        _ if error.is_stopped() => Exit::Interrupted,
        _ if error.is_input() => Exit::Input,
        ImageError::Registry(_) => Exit::Failed,
        _ => Exit::Machine,
    };
    (exit, error.help())
}

fn publish(error: &PublishError) -> (Exit, Option<String>) {
    let exit = match error {
        _ if error.is_stopped() => Exit::Interrupted,
        _ if error.is_machine() => Exit::Machine,
        _ if error.is_input() => Exit::Input,
        _ => Exit::Failed,
    };
    (exit, error.help())
}

fn sign(error: &SignError) -> (Exit, Option<String>) {
    let exit = match error {
        SignError::Failed { .. } => Exit::Failed,
        _ if error.is_machine() => Exit::Machine,
        _ => Exit::Input,
    };
    (exit, error.help().map(str::to_owned))
}

fn sandbox(error: &SandboxError) -> (Exit, Option<String>) {
    match error.fault() {
        Fault::Input => (Exit::Input, None),
        Fault::Machine => (Exit::Machine, Some("`dockless doctor` says what this machine lacks".to_owned())),
        Fault::Bug => (Exit::Bug, None),
    }
}

const fn store(_: &StoreError) -> (Exit, Option<String>) {
    (Exit::Machine, None)
}

/// What to do about a full disk.
const MAKE_ROOM: &str = "free room on the disk (`dockless cache prune`), or put the store elsewhere with --store DIR";

/// Tells whether an error comes from a disk or a quota that is full.
fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(io, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        next = error.source();
    }
    false
}

fn snapshot(error: &SnapshotError) -> (Exit, Option<String>) {
    match error {
        SnapshotError::Store(error) => store(error),
        SnapshotError::Pattern { .. } | SnapshotError::Kind { .. } => (Exit::Input, error.help()),
        _ => (Exit::Machine, error.help()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_names_the_way_out_wherever_it_is_met() {
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let path = PathBuf::from("dist/x");
        let failure = Failure::Release(ReleaseError::Io { action: "write", path, source });
        let report = failure.report();
        assert_eq!((report.exit, report.help.as_deref()), (Exit::Machine, Some(MAKE_ROOM)));
        assert!(!is_disk_full(&Failure::NoHome));
    }
}
