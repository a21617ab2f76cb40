//! Decompression in a thread of its own, so that files are written meanwhile.
//!
//! A few buffers go round between the two threads: memory does not grow with the archive, and whoever is faster waits.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use super::decompress::decompress;
use super::reader::Limits;
use crate::oci::{DiffId, Hasher};

/// Bytes that go from one thread to the other at once.
const BUFFER: usize = 256 << 10;

/// Buffers on their way.
const BUFFERS: usize = 8;

enum Message {
    Bytes(Vec<u8>),
    Failed(io::Error),
    End(Option<DiffId>),
}

/// The decompressed bytes of an archive; dropped, it ends its thread at the next buffer.
#[derive(Debug)]
pub(super) struct Ahead {
    coming: Receiver<Message>,
    back: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
    diff_id: Option<DiffId>,
}

impl Ahead {
    /// Starts to decompress `reader`; with `hash` also to say what it was.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        reader: impl Read + Send + 'scope,
        limits: Limits,
        hash: bool,
    ) -> Self {
        let (out, coming) = sync_channel(BUFFERS);
        let (back, empty) = channel();
        scope.spawn(move || work(reader, &limits, hash, &out, &empty));
        Self { coming, back, current: Vec::new(), at: 0, ended: false, diff_id: None }
    }

    /// Digest of all that was read, once that was all and if it was asked for.
    pub(super) fn diff_id(&self) -> Option<DiffId> {
        self.diff_id
    }
}

fn work(reader: impl Read, limits: &Limits, hash: bool, out: &SyncSender<Message>, empty: &Receiver<Vec<u8>>) {
    let mut hasher = hash.then(Hasher::default);
    let run = || -> io::Result<bool> {
        let mut input = decompress(reader, limits)?;
        loop {
            let mut buffer = empty.try_recv().unwrap_or_default();
            buffer.resize(BUFFER, 0);
            let mut filled = 0;
            while filled < BUFFER {
                match input.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        // What came before may be enough to say what is wrong.
                        buffer.truncate(filled);
                        let _ = out.send(Message::Bytes(buffer));
                        return Err(error);
                    }
                }
            }
            buffer.truncate(filled);
            if let Some(hasher) = &mut hasher {
                hasher.update(&buffer);
            }
            if filled > 0 && out.send(Message::Bytes(buffer)).is_err() {
                // Nobody listens any more.
                return Ok(false);
            }
            if filled < BUFFER {
                return Ok(true);
            }
        }
    };
    // Whoever is gone needs no answer.
    let _ = match run() {
        Ok(true) => out.send(Message::End(hasher.map(|hasher| DiffId(hasher.finish())))),
        Ok(false) => Ok(()),
        Err(error) => out.send(Message::Failed(error)),
    };
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            if self.ended {
                return Ok(0);
            }
            let used = std::mem::take(&mut self.current);
            if used.capacity() > 0 {
                // The other thread may be done already.
                let _ = self.back.send(used);
            }
            self.at = 0;
            match self.coming.recv() {
                Ok(Message::Bytes(bytes)) => self.current = bytes,
                Ok(Message::Failed(error)) => return Err(error),
                Ok(Message::End(diff_id)) => (self.ended, self.diff_id) = (true, diff_id),
                Err(_) => return Err(io::Error::other("the thread that decompresses is gone")),
            }
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
