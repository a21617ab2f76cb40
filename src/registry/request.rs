//! One request and its answer, and attempts with growing pauses.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Method, Request, RequestBuilder, Response};

use super::error::RegistryError;
use crate::http::{Http, REDIRECTS, Redirects, Settings, Stopped, Trust, one_line, plain, retry_after, unless_stopped};
use crate::progress::{Event, Progress};

/// Attempts at a registry that does not even answer, whatever `Patience` says.
const CONNECTIONS: usize = 3;

/// The most bytes read of what a registry says about an error.
const SAID: u64 = 4096;

/// The client and how it is to behave.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) http: Arc<Http>,
    pub(super) settings: Settings,
    /// Sent to this address and never along a redirect, which the client cannot be told: with these, we follow.
    own: HeaderMap,
}

impl Line {
    pub(super) fn new(settings: Settings, trust: &Trust, own: HeaderMap) -> Result<Self, RegistryError> {
        let redirects = if own.is_empty() { Redirects::Followed } else { Redirects::Returned };
        let http = Http::shared(&settings.proxies, &settings.patience, trust, redirects)?;
        Ok(Self { http, settings, own })
    }

    /// Adds the headers of this address.
    pub(super) fn with_own(&self, request: RequestBuilder) -> RequestBuilder {
        request.headers(self.own.clone())
    }

    /// Runs `attempt` until it succeeds or there is no hope; retries are told.
    pub(super) fn patiently<T>(
        &self,
        what: &str,
        progress: &dyn Progress,
        mut attempt: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        if self.settings.offline {
            return Err(RegistryError::Offline { what: what.to_owned() });
        }
        let patience = self.settings.patience;
        let mut pauses = patience.pauses();
        for attempts in 1.. {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let Some(after) = error.again() else { return Err(error.counted(attempts)) };
            let hopeless = error.is_connect() && attempts >= CONNECTIONS;
            let Some(pause) = pauses.next().filter(|_| !hopeless) else { return Err(error.counted(attempts)) };
            let pause = pause.max(after).min(patience.longest);
            progress.event(&Event::Note { message: &format!("{error}; trying again in {:.1} s", pause.as_secs_f32()) });
            self.http
                .pause(pause, &self.settings.stop)
                .map_err(|Stopped| RegistryError::Stopped { what: what.to_owned() })?;
        }
        unreachable!("attempts are counted without end")
    }

    /// Sends a request and waits for the head of its answer, whatever it says.
    pub(super) async fn send(&self, what: &str, request: RequestBuilder) -> Result<Response, RegistryError> {
        let patience = self.settings.patience.connect + self.settings.patience.idle;
        self.within(what, patience, self.execute(request)).await
    }

    async fn execute(&self, request: RequestBuilder) -> Result<Response, reqwest::Error> {
        let mut request = request.build()?;
        let mut left = if self.own.is_empty() { 0 } else { REDIRECTS };
        loop {
            let again = request.try_clone().filter(|_| left > 0);
            let response = self.http.client().execute(request).await?;
            match again.and_then(|again| redirected(again, &response, &self.own)) {
                Some(next) => request = next,
                None => return Ok(response),
            }
            left -= 1;
        }
    }

    /// Sends a request with a body of any length: only the end of the run ends it.
    pub(super) async fn send_long(&self, what: &str, request: RequestBuilder) -> Result<Response, RegistryError> {
        unless_stopped(self.execute(request), &self.settings.stop)
            .await
            .map_err(|Stopped| RegistryError::Stopped { what: what.to_owned() })?
            .map_err(|source| request_error(what, source))
    }

    /// Returns the next piece of a body.
    pub(super) async fn chunk(
        &self,
        what: &str,
        response: &mut Response,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, RegistryError> {
        self.within(what, self.settings.patience.idle, response.chunk()).await
    }

    async fn within<T>(
        &self,
        what: &str,
        patience: Duration,
        work: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, RegistryError> {
        match unless_stopped(tokio::time::timeout(patience, work), &self.settings.stop).await {
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(source))) => Err(request_error(what, source)),
            Ok(Err(_)) => Err(RegistryError::Stalled { what: what.to_owned(), waited: patience, attempts: 1 }),
            Err(Stopped) => Err(RegistryError::Stopped { what: what.to_owned() }),
        }
    }

    /// Reads a body of at most `most` bytes.
    pub(super) async fn body(&self, what: &str, mut response: Response, most: u64) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge { what: what.to_owned(), most };
        if response.content_length().is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(bytes) = self.chunk(what, &mut response).await? {
            let bytes = bytes.as_ref();
            if (body.len() + bytes.len()) as u64 > most {
                return Err(too_large());
            }
            body.extend_from_slice(bytes);
        }
        Ok(body)
    }

    /// Turns an answer that is no success into an error with the registry's own words.
    pub(super) async fn judge(&self, what: &str, response: Response) -> Result<Response, RegistryError> {
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, after) = (response.status(), retry_after(response.headers()));
        let body = self.body(what, response, SAID).await.unwrap_or_default();
        let (code, said) = said(&body);
        Err(RegistryError::Status { what: what.to_owned(), status, code, said, after, attempts: 1 })
    }
}

/// Returns what to ask next where an answer leads elsewhere (RFC 9110 section 15.4). Whoever is not the one we asked is
/// told nothing of who we are.
fn redirected(mut request: Request, answer: &Response, own: &HeaderMap) -> Option<Request> {
    let status = answer.status().as_u16();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !(matches!(status, 307 | 308) || reads && matches!(status, 301..=303)) {
        return None;
    }
    let place = answer.headers().get(LOCATION)?.to_str().ok()?;
    let place = answer.url().join(place).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    if place.origin() != request.url().origin() {
        for name in own.keys().chain([&AUTHORIZATION]) {
            request.headers_mut().remove(name);
        }
    }
    *request.url_mut() = place;
    Some(request)
}

fn request_error(what: &str, source: reqwest::Error) -> RegistryError {
    RegistryError::Request { what: what.to_owned(), source: source.without_url(), attempts: 1 }
}

/// The first code of an error body (`distribution-spec spec.md#error-codes`), and its messages as one harmless line.
fn said(body: &[u8]) -> (String, String) {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<Single>,
    }
    #[derive(serde::Deserialize)]
    struct Single {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(errors) = serde_json::from_slice::<Errors>(body) else {
        // What stands before a registry says it in its own way.
        return (String::new(), plain(body));
    };
    let code = errors.errors.first().map(|first| first.code.clone()).unwrap_or_default();
    let text: Vec<String> =
        errors.errors.into_iter().map(|one| if one.message.is_empty() { one.code } else { one.message }).collect();
    (code, one_line(&text.join("; ")))
}
