//! A merged tree as the bytes of an OCI layer (`image-spec layer.md`).
//!
//! The layer is an uncompressed tar, a pure function of the packages' bytes and the list: sorted by path, `ustar`
//! headers with PAX records only for what does not fit, numeric owners, the packages' own times, no root entry.
//!
//! Why uncompressed: a lock names the image's digest, so the bytes must stay the same over versions of any compressor;
//! the layer never leaves the machine on its own; and reading it back costs nothing on the way to a snapshot.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::error::RootfsError;
use super::tree::{Node, NodeKind, Tree};

/// Bytes of a `ustar` path or link target that need no PAX record.
const SHORT: usize = 100;

/// Files are copied in pieces of this many bytes.
const PIECE: usize = 1 << 18;

const BLOCK: usize = 512;

impl Tree {
    /// Writes the layer; `data` has the packages' decompressed data archives in the order in which they were merged.
    ///
    /// # Errors
    /// `Layer`.
    pub fn write(&self, data: &[File], out: &mut impl Write) -> Result<(), RootfsError> {
        self.write_entries(data, out).map_err(|source| RootfsError::Layer { source })
    }

    fn write_entries(&self, data: &[File], out: &mut impl Write) -> io::Result<()> {
        // The first path of some bytes carries them, later ones are hard links to it.
        let mut first: BTreeMap<(usize, u64), &[u8]> = BTreeMap::new();
        let mut piece = vec![0; PIECE];
        for (path, node) in &self.nodes {
            match &node.kind {
                NodeKind::Directory => {
                    let path = [path.as_slice(), b"/"].concat();
                    header(out, tar::EntryType::Directory, &path, node, 0, None)?;
                }
                NodeKind::Symlink(target) => header(out, tar::EntryType::Symlink, path, node, 0, Some(target))?,
                NodeKind::Text(text) => {
                    header(out, tar::EntryType::Regular, path, node, text.len() as u64, None)?;
                    out.write_all(text)?;
                    pad(out, text.len() as u64)?;
                }
                NodeKind::File { package, offset, size } => {
                    if let Some(target) = first.get(&(*package, *offset)) {
                        header(out, tar::EntryType::Link, path, node, 0, Some(target))?;
                        continue;
                    }
                    first.insert((*package, *offset), path);
                    header(out, tar::EntryType::Regular, path, node, *size, None)?;
                    copy(&data[*package], *offset, *size, &mut piece, out)?;
                    pad(out, *size)?;
                }
            }
        }
        out.write_all(&[0; 2 * BLOCK])
    }
}

fn copy(from: &File, mut offset: u64, size: u64, piece: &mut [u8], out: &mut impl Write) -> io::Result<()> {
    let mut left = size;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        from.read_exact_at(&mut piece[..count], offset)?;
        out.write_all(&piece[..count])?;
        offset += count as u64;
        left -= count as u64;
    }
    Ok(())
}

fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
    if over == 0 { Ok(()) } else { out.write_all(&[0; BLOCK][over..]) }
}

fn header(
    out: &mut impl Write,
    kind: tar::EntryType,
    path: &[u8],
    node: &Node,
    size: u64,
    target: Option<&[u8]>,
) -> io::Result<()> {
    let mut records = Vec::new();
    if path.len() > SHORT {
        record(&mut records, "path", path);
    }
    if let Some(target) = target.filter(|target| target.len() > SHORT) {
        record(&mut records, "linkpath", target);
    }
    if !records.is_empty() {
        let mut pax = tar::Header::new_ustar();
        pax.set_entry_type(tar::EntryType::XHeader);
        name(&mut pax, b"pax");
        pax.set_mode(0o644);
        numbers(&mut pax, 0, 0, 0)?;
        pax.set_size(records.len() as u64);
        pax.set_cksum();
        out.write_all(pax.as_bytes())?;
        out.write_all(&records)?;
        pad(out, records.len() as u64)?;
    }
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    name(&mut header, path);
    if let Some(target) = target {
        let short = &target[..target.len().min(SHORT)];
        header.as_mut_bytes()[157..157 + short.len()].copy_from_slice(short);
    }
    header.set_mode(node.mode);
    numbers(&mut header, node.uid, node.gid, node.mtime)?;
    header.set_size(size);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

/// Sets the name as it stands, cut where a PAX record has the whole.
fn name(header: &mut tar::Header, path: &[u8]) {
    let short = &path[..path.len().min(SHORT)];
    header.as_mut_bytes()[..short.len()].copy_from_slice(short);
}

fn numbers(header: &mut tar::Header, uid: u64, gid: u64, mtime: u64) -> io::Result<()> {
    // More than seven octal digits, or eleven for a time, would need another tar dialect: no package has such numbers.
    if uid > 0o777_7777 || gid > 0o777_7777 || mtime > 0o777_7777_7777 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an owner, group or time does not fit a tar header"));
    }
    header.set_uid(uid);
    header.set_gid(gid);
    header.set_mtime(mtime);
    Ok(())
}

/// Appends a PAX record, whose length counts its own digits (`pax(1)` extended header).
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for size in [1, 80, 88, 89, 90, 91, 92, 988, 989, 990, 991, 5000] {
            let mut records = Vec::new();
            record(&mut records, "path", &vec![b'x'; size]);
            let text = String::from_utf8(records.clone()).expect("ASCII");
            let (length, _) = text.split_once(' ').expect("a length");
            assert_eq!(length.parse::<usize>().expect("a number"), records.len());
        }
    }
}
