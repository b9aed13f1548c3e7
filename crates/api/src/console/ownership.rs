//! What a webhook has shown of whether it wants what is sent to it, and the button that asks it.

use actix_web::post;
use actix_web::web::{Data, Path};
use chrono::Utc;

use store::endpoints::Endpoint;

use super::form::Form;
use super::view::when;
use super::{Flash, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::ownership;
use crate::error::ApiError;
use crate::v1::endpoints::endpoint_id;

/// What a page says of it.
pub(super) struct OwnershipText {
    /// It gets one request a second until it has shown it.
    pub is_limited: bool,
    /// In a sentence.
    pub sentence: String,
}

impl OwnershipText {
    pub(super) fn of(shared: &Shared, endpoint: &Endpoint) -> Self {
        let sentence = match endpoint.verified_at {
            Some(at) => format!("It gave its challenge back {}", when(at, Utc::now()).near),
            None => "It was not asked whether it wants what is sent, or has not said so".to_owned(),
        };
        Self { is_limited: endpoint.is_unproven(shared.ownership), sentence }
    }
}

#[post("/settings/webhooks/{id}/ownership")]
pub async fn verify(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&id)?;
    let flash = match ownership::verify(&shared, &signed.caller, id).await {
        Ok(challenged) => match challenged.failure {
            None => Flash::Done("It gave the challenge back: it gets as much as it bears.".to_owned()),
            Some(failure) => Flash::Failed(format!("{}.", super::capital(failure.detail()))),
        },
        Err(error @ (ApiError::Away(_) | ApiError::Busy(_))) => {
            Flash::Failed(format!("{}.", super::capital(&error.to_string())))
        }
        Err(error) => return Err(error.into()),
    };
    Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{id}")), &flash))
}
