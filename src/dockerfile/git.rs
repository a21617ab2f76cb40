//! Addresses of repositories in `ADD` and as build contexts (`dfgitutil/git_ref.go`, `util/gitutil`).

use std::collections::BTreeMap;

use super::error::Fault;
use super::nodes::{Act, Node, metadata};
use super::numbers::parse_bool;
use crate::llb::{pb, source};

/// A repository, as a Dockerfile names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct GitRef {
    pub(super) remote: String,
    host: String,
    path: String,
    is_ssh: bool,
    pub(super) reference: String,
    pub(super) subdir: String,
    pub(super) checksum: String,
    pub(super) keep_git_dir: Option<bool>,
    submodules: Option<bool>,
    mtime: String,
    fetch_by_commit: bool,
}

/// Tells whether a text is the address of a repository, as in `ADD` and as a build context.
pub fn is_repository(text: &str) -> bool {
    GitRef::address(text).is_some()
}

impl GitRef {
    /// Reads an address; `None` where it is a file or an address of another kind.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, Fault> {
        let Some((mut found, query)) = Self::address(text) else { return Ok(None) };
        found.query(&query).map_err(|fault| fault.about(text))?;
        Ok(Some(found))
    }

    /// Splits an address from its query.
    fn address(text: &str) -> Option<(Self, String)> {
        if text.starts_with("./") || text.starts_with("../") {
            return None;
        }
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (address, query) = address.split_once('?').unwrap_or((address, ""));
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let subdir = crate::pattern::clean(&format!("/{subdir}"));
        let mut found = Self {
            remote: address.to_owned(),
            reference: reference.to_owned(),
            subdir: subdir.trim_start_matches('/').to_owned(),
            ..Self::default()
        };
        if let Some((scheme, rest)) = address.split_once("://") {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let scheme = scheme.to_lowercase();
            let is_repository = match scheme.as_str() {
                "http" | "https" => path.ends_with(".git"),
                "git" | "ssh" => true,
                _ => false,
            };
            if !is_repository {
                return None;
            }
            found.is_ssh = scheme == "ssh";
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            (found.host, found.path) = (host.to_owned(), path.to_owned());
            return Some((found, query.to_owned()));
        }
        // `user@host:path`
        let (user, rest) = address.split_once('@')?;
        let (host, path) = rest.split_once(':')?;
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !plain(user) || !plain(host) {
            return None;
        }
        (found.is_ssh, found.host, found.path) = (true, host.to_owned(), path.to_owned());
        Some((found, query.to_owned()))
    }

    fn query(&mut self, query: &str) -> Result<(), Fault> {
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let truth = || match value {
                "" => Ok(true),
                text => parse_bool(text).ok_or_else(|| Fault::new(format!("invalid {key} value: `{text}`"))),
            };
            let one = |known: &str| match (value, known) {
                ("", _) => Err(Fault::new(format!("query `{key}` has no value"))),
                (value, known) if !known.is_empty() && known != value => {
                    Err(Fault::new(format!("{key} conflicts: `{known}` and `{value}`")))
                }
                (value, _) => Ok(value.to_owned()),
            };
            match key {
                "ref" => self.reference = one(&self.reference)?,
                "tag" => self.reference = format!("refs/tags/{}", one("")?.trim_start_matches("refs/tags/")),
                "branch" => self.reference = format!("refs/heads/{}", one("")?.trim_start_matches("refs/heads/")),
                "subdir" => self.subdir = one(&self.subdir)?,
                "checksum" | "commit" => self.checksum = one("")?,
                "keep-git-dir" => self.keep_git_dir = Some(truth()?),
                "submodules" => self.submodules = Some(truth()?),
                "fetch-by-commit" => self.fetch_by_commit = truth()?,
                "mtime" if matches!(value, "checkout" | "commit") => value.clone_into(&mut self.mtime),
                _ => return Err(Fault::new(format!("unexpected query `{part}`"))),
            }
        }
        Ok(())
    }

    /// Returns it as a source (`client/llb/source.go Git`).
    pub(super) fn node(&self, name: &str) -> Node {
        let mut identifier = format!("git://{}{}", self.host, crate::pattern::clean(&format!("/{}", self.path)));
        if !self.reference.is_empty() || !self.subdir.is_empty() {
            identifier = format!("{identifier}#{}", self.reference);
        }
        if !self.subdir.is_empty() {
            identifier = format!("{identifier}:{}", self.subdir);
        }
        let mut metadata = metadata(name, &["source.git", "source.git.fullurl"]);
        let mut attrs = BTreeMap::from([
            (source::GIT_AUTH_HEADER.to_owned(), "GIT_AUTH_HEADER".to_owned()),
            (source::GIT_AUTH_TOKEN.to_owned(), "GIT_AUTH_TOKEN".to_owned()),
            (source::GIT_FULL_URL.to_owned(), self.remote.clone()),
        ]);
        let mut set = |wanted: bool, attr: &str, value: &str, cap: &str| {
            if wanted {
                attrs.insert(attr.to_owned(), value.to_owned());
                metadata.caps.insert(cap.to_owned(), true);
            }
        };
        set(self.keep_git_dir == Some(true), source::GIT_KEEP_DIR, "true", "source.git.keepgitdir");
        set(!self.checksum.is_empty(), source::GIT_CHECKSUM, &self.checksum, "source.git.checksum");
        set(self.submodules == Some(false), source::GIT_SKIP_SUBMODULES, "true", "source.git.skipsubmodules");
        set(!self.mtime.is_empty(), source::GIT_MTIME, &self.mtime, "source.git.mtime");
        set(self.fetch_by_commit, source::GIT_FETCH_BY_COMMIT, "true", "source.git.fetchbycommit");
        set(self.is_ssh, source::GIT_SSH_SOCKET, "default", "source.git.mountsshsock");
        Node { act: Act::Source(pb::SourceOp { identifier, attrs }), platform: None, metadata, lines: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files_and_other_addresses() {
        let read =
            |text: &str| GitRef::parse(text).expect("valid").map(|found| (found.remote, found.reference, found.subdir));
        let owned = |a: &str, b: &str, c: &str| Some((a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(read("git://h/r.git#main"), owned("git://h/r.git", "main", ""));
        assert_eq!(read("https://h/r.git#v1:a/../b"), owned("https://h/r.git", "v1", "b"));
        assert_eq!(read("git@h:o/r.git"), owned("git@h:o/r.git", "", ""));
        assert_eq!(read("https://h/r.git?branch=x&subdir=y"), owned("https://h/r.git", "refs/heads/x", "y"));
        for other in ["a.txt", "./git@h:x", "https://h/r.tar", "dir/sub", "ftp://h/r.git"] {
            assert_eq!(read(other), None, "{other}");
        }
        assert!(GitRef::parse("https://h/r.git?x=y").is_err());
    }
}
