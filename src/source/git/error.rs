//! What can go wrong between an address and a tree.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// Why an address or a reference is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitUrlError {
    /// No protocol that we let `git` speak.
    #[error("not an address of a repository: use https://, http://, ssh://, git:// or user@host:path")]
    Protocol,
    /// Something in it that could be taken for an option or a line of its own.
    #[error("an address must not hold control characters or begin a host or user with `-`")]
    Characters,
    /// A reference that is none.
    #[error("`{reference}` is no reference (git-check-ref-format(1))")]
    Reference {
        /// As given.
        reference: String,
    },
}

/// Why a repository could not be had.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address or a reference is none.
    #[error(transparent)]
    Url(#[from] GitUrlError),
    /// There is no `git`.
    #[error("`{remote}` needs the program `git`, which is not on this machine")]
    Missing {
        /// The repository, without credentials.
        remote: String,
    },
    /// `git` failed.
    #[error("failed to {action} `{remote}` ({status}):\n{output}")]
    Failed {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// The repository, without credentials.
        remote: String,
        /// Exit code or signal.
        status: String,
        /// What it said, the last lines, without secrets.
        output: String,
    },
    /// The repository has no such reference.
    #[error("`{remote}` has no branch or tag `{reference}`")]
    Reference {
        /// The repository, without credentials.
        remote: String,
        /// The reference.
        reference: String,
    },
    /// The commit is another than demanded.
    #[error("`{remote}#{reference}` is {actual} but {expected} is demanded: nothing of it was used")]
    Checksum {
        /// The repository, without credentials.
        remote: String,
        /// The reference.
        reference: String,
        /// How the commit's name must begin.
        expected: String,
        /// The commit's name.
        actual: String,
    },
    /// The server does not have the commit any more, or does not give it away.
    #[error("`{remote}` does not give commit {commit} away")]
    Commit {
        /// The repository, without credentials.
        remote: String,
        /// The commit.
        commit: String,
    },
    /// The directory within is none.
    #[error("`{subdir}` of `{remote}` is not a directory, or is reached through a symbolic link")]
    Subdir {
        /// The repository, without credentials.
        remote: String,
        /// The directory within.
        subdir: String,
    },
    /// A secret, agent or setting is missing.
    #[error("`{remote}` needs {what}")]
    Needs {
        /// The repository, without credentials.
        remote: String,
        /// What is missing.
        what: String,
    },
    /// The network must not be used.
    #[error("`{remote}` is not here and --offline forbids to fetch it")]
    Offline {
        /// The repository, without credentials.
        remote: String,
    },
    /// The run was interrupted.
    #[error("interrupted while fetching `{remote}`")]
    Stopped {
        /// The repository, without credentials.
        remote: String,
    },
}

impl GitError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Tells whether what the user gave is wrong rather than the machine or the network.
    pub fn is_input(&self) -> bool {
        matches!(
            self,
            Self::Url(_) | Self::Reference { .. } | Self::Checksum { .. } | Self::Subdir { .. } | Self::Offline { .. }
        )
    }

    /// Returns the way out, where one is known.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::Missing { .. } => "install it (on Debian: `apt-get install git`)",
            Self::Failed { output, .. } if output.contains("could not read Username") => {
                "the server wants to know who asks: give the secret GIT_AUTH_TOKEN"
            }
            Self::Failed { output, .. } if output.contains("ssh: ") && output.contains("not found") => {
                "install ssh (on Debian: `apt-get install openssh-client`)"
            }
            Self::Failed { action: "fetch" | "list the references of", .. } => {
                "mend the address or the connection (proxies are taken from HTTPS_PROXY)"
            }
            Self::Reference { .. } => "look for a misspelt branch or tag",
            Self::Checksum { .. } => "change the checksum only if you know why the repository changed",
            Self::Commit { .. } => "name a branch or tag that has it",
            Self::Offline { .. } => "run the same command once without --offline",
            Self::Stopped { .. } => "run the same command again",
            _ => return None,
        };
        Some(help.to_owned())
    }
}
