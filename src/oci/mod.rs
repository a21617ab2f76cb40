//! The words of the OCI image specification that every floor uses.
//!
//! A digest, a diff ID and a chain ID are three types, so that the compressed bytes of a layer, its uncompressed
//! tar and a stack of layers can never be taken for one another (`image-spec config.md#layer-diffid`).
//! Manifests and configs themselves are the types of the `oci-spec` crate.

mod config;
mod digest;
mod platform;
mod reference;

pub use config::diff_ids;
pub use digest::{ChainId, DiffId, Digest, DigestError, Hasher};
pub use platform::{Arch, ArchError};
pub use reference::{Reference, ReferenceError};
