//! gRPC over one HTTP/2 connection, in both roles (`grpc/doc/PROTOCOL-HTTP2.md`).
//!
//! What always holds: a message is taken whole or not at all and never larger than [`LARGEST`]; a call ends with one
//! [`Status`], also where the connection broke; a connection that answers no ping for [`SILENCE`] is given up, so that
//! nobody waits for a machine that is gone.
//!
//! ```text
//! call      POST /package.Service/Method    content-type: application/grpc    te: trailers
//! message   0x00  length (4 bytes, big endian)  protobuf bytes
//! end       trailers grpc-status, grpc-message (percent-encoded)
//! ```
//!
//! Why not `tonic`: BuildKit wants us to be its server over a stream that is itself a call of ours, and to see every
//! broken connection; `h2` is in the tree through `reqwest`, and what gRPC adds to it is these few hundred lines.

mod call;
mod client;
mod message;
mod server;
mod status;

pub use call::{Receiving, Sending};
pub use client::{Channel, SILENCE};
pub use message::LARGEST;
pub use server::{Answer, Call, serve};
pub use status::{Code, Status};
