//! One repository of one registry: manifests and blobs by name and digest (`distribution-spec spec.md#endpoints`).

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue,
    LOCATION, RANGE,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};

use super::authorize::authorize;
use super::credentials::{Credential, Credentials};
use super::error::RegistryError;
use super::manifest::{ACCEPT as MANIFESTS, MOST, Manifest};
use super::request::Line;
use crate::http::{Pace, Settings};
use crate::oci::{Digest, Reference};
use crate::progress::{Event, Progress};
use crate::store::{BlobWriter, Lock, Store, StoreError, Stored};

/// The most bytes of a blob whose size nobody promised.
const LARGEST: u64 = 1 << 36;

/// How often somebody who waits for another run looks up.
const GLANCE: Duration = Duration::from_millis(20);

/// Registries as this run sees them.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    settings: Settings,
    credentials: Arc<Credentials>,
    plain: Vec<String>,
}

/// One repository; cheap to clone, and clones share what it was authorized with.
#[derive(Debug, Clone)]
pub struct Repository {
    line: Line,
    /// `https://host/v2/name/`.
    base: Url,
    /// `host/name`, for people.
    shown: String,
    credential: Option<Credential>,
    plain: bool,
    authorization: Arc<Mutex<Option<HeaderValue>>>,
}

impl Registry {
    /// Makes one that speaks with these credentials.
    pub fn new(settings: Settings, credentials: Credentials) -> Self {
        Self { settings, credentials: Arc::new(credentials), plain: Vec::new() }
    }

    /// Allows to speak to `host` (`name` or `name:port`) without encryption.
    #[must_use]
    pub fn allow_plain(mut self, host: &str) -> Self {
        self.plain.push(host.to_owned());
        self
    }

    /// Returns the repository that a reference is in; nothing is asked yet.
    ///
    /// # Errors
    /// `Reference`, `Http`.
    pub fn repository(&self, reference: &Reference) -> Result<Repository, RegistryError> {
        let host = reference.resolve_registry();
        let plain = is_loopback(host) || self.plain.iter().any(|allowed| allowed == host);
        let scheme = if plain { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/v2/{}/", reference.repository()))
            .map_err(|error| RegistryError::Reference { text: reference.to_string(), reason: error.to_string() })?;
        Ok(Repository {
            line: Line::new(&self.settings)?,
            base,
            shown: format!("{}/{}", reference.registry(), reference.repository()),
            credential: self.credentials.of(host).cloned(),
            plain,
            authorization: Arc::default(),
        })
    }
}

/// Tells whether a host is this machine for certain.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Repository {
    /// Returns the name for people.
    pub fn name(&self) -> &str {
        &self.shown
    }

    /// Fetches a manifest or an index by tag or digest, verified against the digest where it is one.
    ///
    /// # Errors
    /// `Digest`, `TooLarge`, `Status` and the others of a request.
    pub fn get_manifest(&self, name: &str, progress: &dyn Progress) -> Result<Manifest, RegistryError> {
        let what = format!("manifest `{name}` of {}", self.shown);
        check_name(name)?;
        let url = self.url(&format!("manifests/{name}"));
        let (bytes, headers) = self.line.patiently(&what, progress, || {
            self.line.http.block_on(async {
                let make = |client: &Client| client.get(url.clone()).header(ACCEPT, MANIFESTS);
                let response = self.ask(&what, &make).await?;
                let headers = response.headers().clone();
                Ok((self.line.body(&what, response, MOST).await?, headers))
            })
        })?;
        let manifest = Manifest::new(bytes, headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()));
        let promised = headers.get("docker-content-digest").and_then(|value| value.to_str().ok()?.parse().ok());
        let wanted = name.parse::<Digest>().ok();
        let actual = manifest.descriptor.digest;
        match wanted.or(promised) {
            Some(expected) if expected != actual => Err(RegistryError::Digest { what, expected, actual }),
            _ => Ok(manifest),
        }
    }

    /// Brings a blob into the store, from there if it has it; a cut transfer goes on where it ended.
    ///
    /// # Errors
    /// `Digest`, `Size`, `Status` and the others of a request, `Store`.
    pub fn get_blob(
        &self,
        digest: &Digest,
        size: Option<u64>,
        store: &Store,
        (progress, vertex): (&dyn Progress, Digest),
    ) -> Result<Stored, RegistryError> {
        let what = format!("blob {digest} of {}", self.shown);
        if let Some(stored) = already(store, digest, size, &what)? {
            return Ok(stored);
        }
        let _lock = self.wait_for(store, digest, &what)?;
        if let Some(stored) = already(store, digest, size, &what)? {
            return Ok(stored);
        }
        let id = digest.short();
        let mut writer: Option<BlobWriter> = None;
        let mut resumed = false;
        loop {
            let writer_now = self.line.patiently(&what, progress, || {
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
            })?;
            if size.is_some_and(|size| size != writer_now.size()) {
                let (expected, actual) = (size.unwrap_or_default(), writer_now.size());
                return Err(RegistryError::Size { what, expected, actual, more: false });
            }
            match writer_now.commit_as(digest) {
                Ok(stored) => return Ok(stored),
                // Two halves of two things: once more from the beginning.
                Err(StoreError::Mismatch { .. }) if resumed => resumed = false,
                Err(StoreError::Mismatch { expected, actual, .. }) => {
                    return Err(RegistryError::Digest { what, expected, actual });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Tells whether the registry has a blob in this repository.
    ///
    /// # Errors
    /// `Status` and the others of a request.
    pub fn has_blob(&self, digest: &Digest, progress: &dyn Progress) -> Result<bool, RegistryError> {
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

    /// Gives a blob of the store to the registry, unless it has it.
    ///
    /// # Errors
    /// `Store`, `Io`, `Status` and the others of a request.
    pub fn put_blob(&self, digest: &Digest, store: &Store, progress: &dyn Progress) -> Result<(), RegistryError> {
        if self.has_blob(digest, progress)? {
            return Ok(());
        }
        let what = format!("blob {digest} for {}", self.shown);
        let start = self.url("blobs/uploads/");
        self.line.patiently(&what, progress, || {
            self.line.http.block_on(async {
                let post = |client: &Client| client.post(start.clone()).header(CONTENT_LENGTH, 0);
                let begun = self.ask(&what, &post).await?;
                let mut place = location(&begun).ok_or_else(|| RegistryError::Token {
                    what: what.clone(),
                    reason: "the registry names no place to send it to".to_owned(),
                })?;
                place.query_pairs_mut().append_pair("digest", &digest.to_string());
                let file = store.read(digest)?;
                let path = store.path(digest);
                let size = file.metadata().map_err(RegistryError::io("examine", &path))?.len();
                let body: reqwest::Body = tokio::fs::File::from_std(file).into();
                let mut request = self
                    .line
                    .http
                    .client()
                    .put(place.clone())
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_LENGTH, size)
                    .body(body);
                // Elsewhere the place itself is the permission.
                if place.origin() == self.base.origin() {
                    request = self.with_authorization(request);
                }
                self.line.judge(&what, self.line.send_long(&what, request).await?).await.map(|_| ())
            })
        })
    }

    /// Gives a manifest or an index to the registry under a tag or its digest; everything it names must be there.
    ///
    /// # Errors
    /// `Status` and the others of a request.
    pub fn put_manifest(
        &self,
        name: &str,
        media_type: &str,
        bytes: &[u8],
        progress: &dyn Progress,
    ) -> Result<(), RegistryError> {
        let what = format!("manifest `{name}` for {}", self.shown);
        check_name(name)?;
        let url = self.url(&format!("manifests/{name}"));
        self.line.patiently(&what, progress, || {
            self.line.http.block_on(async {
                let make =
                    |client: &Client| client.put(url.clone()).header(CONTENT_TYPE, media_type).body(bytes.to_vec());
                self.ask(&what, &make).await.map(|_| ())
            })
        })
    }

    /// Names below the base are tags, digests and constants: none can leave it.
    fn url(&self, rest: &str) -> Url {
        self.base.join(rest).unwrap_or_else(|_| self.base.clone())
    }

    fn with_authorization(&self, request: RequestBuilder) -> RequestBuilder {
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    /// Asks, answers a challenge if there is one, and asks again.
    async fn ask(&self, what: &str, make: &dyn Fn(&Client) -> RequestBuilder) -> Result<Response, RegistryError> {
        let client = self.line.http.client();
        let request = || make(client).header(ACCEPT_ENCODING, "identity");
        let response = self.line.send(what, self.with_authorization(request())).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.line.judge(what, response).await;
        }
        let headers = response.headers().clone();
        let value = authorize(&self.line, what, &headers, self.credential.as_ref(), self.plain).await?;
        let Some(value) = value else { return self.line.judge(what, response).await };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        let response = self.line.send(what, self.with_authorization(request())).await?;
        self.line.judge(what, response).await
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
                // A range that is not to be had is no reason to ask for it for ever.
                let refused = matches!(&error, RegistryError::Status { status, .. } if status.as_u16() == 416);
                *kept = Some(writer).filter(|_| !refused);
                return Err(error);
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

    /// Waits for another run that fetches the same.
    fn wait_for(&self, store: &Store, digest: &Digest, what: &str) -> Result<Lock, RegistryError> {
        loop {
            if let Some(lock) = store.try_lock(&format!("fetch-{}", digest.hex()))? {
                return Ok(lock);
            }
            if self.line.settings.stop.asked() {
                return Err(RegistryError::Stopped { what: what.to_owned() });
            }
            std::thread::sleep(GLANCE);
        }
    }
}

/// Accepts tags and digests (`distribution-spec spec.md#pulling-manifests`), which cannot lead elsewhere.
fn check_name(name: &str) -> Result<(), RegistryError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    if !name.is_empty() && !name.starts_with(['.', '-']) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(RegistryError::Reference { text: name.to_owned(), reason: "neither a tag nor a digest".to_owned() })
}

struct Wanted<'a> {
    what: &'a str,
    digest: &'a Digest,
    size: Option<u64>,
}

/// Looks whether the store has a blob.
pub(super) fn already(
    store: &Store,
    digest: &Digest,
    size: Option<u64>,
    what: &str,
) -> Result<Option<Stored>, RegistryError> {
    let Some(actual) = store.contains(digest) else { return Ok(None) };
    match size {
        Some(expected) if expected != actual => {
            Err(RegistryError::Size { what: what.to_owned(), expected, actual, more: false })
        }
        _ => Ok(Some(Stored { digest: *digest, size: actual })),
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
fn location(response: &Response) -> Option<Url> {
    let place = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(place).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_without_encryption() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.test", "10.0.0.1:5000", "127.0.0.1.evil.test", "docker.io", "[::2]:1", ""] {
            assert!(!is_loopback(host), "{host}");
        }
        let scheme = |text: &str, registry: Registry| {
            let reference: Reference = text.parse().expect("a reference");
            registry.repository(&reference).expect("a repository").base.to_string()
        };
        assert_eq!(scheme("alpine", Registry::default()), "https://index.docker.io/v2/library/alpine/");
        assert_eq!(scheme("r.test:5000/a/b:1", Registry::default()), "https://r.test:5000/v2/a/b/");
        assert_eq!(scheme("r.test/a", Registry::default().allow_plain("r.test")), "http://r.test/v2/a/");
    }
}
