//! Root filesystems as values: made of Debian packages (lists, locks, apt's configuration, packages, the merged tree), or
//! an image of a registry.
//!
//! ```text
//! base ... rootfs/<name>.toml    which image, and its lock; the rest of this drawing is about packages
//! list ... rootfs/<name>.toml    which packages, and what maintainer scripts would have done
//! lock ... rootfs/<name>.lock    exactly which .debs, and the digest of the image they make
//! apt .... text of apt's files -> mirrors
//! deb .... a .deb -> its data archive -> members
//! tree ... members of all packages -> one tree
//! layer .. tree -> the bytes of an OCI layer; image -> config and manifest
//! ```
//!
//! What always holds: no network and no program is used here, and the same lock and list give the same bytes whoever
//! runs it and wherever. `source` fetches the packages and puts the image into the store.
//!
//! Why not debootstrap or dpkg: they run maintainer scripts, which need root and leave machine-made bytes behind.

mod apt;
mod base;
mod deb;
mod error;
mod image;
mod layer;
mod list;
mod lock;
mod pair;
mod tree;

pub use apt::{AptSource, debian_sources, parse_list, parse_mirror_list, parse_sources};
pub use base::{Base, BaseImage, BaseLock};
pub use deb::{Kind, Member, extract, members};
pub use error::{Picture, RootfsError};
pub use image::{Blob, blobs, config, manifest};
pub use list::{List, Mode};
pub use lock::{Lock, Package};
pub use pair::Rootfs;
pub use tree::Tree;
