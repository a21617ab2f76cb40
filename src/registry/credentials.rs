//! Who we are to a registry: docker's `config.json`, as its caller read it.
//!
//! Programs that keep credentials elsewhere (`credHelpers`, `credsStore`) are not asked.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::error::RegistryError;

/// Under this name docker keeps what belongs to its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The most bytes of a configuration.
const MOST: u64 = 1 << 20;

/// Credentials by registry; none by default.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, Credential>);

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

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
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
    /// Reads `<directory>/config.json`, `directory` being what `DOCKER_CONFIG` or `~/.docker` says; none where there is
    /// no such file.
    ///
    /// # Errors
    /// `Io`, `Credentials`.
    pub fn read(directory: &Path) -> Result<Self, RegistryError> {
        let path = directory.join("config.json");
        let bytes = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > MOST => {
                return Err(RegistryError::Credentials { path, reason: format!("more than {MOST} bytes") });
            }
            Ok(_) => std::fs::read(&path).map_err(RegistryError::io("read", &path))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(RegistryError::io("read", &path)(error)),
        };
        Self::parse(&bytes, &path)
    }

    /// Reads a configuration; `path` is for errors.
    ///
    /// # Errors
    /// `Credentials`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, RegistryError> {
        let wrong = |reason: String| RegistryError::Credentials { path: path.to_owned(), reason };
        // The position only: the text around it may be a password.
        let config: Config = serde_json::from_slice(bytes)
            .map_err(|error| wrong(format!("line {} column {} is not as it must be", error.line(), error.column())))?;
        let mut known = BTreeMap::new();
        for (registry, entry) in config.auths {
            let name = host(&registry);
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
        Ok(Self(known))
    }

    pub(super) fn of(&self, registry: &str) -> Option<&Credential> {
        self.0.get(&host(registry))
    }
}

/// The host of a key, which may be an address of old.
fn host(registry: &str) -> String {
    if registry == DOCKER_HUB || matches!(registry, "docker.io" | "registry-1.docker.io") {
        return "index.docker.io".to_owned();
    }
    let rest = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest).to_owned()
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
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

    #[test]
    fn credentials_are_found_under_every_name_of_a_registry_and_never_shown() {
        let text = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"https://r.test:5000/v2/":
            {"username":"a","password":"b"},"kept.elsewhere":{}},"credsStore":"pass","HttpHeaders":{}}"#;
        let known = Credentials::parse(text, Path::new("config.json")).expect("a configuration");
        let basic = |registry| match known.of(registry) {
            Some(Credential::Basic { user, password }) => format!("{user}:{password}"),
            other => format!("{other:?}"),
        };
        assert_eq!(basic("docker.io"), "u:p");
        assert_eq!(basic("index.docker.io"), "u:p");
        assert_eq!(basic("r.test:5000"), "a:b");
        assert_eq!(basic("kept.elsewhere"), "None");
        assert!(!format!("{known:?}").contains("u:p"));
        let error =
            Credentials::parse(br#"{"auths":{"r":{"auth":"!!secret"}}}"#, Path::new("c")).expect_err("no base64");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
