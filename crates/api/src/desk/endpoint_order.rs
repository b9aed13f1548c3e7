//! The order in which an endpoint gets what it is owed: what a request says of it, and what holds it up.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use model::ordering::{OnFailure, SKIP_AFTER_MAX};
use model::{EndpointId, Ordering};
use store::endpoints::{Endpoint, EndpointOptions};
use store::lines::{self, HoldUp};

use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{self, Fields, FromFields, Wrong, invalid, number, word, wrong};

/// Most deliveries of one endpoint that are told of as holding it up.
const HOLD_UPS_MAX: i64 = 10;

/// Orders with a name.
const MODES: &[(&str, Ordering)] = &[
    ("none", Ordering::None),
    ("per_link", Ordering::PerLink),
    ("strict", Ordering::Strict(OnFailure::Stop)),
];

/// An order: by its name, or with what becomes of it when a delivery fails.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the field for the OpenAPI document")]
pub enum WantedOrdering {
    /// `none`, `per_link` or `strict`.
    Mode(String),
    /// The same with more to say.
    Object {
        /// `none`, `per_link` or `strict`.
        mode: String,
        /// With `strict`: after so many attempts, 1 to 100, a delivery is given up and the next one goes. Without it nothing more
        /// is sent until the delivery is accepted, or somebody gives it up.
        skip_after: Option<u32>,
    },
}

/// What a request says of the order: a name, or an object.
pub fn ordering(value: &Value) -> Result<Ordering, Wrong> {
    match value {
        Value::String(_) => word(MODES)(value),
        Value::Object(_) => fields::nested::<Read>(value).map(|read| read.0),
        _ => Err(wrong("wrong_type", "must be `none`, `per_link`, `strict`, or an object with `mode`")),
    }
}

struct Read(Ordering);

impl FromFields for Read {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let mode = fields.required("mode", word(MODES));
        let skip_after = fields.optional("skip_after", number::<1, SKIP_AFTER_MAX>);
        match (mode?, skip_after) {
            (Ordering::Strict(_), Some(attempts)) => {
                Some(Self(Ordering::Strict(OnFailure::SkipAfter(attempts))))
            }
            (_, Some(_)) => {
                let rule =
                    "goes with the mode `strict` alone: what is given up elsewhere is passed over anyhow";
                fields.refuse("skip_after", invalid(rule));
                None
            }
            (mode, None) => Some(Self(mode)),
        }
    }
}

/// Refuses options that exclude each other.
pub fn check(options: &EndpointOptions) -> Result<(), ApiError> {
    let rule = if options.settle_ms > 0 {
        "does not go with clicks that wait for evidence (settle_ms): one that is taken back would leave a gap"
    } else if options.batch.is_some() {
        "does not go with several events in one request (batch): each has a number and a turn of its own"
    } else if options.is_pulled() {
        "does not go with events that are fetched (delivery): they come in one order anyway, and none is passed over"
    } else {
        return Ok(());
    };
    if options.ordering.is_kept() {
        return Err(ApiError::field("/ordering", "invalid", rule));
    }
    if options.checkpoint_minutes.is_some() {
        return Err(ApiError::field("/checkpoint_minutes", "invalid", rule));
    }
    Ok(())
}

/// What holds up these endpoints; nothing is asked where none is sent to in order.
///
/// # Errors
/// When the database is away.
pub async fn hold_ups(
    shared: &Shared,
    caller: &Caller,
    endpoints: &[Endpoint],
) -> Result<HashMap<EndpointId, Vec<HoldUp>>, ApiError> {
    let in_order = endpoints.iter().filter(|endpoint| endpoint.options.ordering.is_kept());
    let ids: Vec<EndpointId> = in_order.map(|endpoint| endpoint.id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut conn = shared.pool.get().await?;
    let mut found: HashMap<EndpointId, Vec<HoldUp>> = HashMap::new();
    for hold_up in lines::hold_ups(&mut conn, caller.workspace_id, &ids, HOLD_UPS_MAX).await? {
        found.entry(hold_up.endpoint_id).or_default().push(hold_up);
    }
    Ok(found)
}
