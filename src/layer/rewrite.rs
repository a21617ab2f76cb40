//! Times of a packed layer are clamped without unpacking it, as BuildKit's `rewrite-timestamp` does to layers of a base
//! image.
//!
//! All else stays as it is, byte for byte: names, order, the format of headers, what is behind the end. A layer without a
//! later time comes out as it went in, and twice is the same as once. Where there is no end mark none is made.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::error::LayerError;
use super::extensions::{each, parse, time};
use super::header::{BLOCK, LARGEST_SIZE, checksum, number, pad, push};
use super::reader::{LONGEST_RECORD, Limits, is_zero};

/// Where an entry's header has its time; GNU's has those of access and change too.
const MTIME: usize = 136;
const GNU_TIMES: [usize; 2] = [345, 357];

/// Copies the uncompressed tar `archive` to `out`, with no time later than `newest`, in seconds since 1970; returns how many
/// headers were changed.
///
/// Wrap both in buffers.
///
/// # Errors
/// `Truncated`, `Malformed`, `Limit` for the archive, `Read`, `Write`.
pub fn clamp_times(
    archive: &mut impl Read,
    newest: u64,
    limits: &Limits,
    out: &mut impl Write,
) -> Result<u64, LayerError> {
    // What no header can say clamps nothing either.
    let newest = newest.min(LARGEST_SIZE);
    let mut rewriter = Rewriter { archive, out, newest, offset: 0, changed: 0 };
    let mut entries = 0;
    let mut bytes: u64 = 0;
    let (mut size_ahead, mut extended) = (None, false);
    loop {
        let start = rewriter.offset;
        let mut block = [0; BLOCK];
        if rewriter.is_over(&mut block, extended)? {
            return Ok(rewriter.changed);
        }
        if is_zero(&block) {
            rewriter.write(&block)?;
            return rewriter.rest();
        }
        let malformed = |reason: &str| LayerError::Malformed { offset: start, reason: reason.to_owned() };
        if number(&block[148..156]) != Some(i128::from(checksum(&block))) {
            return Err(malformed("the header's checksum is wrong"));
        }
        entries += 1;
        if entries > limits.entries {
            return Err(LayerError::Limit { what: "entries", limit: limits.entries });
        }
        let size = number(&block[124..136]).and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| malformed("its size is no number"))?;
        let kind = Header::from_byte_slice(&block).entry_type();
        extended = matches!(
            kind,
            EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink
        );
        match kind {
            EntryType::XHeader | EntryType::XGlobalHeader => {
                let (records, said) = rewriter.records(size, malformed)?;
                if kind == EntryType::XHeader {
                    size_ahead = said.or(size_ahead);
                }
                if records.len() as u64 != size {
                    octal(&mut block[124..136], records.len() as u64);
                }
                rewriter.header(&mut block)?;
                rewriter.write(&records)?;
                pad(rewriter.out, records.len() as u64).map_err(|source| LayerError::Write { source })?;
            }
            EntryType::GNULongName | EntryType::GNULongLink => {
                rewriter.header(&mut block)?;
                rewriter.copy(size.checked_next_multiple_of(BLOCK as u64))?;
            }
            kind => {
                let has_content = matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse);
                let size = if has_content { size_ahead.take().unwrap_or(size) } else { 0 };
                size_ahead = None;
                bytes = bytes.saturating_add(size);
                if bytes > limits.bytes {
                    return Err(LayerError::Limit { what: "bytes of content", limit: limits.bytes });
                }
                let mut more = kind == EntryType::GNUSparse && block[482] != 0;
                rewriter.header(&mut block)?;
                while more {
                    rewriter.read(&mut block)?;
                    rewriter.write(&block)?;
                    more = block[504] != 0;
                }
                rewriter.copy(size.checked_next_multiple_of(BLOCK as u64))?;
            }
        }
    }
}

struct Rewriter<'a, R, W> {
    archive: &'a mut R,
    out: &'a mut W,
    newest: u64,
    offset: u64,
    changed: u64,
}

impl<R: Read, W: Write> Rewriter<'_, R, W> {
    /// Reads the next header, or tells that there is none: some writers leave the end mark out. Layers are vouched for by
    /// their digests; what was cut before that is as others have it.
    fn is_over(&mut self, block: &mut [u8; BLOCK], extended: bool) -> Result<bool, LayerError> {
        loop {
            match self.archive.read(block) {
                Ok(0) if !extended => return Ok(true),
                Ok(0) => return Err(LayerError::Truncated { offset: self.offset }),
                Ok(count) => {
                    self.offset += count as u64;
                    return self.read(&mut block[count..]).map(|()| false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LayerError::Read { source }),
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), LayerError> {
        match self.archive.read_exact(buffer) {
            Ok(()) => {
                self.offset += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(LayerError::Truncated { offset: self.offset })
            }
            Err(source) => Err(LayerError::Read { source }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.out.write_all(bytes).map_err(|source| LayerError::Write { source })
    }

    /// Copies content; `None` is a size that no archive can have.
    fn copy(&mut self, size: Option<u64>) -> Result<(), LayerError> {
        let mut buffer = [0; 16 << 10];
        let mut left = size.ok_or(LayerError::Truncated { offset: self.offset })?;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.read(&mut buffer[..want])?;
            self.write(&buffer[..want])?;
            left -= want as u64;
        }
        Ok(())
    }

    /// Copies what is behind the first block of the end mark; returns how many headers were changed.
    fn rest(self) -> Result<u64, LayerError> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.archive.read(&mut buffer) {
                Ok(0) => return Ok(self.changed),
                Ok(count) => self.out.write_all(&buffer[..count]).map_err(|source| LayerError::Write { source })?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LayerError::Read { source }),
            }
        }
    }

    /// Writes a header, its times clamped.
    fn header(&mut self, block: &mut [u8; BLOCK]) -> Result<(), LayerError> {
        let before = *block;
        let is_gnu = Header::from_byte_slice(block).as_gnu().is_some();
        for at in std::iter::once(MTIME).chain(GNU_TIMES.into_iter().filter(|_| is_gnu)) {
            let field = &mut block[at..at + 12];
            // One that cannot be read is for the reader to refuse.
            if number(field).is_some_and(|time| time > i128::from(self.newest)) {
                octal(field, self.newest);
            }
        }
        if *block != before || number(&block[148..156]) != Some(i128::from(checksum(block))) {
            self.changed += 1;
            let sum = checksum(block);
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let block = *block;
        self.write(&block)
    }

    /// Reads PAX records; returns them with their times clamped, and the size that they give to the next entry.
    fn records(
        &mut self,
        size: u64,
        malformed: impl Fn(&str) -> LayerError,
    ) -> Result<(Vec<u8>, Option<u64>), LayerError> {
        if size > LONGEST_RECORD {
            return Err(LayerError::Limit {
                what: "bytes in the extension headers of one entry",
                limit: LONGEST_RECORD,
            });
        }
        let mut records = vec![0; usize::try_from(size.next_multiple_of(BLOCK as u64)).expect("bounded above")];
        self.read(&mut records)?;
        records.truncate(usize::try_from(size).expect("bounded above"));
        let mut clamped = Vec::with_capacity(records.len());
        let mut said = None;
        let mut is_later = false;
        let newest = self.newest;
        each(&records, |key, value| {
            match key {
                b"mtime" | b"atime" | b"ctime" if !value.is_empty() && time(value)? > (newest.cast_signed(), 0) => {
                    is_later = true;
                    push(&mut clamped, key, newest.to_string().as_bytes());
                    return Ok(());
                }
                b"size" if !value.is_empty() => said = Some(parse(value)?),
                _ => {}
            }
            push(&mut clamped, key, value);
            Ok(())
        })
        .map_err(malformed)?;
        Ok((if is_later { clamped } else { records }, said))
    }
}

/// Writes a number of at most eleven octal digits.
fn octal(field: &mut [u8], number: u64) {
    let number = number.min(LARGEST_SIZE);
    field.copy_from_slice(format!("{number:011o}\0").as_bytes());
}
