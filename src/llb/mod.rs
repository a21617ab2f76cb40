//! BuildKit LLB: graphs of build operations and their bytes (`ops.proto`).
//!
//! What always holds of a [`Graph`]:
//! - every input names a vertex of the graph, so the graph is closed and, digests being what they are, acyclic;
//! - vertices stand in topological order, inputs first;
//! - the digest of a vertex is the SHA-256 of its marshalled op *as received*: a foreign op is never decoded and encoded
//!   again to find out what it is called;
//! - equal graphs have equal bytes: maps are ordered, equal vertices are one vertex.
//! - every index of every operation names something, every output is asked for by its number, and no path holds a NUL:
//!   a definition of which that cannot be said is refused with the op and the reason (`validate.rs`).
//!
//! Whether a graph may run here is another question, answered by [`Executor::admit`] before anything runs.
//!
//! On the wire a graph is a `Definition`: marshalled ops, the last one without an operation and with one input, which is
//! the result; metadata by digest beside them (names, capabilities), never part of a digest.
//!
//! `pb.rs` is generated from `ops.proto` with ordered maps and checked in, so that building needs neither `protoc` nor
//! a build script. Why not the `buildkit-llb` crate: see docs/dependencies.md.

mod admit;
mod build;
mod caps;
mod error;
mod graph;
mod json;
mod load;
mod location;
pub mod op;
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub, reason = "generated from ops.proto")]
#[rustfmt::skip]
pub mod pb;
mod platform;
mod render;
pub mod source;
mod svg;
mod validate;
mod validate_file;
mod wire;

pub use admit::{Entitlement, EntitlementError, Executor, Refusal, entitlements};
pub use build::GraphBuilder;
pub use error::{Defect, GraphError, OpName};
pub use graph::{Edge, Graph, Vertex};
pub use json::json_lines;
pub use location::Span;
pub(crate) use platform::normalise;
pub use render::{dot, tree};
pub use svg::svg;
pub use wire::LARGEST;
