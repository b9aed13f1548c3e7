//! The signing secrets of a webhook: shown to who asks for them, replaced, ended.

use actix_web::post;
use actix_web::web::{Data, Path};
use chrono::Utc;
use serde_json::Value;

use model::SecretId;
use store::endpoints::Endpoint;

use super::flash::ShownAs;
use super::form::{self, Form};
use super::view::{When, when};
use super::{Flash, PageResult, Signed, refused, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::path_id;
use crate::desk::secrets::{self, SecretRotation};
use crate::desk::signing_keys;
use crate::error::ApiError;
use crate::v1::endpoints::endpoint_id;

/// A secret, as the page of its webhook shows it.
pub(super) struct SecretText {
    pub id: String,
    /// Empty while it is not revealed.
    pub text: String,
    pub created: When,
    pub expires: Option<When>,
    /// What verifies the asymmetric signatures made beside its own; empty when there are none.
    pub public_key: String,
}

/// The secrets of an endpoint, and whether those that were asked for are revealed.
pub(super) async fn texts(
    signed: &Signed,
    shared: &Shared,
    endpoint: &Endpoint,
) -> Result<(Vec<SecretText>, bool), ApiError> {
    let (caller, id, now) = (&signed.caller, endpoint.id, Utc::now());
    let revealed = match signed.revealed(id) {
        [] => Vec::new(),
        ids => secrets::reveal_these(shared, caller, id, ids).await?,
    };
    let text_of = |id: SecretId| {
        revealed.iter().find(|revealed| revealed.id == id).map(|revealed| revealed.secret.reveal())
    };
    let mut texts = Vec::new();
    for kept in secrets::list(shared, caller, id).await? {
        let public_key = match &kept.key_sealed {
            Some(sealed) if endpoint.options.signs_v1a => {
                signing_keys::public(shared, caller.workspace_id, id, sealed)?.to_string()
            }
            _ => String::new(),
        };
        texts.push(SecretText {
            id: kept.id.to_string(),
            text: text_of(kept.id).unwrap_or_default(),
            created: when(kept.created_at, now),
            expires: kept.expires_at.map(|at| when(at, now)),
            public_key,
        });
    }
    Ok((texts, !revealed.is_empty()))
}

/// Looking at a secret is written down, so it is a form; the next page shows it, once.
#[post("/settings/webhooks/{id}/reveal")]
pub(super) async fn reveal(
    signed: Signed,
    _form: Form,
    id: Path<String>,
    shared: Data<Shared>,
) -> PageResult {
    signed.caller.require(Scope::SecretsRead)?;
    let id = endpoint_id(&id)?;
    let listed = secrets::list(&shared, &signed.caller, id).await?;
    let ids = listed.into_iter().map(|secret| secret.id).collect();
    let flash = signed.reveal("The secret is shown until you leave this page.", id, ids, ShownAs::Kept);
    Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{id}")), &flash))
}

#[post("/settings/webhooks/{id}/rotate")]
pub(super) async fn rotate(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&id)?;
    let seconds =
        form.text("overlap_seconds").map(|text| text.parse::<u32>().map_or(text.into(), Value::from));
    let object = seconds.map(|seconds| ("overlap_seconds".to_owned(), seconds));
    let (rotated, text) = match form::read::<SecretRotation>(object.into_iter().collect()) {
        Ok(how) => {
            let text = match how.is_at_once() {
                true => "A new secret signs from now on, and no other.",
                false => "A new secret signs from now on; beside the old one stands when it ends.",
            };
            (secrets::rotate(&shared, &signed.caller, id, how, None).await, text)
        }
        Err(error) => (Err(error), ""),
    };
    let flash = match rotated {
        Ok(rotated) => signed.reveal(text, id, vec![rotated.into_inner().id], ShownAs::Made),
        Err(error) => refused(error)?,
    };
    Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{id}")), &flash))
}

/// Ends a secret at once; the last one stays.
#[post("/settings/webhooks/{id}/secrets/{secret_id}/revoke")]
pub(super) async fn revoke(
    signed: Signed,
    _form: Form,
    path: Path<(String, String)>,
    shared: Data<Shared>,
) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&path.0)?;
    let flash = match secrets::revoke(&shared, &signed.caller, id, path_id(&path.1, "secret")?).await {
        Ok(()) => Flash::Done("That secret signs nothing any more.".to_owned()),
        Err(error) => refused(error)?,
    };
    Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{id}")), &flash))
}
