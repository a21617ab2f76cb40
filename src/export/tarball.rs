//! Trees without image around them.

use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use super::artifact::{Artifact, ArtifactKind, Draft, draft_directory, publish_directory};
use super::aside;
use super::error::ExportError;
use crate::http::Stop;
use crate::layer::{
    Compression, Compressor, LayerError, Owner, PackOptions, PackTimes, UnpackOptions, pack, tree_digest, unpack,
};
use crate::oci::Digest;

/// How a tarball is made.
#[derive(Debug, Clone)]
pub struct TarballOptions {
    /// Times of the entries.
    pub times: PackTimes,
    /// Whose the files are.
    pub owner: Owner,
    /// Directory that everything goes under; empty for none.
    pub prefix: PathBuf,
    /// How it is compressed.
    pub compression: Compression,
    /// Threads that compress; the bytes do not depend on it.
    pub jobs: NonZeroUsize,
    /// Ends the export soon when it says so.
    pub stop: Stop,
}

/// Packs `tree` into one file at `destination`, sorted. Replaces a file that is there.
///
/// # Errors
/// `Pack`, `Io`, `Destination`.
pub fn tarball(tree: &Path, options: &TarballOptions, destination: &Path) -> Result<Artifact, ExportError> {
    let draft = Draft::new(destination)?;
    let (digest, size) = stream_tarball(tree, options, draft.writer())?;
    let path = draft.publish()?;
    Ok(Artifact { path, kind: ArtifactKind::Tarball, digest, size, image: None })
}

/// Packs `tree` into `out`, sorted; returns the digest of the bytes and their number.
///
/// # Errors
/// `Pack`, `Io`.
pub fn stream_tarball(tree: &Path, options: &TarballOptions, out: impl Write) -> Result<(Digest, u64), ExportError> {
    let written = |source| ExportError::Io { action: "write the archive of", path: tree.to_owned(), source };
    let TarballOptions { times, owner, .. } = *options;
    let how = PackOptions { times, overlay: false, root: false, owner, prefix: options.prefix.clone() };
    aside::hashed(Stoppable { out, stop: options.stop.clone() }, |out| {
        let mut compressor = Compressor::new(out, options.compression, options.jobs).map_err(written)?;
        pack_buffered(tree, &how, &mut compressor)?;
        compressor.finish().map_err(written).map(|_| ())
    })
}

/// Ends writing soon after somebody asked to.
struct Stoppable<W> {
    out: W,
    stop: Stop,
}

impl<W: Write> Write for Stoppable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.asked() {
            return Err(io::Error::other("stopped"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Packs with few large writes instead of many small ones.
pub(super) fn pack_buffered(tree: &Path, options: &PackOptions, out: impl Write) -> Result<u64, ExportError> {
    let failed = |source| ExportError::Pack { tree: tree.to_owned(), source };
    let mut out = BufWriter::with_capacity(256 << 10, out);
    let packed = pack(tree, options, &mut out).map_err(failed)?;
    out.flush().map_err(|source| failed(LayerError::Write { source }))?;
    Ok(packed.size)
}

/// Copies `tree` to a directory at `destination`, which must be new or empty. Modes, links and attributes stay,
/// times are as asked for, and what cannot be given away belongs to whoever exports.
///
/// # Errors
/// `Occupied`, `Copy`, `Io`, `Destination`.
pub fn directory(tree: &Path, times: PackTimes, destination: &Path) -> Result<Artifact, ExportError> {
    let draft = draft_directory(destination)?;
    let failed = |source| ExportError::Copy { tree: tree.to_owned(), destination: destination.to_owned(), source };
    let (reader, writer) = io::pipe().map_err(ExportError::io("make a pipe to", destination))?;
    let how = PackOptions { times, overlay: false, root: false, owner: Owner::Keep, prefix: PathBuf::new() };
    // Through an archive: packing and unpacking already know links, attributes, devices and their limits.
    let size = thread::scope(|scope| {
        let packer = scope.spawn(|| {
            let mut writer = BufWriter::with_capacity(64 << 10, writer);
            pack(tree, &how, &mut writer)?;
            writer.flush().map_err(|source| LayerError::Write { source })
        });
        let options = UnpackOptions { single_id: true, ..UnpackOptions::default() };
        let unpacked = unpack(reader, draft.path(), &options);
        // The packer's error is the cause where both fail: then the archive is merely cut short.
        match packer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            Err(error @ LayerError::Write { .. }) => unpacked.and(Err(error)),
            Err(error) => Err(error),
            Ok(()) => unpacked.map(|unpacked| unpacked.bytes),
        }
    })
    .map_err(failed)?;
    let digest = tree_digest(draft.path()).map_err(failed)?;
    publish_directory(draft, destination)?;
    Ok(Artifact { path: destination.to_owned(), kind: ArtifactKind::Directory, digest, size, image: None })
}
