//! Compression with the same bytes for any number of jobs.
//!
//! gzip is cut into blocks of fixed size. Each block is compressed on its own, primed with the 32 KiB before it, and
//! ends at a byte boundary (a sync flush, RFC 1951 section 3.2.4), so that blocks compressed side by side join to one
//! member that every gzip reads. The size of a block is a constant, hence the bytes depend on the input, the level and
//! the version of the encoder only.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::thread;

use flate2::{Compress, Crc, FlushCompress};

use crate::oci::{DiffId, Hasher};

/// Bytes of input to a gzip block.
const BLOCK: usize = 1 << 20;

/// Bytes before a block that its matches may reach (the window of RFC 1951).
const WINDOW: usize = 32 << 10;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952), level 1 to 9.
    Gzip {
        /// Level; others are brought into the range.
        level: u32,
    },
    /// Zstandard (RFC 8878), level 1 to 19.
    Zstd {
        /// Level; others are brought into the range.
        level: i32,
    },
}

impl Compression {
    /// Returns the media type of a layer so compressed (`image-spec layer.md#applicationvndociimagelayerv1targzip`).
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip { .. } => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd { .. } => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// Compresses what is written to it; `finish` writes the end.
pub struct Compressor<W: Write> {
    kind: Encoder<W>,
}

enum Encoder<W: Write> {
    None(W),
    Gzip(Gzip<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> std::fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl<W: Write> Compressor<W> {
    /// Begins a stream into `out`, compressing with at most `jobs` threads.
    ///
    /// # Errors
    /// What `out` says, or an encoder without memory.
    pub fn new(out: W, compression: Compression, jobs: NonZeroUsize) -> io::Result<Self> {
        let kind = match compression {
            Compression::None => Encoder::None(out),
            Compression::Gzip { level } => Encoder::Gzip(Gzip::new(out, level.clamp(1, 9), jobs.get())?),
            Compression::Zstd { level } => {
                let mut encoder = zstd::Encoder::new(out, level.clamp(1, 19))?;
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
        };
        Ok(Self { kind })
    }

    /// Ends the stream and gives the writer back.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(self) -> io::Result<W> {
        match self.kind {
            Encoder::None(mut out) => {
                out.flush()?;
                Ok(out)
            }
            Encoder::Gzip(gzip) => gzip.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.kind {
            Encoder::None(out) => out.write(bytes),
            Encoder::Gzip(gzip) => gzip.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: a flush in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Gzip<W> {
    out: W,
    level: u32,
    jobs: usize,
    crc: Crc,
    /// What is to be compressed, after the window of `history` bytes that already was.
    pending: Vec<u8>,
    history: usize,
}

impl<W: Write> Gzip<W> {
    fn new(mut out: W, level: u32, jobs: usize) -> io::Result<Self> {
        // RFC 1952 section 2.3: deflate, no name, no time; extra flags tell the extreme levels; system 3 is Unix.
        let extra = match level {
            1 => 4,
            9 => 2,
            _ => 0,
        };
        out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra, 3])?;
        Ok(Self { out, level, jobs, crc: Crc::new(), pending: Vec::new(), history: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let batch = self.history + 2 * self.jobs * BLOCK;
        let count = bytes.len().min(batch - self.pending.len());
        self.crc.update(&bytes[..count]);
        self.pending.extend_from_slice(&bytes[..count]);
        if self.pending.len() == batch {
            self.batch(false)?;
        }
        Ok(count)
    }

    fn finish(mut self) -> io::Result<W> {
        self.batch(true)?;
        // RFC 1952: CRC-32 and the length modulo 2^32, which `Crc` counts the same way.
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Compresses everything pending: whole blocks, and at the end also the rest, which may be empty.
    fn batch(&mut self, last: bool) -> io::Result<()> {
        let mut blocks = Vec::new();
        let mut start = self.history;
        while self.pending.len() - start >= BLOCK {
            blocks.push((start, start + BLOCK, FlushCompress::Sync));
            start += BLOCK;
        }
        if last {
            blocks.push((start, self.pending.len(), FlushCompress::Finish));
        }
        let (pending, level) = (&self.pending, self.level);
        let queue = Mutex::new(blocks.into_iter().enumerate());
        let work = || {
            let mut done = Vec::new();
            loop {
                let next = queue.lock().expect("nobody panics with the queue").next();
                let Some((index, (start, end, flush))) = next else { return done };
                let window = &pending[start.saturating_sub(WINDOW)..start];
                done.push((index, block(window, &pending[start..end], level, flush)));
            }
        };
        let mut compressed: Vec<(usize, io::Result<Vec<u8>>)> = thread::scope(|scope| {
            let helpers: Vec<_> = (1..self.jobs).map(|_| scope.spawn(work)).collect();
            let mut all = work();
            for helper in helpers {
                all.extend(helper.join().expect("compressing does not panic"));
            }
            all
        });
        compressed.sort_by_key(|(index, _)| *index);
        for (_, bytes) in compressed {
            self.out.write_all(&bytes?)?;
        }
        self.pending.drain(..self.pending.len().saturating_sub(WINDOW));
        self.history = self.pending.len();
        Ok(())
    }
}

/// Compresses one block that follows `window`.
fn block(window: &[u8], bytes: &[u8], level: u32, flush: FlushCompress) -> io::Result<Vec<u8>> {
    let mut state = Compress::new(flate2::Compression::new(level), false);
    if !window.is_empty() {
        state.set_dictionary(window).map_err(io::Error::other)?;
    }
    let mut out = Vec::with_capacity(bytes.len() / 2 + 1024);
    loop {
        let consumed = usize::try_from(state.total_in()).expect("a block fits the memory");
        let status = state.compress_vec(&bytes[consumed..], &mut out, flush).map_err(io::Error::other)?;
        let all_in = usize::try_from(state.total_in()).expect("a block fits the memory") == bytes.len();
        let done = match flush {
            FlushCompress::Finish => status == flate2::Status::StreamEnd,
            // A sync flush is complete when there was room left behind it.
            _ => all_in && out.len() < out.capacity(),
        };
        if done {
            return Ok(out);
        }
        out.reserve(out.capacity().max(1024));
    }
}

/// Passes bytes on and hashes them on the way: around a tar's writer it gives the diff ID.
#[derive(Debug)]
pub struct Hashed<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Hashed<W> {
    /// Wraps `out`.
    pub fn new(out: W) -> Self {
        Self { out, hasher: Hasher::default() }
    }

    /// Gives the writer back, with the digest of what went through and its size in bytes.
    pub fn finish(self) -> (W, DiffId, u64) {
        let size = self.hasher.size();
        (self.out, DiffId(self.hasher.finish()), size)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
