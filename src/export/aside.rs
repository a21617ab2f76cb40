//! Hashing in a thread of its own, while the next bytes are packed and written.
//!
//! A few buffers go round between the two threads: memory does not grow with the artifact, and whoever is faster waits.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use crate::oci::{Digest, Hasher};

/// Buffers on their way.
const BUFFERS: usize = 8;

/// Passes bytes on, and a copy of them to the thread that hashes.
#[derive(Debug)]
pub(super) struct Aside<W> {
    out: W,
    hashing: SyncSender<Vec<u8>>,
    back: Receiver<Vec<u8>>,
}

/// Lets `write` write to `out`; returns the digest of the bytes and their number.
///
/// # Errors
/// Those of `write`.
pub(super) fn hashed<E>(
    out: impl Write,
    write: impl FnOnce(&mut Aside<&mut dyn Write>) -> Result<(), E>,
) -> Result<(Digest, u64), E> {
    let (hashing, coming) = sync_channel::<Vec<u8>>(BUFFERS);
    let (used, back) = channel();
    let mut out = out;
    thread::scope(|scope| {
        let hasher = scope.spawn(move || {
            let mut hasher = Hasher::default();
            for buffer in coming {
                hasher.update(&buffer);
                // The other thread may be done already.
                let _ = used.send(buffer);
            }
            (hasher.size(), hasher.finish())
        });
        let mut aside = Aside { out: &mut out as &mut dyn Write, hashing, back };
        let written = write(&mut aside);
        // What nobody sends to any more ends.
        drop(aside);
        let (size, digest) = hasher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.map(|()| (digest, size))
    })
}

impl<W: Write> Write for Aside<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        let mut buffer = self.back.try_recv().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(&bytes[..count]);
        self.hashing.send(buffer).map_err(|_| io::Error::other("the thread that hashes has ended"))?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_what_was_written() {
        let mut out = Vec::new();
        let piece: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let write = |aside: &mut Aside<&mut dyn Write>| (0..50).try_for_each(|_| aside.write_all(&piece));
        let (digest, size) = hashed::<io::Error>(&mut out, write).expect("written");
        assert_eq!((digest, size), (Digest::of(&out), 3_500_000));
    }

    #[test]
    fn a_failure_of_the_writer_is_what_is_told() {
        let failed = hashed(io::empty(), |_| Err("no"));
        assert_eq!(failed, Err("no"));
    }
}
