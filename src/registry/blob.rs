//! Blobs of one address: whole or not at all, and going on where a transfer was cut.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::endpoint::Endpoint;
use super::error::RegistryError;
use crate::http::Pace;
use crate::oci::Digest;
use crate::progress::{Event, Progress};
use crate::store::{BlobWriter, SealedBlob, Store};

/// The most bytes of a blob whose size nobody promised.
const LARGEST: u64 = 1 << 36;

/// Bytes sent at once where a blob cannot be sent whole.
const CHUNK: u64 = 8 << 20;

/// The largest chunk that a registry may ask for: it is held in memory.
const LARGEST_CHUNK: u64 = 64 << 20;

/// Whoever sent this much before breaking off is as patient with us as we are: its attempts are counted anew.
const ENOUGH: u64 = 1 << 20;

/// What is wanted of a transfer.
struct Wanted<'a> {
    what: &'a str,
    digest: &'a Digest,
    size: Option<u64>,
}

impl Endpoint {
    /// Fetches a blob, for whoever publishes it; nothing is kept of one that is not what was promised.
    pub(super) fn fetch(
        &self,
        digest: &Digest,
        size: Option<u64>,
        store: &Store,
        (progress, vertex): (&dyn Progress, Digest),
    ) -> Result<SealedBlob, RegistryError> {
        let what = format!("blob {digest} of {}", self.shown);
        let id = digest.short();
        let mut writer: Option<BlobWriter> = None;
        let (mut resumed, mut anew) = (false, false);
        loop {
            let before = writer.as_ref().map_or(0, BlobWriter::size);
            let transferred = self.line.patiently(&what, progress, || {
                let begun = writer.take();
                resumed |= begun.as_ref().is_some_and(|begun| begun.size() > 0);
                let mut pace = Pace::default();
                let mut moved = |current, total| {
                    if pace.is_due(current, total) {
                        progress.event(&Event::Status { vertex, id: &id, current, total });
                    }
                };
                let wanted = Wanted { what: &what, digest, size };
                self.line.http.block_on(self.transfer(&wanted, store, begun, &mut writer, &mut moved))
            });
            let after = writer.as_ref().map_or(0, BlobWriter::size);
            let sealed = match transferred {
                Ok(whole) => whole.seal(),
                Err(error) if error.again().is_some() && after >= before + ENOUGH => continue,
                Err(error) => return Err(error),
            };
            let actual = sealed.stored();
            if let Some(expected) = size.filter(|size| *size != actual.size) {
                return Err(RegistryError::Size { what, expected, actual: actual.size, more: false });
            }
            if actual.digest == *digest {
                return Ok(sealed);
            }
            // Two halves of two things: once more from the beginning.
            if !resumed || anew {
                return Err(RegistryError::Digest { what, expected: *digest, actual: actual.digest });
            }
            (resumed, anew) = (false, true);
        }
    }

    /// Transfers what `begun` lacks; what has come by a failure is left in `kept`.
    async fn transfer(
        &self,
        wanted: &Wanted<'_>,
        store: &Store,
        begun: Option<BlobWriter>,
        kept: &mut Option<BlobWriter>,
        moved: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<BlobWriter, RegistryError> {
        let what = wanted.what;
        let mut writer = match begun {
            Some(writer) => writer,
            None => store.writer()?,
        };
        let at = writer.size();
        if at > 0 && Some(at) == wanted.size {
            return Ok(writer);
        }
        let url = self.url(&format!("blobs/{}", wanted.digest));
        let make = |client: &Client| {
            let request = client.request(Method::GET, url.clone());
            if at > 0 { request.header(RANGE, format!("bytes={at}-")) } else { request }
        };
        let asked = self.ask(what, &make).await;
        let mut response = match asked {
            Ok(response) => response,
            Err(error) => {
                let refused = matches!(&error, RegistryError::Status { status, .. } if status.as_u16() == 416);
                if at == 0 || !refused {
                    *kept = Some(writer);
                    return Err(error);
                }
                // Nothing is left to come, where nobody said how much it is; or there is another thing now, which has
                // to come from its beginning.
                if writer.digest() == *wanted.digest {
                    return Ok(writer);
                }
                let expected = wanted.size.unwrap_or(at);
                return Err(RegistryError::Cut { what: what.to_owned(), received: at, expected, attempts: 1 });
            }
        };
        if at > 0 && !(response.status() == StatusCode::PARTIAL_CONTENT && starts_at(response.headers(), at)) {
            // The server sends all of it, or something else: either way this is a beginning.
            if response.status() == StatusCode::PARTIAL_CONTENT {
                let (expected, received) = (wanted.size.unwrap_or(at), 0);
                return Err(RegistryError::Cut { what: what.to_owned(), received, expected, attempts: 1 });
            }
            writer = store.writer()?;
        }
        let bound = wanted.size.unwrap_or(LARGEST);
        let length = response.content_length().map(|length| length.saturating_add(writer.size()));
        if let Some(actual) = length.filter(|length| wanted.size.is_some_and(|s| s != *length) || *length > bound) {
            return Err(RegistryError::Size { what: what.to_owned(), expected: bound, actual, more: false });
        }
        let total = wanted.size.or(length);
        loop {
            let bytes = match self.line.chunk(what, &mut response).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(error) => {
                    let error = cut(error, what, writer.size(), total);
                    *kept = Some(writer);
                    return Err(error);
                }
            };
            let bytes = bytes.as_ref();
            let actual = writer.size() + bytes.len() as u64;
            if actual > bound {
                return Err(RegistryError::Size { what: what.to_owned(), expected: bound, actual, more: true });
            }
            let path = store.path(wanted.digest);
            writer.write_all(bytes).map_err(RegistryError::io("write", &path))?;
            moved(writer.size(), total);
        }
        // Without a length in the head an early end looks like the end.
        match total {
            Some(expected) if writer.size() < expected => {
                let received = writer.size();
                *kept = Some(writer);
                Err(RegistryError::Cut { what: what.to_owned(), received, expected, attempts: 1 })
            }
            _ => Ok(writer),
        }
    }

    /// Tells whether there is a blob in this repository.
    pub(super) fn has(&self, digest: &Digest, progress: &dyn Progress) -> Result<bool, RegistryError> {
        let what = format!("blob {digest} of {}", self.shown);
        let url = self.url(&format!("blobs/{digest}"));
        let found = self.line.patiently(&what, progress, || {
            self.line
                .http
                .block_on(async { self.ask(&what, &|client: &Client| client.head(url.clone())).await.map(|_| ()) })
        });
        match found {
            Ok(()) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a blob of the store. Where it is known to be in the repository `from` of the same registry, the registry
    /// is asked to take it from there (`distribution-spec spec.md#mounting-a-blob-from-another-repository`).
    pub(super) fn send(
        &self,
        digest: &Digest,
        from: Option<&str>,
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<(), RegistryError> {
        let what = format!("blob {digest} for {}", self.shown);
        let (mut chunked, mut renewed) = (false, false);
        let mut from = from;
        loop {
            let sent = self.line.patiently(&what, progress, || {
                self.line.http.block_on(async {
                    match self.begin(&what, digest, from).await? {
                        None => Ok(()),
                        Some((place, _)) if !chunked => self.whole(&what, place, digest, store).await,
                        Some((place, least)) => self.chunks(&what, place, least, digest, store).await,
                    }
                })
            });
            match sent {
                // Something between us takes no more at once.
                Err(RegistryError::Status { status: StatusCode::PAYLOAD_TOO_LARGE, .. }) if !chunked => chunked = true,
                // What lets us write has run out on the way; with the next beginning comes another.
                Err(RegistryError::Status { status: StatusCode::UNAUTHORIZED, .. }) if !renewed => renewed = true,
                // Only a shortcut.
                Err(RegistryError::Status { .. } | RegistryError::Denied { .. }) if from.is_some() => from = None,
                other => return other,
            }
        }
    }

    /// Begins an upload: where it goes, and how small a chunk may be; `None` where the registry has the blob already.
    async fn begin(
        &self,
        what: &str,
        digest: &Digest,
        from: Option<&str>,
    ) -> Result<Option<(Url, u64)>, RegistryError> {
        let mut start = self.url("blobs/uploads/");
        if let Some(from) = from {
            start.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        }
        let post = |client: &Client| client.post(start.clone()).header(CONTENT_LENGTH, 0);
        let begun = self.ask_to_write(what, &post).await?;
        if begun.status() == StatusCode::CREATED {
            return Ok(None);
        }
        let least = begun.headers().get("oci-chunk-min-length").and_then(|value| value.to_str().ok()?.parse().ok());
        place(what, &begun).map(|place| Some((place, least.unwrap_or(0))))
    }

    /// Sends all of it at once.
    async fn whole(&self, what: &str, mut place: Url, digest: &Digest, store: &Store) -> Result<(), RegistryError> {
        place.query_pairs_mut().append_pair("digest", &digest.to_string());
        let file = store.read(digest)?;
        let path = store.path(digest);
        let size = file.metadata().map_err(RegistryError::io("examine", &path))?.len();
        let body: reqwest::Body = tokio::fs::File::from_std(file).into();
        let request = self.line.http.client().put(place.clone());
        let request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, size).body(body);
        // Elsewhere the place itself is the permission.
        let request = self.signed(request, &place);
        self.line.judge(what, self.line.send_long(what, request).await?).await.map(|_| ())
    }

    /// Sends it piece by piece (`distribution-spec spec.md#pushing-a-blob-in-chunks`).
    async fn chunks(
        &self,
        what: &str,
        mut at: Url,
        least: u64,
        digest: &Digest,
        store: &Store,
    ) -> Result<(), RegistryError> {
        let mut file = store.read(digest)?;
        let path = store.path(digest);
        let size = file.metadata().map_err(RegistryError::io("examine", &path))?.len();
        let length = CHUNK.max(least);
        if length > LARGEST_CHUNK {
            return Err(RegistryError::TooLarge { what: format!("each chunk of {what}"), most: LARGEST_CHUNK });
        }
        let client = self.line.http.client();
        let mut sent = 0;
        while sent < size {
            let mut piece = Vec::new();
            file.seek(SeekFrom::Start(sent))
                .and_then(|_| (&file).take(length).read_to_end(&mut piece))
                .map_err(RegistryError::io("read", &path))?;
            let next = sent + piece.len() as u64;
            let request = client
                .patch(at.clone())
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_RANGE, format!("{sent}-{}", next.saturating_sub(1)))
                .header(CONTENT_LENGTH, piece.len())
                .body(piece);
            let answer = self.line.send_long(what, self.signed(request, &at)).await?;
            at = place(what, &self.line.judge(what, answer).await?)?;
            sent = next;
        }
        at.query_pairs_mut().append_pair("digest", &digest.to_string());
        let request = self.signed(client.put(at.clone()).header(CONTENT_LENGTH, 0), &at);
        self.line.judge(what, self.line.send_long(what, request).await?).await.map(|_| ())
    }
}

fn cut(error: RegistryError, what: &str, received: u64, total: Option<u64>) -> RegistryError {
    match (error, total) {
        (RegistryError::Request { .. }, Some(expected)) => {
            RegistryError::Cut { what: what.to_owned(), received, expected, attempts: 1 }
        }
        (error, _) => error,
    }
}

fn starts_at(headers: &HeaderMap, at: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()) == Some(at)
}

/// Where an upload goes on, absolute or relative to what was asked.
fn place(what: &str, response: &Response) -> Result<Url, RegistryError> {
    let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
    let place = place.and_then(|place| response.url().join(place).ok());
    place.filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| RegistryError::Token {
        what: what.to_owned(),
        reason: "the registry names no place to send it to".to_owned(),
    })
}
