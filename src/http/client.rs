//! The runtime and the client; the only place that makes either.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, NoProxy, Proxy, redirect};
use tokio::runtime::Runtime;

use super::error::{HttpError, Stopped};
use super::settings::{Patience, Proxies, Stop, Trust, without_credentials};

/// How often a transfer looks whether the run is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// Redirects followed before giving up.
pub const REDIRECTS: usize = 10;

/// What no proxy is asked for, as with Go's tools (`net/http` `ProxyFromEnvironment`): it would not be ours.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// Clients by what they are configured with: connections are kept and reused for the life of the process.
static CLIENTS: Mutex<BTreeMap<Key, Arc<Http>>> = Mutex::new(BTreeMap::new());

type Key = (Proxies, Duration, Trust, Redirects);

/// What becomes of an answer that leads elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Redirects {
    /// It is followed; credentials stay at home, other headers do not.
    Followed,
    /// The caller gets it.
    Returned,
}

/// A client and what runs it.
#[derive(Debug)]
pub struct Http {
    runtime: Runtime,
    client: Client,
}

impl Http {
    /// Returns the client for these settings, made once.
    ///
    /// # Errors
    /// `Io`, `Client`, `Proxy`, `Certificate`.
    pub fn shared(
        proxies: &Proxies,
        patience: &Patience,
        trust: &Trust,
        redirects: Redirects,
    ) -> Result<Arc<Self>, HttpError> {
        let key = (proxies.clone(), patience.connect, trust.clone(), redirects);
        let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = clients.get(&key) {
            return Ok(Arc::clone(http));
        }
        let http = Arc::new(Self::new(&key)?);
        clients.insert(key, Arc::clone(&http));
        Ok(http)
    }

    fn new((proxies, connect, trust, redirects): &Key) -> Result<Self, HttpError> {
        // Another part of the program may have installed one; either serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(|source| HttpError::Io { action: "start the network thread", source })?;
        let builder = || -> Result<reqwest::ClientBuilder, HttpError> {
            let mut builder = Client::builder()
                .user_agent(concat!("dockless/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(*connect)
                .referer(false)
                .redirect(match redirects {
                    Redirects::Followed => redirect::Policy::custom(redirect),
                    Redirects::Returned => redirect::Policy::none(),
                })
                .no_proxy();
            for proxy in reqwest_proxies(proxies)? {
                builder = builder.proxy(proxy);
            }
            trusting(builder, trust)
        };
        let client = match builder()?.build() {
            Ok(client) => client,
            Err(source) if *trust != Trust::default() => return Err(HttpError::Client { source }),
            // A machine without CA certificates cannot speak https; a plain mirror serves it all the same.
            Err(_) => builder()?
                .tls_backend_preconfigured(
                    rustls::ClientConfig::builder()
                        .with_root_certificates(rustls::RootCertStore::empty())
                        .with_no_client_auth(),
                )
                .build()
                .map_err(|source| HttpError::Client { source })?,
        };
        Ok(Self { runtime, client })
    }

    /// Returns the client; its futures run in [`Http::block_on`] only.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Works a future off. Any number of threads may be in here at once.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Waits for `pause`, or until the run is to end.
    ///
    /// # Errors
    /// `Stopped`.
    pub fn pause(&self, pause: Duration, stop: &Stop) -> Result<(), Stopped> {
        // Timers are made inside the runtime.
        self.block_on(async { unless_stopped(tokio::time::sleep(pause), stop).await })
    }
}

/// Works a future off unless the run is to end before it is done.
///
/// # Errors
/// `Stopped`.
pub async fn unless_stopped<T>(work: impl Future<Output = T>, stop: &Stop) -> Result<T, Stopped> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(GLANCE) => {
                if stop.asked() {
                    return Err(Stopped);
                }
            }
        }
    }
}

/// Tells whether it was the server's certificate.
pub fn is_certificate(error: &reqwest::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(_)))
}

/// Tells whether the server's certificate is of a later time than this machine's clock says.
pub fn is_not_valid_yet(error: &reqwest::Error) -> bool {
    use rustls::CertificateError::{NotValidYet, NotValidYetContext};
    matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. })))
}

/// Tells whether the name of the server means nobody.
pub fn is_unknown_host(error: &reqwest::Error) -> bool {
    // hyper-util has no other word for it.
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string() == "dns error" {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Tells whether the server does not speak TLS at all.
pub fn is_not_tls(error: &reqwest::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_)))
}

/// Tells whether the same request may succeed later: an address, a redirect or a certificate that is wrong stays so.
pub fn is_transient(error: &reqwest::Error) -> bool {
    !(error.is_builder() || error.is_redirect() || is_certificate(error) || is_not_tls(error))
}

/// Finds the word of rustls, which is inside of I/O errors, of which one may hold another.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
        error.downcast_ref().or_else(|| within(error.downcast_ref::<std::io::Error>()?.get_ref()?))
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(tls) = within(error) {
            return Some(tls);
        }
        cause = error.source();
    }
    None
}

/// Adds whom to believe, and who we are.
fn trusting(mut builder: reqwest::ClientBuilder, trust: &Trust) -> Result<reqwest::ClientBuilder, HttpError> {
    let failed = |source: reqwest::Error| HttpError::Certificate { source: source.without_url() };
    for pem in &trust.authorities {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem).map_err(failed)?);
    }
    if let Some(pem) = &trust.identity {
        builder = builder.identity(Identity::from_pem(pem).map_err(failed)?);
    }
    Ok(builder.tls_danger_accept_invalid_certs(trust.anybody))
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

fn reqwest_proxies(proxies: &Proxies) -> Result<Vec<Proxy>, HttpError> {
    let except = proxies.except.as_deref().filter(|except| !except.is_empty());
    let except = NoProxy::from_string(&except.map_or(LOOPBACK.to_owned(), |except| format!("{except},{LOOPBACK}")));
    let made = [
        proxies.http.as_ref().map(|proxy| (proxy, Proxy::http(proxy))),
        proxies.https.as_ref().map(|proxy| (proxy, Proxy::https(proxy))),
        proxies.all.as_ref().map(|proxy| (proxy, Proxy::all(proxy))),
    ];
    made.into_iter()
        .flatten()
        .map(|(address, made)| match made {
            Ok(proxy) => Ok(proxy.no_proxy(except.clone())),
            Err(source) => Err(HttpError::Proxy { proxy: without_credentials(address), source: source.without_url() }),
        })
        .collect()
}
