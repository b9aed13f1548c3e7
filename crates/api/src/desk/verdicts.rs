//! A person overrules what the rules have said of a click.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use utoipa::ToSchema;

use bus::Message as _;
use model::automation::{Automation, Verdict};
use model::{ClickId, EnrichedClick};
use store::{click_log, first_clicks};

use super::click_query::VERDICTS;
use super::clicks::decode;
use super::{Change, audit};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, text, word};

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 500;

/// So long after a click was judged `enrich` may amend it by what it sees of other clicks. Of two who amend at once one is not heard.
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
/// When the workspace has no such click, its evidence still comes in, it was amended a moment ago or as often as it may be, or
/// the broker is away.
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
    // one that came late is judged late
    let judged_at = click.click.clicked_at.max(click.enriched_at);
    let left = EVIDENCE_TIME - (now - judged_at);
    if left > TimeDelta::zero() {
        let seconds = left.num_seconds() + 1;
        return Err(too_soon(format!(
            "what other clicks show of this one still comes in: try again in {seconds} s"
        )));
    }
    let mut amended =
        click.amended(Automation::overruled(said.verdict), now).ok_or_else(|| ApiError::Conflict {
            code: "limit_reached",
            pointer: None,
            detail: "this click has been amended as often as a click may be".to_owned(),
        })?;
    // what is told is noted down before
    let details = json!({ "verdict": said.verdict, "note": said.note });
    let change = Change { caller, now, action: "click.verdict_overruled", subject: id.to_string(), details };
    audit(&mut conn, change).await?;
    if amended.is_first_click.is_none() {
        amended.is_first_click = first_clicks::claim_late(&mut conn, &amended).await?;
    }
    drop(conn);
    let published = shared.bus.publisher().publish_new(amended.outgoing()).await;
    let is_new = published.map_err(|error| ApiError::Away(format!("it could not be published: {error}")))?;
    if !is_new {
        return Err(too_soon("the click was amended a moment ago: look at it, and try again".to_owned()));
    }
    if said.verdict == Verdict::Automated {
        // a person's later click is the first then
        let mut conn = shared.pool.get().await?;
        first_clicks::release_click(&mut conn, amended.click.link.id, id).await?;
    }
    Ok(Some(amended))
}

fn too_soon(detail: String) -> ApiError {
    ApiError::Conflict { code: "too_soon", pointer: None, detail }
}
