//! Layers, packed (`image-spec layer.md`).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::ExportError;
use super::options::{ImageOptions, MediaTypes};
use super::tarball::pack_buffered;
use crate::http::Stop;
use crate::layer::{Compression, Compressor, Hashed, Limits, PackOptions, clamp_times, decompress};
use crate::oci::{DiffId, Digest, Hasher};

/// A packed layer (`image-spec layer.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: DiffId,
    /// How it is compressed, as whoever made it says; its bytes are believed.
    pub media_type: String,
}

/// One layer of an image to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageLayer {
    /// A directory.
    Tree {
        /// Where it is.
        path: PathBuf,
        /// It is an upper directory of overlayfs, whose marks become whiteouts.
        overlay: bool,
    },
    /// A layer that is packed already.
    Blob {
        /// Where its bytes are.
        path: PathBuf,
        /// What they are.
        blob: LayerBlob,
    },
}

/// Bytes on their way out.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) content: Content,
}

/// Where bytes are.
#[derive(Debug)]
pub(super) enum Content {
    /// In a file that stays.
    File(PathBuf),
    /// In a file made for this export.
    Made(NamedTempFile),
    /// In memory: a document.
    Bytes(Vec<u8>),
}

impl Blob {
    pub(super) fn document(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), size: bytes.len() as u64, content: Content::Bytes(bytes) }
    }

    /// Writes the bytes to `out`; those of a file of another size than promised are an error.
    pub(super) fn copy(&self, out: &mut impl Write, stop: &Stop) -> Result<(), ExportError> {
        let path = match &self.content {
            Content::Bytes(bytes) => {
                return out.write_all(bytes).map_err(ExportError::io("write", Path::new("a document")));
            }
            Content::File(path) => path.as_path(),
            Content::Made(file) => file.path(),
        };
        let failed = |source| ExportError::Io { action: "copy", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != self.size {
            return Err(ExportError::Damaged { path: path.to_owned(), digest: self.digest });
        }
        let mut left = self.size;
        while left > 0 {
            if stop.asked() {
                return Err(ExportError::Stopped);
            }
            // The kernel copies, where both sides are files.
            let part = io::copy(&mut (&file).take(left.min(STRETCH)), out).map_err(failed)?;
            if part == 0 {
                return Err(ExportError::Damaged { path: path.to_owned(), digest: self.digest });
            }
            left -= part;
        }
        Ok(())
    }
}

/// Bytes copied between two looks at whether to stop.
const STRETCH: u64 = 32 << 20;

/// What a blob's first bytes say of its compression; `None` for what layers are not compressed with.
fn kind(path: &Path) -> io::Result<Option<Kind>> {
    let mut magic = Vec::new();
    File::open(path)?.take(6).read_to_end(&mut magic)?;
    Ok(match magic[..] {
        [0x1f, 0x8b, ..] => Some(Kind::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Kind::Zstd),
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => None,
        _ => Some(Kind::None),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Gzip,
    Zstd,
}

impl Kind {
    const fn of(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip { .. } => Self::Gzip,
            Compression::Zstd { .. } => Self::Zstd,
        }
    }

    /// The usual way of compressing so.
    const fn usual(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip { level: 6 },
            Self::Zstd => Compression::Zstd { level: 3 },
        }
    }
}

/// Packs a layer into a file in `scratch`, or leaves it the blob that it is already where that will do.
///
/// Docker's media types become OCI's or the other way round: the bytes are the same, and readers of one kind of
/// manifest do not know the other kind's layers. Bytes that no reader of such manifests takes are compressed anew.
pub(super) fn layer(
    layer: &ImageLayer,
    options: &ImageOptions,
    scratch: &Path,
) -> Result<(LayerBlob, Blob), ExportError> {
    let named = |compression: Compression| options.media_types.layer(compression).to_owned();
    let (path, blob) = match layer {
        ImageLayer::Tree { path, overlay } => {
            let mut packing = Packing::new(scratch, path, options.compression, options)?;
            let (times, owner) = (options.times, options.owner);
            let how = PackOptions { times, overlay: *overlay, root: false, owner, prefix: PathBuf::new() };
            pack_buffered(path, &how, &mut packing)?;
            return packing.finish(named(options.compression));
        }
        ImageLayer::Blob { path, blob } => (path, blob),
    };
    let found = kind(path).map_err(ExportError::io("read", path))?;
    let fits = found.filter(|found| options.media_types == MediaTypes::Oci || *found != Kind::Zstd);
    let wanted = match fits {
        Some(kind) if !options.force_compression || kind == Kind::of(options.compression) => kind.usual(),
        _ => options.compression,
    };
    let is_to_stay = found == Some(Kind::of(wanted));
    let as_it_is = || {
        let content = Content::File(path.clone());
        let same = LayerBlob { media_type: named(wanted), ..blob.clone() };
        (same, Blob { digest: blob.digest, size: blob.size, content })
    };
    if is_to_stay && options.rewrite_timestamps.is_none() {
        return Ok(as_it_is());
    }
    let failed = |source| ExportError::Io { action: "read the layer", path: path.clone(), source };
    let packed = File::open(path).map_err(failed)?;
    let mut archive = decompress(packed, &Limits::default()).map_err(failed)?;
    let mut packing = Packing::new(scratch, path, wanted, options)?;
    let changed = match options.rewrite_timestamps {
        Some(newest) => {
            let mut archive = BufReader::with_capacity(256 << 10, &mut archive);
            let clamped = clamp_times(&mut archive, newest, &Limits::default(), &mut packing);
            clamped.map_err(|source| ExportError::Pack { tree: path.clone(), source })? > 0
        }
        None => io::copy(&mut archive, &mut packing).map(|_| false).map_err(failed)?,
    };
    if is_to_stay && !changed {
        return Ok(as_it_is());
    }
    let (packed, content) = packing.finish(named(wanted))?;
    if !changed && packed.diff_id != blob.diff_id {
        return Err(ExportError::Damaged { path: path.clone(), digest: blob.diff_id.0 });
    }
    Ok((packed, content))
}

/// A layer on its way into a file.
struct Packing {
    hashed: Hashed<Compressor<Counted>>,
    /// What is packed, for messages.
    of: PathBuf,
    stop: Stop,
}

impl Packing {
    fn new(scratch: &Path, of: &Path, compression: Compression, options: &ImageOptions) -> Result<Self, ExportError> {
        let file = NamedTempFile::new_in(scratch).map_err(ExportError::io("create a file in", scratch))?;
        let blob = Counted { out: BufWriter::with_capacity(256 << 10, file), hasher: Hasher::default() };
        let compressor = Compressor::new(blob, compression, options.jobs).map_err(|source| ExportError::Io {
            action: "write the layer of",
            path: of.to_owned(),
            source,
        })?;
        Ok(Self { hashed: Hashed::new(compressor), of: of.to_owned(), stop: options.stop.clone() })
    }

    fn finish(self, media_type: String) -> Result<(LayerBlob, Blob), ExportError> {
        let failed = |source| ExportError::Io { action: "write the layer of", path: self.of.clone(), source };
        let (compressor, diff_id, _) = self.hashed.finish();
        let Counted { out, hasher } = compressor.finish().map_err(failed)?;
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        let size = hasher.size();
        let digest = hasher.finish();
        Ok((LayerBlob { digest, size, diff_id, media_type }, Blob { digest, size, content: Content::Made(file) }))
    }
}

impl Write for Packing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.asked() {
            return Err(io::Error::other("stopped"));
        }
        self.hashed.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Counted {
    out: BufWriter<NamedTempFile>,
    hasher: Hasher,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
