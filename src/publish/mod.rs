//! A release directory goes to where people find it: GitHub, GitLab, an OCI registry, a directory.
//!
//! What always holds: everything is checked before anything is changed (bytes against SHA256SUMS, token, clock, the tag's
//! commit, files of the same name there); what is there with the same bytes is left alone, what is there with other bytes
//! is replaced only when asked; what people see comes last (a draft is published, links and tags are set, a directory is
//! renamed), so that a release is seen whole; what a failure leaves behind is said, and the same command goes on from
//! there.
//!
//! ```text
//! publication .... what is published, and the checks that need no server
//! steps .......... each step shown; what is done when something fails
//! github ......... a release with assets: draft, assets, publication
//! gitlab ......... generic packages, then a release with links to them
//! registry ....... artifacts: an index of tarballs, everything else as referrers
//! directory ...... DEST/TAG/, written beside and renamed
//! expire ......... releases that are older than their channel keeps them
//! previous ....... the release before, for the notes of the next one
//! ```

mod directory;
mod error;
mod expire;
mod github;
mod gitlab;
mod previous;
mod publication;
mod registry;
mod steps;

pub use directory::to_directory;
pub use error::PublishError;
pub use expire::{Expired, Retention, Shelf, expired, remove};
pub use github::to_github;
pub use gitlab::{Package, to_gitlab};
pub use previous::previous;
pub use publication::{Publication, Published};
pub use registry::{ARTIFACT, to_registry};
