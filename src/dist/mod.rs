//! A release directory as it lies on disk, read strictly: what is not vouched for is not published.
//!
//! ```text
//! SHA256SUMS                              `sha256sum` format; vouches for every file but those below
//! SHA256SUMS.asc, SHA256SUMS.sigstore.json   who vouches for it
//! NAME.tar.gz                             a tree; NAME says version and architecture: release-3.12-x86_64
//! NAME.tar.gz.sha256                      must say the same as SHA256SUMS
//! NAME.tar.gz.asc, .sigstore.json         detached signatures
//! NAME.spdx.json .cdx.json .intoto.jsonl .log   what is in it, how it was made
//! release.json                            all of it for programs (`Description`)
//! RELEASE_NOTES.md metrics.prom report.html
//! logs/                                   a log a step; stays here
//! ```
//!
//! Directories of the stages before a release are the same with less in them; `stage` in release.json says which they are.
//!
//! What always holds of a `Dist`: every file that it names is a plain file of this very directory whose bytes have the
//! digest that it says, at the time of opening; names are short and plain, so that they mean the same in a URL, a shell
//! and on every disk; a checksum beside a tarball agrees with SHA256SUMS, and so does release.json.
//!
//! Why not trust release.json alone: whoever changes a tarball can change it too, and people check with `sha256sum -c`.
//! Signatures are `dockless verify`'s business; here they are only found.

mod asset;
mod description;
mod directory;
mod error;
mod sums;

pub use asset::{Asset, Kind, variant_of};
pub use description::{Component, Description, FORMAT, Stage, Step, Test, VariantFacts, VariantOutcome};
pub use directory::{Dist, hash, release_at};
pub use error::DistError;
pub use sums::{SUMS, is_plain, parse, render};
