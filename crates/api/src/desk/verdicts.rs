//! A person overrules what the rules have said of a click.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use utoipa::ToSchema;

use bus::Message as _;
use model::automation::{Automation, Verdict};
use model::{ClickId, EnrichedClick};
use store::{AsyncConnection as _, click_log};

use super::clicks::{VERDICTS, decode};
use super::{Change, audit};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, text, word};

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 500;

/// So long after a click `enrich` may amend it by what it sees of other clicks. Two who amend at once would take one revision.
const EVIDENCE_TIME: TimeDelta = TimeDelta::seconds(60);

/// What a person says of a click.
#[derive(Debug, ToSchema)]
pub struct Overruling {
    /// `human`, `automated` or `unknown`.
    #[schema(value_type = String, example = "human")]
    pub verdict: Verdict,
    /// Why, for the audit log; at most 500 bytes.
    #[schema(example = "Our own colleague, on the office network")]
    pub note: Option<String>,
}

impl FromFields for Overruling {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let verdict = fields.required("verdict", word(VERDICTS));
        let note = fields.optional("note", text::<NOTE_BYTES_MAX>);
        Some(Self { verdict: verdict?, note })
    }
}

/// Tells everybody that a click is what a person says: subscribers of ENRICHED, and with them reports and webhooks. `None` when a
/// person has said so before.
///
/// # Errors
/// When the workspace has no such click, its evidence still comes in, it has been amended as often as it may be, or the
/// broker is away.
pub async fn overrule(
    shared: &Shared,
    caller: &Caller,
    id: ClickId,
    said: &Overruling,
) -> Result<Option<EnrichedClick>, ApiError> {
    let now = Utc::now();
    let mut conn = shared.pool.get().await?;
    let recorded = click_log::find(&mut conn, caller.workspace_id, id).await?;
    let click = decode(recorded.ok_or(ApiError::NotFound("click"))?)?.click;
    if click.automation.is_overruled() && click.automation.verdict == said.verdict {
        return Ok(None);
    }
    let left = EVIDENCE_TIME - (now - click.click.clicked_at);
    if left > TimeDelta::zero() {
        return Err(ApiError::Conflict {
            code: "too_soon",
            pointer: None,
            detail: format!(
                "what other clicks show of this one still comes in: try again in {} s",
                left.num_seconds() + 1
            ),
        });
    }
    let amended =
        click.amended(Automation::overruled(said.verdict), now).ok_or_else(|| ApiError::Conflict {
            code: "limit_reached",
            pointer: None,
            detail: "this click has been amended as often as a click may be".to_owned(),
        })?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        let details = json!({ "verdict": said.verdict, "note": said.note });
        let change =
            Change { caller, now, action: "click.verdict_overruled", subject: id.to_string(), details };
        audit(conn, change).await?;
        // last, so that what is told is also noted down
        let published = shared.bus.publisher().publish(amended.outgoing()).await;
        published.map_err(|error| ApiError::Away(format!("it could not be published: {error}")))
    })
    .await?;
    Ok(Some(amended))
}
