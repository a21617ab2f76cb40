//! Whether a release is what it says: sums, signatures, documents against the content of tarballs, and a build again.
//!
//! ```text
//! directory, tarball .. Asked -> Verdict, a row for each check: passed, failed, missing, unchecked
//! contents ............ what is in a tarball, read once and put nowhere
//! sbom ................ SPDX, CycloneDX: about this tarball, every component in it, everything in it listed
//! provenance .......... about this tarball, complete, of the parameters that name and tree say -> Claim
//! differences ......... what two tarballs have otherwise, for a build again
//! ```
//!
//! What always holds: nothing of a release is executed, nothing is fetched, nothing is written but in temporary directories.
//! Nobody is believed whom the caller did not name: a signature of whoever is in the user's keyring proves nothing.
//!
//! Documents are of our own making and are held against the tarball, not against their schemas: those are for whoever makes
//! them (`scripts/validate-documents`). Why not trust documents that a valid SHA256SUMS names: a sum says that nobody changed
//! them since, not that they are true.

mod compare;
mod contents;
mod error;
mod provenance;
mod sbom;
mod verdict;
mod walk;

pub use compare::differences;
pub use error::VerifyError;
pub use provenance::Claim;
pub use verdict::{Outcome, Row, Verdict};
pub use walk::{Asked, claim, directory, rebuilt, tarball};
