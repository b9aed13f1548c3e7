//! Batches: deliveries that went, or are to go, in one request.

use model::BatchId;
use store::batch_log::{self, LoggedBatch};
use store::delivery_log::LoggedAttempt;

use super::deliveries::veiled;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// A batch and its attempts.
///
/// # Errors
/// When the workspace has no such batch.
pub async fn find(
    shared: &Shared,
    caller: &Caller,
    id: BatchId,
) -> Result<(LoggedBatch, Vec<LoggedAttempt>), ApiError> {
    let mut conn = shared.pool.get().await?;
    let batch = batch_log::find(&mut conn, caller.workspace_id, id).await?;
    let batch = batch.ok_or(ApiError::NotFound("delivery batch"))?;
    let attempts = batch_log::attempts(&mut conn, caller.workspace_id, id).await?;
    Ok((batch, veiled(caller, attempts)))
}
