//! How an endpoint lets us in: what a request says of it, what fits together, and how it is shown.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use model::{EndpointId, EndpointUrl};
use store::endpoints::{Endpoint, EndpointOptions};
use webhook::CustomHeaders;
use webhook::auth::{AuthError, ClientAuth, ClientCertificate, ClientCredentials, ReceiverAuth};

use super::endpoint_url::check_url_at;
use super::now;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, Wrong, invalid, parsed, text, word, wrong};

/// Longest user name and client id, in characters.
const NAME_CHARS_MAX: usize = 255;
/// Longest password, client secret, scope and audience.
const TEXT_CHARS_MAX: usize = 1024;
/// Longest token: what `webhook` takes.
const TOKEN_CHARS_MAX: usize = webhook::auth::TOKEN_BYTES_MAX;
/// Longest PEM: a chain of certificates, or a key.
const PEM_BYTES_MAX: usize = 16 * 1024;
/// How long before a certificate expires its owner is told when it is saved.
const EXPIRES_SOON: TimeDelta = TimeDelta::days(30);

/// What stands for what is secret.
pub const MASK: &str = "***";

/// Whether a text is what stands for what is secret, here or in a header, and not the secret: somebody sends back what was shown.
pub fn is_mask(text: &str) -> bool {
    let text = text.trim();
    text.len() >= MASK.len() && text.bytes().all(|byte| byte == b'*')
}

/// What is wrong with it.
pub const MASKED: &str =
    "is what is shown in place of the value: give the value itself, or leave the whole out to keep it";

/// A text that is shown as [`MASK`].
fn secret<const MAX: usize>(value: &Value) -> Result<String, Wrong> {
    text::<MAX>(value).and_then(|text| if is_mask(&text) { Err(invalid(MASKED)) } else { Ok(text) })
}

/// Ways to be let in.
#[derive(Clone, Copy)]
enum Kind {
    Basic,
    Bearer,
    OAuth2,
    Mtls,
}

/// By the words of the API.
const KINDS: &[(&str, Kind)] =
    &[("basic", Kind::Basic), ("bearer", Kind::Bearer), ("oauth2", Kind::OAuth2), ("mtls", Kind::Mtls)];

/// How a token server is told who asks, by the words of the API.
const CLIENT_AUTHS: &[(&str, ClientAuth)] =
    &[(ClientAuth::Basic.as_str(), ClientAuth::Basic), (ClientAuth::Post.as_str(), ClientAuth::Post)];

impl FromFields for ReceiverAuth {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let auth = match fields.required("type", word(KINDS))? {
            Kind::Basic => {
                let username = fields.required("username", text::<NAME_CHARS_MAX>);
                let password = fields.required("password", secret::<TEXT_CHARS_MAX>);
                Self::Basic { username: username?, password: password? }
            }
            Kind::Bearer => Self::Bearer { token: fields.required("token", secret::<TOKEN_CHARS_MAX>)? },
            Kind::OAuth2 => Self::OAuth2(client_credentials(fields)?),
            Kind::Mtls => {
                let certificate_pem = fields.required("certificate_pem", pem);
                let private_key_pem = fields.required("private_key_pem", pem);
                let ca_pem = fields.optional("ca_pem", pem);
                Self::Mtls(ClientCertificate {
                    certificate_pem: certificate_pem?,
                    private_key_pem: private_key_pem?,
                    ca_pem,
                })
            }
        };
        if let Err(AuthError { field, rule }) = auth.check(now()) {
            fields.refuse(field, invalid(rule));
            return None;
        }
        Some(auth)
    }
}

/// PEM, which has lines.
fn pem(value: &Value) -> Result<String, Wrong> {
    let text = value.as_str().ok_or_else(|| wrong("wrong_type", "must be a string"))?;
    if text.len() > PEM_BYTES_MAX {
        return Err(wrong("too_long", format_args!("must be at most {PEM_BYTES_MAX} bytes long")));
    }
    Ok(text.to_owned())
}

fn client_credentials(fields: &mut Fields<'_>) -> Option<ClientCredentials> {
    let token_url = fields.required("token_url", parsed);
    let client_id = fields.required("client_id", text::<NAME_CHARS_MAX>);
    let client_secret = fields.required("client_secret", secret::<TEXT_CHARS_MAX>);
    Some(ClientCredentials {
        scope: fields.optional("scope", text::<TEXT_CHARS_MAX>),
        audience: fields.optional("audience", text::<TEXT_CHARS_MAX>),
        client_auth: fields.optional("client_auth", word(CLIENT_AUTHS)).unwrap_or_default(),
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
    })
}

/// Refuses a token server that `deliver` would never connect to; tells what its owner should know of it, or of a certificate. The one that the
/// endpoint has (`saved`) may stay where links are served by now.
///
/// # Errors
/// When its address is forbidden, or links are served there.
pub(super) async fn check(
    shared: &Shared,
    caller: &Caller,
    auth: &ReceiverAuth,
    saved: Option<&Endpoint>,
) -> Result<Vec<String>, ApiError> {
    match auth {
        ReceiverAuth::OAuth2(credentials) => {
            let url = &credentials.token_url;
            let saved = saved.and_then(|endpoint| token_url(shared, caller, endpoint));
            check_url_at(shared, caller, url, saved.as_ref(), "/auth/token_url", "the token URL").await
        }
        ReceiverAuth::Mtls(certificate) => {
            let ends_soon = certificate.expires_at().filter(|at| *at < now() + EXPIRES_SOON);
            let warning = |at: DateTime<Utc>| format!("the certificate expires on {}", at.date_naive());
            Ok(ends_soon.map(warning).into_iter().collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// Where an endpoint gets its tokens; `None` also when its access was sealed with a key that is gone.
fn token_url(shared: &Shared, caller: &Caller, endpoint: &Endpoint) -> Option<EndpointUrl> {
    match open(shared, caller, endpoint.id, &endpoint.options) {
        Ok(Some(ReceiverAuth::OAuth2(credentials))) => Some(credentials.token_url),
        _ => None,
    }
}

/// Refuses what does not fit together, as it is to be saved.
///
/// # Errors
/// When a certificate is to be shown over http, two things would set the same header, or the sealing key is gone.
pub(super) fn check_fit(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    options: &EndpointOptions,
) -> Result<(), ApiError> {
    let Some(auth) = open(shared, caller, id, options)? else { return Ok(()) };
    if matches!(auth, ReceiverAuth::Mtls(_)) && !options.url.is_https() {
        let detail = "a certificate can be shown over https only: give the endpoint such a URL";
        return Err(ApiError::field("/auth", "invalid", detail));
    }
    let Some(sealed) = options.headers_sealed.as_ref().filter(|_| auth.sets_authorization()) else {
        return Ok(());
    };
    let headers = CustomHeaders::open(&shared.keyring, caller.workspace_id, id, sealed)
        .map_err(|error| ApiError::Internal(anyhow::Error::new(error).context("failed to open headers")))?;
    if headers.iter().any(|(name, _)| name == "authorization") {
        let detail = "sets the header `authorization`, which `headers` sets too: leave one of them out";
        return Err(ApiError::field("/auth", "invalid", detail));
    }
    Ok(())
}

/// How an endpoint lets us in, opened.
///
/// # Errors
/// When it was sealed with a key that is gone.
pub fn open(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    options: &EndpointOptions,
) -> Result<Option<ReceiverAuth>, ApiError> {
    let Some(sealed) = &options.auth_sealed else { return Ok(None) };
    ReceiverAuth::open(&shared.keyring, caller.workspace_id, id, sealed)
        .map(Some)
        .map_err(|error| ApiError::Internal(anyhow::Error::new(error).context("failed to open the access")))
}

/// The same as it is shown to whoever sees the endpoint.
///
/// # Errors
/// When it was sealed with a key that is gone.
pub fn shown(shared: &Shared, caller: &Caller, endpoint: &Endpoint) -> Result<Option<Value>, ApiError> {
    Ok(open(shared, caller, endpoint.id, &endpoint.options)?.map(|auth| auth.shown(MASK)))
}

pub(super) fn seal(shared: &Shared, caller: &Caller, id: EndpointId, auth: &ReceiverAuth) -> Vec<u8> {
    auth.seal(&shared.keyring, caller.workspace_id, id)
}
