//! Reading a .deb (`deb(5)`): an `ar` archive of `debian-binary`, `control.tar*` and `data.tar*`.
//!
//! Only the data archive is used; maintainer scripts are never run. The digest in the lock vouches for a package, yet
//! it is read as if by a stranger: sizes and memory are bounded, every path is taken apart, and what a package of
//! files has no business with (devices, pipes, paths that climb) is an error.

use std::io::{self, Read, Seek, Write};

use liblzma::read::XzDecoder;
use liblzma::stream::Stream;

use super::error::RootfsError;

/// The most bytes that the files of one package may unpack to.
const LARGEST: u64 = 2 << 30;

/// The most members of one package.
const MOST: usize = 200_000;

/// The memory that xz may take, in bytes; `dpkg-deb` compresses with at most a sixth of it.
const XZ_MEMORY: u64 = 512 << 20;

/// The window that zstd may ask for, as a power of two: 128 MiB.
const ZSTD_WINDOW: u32 = 27;

/// The longest path, in bytes (`PATH_MAX`).
const PATH: usize = 4096;

/// One file, directory or link of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Path relative to the root, without `.`, `..` and empty parts; empty for the root itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time in seconds since 1970.
    pub mtime: u64,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file, whose bytes are at an offset of the data archive.
    File {
        /// Where its bytes begin.
        offset: u64,
        /// How many there are.
        size: u64,
    },
    /// A symbolic link and its target as it stands.
    Symlink(Vec<u8>),
    /// A hard link to an earlier member's path.
    Link(Vec<u8>),
}

/// Writes the decompressed data archive of the .deb that is called `package`; returns its size in bytes.
///
/// # Errors
/// `Package`, `Unpack`.
pub fn extract(package: &str, deb: impl Read, out: &mut impl Write) -> Result<u64, RootfsError> {
    let unsound = |why: &str| RootfsError::Package { package: package.to_owned(), why: why.to_owned() };
    let failed = |source| RootfsError::Unpack { package: package.to_owned(), source };
    let mut archive = ar::Archive::new(deb);
    let mut number = 0;
    while let Some(member) = archive.next_entry() {
        let mut member = member.map_err(failed)?;
        let name = String::from_utf8_lossy(member.header().identifier()).trim_end_matches('/').to_owned();
        if number == 0 {
            let mut version = Vec::new();
            member.by_ref().take(64).read_to_end(&mut version).map_err(failed)?;
            if name != "debian-binary" || !version.starts_with(b"2.") {
                return Err(unsound("it does not begin with `debian-binary` 2.x"));
            }
        }
        number += 1;
        let size = match name.strip_prefix("data.tar") {
            Some("") => {
                let promised = member.header().size();
                copy(member, out)
                    .and_then(|size| if size == promised { Ok(size) } else { Err(io::ErrorKind::UnexpectedEof.into()) })
            }
            Some(".gz") => copy(flate2::read::MultiGzDecoder::new(member), out),
            Some(".xz") => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(|error| failed(error.into()))?;
                copy(XzDecoder::new_stream(member, stream), out)
            }
            Some(".zst") => zstd::stream::read::Decoder::new(member).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW)?;
                copy(decoder, out)
            }),
            Some(other) => return Err(unsound(&format!("its data archive has the unknown compression `{other}`"))),
            None => continue,
        };
        return match size.map_err(failed)? {
            size if size > LARGEST => Err(unsound("it unpacks to more than 2 GiB")),
            size => Ok(size),
        };
    }
    Err(unsound("it has no data archive"))
}

/// Copies until the end or one byte past the limit.
fn copy(from: impl Read, out: &mut impl Write) -> io::Result<u64> {
    io::copy(&mut from.take(LARGEST + 1), out)
}

/// Lists the members of a decompressed data archive, in its order; their bytes stay where they are.
///
/// # Errors
/// `Package`, `Unpack`.
pub fn members(package: &str, data: impl Read + Seek) -> Result<Vec<Member>, RootfsError> {
    let unsound = |why: String| RootfsError::Package { package: package.to_owned(), why };
    let failed = |source| RootfsError::Unpack { package: package.to_owned(), source };
    let mut archive = tar::Archive::new(data);
    let mut found = Vec::new();
    for entry in archive.entries_with_seek().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if found.len() == MOST {
            return Err(unsound(format!("it has more than {MOST} members")));
        }
        let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = normal(&entry.path_bytes())
            .ok_or_else(|| unsound(format!("member `{shown}` is not a path inside the root")))?;
        let header = entry.header();
        let target = || {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            let sound = !target.is_empty() && target.len() < PATH && !target.contains(&0);
            sound.then_some(target).ok_or_else(|| unsound(format!("link `{shown}` has no sound target")))
        };
        let kind = match header.entry_type() {
            tar::EntryType::Directory => Kind::Directory,
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                Kind::File { offset: entry.raw_file_position(), size: entry.size() }
            }
            tar::EntryType::Symlink => Kind::Symlink(target()?),
            tar::EntryType::Link => Kind::Link(
                normal(&target()?)
                    .filter(|target| !target.is_empty())
                    .ok_or_else(|| unsound(format!("hard link `{shown}` points outside the root")))?,
            ),
            other => return Err(unsound(format!("member `{shown}` is of kind {other:?}, which no package needs"))),
        };
        if path.is_empty() && kind != Kind::Directory {
            return Err(unsound("its root is not a directory".to_owned()));
        }
        found.push(Member {
            path,
            kind,
            mode: header.mode().map_err(failed)? & 0o7777,
            uid: header.uid().map_err(failed)?,
            gid: header.gid().map_err(failed)?,
            mtime: header.mtime().map_err(failed)?,
        });
    }
    if found.is_empty() {
        return Err(unsound("its data archive is empty".to_owned()));
    }
    Ok(found)
}

/// Takes a path apart and puts it together without `.` and empty parts; `None` if it climbs.
fn normal(path: &[u8]) -> Option<Vec<u8>> {
    if path.len() >= PATH || path.contains(&0) {
        return None;
    }
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    (!parts.contains(&b"..".as_slice())).then(|| parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(normal(b"./usr//bin/./x/").as_deref(), Some(b"usr/bin/x".as_slice()));
        assert_eq!(normal(b"/etc").as_deref(), Some(b"etc".as_slice()));
        assert_eq!(normal(b"./").as_deref(), Some(b"".as_slice()));
        assert_eq!(normal(b"a/../b"), None);
        assert_eq!(normal(b"a\0b"), None);
        assert_eq!(normal(&[b'a'; PATH]), None);
    }
}
