//! Writing headers: ustar, with PAX records for what does not fit (`pax(1)` "pax Extended Header").

use std::io::{self, Write};

use tar::{EntryType, Header};

/// Size of a block and of a header.
pub(super) const BLOCK: usize = 512;

/// Largest user or group ID that seven octal digits hold.
const LARGEST_ID: u32 = 0o777_7777;

/// Largest size that eleven octal digits hold.
pub(super) const LARGEST_SIZE: u64 = 0o777_7777_7777;

/// What goes into an entry's header.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// Name in the archive; a directory's ends with a slash.
    pub(super) path: &'a [u8],
    pub(super) kind: EntryType,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Bytes of content that follow.
    pub(super) size: u64,
    /// Seconds since 1970 and nanoseconds.
    pub(super) mtime: (i64, i64),
    /// Target of a symbolic or hard link.
    pub(super) link: &'a [u8],
    /// Major and minor number.
    pub(super) device: (u32, u32),
    pub(super) xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl Fields<'_> {
    /// Writes the header, after a PAX header where one is needed.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let records = self.records();
        if !records.is_empty() {
            let mut header = Header::new_ustar();
            set_bytes(&mut header.as_ustar_mut().expect("made as ustar").name, b"././@PaxHeader");
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(self.seconds());
            header.set_size(records.len() as u64);
            header.set_cksum();
            out.write_all(header.as_bytes())?;
            out.write_all(&records)?;
            pad(out, records.len() as u64)?;
        }
        let mut header = Header::new_ustar();
        let ustar = header.as_ustar_mut().expect("made as ustar");
        set_bytes(&mut ustar.name, self.path);
        set_bytes(&mut ustar.linkname, self.link);
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(u64::from(self.uid.min(LARGEST_ID)));
        header.set_gid(u64::from(self.gid.min(LARGEST_ID)));
        header.set_size(self.size.min(LARGEST_SIZE));
        header.set_mtime(self.seconds());
        header.set_device_major(self.device.0)?;
        header.set_device_minor(self.device.1)?;
        header.set_cksum();
        out.write_all(header.as_bytes())
    }

    /// The time as far as it fits into the header.
    fn seconds(&self) -> u64 {
        u64::try_from(self.mtime.0).unwrap_or(0).min(LARGEST_SIZE)
    }

    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if self.path.len() > 100 {
            push(&mut records, b"path", self.path);
        }
        if self.link.len() > 100 {
            push(&mut records, b"linkpath", self.link);
        }
        if self.size > LARGEST_SIZE {
            push(&mut records, b"size", self.size.to_string().as_bytes());
        }
        for (key, id) in [("uid", self.uid), ("gid", self.gid)] {
            if id > LARGEST_ID {
                push(&mut records, key.as_bytes(), id.to_string().as_bytes());
            }
        }
        if let Some(text) = self.time() {
            push(&mut records, b"mtime", text.as_bytes());
        }
        for (name, value) in self.xattrs {
            push(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        records
    }
}

impl Fields<'_> {
    /// The time as a decimal number, where it is no whole number of seconds that fits into the header.
    fn time(&self) -> Option<String> {
        let (seconds, nanoseconds) = self.mtime;
        let fits = nanoseconds == 0 && u64::try_from(seconds).is_ok_and(|seconds| seconds <= LARGEST_SIZE);
        if fits {
            return None;
        }
        // What is before 1970 is a negative number whose fraction counts downwards too.
        let (sign, seconds, nanoseconds) = match (seconds < 0, nanoseconds) {
            (false, nanoseconds) => ("", seconds.unsigned_abs(), nanoseconds),
            (true, 0) => ("-", seconds.unsigned_abs(), 0),
            (true, nanoseconds) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
        };
        let text = format!("{sign}{seconds}.{nanoseconds:09}");
        Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
    }
}

/// Fills up the last block of `size` bytes of content.
pub(super) fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let used = usize::try_from(size % BLOCK as u64).expect("less than a block");
    out.write_all(&[0; BLOCK][..(BLOCK - used) % BLOCK])
}

/// Copies what fits; the rest is in a PAX record.
fn set_bytes(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

/// Appends `<length> <key>=<value>\n`, where the length counts itself.
pub(super) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Reads a number field: octal digits among blanks, none for zero, or GNU's base 256, whose first bit is set and which
/// is a two's complement without it (GNU tar manual, "Extensions to the Standard Format").
pub(super) fn number(field: &[u8]) -> Option<i128> {
    if field[0] & 0x80 != 0 {
        let start = if field[0] & 0x40 == 0 { i128::from(field[0] & 0x3f) } else { -1 };
        if start == -1 && field[0] != 0xff {
            return None;
        }
        return Some(field[1..].iter().fold(start, |sum, byte| sum << 8 | i128::from(*byte)));
    }
    let blank = |byte: &u8| matches!(byte, 0 | b' ');
    let digits: &[u8] = field.split(blank).find(|part| !part.is_empty()).unwrap_or_default();
    digits.iter().try_fold(0, |sum, digit| match digit {
        b'0'..=b'7' => Some(sum << 3 | i128::from(digit - b'0')),
        _ => None,
    })
}

/// Sums a header up with its checksum field as blanks.
pub(super) fn checksum(block: &[u8; BLOCK]) -> u32 {
    let field = 148..156;
    block.iter().enumerate().map(|(at, byte)| if field.contains(&at) { 32 } else { u32::from(*byte) }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256_and_may_be_negative() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o7777_7777)),
            (b"0000648\0", None),
            (b"-0000001", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\0", Some(-256)),
            (b"\xc0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for size in [0, 1, 80, 85, 86, 87, 88, 89, 90, 91, 92, 985, 986, 987, 988, 989, 990, 991, 9_990, 100_000] {
            let mut records = Vec::new();
            push(&mut records, b"path", &vec![b'x'; size]);
            let text = String::from_utf8(records).expect("ASCII");
            let (length, _) = text.split_once(' ').expect("a space");
            assert_eq!(length.parse::<usize>().expect("a number"), text.len(), "value of {size} bytes");
        }
    }
}
