//! Finding facts out.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;

use rustix::thread::CapabilitySet;

use super::facts::{Answer, Facts, Memory};
use super::groups::Delegation;
use super::kernel::Offers;
use super::place::{existing, is_writable, look};
use super::{container, i386, ids, kernel, mirror, reach};
use crate::cgroup::{Place, delegated};
use crate::registry::Registry;
use crate::sandbox::{probe, tried_ids};
use crate::source::{Proxies, host_mirrors};
use crate::sys;

/// What the command knows already and a doctor must not find out in its own way.
#[derive(Clone)]
pub struct Surroundings<'a> {
    /// Where the store is or will be.
    pub store: &'a Path,
    /// Debian mirrors named on the command line, best first; empty: apt's configuration is asked.
    pub mirrors: &'a [String],
    /// Registries as a build would see them, and the names that something is configured for; `None` where the network
    /// is not to be used.
    pub registry: Option<(&'a Registry, &'a [String])>,
    /// A variable of the environment.
    pub environment: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// Whether standard error has a live view.
    pub live: bool,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Finds everything out; takes some seconds where mirror or registry do not answer.
pub fn gather(surroundings: &Surroundings<'_>) -> Facts {
    let proxies = Proxies::from_variables(surroundings.environment);
    // Trials want a directory to write to; a fault of the store's disk has a row of its own.
    let trial = existing(surroundings.store).filter(|place| is_writable(place));
    let trial = trial.map_or_else(std::env::temp_dir, Path::to_owned);
    let machine = sys::facts();
    let place = Place::own().unwrap_or_default();
    let (controllers, lacks) = delegated(&place);
    let ask = || surroundings.registry.map(|(registry, names)| reach::ask(registry, names));
    // The two that wait for others wait at the same time.
    let (mirror, registries) = thread::scope(|scope| {
        let registries = scope.spawn(ask);
        let mirror = if surroundings.registry.is_some() { mirror(surroundings.mirrors, &proxies) } else { None };
        (mirror, registries.join().unwrap_or_default())
    });
    Facts {
        ids: ids::gather(machine.user.as_deref(), machine.uid, tried_ids()),
        maps_root: machine.uid != 0 || sys::has_capability(CapabilitySet::SETFCAP),
        machine,
        container: container::around(Path::new("/"), &|name| (surroundings.environment)(name)),
        trials: probe(&trial).map(|probe| probe.trials).map_err(|error| words(&error)),
        thirty_two_bits: i386::execute(&trial).map_err(|error| error.to_string()),
        delegation: Delegation { controllers, lacks },
        offers: Offers { user_notification: sys::has_user_notification(), landlock: sys::landlock() },
        disk: look(surroundings.store),
        temporary: look(&std::env::temp_dir()),
        memory: fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text)),
        cores: thread::available_parallelism().map_or(1, usize::from),
        descriptors: kernel::descriptors(),
        clock: kernel::clock(),
        mirror,
        registries,
        proxies: shown(&proxies),
        terminal: surroundings.live.then(columns),
        program: std::env::current_exe().ok(),
    }
}

/// An error with its sources in one line.
fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

/// Asks the first mirror; `None` where there is none.
fn mirror(named: &[String], proxies: &Proxies) -> Option<(String, Answer)> {
    let url = match named.first() {
        Some(url) => url.clone(),
        None => match host_mirrors(Path::new("/")) {
            Ok(mirrors) => mirrors.into_iter().next()?,
            Err(error) => return Some(("apt's configuration".to_owned(), Answer::Failed(words(&error)))),
        },
    };
    let own = if url.starts_with("https:") { &proxies.https } else { &proxies.http };
    let proxy = own.as_ref().or(proxies.all.as_ref());
    let proxy = proxy.filter(|_| !proxies.except.as_deref().is_some_and(|hosts| is_excepted(&url, hosts)));
    let answer = mirror::ask(&url, proxy.map(String::as_str));
    Some((without_password(&url), answer))
}

fn shown(proxies: &Proxies) -> Vec<(String, String)> {
    let Proxies { http, https, all, except } = proxies;
    [("http_proxy", http), ("https_proxy", https), ("all_proxy", all), ("no_proxy", except)]
        .into_iter()
        .filter_map(|(name, value)| value.as_deref().map(|value| (name.to_owned(), without_password(value))))
        .collect()
}

fn columns() -> u16 {
    rustix::termios::tcgetwinsize(rustix::stdio::stderr()).map_or(80, |size| size.ws_col)
}

/// Leaves out `user:password@` of an address.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    if scheme.is_empty() { rest[host..].to_owned() } else { format!("{scheme}://{}", &rest[host..]) }
}

/// Whether the host of `url` stands in a list of hosts and domains, as `no_proxy` has it.
fn is_excepted(url: &str, hosts: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    hosts
        .split(',')
        .map(|entry| entry.trim().trim_start_matches('.'))
        .filter(|entry| !entry.is_empty())
        .any(|entry| entry == "*" || host == entry || host.strip_suffix(entry).is_some_and(|rest| rest.ends_with('.')))
}

/// Reads `/proc/meminfo`, whose kB are KiB.
fn memory(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory { total: field("MemTotal")?, available: field("MemAvailable")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_told() {
        assert_eq!(without_password("http://user:secret@proxy:3128/"), "http://proxy:3128/");
        assert_eq!(without_password("user:p@ss@proxy"), "proxy");
        assert_eq!(without_password("http://mirror/a@b"), "http://mirror/a@b");
    }

    #[test]
    fn hosts_are_excepted_as_curl_does_it() {
        for (hosts, excepted) in [
            ("example", true),
            (".example", true),
            ("ample", false),
            ("*", true),
            ("", false),
            ("x, mirror.example", true),
        ] {
            assert_eq!(is_excepted("http://mirror.example:80/debian", hosts), excepted, "{hosts}");
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(memory(text), Some(Memory { total: 2_097_152, available: 1_048_576 }));
        assert_eq!(memory("MemTotal: lots"), None);
    }
}
