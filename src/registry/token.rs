//! Tokens for somebody else who pulls or pushes for the user, so that the password stays here.

use reqwest::StatusCode;

use super::authorize::{ask, names_realm};
use super::credentials::Credential;
use super::error::RegistryError;
use super::repository::Registry;
use super::request::Line;
use crate::oci::{Digest, Reference, ReferenceError};

/// A token, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What a registry wants to see.
    pub token: String,
    /// How many seconds it is good for, where the realm says so.
    pub seconds: Option<u64>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Registry {
    /// Obtains a token of the registry `host` (`distribution-spec` token authentication), as the user if there are
    /// credentials.
    ///
    /// Who asks may be anybody, and a realm learns the password: so the registry itself is asked for its realm, and
    /// another one is refused.
    ///
    /// # Errors
    /// `Token`, `Reference`, `Hosts`, `Credentials`, `Offline` and those of a request.
    pub fn token(&self, host: &str, realm: &str, service: &str, scopes: &[String]) -> Result<Token, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let repository = scopes.iter().find_map(|scope| scope.strip_prefix("repository:")?.split(':').next());
        let repository = repository.unwrap_or("any/thing");
        let what = format!("{host}/{repository}");
        let wrong = |reason: &str| RegistryError::Token { what: what.clone(), reason: reason.to_owned() };
        let settings = &self.settings;
        if settings.offline {
            return Err(RegistryError::Offline { what });
        }
        let parsed = what.parse::<Reference>();
        let failed = |error: ReferenceError| RegistryError::Reference { text: what.clone(), reason: error.to_string() };
        let (_, addresses) = self.addresses(&parsed.map_err(failed)?)?;
        let address = addresses.last().ok_or_else(|| wrong("the registry has no address"))?;
        let headers = address.header_map().map_err(|reason| wrong(&reason))?;
        let line = Line::new(settings.clone(), &address.trust, headers)?;
        let credential = self.credential(host, repository)?;
        line.http.block_on(async {
            let front = line.send(&what, line.http.client().get(address.base.clone())).await?;
            let is_own = front.status() == StatusCode::UNAUTHORIZED && names_realm(front.headers(), realm);
            if !is_own {
                return Err(wrong(&format!("the registry does not send anybody to `{realm}` for tokens")));
            }
            let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
            let service = Some(service).filter(|service| !service.is_empty());
            let plain = address.base.scheme() == "http";
            let body = ask(&line, &what, (realm, service, &scopes), credential.as_ref(), plain).await?;
            let answer: Option<Answer> = serde_json::from_slice(&body).ok();
            let none = || wrong("the answer to the request for a token has none");
            let Answer { token, access_token, expires_in } = answer.ok_or_else(none)?;
            let token = token.or(access_token).filter(|token| !token.is_empty()).ok_or_else(none)?;
            Ok(Token { token, seconds: expires_in })
        })
    }

    /// Returns what only those know who have the credentials for the registry `host`; `None` where there are none.
    ///
    /// # Errors
    /// `Credentials`.
    pub fn authority(&self, host: &str) -> Result<Option<[u8; 32]>, RegistryError> {
        let credential = self.credential(host, "")?;
        Ok(credential.map(|credential| {
            let secret = match credential {
                Credential::Basic { user, password } => format!("basic {user}:{password}"),
                Credential::Identity { token } => format!("identity {token}"),
            };
            *Digest::of(format!("dockless authority {host} {secret}").as_bytes()).as_bytes()
        }))
    }

    fn credential(&self, host: &str, repository: &str) -> Result<Option<Credential>, RegistryError> {
        self.credentials.find(host, repository, &self.settings.stop)
    }
}
