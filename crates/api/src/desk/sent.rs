//! What was sent: the bytes of a delivery, and the headers of an attempt.

use serde_json::Value;

use bus::{DecodeError, Message as _};
use model::event_type::{self, LINK_CLICKED};
use model::{EnrichedClick, EventId};
use store::deliveries;
use store::delivery_log::{self, LoggedDelivery};
use webhook::{Shape, Site};

use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// The bytes that a delivery carries, as `deliver` sends them; `None` when its click is kept no more. Those of a success at
/// first try are rendered again, in the shape that its endpoint has now.
///
/// # Errors
/// When the database is away, or holds an event that cannot be read.
pub async fn body(
    shared: &Shared,
    caller: &Caller,
    delivery: &LoggedDelivery,
) -> Result<Option<Vec<u8>>, ApiError> {
    let mut conn = shared.pool.get().await?;
    if let Some(kept) = delivery_log::body(&mut conn, caller.workspace_id, delivery.id).await? {
        return Ok(Some(numbered(delivery, kept)));
    }
    let Some(click_id) = delivery.click_id else { return Ok(None) };
    let Some(event) = deliveries::recorded_event(&mut conn, click_id).await? else { return Ok(None) };
    let stored = store::endpoints::payload(&mut conn, caller.workspace_id, delivery.endpoint_id).await?;
    let shape = Shape::stored(stored.as_ref()).unwrap_or_default();
    let site = Site::new(&shared.settings.public_url);
    let body = rendered(&delivery.event_type, delivery.event_id, &event, &shape, &site).map_err(|error| {
        ApiError::Internal(anyhow::Error::new(error).context(format!("failed to read click {click_id}")))
    })?;
    Ok(body.map(|body| numbered(delivery, body)))
}

/// The bytes of a delivery that are not kept, from the recorded event of its click, in the shape that its endpoint has now;
/// `None` when it had no such revision.
///
/// # Errors
/// When the event cannot be read.
pub(super) fn rendered(
    event_type: &str,
    event_id: EventId,
    recorded: &[u8],
    shape: &Shape,
    site: &Site,
) -> Result<Option<Vec<u8>>, DecodeError> {
    let click = EnrichedClick::decode(recorded)?;
    let event_type = event_type::known(event_type).unwrap_or(LINK_CLICKED);
    Ok(shape.again(event_type, &click, event_id.revision(), site))
}

/// As it is sent where the endpoint counts what it is owed: with its number.
fn numbered(delivery: &LoggedDelivery, body: Vec<u8>) -> Vec<u8> {
    match delivery.sequence {
        Some(sequence) => webhook::numbering::numbered(body, sequence),
        None => body,
    }
}

/// Headers that are kept as pairs of name and value.
pub fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match headers {
        Value::Array(pairs) => {
            pairs.iter().filter_map(|pair| Some((text(pair.get(0)?), text(pair.get(1)?)))).collect()
        }
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        _ => Vec::new(),
    }
}
