//! Who we are to a forge.

use std::fmt;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::error::ForgeError;

/// The header that a token goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// `Authorization: Bearer`: GitHub's tokens, OAuth of GitLab.
    Bearer,
    /// `PRIVATE-TOKEN`: personal, project and group access tokens of GitLab.
    Private,
    /// `JOB-TOKEN`: what a CI job of GitLab has.
    Job,
    /// `DEPLOY-TOKEN`: GitLab's for packages.
    Deploy,
}

/// A token and where it comes from. Shown, it is its origin only.
#[derive(Clone)]
pub struct Token {
    header: Header,
    secret: String,
    value: HeaderValue,
    origin: String,
}

impl Token {
    /// Takes a token; white space around it, which files end with, is none of it. `origin` is said instead of it:
    /// `GITHUB_TOKEN`, the name of a file.
    ///
    /// # Errors
    /// `Token` where it is empty or cannot go into a header.
    pub fn new(header: Header, secret: &str, origin: &str) -> Result<Self, ForgeError> {
        let secret = secret.trim();
        let wrong = |reason: &str| ForgeError::Token { origin: origin.to_owned(), reason: reason.to_owned() };
        if secret.is_empty() {
            return Err(wrong("it is empty"));
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("it holds white space or other characters that no token has"));
        }
        let text = if header == Header::Bearer { format!("Bearer {secret}") } else { secret.to_owned() };
        let mut value = HeaderValue::from_str(&text).map_err(|_| wrong("it cannot be sent"))?;
        value.set_sensitive(true);
        Ok(Self { header, secret: secret.to_owned(), value, origin: origin.to_owned() })
    }

    /// Returns where it comes from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns which header it goes into.
    pub const fn header(&self) -> Header {
        self.header
    }

    pub(super) fn pair(&self) -> (HeaderName, HeaderValue) {
        let name = match self.header {
            Header::Bearer => AUTHORIZATION,
            Header::Private => HeaderName::from_static("private-token"),
            Header::Job => HeaderName::from_static("job-token"),
            Header::Deploy => HeaderName::from_static("deploy-token"),
        };
        (name, self.value.clone())
    }

    /// Takes the token out of a text that somebody else wrote.
    pub(super) fn redact(&self, text: &str) -> String {
        text.replace(&self.secret, "***")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?} from {})", self.header, self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new(Header::Bearer, " s3cret-value\n", "GITHUB_TOKEN").expect("a token");
        assert_eq!(token.pair().1.to_str().expect("text"), "Bearer s3cret-value");
        assert!(!format!("{token:?} {:?}", token.pair()).contains("s3cret"));
        assert_eq!(token.redact("bad token s3cret-value"), "bad token ***");
        for secret in ["", " \n", "a b", "a\nb", "ä"] {
            let error = Token::new(Header::Job, secret, "CI_JOB_TOKEN").expect_err("no token");
            assert!(error.to_string().contains("CI_JOB_TOKEN"), "{error}");
        }
    }
}
