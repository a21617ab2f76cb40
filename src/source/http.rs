//! One HTTP transfer into a partial download, behind a blocking method.
//!
//! What always holds: a transfer asks for exactly the bytes that are missing (`Range`, with `If-Range` where the same
//! server named a strong entity tag before); a server that ignores that and sends the whole file is taken at its word
//! and the partial download starts over; an answer with a range that does not continue it is refused. Bytes are
//! bounded while they come, whatever the headers say. Content codings are declined, so that a file arrives as it is
//! named.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT_ENCODING, ETAG, IF_RANGE, RANGE};
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use super::error::SourceError;
use super::headers::{content_range, content_range_total};
use super::origin::Origins;
use super::partial::Partial;
use super::reason::Reason;
use crate::http::{self, Http, Redirects, Stopped, Trust, is_certificate, retry_after, shown};

/// Below this many bytes in a whole `Patience::idle` a transfer counts as stalled.
const CRAWL: u64 = 1024;

/// Why a transfer ended before the end of the file.
#[derive(Debug)]
pub(super) enum Failure {
    /// The same origin may serve later; not before `after`, if it said so.
    Again { reason: Reason, after: Option<Duration> },
    /// This origin will not serve.
    Never(Reason),
    /// No origin can help.
    Fatal(SourceError),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Fatal(error)
    }
}

/// What to fetch.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) file: &'a str,
    pub(super) size: Option<u64>,
    /// The most bytes taken.
    pub(super) bound: u64,
    pub(super) url: &'a Url,
}

/// The client of a run.
#[derive(Debug)]
pub(super) struct Transfers(Arc<Http>);

impl Transfers {
    /// Returns the client for `origins`.
    pub(super) fn for_origins(origins: &Origins) -> Result<Self, SourceError> {
        Ok(Self(Http::shared(&origins.proxies, &origins.patience, &Trust::default(), Redirects::Followed)?))
    }

    /// Fetches what is missing of `wanted`; returns when the last byte is there.
    ///
    /// `moved` is told the number of bytes that are there and the total, whenever more came.
    pub(super) fn transfer(
        &self,
        wanted: &Wanted<'_>,
        partial: &mut Partial,
        origins: &Origins,
        moved: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), Failure> {
        self.0.block_on(async {
            let response = self.ask(wanted, partial, origins).await?;
            let total = accept(wanted, partial, &response)?;
            receive(wanted, partial, origins, response, total, moved).await
        })
    }

    /// Waits for `pause`, or until the run is to end.
    pub(super) fn pause(&self, pause: Duration, file: &str, origins: &Origins) -> Result<(), SourceError> {
        self.0.pause(pause, &origins.stop).map_err(|Stopped| SourceError::Stopped { file: file.to_owned() })
    }

    async fn ask(&self, wanted: &Wanted<'_>, partial: &Partial, origins: &Origins) -> Result<Response, Failure> {
        let mut request = self.0.client().get(wanted.url.clone()).header(ACCEPT_ENCODING, "identity");
        if partial.length() > 0 {
            request = request.header(RANGE, format!("bytes={}-", partial.length()));
            if let Some(tag) = partial.entity_tag(&shown(wanted.url)) {
                request = request.header(IF_RANGE, tag);
            }
        }
        self.answer(request, wanted.file, origins).await
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn answer(
        &self,
        request: RequestBuilder,
        file: &str,
        origins: &Origins,
    ) -> Result<Response, Failure> {
        let patience = origins.patience.connect + origins.patience.idle;
        let sending = tokio::time::timeout(patience, request.send());
        match unless_stopped(sending, file, origins).await? {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(request_failure(error)),
            Err(_) => Err(Failure::Again { reason: Reason::Stalled { waited: patience, attempts: 1 }, after: None }),
        }
    }

    /// Returns the next piece of a body.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
        file: &str,
        origins: &Origins,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        let idle = origins.patience.idle;
        match unless_stopped(tokio::time::timeout(idle, response.chunk()), file, origins).await? {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(request_failure(error)),
            Err(_) => Err(Failure::Again { reason: Reason::Stalled { waited: idle, attempts: 1 }, after: None }),
        }
    }

    /// Works a future off.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.block_on(work)
    }

    /// Returns the client, for requests of other shapes.
    pub(super) fn client(&self) -> &reqwest::Client {
        self.0.client()
    }
}

/// Turns an answer that is no success into the reason.
pub(super) fn refused(response: &Response) -> Failure {
    let status = response.status();
    let reason = Reason::Status { status, attempts: 1 };
    if matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504) {
        Failure::Again { reason, after: retry_after(response.headers()) }
    } else {
        Failure::Never(reason)
    }
}

/// Judges the head of an answer and prepares `partial` for its body; returns the file's size if it is known.
fn accept(wanted: &Wanted<'_>, partial: &mut Partial, response: &Response) -> Result<Option<u64>, Failure> {
    let headers = response.headers();
    let length = response.content_length();
    let total = match response.status() {
        StatusCode::OK => {
            if partial.length() > 0 {
                partial.restart()?;
            }
            length
        }
        StatusCode::PARTIAL_CONTENT => match content_range(headers) {
            Some((start, total)) if start == partial.length() => {
                total.or_else(|| length.and_then(|length| length.checked_add(start)))
            }
            _ => {
                partial.restart()?;
                return Err(Failure::Again { reason: Reason::Range, after: None });
            }
        },
        StatusCode::RANGE_NOT_SATISFIABLE if partial.length() > 0 => {
            // All of it may be there already, without anybody having known the size; else it is not this file.
            if content_range_total(headers) == Some(partial.length()) {
                return Ok(Some(partial.length()));
            }
            partial.restart()?;
            return Err(Failure::Again { reason: Reason::Range, after: None });
        }
        _ => return Err(refused(response)),
    };
    if let Some(actual) = total.filter(|total| wanted.size.is_some_and(|size| size != *total) || *total > wanted.bound)
    {
        return Err(too_long(wanted, actual, false));
    }
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    partial.remember(&shown(wanted.url), tag)?;
    Ok(total.or(wanted.size))
}

async fn receive(
    wanted: &Wanted<'_>,
    partial: &mut Partial,
    origins: &Origins,
    mut response: Response,
    total: Option<u64>,
    moved: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), Failure> {
    if !response.status().is_success() {
        return Ok(());
    }
    moved(partial.length(), total);
    let idle = origins.patience.idle;
    let (mut since, mut at) = (Instant::now(), partial.length());
    loop {
        let next = tokio::time::timeout(idle.saturating_sub(since.elapsed()), response.chunk());
        match unless_stopped(next, wanted.file, origins).await? {
            Ok(Ok(Some(bytes))) => {
                let length = partial.length() + bytes.len() as u64;
                if length > wanted.bound {
                    return Err(too_long(wanted, length, true));
                }
                partial.append(&bytes)?;
                moved(length, total);
            }
            Ok(Ok(None)) => break,
            Ok(Err(error)) => {
                return Err(match total {
                    Some(expected) => {
                        let reason = Reason::Cut { received: partial.length(), expected, attempts: 1 };
                        Failure::Again { reason, after: None }
                    }
                    None => request_failure(error),
                });
            }
            Err(_) if partial.length() >= at.saturating_add(CRAWL) => {}
            Err(_) => {
                return Err(Failure::Again { reason: Reason::Stalled { waited: idle, attempts: 1 }, after: None });
            }
        }
        if since.elapsed() >= idle && partial.length() >= at.saturating_add(CRAWL) {
            (since, at) = (Instant::now(), partial.length());
        }
    }
    // Without a length in the head an early end looks like the end.
    match total {
        Some(expected) if partial.length() < expected => Err(Failure::Again {
            reason: Reason::Cut { received: partial.length(), expected, attempts: 1 },
            after: None,
        }),
        _ => Ok(()),
    }
}

fn too_long(wanted: &Wanted<'_>, actual: u64, more: bool) -> Failure {
    Failure::Fatal(SourceError::Size {
        file: wanted.file.to_owned(),
        origin: shown(wanted.url),
        expected: wanted.size.unwrap_or(wanted.bound),
        actual,
        more,
    })
}

/// Sorts what the client says: much may be better later, but no address, redirect or certificate that is wrong in itself.
fn request_failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if is_certificate(&error) {
        return Failure::Never(Reason::Certificate { source: error });
    }
    let never = error.is_builder() || error.is_redirect();
    let reason = if error.is_connect() {
        Reason::Connect { source: error, attempts: 1 }
    } else {
        Reason::Request { source: error, attempts: 1 }
    };
    if never { Failure::Never(reason) } else { Failure::Again { reason, after: None } }
}

/// As `http::unless_stopped`, with an error that names the file.
async fn unless_stopped<T>(work: impl Future<Output = T>, file: &str, origins: &Origins) -> Result<T, SourceError> {
    http::unless_stopped(work, &origins.stop).await.map_err(|Stopped| SourceError::Stopped { file: file.to_owned() })
}
