//! A result that comes as one archive (`filesync.proto FileSend`): bytes in messages until the daemon has no more.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::content::disk;
use super::files::blocking;
use crate::buildkit::message::Piece;
use crate::grpc::{Receiving, Status};
use crate::oci::Digest;
use crate::store::Store;

/// Where an archive is noted that has come whole.
#[derive(Debug, Clone, Default)]
pub struct Received(Arc<Mutex<Option<(Digest, u64)>>>);

impl Received {
    /// Returns the blob of the store that the archive is, and its bytes; `None` while none has come.
    pub fn blob(&self) -> Option<(Digest, u64)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps an archive in the store; one that breaks off leaves nothing.
pub(super) async fn receive(store: &Store, received: &Received, receiving: &mut Receiving) -> Result<(), Status> {
    let mut writer = store.writer().map_err(|error| disk(&error))?;
    while let Some(piece) = receiving.next::<Piece>().await? {
        writer = blocking(move || {
            writer.write_all(&piece.data).map_err(|error| disk(&error))?;
            Ok(writer)
        })
        .await?;
    }
    let stored = blocking(move || writer.commit().map_err(|error| disk(&error))).await?;
    *received.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((stored.digest, stored.size));
    Ok(())
}
