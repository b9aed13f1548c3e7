//! `/.well-known/clickwire-webhook-keys?endpoint_id=…`: what verifies the asymmetric signatures of an endpoint, as a set of JSON
//! Web Keys (RFC 7517, RFC 8037).
//!
//! Public keys are no secret, so none is asked for, and any cache may keep them. An endpoint's id cannot be guessed, and who has it
//! learns its keys and nothing else: an endpoint that has none is answered like one that is not there.

use actix_web::http::header;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use model::EndpointId;

use crate::app::Shared;
use crate::body::Query;
use crate::desk::signing_keys::{self, Published};
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, parsed};

/// Where they are.
pub const PATH: &str = "/.well-known/clickwire-webhook-keys";

/// How long a cache may keep them: far shorter than a rotated key goes on signing beside its successor, where it does not end
/// at once.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The media type of a set of keys (RFC 7517 section 8.5.2).
const JWK_SET: &str = "application/jwk-set+json";

/// Adds the address.
pub fn configure(config: &mut ServiceConfig) {
    config.route(PATH, web::get().to(show));
}

struct Asked {
    endpoint_id: EndpointId,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { endpoint_id: fields.required("endpoint_id", parsed)? })
    }
}

#[derive(Serialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    /// The secret that it was made with, and ends with.
    kid: String,
    x: String,
    /// The same key as Standard Webhooks writes it.
    whpk: String,
}

impl From<Published> for Key {
    fn from(Published { id, key }: Published) -> Self {
        Self {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            usage: "sig",
            kid: id.to_string(),
            x: key.coordinate(),
            whpk: key.to_string(),
        }
    }
}

async fn show(query: Query, request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    // whoever asks is known by nothing but the address
    shared.limits.count_unknown(&request)?;
    let Asked { endpoint_id } = query.read()?;
    let published = signing_keys::publish(&shared, endpoint_id).await?;
    if published.is_empty() {
        return Err(ApiError::NotFound("set of keys"));
    }
    let keys = published.into_iter().map(Key::from).collect();
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, CACHE_CONTROL))
        .content_type(JWK_SET)
        .json(KeySet { keys }))
}
