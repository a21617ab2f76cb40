//! The files of an archive that is no layer, such as a saved image: read one after the other, put nowhere.

use std::io::{self, Read};

use super::decompress::decompress;
use super::error::LayerError;
use super::reader::{EntryKind, Limits, TarReader};

/// A tar, plain or compressed, and its entries in their order.
pub struct Members<'a> {
    archive: TarReader<'a, Box<dyn Read + 'a>>,
}

/// One entry; names are as they came and not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Bytes of content.
    pub size: u64,
}

/// Kinds of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A file.
    File,
    /// A symbolic link, to this name as seen from its directory.
    Symlink(Vec<u8>),
    /// A hard link, to this name as seen from the root.
    HardLink(Vec<u8>),
    /// Directories, devices and pipes.
    Other,
}

/// Tells whether the bytes are a tar, plain or compressed, with at least one entry.
pub fn is_archive(reader: impl Read, limits: &Limits) -> bool {
    decompress(reader, limits).is_ok_and(|input| matches!(TarReader::new(input, limits).next(), Ok(Some(_))))
}

impl<'a> Members<'a> {
    /// Begins to read.
    ///
    /// # Errors
    /// `Read`.
    pub fn new(reader: impl Read + 'a, limits: &'a Limits) -> Result<Self, LayerError> {
        let input = decompress(reader, limits).map_err(|source| LayerError::Read { source })?;
        Ok(Self { archive: TarReader::new(input, limits) })
    }

    /// Goes to the next entry; `None` at the end of the archive.
    ///
    /// # Errors
    /// `Truncated`, `Malformed`, `Entry`, `Limit`, `Read`.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, which iterators do not")]
    pub fn next(&mut self) -> Result<Option<Member>, LayerError> {
        let Some(entry) = self.archive.next()? else { return Ok(None) };
        let kind = match entry.kind {
            EntryKind::File => MemberKind::File,
            EntryKind::Symlink => MemberKind::Symlink(entry.link),
            EntryKind::HardLink => MemberKind::HardLink(entry.link),
            EntryKind::Directory | EntryKind::Character | EntryKind::Block | EntryKind::Fifo => MemberKind::Other,
        };
        Ok(Some(Member { path: entry.path, kind, size: entry.size }))
    }
}

impl Read for Members<'_> {
    /// Reads content of the current entry.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.archive.read(buffer).map_err(|error| match error {
            LayerError::Read { source } => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        })
    }
}

impl std::fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}
