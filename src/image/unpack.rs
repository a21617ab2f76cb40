//! An image becomes a directory: all of its layers, one over the other (`image-spec layer.md#applying-changesets`).
//!
//! Each layer is decompressed and checked against its diff ID by one thread while another one writes files: what is
//! published was what the config promised.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::error::ImageError;
use super::tags::image;
use crate::export::NewDirectory;
use crate::http::Stop;
use crate::layer::{LayerError, Limits, UnpackOptions, Unpacked, decompress, unpack as unpack_layer};
use crate::oci::{Digest, Hasher};
use crate::registry::{Image, Platform};
use crate::store::Store;

/// Decompressed bytes that wait to be written, in pieces.
const PIECES: usize = 8;

/// Bytes of a piece.
const PIECE: usize = 256 << 10;

/// An image on disk.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The image.
    pub image: Image,
    /// Its config.
    pub config: serde_json::Value,
    /// What all layers together brought, and what could not be done.
    pub unpacked: Unpacked,
}

/// Unpacks an image of the store into a directory at `destination`, new or empty, which appears whole or not at all.
/// With `single_id` what belongs to others stays ours and is counted.
///
/// # Errors
/// `Layer`, `Digest`, `Export`, `Stopped` and those of [`image`].
pub fn unpack(
    store: &Store,
    digest: &Digest,
    platform: (&Platform, bool),
    what: &str,
    destination: &Path,
    (single_id, stop): (bool, &Stop),
) -> Result<Tree, ImageError> {
    let (image, config) = image(store, digest, platform, what)?;
    let draft = NewDirectory::begin(destination)?;
    let unpacked = lay(store, &image, what, draft.path(), single_id, stop)?;
    draft.publish()?;
    Ok(Tree { image, config, unpacked })
}

/// Unpacks the layers of an image into a directory in the making.
pub(super) fn lay(
    store: &Store,
    image: &Image,
    what: &str,
    root: &Path,
    single_id: bool,
    stop: &Stop,
) -> Result<Unpacked, ImageError> {
    let options = UnpackOptions { single_id, ..UnpackOptions::default() };
    let mut all = Unpacked::default();
    for (layer, diff_id) in image.layers.iter().zip(&image.diff_ids) {
        let failed = |source| ImageError::Layer { digest: layer.digest, image: what.to_owned(), source };
        let file = store.read(&layer.digest)?;
        let (unpacked, actual) = thread::scope(|scope| {
            let (sender, receiver) = sync_channel(PIECES);
            let feeder = scope.spawn(|| feed(file, sender, stop));
            let unpacked = unpack_layer(Fed { receiver, piece: Vec::new(), at: 0 }, root, &options);
            (unpacked, feeder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        if stop.asked() {
            return Err(ImageError::Stopped { what: what.to_owned() });
        }
        let unpacked = unpacked.map_err(failed)?;
        let actual = actual.map_err(|source| failed(LayerError::Read { source }))?;
        if actual != diff_id.0 {
            let what = format!("the content of layer {} of {what}", layer.digest);
            return Err(ImageError::Digest { what, expected: diff_id.0, actual });
        }
        all.entries += unpacked.entries;
        all.bytes += unpacked.bytes;
        all.owners_refused += unpacked.owners_refused;
        all.attributes_refused += unpacked.attributes_refused;
        let known: Vec<PathBuf> = unpacked.devices.into_iter().filter(|path| !all.devices.contains(path)).collect();
        all.devices.extend(known);
    }
    Ok(all)
}

/// Decompresses a layer into pieces; returns the digest of all of them.
#[expect(clippy::needless_pass_by_value, reason = "the end of the sender tells the other one that no more comes")]
fn feed(file: std::fs::File, sender: SyncSender<io::Result<Vec<u8>>>, stop: &Stop) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let read = || -> io::Result<()> {
        let mut bytes = decompress(file, &Limits::default())?;
        loop {
            let mut piece = vec![0; PIECE];
            let mut filled = 0;
            while filled < piece.len() {
                match bytes.read(&mut piece[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            piece.truncate(filled);
            hasher.update(&piece);
            // Whoever wrote has stopped listening: the reason is theirs to tell.
            if filled == 0 || stop.asked() || sender.send(Ok(piece)).is_err() {
                return Ok(());
            }
        }
    };
    if let Err(error) = read() {
        // Both ends learn of it.
        let _ = sender.send(Err(io::Error::new(error.kind(), error.to_string())));
        return Err(error);
    }
    Ok(hasher.finish())
}

/// The other end.
struct Fed {
    receiver: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            let Ok(piece) = self.receiver.recv() else { return Ok(0) };
            (self.piece, self.at) = (piece?, 0);
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
