//! Where a pinned file may come from, as data.

use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::http::{Patience, Proxies, Settings, Stop};
use crate::oci::Digest;

/// One file that is named by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Its file name, looked for in `Origins::directories`.
    pub file: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes, where the lock knows it.
    pub size: Option<u64>,
    /// Where it can be had, best first: `https:` and `http:` URLs, `file:` URLs, `debian:pool/…`.
    pub origins: Vec<String>,
}

/// What this run may fetch from, and how patiently.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// Debian mirrors, best first; `debian:pool/…` is looked for under each.
    pub mirrors: Vec<String>,
    /// Directories with files by their names (`--source-dir`), asked before any other origin.
    pub directories: Vec<PathBuf>,
    /// Never touch the network.
    pub offline: bool,
    /// Proxies; the environment is read by the caller.
    pub proxies: Proxies,
    /// Timeouts and retries.
    pub patience: Patience,
    /// Asked often: ends all transfers soon when it says so.
    pub stop: Stop,
}

/// A place to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Http(Url),
    /// A `debian:` origin while no mirror is known.
    NoMirror(String),
    /// Not an address that we can fetch from.
    Unknown(String),
}

impl Origins {
    /// Tells whether the caller wants to end.
    pub(super) fn stopped(&self) -> bool {
        self.stop.asked()
    }

    /// Returns what rooms below need to know of it.
    pub fn settings(&self) -> Settings {
        Settings {
            proxies: self.proxies.clone(),
            patience: self.patience,
            stop: self.stop.clone(),
            offline: self.offline,
        }
    }

    /// Returns where to look for `pinned` after the directories, best first.
    pub(super) fn places(&self, pinned: &Pinned) -> Vec<Place> {
        let mut places = Vec::new();
        for origin in &pinned.origins {
            let Some(path) = origin.strip_prefix("debian:") else {
                places.push(place(origin));
                continue;
            };
            if !is_pool_path(path) {
                places.push(Place::Unknown(origin.clone()));
            } else if self.mirrors.is_empty() {
                places.push(Place::NoMirror(origin.clone()));
            } else {
                places.extend(self.mirrors.iter().map(|mirror| place(&join(mirror, path))));
            }
        }
        places
    }
}

fn place(origin: &str) -> Place {
    if let Some(path) = origin.strip_prefix("file:") {
        // file:/path, file:///path and file://localhost/path are the same place.
        let path = path.strip_prefix("//localhost").or_else(|| path.strip_prefix("//")).unwrap_or(path);
        let path = PathBuf::from(path);
        return if path.is_absolute() { Place::File(path) } else { Place::Unknown(origin.to_owned()) };
    }
    match Url::parse(origin) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => Place::Http(url),
        _ => Place::Unknown(origin.to_owned()),
    }
}

/// Tells whether `path` is one that a pool can have: relative, without `..`, and with nothing a URL gives a meaning to.
fn is_pool_path(path: &str) -> bool {
    !path.is_empty()
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._+-~:".contains(&b))
}

/// Joins a mirror and a pool path. `+` is escaped, as apt does, since some stores behind mirrors read it as a space.
fn join(mirror: &str, path: &str) -> String {
    let mut url = mirror.trim_end_matches('/').to_owned();
    url.push('/');
    let escape = !mirror.starts_with("file:");
    for c in path.chars() {
        match c {
            '+' if escape => url.push_str("%2b"),
            _ => url.push(c),
        }
    }
    url
}

/// Tells whether `name` can be looked up in a directory without leaving it.
pub(super) fn is_file_name(name: &str) -> bool {
    !name.starts_with('.') && Path::new(name).file_name().is_some_and(|n| n == name) && !name.contains(['\0', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(mirrors: &[&str], origin: &str) -> Vec<String> {
        let origins = Origins { mirrors: mirrors.iter().map(ToString::to_string).collect(), ..Origins::default() };
        let pinned =
            Pinned { file: "f".to_owned(), digest: Digest::of(b""), size: None, origins: vec![origin.to_owned()] };
        origins.places(&pinned).into_iter().map(|place| format!("{place:?}")).collect()
    }

    #[test]
    fn a_pool_path_is_looked_for_under_every_mirror() {
        let found = places(&["http://a.test/debian/", "file:/srv/mirror"], "debian:pool/main/g/g++/g_1+2.deb");
        assert!(found[0].contains("/debian/pool/main/g/g%2b%2b/g_1%2b2.deb"), "{found:?}");
        assert_eq!(found[1], r#"File("/srv/mirror/pool/main/g/g++/g_1+2.deb")"#);
        assert!(places(&[], "debian:pool/x")[0].starts_with("NoMirror"));
    }

    #[test]
    fn an_origin_cannot_leave_its_mirror_or_name_another_scheme() {
        for origin in ["debian:../etc/passwd", "debian:/etc", "debian:pool//x", "debian:a?b", "ftp://h/x", "file:x", ""]
        {
            assert!(places(&["http://a.test"], origin)[0].starts_with("Unknown"), "{origin}");
        }
        assert_eq!(places(&[], "file:///a/b"), [r#"File("/a/b")"#]);
        for name in ["", ".", "..", "a/b", "/a", ".part", "a\nb"] {
            assert!(!is_file_name(name), "{name:?}");
        }
    }
}
