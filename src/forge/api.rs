//! Addresses, requests, answers, attempts.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::{limited, said};
use super::error::ForgeError;
use super::token::Token;
use crate::http::{
    Http, REDIRECTS, Redirects, Settings, Stopped, Trust, http_date, retry_after, unless_stopped, without_credentials,
};
use crate::oci::{Digest, Hasher};
use crate::progress::{Event, Progress};

/// Attempts at a server that does not even answer, whatever `Patience` says.
const CONNECTIONS: usize = 3;

/// The most bytes of an answer.
const MOST: u64 = 16 << 20;

/// The most bytes read of what a server says about an error.
const SAID: u64 = 16 << 10;

/// Slower than this many bytes a second, an upload counts as stalled.
const SLOWEST: u64 = 16 << 10;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `docs.github.com/rest`
    GitHub,
    /// `docs.gitlab.com/api`
    GitLab,
    /// `docs.gitea.com/api`: Gitea's, and Forgejo's, which grew out of it.
    Gitea,
    /// Anything else that is told something.
    Plain,
}

/// Where a server is, and whom to believe there.
#[derive(Debug, Clone)]
pub struct Server {
    /// The root of its interface: `https://api.github.com`, `https://gitlab.example/api/v4`.
    pub address: String,
    /// What it speaks.
    pub dialect: Dialect,
    /// Whom to believe over TLS.
    pub trust: Trust,
}

/// A server, as we speak to it.
#[derive(Debug, Clone)]
pub struct Api {
    http: Arc<Http>,
    settings: Settings,
    given: Url,
    base: Url,
    dialect: Dialect,
    token: Option<Token>,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// Nothing.
    Nothing,
    /// A document.
    Json(&'a Value),
    /// A text of a media type.
    Text(&'a str, &'a str),
    /// A file: where, bytes, media type.
    File(&'a Path, u64, &'a str),
}

/// A success, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What it is the answer to.
    what: String,
    /// HTTP status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// `Answer`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ForgeError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ForgeError::Answer { what: self.what.clone(), reason: error.to_string() })
    }

    /// Returns the server's time, seconds since 1970.
    pub fn date(&self) -> Option<i64> {
        self.headers.get(DATE)?.to_str().ok().and_then(http_date)
    }

    /// Tells whether a list goes on (RFC 8288 `rel="next"`).
    pub fn has_next(&self) -> bool {
        let links = self.headers.get_all("link").iter().filter_map(|link| link.to_str().ok());
        links.into_iter().any(|link| link.contains("rel=\"next\""))
    }
}

impl Api {
    /// Makes one; nothing is asked yet.
    ///
    /// # Errors
    /// `Address`, `Http`.
    pub fn new(settings: &Settings, server: &Server, token: Option<Token>) -> Result<Self, ForgeError> {
        let wrong = |reason: &str| ForgeError::Address {
            text: without_credentials(&server.address),
            reason: reason.to_owned(),
        };
        let mut base = Url::parse(&server.address).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(wrong("write it like https://gitlab.example/api/v4"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("it holds a user name or password: give a token instead"));
        }
        if base.scheme() == "http" && token.is_some() && !is_loopback(&base) {
            return Err(wrong("a token is not sent without encryption: write https://"));
        }
        let given = base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = Http::shared(&settings.proxies, &settings.patience, &server.trust, Redirects::Returned)?;
        Ok(Self { http, settings: settings.clone(), given, base, dialect: server.dialect, token })
    }

    /// Returns host and port, for people.
    pub fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Returns what it speaks.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns who we are.
    pub const fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Returns the address with these segments below the root; what is special in them is encoded.
    pub fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            for segment in segments {
                // The parser takes these for steps up, encoded or not.
                let plain = !matches!(*segment, "." | "..");
                path.push(if plain { segment } else { "_" });
            }
        }
        url
    }

    /// Returns the address as it was given: for hooks, whose address is all there is.
    pub const fn given(&self) -> &Url {
        &self.given
    }

    /// Runs `attempt`, which looks first and acts then, until it succeeds or there is no hope; retries are told.
    ///
    /// # Errors
    /// The last one's, with the number of attempts.
    pub fn patiently<T>(
        &self,
        what: &str,
        progress: &dyn Progress,
        mut attempt: impl FnMut() -> Result<T, ForgeError>,
    ) -> Result<T, ForgeError> {
        let patience = self.settings.patience;
        let mut pauses = patience.pauses();
        for attempts in 1.. {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let Some(after) = error.again() else { return Err(error.counted(attempts)) };
            // Who asks for an hour will not be satisfied with a minute.
            let hopeless = (error.is_connect() && attempts >= CONNECTIONS) || after > patience.longest;
            let Some(pause) = pauses.next().filter(|_| !hopeless) else { return Err(error.counted(attempts)) };
            let pause = pause.max(after);
            progress.event(&Event::Note { message: &format!("{error}; trying again in {:.1} s", pause.as_secs_f32()) });
            self.http
                .pause(pause, &self.settings.stop)
                .map_err(|Stopped| ForgeError::Stopped { what: what.to_owned() })?;
        }
        unreachable!("attempts are counted without end")
    }

    /// Sends one request, once.
    ///
    /// # Errors
    /// `Denied`, `Status`, `Request`, `Stalled`, `Answer`, `Offline`, `Stopped`, `Io`.
    pub fn ask(&self, what: &str, method: &Method, url: &Url, content: Content<'_>) -> Result<Answer, ForgeError> {
        self.permit(what)?;
        self.http.block_on(async {
            let response = self.send(what, method, url, content, "application/json").await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = self.body(what, response, MOST).await?;
            Ok(Answer { what: what.to_owned(), status, headers, body })
        })
    }

    /// As `ask` for reading, with attempts.
    ///
    /// # Errors
    /// As `ask`.
    pub fn get(&self, what: &str, url: &Url, progress: &dyn Progress) -> Result<Answer, ForgeError> {
        self.patiently(what, progress, || self.ask(what, &Method::GET, url, Content::Nothing))
    }

    /// Removes something, once; what is not there was removed.
    ///
    /// # Errors
    /// As `ask`.
    pub fn delete(&self, what: &str, url: &Url) -> Result<(), ForgeError> {
        match self.ask(what, &Method::DELETE, url, Content::Nothing) {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads at most `pages` pages of a list, a hundred entries each, once.
    ///
    /// # Errors
    /// As `ask`.
    pub fn list<T: DeserializeOwned>(&self, what: &str, url: &Url, pages: u32) -> Result<Vec<T>, ForgeError> {
        let mut all = Vec::new();
        let each = if self.dialect == Dialect::Gitea { "limit" } else { "per_page" };
        for page in 1..=pages {
            let mut url = url.clone();
            url.query_pairs_mut().append_pair(each, "100").append_pair("page", &page.to_string());
            let answer = self.ask(what, &Method::GET, &url, Content::Nothing)?;
            let items: Vec<T> = answer.json()?;
            let none = items.is_empty();
            all.extend(items);
            if none || !answer.has_next() {
                break;
            }
        }
        Ok(all)
    }

    /// Reads a file of at most `most` bytes and returns its digest; `None` where it has more.
    ///
    /// # Errors
    /// As `ask`.
    pub fn hash(&self, what: &str, url: &Url, most: u64) -> Result<Option<Digest>, ForgeError> {
        self.permit(what)?;
        self.http.block_on(async {
            let mut response = self.send(what, &Method::GET, url, Content::Nothing, "application/octet-stream").await?;
            let mut hasher = Hasher::default();
            while let Some(bytes) = self.within(what, self.settings.patience.idle, response.chunk()).await? {
                hasher.update(&bytes);
                if hasher.size() > most {
                    return Ok(None);
                }
            }
            Ok(Some(hasher.finish()))
        })
    }

    /// Reads a file of at most `most` bytes.
    ///
    /// # Errors
    /// As `ask`.
    pub fn read(&self, what: &str, url: &Url, most: u64) -> Result<Vec<u8>, ForgeError> {
        self.permit(what)?;
        self.http.block_on(async {
            let response = self.send(what, &Method::GET, url, Content::Nothing, "application/octet-stream").await?;
            self.body(what, response, most).await
        })
    }

    fn permit(&self, what: &str) -> Result<(), ForgeError> {
        if self.settings.offline { Err(ForgeError::Offline { what: what.to_owned() }) } else { Ok(()) }
    }

    async fn send(
        &self,
        what: &str,
        method: &Method,
        url: &Url,
        content: Content<'_>,
        accept: &str,
    ) -> Result<Response, ForgeError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            let request = self.request(method, &url, accept);
            let (request, size) = with_content(request, content)?;
            let patience = self.settings.patience;
            let patience = patience.connect + patience.idle + Duration::from_secs(size / SLOWEST);
            let response = self.within(what, patience, request.send()).await?;
            match redirected(method, &response) {
                Some(next) => url = next,
                None => return self.judge(what, response).await,
            }
        }
        Err(ForgeError::Answer { what: what.to_owned(), reason: "too many redirects".to_owned() })
    }

    fn request(&self, method: &Method, url: &Url, accept: &str) -> RequestBuilder {
        let request = self.http.client().request(method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
        let request = match (self.dialect, accept) {
            (Dialect::GitHub, "application/json") => request.header(ACCEPT, "application/vnd.github+json"),
            _ => request.header(ACCEPT, accept),
        };
        let request = match self.dialect {
            Dialect::GitHub => request.header("x-github-api-version", "2022-11-28"),
            Dialect::GitLab | Dialect::Gitea | Dialect::Plain => request,
        };
        match &self.token {
            Some(token) if self.is_ours(url) => {
                let (name, value) = token.pair();
                request.header(name, value)
            }
            _ => request,
        }
    }

    /// GitHub takes uploads at a host of its own: `uploads.github.com` for `api.github.com`, and the same host elsewhere.
    fn is_ours(&self, url: &Url) -> bool {
        let github = self.dialect == Dialect::GitHub
            && self.base.host_str() == Some("api.github.com")
            && url.host_str() == Some("uploads.github.com")
            && url.scheme() == "https";
        github || url.origin() == self.base.origin()
    }

    async fn judge(&self, what: &str, response: Response) -> Result<Response, ForgeError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let after = limited(response.headers()).or_else(|| retry_after(response.headers()));
        let body = self.body(what, response, SAID).await.unwrap_or_default();
        let said = said(&body);
        let said = self.token.as_ref().map_or_else(|| said.clone(), |token| token.redact(&said));
        // Of a hook the path is the secret.
        let secret = self.given.path().trim_matches('/');
        let said = match self.dialect {
            Dialect::Plain if !secret.is_empty() => said.replace(secret, "***"),
            _ => said,
        };
        let what = what.to_owned();
        match status {
            StatusCode::FORBIDDEN if after.is_some() => {
                Err(ForgeError::Status { what, status, said, after, attempts: 1 })
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let origin = self.token.as_ref().map(|token| token.origin().to_owned());
                Err(ForgeError::Denied { what, status, said, origin })
            }
            _ => Err(ForgeError::Status { what, status, said, after, attempts: 1 }),
        }
    }

    async fn body(&self, what: &str, mut response: Response, most: u64) -> Result<Vec<u8>, ForgeError> {
        let mut body = Vec::new();
        while let Some(bytes) = self.within(what, self.settings.patience.idle, response.chunk()).await? {
            if (body.len() + bytes.len()) as u64 > most {
                let reason = format!("more than {most} bytes");
                return Err(ForgeError::Answer { what: what.to_owned(), reason });
            }
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }

    async fn within<T>(
        &self,
        what: &str,
        patience: Duration,
        work: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, ForgeError> {
        let what = || what.to_owned();
        match unless_stopped(tokio::time::timeout(patience, work), &self.settings.stop).await {
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(source))) => {
                // An address may be the secret itself, as with hooks.
                Err(ForgeError::Request { what: what(), source: source.without_url(), attempts: 1 })
            }
            Ok(Err(_)) => Err(ForgeError::Stalled { what: what(), waited: patience, attempts: 1 }),
            Err(Stopped) => Err(ForgeError::Stopped { what: what() }),
        }
    }
}

/// Adds what is sent; returns its size in bytes, too.
fn with_content(request: RequestBuilder, content: Content<'_>) -> Result<(RequestBuilder, u64), ForgeError> {
    Ok(match content {
        Content::Nothing => (request, 0),
        Content::Json(value) => {
            let text = value.to_string();
            let size = text.len() as u64;
            (request.header(CONTENT_TYPE, "application/json").body(text), size)
        }
        Content::Text(text, media_type) => {
            (request.header(CONTENT_TYPE, media_type).body(text.to_owned()), text.len() as u64)
        }
        Content::File(path, size, media_type) => {
            let failed = |source| ForgeError::Io { action: "open", path: path.to_owned(), source };
            let file = std::fs::File::open(path).map_err(failed)?;
            let body: reqwest::Body = tokio::fs::File::from_std(file).into();
            (request.header(CONTENT_TYPE, media_type).header(CONTENT_LENGTH, size).body(body), size)
        }
    })
}

/// Returns where an answer to a reading request leads (RFC 9110 section 15.4); writing ones are not repeated elsewhere.
fn redirected(method: &Method, response: &Response) -> Option<Url> {
    let follows = *method == Method::GET && matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let place = response.headers().get(LOCATION).filter(|_| follows)?.to_str().ok()?;
    response.url().join(place).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(address: &str) -> Api {
        let server = Server { address: address.to_owned(), dialect: Dialect::GitHub, trust: Trust::default() };
        Api::new(&Settings::default(), &server, None).expect("an address")
    }

    #[test]
    fn nothing_in_a_segment_leads_elsewhere() {
        let api = api("https://h.test/api/v4");
        let url = |segments: &[&str]| api.url(segments).to_string();
        assert_eq!(url(&["projects", "group/name", "x"]), "https://h.test/api/v4/projects/group%2Fname/x");
        assert_eq!(url(&["a?b#c", "..", "ü"]), "https://h.test/api/v4/a%3Fb%23c/_/%C3%BC");
        assert_eq!(api.given().as_str(), "https://h.test/api/v4");
    }

    #[test]
    fn an_address_that_would_tell_a_token_to_others_is_refused() {
        let token = || Some(Token::new(super::super::Header::Bearer, "t", "x").expect("a token"));
        for (address, fine) in [
            ("https://h.test", true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://h.test", false),
            ("https://user:secret@h.test", false),
            ("ftp://h.test", false),
            ("h.test", false),
        ] {
            let server = Server { address: address.to_owned(), dialect: Dialect::GitLab, trust: Trust::default() };
            let made = Api::new(&Settings::default(), &server, token());
            assert_eq!(made.is_ok(), fine, "{address}");
            assert!(made.err().is_none_or(|error| !error.to_string().contains("secret")));
        }
    }

    #[test]
    fn a_token_goes_to_its_own_server_only() {
        let api = api("https://api.github.com");
        let ours = |text: &str| api.is_ours(&Url::parse(text).expect("a URL"));
        assert!(ours("https://api.github.com/x") && ours("https://uploads.github.com/x"));
        assert!(
            !ours("http://uploads.github.com/x") && !ours("https://evil.test/x") && !ours("https://api.github.com:1/")
        );
    }
}
