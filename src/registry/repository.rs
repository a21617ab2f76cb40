//! One repository of one registry, wherever it answers: manifests and blobs by name and digest
//! (`distribution-spec spec.md#endpoints`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::hosts::{Address, Hosts};
use super::incoming::{Incoming, wait_for};
use super::manifest::{ACCEPT as MANIFESTS, MOST, Manifest};
use crate::http::{Settings, Stop};
use crate::oci::{Digest, Reference};
use crate::progress::{Event, Progress};
use crate::store::{Store, Stored};

/// Room of the store that remembers which repository a blob came from: one file a blob, `registry/repository`.
pub const ORIGINS: &str = "origins";

/// Registries as this run sees them.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub(super) settings: Settings,
    pub(super) credentials: Arc<Credentials>,
    hosts: Arc<Hosts>,
    /// Addresses that did not answer: nobody waits for them twice.
    silent: Arc<Mutex<BTreeSet<String>>>,
}

/// One repository; cheap to clone, and clones share what it was authorized with.
#[derive(Debug, Clone)]
pub struct Repository {
    /// `host/name`, for people.
    shown: String,
    registry: String,
    path: String,
    /// Where to ask, in order; the registry's own address is last.
    endpoints: Vec<Endpoint>,
    stop: Stop,
    silent: Arc<Mutex<BTreeSet<String>>>,
    /// Which of them takes what is pushed.
    taking: Arc<OnceLock<usize>>,
}

impl Registry {
    /// Makes one that speaks with these credentials.
    pub fn new(settings: Settings, credentials: Credentials) -> Self {
        Self { settings, credentials: Arc::new(credentials), ..Self::default() }
    }

    /// Says where registries answer, beside where their names lead.
    #[must_use]
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = Arc::new(hosts);
        self
    }

    /// Returns how to speak to the registry of a reference, and where it answers.
    pub(super) fn addresses(&self, reference: &Reference) -> Result<(Settings, Vec<Address>), RegistryError> {
        let addresses = self.hosts.addresses(reference.registry(), reference.resolve_registry())?;
        Ok((self.settings.clone(), addresses))
    }

    /// Returns the repository that a reference is in; nothing is asked yet.
    ///
    /// # Errors
    /// `Reference`, `Hosts`, `Http`, `Io`.
    pub fn repository(&self, reference: &Reference) -> Result<Repository, RegistryError> {
        let addresses = self.hosts.addresses(reference.registry(), reference.resolve_registry())?;
        let endpoint = |address| Endpoint::new(address, reference, &self.settings, &self.credentials);
        Ok(Repository {
            shown: format!("{}/{}", reference.registry(), reference.repository()),
            registry: reference.registry().to_owned(),
            path: reference.repository().to_owned(),
            endpoints: addresses.into_iter().map(endpoint).collect::<Result<_, _>>()?,
            stop: self.settings.stop.clone(),
            silent: Arc::clone(&self.silent),
            taking: Arc::default(),
        })
    }
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
        check_name(name)?;
        let wanted = name.parse::<Digest>().ok();
        let may = |endpoint: &Endpoint| {
            if wanted.is_some() { endpoint.address.pulls } else { endpoint.address.resolves }
        };
        self.first(may, progress, |endpoint| {
            let what = format!("manifest `{name}` of {}", endpoint.shown);
            let url = endpoint.url(&format!("manifests/{name}"));
            let (bytes, headers) = endpoint.line.patiently(&what, progress, || {
                endpoint.line.http.block_on(async {
                    let make = |client: &Client| client.get(url.clone()).header(ACCEPT, MANIFESTS);
                    let response = endpoint.ask(&what, &make).await?;
                    let headers = response.headers().clone();
                    Ok((endpoint.line.body(&what, response, MOST).await?, headers))
                })
            })?;
            let manifest = Manifest::new(bytes, headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()));
            let promised = headers.get("docker-content-digest").and_then(|value| value.to_str().ok()?.parse().ok());
            let actual = manifest.descriptor.digest;
            match wanted.or(promised) {
                Some(expected) if expected != actual => Err(RegistryError::Digest { what, expected, actual }),
                _ => Ok(manifest),
            }
        })
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
        told: (&dyn Progress, Digest),
    ) -> Result<Stored, RegistryError> {
        let what = format!("blob {digest} of {}", self.shown);
        if let Some(stored) = already(store, digest, size, &what)? {
            return Ok(stored);
        }
        let _lock = wait_for(store, digest, &self.stop, &what)?;
        if let Some(stored) = already(store, digest, size, &what)? {
            return Ok(stored);
        }
        let incoming = Incoming::new(store);
        let stored = self.fetch(digest, size, &incoming, told)?;
        incoming.publish()?;
        Ok(stored)
    }

    /// Brings a blob to where it waits for others, from there or the store if they have it.
    ///
    /// # Errors
    /// As `get_blob`.
    pub fn bring_blob(
        &self,
        digest: &Digest,
        size: Option<u64>,
        incoming: &Incoming<'_>,
        told: (&dyn Progress, Digest),
    ) -> Result<(), RegistryError> {
        if incoming.has(digest, size, &format!("blob {digest} of {}", self.shown))? {
            return Ok(());
        }
        self.fetch(digest, size, incoming, told).map(|_| ())
    }

    fn fetch(
        &self,
        digest: &Digest,
        size: Option<u64>,
        incoming: &Incoming<'_>,
        told: (&dyn Progress, Digest),
    ) -> Result<Stored, RegistryError> {
        let may = |endpoint: &Endpoint| endpoint.address.pulls;
        let mut sealed = self.first(may, told.0, |endpoint| endpoint.fetch(digest, size, incoming.store(), told))?;
        let stored = sealed.stored();
        // While others still come.
        sealed.sync()?;
        incoming.keep(sealed, Some(&self.shown));
        Ok(stored)
    }

    /// Keeps other runs from fetching the same blobs, and waits for one that is at it already.
    pub(super) fn reserve<'d>(
        &self,
        digests: impl Iterator<Item = &'d Digest>,
        incoming: &Incoming<'_>,
    ) -> Result<(), RegistryError> {
        incoming.reserve(digests, &self.stop, &self.shown)
    }

    /// Tells whether the registry has a blob in this repository.
    ///
    /// # Errors
    /// `Status` and the others of a request.
    pub fn has_blob(&self, digest: &Digest, progress: &dyn Progress) -> Result<bool, RegistryError> {
        self.first(|endpoint| endpoint.address.pulls, progress, |endpoint| endpoint.has(digest, progress))
    }

    /// Gives a blob of the store to the registry, unless it has it; one that came from another repository of the same
    /// registry is not sent again.
    ///
    /// # Errors
    /// `Store`, `Io`, `Status` and the others of a request.
    pub fn put_blob(&self, digest: &Digest, store: &Store, progress: &dyn Progress) -> Result<(), RegistryError> {
        let endpoint = self.taking(progress)?;
        if endpoint.has(digest, progress)? {
            return Ok(());
        }
        let origin = store.get_record(ORIGINS, &digest.hex())?.and_then(|origin| String::from_utf8(origin).ok());
        let from = origin.as_deref().and_then(|origin| origin.strip_prefix(&self.registry)?.strip_prefix('/'));
        endpoint.send(digest, from.filter(|from| *from != self.path), store, progress)
    }

    /// Gives a manifest or an index to the registry under a tag or its digest; everything it names must be there. Tells
    /// whether the registry took note of its subject (`distribution-spec spec.md#pushing-manifests-with-subject`).
    ///
    /// # Errors
    /// `Status` and the others of a request.
    pub fn put_manifest(
        &self,
        name: &str,
        media_type: &str,
        bytes: &[u8],
        progress: &dyn Progress,
    ) -> Result<bool, RegistryError> {
        check_name(name)?;
        let endpoint = self.taking(progress)?;
        let what = format!("manifest `{name}` for {}", endpoint.shown);
        let url = endpoint.url(&format!("manifests/{name}"));
        endpoint.line.patiently(&what, progress, || {
            endpoint.line.http.block_on(async {
                let make =
                    |client: &Client| client.put(url.clone()).header(CONTENT_TYPE, media_type).body(bytes.to_vec());
                let answer = endpoint.ask_to_write(&what, &make).await?;
                Ok(answer.headers().contains_key("oci-subject"))
            })
        })
    }

    /// Reads a document that lists what refers to a manifest; `None` where the registry has no such list
    /// (`distribution-spec spec.md#listing-referrers`).
    pub(super) fn get_referrers(
        &self,
        digest: &Digest,
        progress: &dyn Progress,
    ) -> Result<Option<Manifest>, RegistryError> {
        let endpoint = self.taking(progress)?;
        let what = format!("what refers to {digest} in {}", endpoint.shown);
        let url = endpoint.url(&format!("referrers/{digest}"));
        let found = endpoint.line.patiently(&what, progress, || {
            endpoint.line.http.block_on(async {
                let response = endpoint.ask(&what, &|client: &Client| client.get(url.clone())).await?;
                endpoint.line.body(&what, response, MOST).await
            })
        });
        match found {
            Ok(bytes) => Ok(Some(Manifest::new(bytes, None))),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks one address after the other, until one has what is wanted.
    fn first<T>(
        &self,
        may: impl Fn(&Endpoint) -> bool,
        progress: &dyn Progress,
        mut work: impl FnMut(&Endpoint) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let able: Vec<&Endpoint> = self.endpoints.iter().filter(|endpoint| may(endpoint)).collect();
        let (last, before) = able.split_last().ok_or_else(|| self.nowhere("pull"))?;
        for (index, endpoint) in before.iter().enumerate() {
            let origin = endpoint.front().to_string();
            if self.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(&origin) {
                continue;
            }
            match work(endpoint) {
                // Without encryption only where nobody answers with it.
                Err(error) if able[index + 1].address.is_resort && !error.is_unreached() => return Err(error),
                Err(error) if error.is_of_server() => {
                    if error.is_connect() {
                        self.silent.lock().unwrap_or_else(PoisonError::into_inner).insert(origin);
                    }
                    progress.event(&Event::Note { message: &format!("{error}; asking elsewhere") });
                }
                other => return other,
            }
        }
        work(last)
    }

    /// Returns the address that takes what is pushed: where there are several, the first that answers.
    fn taking(&self, progress: &dyn Progress) -> Result<&Endpoint, RegistryError> {
        if let Some(index) = self.taking.get() {
            return Ok(&self.endpoints[*index]);
        }
        let able = self.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.address.pushes);
        let able: Vec<usize> = able.map(|(index, _)| index).collect();
        let (last, before) = able.split_last().ok_or_else(|| self.nowhere("push"))?;
        let answers = |index: &&usize| {
            let endpoint = &self.endpoints[**index];
            let what = format!("the registry of {}", endpoint.shown);
            let front = endpoint.front();
            let asked = endpoint.line.patiently(&what, progress, || {
                let ask = endpoint.line.send(&what, endpoint.line.http.client().get(front.clone()));
                endpoint.line.http.block_on(ask).map(|_| ())
            });
            asked.is_ok()
        };
        let index = before.iter().find(answers).unwrap_or(last);
        Ok(&self.endpoints[*self.taking.get_or_init(|| *index)])
    }

    fn nowhere(&self, what: &str) -> RegistryError {
        let reason = format!("no address of {} lets anybody {what}", self.registry);
        RegistryError::Reference { text: self.shown.clone(), reason }
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
