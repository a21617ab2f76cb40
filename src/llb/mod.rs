//! BuildKit LLB: graphs of build operations and their bytes (`ops.proto`).
//!
//! What always holds of a [`Graph`]:
//! - every input names a vertex of the graph, so the graph is closed and, digests being what they are, acyclic;
//! - vertices stand in topological order, inputs first;
//! - the digest of a vertex is the SHA-256 of its marshalled op *as received*: a foreign op is never decoded and encoded
//!   again to find out what it is called;
//! - equal graphs have equal bytes: maps are ordered, equal vertices are one vertex.
//!
//! On the wire a graph is a `Definition`: marshalled ops, the last one without an operation and with one input, which is
//! the result; metadata by digest beside them (names, capabilities), never part of a digest.
//!
//! `pb.rs` is generated from `ops.proto` with ordered maps and checked in, so that building needs neither `protoc` nor
//! a build script. Why not the `buildkit-llb` crate: see docs/dependencies.md.

mod build;
mod caps;
mod graph;
mod json;
pub mod op;
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub, reason = "generated from ops.proto")]
#[rustfmt::skip]
pub mod pb;
mod render;
pub mod source;

pub use build::GraphBuilder;
pub use graph::{Edge, Graph, GraphError, Vertex};
pub use render::{dot, json_lines, tree};
