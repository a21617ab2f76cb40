//! What is in a result and how it was made, as documents: SBOM (SPDX 2.3, CycloneDX 1.6) and provenance (in-toto
//! Statement v1 with a SLSA v1 predicate).
//!
//! ```text
//! of_lowered  recipes  -> Materials      of_graph  a definition -> Materials      of_tree  a tree -> Inventory
//! Bom         -> spdx, cyclonedx         Provenance -> provenance
//! ```
//!
//! What always holds: documents are functions of values. There is no clock, no environment, no path and no name of the
//! machine in them; equal values give equal bytes, since everything is sorted and identities are digests of what they
//! name. [`of_tree`] looks at files, and [`directory`] at those of the project: below the root that it is given, never
//! following a link out of it, never running anything, and with a bound on everything it reads.
//!
//! Nothing is guessed: a licence that is no SPDX expression is quoted as what it is, one that is not declared is
//! `NOASSERTION`, and an input whose digest nobody knows says so.
//!
//! Why not the models of the SBOM crates: they bring types for what we never say, and leave order, identities and times
//! to the caller, which is all there is to it.

mod apk;
mod bom;
mod component;
mod cyclonedx;
mod directory;
mod document;
mod dpkg;
mod error;
mod graph;
mod input;
mod license;
mod lowered;
mod name;
mod provenance;
mod python;
mod spdx;
mod tree;
mod vendored;

pub use bom::Bom;
pub use component::{Component, Kind};
pub use cyclonedx::cyclonedx;
pub use directory::directory;
pub use document::{CYCLONEDX, Document, Format, IN_TOTO, PREDICATE_TYPE, SLSA_PROVENANCE, SPDX, STATEMENT};
pub use error::AttestError;
pub use graph::of_graph;
pub use input::{DigestSet, Input};
pub use license::License;
pub use lowered::{Asked, CHECKOUT, of_lowered, scripts};
pub use name::{cpe, purl};
pub use provenance::{Build, DEFINITION_BUILD, Materials, Provenance, RECIPE_BUILD, Subject, provenance};
pub use spdx::spdx;
pub use tree::{Inventory, Passed, of_tree};
