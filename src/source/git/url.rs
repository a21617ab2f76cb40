//! Addresses of repositories as LLB writes them (`util/gitutil`): `host/path#ref:subdir`, with or without a protocol.

use reqwest::Url;

use super::error::GitUrlError;
use crate::source::filename::decoded;

/// Protocols that are spoken.
const PROTOCOLS: [&str; 4] = ["http", "https", "ssh", "git"];

/// A repository at a reference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of LLB")]
pub struct GitSource {
    /// Its address, as `git` takes it.
    pub remote: String,
    /// Branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// The directory within, clean and relative; empty for all of it.
    pub subdir: String,
    /// How the commit's name must begin, in lower case.
    pub checksum: Option<String>,
    /// Whether the repository itself stays in the tree.
    pub keep_git_dir: bool,
    /// Whether submodules are left out.
    pub skip_submodules: bool,
    /// Whether all times are the commit's.
    pub mtime_of_commit: bool,
    /// Whether the server is asked for the commit instead of the reference.
    pub fetch_by_commit: bool,
    /// Name of the secret that is the `Authorization` header.
    pub auth_header_secret: Option<String>,
    /// Name of the secret that is an access token.
    pub auth_token_secret: Option<String>,
    /// Content of a `known_hosts` file.
    pub known_hosts: Option<String>,
    /// ID of the client's SSH agent.
    pub ssh_socket: Option<String>,
}

impl GitSource {
    /// Parses what stands after `git://` in an identifier.
    ///
    /// # Errors
    /// `Protocol`, `Characters`, `Reference`.
    pub fn parse(text: &str) -> Result<Self, GitUrlError> {
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let address = address.split('?').next().unwrap_or(address);
        // As part of a URL it is written with percent signs where need be; behind `user@host:` it is not.
        let decoded = if scp(address).is_some() { None } else { decoded(fragment) };
        let fragment = decoded.as_deref().unwrap_or(fragment);
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        check_reference(reference)?;
        let source = Self { reference: reference.to_owned(), subdir: clean(subdir), ..Self::default() };
        source.at(address)
    }

    /// Puts it at another address (`git.fullurl`); without a protocol it is https.
    ///
    /// # Errors
    /// `Protocol`, `Characters`.
    pub fn at(mut self, address: &str) -> Result<Self, GitUrlError> {
        self.remote = remote(address)?;
        Ok(self)
    }

    /// Tells whether it names a commit by itself.
    pub fn is_commit(&self) -> bool {
        is_commit(&self.reference)
    }

    /// Returns the address without user name and password.
    pub fn shown(&self) -> String {
        crate::http::without_credentials(&self.remote)
    }
}

/// Tells whether `text` is the whole name of an object.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn remote(address: &str) -> Result<String, GitUrlError> {
    if address.chars().any(|c| c.is_control() || c == ' ') {
        return Err(GitUrlError::Characters);
    }
    if let Some((user, rest)) = scp(address) {
        // git hands both to ssh as they are.
        return if user.starts_with('-') || rest.starts_with('-') {
            Err(GitUrlError::Characters)
        } else {
            Ok(address.to_owned())
        };
    }
    let protocol = address
        .split_once("://")
        .map(|(protocol, _)| protocol)
        .filter(|protocol| !protocol.is_empty() && protocol.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let address = match protocol.map(str::to_ascii_lowercase) {
        Some(protocol) if PROTOCOLS.contains(&protocol.as_str()) => address.to_owned(),
        // For tests and those who allow it; whether it is spoken is decided when it is.
        Some(protocol) if protocol == "file" => return Ok(address.to_owned()),
        Some(_) => return Err(GitUrlError::Protocol),
        None => format!("https://{address}"),
    };
    let url = Url::parse(&address).map_err(|_| GitUrlError::Protocol)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(GitUrlError::Protocol)?;
    if host.starts_with('-') || url.username().starts_with('-') || url.path().starts_with("/-") && url.scheme() == "ssh"
    {
        return Err(GitUrlError::Characters);
    }
    Ok(address)
}

/// Splits `user@host:path`.
fn scp(address: &str) -> Option<(&str, &str)> {
    let (user, rest) = address.split_once('@')?;
    let (host, _) = rest.split_once(':')?;
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    (plain(user, b"-_") && plain(host, b"-.")).then_some((user, rest))
}

/// Refuses what cannot be a reference (`git-check-ref-format(1)`) or could be taken for an option.
fn check_reference(reference: &str) -> Result<(), GitUrlError> {
    let odd = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let wrong = reference.starts_with(['-', '/'])
        || reference.ends_with(['/', '.'])
        || reference.contains("..")
        || reference.contains("//")
        || reference.contains("@{")
        || reference.split('/').any(|part| part.starts_with('.') || part.strip_suffix(".lock").is_some())
        || reference.chars().any(odd);
    if wrong { Err(GitUrlError::Reference { reference: reference.to_owned() }) } else { Ok(()) }
}

/// Cleans a path so that it stays within: `..` never leads above the top.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_buildkit_reads_them() {
        let read = |text: &str| {
            let source = GitSource::parse(text).expect(text);
            (source.remote, source.reference, source.subdir)
        };
        let owned = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(read("github.test/a/b.git"), owned("https://github.test/a/b.git", "", ""));
        assert_eq!(read("127.0.0.1/repo.git#v1:sub/x"), owned("https://127.0.0.1/repo.git", "v1", "sub/x"));
        assert_eq!(read("git@h.test:a/b#main"), owned("git@h.test:a/b", "main", ""));
        assert_eq!(read("ssh://git@h.test:22/a?x=y#:s"), owned("ssh://git@h.test:22/a", "", "s"));
        assert_eq!(read("h/r#a%2Fb:c%20d"), owned("https://h/r", "a/b", "c d"));
        assert_eq!(read("h/r#r:/../../a/./b"), owned("https://h/r", "r", "a/b"));
        let source = GitSource::parse("h/r#r").and_then(|source| source.at("git://h/r")).expect("an address");
        assert_eq!(source.remote, "git://h/r");
    }

    #[test]
    fn what_could_be_an_option_or_another_protocol_is_refused() {
        for text in [
            "ext::sh -c x",
            "ext://x",
            "h/r#--upload-pack=x",
            "-oProxyCommand=x@h:p",
            "git@-oProxyCommand=x:p",
            "ssh://-oProxyCommand=x/p",
            "ssh://-x@h/p",
            "h/r\n",
            "h/r#a..b",
            "h/r#a b",
            "h/r#@{-1}",
            "h/r#x^{tree}",
            "fd://17/x",
            "",
        ] {
            assert!(GitSource::parse(text).is_err(), "{text}");
        }
    }
}
