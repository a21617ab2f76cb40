//! What a build leaves for builds elsewhere: records and layers, in a directory or a registry.
//!
//! What always holds: nothing of a cache is believed. Manifest, config and layers are read by digest and size and are
//! bounded; a layer counts only once its files were hashed and are what the config says (`crate::snapshot`). Whatever
//! is wrong with a cache is said aloud and skipped: it never fails a build. Nothing here ends in the store by itself;
//! what travels lies in a store of its own, which goes with the run.
//!
//! ```text
//! OCI image layout, or a repository (image-spec image-layout.md, manifest.md#guidelines-for-artifact-usage)
//!   index.json -> manifest   artifactType application/vnd.dockless.cache.v1+json
//!     config                 {"version":1,"records":{"<key>":[{"snapshot":…,"content":…},…]},
//!                             "layers":{"<snapshot>":{"parent":…,"tree":…,"since":…,"digest":…,"size":…,"length":…}},
//!                             "mounts":{"<name>":{"digest":…,"size":…,"length":…}}}
//!     layers                 packed layers with whiteouts and exact times, zstd or gzip
//! ```
//!
//! Keys consist of contents only, so they mean the same on every machine. Records of steps whose trees do not travel
//! travel all the same: they say what a step made, which is all that the keys of later steps need. Bases travel never:
//! whoever has the graph has their sources. Why not BuildKit's format: its keys are digests of vertices and of links
//! between them, which say nothing about contents, so that nothing could be verified.

mod caches;
mod config;
mod error;
mod export;
mod layout;
mod place;

pub use caches::Caches;
pub use config::{Carried, Config, Output, Packed};
pub use error::{CacheError, causes};
pub use export::Exporter;
pub use place::Place;
