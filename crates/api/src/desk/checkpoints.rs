//! Checkpoints of an endpoint: with them a receiver proves that nothing is missing.

use serde_json::Value;
use utoipa::IntoParams;

use model::EndpointId;
use store::checkpoints::{self, Closed};
use store::endpoints;

use super::endpoints::not_found;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, Wrong, invalid};
use crate::page::PageRequest;

/// Which checkpoints are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct CheckpointQuery {
    /// Those that begin after this number: the `last_sequence` of the last one that you have. Default: 0.
    after: Option<u64>,
    /// The `next_cursor` of the page before; it goes before `after`.
    cursor: Option<String>,
    /// Entries of a page, 1 to 250. Default: 50.
    limit: Option<u32>,
}

/// What a query for checkpoints says.
pub struct Asked {
    after: u64,
    /// Which page.
    pub page: PageRequest<u64>,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let after = fields.optional("after", sequence).unwrap_or_default();
        Some(Self { after, page: PageRequest::from_fields(fields)? })
    }
}

fn sequence(value: &Value) -> Result<u64, Wrong> {
    let number = value.as_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| invalid("must be a whole number from 0"))
}

/// One page of an endpoint's checkpoints and one row more, first to last.
///
/// # Errors
/// When the workspace has no such endpoint.
pub async fn list(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    asked: &Asked,
) -> Result<Vec<Closed>, ApiError> {
    let mut conn = shared.pool.get().await?;
    endpoints::find(&mut conn, caller.workspace_id, id).await?.ok_or_else(not_found)?;
    let after = asked.page.before.unwrap_or(asked.after);
    Ok(checkpoints::list(&mut conn, caller.workspace_id, id, after, asked.page.rows()).await?)
}

/// The last checkpoints of one of the workspace's endpoints, newest first; at most `limit`.
///
/// # Errors
/// When the database is away.
pub async fn newest(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    limit: i64,
) -> Result<Vec<Closed>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(checkpoints::newest(&mut conn, caller.workspace_id, id, limit).await?)
}
