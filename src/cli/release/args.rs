//! The command line of `dockless release`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::caches::CacheArgs;
use crate::cli::failure::Failure;
use crate::cli::limit::{LimitArgs, duration};
use crate::cli::sign::SigningArgs;
use crate::dist;
use crate::oci::Arch;

pub(in crate::cli) const EXAMPLES: &str = "Examples:
  dockless release                                 everything that recipes/release.toml names, into dist/
  dockless release 3.12 3.11 --arch x86_64 --keep-going
  dockless release --tag \"$(dockless tag)\" --name 'standalone-python-{version}-{arch}-{date}'

One stage at a time, each on a machine of its own if wanted:
  dockless release --stage build 3.12 --arch x86    into build/
  dockless release --stage test build               into test/
  dockless release --stage package test             into package/
  dockless release --stage release package other    into dist/

The same command goes on where another one was interrupted. Exit code 1: a variant failed; its logs are in dist.failed/.
docs/release.md tells what is in each directory.";

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StageArg {
    /// Builds and packs
    Build,
    /// Tests what was built
    Test,
    /// Adds checksums to what was tested
    Package,
    /// Joins packages into a release
    Release,
}

impl StageArg {
    /// Returns what it takes directories of; nothing for the first, which takes versions.
    pub(super) const fn takes(self) -> Option<dist::Stage> {
        match self {
            Self::Build => None,
            Self::Test => Some(dist::Stage::Build),
            Self::Package => Some(dist::Stage::Test),
            Self::Release => Some(dist::Stage::Package),
        }
    }

    /// Returns the directory that it makes, unless another is named.
    pub(super) const fn out(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Test => "test",
            Self::Package => "package",
            Self::Release => "dist",
        }
    }
}

/// Arguments of `release`.
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// Series or versions; 3.13t is the free-threaded build of 3.13 [default: recipes/release.toml]. With --stage test, package
    /// and release: directories that the stage before made [default: build, test, package]
    #[arg(value_name = "VERSION|DIR")]
    pub(super) what: Vec<String>,
    /// Architectures [default: recipes/release.toml]
    #[arg(long, value_delimiter = ',')]
    pub(super) arch: Vec<Arch>,
    /// Only one stage, which leaves a directory for the next one [default: all of them]
    #[arg(long, value_enum, value_name = "STAGE")]
    pub(super) stage: Option<StageArg>,
    /// Where the result goes; a release that is there is replaced, anything else is not [default: dist; build, test and
    /// package of these stages]
    #[arg(long, value_name = "DIR", alias = "dist")]
    pub(super) out: Option<PathBuf>,
    /// Finish the others when a variant fails
    #[arg(long, env = "DOCKLESS_KEEP_GOING")]
    pub(super) keep_going: bool,
    /// How long a variant may take from when work on it begins, e.g. 90m or 3h
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "180m", env = "DOCKLESS_TIMEOUT")]
    pub(super) timeout: Duration,
    /// What tarballs are called, with {version}, {arch} and if wanted {date} between hyphens [default: recipes/release.toml]
    #[arg(long, value_name = "PATTERN")]
    pub(super) name: Option<String>,
    /// The day that names are made of, UTC [default: `SOURCE_DATE_EPOCH`, or today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) date: Option<jiff::civil::Date>,
    /// Also makes the -full tarballs: the same interpreter with CPython's tests, static pieces and debug information
    #[arg(long)]
    pub(super) full: bool,
    /// The tag of the release
    #[arg(long, value_name = "TAG")]
    pub(super) tag: Option<String>,
    /// The release before, which the notes compare with: its release.json, or its directory
    #[arg(long, value_name = "FILE|DIR")]
    pub(super) previous: Option<PathBuf>,
    /// A template of the notes, as `dockless describe` takes it
    #[arg(long, value_name = "FILE")]
    pub(super) template: Option<PathBuf>,
    #[command(flatten)]
    pub(super) signing: SigningArgs,
    #[command(flatten)]
    pub(super) caches: CacheArgs,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
}

impl Release {
    /// Returns the stage, where only one is asked for.
    pub(in crate::cli) const fn stage(&self) -> Option<StageArg> {
        self.stage
    }

    /// Returns where the result goes.
    pub(super) fn place(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| self.stage.unwrap_or(StageArg::Release).out().into())
    }

    /// Returns the directories that a stage takes.
    pub(super) fn roots(&self, stage: dist::Stage) -> Vec<PathBuf> {
        if self.what.is_empty() { vec![stage.name().into()] } else { self.what.iter().map(PathBuf::from).collect() }
    }

    /// Tells whether a release comes of it.
    pub(super) const fn ends(&self) -> bool {
        matches!(self.stage, None | Some(StageArg::Release))
    }

    /// Refuses options that mean nothing in this stage, before anything is done.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let builds = matches!(self.stage, None | Some(StageArg::Build));
        let ends = self.ends();
        let of_build = [
            ("--arch", !self.arch.is_empty()),
            ("--full", self.full),
            ("--name", self.name.is_some()),
            ("--date", self.date.is_some()),
            ("--cache-from", !self.caches.cache_from.is_empty()),
            ("--cache-to", !self.caches.cache_to.is_empty()),
        ];
        let of_end = [
            ("--tag", self.tag.is_some()),
            ("--previous", self.previous.is_some()),
            ("--template", self.template.is_some()),
            ("--key", self.signing.key.is_some()),
            ("--cosign-key", self.signing.cosign_key.is_some()),
            ("--cosign-keyless", self.signing.cosign_keyless),
        ];
        let of_build =
            of_build.iter().filter(|(_, is_given)| *is_given && !builds).map(|(option, _)| (option, "build"));
        let of_end = of_end.iter().filter(|(_, is_given)| *is_given && !ends).map(|(option, _)| (option, "release"));
        let Some((option, other)) = of_build.chain(of_end).next() else { return Ok(()) };
        let stage = self.stage.map_or("", StageArg::word);
        Err(Failure::Usage { message: format!("{option} is for --stage {other}, not for --stage {stage}") })
    }
}

impl StageArg {
    const fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Test => "test",
            Self::Package => "package",
            Self::Release => "release",
        }
    }
}
