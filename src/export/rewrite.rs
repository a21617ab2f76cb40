//! Times in a layer that is packed already: none later than asked for (BuildKit's `rewrite-timestamp`).
//!
//! Headers are changed where they stand. Everything else passes as it is, so that a layer without a later time stays
//! the same blob.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

const BLOCK: usize = 512;

/// Records of one entry that are read into memory.
const LONGEST: u64 = 1 << 20;

/// Copies a tar with no time later than `newest`, in seconds since 1970; tells whether there was one.
///
/// # Errors
/// What the sides say; `InvalidData` for what is no tar.
pub(super) fn rewrite(archive: &mut impl Read, out: &mut impl Write, newest: u64) -> io::Result<bool> {
    let mut changed = false;
    // From PAX records, for the next entry.
    let mut size_record = None;
    loop {
        let mut header = Header::new_old();
        if !read_block(archive, header.as_mut_bytes())? {
            return Ok(changed);
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            // The end mark and whatever is behind it.
            out.write_all(header.as_bytes())?;
            io::copy(archive, out)?;
            return Ok(changed);
        }
        let kind = header.entry_type();
        let mut size = header.entry_size()?;
        if header.mtime().is_ok_and(|time| time > newest) {
            header.set_mtime(newest);
            header.set_cksum();
            changed = true;
        }
        match kind {
            EntryType::XHeader | EntryType::XGlobalHeader => {
                if size > LONGEST {
                    return Err(invalid("a PAX record is too long"));
                }
                let mut records = vec![0; usize::try_from(size).expect("bounded above")];
                archive.read_exact(&mut records)?;
                skip(archive, padding(size))?;
                let (rewritten, length, found) = clamp(&records, newest)?;
                size_record = length.or(size_record);
                changed |= found;
                header.set_size(rewritten.len() as u64);
                header.set_cksum();
                out.write_all(header.as_bytes())?;
                out.write_all(&rewritten)?;
                out.write_all(&[0; BLOCK][..padding(rewritten.len() as u64)])?;
                continue;
            }
            EntryType::GNULongName | EntryType::GNULongLink => {}
            EntryType::Regular | EntryType::Continuous => size = size_record.take().unwrap_or(size),
            // Others have no content, whatever they say.
            kind if kind.is_gnu_sparse() => return Err(invalid("GNU sparse files are not part of layers")),
            _ => {
                size = 0;
                size_record = None;
            }
        }
        out.write_all(header.as_bytes())?;
        let whole = size.checked_add(padding(size) as u64).ok_or_else(|| invalid("an entry is too long"))?;
        if io::copy(&mut archive.take(whole), out)? != whole {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Rewrites PAX records (`pax(1)` "pax Extended Header"); returns them, the size that they give the next entry, and
/// whether anything changed.
fn clamp(mut records: &[u8], newest: u64) -> io::Result<(Vec<u8>, Option<u64>, bool)> {
    let broken = || invalid("a PAX record is broken");
    let (mut out, mut size, mut changed) = (Vec::new(), None, false);
    while !records.is_empty() {
        let space = records.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
        let number = std::str::from_utf8(&records[..space]).map_err(|_| broken())?;
        let length: usize = number.parse().map_err(|_| broken())?;
        let record = records.get(..length).filter(|record| record.len() > space + 1).ok_or_else(broken)?;
        records = &records[length..];
        let text = &record[space + 1..record.len() - 1];
        let equals = text.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
        let (key, value) = (&text[..equals], std::str::from_utf8(&text[equals + 1..]));
        match key {
            b"mtime" | b"atime" | b"ctime" if value.is_ok_and(|value| is_later(value, newest)) => {
                changed = true;
                push(&mut out, &String::from_utf8_lossy(key), newest);
            }
            b"size" => {
                size = Some(value.ok().and_then(|value| value.parse().ok()).ok_or_else(broken)?);
                out.extend_from_slice(record);
            }
            _ => out.extend_from_slice(record),
        }
    }
    Ok((out, size, changed))
}

/// Tells whether a decimal number of seconds is more than `newest`.
fn is_later(value: &str, newest: u64) -> bool {
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, ""));
    seconds
        .parse::<u64>()
        .is_ok_and(|seconds| seconds > newest || seconds == newest && fraction.bytes().any(|digit| digit != b'0'))
}

/// Appends `<length> <key>=<value>\n`, where the length counts itself.
fn push(records: &mut Vec<u8>, key: &str, value: u64) {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while rest.len() + length.to_string().len() != length {
        length = rest.len() + length.to_string().len();
    }
    records.extend_from_slice(format!("{length}{rest}").as_bytes());
}

fn padding(size: u64) -> usize {
    (BLOCK - usize::try_from(size % BLOCK as u64).expect("less than a block")) % BLOCK
}

/// Reads a block; `false` at the end of the archive.
fn read_block(archive: &mut impl Read, block: &mut [u8; BLOCK]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < BLOCK {
        match archive.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn skip(archive: &mut impl Read, count: usize) -> io::Result<()> {
    archive.read_exact(&mut [0; BLOCK][..count])
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_times_become_the_newest_and_all_else_stays() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut records = Vec::new();
        push(&mut records, "mtime", 2_000_000_000);
        records.extend_from_slice(b"31 SCHILY.xattr.user.a=mtime=9\n");
        for (kind, name, time, content) in [
            (EntryType::Regular, "old", 5, &b"content"[..]),
            (EntryType::XHeader, "pax", 1_900_000_000, &records),
            (EntryType::Regular, "new", 2_000_000_000, &[7; 700]),
            (EntryType::Directory, "d/", 1_000, b""),
        ] {
            let mut header = Header::new_ustar();
            header.set_path(name).expect("short");
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mtime(time);
            header.set_cksum();
            archive.append(&header, content).expect("in memory");
        }
        let archive = archive.into_inner().expect("in memory");
        let mut same = Vec::new();
        assert!(!rewrite(&mut archive.as_slice(), &mut same, 2_100_000_000).expect("a tar"));
        assert_eq!(same, archive);
        let mut out = Vec::new();
        assert!(rewrite(&mut archive.as_slice(), &mut out, 1_000).expect("a tar"));
        let mut read = tar::Archive::new(out.as_slice());
        let mut seen = Vec::new();
        for entry in read.entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a path").display().to_string();
            let xattr = entry.pax_extensions().expect("records").into_iter().flatten().count();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            seen.push((name, entry.header().mtime().expect("a time"), content.len(), xattr));
        }
        let expected =
            [("old", 5, 7, 0), ("new", 1_000, 700, 2), ("d/", 1_000, 0, 0)].map(|(n, t, c, x)| (n.to_owned(), t, c, x));
        assert_eq!(seen, expected);
        assert!(rewrite(&mut &archive[..700], &mut Vec::new(), 1_000).is_err());
    }
}
