//! Reading archives that nobody vouches for: every length is checked before memory is taken for it.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::error::LayerError;
use super::extensions::{Extensions, LONGEST_VALUE, check_global, parse};
use super::header::{BLOCK, checksum, number};
use super::sparse::{MOST_REGIONS, Region, check, old_regions};
use super::walk::Attributes;

/// Most bytes of all extension headers and long names of one entry; they are held in memory.
pub(super) const LONGEST_RECORD: u64 = 1 << 20;

/// Most bytes read behind the end mark; writers fill up to a block of a tape, 10 KiB by habit.
const LONGEST_TRAIL: u64 = 64 << 20;

/// How much an archive may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of entries.
    pub entries: u64,
    /// Length of an entry's name in bytes.
    pub path: usize,
    /// Content of all files together, in bytes; also what decompression may give.
    pub bytes: u64,
    /// Times that decompressed bytes may outnumber compressed ones.
    pub ratio: u64,
    /// Bytes of memory for what must be known until the end: names of directories, and numbers of new files where there
    /// are lower layers.
    pub memory: u64,
}

impl Default for Limits {
    /// Room for any honest image: two million files, 64 GiB, five hundred to one.
    fn default() -> Self {
        Self { entries: 2_000_000, path: 4095, bytes: 64 << 30, ratio: 500, memory: 128 << 20 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Directory,
    Symlink,
    HardLink,
    Character,
    Block,
    Fifo,
}

/// One entry's header with its extensions applied. Names are as they came, except that they hold no NUL.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(super) mtime: (i64, i64),
    /// Bytes of content, holes among them.
    pub(super) size: u64,
    /// Where the content belongs in a file with holes.
    pub(super) regions: Option<Vec<Region>>,
    pub(super) device: (u32, u32),
    pub(super) xattrs: Attributes,
}

/// Entries of an archive, one after the other.
#[derive(Debug)]
pub(super) struct TarReader<'a, R> {
    input: R,
    limits: &'a Limits,
    /// Bytes of the archive read so far.
    offset: u64,
    /// Bytes of the current entry's content not yet read.
    left: u64,
    /// Bytes that fill up its last block.
    padding: u64,
    entries: u64,
    bytes: u64,
    /// It may end without an end mark.
    open_ended: bool,
    /// It has ended, which a decoder that was cut has not.
    ended: bool,
}

impl<'a, R: Read> TarReader<'a, R> {
    pub(super) fn new(input: R, limits: &'a Limits) -> Self {
        Self { input, limits, offset: 0, left: 0, padding: 0, entries: 0, bytes: 0, open_ended: false, ended: false }
    }

    /// Lets the archive end behind a whole entry, as Go's `archive/tar` does: for whoever has another way to tell a whole
    /// archive from one that was cut.
    pub(super) fn open_ended(mut self, open_ended: bool) -> Self {
        self.open_ended = open_ended;
        self
    }

    /// Reads the next header, skipping what is left of the entry before; `None` at the end mark, after which the
    /// input is read to its end, so that a decoder checks its sum.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, LayerError> {
        let mut extensions = Extensions::default();
        let mut extended = false;
        loop {
            self.skip()?;
            let start = self.offset;
            let mut block = [0; BLOCK];
            match self.read_exact(&mut block) {
                // Before the first byte of a header, and not between an extension and what it extends.
                Err(_) if self.open_ended && self.ended && self.offset == start && !extended => {
                    return Ok(None);
                }
                read => read?,
            }
            if is_zero(&block) {
                self.drain()?;
                return Ok(None);
            }
            extended = true;
            let malformed = |reason: &str| LayerError::Malformed { offset: start, reason: reason.to_owned() };
            if number(&block[148..156]) != Some(i128::from(checksum(&block))) {
                return Err(malformed("the header's checksum is wrong"));
            }
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(LayerError::Limit { what: "entries", limit: self.limits.entries });
            }
            let size = number(&block[124..136]).and_then(|size| u64::try_from(size).ok());
            let size = size.ok_or_else(|| malformed("its size is no number"))?;
            let header = Header::from_byte_slice(&block);
            match header.entry_type() {
                EntryType::XHeader => {
                    let records = self.record(size, &mut extensions.bytes)?;
                    extensions.apply(&records).map_err(malformed)?;
                }
                EntryType::GNULongName => extensions.path = Some(trim(self.record(size, &mut extensions.bytes)?)),
                EntryType::GNULongLink => extensions.link = Some(trim(self.record(size, &mut extensions.bytes)?)),
                EntryType::XGlobalHeader => {
                    let records = self.record(size, &mut extensions.bytes)?;
                    check_global(&records).map_err(malformed)?;
                }
                kind => return self.entry(&block, kind, size, extensions, start).map(Some),
            }
        }
    }

    /// Reads content of the current entry; 0 at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let count = self.read_some(&mut buffer[..want])?;
        self.left -= count as u64;
        Ok(count)
    }

    /// Reads that much content of the current entry.
    pub(super) fn read_all(&mut self, mut buffer: &mut [u8]) -> Result<(), LayerError> {
        while !buffer.is_empty() {
            let count = self.read(buffer)?;
            buffer = &mut buffer[count..];
        }
        Ok(())
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        kind: EntryType,
        size: u64,
        mut extensions: Extensions,
        start: u64,
    ) -> Result<Entry, LayerError> {
        let header = Header::from_byte_slice(block);
        let malformed = |reason: String| LayerError::Malformed { offset: start, reason };
        let field = |what: &str, from: usize, to: usize| {
            number(&block[from..to]).ok_or_else(|| malformed(format!("its {what} is no number")))
        };
        let path = extensions.sparse.name.take().or(extensions.path.take());
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extensions.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let link = link.unwrap_or_default();
        let refused = |reason| LayerError::Entry { entry: String::from_utf8_lossy(&path).into_owned(), reason };
        if path.contains(&0) || link.contains(&0) {
            return Err(refused("its name or target holds a zero byte"));
        }
        if path.len() > self.limits.path || link.len() > self.limits.path {
            return Err(LayerError::Limit { what: "bytes in a name", limit: self.limits.path as u64 });
        }
        if extensions.xattrs.iter().any(|(_, value)| value.len() > LONGEST_VALUE) {
            return Err(LayerError::Limit { what: "bytes in an extended attribute", limit: LONGEST_VALUE as u64 });
        }
        let is_old_sparse = kind == EntryType::GNUSparse;
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous
                if path.ends_with(b"/") && extensions.size.unwrap_or(size) > 0 =>
            {
                return Err(refused("by its name it is a directory, but it has content"));
            }
            // Before ustar a directory was a file whose name ends with a slash.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => EntryKind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink,
            EntryType::Link => EntryKind::HardLink,
            EntryType::Char => EntryKind::Character,
            EntryType::Block => EntryKind::Block,
            EntryType::Fifo => EntryKind::Fifo,
            _ => return Err(refused("its type is none that a layer can have")),
        };
        // Other kinds have no content, whatever their size field says (some writers repeat the target's size).
        let stored = if kind == EntryKind::File { extensions.size.unwrap_or(size) } else { 0 };
        self.afford(stored)?;
        self.expect_content(stored);
        let (size, regions) = if kind != EntryKind::File {
            (0, None)
        } else if is_old_sparse {
            let (size, regions) = self.old_sparse(block, &malformed)?;
            (size, Some(regions))
        } else if extensions.sparse.is_there() {
            let size = extensions.sparse.size.ok_or_else(|| malformed("a sparse file has no size".to_owned()))?;
            let regions = if extensions.sparse.inline { self.inline_map(&malformed)? } else { extensions.sparse.map };
            (size, Some(regions))
        } else {
            (stored, None)
        };
        if let Some(regions) = &regions {
            check(regions, size, self.left).map_err(refused)?;
            // Holes cost nothing here, but whoever packs the tree again writes them out.
            self.afford(size - self.left)?;
        }
        let id = |number: i128| match u32::try_from(number) {
            // The largest one means "leave it" to chown(2).
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(malformed(format!("{number} is no user or group ID"))),
        };
        let owner =
            |said: Option<u64>, what, from, to| id(said.map_or_else(|| field(what, from, to), |it| Ok(it.into()))?);
        let mtime = match extensions.mtime {
            Some(mtime) => mtime,
            None => match i64::try_from(field("time", 136, 148)?) {
                Ok(seconds) => (seconds, 0),
                Err(_) => return Err(malformed("its time is not one".to_owned())),
            },
        };
        let device = |from, to| {
            let number = field("device number", from, to)?;
            u32::try_from(number).map_err(|_| malformed(format!("{number} is no device number")))
        };
        let device = match kind {
            EntryKind::Character | EntryKind::Block => (device(329, 337)?, device(337, 345)?),
            _ => (0, 0),
        };
        let mode = u32::try_from(field("mode", 100, 108)? & 0o7777).expect("twelve bits");
        let (uid, gid) = (owner(extensions.uid, "owner", 108, 116)?, owner(extensions.gid, "group", 116, 124)?);
        let xattrs = extensions.xattrs;
        Ok(Entry { path, link, kind, mode, uid, gid, mtime, size, regions, device, xattrs })
    }

    /// Reads the regions of an old GNU sparse file: four in the header, more in blocks behind it.
    fn old_sparse(
        &mut self,
        block: &[u8; BLOCK],
        malformed: &impl Fn(String) -> LayerError,
    ) -> Result<(u64, Vec<Region>), LayerError> {
        let unsigned = |field: &[u8]| number(field).and_then(|number| u64::try_from(number).ok());
        let broken = |reason: &str| malformed(reason.to_owned());
        let size = unsigned(&block[483..495]).ok_or_else(|| broken("a sparse file's size is no number"))?;
        let mut regions = old_regions(&block[386..482], 4, unsigned).map_err(broken)?;
        let mut more = block[482] != 0;
        while more {
            let mut block = [0; BLOCK];
            // Not part of the entry's size.
            self.read_exact(&mut block)?;
            regions.extend(old_regions(&block[..504], 21, unsigned).map_err(broken)?);
            if regions.len() > MOST_REGIONS {
                return Err(LayerError::Limit { what: "regions of a sparse file", limit: MOST_REGIONS as u64 });
            }
            more = block[504] != 0;
        }
        Ok((size, regions))
    }

    /// Reads the map at the head of the content: a line with the number of regions and two for each, filled up to a
    /// block.
    fn inline_map(&mut self, malformed: &impl Fn(String) -> LayerError) -> Result<Vec<Region>, LayerError> {
        let mut line = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        let mut expected = 1;
        while numbers.len() < expected {
            let mut block = [0; BLOCK];
            if self.left < BLOCK as u64 {
                return Err(malformed("a sparse map is longer than its file".to_owned()));
            }
            self.read_exact(&mut block)?;
            self.left -= BLOCK as u64;
            for byte in block {
                if numbers.len() == expected {
                    break;
                }
                if byte != b'\n' {
                    if line.len() > 20 {
                        return Err(malformed("a sparse map holds no number".to_owned()));
                    }
                    line.push(byte);
                    continue;
                }
                let number: u64 = parse(&line).map_err(|reason| malformed(reason.to_owned()))?;
                if numbers.is_empty() {
                    let count = usize::try_from(number).ok().filter(|count| *count <= MOST_REGIONS);
                    let limit = MOST_REGIONS as u64;
                    let count = count.ok_or(LayerError::Limit { what: "regions of a sparse file", limit })?;
                    expected = 1 + 2 * count;
                }
                numbers.push(number);
                line.clear();
            }
        }
        Ok(numbers[1..].chunks(2).map(|pair| Region { offset: pair[0], length: pair[1] }).collect())
    }

    /// Counts bytes of content before they are written.
    fn afford(&mut self, size: u64) -> Result<(), LayerError> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(LayerError::Limit { what: "bytes of content", limit: self.limits.bytes });
        }
        Ok(())
    }

    fn expect_content(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    /// Reads the whole content of an extension entry; `before` counts all of them.
    fn record(&mut self, size: u64, before: &mut u64) -> Result<Vec<u8>, LayerError> {
        *before = before.saturating_add(size);
        if *before > LONGEST_RECORD {
            return Err(LayerError::Limit {
                what: "bytes in the extension headers of one entry",
                limit: LONGEST_RECORD,
            });
        }
        let mut record = vec![0; usize::try_from(size).expect("bounded above")];
        self.read_exact(&mut record)?;
        self.expect_content(size);
        self.left = 0;
        Ok(record)
    }

    fn skip(&mut self) -> Result<(), LayerError> {
        let mut buffer = [0; 8 << 10];
        while self.left > 0 {
            self.read(&mut buffer)?;
        }
        let padding = usize::try_from(std::mem::take(&mut self.padding)).expect("less than a block");
        self.read_exact(&mut buffer[..padding])
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<(), LayerError> {
        while !buffer.is_empty() {
            let count = self.read_some(buffer)?;
            buffer = &mut buffer[count..];
        }
        Ok(())
    }

    /// Reads at least one byte.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        loop {
            match self.input.read(buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Err(LayerError::Truncated { offset: self.offset });
                }
                Ok(count) => {
                    self.offset += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(LayerError::Truncated { offset: self.offset });
                }
                Err(source) => return Err(LayerError::Read { source }),
            }
        }
    }

    /// Reads what is behind the first block of the end mark, so that a decoder checks its sum.
    ///
    /// The second block must be zeros or missing: content there would be seen by some readers and not by others. What
    /// follows is nobody's.
    fn drain(&mut self) -> Result<(), LayerError> {
        let mut buffer = [0; 8 << 10];
        let mut trailing = 0;
        loop {
            match self.input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    let second = BLOCK.saturating_sub(usize::try_from(trailing).unwrap_or(BLOCK)).min(count);
                    if !is_zero(&buffer[..second]) {
                        let reason = "only one block of zeros is where its end would be".to_owned();
                        return Err(LayerError::Malformed { offset: self.offset, reason });
                    }
                    trailing += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(LayerError::Truncated { offset: self.offset + trailing });
                }
                Err(source) => return Err(LayerError::Read { source }),
            }
            if trailing > LONGEST_TRAIL {
                return Err(LayerError::Limit { what: "bytes after its end mark", limit: LONGEST_TRAIL });
            }
        }
    }
}

/// Cuts a GNU long name at its first zero byte.
fn trim(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
