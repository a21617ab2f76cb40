//! Directories of the user, as the daemon asks for them (fsutil `Send`).
//!
//! ```text
//! we      STAT …            one for each entry, in order; an empty one ends the list
//! daemon  REQ id            wants the bytes of the id-th entry
//! we      DATA id bytes …   an empty one ends the file
//! daemon  FIN               has all; we answer FIN
//! ```

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::FileType;

use super::offer::{Offer, Shared};
use super::service::end;
use crate::buildkit::message::{Packet, PacketType, Stat};
use crate::grpc::{Answer, Call, Code, Receiving, Status};
use crate::source::{Listed, Listing, LocalSource};

/// Bytes of one message.
const PIECE: usize = 1 << 16;

/// What a daemon wants of a directory.
#[derive(Debug)]
pub(super) struct FileRequest {
    directory: Shared,
    source: LocalSource,
}

impl FileRequest {
    /// Reads the headers of a call; a directory that was not offered is refused by its name alone.
    pub(super) fn of(call: &Call, offer: &Offer) -> Result<Self, Status> {
        let list = |name: &str| {
            let encoded = call.metadata(&format!("{name}-encoded")).first().is_some_and(|value| value == "1");
            let values = call.metadata(name);
            if encoded { values.iter().map(|value| unescaped(value)).collect() } else { values }
        };
        let name = list("dir-name").into_iter().next().unwrap_or_default();
        let none = || Status::new(Code::NotFound, format!("directory `{name}` was not given"));
        let directory = offer.directories.get(&name).cloned().ok_or_else(none)?;
        let source = LocalSource {
            name,
            include: list("include-patterns"),
            exclude: list("exclude-patterns"),
            follow: list("followpaths"),
            metadata_only: false,
        };
        Ok(Self { directory, source })
    }
}

/// Undoes Go's `url.QueryEscape`.
fn unescaped(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => plain.push(b' '),
            b'%' => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let hex = std::str::from_utf8(&digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                plain.extend(hex);
            }
            byte => plain.push(byte),
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Sends a directory.
pub(super) async fn send_files(request: FileRequest, mut receiving: Receiving, mut answer: Answer) {
    let result = send(&request, &mut receiving, &mut answer).await;
    if let Err(status) = &result {
        let data = Bytes::copy_from_slice(status.message.as_bytes());
        let _ = answer.send(&Packet { r#type: PacketType::Err.into(), data, ..Packet::default() }).await;
    }
    end(answer, result);
}

async fn send(request: &FileRequest, receiving: &mut Receiving, answer: &mut Answer) -> Result<(), Status> {
    let FileRequest { directory: Shared { path, normal }, source } = request;
    let (path, source, normal) = (path.clone(), source.clone(), *normal);
    let listing = blocking(move || Listing::of(&path, &source).map_err(|error| failed(&error))).await?;
    let listing = Arc::new(listing);
    for entry in listing.entries() {
        let stat = Some(stat(entry, normal)?);
        answer.send(&Packet { r#type: PacketType::Stat.into(), stat, ..Packet::default() }).await?;
    }
    answer.send(&Packet { r#type: PacketType::Stat.into(), ..Packet::default() }).await?;
    while let Some(packet) = receiving.next::<Packet>().await? {
        match packet.r#type() {
            PacketType::Req => send_file(&listing, packet.id, answer).await?,
            PacketType::Fin => {
                return answer.send(&Packet { r#type: PacketType::Fin.into(), ..Packet::default() }).await;
            }
            PacketType::Err => {
                return Err(Status::new(Code::Aborted, String::from_utf8_lossy(&packet.data).into_owned()));
            }
            PacketType::Stat | PacketType::Data => {}
        }
    }
    Ok(())
}

async fn send_file(listing: &Arc<Listing>, id: u32, answer: &mut Answer) -> Result<(), Status> {
    let entry = listing.entries().get(id as usize).filter(|entry| kind(entry) == FileType::RegularFile);
    let Some(entry) = entry else { return Err(Status::new(Code::InvalidArgument, format!("there is no file {id}"))) };
    let data = |data| Packet { r#type: PacketType::Data.into(), id, data, ..Packet::default() };
    let (of, path) = (Arc::clone(listing), entry.path.clone());
    // No more than was announced: a file that grows meanwhile has no end.
    let mut left = u64::try_from(entry.stat.st_size).unwrap_or_default();
    let mut file = blocking(move || of.open(&path).map_err(|error| failed(&error))).await?;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let path = entry.path.clone();
        let (back, bytes) = blocking(move || read(file, want, &path)).await?;
        file = back;
        if bytes.is_empty() {
            break;
        }
        left -= bytes.len() as u64;
        answer.send(&data(bytes)).await?;
    }
    answer.send(&data(Bytes::new())).await
}

fn read(mut file: File, want: usize, path: &Path) -> Result<(File, Bytes), Status> {
    let mut bytes = Vec::with_capacity(want);
    match file.by_ref().take(want as u64).read_to_end(&mut bytes) {
        Ok(_) => Ok((file, bytes.into())),
        Err(error) => Err(Status::new(Code::Internal, format!("failed to read `{}`: {error}", path.display()))),
    }
}

/// Runs what waits for a disk where it holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Status::new(Code::Internal, error.to_string())))
}

fn failed(error: &dyn std::error::Error) -> Status {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Status::new(Code::Internal, message)
}

fn kind(entry: &Listed) -> FileType {
    FileType::from_raw_mode(entry.stat.st_mode)
}

/// Bits of Go's `fs.FileMode`.
mod go {
    pub(super) const DIR: u32 = 1 << 31;
    pub(super) const SYMLINK: u32 = 1 << 27;
    pub(super) const DEVICE: u32 = 1 << 26;
    pub(super) const NAMED_PIPE: u32 = 1 << 25;
    pub(super) const SETUID: u32 = 1 << 23;
    pub(super) const SETGID: u32 = 1 << 22;
    pub(super) const CHAR_DEVICE: u32 = 1 << 21;
    pub(super) const STICKY: u32 = 1 << 20;
}

/// Describes an entry; owners stay at home, as BuildKit's own client has it.
fn stat(entry: &Listed, normal: bool) -> Result<Stat, Status> {
    let raw = &entry.stat;
    let kind = kind(entry);
    let mut permissions = raw.st_mode & 0o777;
    if normal && kind != FileType::Symlink {
        permissions = if kind == FileType::Directory || permissions & 0o111 != 0 { 0o755 } else { 0o644 };
    }
    let special = [(0o4000, go::SETUID), (0o2000, go::SETGID), (0o1000, go::STICKY)];
    let special = special.iter().filter(|(bit, _)| !normal && raw.st_mode & bit != 0).map(|(_, go)| go).sum::<u32>();
    let kind_bits = match kind {
        FileType::Directory => go::DIR,
        FileType::Symlink => go::SYMLINK,
        FileType::CharacterDevice => go::DEVICE | go::CHAR_DEVICE,
        FileType::BlockDevice => go::DEVICE,
        FileType::Fifo => go::NAMED_PIPE,
        // A socket becomes an empty file.
        _ => 0,
    };
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    let device = |part: u32| if is_device { i64::from(part) } else { 0 };
    let is_linked_file = entry.link.is_some() && kind != FileType::Symlink;
    let size = if kind == FileType::Directory || is_linked_file { 0 } else { raw.st_size };
    let time = raw.st_mtime.saturating_mul(1_000_000_000).saturating_add(raw.st_mtime_nsec.cast_signed());
    Ok(Stat {
        path: text(&entry.path)?,
        mode: permissions | special | kind_bits,
        uid: 0,
        gid: 0,
        size,
        mod_time: if normal { 0 } else { time },
        linkname: entry.link.as_deref().map(text).transpose()?.unwrap_or_default(),
        devmajor: device(rustix::fs::major(raw.st_rdev)),
        devminor: device(rustix::fs::minor(raw.st_rdev)),
        xattrs: if normal { std::collections::BTreeMap::new() } else { entry.xattrs.clone() },
    })
}

/// A path as the wire has it, which is text.
fn text(path: &Path) -> Result<String, Status> {
    let wrong = || {
        let message = format!("`{}` is not UTF-8, which BuildKit's protocol needs: rename it", path.display());
        Status::new(Code::InvalidArgument, message)
    };
    std::str::from_utf8(path.as_os_str().as_bytes()).map(str::to_owned).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_beyond_ascii_come_back_as_they_were_written() {
        assert_eq!(unescaped("b%C3%BCro%2F*+x"), "büro/* x");
        assert_eq!(unescaped("plain"), "plain");
    }

    #[test]
    fn modes_are_those_of_go() {
        let place = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir(place.path().join("d")).expect("directory");
        std::fs::write(place.path().join("f"), "x").expect("file");
        rustix::fs::chmod(place.path().join("f"), rustix::fs::Mode::from_raw_mode(0o4751)).expect("mode");
        std::os::unix::fs::symlink("f", place.path().join("l")).expect("link");
        std::fs::hard_link(place.path().join("f"), place.path().join("z")).expect("hard link");
        let listing = Listing::of(place.path(), &LocalSource::default()).expect("listing");
        let stats: Vec<Stat> = listing.entries().iter().map(|e| stat(e, false).expect("text")).collect();
        let modes: Vec<(&str, u32)> = stats.iter().map(|s| (s.path.as_str(), s.mode & !0o777)).collect();
        let file = go::SETUID;
        assert_eq!(modes, [("d", go::DIR), ("f", file), ("l", go::SYMLINK), ("z", file)]);
        assert_eq!((stats[3].linkname.as_str(), stats[3].size, stats[2].linkname.as_str()), ("f", 0, "f"));
        let normal = stat(&listing.entries()[1], true).expect("text");
        assert_eq!((normal.mode, normal.mod_time), (0o755, 0));
    }
}
