//! Who we are to a registry: what the user has logged in to with docker's, podman's or skopeo's clients.
//!
//! ```text
//! config.json, auth.json   auths: name or password by registry or `registry/namespace`; credHelpers, credsStore:
//!                          programs `docker-credential-<name>` that keep them elsewhere
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::error::RegistryError;
use super::program::ask;
use crate::http::Stop;

/// Under this name docker keeps what belongs to its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The most bytes of a configuration.
const MOST: u64 = 1 << 20;

/// Credentials by registry, from files in order of preference; none by default.
#[derive(Clone, Default)]
pub struct Credentials {
    files: Vec<File>,
    /// Files that were not there, for the error of who has none.
    missing: Vec<PathBuf>,
    /// What programs answered, by program and registry: some of them ask the user.
    answers: Arc<Mutex<Answers>>,
}

type Answers = BTreeMap<(String, String), Option<Credential>>;

#[derive(Clone)]
struct File {
    path: PathBuf,
    known: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    helper: Option<String>,
}

#[derive(Clone)]
pub(super) enum Credential {
    Basic {
        user: String,
        password: String,
    },
    /// A refresh token (RFC 6749 section 6).
    Identity {
        token: String,
    },
}

impl Credential {
    /// Returns whose it is, for people.
    pub(super) fn user(&self) -> &str {
        match self {
            Self::Basic { user, .. } => user,
            Self::Identity { .. } => "an identity token",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
}

impl Credentials {
    /// Reads files like docker's `config.json` and podman's `auth.json`; those that are not there have nothing.
    ///
    /// # Errors
    /// `Io`, `Credentials`.
    pub fn read(paths: &[PathBuf]) -> Result<Self, RegistryError> {
        let mut all = Self::default();
        for path in paths {
            let bytes = match std::fs::metadata(path) {
                Ok(metadata) if metadata.len() > MOST => {
                    let reason = format!("more than {MOST} bytes");
                    return Err(RegistryError::Credentials { path: path.clone(), reason });
                }
                Ok(_) => std::fs::read(path).map_err(RegistryError::io("read", path))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    all.missing.push(path.clone());
                    continue;
                }
                Err(error) => return Err(RegistryError::io("read", path)(error)),
            };
            all.files.push(File::parse(&bytes, path)?);
        }
        Ok(all)
    }

    /// Reads one configuration; `path` is for errors.
    ///
    /// # Errors
    /// `Credentials`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, RegistryError> {
        Ok(Self { files: vec![File::parse(bytes, path)?], ..Self::default() })
    }

    /// Finds what to say to a registry about a repository of it; programs are asked only here.
    ///
    /// # Errors
    /// `Credentials` where a program fails.
    pub(super) fn find(
        &self,
        registry: &str,
        repository: &str,
        stop: &Stop,
    ) -> Result<Option<Credential>, RegistryError> {
        let registry = host(registry);
        for file in &self.files {
            if let Some(program) = file.helpers.get(&registry).or(file.helper.as_ref()) {
                let key = (program.clone(), registry.clone());
                let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
                let answer = if let Some(answer) = known {
                    answer
                } else {
                    let server = if registry == "index.docker.io" { DOCKER_HUB } else { &registry };
                    let answer = ask(program, server, &file.path, stop)?;
                    self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(key, answer.clone());
                    answer
                };
                if answer.is_some() {
                    return Ok(answer);
                }
            }
            // As containers-auth.json(5): the longest part of the name that is known.
            let whole = format!("{registry}/{repository}");
            let mut name: &str = &whole;
            loop {
                if let Some(known) = file.known.get(name) {
                    return Ok(Some(known.clone()));
                }
                let Some((shorter, _)) = name.rsplit_once('/') else { break };
                name = shorter;
            }
        }
        Ok(None)
    }

    /// Says where was looked.
    pub(super) fn places(&self) -> String {
        let paths = self.files.iter().map(|file| &file.path).chain(&self.missing);
        let paths: Vec<String> = paths.map(|path| format!("`{}`", path.display())).collect();
        if paths.is_empty() { "no file".to_owned() } else { paths.join(", ") }
    }
}

impl File {
    fn parse(bytes: &[u8], path: &Path) -> Result<Self, RegistryError> {
        let wrong = |reason: String| RegistryError::Credentials { path: path.to_owned(), reason };
        // The position only: the text around it may be a password.
        let config: Config = serde_json::from_slice(bytes)
            .map_err(|error| wrong(format!("line {} column {} is not as it must be", error.line(), error.column())))?;
        let mut known = BTreeMap::new();
        for (registry, entry) in config.auths {
            let name = key(&registry);
            let credential = if !entry.identitytoken.is_empty() {
                Some(Credential::Identity { token: entry.identitytoken })
            } else if !entry.auth.is_empty() {
                let text = entry.auth.trim();
                let decoded = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok();
                let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
                let (user, password) = pair.ok_or_else(|| wrong(format!("`auth` of `{registry}` is not base64")))?;
                let password = password.trim_end_matches('\0');
                Some(Credential::Basic { user: user.to_owned(), password: password.to_owned() })
            } else if entry.username.is_empty() {
                // Whoever keeps it elsewhere leaves an empty entry here.
                None
            } else {
                Some(Credential::Basic { user: entry.username, password: entry.password })
            };
            if let Some(credential) = credential {
                known.insert(name, credential);
            }
        }
        let helpers = config.cred_helpers.into_iter().map(|(registry, name)| (host(&registry), name));
        let helper = Some(config.creds_store).filter(|name| !name.is_empty());
        Ok(Self { path: path.to_owned(), known, helpers: helpers.collect(), helper })
    }
}

/// The host of a name, which may be an address of old.
fn host(registry: &str) -> String {
    let key = key(registry);
    key.split('/').next().unwrap_or(&key).to_owned()
}

/// A key of `auths`: a host, perhaps with a namespace; addresses of old lose their scheme and their version.
fn key(registry: &str) -> String {
    if registry == DOCKER_HUB {
        return "index.docker.io".to_owned();
    }
    let rest = match registry.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
        None => registry.trim_end_matches('/'),
    };
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = if matches!(host, "docker.io" | "registry-1.docker.io") { "index.docker.io" } else { host };
    match path {
        None | Some("v1" | "v2") => host.to_owned(),
        Some(path) => format!("{host}/{path}"),
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.files.iter().flat_map(|file| file.known.keys())).finish()
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, registry: &str, repository: &str) -> Option<String> {
        let credentials = Credentials::parse(config.as_bytes(), Path::new("config.json")).expect("a configuration");
        let found = credentials.find(registry, repository, &Stop::default()).expect("no program");
        found.map(|found| match found {
            Credential::Basic { user, password } => format!("{user}:{password}"),
            Credential::Identity { token } => format!("<{token}>"),
        })
    }

    #[test]
    fn credentials_are_found_as_other_clients_find_them() {
        let config = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"dTpw"},
            "r.test":{"auth":"cjpw"}, "r.test/a/b":{"auth":"YWI6cA"}, "https://old.test/v2/":{"auth":"bzpw"},
            "token.test":{"auth":"dTpw","identitytoken":"t"}, "empty.test":{}, "plain.test":{"username":"n","password":"w"}
        },"HttpHeaders":{},"psFormat":"x"}"#;
        for (registry, repository, expected) in [
            ("index.docker.io", "library/debian", Some("u:p")),
            ("docker.io", "x", Some("u:p")),
            ("r.test", "c", Some("r:p")),
            ("r.test", "a/b", Some("ab:p")),
            ("r.test", "a/b/c", Some("ab:p")),
            ("r.test", "a/bc", Some("r:p")),
            ("old.test", "x", Some("o:p")),
            ("token.test", "x", Some("<t>")),
            ("empty.test", "x", None),
            ("plain.test", "x", Some("n:w")),
            ("r.test.evil", "a/b", None),
        ] {
            assert_eq!(found(config, registry, repository).as_deref(), expected, "{registry}/{repository}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_without_a_secret() {
        for text in ["", "7", r#"{"auths":{"r":{"auth":"hunter2!"}}}"#, r#"{"auths":{"r":{"auth":["hunter2!"]}}}"#] {
            let error = Credentials::parse(text.as_bytes(), Path::new("config.json")).expect_err(text).to_string();
            assert!(!error.contains("hunter2") && error.contains("config.json"), "{error}");
        }
        assert!(!format!("{:?}", Credential::Identity { token: "hunter2".to_owned() }).contains("hunter2"));
    }
}
