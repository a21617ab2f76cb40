//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

use crate::oci::Digest;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("failed to {action} `{}`{}", path.display(), way_out(source))]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Bytes have another digest than promised; nothing was stored.
    #[error("blob {expected} arrived as {actual} ({size} bytes): the source sent something else, or it was damaged")]
    Mismatch {
        /// The digest asked for.
        expected: Digest,
        /// The digest of the bytes that came.
        actual: Digest,
        /// How many bytes came.
        size: u64,
    },
    /// A blob is not in the store.
    #[error("blob {digest} is not in the store `{}`", root.display())]
    Missing {
        /// The digest asked for.
        digest: Digest,
        /// The store's directory.
        root: PathBuf,
    },
    /// The directory was made by a newer dockless.
    #[error(
        "store `{}` has format {found}, this dockless knows formats up to {supported}: use a newer dockless, \
         or another directory (--store DIR)",
        root.display()
    )]
    Newer {
        /// The store's directory.
        root: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format known here.
        supported: u64,
    },
    /// The directory has files in it but is no store.
    #[error(
        "`{}` holds other files and is not a dockless store: choose an empty or new directory (--store DIR)",
        root.display()
    )]
    Foreign {
        /// The directory.
        root: PathBuf,
    },
    /// A file of the store's own does not read as it must.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A room, key or tag that cannot be a file name.
    #[error("`{name}` cannot name a record: use letters, digits and `._:@+=-`, at most 200 bytes, no leading dot")]
    Name {
        /// The name as given.
        name: String,
    },
}

impl StoreError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Tells whether the disk, or the user's share of it, is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns the hint that belongs behind an I/O error, or nothing.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (the disk is full: free some space, or put the store elsewhere with --store DIR)"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            " (the store must be writable for you: mend its owner, or use another with --store DIR)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_names_the_way_out() {
        let error = StoreError::io("write", Path::new("/s/tmp/x"))(io::Error::from(io::ErrorKind::StorageFull));
        assert!(error.is_disk_full());
        assert_eq!(
            error.to_string(),
            "failed to write `/s/tmp/x` (the disk is full: free some space, or put the store elsewhere with --store DIR)"
        );
    }
}
