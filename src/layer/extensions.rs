//! What extension headers say: PAX records (`pax(1)` "pax Extended Header") and GNU's sparse keys among them.
//!
//! Names and values are bytes; `hdrcharset` changes nothing, as a file's name has no character set.

use base64::Engine as _;

use super::sparse::Region;
use super::walk::Attributes;

/// Longest value of an extended attribute that Linux takes (`xattr(7)`), in bytes.
pub(super) const LONGEST_VALUE: usize = 64 << 10;

/// What extension entries say about the entry that follows them.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, i64)>,
    pub(super) xattrs: Attributes,
    pub(super) sparse: Sparse,
    /// Bytes of all records so far.
    pub(super) bytes: u64,
}

/// The keys `GNU.sparse.*` (GNU tar manual, "PAX Format, Versions 0.0, 0.1 and 1.0").
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// Size of the file with its holes; 0.x calls it `size`, 1.0 `realsize`.
    pub(super) size: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    /// 0.0 has a record for each number, 0.1 one for all.
    pub(super) map: Vec<Region>,
    offset: Option<u64>,
    /// The map is at the head of the content (1.0).
    pub(super) inline: bool,
}

impl Sparse {
    pub(super) fn is_there(&self) -> bool {
        self.size.is_some() || self.inline || !self.map.is_empty()
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"size" | b"realsize" => self.size = Some(parse(value)?),
            b"name" => self.name = Some(value.to_vec()),
            b"major" => match parse::<u64>(value)? {
                0 => {}
                1 => self.inline = true,
                _ => return Err("its sparse format is newer than 1.0"),
            },
            b"offset" => self.offset = Some(parse(value)?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or("a sparse region has no offset")?;
                self.map.push(Region { offset, length: parse(value)? });
            }
            b"map" => {
                let numbers: Vec<&[u8]> = value.split(|byte| *byte == b',').collect();
                if !numbers.len().is_multiple_of(2) {
                    return Err("a sparse map is broken");
                }
                self.map.clear();
                for pair in numbers.chunks(2) {
                    self.map.push(Region { offset: parse(pair[0])?, length: parse(pair[1])? });
                }
            }
            // `numblocks` says how many follow, `minor` nothing that matters.
            _ => {}
        }
        Ok(())
    }
}

impl Extensions {
    /// Takes over PAX records, each `<length> <key>=<value>\n`.
    pub(super) fn apply(&mut self, records: &[u8]) -> Result<(), &'static str> {
        each(records, |key, value| self.record(key, value))
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.attribute(name.to_vec(), value.to_vec());
            return Ok(());
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = percent_decoded(name).ok_or("the name of an attribute is broken")?;
            let lenient = base64::engine::DecodePaddingMode::Indifferent;
            let config = base64::engine::GeneralPurposeConfig::new().with_decode_padding_mode(lenient);
            let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, config);
            let value = engine.decode(value).map_err(|_| "the value of an attribute is not base64")?;
            self.attribute(name, value);
            return Ok(());
        }
        if value.is_empty() {
            // pax(1): an empty value takes back what was said before.
            match key {
                b"path" => self.path = None,
                b"linkpath" => self.link = None,
                b"size" => self.size = None,
                b"uid" => self.uid = None,
                b"gid" => self.gid = None,
                b"mtime" => self.mtime = None,
                _ => {}
            }
            return Ok(());
        }
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(parse(value)?),
            b"uid" => self.uid = Some(parse(value)?),
            b"gid" => self.gid = Some(parse(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            key => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.apply(key, value)?;
                }
            }
        }
        Ok(())
    }

    /// The last value of a name counts; libarchive writes each attribute twice, in both spellings.
    fn attribute(&mut self, name: Vec<u8>, value: Vec<u8>) {
        match self.xattrs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.xattrs.push((name, value)),
        }
    }
}

/// Refuses global records that move content or names: some readers obey them and some do not, so that one archive
/// would be two trees. Others are comments, such as those of `git archive`.
pub(super) fn check_global(records: &[u8]) -> Result<(), &'static str> {
    each(records, |key, _| match key {
        b"path" | b"linkpath" | b"size" => {
            Err("a global PAX header sets a name or a size, which readers take differently")
        }
        key if key.starts_with(b"GNU.sparse.") => Err("a global PAX header describes a sparse file"),
        _ => Ok(()),
    })
}

/// Calls `act` with the key and value of each record.
pub(super) fn each(
    mut records: &[u8],
    mut act: impl FnMut(&[u8], &[u8]) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    const BROKEN: &str = "a PAX record is broken";
    while !records.is_empty() {
        // Some writers fill up with zeros.
        if records.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let space = records.iter().position(|byte| *byte == b' ').ok_or(BROKEN)?;
        let length: usize = parse(&records[..space])?;
        let record = records.get(space + 1..length).ok_or(BROKEN)?.strip_suffix(b"\n").ok_or(BROKEN)?;
        records = &records[length..];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(BROKEN)?;
        act(&record[..equals], &record[equals + 1..])?;
    }
    Ok(())
}

/// Reads a decimal number without a sign.
pub(super) fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Result<T, &'static str> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.starts_with('+'));
    text.and_then(|text| text.parse().ok()).ok_or("a PAX record holds no number, or one that is too large")
}

/// Reads a decimal number of seconds; what is finer than a nanosecond is dropped.
pub(super) fn time(value: &[u8]) -> Result<(i64, i64), &'static str> {
    let dot = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let seconds: i64 = parse(&value[..dot])?;
    let digits = value[dot..].iter().skip(1).copied();
    if digits.clone().any(|digit| !digit.is_ascii_digit()) {
        return Err("a PAX record holds no time");
    }
    let nanoseconds = digits.chain(std::iter::repeat(b'0')).take(9).fold(0, |sum, it| sum * 10 + i64::from(it - b'0'));
    // What is before 1970 has a fraction that counts downwards.
    match value.first() {
        Some(b'-') if nanoseconds > 0 => Ok((seconds.saturating_sub(1), 1_000_000_000 - nanoseconds)),
        _ => Ok((seconds, nanoseconds)),
    }
}

/// Reads a name as in a URL, as libarchive writes those of attributes.
fn percent_decoded(name: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(if *byte == b'%' {
            let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            u8::try_from(high * 16 + low).ok()?
        } else {
            *byte
        });
    }
    Some(decoded)
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
        assert!(read("").is_err() && read("x.1").is_err() && read("1.x").is_err() && read("1e9").is_err());
    }

    #[test]
    fn attributes_are_read_in_both_spellings() {
        let mut extensions = Extensions::default();
        extensions.apply(b"39 LIBARCHIVE.xattr.user.a%3Db=dmFsdWU\n").expect("records");
        extensions.apply(b"29 SCHILY.xattr.user.c=other\n").expect("records");
        let expected: Attributes =
            vec![(b"user.a=b".to_vec(), b"value".to_vec()), (b"user.c".to_vec(), b"other".to_vec())];
        assert_eq!(extensions.xattrs, expected);
        extensions.apply(b"9 path=x\n8 path=\n").expect("records");
        assert_eq!(extensions.path, None);
    }
}
