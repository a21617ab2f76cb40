//! Decompression by what the bytes are, not by what somebody says they are.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use super::reader::Limits;

/// Output below this is never called a bomb: small files of one byte repeated compress to almost nothing.
const HARMLESS: u64 = 256 << 20;

/// Memory that an xz stream may ask for; level 9 needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Returns the decompressed bytes of a gzip, bzip2, zstd or xz stream (also of several joined ones), or the bytes
/// themselves.
///
/// Reading fails with `InvalidData` once more than `limits.bytes` came out, or more than `limits.ratio` times what
/// went in after the first 256 MiB.
///
/// # Errors
/// What `reader` says, or a decoder without memory.
pub fn decompress<'a>(reader: impl Read + 'a, limits: &Limits) -> io::Result<Box<dyn Read + 'a>> {
    let consumed = Rc::new(Cell::new(0));
    let mut counted = Counted { reader, consumed: Rc::clone(&consumed) };
    let mut magic = Vec::new();
    counted.by_ref().take(6).read_to_end(&mut magic)?;
    let (is_gzip, is_bzip2, is_zstd, is_xz) = (
        magic.starts_with(&[0x1f, 0x8b]),
        magic.starts_with(b"BZh"),
        // A frame, or one to skip before it (RFC 8878, section 3.1).
        magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || matches!(magic[..], [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]),
        magic == [0xfd, b'7', b'z', b'X', b'Z', 0],
    );
    let whole = BufReader::with_capacity(128 << 10, io::Cursor::new(magic).chain(counted));
    let decoder: Box<dyn Read + 'a> = if is_gzip {
        Box::new(flate2::bufread::MultiGzDecoder::new(whole))
    } else if is_bzip2 {
        Box::new(bzip2::bufread::MultiBzDecoder::new(whole))
    } else if is_zstd {
        Box::new(zstd::Decoder::with_buffer(whole)?)
    } else if is_xz {
        let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
            .map_err(io::Error::from)?;
        Box::new(liblzma::bufread::XzDecoder::new_stream(whole, stream))
    } else {
        return Ok(Box::new(whole));
    };
    Ok(Box::new(Guarded { decoder, consumed, produced: 0, bytes: limits.bytes, ratio: limits.ratio }))
}

struct Counted<R> {
    reader: R,
    consumed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.consumed.set(self.consumed.get() + count as u64);
        Ok(count)
    }
}

struct Guarded<'a> {
    decoder: Box<dyn Read + 'a>,
    consumed: Rc<Cell<u64>>,
    produced: u64,
    bytes: u64,
    ratio: u64,
}

impl Read for Guarded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        self.produced += count as u64;
        let bomb = self.produced > HARMLESS && self.produced / self.ratio.max(1) > self.consumed.get();
        if bomb || self.produced > self.bytes {
            let text = format!(
                "{} compressed bytes became more than {} bytes: a compression bomb, or the limit is too low",
                self.consumed.get(),
                self.produced
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}
