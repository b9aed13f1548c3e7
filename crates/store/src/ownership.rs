//! Which endpoints have shown that they want what is sent to them. Another server under an endpoint's URL has shown nothing.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use model::{EndpointId, EndpointUrl, WorkspaceId};

use crate::schema::endpoints;
use crate::{Connection, QueryResult, endpoint_state};

/// Notes that an endpoint gave its challenge back.
pub async fn verified(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: EndpointId,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    set(conn, workspace_id, id, Some(now)).await
}

/// Forgets what an endpoint has shown and asked for, and how it failed, if it is to be at another server than the one it is at now.
///
/// Belongs before the change, into its transaction.
pub(crate) async fn forget_if_moved(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: EndpointId,
    url: &EndpointUrl,
) -> QueryResult<()> {
    let before: Option<String> = endpoints::table
        .filter(endpoints::id.eq(id.uuid()).and(endpoints::workspace_id.eq(workspace_id.uuid())))
        .select(endpoints::url)
        .first(conn)
        .await
        .optional()?;
    let Some(before) = before else { return Ok(()) };
    let stays = before.parse().is_ok_and(|before: EndpointUrl| before.stays_at_server(url));
    if stays {
        return Ok(());
    }
    set(conn, workspace_id, id, None).await?;
    endpoint_state::forget_server(conn, workspace_id, id).await
}

async fn set(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: EndpointId,
    verified_at: Option<DateTime<Utc>>,
) -> QueryResult<()> {
    let own = endpoints::table
        .filter(endpoints::id.eq(id.uuid()))
        .filter(endpoints::workspace_id.eq(workspace_id.uuid()))
        .filter(endpoints::deleted_at.is_null());
    diesel::update(own).set(endpoints::verified_at.eq(verified_at)).execute(conn).await?;
    Ok(())
}
