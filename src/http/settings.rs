//! How to reach servers and how long to wait for them, as values.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::Url;

/// Everything that a transfer needs to know beside its address.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Proxies; the environment is read by the caller.
    pub proxies: Proxies,
    /// Timeouts and retries.
    pub patience: Patience,
    /// Asked often: ends all transfers soon when it says so.
    pub stop: Stop,
    /// Never touch the network.
    pub offline: bool,
}

/// Proxies, as the usual variables name them (`curl(1)` ENVIRONMENT).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proxies {
    /// For `http:` URLs (`http_proxy`).
    pub http: Option<String>,
    /// For `https:` URLs (`HTTPS_PROXY`).
    pub https: Option<String>,
    /// For both where the other two say nothing (`ALL_PROXY`).
    pub all: Option<String>,
    /// Hosts, domains and networks that need no proxy, comma-separated (`NO_PROXY`).
    pub except: Option<String>,
}

/// Whom to believe over TLS, beside the authorities of the system.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trust {
    /// Certificates of authorities, PEM, each with one or more.
    pub authorities: Vec<Vec<u8>>,
    /// Our own certificate and its key, PEM.
    pub identity: Option<Vec<u8>>,
    /// Believe anybody: who allows this, knows why.
    pub anybody: bool,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities, identity: {}, ", self.authorities.len(), self.identity.is_some())?;
        write!(f, "anybody: {})", self.anybody)
    }
}

/// How long to wait and how often to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Patience {
    /// Attempts at one origin without any progress between them.
    pub attempts: usize,
    /// The first pause between attempts; it doubles each time, with jitter.
    pub pause: Duration,
    /// The longest pause, also when a server asks for a longer one.
    pub longest: Duration,
    /// For a connection to come about.
    pub connect: Duration,
    /// For the next bytes to come.
    pub idle: Duration,
}

impl Patience {
    /// Returns the pauses between attempts, each about twice as long as the one before.
    pub fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::new()
            .with_min_delay(self.pause)
            .with_max_delay(self.longest)
            .with_max_times(self.attempts.saturating_sub(1))
            .with_jitter()
            .build()
    }
}

/// Whether the run is to end; by default it never is.
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Stop {
    /// Makes one that `asked` answers for, e.g. `move || cancel.is_cancelled()`.
    pub fn new(asked: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(asked)))
    }

    /// Tells whether the run is to end.
    pub fn asked(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| asked())
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Stop(..)" } else { "Stop(never)" })
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 5,
            pause: Duration::from_millis(500),
            longest: Duration::from_mins(1),
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(30),
        }
    }
}

impl Proxies {
    /// Reads the usual variables through `lookup`: lower case before upper case, empty means unset.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            [name.to_lowercase(), name.to_uppercase()].iter().find_map(|n| lookup(n)).filter(|value| !value.is_empty())
        };
        Self { http: get("http_proxy"), https: get("https_proxy"), all: get("all_proxy"), except: get("no_proxy") }
    }
}

/// Returns `url` without user name and password.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs without a host, which have no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Returns `text` without what stands between `//` and `@`.
pub fn without_credentials(text: &str) -> String {
    match (text.find("//"), text.rfind('@')) {
        (Some(start), Some(at)) if start < at => {
            let mut shown = text[..start + 2].to_owned();
            let _ = write!(shown, "{}", &text[at + 1..]);
            shown
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        let url = Url::parse("http://user:secret@h.test/x").expect("a URL");
        assert_eq!(shown(&url), "http://h.test/x");
        assert_eq!(without_credentials("http://user:p@ss@proxy:3128"), "http://proxy:3128");
    }

    #[test]
    fn proxies_come_from_the_usual_variables() {
        let proxies = Proxies::from_variables(|name| match name {
            "http_proxy" => Some("http://low:1".to_owned()),
            "HTTP_PROXY" => Some("http://up:1".to_owned()),
            "HTTPS_PROXY" => Some("http://s:1".to_owned()),
            "no_proxy" => Some(String::new()),
            _ => None,
        });
        assert_eq!(proxies.http.as_deref(), Some("http://low:1"));
        assert_eq!(proxies.https.as_deref(), Some("http://s:1"));
        assert_eq!((proxies.all, proxies.except), (None, None));
    }
}
