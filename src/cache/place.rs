//! Where a cache is: a directory or a tag of a repository.

use std::fmt;
use std::path::PathBuf;

use super::config::MOST;
use super::error::CacheError;
use super::layout;
use crate::http::Stop;
use crate::oci::Digest;
use crate::progress::Progress;
use crate::registry::{Descriptor, Layout, Manifest, Reference, Registry};
use crate::store::Store;

/// Where a cache is.
#[derive(Debug, Clone)]
pub enum Place {
    /// An OCI image layout.
    Directory(PathBuf),
    /// A tag of a repository.
    Registry(Box<Registry>, Reference),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Registry(_, reference) => write!(f, "{reference}"),
        }
    }
}

impl Place {
    /// Reads the bytes of the config, verified.
    pub(super) fn config(&self, store: &Store, stop: &Stop, progress: &dyn Progress) -> Result<Vec<u8>, CacheError> {
        let what = self.to_string();
        let told = (progress, Digest::of(what.as_bytes()));
        let manifest: Manifest = match self {
            Self::Directory(path) => layout::manifest(path, stop, store)?,
            Self::Registry(registry, reference) => {
                let name = reference.digest().or_else(|| reference.tag()).unwrap_or("latest");
                registry.repository(reference)?.get_manifest(name, progress)?
            }
        };
        let (config, _): (Descriptor, _) = manifest.image(&what)?;
        if config.media_type != super::config::MEDIA_TYPE {
            return Err(CacheError::Config { reason: format!("its config is `{}`", config.media_type) });
        }
        if config.size > MOST {
            return Err(CacheError::TooLarge { what: format!("the config of {what}"), most: MOST });
        }
        self.blob(&config.digest, config.size, store, stop, told)?;
        let path = store.path(&config.digest);
        std::fs::read(&path).map_err(CacheError::io("read", &path))
    }

    /// Brings a blob into a store, verified.
    pub(super) fn blob(
        &self,
        digest: &Digest,
        size: u64,
        store: &Store,
        stop: &Stop,
        told: (&dyn Progress, Digest),
    ) -> Result<(), CacheError> {
        match self {
            Self::Directory(path) => Layout::open(path, stop.clone())?.blob(digest, Some(size), store)?,
            Self::Registry(registry, reference) => {
                registry.repository(reference)?.get_blob(digest, Some(size), store, told)?
            }
        };
        Ok(())
    }
}
