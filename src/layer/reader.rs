//! Reading archives that nobody vouches for: every length is checked before memory is taken for it.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::error::LayerError;
use super::header::BLOCK;
use super::walk::Attributes;

/// Longest extension record or long name taken into memory, in bytes.
const LONGEST_RECORD: u64 = 1 << 20;

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
}

impl Default for Limits {
    /// Room for any honest image: two million files, 64 GiB, five hundred to one.
    fn default() -> Self {
        Self { entries: 2_000_000, path: 4095, bytes: 64 << 30, ratio: 500 }
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
    /// Bytes of content.
    pub(super) size: u64,
    pub(super) device: (u32, u32),
    pub(super) xattrs: Attributes,
}

/// What extension entries say about the entry that follows them.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, i64)>,
    xattrs: Attributes,
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
}

impl<'a, R: Read> TarReader<'a, R> {
    pub(super) fn new(input: R, limits: &'a Limits) -> Self {
        Self { input, limits, offset: 0, left: 0, padding: 0, entries: 0, bytes: 0 }
    }

    /// Reads the next header, skipping what is left of the entry before; `None` at the end mark, after which the
    /// input is read to its end, so that a decoder checks its sum.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, LayerError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let start = self.offset;
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            if block.iter().all(|byte| *byte == 0) {
                self.drain()?;
                return Ok(None);
            }
            let malformed = |reason: &str| LayerError::Malformed { offset: start, reason: reason.to_owned() };
            if Header::from_byte_slice(&block).cksum().ok() != Some(checksum(&block)) {
                return Err(malformed("the header's checksum is wrong"));
            }
            fill_empty_numbers(&mut block);
            let header = Header::from_byte_slice(&block);
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(LayerError::Limit { what: "entries", limit: self.limits.entries });
            }
            let size = header.entry_size().map_err(|error| malformed(&error.to_string()))?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let records = self.record(size)?;
                    extensions.apply(&records).map_err(malformed)?;
                }
                EntryType::GNULongName => extensions.path = Some(trim(self.record(size)?)),
                EntryType::GNULongLink => extensions.link = Some(trim(self.record(size)?)),
                // Defaults for all entries: comments of `git archive`, nothing that a layer needs.
                EntryType::XGlobalHeader => self.expect_content(size),
                kind => return self.entry(header, kind, size, extensions, start).map(Some),
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

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        extensions: Extensions,
        start: u64,
    ) -> Result<Entry, LayerError> {
        let malformed = |reason: String| LayerError::Malformed { offset: start, reason };
        let number = |result: io::Result<u64>| result.map_err(|error| malformed(error.to_string()));
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extensions.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let link = link.unwrap_or_default();
        let shown = || String::from_utf8_lossy(&path).into_owned();
        if path.contains(&0) || link.contains(&0) {
            return Err(LayerError::Entry { entry: shown(), reason: "its name or target holds a zero byte" });
        }
        if path.len() > self.limits.path || link.len() > self.limits.path {
            return Err(LayerError::Limit { what: "bytes in a name", limit: self.limits.path as u64 });
        }
        let kind = match kind {
            // Before ustar a directory was a file whose name ends with a slash.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => EntryKind::Directory,
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink,
            EntryType::Link => EntryKind::HardLink,
            EntryType::Char => EntryKind::Character,
            EntryType::Block => EntryKind::Block,
            EntryType::Fifo => EntryKind::Fifo,
            EntryType::GNUSparse => {
                return Err(LayerError::Entry { entry: shown(), reason: "GNU sparse files are not part of layers" });
            }
            _ => return Err(LayerError::Entry { entry: shown(), reason: "its type is unknown" }),
        };
        // Other kinds have no content, whatever their size field says (some writers repeat the target's size).
        let size = if kind == EntryKind::File { extensions.size.unwrap_or(size) } else { 0 };
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(LayerError::Limit { what: "bytes of content", limit: self.limits.bytes });
        }
        self.expect_content(size);
        let id = |number: u64| match u32::try_from(number) {
            // The largest one means "leave it" to chown(2).
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(malformed(format!("{number} is no user or group ID"))),
        };
        let mtime = match extensions.mtime {
            Some(mtime) => mtime,
            None => (i64::try_from(number(header.mtime())?).unwrap_or(0), 0),
        };
        let device = |part: io::Result<Option<u32>>| {
            part.map(Option::unwrap_or_default).map_err(|error| malformed(error.to_string()))
        };
        let device = match kind {
            EntryKind::Character | EntryKind::Block => (device(header.device_major())?, device(header.device_minor())?),
            _ => (0, 0),
        };
        Ok(Entry {
            kind,
            mode: header.mode().map_err(|error| malformed(error.to_string()))? & 0o7777,
            uid: id(extensions.uid.map_or_else(|| number(header.uid()), Ok)?)?,
            gid: id(extensions.gid.map_or_else(|| number(header.gid()), Ok)?)?,
            mtime,
            size,
            device,
            xattrs: extensions.xattrs,
            path,
            link,
        })
    }

    fn expect_content(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    /// Reads the whole content of an extension entry.
    fn record(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        if size > LONGEST_RECORD {
            return Err(LayerError::Limit { what: "bytes in an extension record", limit: LONGEST_RECORD });
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
                Ok(0) => return Err(LayerError::Truncated { offset: self.offset }),
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

    fn drain(&mut self) -> Result<(), LayerError> {
        let mut buffer = [0; 8 << 10];
        let mut trailing = 0;
        loop {
            match self.input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => trailing += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LayerError::Read { source }),
            }
            if trailing > LONGEST_TRAIL {
                return Err(LayerError::Limit { what: "bytes after its end mark", limit: LONGEST_TRAIL });
            }
        }
    }
}

impl Extensions {
    /// Takes over PAX records, each `<length> <key>=<value>\n`.
    fn apply(&mut self, mut records: &[u8]) -> Result<(), &'static str> {
        const BROKEN: &str = "a PAX record is broken";
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or(BROKEN)?;
            let length: usize = parse(&records[..space])?;
            let record = records.get(space + 1..length).ok_or(BROKEN)?.strip_suffix(b"\n").ok_or(BROKEN)?;
            records = &records[length..];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(BROKEN)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(parse(value)?),
                b"uid" => self.uid = Some(parse(value)?),
                b"gid" => self.gid = Some(parse(value)?),
                b"mtime" => self.mtime = Some(time(value)?),
                key if key.starts_with(b"GNU.sparse.") => return Err("GNU sparse files are not part of layers"),
                key => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}

fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Result<T, &'static str> {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or("a PAX record holds no number")
}

/// Reads a decimal number of seconds; what is finer than a nanosecond is dropped.
fn time(value: &[u8]) -> Result<(i64, i64), &'static str> {
    let dot = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let seconds: i64 = parse(&value[..dot])?;
    let digits = value[dot..].iter().skip(1).copied().take_while(u8::is_ascii_digit).chain(std::iter::repeat(b'0'));
    let nanoseconds = digits.take(9).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    // What is before 1970 has a fraction that counts downwards.
    match value.first() {
        Some(b'-') if nanoseconds > 0 => Ok((seconds.saturating_sub(1), 1_000_000_000 - nanoseconds)),
        _ => Ok((seconds, nanoseconds)),
    }
}

/// Cuts a GNU long name at its first zero byte.
fn trim(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}

/// Writes a zero into number fields left empty, as every reader takes them: mode, owner, group, time, device.
fn fill_empty_numbers(block: &mut [u8; BLOCK]) {
    for (start, end) in [(100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345)] {
        if block[start..end].iter().all(|byte| matches!(byte, 0 | b' ')) {
            block[start] = b'0';
        }
    }
}

/// Sums a header up with its checksum field as blanks.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let field = 148..156;
    block.iter().enumerate().map(|(at, byte)| if field.contains(&at) { 32 } else { u32::from(*byte) }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_fractions_before_and_after_1970() {
        let read = |text: &str| time(text.as_bytes());
        assert_eq!(read("12"), Ok((12, 0)));
        assert_eq!(read("12.5"), Ok((12, 500_000_000)));
        assert_eq!(read("12.0000000019"), Ok((12, 1)));
        assert_eq!(read("-1.25"), Ok((-2, 750_000_000)));
        assert_eq!(read("-0.5"), Ok((-1, 500_000_000)));
        assert_eq!(read("-3"), Ok((-3, 0)));
        assert!(read("").is_err() && read("x.1").is_err());
    }
}
