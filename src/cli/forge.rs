//! Forges as the environment of a CI job or the flags name them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::session::{Session, stop, variable};
use crate::forge::{Api, Dialect, ForgeError, Header, Server, Token};
use crate::http::{Proxies, Settings, Trust};
use crate::publish::PublishError;
use crate::recipe::{Channels, Matrix};
use crate::sandbox::Cancel;

/// The most bytes of a file with a token or a certificate.
const MOST: u64 = 1 << 20;

/// GitHub's own interface, which has a host of its own.
const GITHUB: &str = "https://api.github.com";

/// How to reach a forge.
#[derive(Debug, Args)]
pub(crate) struct ForgeArgs {
    /// Its address, such as `https://gitlab.example` [default: `GITHUB_API_URL` or `CI_API_V4_URL`, else
    /// `https://api.github.com` or `https://gitlab.com`; none for Gitea, but in its own jobs]
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// File with the token [default: the variables `GITHUB_TOKEN`, `GH_TOKEN`; `GITLAB_TOKEN`, `CI_JOB_TOKEN`;
    /// `GITEA_TOKEN`, `FORGEJO_TOKEN`]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// What GitLab's token is, where it is not what its variable says
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) token_kind: Option<TokenKind>,
    /// Certificates of authorities to believe besides those of the system, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

/// Kinds of GitLab's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenKind {
    /// A personal, project or group access token: `PRIVATE-TOKEN`
    Private,
    /// A CI job's: `JOB-TOKEN`
    Job,
    /// A deploy token: `DEPLOY-TOKEN`
    Deploy,
    /// An OAuth token: `Authorization: Bearer`
    Bearer,
}

impl TokenKind {
    const fn header(self) -> Header {
        match self {
            Self::Private => Header::Private,
            Self::Job => Header::Job,
            Self::Deploy => Header::Deploy,
            Self::Bearer => Header::Bearer,
        }
    }
}

impl ForgeArgs {
    /// Returns how we speak to a forge. Without a token nothing can be changed there, which is found out here.
    pub(super) fn api(&self, session: &Session<'_>, dialect: Dialect, cancel: &Cancel) -> Result<Api, Failure> {
        let (named, usual, path) = match dialect {
            Dialect::GitLab => (variable("CI_API_V4_URL"), Some("https://gitlab.com"), "/api/v4"),
            // Its jobs have GitHub's variables; elsewhere those are of another server.
            Dialect::Gitea => (variable("GITHUB_API_URL").filter(|_| is_gitea_job()), None, "/api/v1"),
            Dialect::GitHub | Dialect::Plain => (variable("GITHUB_API_URL"), Some(GITHUB), "/api/v3"),
        };
        let Some(address) = self.server.clone().or(named).or_else(|| usual.map(str::to_owned)) else {
            return Err(Failure::Usage { message: "which server? write --server https://gitea.example".to_owned() });
        };
        let is_complete = dialect == Dialect::GitHub && address.trim_end_matches('/') == GITHUB;
        let address = if is_complete { address } else { with_path(address, path) };
        let server = Server { address, dialect, trust: trust(self.ca.as_deref())? };
        let token = self.token(dialect)?;
        Ok(Api::new(&settings(session, cancel), &server, Some(token)).map_err(PublishError::from)?)
    }

    fn token(&self, dialect: Dialect) -> Result<Token, Failure> {
        let (known, usual): (&[(&str, Header)], Header) = match dialect {
            Dialect::GitLab => (&[("GITLAB_TOKEN", Header::Private), ("CI_JOB_TOKEN", Header::Job)], Header::Private),
            Dialect::Gitea => (&[("GITEA_TOKEN", Header::Bearer), ("FORGEJO_TOKEN", Header::Bearer)], Header::Bearer),
            _ => (&[("GITHUB_TOKEN", Header::Bearer), ("GH_TOKEN", Header::Bearer)], Header::Bearer),
        };
        let chosen = self.token_kind.filter(|_| dialect == Dialect::GitLab).map(TokenKind::header);
        let made = if let Some(path) = &self.token_file {
            Token::new(chosen.unwrap_or(usual), &read(path)?, &format!("`{}`", path.display()))
        } else {
            let found = known.iter().find_map(|(name, header)| Some((*name, variable(name)?, *header)));
            let Some((name, secret, header)) = found else {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                let message =
                    format!("no token: neither --token-file FILE nor {} in the environment", names.join(" or "));
                return Err(Failure::Usage { message });
            };
            Token::new(chosen.unwrap_or(header), &secret, name)
        };
        Ok(made.map_err(PublishError::from)?)
    }
}

/// Tells whether this is a job of Gitea's or Forgejo's Actions.
fn is_gitea_job() -> bool {
    ["GITEA_ACTIONS", "FORGEJO_ACTIONS"].iter().any(|name| variable(name).as_deref() == Some("true"))
}

/// Returns how requests behave.
pub(super) fn settings(session: &Session<'_>, cancel: &Cancel) -> Settings {
    Settings {
        proxies: Proxies::from_variables(variable),
        stop: stop(cancel),
        offline: session.global.offline,
        ..Settings::default()
    }
}

/// Returns whom to believe.
pub(super) fn trust(ca: Option<&Path>) -> Result<Trust, Failure> {
    let authorities = ca.map(read).transpose()?.map(String::into_bytes);
    Ok(Trust { authorities: authorities.into_iter().collect(), ..Trust::default() })
}

/// Reads a small file.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::Io { action: "read", path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(failed)?.take(MOST).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Adds the path of the interface to the address of a server that is given without one.
fn with_path(address: String, path: &str) -> String {
    let bare = address.trim_end_matches('/');
    let has_path = bare.split_once("//").is_some_and(|(_, rest)| rest.contains('/'));
    if has_path { address } else { format!("{bare}{path}") }
}

/// Returns this machine's time, seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "tags and checks of the clock are of now; no build output carries it")]
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Returns the channels of the project, or the usual ones where there is none.
pub(super) fn channels(session: &Session<'_>) -> Result<Channels, Failure> {
    let path = session.project_root()?.join("recipes/release.toml");
    if !path.is_file() {
        return Ok(Channels::default());
    }
    Ok(Matrix::parse(&read(&path)?, &path)?.channels)
}

/// Makes a failure of what is wrong with an address or a repository.
pub(super) fn address(text: &str, reason: &str) -> Failure {
    PublishError::from(ForgeError::Address { text: text.to_owned(), reason: reason.to_owned() }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_path_of_the_interface_unless_it_has_one() {
        for (address, full) in [
            ("https://gitlab.example", "https://gitlab.example/api/v4"),
            ("https://gitlab.example/", "https://gitlab.example/api/v4"),
            ("https://h.example/gitlab/api/v4", "https://h.example/gitlab/api/v4"),
        ] {
            assert_eq!(with_path(address.to_owned(), "/api/v4"), full);
        }
    }
}
