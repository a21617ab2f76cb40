//! What can go wrong between a pin and its bytes.

use std::io;
use std::path::{Path, PathBuf};

use super::git::GitError;
use super::identifier::IdentifierError;
use super::reason::{Known, Lines, Reason, Tried};
use crate::http::HttpError;
use crate::oci::Digest;
use crate::pattern::PatternError;
use crate::registry::RegistryError;
use crate::rootfs::RootfsError;
use crate::store::StoreError;

/// Why a source could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
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
    /// A registry or an image layout failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A repository could not be had.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A source operation names nothing.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
    /// A pattern means nothing.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A file behind an address could not be had.
    #[error("{}: {}", tried.origin, tried.reason)]
    Download {
        /// The address, without credentials, and why it did not serve.
        tried: Tried,
    },
    /// A secret is missing, or cannot stand in a header.
    #[error("`{what}` needs the secret `{name}`, one line of it")]
    Secret {
        /// The secret's name.
        name: String,
        /// For what, without credentials.
        what: String,
    },
    /// The network must not be used and nothing is known of an address.
    #[error("`{what}` was never fetched and --offline forbids to do it now")]
    OfflineSource {
        /// The address, without credentials.
        what: String,
    },
    /// Something in a directory was replaced while it was copied.
    #[error("`{}` was changed while it was copied", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// A device, which only the machine's root may make.
    #[error("`{}` is a device and cannot be copied", path.display())]
    Special {
        /// Which file.
        path: PathBuf,
    },
    /// A root filesystem's list, lock or package is wrong.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// An origin has other bytes under this name.
    #[error("`{file}` from {origin} is {actual} ({size} bytes) but the lock names {expected}: nothing of it was used")]
    Digest {
        /// The file's name.
        file: String,
        /// Where the bytes came from, without credentials.
        origin: String,
        /// The digest that the lock names.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
        /// The number of bytes that came.
        size: u64,
    },
    /// An origin has a file of another size under this name.
    #[error(
        "`{file}` from {origin} has {actual} bytes{} but the lock names {expected} bytes",
        if *.more { " or more" } else { "" }
    )]
    Size {
        /// The file's name.
        file: String,
        /// Where the bytes came from, without credentials.
        origin: String,
        /// The size in bytes that the lock names, or the bound where it names none.
        expected: u64,
        /// The size in bytes that the origin has.
        actual: u64,
        /// Whether the transfer was ended at `actual` bytes, so that there may be more.
        more: bool,
    },
    /// Every origin failed.
    #[error("no origin has `{file}` ({digest}):{}", Lines(tried))]
    Unavailable {
        /// The file's name.
        file: String,
        /// Its digest.
        digest: Digest,
        /// Each origin and why it failed.
        tried: Vec<Tried>,
    },
    /// The network must not be used and the file is not here.
    #[error(
        "`{file}` ({digest}) is neither in the store nor in a --source-dir directory, and --offline forbids to \
         download it; it is to be had from:{}",
        Known(origins)
    )]
    Offline {
        /// The file's name.
        file: String,
        /// Its digest.
        digest: Digest,
        /// Where it could be had.
        origins: Vec<String>,
    },
    /// A pin whose file name is not one.
    #[error("`{file}` is not a plain file name, so no source may be called that")]
    FileName {
        /// The name as given.
        file: String,
    },
    /// The HTTP client could not be made.
    #[error("failed to set up the HTTP client")]
    Client {
        /// What it said.
        source: reqwest::Error,
    },
    /// A proxy's address makes no sense.
    #[error("proxy `{proxy}` is not an address like http://host:port")]
    Proxy {
        /// The address as given, without credentials.
        proxy: String,
        /// What is wrong with it.
        source: reqwest::Error,
    },
    /// The run was interrupted.
    #[error("interrupted while fetching `{file}`")]
    Stopped {
        /// The file's name.
        file: String,
    },
    /// An assembled root filesystem is not the one that its lock names.
    #[error("root filesystem `{name}` turned out as {actual} but its lock names {expected}")]
    Image {
        /// Its name.
        name: String,
        /// The manifest that the lock names.
        expected: Digest,
        /// The manifest that came out.
        actual: Digest,
    },
    /// A root filesystem is an image of which only the tag is known.
    #[error("root filesystem `{name}` is `{image}`, which has no lock for what is built")]
    Unlocked {
        /// Name of the root filesystem.
        name: String,
        /// The image.
        image: String,
    },
    /// A program of apt's failed.
    #[error("`{command}` failed ({status}):\n{output}")]
    Apt {
        /// The command line.
        command: String,
        /// Exit code or signal.
        status: String,
        /// What it said, the last lines.
        output: String,
    },
    /// A program of apt's said something that we do not understand.
    #[error("apt's answer for `{package}` lacks {what}")]
    AptAnswer {
        /// The package.
        package: String,
        /// What is missing.
        what: &'static str,
    },
    /// No mirror is known.
    #[error("no Debian mirror is known: apt's configuration on this machine names none")]
    NoMirror,
}

impl From<HttpError> for SourceError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Io { action, source } => Self::Io { action, path: "http".into(), source },
            // Sources are fetched with the authorities of the system alone.
            HttpError::Client { source } | HttpError::Certificate { source } => Self::Client { source },
            HttpError::Proxy { proxy, source } => Self::Proxy { proxy, source },
        }
    }
}

impl SourceError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Tells whether what the user gave is wrong, a file, a flag or an address, rather than the machine or the network.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Rootfs(error) => error.is_input(),
            Self::Registry(error) => error.is_input(),
            Self::Git(error) => error.is_input(),
            Self::Download { tried } => matches!(tried.reason, Reason::Address),
            Self::Identifier(_)
            | Self::Pattern(_)
            | Self::Secret { .. }
            | Self::OfflineSource { .. }
            | Self::Special { .. }
            | Self::Digest { .. }
            | Self::Size { .. }
            | Self::FileName { .. }
            | Self::Offline { .. }
            | Self::Proxy { .. }
            | Self::Image { .. }
            | Self::Unlocked { .. }
            | Self::NoMirror => true,
            Self::Unavailable { tried, .. } => {
                tried.iter().all(|tried| matches!(tried.reason, Reason::Address | Reason::NoMirror))
            }
            _ => false,
        }
    }

    /// Returns the way out, where one is known.
    pub fn help(&self) -> Option<String> {
        const MIRROR: &str = "name a mirror with --debian-mirror URL (it has `dists/` and `pool/` below it)";
        const BY_HAND: &str = "download it by hand into a directory and name that with --source-dir DIR";
        let help = match self {
            Self::Rootfs(error) => return error.help(),
            Self::Registry(error) => return error.help(),
            Self::Git(error) => return error.help(),
            Self::Pattern(error) => error.help(),
            Self::Download { tried } if matches!(tried.reason, Reason::Certificate { .. }) => {
                "install the package ca-certificates, or name your own with SSL_CERT_FILE".to_owned()
            }
            Self::Download { .. } => {
                "mend the address or the connection (proxies are taken from HTTPS_PROXY)".to_owned()
            }
            Self::OfflineSource { .. } => "run the same command once without --offline".to_owned(),
            Self::Changed { .. } => "run the same command again when nothing writes there".to_owned(),
            Self::Special { .. } => "leave it out with an exclude pattern (`.dockerignore`)".to_owned(),
            Self::Digest { .. } | Self::Size { .. } => {
                "if that origin is out of date, give another one with --source-dir DIR or --debian-mirror URL; change \
                 the lock only if you know why the file changed"
                    .to_owned()
            }
            Self::Unavailable { tried, .. } if tried.iter().any(|tried| matches!(tried.reason, Reason::NoMirror)) => {
                format!("{MIRROR}, or {BY_HAND}")
            }
            Self::Unavailable { tried, .. } if tried.iter().any(|t| matches!(t.reason, Reason::Certificate { .. })) => {
                format!("install the package ca-certificates, or name your own with SSL_CERT_FILE; or {BY_HAND}")
            }
            Self::Io { source, .. }
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                "free some space, or put the store elsewhere with --store DIR".to_owned()
            }
            Self::Unavailable { .. } => {
                format!("mend the connection (proxies are taken from HTTPS_PROXY), or {BY_HAND}")
            }
            Self::Offline { .. } => format!("{BY_HAND}, or run `dockless fetch` once without --offline"),
            Self::NoMirror => MIRROR.to_owned(),
            Self::Proxy { .. } => "mend HTTP_PROXY, HTTPS_PROXY or ALL_PROXY in the environment".to_owned(),
            Self::Stopped { .. } => "run the same command again: what has come is kept".to_owned(),
            Self::Image { name, .. } => format!(
                "the lock was written by a dockless that assembles differently, or by hand: write it anew with \
                 `dockless lock --update rootfs/{name}`"
            ),
            Self::Unlocked { name, .. } => format!("run `dockless lock --update rootfs/{name}`"),
            Self::Apt { .. } | Self::AptAnswer { .. } => {
                "the index comes from the first mirror only: name another with --debian-mirror URL".to_owned()
            }
            Self::Io { action: "run", .. } => {
                "resolving needs apt-get and apt-cache: run it on a Debian machine".to_owned()
            }
            _ => return None,
        };
        Some(help)
    }
}
