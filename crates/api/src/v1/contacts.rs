//! `/v1/contacts`: erasing them.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, post};
use serde::Serialize;
use utoipa::ToSchema;

use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::desk::contacts::{self, Erased};
use crate::error::{ApiError, Problem};

/// The erasure of a contact.
#[derive(Serialize, ToSchema)]
pub struct ErasureView {
    #[schema(example = "ers_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    /// `done`: everything was looked through and emptied. `running`: it goes on without you; ask again to see how far it is.
    state: &'static str,
    /// Since when the contact is erased: what comes of it later is obeyed as well.
    erased_at: String,
    /// When everything had been looked through.
    scrubbed_at: Option<String>,
    scrubbed: ScrubbedView,
    /// What stood on the streams before `erased_at` cannot be taken out of them; nothing of ours records or delivers it any
    /// more, and it is gone by then.
    streams: Vec<StreamView>,
}

/// What was emptied so far, over all times that it was asked for.
#[derive(Serialize, ToSchema)]
struct ScrubbedView {
    /// Links that name nobody any more; they lead where they led.
    links: u64,
    /// Clicks that are counted, and tell nobody any more.
    clicks: u64,
    /// Deliveries whose bytes and answers are gone.
    deliveries: u64,
    /// Those among them that waited for an attempt: they end as `dead` with `erased`, and nothing more is sent.
    deliveries_ended: u64,
    /// Notes of which click was the first.
    first_clicks: u64,
    /// Messages in quarantine that were removed.
    quarantined: u64,
}

/// A stream, and when it holds nothing of the contact any more.
#[derive(Serialize, ToSchema)]
struct StreamView {
    #[schema(example = "ENRICHED")]
    stream: &'static str,
    gone_by: String,
}

impl From<Erased> for ErasureView {
    fn from(Erased { erasure, gone }: Erased) -> Self {
        Self {
            id: erasure.id.to_string(),
            state: if erasure.scrubbed_at.is_some() { "done" } else { "running" },
            erased_at: time(erasure.erased_at),
            scrubbed_at: erasure.scrubbed_at.map(time),
            scrubbed: ScrubbedView {
                links: erasure.links,
                clicks: erasure.clicks,
                deliveries: erasure.deliveries,
                deliveries_ended: erasure.deliveries_ended,
                first_clicks: erasure.first_clicks,
                quarantined: erasure.quarantined,
            },
            streams: gone
                .into_iter()
                .map(|(stream, gone_by)| StreamView { stream: stream.as_str(), gone_by: time(gone_by) })
                .collect(),
        }
    }
}

/// Erase a contact
///
/// For good, and for all of the workspace. Links of the contact lose `contact_id`, `conversation_id`, `message_id`, `external_id`
/// and `metadata`, and still lead where they led. Clicks lose the same, and address, User-Agent, referrer, the queries of their
/// URLs, the place below the country and the model of the device. Deliveries lose their bodies and what was answered; those that wait are not sent.
/// What comes later of the contact, redelivered, replayed, out of the quarantine, or by a link that names it again, is recorded
/// without it and delivered to nobody. Asked again, everything is looked through again. What remains is a keyed hash of the id.
#[utoipa::path(tag = "clicks", params(("id" = String, Path, description = "The `contact_id`, percent-encoded")),
    security(("api_key" = ["clicks:erase"])),
    responses((status = 200, body = ErasureView, description = "Done"),
        (status = 202, body = ErasureView, description = "Still running"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/contacts/{id}/erase")]
pub async fn erase_contact(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksErase)?;
    let view = ErasureView::from(contacts::erase(&shared, &caller, &id).await?);
    let mut answer = if view.state == "done" { HttpResponse::Ok() } else { HttpResponse::Accepted() };
    Ok(answer.json(view))
}
