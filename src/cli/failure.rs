//! Everything that can end a command, and what the user reads then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::progress::elapsed;
use super::proof;
use super::report::{Exit, Report, SourcePicture};
use super::way_out::{MAKE_ROOM, is_disk_full};
use crate::attest::AttestError;
use crate::build::BuildError;
use crate::cgroup::CgroupError;
use crate::collect::CollectError;
use crate::dockerfile::DockerfileError;
use crate::export::ExportError;
use crate::image::ImageError;
use crate::policy::PolicyError;
use crate::publish::PublishError;
use crate::recipe::RecipeError;
use crate::release::{AssembleError, ProofError, ReleaseError, SuiteError, TrialError, VariantError};
use crate::sandbox::SandboxError;
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
}

/// Names what was stopped.
fn names(running: &[String]) -> String {
    if running.is_empty() {
        return "it was".to_owned();
    }
    let names: Vec<String> = running.iter().map(|name| format!("`{name}`")).collect();
    format!("{} {}", names.join(", "), if names.len() == 1 { "was" } else { "were" })
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
