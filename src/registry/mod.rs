//! Images and blobs from elsewhere: registries (`distribution-spec`) and image layouts on disk (`image-spec
//! image-layout.md`), into the store; and back to registries.
//!
//! What always holds: a blob is visible in the store only after its digest *and* its size were found to be what a
//! manifest promised, and a manifest only if its digest is what was asked for or what an index promised. Manifests,
//! tokens and error texts are bounded while they come; layers go to disk as they come. Nothing is encrypted only
//! towards loopback addresses and hosts that the caller names. Credentials go to the registry and to the realm that it
//! names, never to where a redirect or an upload's `Location` leads. A finished image asks no server.
//!
//! ```text
//! platform ....... which manifest of an index
//! manifest ....... manifests and indexes, read strictly
//! hosts .......... mirrors, certificates, exceptions; duration: Go's way to write times
//! credentials .... docker's config.json and its like; program: those that keep them elsewhere
//! authorize ...... challenges, tokens (distribution-spec auth)
//! request ........ one request: its answer judged, attempts with growing pauses
//! endpoint ....... one address of a repository; blob: blobs from and to it
//! repository ..... manifests and blobs, from whichever address has them
//! incoming ....... what a pull brings, out of sight until it is whole
//! image .......... resolve, pull, push
//! referrers ...... what refers to a manifest
//! config ......... of an image, the config alone
//! layout ......... the same from a directory
//! ```
//!
//! Why not the client of the crate `oci-client` (0.18.0, read and tried):
//! it reads manifests, tokens and error bodies of any length into memory; a token with a line end in it, which any
//! server may send, makes it panic; a failed authorization is dropped and the request sent without one; it asks for
//! `/v2/` before every request of a registry without tokens; `Retry-After` and often the status do not reach the caller,
//! so that nothing can be retried as the server wants it; and it brings a second HTTP client with proxies of its own.

mod authorize;
mod blob;
mod config;
mod credentials;
mod duration;
mod endpoint;
mod error;
mod help;
mod hosts;
mod image;
mod incoming;
mod layout;
mod manifest;
mod platform;
mod program;
mod reach;
mod referrers;
mod repository;
mod request;
mod token;

pub use crate::oci::Reference;
pub use config::{config, layout_config};
pub use credentials::Credentials;
pub use error::RegistryError;
pub use hosts::Hosts;
pub use image::{Image, PARALLEL, pull, pull_into, push, resolve};
pub use incoming::Incoming;
pub use layout::Layout;
pub use manifest::{Descriptor, Manifest};
pub use platform::Platform;
pub use reach::Reached;
pub use referrers::{Referrer, referrers};
pub use repository::{ORIGINS, Registry, Repository};
pub use token::Token;
