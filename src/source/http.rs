//! One HTTP transfer into a partial download; the only asynchronous code, behind a blocking method.
//!
//! What always holds: a transfer asks for exactly the bytes that are missing (`Range`, with `If-Range` where the same
//! server named a strong entity tag before); a server that ignores that and sends the whole file is taken at its word
//! and the partial download starts over; an answer with a range that does not continue it is refused. Bytes are
//! bounded while they come, whatever the headers say. Content codings are declined, so that a file arrives as it is
//! named. Redirects stay with `http` and `https`.
//!
//! Why not a blocking client: those that know proxies and rustls are this one with a thread behind it.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT_ENCODING, ETAG, IF_RANGE, RANGE};
use reqwest::{Client, NoProxy, Proxy, Response, StatusCode, Url, redirect};
use tokio::runtime::Runtime;

use super::error::SourceError;
use super::headers::{content_range, content_range_total, retry_after};
use super::origin::{Origins, Patience, Proxies, shown, without_credentials};
use super::partial::Partial;
use super::reason::Reason;

/// Below this many bytes in a whole `Patience::idle` a transfer counts as stalled.
const CRAWL: u64 = 1024;

/// How often a transfer looks whether the run is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// Redirects followed before giving up.
const REDIRECTS: usize = 10;

/// Clients by what they are configured with: connections are kept and reused for the life of the process.
static CLIENTS: Mutex<BTreeMap<(Proxies, Duration), Arc<Http>>> = Mutex::new(BTreeMap::new());

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

#[derive(Debug)]
pub(super) struct Http {
    runtime: Runtime,
    client: Client,
}

impl Http {
    /// Returns the client for `origins`, made once.
    pub(super) fn for_origins(origins: &Origins) -> Result<Arc<Self>, SourceError> {
        let key = (origins.proxies.clone(), origins.patience.connect);
        let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = clients.get(&key) {
            return Ok(Arc::clone(http));
        }
        let http = Arc::new(Self::new(&origins.proxies, &origins.patience)?);
        clients.insert(key, Arc::clone(&http));
        Ok(http)
    }

    fn new(proxies: &Proxies, patience: &Patience) -> Result<Self, SourceError> {
        // Another part of the program may have installed one; either serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(|source| SourceError::Io { action: "start the network thread", path: "http".into(), source })?;
        let builder = || -> Result<reqwest::ClientBuilder, SourceError> {
            let mut builder = Client::builder()
                .user_agent(concat!("dockless/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(patience.connect)
                .referer(false)
                .redirect(redirect::Policy::custom(redirect))
                .no_proxy();
            for proxy in reqwest_proxies(proxies)? {
                builder = builder.proxy(proxy);
            }
            Ok(builder)
        };
        let client = match builder()?.build() {
            Ok(client) => client,
            // A machine without CA certificates cannot speak https; a plain mirror serves it all the same.
            Err(_) => builder()?
                .tls_backend_preconfigured(
                    rustls::ClientConfig::builder()
                        .with_root_certificates(rustls::RootCertStore::empty())
                        .with_no_client_auth(),
                )
                .build()
                .map_err(|source| SourceError::Client { source })?,
        };
        Ok(Self { runtime, client })
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
        self.runtime.block_on(async {
            let response = self.ask(wanted, partial, origins).await?;
            let total = accept(wanted, partial, &response)?;
            receive(wanted, partial, origins, response, total, moved).await
        })
    }

    /// Waits for `pause`, or until the run is to end.
    pub(super) fn pause(&self, pause: Duration, file: &str, origins: &Origins) -> Result<(), SourceError> {
        // Timers are made inside the runtime.
        self.runtime.block_on(async { unless_stopped(tokio::time::sleep(pause), file, origins).await })
    }

    async fn ask(&self, wanted: &Wanted<'_>, partial: &Partial, origins: &Origins) -> Result<Response, Failure> {
        let mut request = self.client.get(wanted.url.clone()).header(ACCEPT_ENCODING, "identity");
        if partial.length() > 0 {
            request = request.header(RANGE, format!("bytes={}-", partial.length()));
            if let Some(tag) = partial.entity_tag(&shown(wanted.url)) {
                request = request.header(IF_RANGE, tag);
            }
        }
        let patience = origins.patience.connect + origins.patience.idle;
        let sending = tokio::time::timeout(patience, request.send());
        match unless_stopped(sending, wanted.file, origins).await? {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(request_failure(error)),
            Err(_) => Err(Failure::Again { reason: Reason::Stalled { waited: patience, attempts: 1 }, after: None }),
        }
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
        status => {
            let reason = Reason::Status { status, attempts: 1 };
            let again = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504);
            return Err(if again {
                Failure::Again { reason, after: retry_after(headers) }
            } else {
                Failure::Never(reason)
            });
        }
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

/// Tells whether it was the server's certificate; the word of rustls is inside of an I/O error.
fn is_certificate(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()));
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        cause = error.source();
    }
    false
}

async fn unless_stopped<T>(work: impl Future<Output = T>, file: &str, origins: &Origins) -> Result<T, SourceError> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(GLANCE) => {
                if origins.stopped() {
                    return Err(SourceError::Stopped { file: file.to_owned() });
                }
            }
        }
    }
}

fn redirect(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if !matches!(attempt.url().scheme(), "http" | "https") {
        attempt.error("a redirect to an address that is neither http: nor https:")
    } else if attempt.previous().len() > REDIRECTS {
        attempt.error("too many redirects")
    } else {
        attempt.follow()
    }
}

fn reqwest_proxies(proxies: &Proxies) -> Result<Vec<Proxy>, SourceError> {
    let except = proxies.except.as_deref().and_then(NoProxy::from_string);
    let made = [
        proxies.http.as_ref().map(|proxy| (proxy, Proxy::http(proxy))),
        proxies.https.as_ref().map(|proxy| (proxy, Proxy::https(proxy))),
        proxies.all.as_ref().map(|proxy| (proxy, Proxy::all(proxy))),
    ];
    made.into_iter()
        .flatten()
        .map(|(address, made)| match made {
            Ok(proxy) => Ok(proxy.no_proxy(except.clone())),
            Err(source) => {
                Err(SourceError::Proxy { proxy: without_credentials(address), source: source.without_url() })
            }
        })
        .collect()
}
