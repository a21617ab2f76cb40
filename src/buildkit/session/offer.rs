//! What one solve offers to its daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use super::archive::Received;
use crate::oci::Digest;
use crate::registry::Registry;
use crate::store::Store;

/// A directory of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Where it is.
    pub path: PathBuf,
    /// Leave times and odd modes behind, so that two clones of one repository are the same.
    pub normal: bool,
}

/// A blob that a daemon wants and that may have to be made first.
#[derive(Debug)]
pub struct Demand {
    /// Which one.
    pub digest: Digest,
    /// Takes where its bytes are, `None` where the solve has no such blob, or why it could not be had.
    pub answer: oneshot::Sender<Result<Option<PathBuf>, String>>,
}

/// Everything that a daemon may ask for.
pub struct Offer {
    /// Directories by the name of `local://`.
    pub directories: BTreeMap<String, Shared>,
    /// Secrets by id.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Sockets of agents by id.
    pub agents: BTreeMap<String, PathBuf>,
    /// Image layouts that hold caches, which a daemon reads and writes.
    pub caches: BTreeSet<PathBuf>,
    /// Where results go.
    pub store: Store,
    /// Takes a result that comes as one archive; without it none is taken.
    pub archive: Option<Received>,
    /// Who has credentials.
    pub registry: Registry,
    /// Who makes blobs that the graph names.
    pub blobs: mpsc::UnboundedSender<Demand>,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets are never printed.
        f.debug_struct("Offer")
            .field("directories", &self.directories)
            .field("secrets", &self.secrets.len())
            .field("agents", &self.agents)
            .field("caches", &self.caches)
            .finish_non_exhaustive()
    }
}
