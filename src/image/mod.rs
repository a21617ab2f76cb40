//! Images as a person handles them: brought, given away, packed into archives, laid out as directories, named.
//!
//! What always holds: a name of the store means a manifest or an index whose blobs were all verified; a load that fails
//! leaves the store as it was, because nothing of an archive gets its name among the blobs before all of it was read and
//! checked; an archive or directory appears at its destination whole or not at all; equal images make equal archives.
//!
//! ```text
//! name ......... `debian` is `docker.io/library/debian:latest`
//! document ..... manifests and indexes of the store, and all that they lead to
//! tags ......... which image a name or a digest means; naming and forgetting
//! transfer ..... pull and push, one platform or all
//! compressed ... plain layers -> gzip or zstd, before they travel
//! pieces ....... the files of an archive or a layout, none of them trusted
//! load, docker . archives and layouts -> store
//! save ......... store -> oci, oci-archive, docker-archive
//! unpack ....... store -> root file system
//! bundle ....... store -> what an OCI runtime starts (image-spec conversion.md)
//! list ......... what there is
//! <store>/untagged/<hex>   manifests that lost their name: what collection frees when no tag leads to them
//! ```
//!
//! A name is kept for the manifest of one platform, or for an index where all of its platforms were asked for. A
//! reference by digest is a name too: `docker.io/library/debian@sha256:…`.
//!
//! Why names are notes in one index and not directories: the store is an image layout, so every other tool that reads
//! layouts reads it.

mod bundle;
mod compressed;
mod docker;
mod document;
mod error;
mod list;
mod load;
mod name;
mod pieces;
mod save;
mod tags;
mod transfer;
mod unpack;

pub use bundle::{BundleOptions, bundle};
pub use compressed::{compressed, is_of_docker_archive};
pub use document::{Content, attached, contents};
pub use error::ImageError;
pub use list::{Details, Listed, details, list};
pub use load::{Archive, Loaded, Naming, load};
pub use name::Name;
pub use save::{Destination, SaveFormat, Saving, save};
pub use tags::{UNTAGGED, find, forget, image, loose, tag};
pub use transfer::{Wanted, pull, push, referrers};
pub use unpack::{Tree, unpack};
