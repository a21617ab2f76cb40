//! The files that a saved image consists of, from an archive or a directory. None is trusted, and none gets its name in
//! the store before everything was checked.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::error::ImageError;
use crate::http::Stop;
use crate::layer::{LayerError, Limits, MemberKind, Members};
use crate::oci::Digest;
use crate::store::{SealedBlob, Store, Stored};

/// Entries that an archive of images may have.
const ENTRIES: u64 = 65_536;

/// Links that lead to links are followed this far.
const HOPS: usize = 8;

/// Files are copied in pieces of this many bytes.
const PIECE: usize = 1 << 18;

/// Where the layout's blobs are.
const BLOBS: &str = "blobs/sha256/";

/// One file.
#[derive(Debug)]
pub(super) enum Piece {
    /// Its bytes are in the store's corner for what is in the making.
    Sealed(SealedBlob),
    /// The store had it before.
    Stored(Stored),
    /// Another name for the file of this one.
    Link(String),
}

/// All files.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    what: String,
    store: &'a Store,
    stop: &'a Stop,
    /// A layout whose files are read when they are asked for.
    directory: Option<PathBuf>,
    found: BTreeMap<String, Piece>,
}

impl<'a> Pieces<'a> {
    /// Reads an archive to its end.
    pub(super) fn archive(reader: impl Read, what: &str, store: &'a Store, stop: &'a Stop) -> Result<Self, ImageError> {
        let mut pieces = Self { what: what.to_owned(), store, stop, directory: None, found: BTreeMap::new() };
        let limits = Limits { entries: ENTRIES, ..Limits::default() };
        let failed = |source| ImageError::Read { what: what.to_owned(), source };
        let mut members = Members::new(reader, &limits).map_err(failed)?;
        while let Some(member) = members.next().map_err(failed)? {
            let path = String::from_utf8_lossy(&member.path).into_owned();
            // A name that leads out of the archive, or is no text, is not one that anything in it can mean.
            let Some(name) = normal("", &path) else { continue };
            let piece = match member.kind {
                MemberKind::Other => continue,
                MemberKind::Symlink(target) => {
                    let above = name.rsplit_once('/').map_or("", |(above, _)| above);
                    let Some(target) = normal(above, &String::from_utf8_lossy(&target)) else { continue };
                    Piece::Link(target)
                }
                MemberKind::HardLink(target) => {
                    let Some(target) = normal("", &String::from_utf8_lossy(&target)) else { continue };
                    Piece::Link(target)
                }
                MemberKind::File => pieces.take_in(&name, &mut members, Some(member.size))?,
            };
            // Tar's rule: the last one counts.
            pieces.found.insert(name, piece);
        }
        if pieces.found.is_empty() {
            return Err(pieces.wrong("nothing is in it"));
        }
        Ok(pieces)
    }

    /// Takes a directory, whose files are read when they are asked for.
    pub(super) fn directory(path: &Path, what: &str, store: &'a Store, stop: &'a Stop) -> Self {
        Self { what: what.to_owned(), store, stop, directory: Some(path.to_owned()), found: BTreeMap::new() }
    }

    /// Returns what it is all read from, for people.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    pub(super) fn wrong(&self, reason: &str) -> ImageError {
        ImageError::Archive { what: self.what.clone(), reason: reason.to_owned() }
    }

    /// Copies a file; a blob of a layout must be what its name says, and is not copied where the store has it.
    fn take_in(&self, name: &str, reader: &mut dyn Read, size: Option<u64>) -> Result<Piece, ImageError> {
        let promised = name.strip_prefix(BLOBS).and_then(|hex| Digest::from_hex(hex).ok());
        if let Some(digest) = promised
            && let Some(stored) = self.store.contains(&digest)
            && size.is_none_or(|size| size == stored)
        {
            return Ok(Piece::Stored(Stored { digest, size: stored }));
        }
        let mut writer = self.store.writer()?;
        let mut piece = vec![0; PIECE];
        loop {
            if self.stop.asked() {
                return Err(ImageError::Stopped { what: self.what.clone() });
            }
            let count = match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(ImageError::Read { what: self.what.clone(), source: LayerError::Read { source } });
                }
            };
            writer.write_all(&piece[..count]).map_err(ImageError::io("write to", self.store.root()))?;
            if size.is_some_and(|size| writer.size() > size) {
                return Err(self.wrong(&format!("`{name}` grew while it was read")));
            }
        }
        let sealed = writer.seal();
        match promised {
            Some(expected) if expected != sealed.stored().digest => {
                let what = format!("`{name}` of {}", self.what);
                Err(ImageError::Digest { what, expected, actual: sealed.stored().digest })
            }
            _ => Ok(Piece::Sealed(sealed)),
        }
    }

    /// Finds a file under a name, through links inside the archive.
    fn find(&mut self, name: &str) -> Result<Option<String>, ImageError> {
        let Some(mut at) = normal("", name) else {
            return Err(self.wrong(&format!("`{name}` leads out of it")));
        };
        if let Some(root) = self.directory.clone()
            && !self.found.contains_key(&at)
        {
            match open_file(&root.join(&at)) {
                Ok(Some(mut file)) => {
                    let path = root.join(&at);
                    let size = file.metadata().map_err(ImageError::io("examine", &path))?.len();
                    let piece = self.take_in(&at, &mut file, Some(size))?;
                    self.found.insert(at.clone(), piece);
                }
                Ok(None) => return Err(self.wrong(&format!("`{at}` is not a file"))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(ImageError::io("open", &root.join(&at))(error)),
            }
        }
        for _ in 0..HOPS {
            match self.found.get(&at) {
                Some(Piece::Link(target)) => at.clone_from(target),
                Some(_) => return Ok(Some(at)),
                None => return Ok(None),
            }
        }
        Err(self.wrong(&format!("`{name}` is a link to links without end")))
    }

    /// Tells whether a file is there.
    pub(super) fn has(&mut self, name: &str) -> Result<bool, ImageError> {
        Ok(self.find(name)?.is_some())
    }

    /// Returns digest and size of a file.
    pub(super) fn stored(&mut self, name: &str) -> Result<Option<Stored>, ImageError> {
        let Some(at) = self.find(name)? else { return Ok(None) };
        Ok(match self.found.get(&at) {
            Some(Piece::Sealed(sealed)) => Some(sealed.stored()),
            Some(Piece::Stored(stored)) => Some(*stored),
            _ => None,
        })
    }

    /// Opens a file for reading.
    pub(super) fn open(&mut self, name: &str) -> Result<Option<File>, ImageError> {
        let Some(at) = self.find(name)? else { return Ok(None) };
        Ok(match self.found.get(&at) {
            Some(Piece::Sealed(sealed)) => Some(sealed.open()?),
            Some(Piece::Stored(stored)) => Some(self.store.read(&stored.digest)?),
            _ => None,
        })
    }

    /// Reads a small file.
    pub(super) fn read(&mut self, name: &str, most: u64) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(ImageError::io("read", Path::new(name)))?;
        if bytes.len() as u64 > most {
            return Err(self.wrong(&format!("`{name}` has more than {most} bytes")));
        }
        Ok(Some(bytes))
    }

    /// Gives a file its name in the store.
    pub(super) fn commit(&mut self, name: &str) -> Result<Stored, ImageError> {
        let at = self.find(name)?.ok_or_else(|| self.wrong(&format!("`{name}` is not in it")))?;
        let stored = match self.found.remove(&at) {
            Some(Piece::Sealed(sealed)) => sealed.commit()?,
            Some(Piece::Stored(stored)) => stored,
            Some(Piece::Link(_)) | None => return Err(self.wrong(&format!("`{name}` is not in it"))),
        };
        // Others may mean it too.
        self.found.insert(at, Piece::Stored(stored));
        Ok(stored)
    }

    /// Returns the store that everything goes to.
    pub(super) fn store(&self) -> &'a Store {
        self.store
    }

    /// Returns the name of a blob in a layout.
    pub(super) fn blob(digest: &Digest) -> String {
        format!("{BLOBS}{}", digest.hex())
    }
}

/// Returns a name without `.` and `..` as seen from `above`; `None` where it leads out, is absolute or says nothing.
fn normal(above: &str, name: &str) -> Option<String> {
    if name.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = above.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Opens a regular file; `None` for anything else, which is not waited for.
fn open_file(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out() {
        for (above, name, normal_name) in [
            ("", "a/b", Some("a/b")),
            ("", "./a//b/.", Some("a/b")),
            ("x", "../y/layer.tar", Some("y/layer.tar")),
            ("x/z", "../../y", Some("y")),
            ("", "../a", None),
            ("x", "../../a", None),
            ("", "/etc/passwd", None),
            ("", "", None),
            ("", ".", None),
            ("", "a/..", None),
        ] {
            assert_eq!(normal(above, name).as_deref(), normal_name, "{above} {name}");
        }
    }
}
