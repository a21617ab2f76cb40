//! From a challenge to an `Authorization` header (`distribution-spec` token authentication; RFC 6750, RFC 7617).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::credentials::Credential;
use super::error::RegistryError;
use super::request::Line;

/// The most bytes of an answer with a token.
const MOST: u64 = 1 << 20;

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// Obtains the header that answers the challenge in `headers`; `None` where nothing that we have does.
///
/// `plain` tells whether the registry itself is spoken to without encryption; only then may the realm be.
pub(super) async fn authorize(
    line: &Line,
    what: &str,
    headers: &HeaderMap,
    credential: Option<&Credential>,
    plain: bool,
) -> Result<Option<HeaderValue>, RegistryError> {
    let wrong = |reason: String| RegistryError::Token { what: what.to_owned(), reason };
    let bearer = challenges(headers).into_iter().max_by_key(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    let (realm, service, scope) = match bearer {
        None => return Ok(None),
        Some(Challenge::Basic) => return Ok(credential.and_then(basic)),
        Some(Challenge::Bearer { realm, service, scope }) => (realm, service, scope),
    };
    // One parameter may hold several scopes, but each of them is one parameter of the request.
    let scopes: Vec<&str> = scope.as_deref().unwrap_or_default().split(' ').collect();
    let body = ask(line, what, (&realm, service.as_deref(), &scopes), credential, plain).await?;
    bearer_header(&body).map(Some).ok_or_else(|| wrong("the answer to the request for a token has none".to_owned()))
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| challenge(value.to_str().ok()?)).collect()
}

/// Tells whether a registry's challenges name `realm` as the place that gives tokens.
pub(super) fn names_realm(headers: &HeaderMap, realm: &str) -> bool {
    challenges(headers)
        .iter()
        .any(|challenge| matches!(challenge, Challenge::Bearer { realm: own, .. } if own == realm))
}

/// Asks a realm for a token and returns what it says.
pub(super) async fn ask(
    line: &Line,
    what: &str,
    (realm, service, scopes): (&str, Option<&str>, &[&str]),
    credential: Option<&Credential>,
    plain: bool,
) -> Result<Vec<u8>, RegistryError> {
    let wrong = |reason: String| RegistryError::Token { what: what.to_owned(), reason };
    let mut url = Url::parse(realm).map_err(|_| wrong(format!("`{realm}` is no place to ask for a token")))?;
    if url.scheme() != "https" && !(plain && url.scheme() == "http") {
        return Err(wrong(format!("tokens of `{realm}` would travel without encryption")));
    }
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    pairs.extend(service.map(|service| ("service", service)));
    pairs.extend(scopes.iter().filter(|scope| !scope.is_empty()).map(|scope| ("scope", *scope)));
    let client = line.http.client();
    let request = if let Some(Credential::Identity { token }) = credential {
        pairs.extend([("grant_type", "refresh_token"), ("client_id", "dockless"), ("refresh_token", token)]);
        let mut form = Url::parse("http://form.invalid/").expect("a URL");
        form.query_pairs_mut().extend_pairs(&pairs);
        client
            .post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned())
    } else {
        url.query_pairs_mut().extend_pairs(&pairs);
        let request = client.get(url);
        match credential.and_then(basic) {
            Some(header) => request.header(AUTHORIZATION, header),
            None => request,
        }
    };
    let asked = format!("the token for {what}");
    let response = line.judge(&asked, line.send(&asked, request).await?).await?;
    line.body(&asked, response, MOST).await
}

fn bearer_header(body: &[u8]) -> Option<HeaderValue> {
    #[derive(serde::Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty())?;
    secret(&format!("Bearer {token}"))
}

fn basic(credential: &Credential) -> Option<HeaderValue> {
    match credential {
        Credential::Basic { user, password } => {
            secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        }
        Credential::Identity { .. } => None,
    }
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Parses one challenge (RFC 9110 section 11.3): a scheme and parameters, quoted or not.
fn challenge(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = parameters(rest);
    Some(Challenge::Bearer {
        realm: parameters.remove("realm")?,
        service: parameters.remove("service"),
        scope: parameters.remove("scope"),
    })
}

fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let mut value = String::new();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut escaped = false;
            let mut end = quoted.len();
            for (at, c) in quoted.char_indices() {
                match c {
                    '"' if !escaped => {
                        end = at + 1;
                        break;
                    }
                    '\\' if !escaped => escaped = true,
                    c => {
                        escaped = false;
                        value.push(c);
                    }
                }
            }
            rest = &quoted[end..];
        } else {
            let (bare, after) = after.split_once(',').unwrap_or((after, ""));
            bare.trim().clone_into(&mut value);
            rest = after;
        }
        found.entry(name).or_insert(value);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let text = r#"Bearer realm="https://auth.test/token",service="r.test",scope="repository:a/b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.test/token".to_owned(),
            service: Some("r.test".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(challenge(text), Some(expected));
        assert_eq!(challenge("Basic realm=\"x\""), Some(Challenge::Basic));
        for text in ["", "Bearer", "Bearer service=\"x\"", "Digest realm=\"x\"", "Bearer =\"\\", "Bearer a=\"é"] {
            assert_eq!(challenge(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_that_cannot_stand_in_a_header_is_no_token() {
        assert!(bearer_header(br#"{"token":"a\r\nHost: b"}"#).is_none());
        assert!(bearer_header(br#"{"token":""}"#).is_none());
        assert!(bearer_header(br#"{"access_token":"abc"}"#).is_some());
    }
}
