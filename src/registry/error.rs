//! What can go wrong between a reference and an image.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;

use crate::http::{Attempts, HttpError, Last, Said, Wait, is_transient};
use crate::oci::Digest;
use crate::store::StoreError;

/// Why an image or a blob could not be had, or not be given away. `what` names it with its registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
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
    /// There is no HTTP client.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Not a reference.
    #[error("`{text}` is not an image reference: {reason}")]
    Reference {
        /// As given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file with credentials that does not read as it must.
    #[error("`{}` is no docker configuration: {reason}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file about registries that does not read as it must.
    #[error("`{}` does not say how to reach a registry: {reason}", path.display())]
    Hosts {
        /// The file, or the flag.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry does not let us.
    #[error("{what}: the registry answered {status}{}; {}", Said(said), Sent { user: sent.as_deref(), places })]
    Denied {
        /// What was asked for.
        what: String,
        /// HTTP status, 401 or 403.
        status: StatusCode,
        /// The registry's own words, the first ones.
        said: String,
        /// Whose credentials were shown.
        sent: Option<String>,
        /// Files that were looked into.
        places: String,
    },
    /// The registry said no.
    #[error("{what}: the registry answered {status}{}{}{}", Said(said), Wait(*.after), Attempts(*.attempts))]
    Status {
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: StatusCode,
        /// The registry's own word for it (`distribution-spec spec.md#error-codes`); empty where it has none.
        code: String,
        /// And its own sentences, the first ones.
        said: String,
        /// How long it asks to wait.
        after: Option<Duration>,
        /// How often it was asked.
        attempts: usize,
    },
    /// No connection, a broken one, or an answer that is not HTTP.
    #[error("{what}: {}{}", Last(source), Attempts(*.attempts))]
    Request {
        /// What was asked for.
        what: String,
        /// What the client said.
        source: reqwest::Error,
        /// How often it was tried.
        attempts: usize,
    },
    /// The connection ended early.
    #[error("{what}: the connection ended after {received} of {expected} bytes{}", Attempts(*.attempts))]
    Cut {
        /// What was asked for.
        what: String,
        /// Bytes that came.
        received: u64,
        /// Bytes in all.
        expected: u64,
        /// How often it was tried.
        attempts: usize,
    },
    /// Nothing came for too long.
    #[error("{what}: nothing came for {} s{}", waited.as_secs_f32(), Attempts(*.attempts))]
    Stalled {
        /// What was asked for.
        what: String,
        /// For how long.
        waited: Duration,
        /// How often it was tried.
        attempts: usize,
    },
    /// Other bytes than promised.
    #[error("{what} is {actual} but {expected} was promised: nothing of it was used")]
    Digest {
        /// What was asked for.
        what: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// More or fewer bytes than promised.
    #[error("{what} has {actual} bytes{} but {expected} were promised", if *.more { " or more" } else { "" })]
    Size {
        /// What was asked for.
        what: String,
        /// The size promised.
        expected: u64,
        /// The size found.
        actual: u64,
        /// Whether the transfer was ended at `actual` bytes, so that there may be more.
        more: bool,
    },
    /// More bytes than anything of the kind may have.
    #[error("{what} has more than {most} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The bound.
        most: u64,
    },
    /// A manifest, index or config that makes no sense.
    #[error("{what}: {reason}")]
    Manifest {
        /// Which one.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An index without a manifest for the platform.
    #[error("{what} has nothing for {wanted}, only for {}", found.join(", "))]
    Platform {
        /// Which index.
        what: String,
        /// The platform asked for.
        wanted: String,
        /// What it has.
        found: Vec<String>,
    },
    /// The registry's way to authorize makes no sense, or was refused.
    #[error("{what}: {reason}")]
    Token {
        /// What was asked for.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A directory that is no image layout, or lacks what was asked for.
    #[error("image layout `{}`: {reason}", path.display())]
    Layout {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The network must not be used.
    #[error("{what} is not in the store and --offline forbids to fetch it")]
    Offline {
        /// What was asked for.
        what: String,
    },
    /// The run was interrupted.
    #[error("interrupted while fetching {what}")]
    Stopped {
        /// What was asked for.
        what: String,
    },
}

impl RegistryError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Tells whether another attempt may help, and how long the server asks to wait at least.
    pub(super) fn again(&self) -> Option<Duration> {
        match self {
            Self::Status { status, after, .. } => {
                matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504).then_some(after.unwrap_or_default())
            }
            Self::Request { source, .. } => is_transient(source).then_some(Duration::ZERO),
            Self::Cut { .. } | Self::Stalled { .. } => Some(Duration::ZERO),
            _ => None,
        }
    }

    /// Tells whether it is this server's fault, so that another may do better.
    pub(super) fn is_of_server(&self) -> bool {
        matches!(
            self,
            Self::Status { .. }
                | Self::Denied { .. }
                | Self::Request { .. }
                | Self::Cut { .. }
                | Self::Stalled { .. }
                | Self::Digest { .. }
                | Self::Size { .. }
                | Self::TooLarge { .. }
                | Self::Token { .. }
        )
    }

    /// Tells whether nobody answered in the way that was hoped for.
    pub(super) fn is_unreached(&self) -> bool {
        matches!(self, Self::Request { .. } | Self::Stalled { .. })
    }

    /// Tells whether no connection came about at all.
    pub(super) fn is_connect(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_connect())
    }

    /// Notes how often it was tried.
    pub(super) fn counted(mut self, count: usize) -> Self {
        if let Self::Status { attempts, .. }
        | Self::Request { attempts, .. }
        | Self::Cut { attempts, .. }
        | Self::Stalled { attempts, .. } = &mut self
        {
            *attempts = count;
        }
        self
    }

    /// Tells whether what was asked for is not there, or not for us.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Status { status, .. } if matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE))
    }

    /// Tells whether what the user gave is wrong rather than the machine or the network.
    pub fn is_input(&self) -> bool {
        matches!(
            self,
            Self::Reference { .. }
                | Self::Credentials { .. }
                | Self::Hosts { .. }
                | Self::Denied { .. }
                | Self::Digest { .. }
                | Self::Size { .. }
                | Self::TooLarge { .. }
                | Self::Manifest { .. }
                | Self::Platform { .. }
                | Self::Layout { .. }
                | Self::Offline { .. }
        ) || self.is_missing()
    }
}

struct Sent<'a> {
    user: Option<&'a str>,
    places: &'a str,
}

impl fmt::Display for Sent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user {
            Some(user) => write!(f, "the credentials of `{user}` were shown"),
            None => write!(f, "no credentials were shown: {} has none for it", self.places),
        }
    }
}
