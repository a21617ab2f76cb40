//! Tokens of registries (BuildKit `session/auth`): a daemon that pulls or pushes for the user asks us for a token, and
//! we ask the registry. Passwords never leave the machine: `Credentials`, by which a daemon could have them, is answered
//! with none.
//!
//! Before a daemon lets a solve use a token that it got through another one, it has us prove that we may have it:
//! `GetTokenAuthority` gives a public key that follows from the user's credentials and the daemon's salt, and
//! `VerifyTokenAuthority` signs with it (`NaCl` `sign`: 64 bytes of signature before the message).

use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::files::blocking;
use super::offer::Offer;
use super::service::unary;
use crate::buildkit::message::{
    Empty, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest, GetTokenAuthorityResponse,
    VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use crate::grpc::{Call, Code, Status};
use crate::registry::Registry;

/// What a registry says nothing of is good for (`distribution-spec` token authentication).
const EXPIRES: i64 = 60;

/// Answers questions of authority.
#[derive(Debug)]
pub(super) struct Tokens {
    registry: Registry,
}

impl Tokens {
    pub(super) fn new(offer: &Offer) -> Self {
        Self { registry: offer.registry.clone() }
    }

    pub(super) async fn handle(&self, method: &str, call: Call) {
        match method {
            "FetchToken" => {
                unary(call, async |request: FetchTokenRequest| {
                    let registry = self.registry.clone();
                    let token = blocking(move || {
                        let FetchTokenRequest { host, realm, service, scopes } = request;
                        let token = registry.token(&host, &realm, &service, &scopes);
                        token.map_err(|error| Status::new(Code::Unauthenticated, error.to_string()))
                    });
                    let token = token.await?;
                    let expires_in = token.seconds.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(EXPIRES);
                    Ok(FetchTokenResponse { token: token.token, expires_in, issued_at: 0 })
                })
                .await;
            }
            "GetTokenAuthority" => {
                unary(call, async |request: GetTokenAuthorityRequest| {
                    let key = self.key(&request.host, &request.salt).await?;
                    Ok(GetTokenAuthorityResponse { public_key: key.public_key().as_ref().to_vec() })
                })
                .await;
            }
            "VerifyTokenAuthority" => {
                unary(call, async |request: VerifyTokenAuthorityRequest| {
                    let key = self.key(&request.host, &request.salt).await?;
                    let mut signed = key.sign(&request.payload).as_ref().to_vec();
                    signed.extend_from_slice(&request.payload);
                    Ok(VerifyTokenAuthorityResponse { signed })
                })
                .await;
            }
            // An empty `CredentialsResponse`: nobody we would tell of.
            "Credentials" => unary(call, async |_: Empty| Ok(Empty {})).await,
            _ => call.refuse(&Status::new(Code::Unimplemented, method)),
        }
    }

    /// Derives the key for a registry. Whoever has no credentials has the same key as everybody without.
    async fn key(&self, host: &str, salt: &[u8]) -> Result<Ed25519KeyPair, Status> {
        let (registry, host) = (self.registry.clone(), host.to_owned());
        let seed = blocking(move || {
            registry.authority(&host).map_err(|error| Status::new(Code::Unavailable, error.to_string()))
        })
        .await?;
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
        if let Some(seed) = seed {
            mac.update(&seed);
        }
        let wrong = |_| Status::new(Code::Internal, "a key could not be derived");
        Ed25519KeyPair::from_seed_unchecked(mac.sign().as_ref()).map_err(wrong)
    }
}
