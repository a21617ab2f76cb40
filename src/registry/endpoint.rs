//! One address of a repository: requests with who we are, and uploads.

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::authorize::authorize;
use super::credentials::{Credential, Credentials};
use super::error::RegistryError;
use super::hosts::Address;
use super::request::Line;
use crate::http::Settings;
use crate::oci::Reference;

/// One address of a repository; clones share what it was authorized with.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) line: Line,
    /// `host/name`, for people; of a mirror also whose.
    pub(super) shown: String,
    pub(super) address: Address,
    /// `https://host/v2/name/`.
    base: Url,
    /// Whose credentials: `host` or `host:port`.
    host: String,
    repository: String,
    /// Tells a mirror which registry it stands for (containerd docs/hosts.md).
    namespace: Option<String>,
    credentials: Arc<Credentials>,
    authorization: Arc<Mutex<Authorization>>,
}

/// What was obtained so far. Apart, for what lets us read must not take the place of what lets us write, which another
/// thread is in the middle of.
#[derive(Debug, Default)]
struct Authorization {
    reads: Option<HeaderValue>,
    writes: Option<HeaderValue>,
}

impl Authorization {
    fn of(&self, writes: bool) -> Option<HeaderValue> {
        let (first, second) = if writes { (&self.writes, &self.reads) } else { (&self.reads, &self.writes) };
        first.clone().or_else(|| second.clone())
    }
}

impl Endpoint {
    pub(super) fn new(
        address: Address,
        reference: &Reference,
        settings: &Settings,
        credentials: &Arc<Credentials>,
    ) -> Result<Self, RegistryError> {
        let wrong = |reason: String| RegistryError::Reference { text: reference.to_string(), reason };
        let (registry, repository) = (reference.registry(), reference.repository());
        let base = address.base.join(&format!("{repository}/")).map_err(|error| wrong(error.to_string()))?;
        let mut host = base.host_str().unwrap_or_default().to_owned();
        if let Some(port) = base.port() {
            host = format!("{host}:{port}");
        }
        // Docker Hub has several names and one login.
        let is_own = host == reference.resolve_registry() || (registry == "docker.io" && host.ends_with(".docker.io"));
        let shown = format!("{registry}/{repository}");
        let (host, shown, namespace) = if is_own {
            (reference.resolve_registry().to_owned(), shown, None)
        } else {
            let shown = format!("{host}/{repository}, which stands for {registry}");
            (host, shown, Some(registry.to_owned()))
        };
        let headers = address.header_map().map_err(wrong)?;
        let mut settings = settings.clone();
        settings.patience.connect = address.connect.unwrap_or(settings.patience.connect);
        Ok(Self {
            line: Line::new(settings, &address.trust, headers)?,
            shown,
            address,
            base,
            host,
            repository: repository.to_owned(),
            namespace,
            credentials: Arc::clone(credentials),
            authorization: Arc::default(),
        })
    }

    /// Names below the base are tags, digests and constants: none can leave it.
    pub(super) fn url(&self, rest: &str) -> Url {
        let mut url = self.base.join(rest).unwrap_or_else(|_| self.base.clone());
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        url
    }

    /// The page before the repositories, which every registry answers somehow.
    pub(super) fn front(&self) -> Url {
        self.address.base.clone()
    }

    /// Adds who we are, where `url` is this registry and not a place that it sent us to.
    pub(super) fn signed(&self, request: RequestBuilder, url: &Url) -> RequestBuilder {
        if url.origin() != self.base.origin() {
            return request;
        }
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).of(true);
        self.with(request, known)
    }

    fn with(&self, request: RequestBuilder, authorization: Option<HeaderValue>) -> RequestBuilder {
        let request = self.line.with_own(request);
        match authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    /// Asks, answers a challenge if there is one, and asks again.
    pub(super) async fn ask(
        &self,
        what: &str,
        make: &dyn Fn(&Client) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        self.ask_as(what, make, false).await
    }

    /// As `ask`, for what writes.
    pub(super) async fn ask_to_write(
        &self,
        what: &str,
        make: &dyn Fn(&Client) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        self.ask_as(what, make, true).await
    }

    async fn ask_as(
        &self,
        what: &str,
        make: &dyn Fn(&Client) -> RequestBuilder,
        writes: bool,
    ) -> Result<Response, RegistryError> {
        let client = self.line.http.client();
        let request = || make(client).header(ACCEPT_ENCODING, "identity");
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).of(writes);
        let response = self.line.send(what, self.with(request(), known)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.judge(what, response, None).await;
        }
        let headers = response.headers().clone();
        let credential = self.credentials.find(&self.host, &self.repository, &self.line.settings.stop)?;
        let plain = self.base.scheme() == "http";
        let authorized = authorize(&self.line, what, &headers, credential.as_ref(), plain).await;
        let value = authorized.map_err(|error| self.denied(error, credential.as_ref()))?;
        let Some(value) = value else { return self.judge(what, response, None).await };
        self.keep(value.clone(), writes);
        let response = self.line.send(what, self.with(request(), Some(value))).await?;
        self.judge(what, response, credential.as_ref()).await
    }

    fn keep(&self, value: HeaderValue, writes: bool) {
        let mut authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        *(if writes { &mut authorization.writes } else { &mut authorization.reads }) = Some(value);
    }

    async fn judge(
        &self,
        what: &str,
        response: Response,
        shown: Option<&Credential>,
    ) -> Result<Response, RegistryError> {
        self.line.judge(what, response).await.map_err(|error| self.denied(error, shown))
    }

    /// Says of a refusal as whom we came.
    fn denied(&self, error: RegistryError, shown: Option<&Credential>) -> RegistryError {
        match error {
            RegistryError::Status { what, status, said, .. }
                if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) =>
            {
                let sent = shown.map(|credential| credential.user().to_owned());
                RegistryError::Denied { what, status, said, sent, places: self.credentials.places() }
            }
            other => other,
        }
    }
}
