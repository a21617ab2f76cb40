//! What keeps a release from being published.

use std::io;
use std::path::{Path, PathBuf};

use crate::dist::DistError;
use crate::forge::ForgeError;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// Why a release is not published, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The directory is no release, or was changed.
    #[error(transparent)]
    Dist(#[from] DistError),
    /// A forge refused, or was not reached.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// A registry refused, or was not reached.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The place where artifacts are put together failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The tag is taken.
    #[error("the tag `{tag}` of {place} is on commit {theirs}, but this release is of {ours}")]
    TagElsewhere {
        /// The tag.
        tag: String,
        /// Where.
        place: String,
        /// The commit that it is on.
        theirs: String,
        /// The commit of the release.
        ours: String,
    },
    /// A tag that is to be made, and nobody says on what.
    #[error("{place} has no tag `{tag}`, and nothing says which commit it is to be on")]
    NoCommit {
        /// The tag.
        tag: String,
        /// Where.
        place: String,
    },
    /// Something of that name is there, with other content.
    #[error("{place} already has {}, with other content than this release", names.join(", "))]
    Different {
        /// Where.
        place: String,
        /// What.
        names: Vec<String>,
    },
    /// A release that takes nothing any more.
    #[error("the release `{tag}` of {place} is immutable and lacks {}", names.join(", "))]
    Immutable {
        /// The tag.
        tag: String,
        /// Where.
        place: String,
        /// What it lacks.
        names: Vec<String>,
    },
    /// Tarballs without the signatures that they must have.
    #[error("no signature is beside {}, and this channel asks for one", names.join(", "))]
    Unsigned {
        /// The tarballs.
        names: Vec<String>,
    },
    /// Files of a later time than now.
    #[error("this machine's clock is behind: it says {now} and `{}` was written at {written}", path.display())]
    Future {
        /// The file.
        path: PathBuf,
        /// The clock, RFC 3339.
        now: String,
        /// The file's time, RFC 3339.
        written: String,
    },
    /// What was published is not what is there now.
    #[error("{place} has the release `{tag}` now, but {reason}")]
    Unlike {
        /// Where.
        place: String,
        /// Which one.
        tag: String,
        /// What is not as it should be.
        reason: String,
    },
    /// Something was done already when it failed.
    #[error("the release `{tag}` of {place} is unfinished: {step} failed after {done} of {steps} steps; {state}")]
    Unfinished {
        /// Where.
        place: String,
        /// Which one.
        tag: String,
        /// What failed.
        step: String,
        /// Steps that are done.
        done: usize,
        /// Steps in all.
        steps: usize,
        /// What people see now.
        state: &'static str,
        /// Why.
        source: Box<PublishError>,
    },
}

impl PublishError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Tells whether the run was interrupted.
    pub fn is_stopped(&self) -> bool {
        match self {
            Self::Forge(error) => error.is_stopped(),
            Self::Registry(RegistryError::Stopped { .. }) => true,
            Self::Unfinished { source, .. } => source.is_stopped(),
            _ => false,
        }
    }

    /// Tells whether what the user gave is wrong rather than the machine or the network.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Dist(error) => error.is_input(),
            Self::Forge(error) => error.is_input(),
            Self::Registry(error) => error.is_input(),
            Self::Unfinished { source, .. } => source.is_input(),
            Self::Store(_) | Self::Io { .. } | Self::Future { .. } | Self::Unlike { .. } => false,
            Self::TagElsewhere { .. }
            | Self::NoCommit { .. }
            | Self::Different { .. }
            | Self::Immutable { .. }
            | Self::Unsigned { .. } => true,
        }
    }

    /// Tells whether it is this machine's fault.
    pub fn is_machine(&self) -> bool {
        match self {
            Self::Store(_)
            | Self::Io { .. }
            | Self::Future { .. }
            | Self::Forge(ForgeError::Clock { .. } | ForgeError::Io { .. } | ForgeError::Http(_)) => true,
            Self::Dist(error) => !error.is_input(),
            Self::Unfinished { source, .. } => source.is_machine(),
            _ => false,
        }
    }

    /// Returns the way out, where one is known.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::Dist(error) => return error.help().map(str::to_owned),
            Self::Forge(error) => return error.help(),
            Self::Registry(error) => return error.help(),
            Self::TagElsewhere { .. } => {
                "take another tag (`dockless tag` names the next free one), or publish the release of that commit; nothing \
                 was changed"
            }
            Self::NoCommit { .. } => "say it with --commit, or push the tag first",
            Self::Different { .. } => "take another tag, or replace what is there with --replace; nothing was changed",
            Self::Immutable { .. } => "take another tag: what is immutable cannot be completed",
            Self::Unsigned { .. } => {
                "sign them (`dockless sign`), or publish to a channel that asks for no signatures \
                 (recipes/release.toml)"
            }
            Self::Future { .. } => {
                "set the clock (`timedatectl set-ntp true`, or `date -s`), and run the same command again"
            }
            Self::Unlike { .. } => "look at the release, and run the same command again with --replace if it is yours",
            Self::Unfinished { source, .. } => {
                let first = source.help().map(|help| format!("{help}\n")).unwrap_or_default();
                return Some(format!("{first}the same command goes on from here: what is there is left alone"));
            }
            Self::Store(_) | Self::Io { .. } => return None,
        };
        Some(help.to_owned())
    }
}
