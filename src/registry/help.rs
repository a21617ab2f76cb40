//! The way out of an error.

use reqwest::StatusCode;

use super::error::RegistryError;
use crate::http::{is_certificate, is_not_tls, is_unknown_host};

impl RegistryError {
    /// Returns the way out, where one is known.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::Denied { sent: Some(_), .. } => {
                "log in anew with `skopeo login`, `podman login` or `docker login`, as a user who may do this; the name \
                 may also be misspelt: registries deny what is not there"
            }
            Self::Denied { sent: None, .. } | Self::Token { .. } => {
                "log in with `skopeo login`, `podman login` or `docker login`, or name the file that has credentials \
                 with --registry-config; the name may also be misspelt: registries deny what is not there"
            }
            Self::Status { status, code, said, .. } => return answered(*status, code, said).map(str::to_owned),
            Self::Request { source, .. } if is_certificate(source) => {
                "install the package ca-certificates, or put the authority's certificate where it is looked for: \
                 `~/.config/dockless/certs.d/HOST/ca.crt`, with the port in HOST where there is one"
            }
            Self::Request { source, .. } if is_not_tls(source) => {
                "the server does not encrypt: if that is how it should be, allow it with --insecure-registry HOST"
            }
            Self::Request { source, .. } if is_unknown_host(source) => {
                "look for a misspelt registry: nothing has this name here; where only a proxy knows it, name that in \
                 HTTPS_PROXY"
            }
            Self::Request { source, .. } if source.is_connect() => {
                "look for a misspelt registry or port, or start the registry: no connection comes about; where only a proxy \
                 leads to it, name that in HTTPS_PROXY"
            }
            Self::Request { .. } | Self::Cut { .. } | Self::Stalled { .. } => {
                "mend the connection (proxies are taken from HTTPS_PROXY) and run the same command again"
            }
            Self::Digest { .. } | Self::Size { .. } => {
                "run the same command again; if it is the same then, what is there is damaged, or something on the way \
                 changes it: ask another registry with --registry-mirror, or have the image written anew"
            }
            Self::Offline { .. } => "run the same command once without --offline",
            Self::Stopped { .. } => "run the same command again",
            Self::Platform { .. } => "ask for a platform that it has, or for another image",
            _ => return None,
        };
        Some(help.to_owned())
    }
}

/// What to do about an answer.
fn answered(status: StatusCode, code: &str, said: &str) -> Option<&'static str> {
    Some(match (status.as_u16(), code) {
        (404, "NAME_UNKNOWN") => "look for a misspelt repository: the registry has none of this name",
        (404, "MANIFEST_UNKNOWN") => {
            "look for a misspelt tag or digest: the repository has none of this name (`skopeo list-tags docker://NAME` \
             shows what it has)"
        }
        (404 | 410, _) => "look for a misspelt name or tag",
        (405, _) => "push to another registry: this one takes nothing, it is read-only or a mirror",
        (429, _) => "wait, log in (registries allow more to those they know), or name a mirror with --registry-mirror",
        // Go's words, and thereby those of most registries.
        (400, _) if said.contains("HTTP request to an HTTPS server") => {
            "the server encrypts: put its authority's certificate into `~/.config/dockless/certs.d/HOST/ca.crt`, or believe \
             anybody with --insecure-registry HOST"
        }
        (500.., _) => {
            "the registry has trouble: wait and run the same command again, or name a mirror with --registry-mirror"
        }
        _ => return None,
    })
}
