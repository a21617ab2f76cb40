//! Why nothing was signed, and why a signature is not believed.

use std::io;
use std::path::{Path, PathBuf};

use crate::dist::DistError;

/// Why something could not be signed, or signatures not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The program is not on this machine.
    #[error("`{program}` is not installed")]
    NoProgram {
        /// `gpg`, `cosign`.
        program: &'static str,
    },
    /// Nobody has such a secret key.
    #[error("there is no secret key `{id}` in {place}")]
    NoKey {
        /// As it was asked for.
        id: String,
        /// Where it was looked for.
        place: String,
    },
    /// Several keys are meant.
    #[error("`{id}` means several secret keys: {}", fingerprints.join(", "))]
    Ambiguous {
        /// As it was asked for.
        id: String,
        /// Which ones.
        fingerprints: Vec<String>,
    },
    /// The key may not sign any more, or never could.
    #[error("the key {fingerprint} ({user}) {why}")]
    Unusable {
        /// Which one.
        fingerprint: String,
        /// Whose.
        user: String,
        /// Why.
        why: String,
    },
    /// The key is of tomorrow.
    #[error("the key {fingerprint} was made {seconds} seconds after what this machine's clock says")]
    KeyOfTheFuture {
        /// Which one.
        fingerprint: String,
        /// How far the clock is behind at least.
        seconds: i64,
    },
    /// Files are of tomorrow.
    #[error("`{}` was written {seconds} seconds after what this machine's clock says", path.display())]
    FileOfTheFuture {
        /// The file.
        path: PathBuf,
        /// How far the clock is behind at least.
        seconds: i64,
    },
    /// The passphrase is wrong.
    #[error("the passphrase of the key {fingerprint} is wrong")]
    WrongPassphrase {
        /// Which one.
        fingerprint: String,
    },
    /// Nobody told the passphrase.
    #[error("the key {fingerprint} has a passphrase, and nobody can be asked for it here")]
    NoPassphrase {
        /// Which one.
        fingerprint: String,
    },
    /// What was given as a secret key is none.
    #[error("{place} holds no armoured secret key")]
    NotAKey {
        /// Which variable.
        place: String,
    },
    /// What was given as public keys is something else.
    #[error("`{}` holds no public key", path.display())]
    NoPublicKey {
        /// The file.
        path: PathBuf,
    },
    /// A secret key was given where a public one belongs.
    #[error("`{}` holds a secret key, where a public one belongs", path.display())]
    SecretKey {
        /// The file.
        path: PathBuf,
    },
    /// No file system in memory.
    #[error("there is no directory in memory for the key: looked at {}", places.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", "))]
    NoMemory {
        /// Where it was looked for.
        places: Vec<PathBuf>,
    },
    /// A signature is there already.
    #[error("`{}` is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What is to be signed is no release as it was made.
    #[error(transparent)]
    Dist(#[from] DistError),
    /// The program did not do it.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// `gpg`, `cosign`.
        program: &'static str,
        /// Its last words.
        said: String,
    },
    /// A file or program could not be used.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl SignError {
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Tells whether the machine cannot, rather than what was given being wrong.
    pub fn is_machine(&self) -> bool {
        if let Self::Dist(error) = self {
            return !error.is_input();
        }
        matches!(
            self,
            Self::NoProgram { .. }
                | Self::NoMemory { .. }
                | Self::KeyOfTheFuture { .. }
                | Self::FileOfTheFuture { .. }
                | Self::Io { .. }
                | Self::Failed { .. }
        )
    }

    /// Returns the way out, where one is known.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoProgram { program: "cosign" } => {
                "install it: go install github.com/sigstore/cosign/v3/cmd/cosign@latest"
            }
            Self::NoProgram { .. } => "install GnuPG: apt install gnupg",
            Self::NoKey { .. } => "gpg --list-secret-keys shows what there is; docs/signing.md tells of keys in CI",
            Self::Ambiguous { .. } => "name one of them by its whole fingerprint",
            Self::Unusable { .. } => "lengthen its life (gpg --quick-set-expire), or sign with another key",
            Self::KeyOfTheFuture { .. } | Self::FileOfTheFuture { .. } => {
                "set the clock: signatures of the past are believed by nobody"
            }
            Self::WrongPassphrase { .. } | Self::NoPassphrase { .. } => {
                "put it into DOCKLESS_GPG_PASSPHRASE, or let gpg-agent ask on a terminal (GPG_TTY=$(tty))"
            }
            Self::NotAKey { .. } => "make one with: gpg --armor --export-secret-keys FINGERPRINT",
            Self::NoPublicKey { .. } | Self::SecretKey { .. } => "make one with: gpg --armor --export FINGERPRINT",
            Self::NoMemory { .. } => "mount a tmpfs at /dev/shm, or sign with a key of your own keyring: --key ID",
            Self::Exists { .. } => "sign again with --replace",
            Self::Dist(error) => return error.help(),
            Self::Failed { .. } | Self::Io { .. } => return None,
        })
    }
}

/// Why a signature is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The file has other bytes than what was signed.
    #[error("the signature is of other bytes")]
    Bad,
    /// Nobody that is believed made it.
    #[error("signed by the key {key}, which is not among those that are believed")]
    Stranger {
        /// As much of it as the signature tells.
        key: String,
    },
    /// The key was lost, stolen or replaced.
    #[error("the key {key} was revoked")]
    Revoked {
        /// Which one.
        key: String,
    },
    /// The key has expired.
    #[error("the key {key} has expired")]
    ExpiredKey {
        /// Which one.
        key: String,
    },
    /// The signature itself has expired.
    #[error("the signature has expired")]
    Expired,
    /// A digest that can be forged.
    #[error("it is made with {algorithm}, which can be forged")]
    Weak {
        /// `MD5`, `SHA1`.
        algorithm: &'static str,
    },
    /// It is of tomorrow.
    #[error("it was made {seconds} seconds after what this machine's clock says: one of the clocks is wrong")]
    Future {
        /// How far.
        seconds: i64,
    },
    /// The key is in the keyring, but nobody said that it belongs to whom it says.
    #[error("the key {key} is in the keyring, but not one that you trust")]
    Untrusted {
        /// Which one.
        key: String,
    },
    /// It cannot be read.
    #[error("it is no signature that can be understood: {said}")]
    Unreadable {
        /// What the program said.
        said: String,
    },
}
