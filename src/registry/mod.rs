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
//! credentials .... docker's config.json, given as bytes
//! authorize ...... challenges, tokens (distribution-spec auth)
//! request ........ one request: its answer judged, attempts with growing pauses
//! repository ..... manifests and blobs: get, has, put
//! image .......... resolve, pull, push
//! config ......... of an image, the config alone
//! layout ......... the same from a directory
//! ```
//!
//! Why not the client of the crate `oci-client` (0.18.0, read and tried; references are its type, which `oci-spec` has):
//! it reads manifests, tokens and error bodies of any length into memory; a token with a line end in it, which any
//! server may send, makes it panic; a failed authorization is dropped and the request sent without one; it asks for
//! `/v2/` before every request of a registry without tokens; `Retry-After` and often the status do not reach the caller,
//! so that nothing can be retried as the server wants it; and it brings a second HTTP client with proxies of its own.

mod authorize;
mod config;
mod credentials;
mod error;
mod image;
mod layout;
mod manifest;
mod platform;
mod repository;
mod request;

pub use config::{config, layout_config};
pub use credentials::Credentials;
pub use error::RegistryError;
pub use image::{Image, PARALLEL, pull, push, resolve};
pub use layout::Layout;
pub use manifest::{Descriptor, Manifest};
pub use oci_spec::distribution::Reference;
pub use platform::Platform;
pub use repository::{Registry, Repository};
