//! Which exit code each failure has, and the way out where the error does not say one itself.

use super::failure::Failure;
use super::report::Exit;
use crate::attest::AttestError;
use crate::build::BuildError;
use crate::buildkit::BuildKitError;
use crate::cgroup::CgroupError;
use crate::collect::CollectError;
use crate::dist::DistError;
use crate::dockerfile::DockerfileError;
use crate::export::ExportError;
use crate::image::ImageError;
use crate::publish::PublishError;
use crate::release::{AssembleError, JoinError, OutputError, ProofError, ReleaseError, SuiteError, TrialError};
use crate::sandbox::{self, Fault, Outcome, SandboxError};
use crate::sign::SignError;
use crate::snapshot::SnapshotError;
use crate::solver::SolveError;
use crate::source::SourceError;
use crate::store::StoreError;

impl Failure {
    /// Returns the exit code, and what to do next.
    pub(super) fn kind(&self) -> (Exit, Option<String>) {
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
            Self::Assemble(error) => assemble(error),
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

fn assemble(error: &AssembleError) -> (Exit, Option<String>) {
    let dist = |error: &DistError| {
        (if error.is_input() { Exit::Input } else { Exit::Machine }, error.help().map(str::to_owned))
    };
    let help = match error {
        AssembleError::Output(OutputError::Dist(error)) | AssembleError::Join(JoinError::Dist(error)) => {
            return dist(error);
        }
        AssembleError::Output(OutputError::Io { .. }) | AssembleError::Join(JoinError::Io { .. }) => {
            return (Exit::Machine, None);
        }
        AssembleError::Output(OutputError::Mounted { .. } | OutputError::Place { .. }) => {
            "name a directory in it with --out DIR"
        }
        AssembleError::Join(JoinError::Twice { .. }) => "leave one of them out",
        AssembleError::Join(JoinError::Commits { .. }) => "make all of them of one commit",
        AssembleError::Join(JoinError::Unknown { .. } | JoinError::Untested { .. }) => {
            "make the directory anew: `dockless release --stage build`, then `--stage test`"
        }
        AssembleError::Notes(_) => "see `dockless describe --help`",
    };
    (Exit::Input, Some(help.to_owned()))
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
pub(super) const MAKE_ROOM: &str =
    "free room on the disk (`dockless cache prune`), or put the store elsewhere with --store DIR";

/// Tells whether an error comes from a disk or a quota that is full.
pub(super) fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
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
