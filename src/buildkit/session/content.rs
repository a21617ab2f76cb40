//! Blobs, read and written by a daemon (containerd `content.proto`).
//!
//! Which store is meant stands in a header:
//!
//! | store | what |
//! |---|---|
//! | `oci:…` | blobs that the graph names by digest, made or fetched when they are asked for; read only |
//! | `local:DIR` | a cache in an image layout that the user named, read and written |
//! | `export` | the store of this machine: results are written to it, verified; blobs that are there do not travel again |

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::files::blocking;
use super::layout::{LayoutWriter, blob_path};
use super::offer::{Demand, Offer};
use super::service::{end, request, unary};
use crate::buildkit::message::{
    ContentInfo, ContentInfoRequest, ContentInfoResponse, ContentUpdateRequest, Empty, ReadContentRequest,
    ReadContentResponse, Timestamp, WriteAction, WriteContentRequest, WriteContentResponse,
};
use crate::grpc::{Answer, Call, Code, Receiving, Status};
use crate::oci::Digest;
use crate::store::{BlobWriter, Store};

/// Bytes of one message.
const PIECE: usize = 1 << 18;

/// The header that names a store.
const STORE: &str = "buildkit-attachable-store-id";

/// What blobs are answered from.
#[derive(Debug)]
pub(super) struct Content {
    store: Store,
    caches: std::collections::BTreeSet<PathBuf>,
    blobs: tokio::sync::mpsc::UnboundedSender<Demand>,
}

/// A store that a call names.
#[derive(Debug)]
enum Place {
    Graph,
    Cache(PathBuf),
    Export,
}

/// A blob in the making.
enum Writer {
    Store(BlobWriter),
    Layout(LayoutWriter),
}

impl Writer {
    fn size(&self) -> u64 {
        match self {
            Self::Store(writer) => writer.size(),
            Self::Layout(writer) => writer.size(),
        }
    }

    fn digest(&self) -> Digest {
        match self {
            Self::Store(writer) => writer.digest(),
            Self::Layout(writer) => writer.digest(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Store(writer) => writer.write_all(bytes),
            Self::Layout(writer) => writer.write_all(bytes),
        }
    }

    fn commit(self) -> Result<(), Status> {
        match self {
            Self::Store(writer) => writer.commit().map(drop).map_err(|error| disk(&error)),
            Self::Layout(writer) => writer.commit().map_err(|error| disk(&error)),
        }
    }
}

/// A failure of this machine's disk, in words that survive the way through the daemon.
pub(super) fn disk(error: &dyn std::error::Error) -> Status {
    let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    Status::new(Code::Internal, format!("the client could not keep a blob: {error}{cause}"))
}

impl Content {
    pub(super) fn new(offer: &Offer) -> Self {
        Self { store: offer.store.clone(), caches: offer.caches.clone(), blobs: offer.blobs.clone() }
    }

    pub(super) async fn handle(&self, method: &str, call: Call) {
        let id = call.metadata(STORE).into_iter().next().unwrap_or_default();
        let place = match self.place(&id) {
            Ok(place) => place,
            Err(status) => return call.refuse(&status),
        };
        match method {
            "Info" => {
                unary(call, async |request: ContentInfoRequest| {
                    let digest = digest(&request.digest)?;
                    let path = self.find(&place, &digest).await?;
                    Ok(ContentInfoResponse { info: Some(info(&digest, size(&path)?)) })
                })
                .await;
            }
            // Labels are the daemon's own business and are not kept.
            "Update" => {
                unary(call, async |request: ContentUpdateRequest| {
                    let of = request.info.unwrap_or_default();
                    let digest = digest(&of.digest)?;
                    let path = self.find(&place, &digest).await?;
                    Ok(ContentInfoResponse { info: Some(info(&digest, size(&path)?)) })
                })
                .await;
            }
            "Abort" => unary(call, async |_: Empty| Ok(Empty {})).await,
            // Writes are not resumed.
            "Status" => {
                unary(call, async |_: Empty| Err::<Empty, _>(Status::new(Code::NotFound, "no write is under way")))
                    .await;
            }
            "Read" if !matches!(place, Place::Export) => {
                let Ok((mut receiving, mut answer)) = call.accept() else { return };
                let result = self.read(&place, &mut receiving, &mut answer).await;
                end(answer, result);
            }
            "Write" if !matches!(place, Place::Graph) => {
                let Ok((mut receiving, mut answer)) = call.accept() else { return };
                let result = self.write(&place, &mut receiving, &mut answer).await;
                end(answer, result);
            }
            _ => call.refuse(&Status::new(Code::Unimplemented, format!("`{method}` is not for the store `{id}`"))),
        }
    }

    fn place(&self, id: &str) -> Result<Place, Status> {
        if id == "export" {
            return Ok(Place::Export);
        }
        if id.starts_with("oci:") {
            return Ok(Place::Graph);
        }
        let cache = id.strip_prefix("local:").map(PathBuf::from).filter(|path| self.caches.contains(path));
        cache.map(Place::Cache).ok_or_else(|| Status::new(Code::NotFound, format!("unknown store {id}")))
    }

    /// Returns where a blob is; one that the graph names is made now.
    async fn find(&self, place: &Place, digest: &Digest) -> Result<PathBuf, Status> {
        let none = || Status::new(Code::NotFound, format!("content {digest}: not found"));
        let found = match place {
            Place::Export => self.store.contains(digest).map(|_| self.store.path(digest)),
            Place::Cache(root) => Some(blob_path(root, digest)).filter(|path| path.is_file()),
            Place::Graph => {
                let (answer, answered) = oneshot::channel();
                self.blobs.send(Demand { digest: *digest, answer }).map_err(|_| none())?;
                answered.await.map_err(|_| none())?.map_err(|reason| Status::new(Code::Internal, reason))?
            }
        };
        found.ok_or_else(none)
    }

    async fn read(&self, place: &Place, receiving: &mut Receiving, answer: &mut Answer) -> Result<(), Status> {
        let request: ReadContentRequest = request(receiving).await?;
        let digest = digest(&request.digest)?;
        let path = self.find(place, &digest).await?;
        let all = size(&path)?;
        let mut offset = u64::try_from(request.offset).unwrap_or_default();
        if offset > all {
            return Err(Status::new(Code::OutOfRange, format!("content {digest} has {all} bytes")));
        }
        let end = match u64::try_from(request.size) {
            Ok(size) if size > 0 => offset.saturating_add(size).min(all),
            _ => all,
        };
        while offset < end {
            let want = usize::try_from(end - offset).unwrap_or(PIECE).min(PIECE);
            let path = path.clone();
            let data = blocking(move || piece(&path, offset, want)).await?;
            if data.is_empty() {
                return Err(Status::new(Code::DataLoss, format!("content {digest} became shorter")));
            }
            let at = i64::try_from(offset).unwrap_or(i64::MAX);
            offset += data.len() as u64;
            answer.send(&ReadContentResponse { offset: at, data }).await?;
        }
        Ok(())
    }

    async fn write(&self, place: &Place, receiving: &mut Receiving, answer: &mut Answer) -> Result<(), Status> {
        let mut writer = None;
        let (mut expected, mut total) = (None, 0);
        while let Some(request) = receiving.next::<WriteContentRequest>().await? {
            if !request.expected.is_empty() {
                let digest = digest(&request.expected)?;
                expected = Some(digest);
                if self.find(place, &digest).await.is_ok() {
                    return Err(Status::new(Code::AlreadyExists, format!("content {digest}: already exists")));
                }
            }
            if request.total > 0 {
                total = request.total;
            }
            let mut current = match writer.take() {
                Some(writer) => writer,
                None => self.begin(place)?,
            };
            let at = i64::try_from(current.size()).unwrap_or(i64::MAX);
            if request.offset != at && (request.offset > 0 || !request.data.is_empty()) {
                let message = format!("a write at {} must be at {at}", request.offset);
                return Err(Status::new(Code::OutOfRange, message));
            }
            if total > 0 && at.saturating_add(i64::try_from(request.data.len()).unwrap_or(i64::MAX)) > total {
                return Err(Status::new(Code::OutOfRange, format!("more than the {total} bytes that were announced")));
            }
            let data = request.data.clone();
            let current = blocking(move || {
                current.write(&data).map_err(|error| disk(&error))?;
                Ok(current)
            })
            .await?;
            let (offset, actual) = (i64::try_from(current.size()).unwrap_or(i64::MAX), current.digest());
            let commits = request.action() == WriteAction::Commit;
            if commits {
                if let Some(expected) = expected.filter(|expected| *expected != actual) {
                    let message = format!("what came as {expected} is {actual}");
                    return Err(Status::new(Code::FailedPrecondition, message));
                }
                if total > 0 && total != offset {
                    let message = format!("{offset} bytes came of the {total} that were announced");
                    return Err(Status::new(Code::FailedPrecondition, message));
                }
                blocking(move || current.commit()).await?;
            } else {
                writer = Some(current);
            }
            let response = WriteContentResponse {
                action: request.action,
                started_at: Some(Timestamp::default()),
                updated_at: Some(Timestamp::default()),
                offset,
                total,
                digest: actual.to_string(),
            };
            answer.send(&response).await?;
            if commits {
                return Ok(());
            }
        }
        Ok(())
    }

    fn begin(&self, place: &Place) -> Result<Writer, Status> {
        match place {
            Place::Cache(root) => LayoutWriter::new(root).map(Writer::Layout).map_err(|error| disk(&error)),
            Place::Graph | Place::Export => self.store.writer().map(Writer::Store).map_err(|error| disk(&error)),
        }
    }
}

fn digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(|_| Status::new(Code::InvalidArgument, format!("`{text}` is no digest")))
}

fn size(path: &Path) -> Result<u64, Status> {
    let failed = |error| Status::new(Code::Internal, format!("failed to examine `{}`: {error}", path.display()));
    std::fs::metadata(path).map(|metadata| metadata.len()).map_err(failed)
}

fn info(digest: &Digest, size: u64) -> ContentInfo {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    ContentInfo {
        digest: digest.to_string(),
        size,
        created_at: Some(Timestamp::default()),
        updated_at: Some(Timestamp::default()),
        ..ContentInfo::default()
    }
}

fn piece(path: &Path, offset: u64, want: usize) -> Result<Bytes, Status> {
    let failed = |error| Status::new(Code::Internal, format!("failed to read `{}`: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = vec![0; want];
    let mut read = 0;
    while read < want {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    bytes.truncate(read);
    Ok(bytes.into())
}
