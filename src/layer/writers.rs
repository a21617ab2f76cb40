//! Threads that fill small files, while one thread goes through the archive in its order.
//!
//! Everything that is done to names stays in that one thread: duplicates, links, whiteouts and links as parents mean what
//! their order says. A thread here has an open file that nobody else writes to, gives it its bytes, owner, mode and time, and
//! never sees a name. Files go in batches, since waking a thread takes as long as making a file.

use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, Scope, ScopedJoinHandle};

use super::dress::Dresser;
use super::error::LayerError;
use super::reader::Entry;
use super::unpack::Unpacked;

/// Largest file that is filled here, in bytes.
pub(super) const SMALL: u64 = 128 << 10;

/// Bytes and files after which a batch goes; the files are open meanwhile, and a process may have few.
const BATCH: usize = 512 << 10;
const FILES: usize = 24;

/// Most threads; more wait for the directory's lock in the kernel.
const MOST: usize = 3;

struct Job {
    file: File,
    entry: Entry,
    content: Range<usize>,
}

#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    bytes: Vec<u8>,
}

/// The threads, and the batch in the making.
pub(super) struct Writers<'scope> {
    batch: Batch,
    queue: SyncSender<Batch>,
    /// Batches come back empty, to be used again; one that failed does not.
    back: Receiver<Result<Batch, LayerError>>,
    threads: Vec<ScopedJoinHandle<'scope, Unpacked>>,
}

impl<'scope> Writers<'scope> {
    /// Starts as many threads as the machine has processors to spare; `None` where it has none.
    pub(super) fn start(scope: &'scope Scope<'scope, '_>, dresser: &Dresser<'scope>) -> Option<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let count = (processors - 1).min(MOST);
        if count == 0 {
            return None;
        }
        let (queue, coming) = sync_channel::<Batch>(count);
        let coming = Arc::new(Mutex::new(coming));
        let (done, back) = channel();
        let threads = (0..count).map(|_| {
            let (coming, done, dresser) = (Arc::clone(&coming), done.clone(), dresser.clone());
            scope.spawn(move || work(&coming, &done, dresser))
        });
        let threads = threads.collect();
        Some(Self { batch: Batch::default(), queue, back, threads })
    }

    /// Takes over a file and its content, which `read` reads to the end of the slice.
    pub(super) fn put(
        &mut self,
        file: File,
        entry: Entry,
        read: impl FnOnce(&mut [u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        let start = self.batch.bytes.len();
        let size = usize::try_from(entry.size).expect("a small file");
        self.batch.bytes.resize(start + size, 0);
        read(&mut self.batch.bytes[start..])?;
        self.batch.jobs.push(Job { file, entry, content: start..start + size });
        if self.batch.jobs.len() == FILES || self.batch.bytes.len() > BATCH { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), LayerError> {
        let empty = match self.back.try_recv() {
            Ok(batch) => batch?,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Batch::default(),
        };
        let batch = std::mem::replace(&mut self.batch, empty);
        // All threads are gone only if all of them failed, and then `finish` says how.
        let _ = self.queue.send(batch);
        Ok(())
    }

    /// Waits until all files are filled; adds up what the machine did not allow.
    pub(super) fn finish(mut self, done: &mut Unpacked) -> Result<(), LayerError> {
        self.send()?;
        let Self { queue, back, threads, .. } = self;
        drop(queue);
        for thread in threads {
            match thread.join() {
                Ok(part) => done.add(&part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        back.try_iter().try_for_each(|result| result.map(drop))
    }
}

fn work(
    coming: &Mutex<Receiver<Batch>>,
    done: &Sender<Result<Batch, LayerError>>,
    mut dresser: Dresser<'_>,
) -> Unpacked {
    loop {
        let next = coming.lock().expect("nobody panics with the queue").recv();
        let Ok(mut batch) = next else { return dresser.done };
        let Batch { jobs, bytes } = &mut batch;
        let result = jobs.drain(..).try_for_each(|Job { mut file, entry, content }| {
            file.write_all(&bytes[content])
                .map_err(|error| dresser.failed("write", &entry.path, error))
                .and_then(|()| dresser.file(&entry, &file))
        });
        batch.bytes.clear();
        // Nobody listens after an error elsewhere.
        let _ = done.send(result.map(|()| batch));
    }
}
