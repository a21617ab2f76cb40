//! Signatures of releases: OpenPGP by gpg, sigstore bundles by cosign; made for a release directory and checked beside files.
//!
//! ```text
//! check .......... a trial signature, before anything is built
//! sign, bundle ... X.tar.gz.asc, SHA256SUMS.asc; X.tar.gz.sigstore.json, SHA256SUMS.sigstore.json; all or none
//! Checker ........ a signature by whom the caller believes -> Signed, or a Doubt
//! Cosign ......... the same for bundles
//! ```
//!
//! What always holds of secrets:
//! - A passphrase goes to gpg through a pipe; it is in no argument, no file, no message.
//! - A secret key that is given as text goes through a pipe into a directory (mode 0700) on a file system in memory, in which
//!   it keeps its passphrase; when the signatures are made, its gpg-agent is told to end and the directory is removed. Where
//!   there is no file system in memory, it is refused. `SIGKILL` leaves the directory until the machine is started anew.
//! - Programs that we run do not inherit the variables that hold the two.
//!
//! What is signed is read strictly before ([`crate::dist`]): a signature vouches for all of a release.
//!
//! Why gpg, and not a library (`pgp`, `sequoia-openpgp`): people's keys are in its keyring, behind its agent and on cards that
//! only it talks to; and a library for keys as text alone would bring some hundred crates, among them all of public-key
//! cryptography, for what a pipe and a directory in memory do.

mod cosign;
mod directory;
mod error;
mod gpg;
mod home;
mod key;
mod openpgp;
mod secret;
mod signer;

pub use cosign::{Bundles, Cosign};
pub use directory::{bundle, is_signed, sign};
pub use error::{Doubt, SignError};
pub use key::Key;
pub use openpgp::{Believed, Checker, Signed};
pub use secret::Secret;
pub use signer::{Asked, KEY_VARIABLE, PASSPHRASE_VARIABLE, check};
