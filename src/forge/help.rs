//! The way out of an error.

use super::error::ForgeError;
use crate::http::{is_certificate, is_not_tls, is_not_valid_yet, is_unknown_host};

impl ForgeError {
    /// Returns the way out, where one is known.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::Token { .. } => "give the token alone, in a file named by --token-file or in the variable",
            Self::Denied { origin: None, .. } => {
                "give a token: --token-file FILE, or GITHUB_TOKEN, GITLAB_TOKEN or CI_JOB_TOKEN in the environment"
            }
            Self::Denied { status, .. } if status.as_u16() == 401 => {
                "the token is wrong, was revoked or has expired: make a new one and run the same command again"
            }
            Self::Denied { .. } => {
                "the token may not do this: on GitHub it needs `contents: write` (issues: `issues: write`), on GitLab the \
                 scope `api` and the role Developer, for protected tags Maintainer"
            }
            Self::Status { status, .. } if status.as_u16() == 404 => {
                "look for a misspelt server, project or repository; forges also deny that private ones exist to a token \
                 that may not see them"
            }
            Self::Status { status, after: Some(_), .. } if matches!(status.as_u16(), 403 | 429) => {
                "too many requests were made with this token: wait, and run the same command again"
            }
            Self::Status { status, .. } if status.is_server_error() => {
                "the server has trouble: wait and run the same command again"
            }
            Self::Clock { .. } => {
                "set the clock (`timedatectl set-ntp true`, or `date -s`), and run the same command again"
            }
            Self::Request { source, .. } if is_not_valid_yet(source) => {
                "this machine's clock seems to be behind: the server's certificate is of a later time; set it \
                 (`timedatectl set-ntp true`) and run the same command again"
            }
            Self::Request { source, .. } if is_certificate(source) => {
                "install the package ca-certificates, or name the authority's certificate with --ca FILE"
            }
            Self::Request { source, .. } if is_not_tls(source) => {
                "the server does not encrypt: a token is only sent without encryption to this machine itself"
            }
            Self::Request { source, .. } if is_unknown_host(source) => {
                "look for a misspelt server: nothing has this name here; where only a proxy knows it, name that in \
                 HTTPS_PROXY"
            }
            Self::Request { .. } | Self::Stalled { .. } => {
                "mend the connection (proxies are taken from HTTPS_PROXY) and run the same command again"
            }
            Self::Answer { .. } => "look whether the address is that of the forge's REST interface",
            Self::Offline { .. } => "run the same command without --offline",
            Self::Stopped { .. } => "run the same command again: what is there is left alone",
            _ => return None,
        };
        Some(help.to_owned())
    }
}
