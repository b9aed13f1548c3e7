//! Webhook endpoints, as people set them; with them what `deliver` has learned. Matching is asked in `subscriptions`.

mod options;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use model::ownership::OwnershipCheck;
use model::{EndpointId, WorkspaceId};

use crate::endpoint_row::{HealthRow, Row, read, values};
use crate::schema::{endpoint_state, endpoints};
use crate::{Connection, QueryResult, secrets};

pub use options::{DeliveryMode, EndpointOptions, Kind};

/// A webhook endpoint of a workspace.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// What people set.
    pub options: EndpointOptions,
    /// Whether it gets anything.
    pub state: State,
    /// Why it is in that state.
    pub state_reason: Option<String>,
    /// When it came into that state; `None`: not known.
    pub state_since: Option<DateTime<Utc>>,
    /// No older click is owed.
    pub owed_from: DateTime<Utc>,
    /// Counts the changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
    /// What `deliver` has learned; `None` before the first attempt.
    pub health: Option<Health>,
    /// When it showed that it wants what is sent to it.
    pub verified_at: Option<DateTime<Utc>>,
}

impl Endpoint {
    /// Whether it gets one request a second, because it has not shown that it wants more.
    pub fn is_unproven(&self, check: OwnershipCheck) -> bool {
        check == OwnershipCheck::Required && self.verified_at.is_none()
    }
}

/// Whether an endpoint gets anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It gets what it is owed.
    Active,
    /// What it is owed waits.
    Paused,
    /// It is owed nothing.
    Disabled,
}

impl State {
    /// The word in the API and in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }

    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "active" => Self::Active,
            "paused" => Self::Paused,
            _ => Self::Disabled,
        }
    }
}

/// What `deliver` has learned of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The subscriber asked for a pause until then.
    pub paused_until: Option<DateTime<Utc>>,
    /// First failed attempt since the last success.
    pub first_failure_at: Option<DateTime<Utc>>,
    /// Last failed attempt.
    pub last_failure_at: Option<DateTime<Utc>>,
    /// Last success.
    pub last_success_at: Option<DateTime<Utc>>,
    /// Deliveries that the subscriber accepted.
    pub delivered: i64,
    /// Failed attempts since the last success.
    pub failed: i64,
}

/// Makes an endpoint. It is owed every click from `now` on.
pub async fn insert(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: EndpointId,
    options: &EndpointOptions,
    state: State,
    state_reason: Option<&str>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    diesel::insert_into(endpoints::table)
        .values((
            endpoints::id.eq(id.uuid()),
            endpoints::workspace_id.eq(workspace_id.uuid()),
            endpoints::state.eq(state.as_str()),
            endpoints::state_reason.eq(state_reason),
            endpoints::state_since.eq(now),
            endpoints::owed_from.eq(now),
            endpoints::created_at.eq(now),
            values(options, now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// How many webhooks a workspace has.
pub async fn count(conn: &mut Connection, workspace_id: WorkspaceId) -> QueryResult<i64> {
    endpoints::table
        .filter(endpoints::workspace_id.eq(workspace_id.uuid()).and(endpoints::deleted_at.is_null()))
        .filter(endpoints::kind.eq(Kind::Webhook.as_str()))
        .count()
        .get_result(conn)
        .await
}

/// The workspace's endpoint with this id.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: EndpointId,
) -> QueryResult<Option<Endpoint>> {
    let row: Option<(Row, Option<HealthRow>)> = endpoints::table
        .left_join(endpoint_state::table)
        .filter(endpoints::id.eq(id.uuid()).and(endpoints::workspace_id.eq(workspace_id.uuid())))
        .filter(endpoints::deleted_at.is_null())
        .select((Row::as_select(), Option::<HealthRow>::as_select()))
        .first(conn)
        .await
        .optional()?;
    row.map(read).transpose()
}

/// The alert URL of the workspace, if it has one.
pub async fn find_alert(conn: &mut Connection, workspace_id: WorkspaceId) -> QueryResult<Option<Endpoint>> {
    let row: Option<(Row, Option<HealthRow>)> = endpoints::table
        .left_join(endpoint_state::table)
        .filter(endpoints::workspace_id.eq(workspace_id.uuid()).and(endpoints::deleted_at.is_null()))
        .filter(endpoints::kind.eq("alert"))
        .select((Row::as_select(), Option::<HealthRow>::as_select()))
        .first(conn)
        .await
        .optional()?;
    row.map(read).transpose()
}

/// The shape of the bodies of an endpoint, as it is stored; also of one that was removed.
pub async fn payload(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: EndpointId,
) -> QueryResult<Option<Value>> {
    let found: Option<Option<Value>> = endpoints::table
        .filter(endpoints::id.eq(id.uuid()).and(endpoints::workspace_id.eq(workspace_id.uuid())))
        .select(endpoints::payload)
        .first(conn)
        .await
        .optional()?;
    Ok(found.flatten())
}

/// Locks the workspace's endpoint until the transaction ends; `false` when there is none.
pub async fn lock(conn: &mut Connection, workspace_id: WorkspaceId, id: EndpointId) -> QueryResult<bool> {
    let found: Option<Uuid> = endpoints::table
        .filter(endpoints::id.eq(id.uuid()).and(endpoints::workspace_id.eq(workspace_id.uuid())))
        .filter(endpoints::deleted_at.is_null())
        .select(endpoints::id)
        .for_update()
        .first(conn)
        .await
        .optional()?;
    Ok(found.is_some())
}

/// The newest webhooks, or those older than `before`; at most `limit`.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    before: Option<EndpointId>,
    limit: i64,
) -> QueryResult<Vec<Endpoint>> {
    let mut query = endpoints::table
        .left_join(endpoint_state::table)
        .filter(endpoints::workspace_id.eq(workspace_id.uuid()).and(endpoints::deleted_at.is_null()))
        .filter(endpoints::kind.eq(Kind::Webhook.as_str()))
        .order(endpoints::id.desc())
        .limit(limit)
        .select((Row::as_select(), Option::<HealthRow>::as_select()))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(endpoints::id.lt(before.uuid()));
    }
    let rows: Vec<(Row, Option<HealthRow>)> = query.load(conn).await?;
    rows.into_iter().map(read).collect()
}

/// Saves the options of an endpoint and counts the change. What it has shown and asked for, and how it failed, holds for the server
/// that it was at.
pub async fn update(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: EndpointId,
    options: &EndpointOptions,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    crate::ownership::forget_if_moved(conn, workspace_id, id, &options.url).await?;
    diesel::update(own(workspace_id, id))
        .set((values(options, now), endpoints::revision.eq(endpoints::revision + 1)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Changes the state of an endpoint. One that was disabled is owed only what is clicked from `now` on; one that is
/// to get something again begins without failures, or it would be disabled at once for those it had.
pub async fn set_state(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: EndpointId,
    state: State,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    if state == State::Active {
        crate::endpoint_life::forget_failures(conn, workspace_id, id).await?;
    }
    if state != State::Disabled {
        diesel::update(own(workspace_id, id).filter(endpoints::state.eq(State::Disabled.as_str())))
            .set(endpoints::owed_from.eq(now))
            .execute(conn)
            .await?;
    }
    diesel::update(own(workspace_id, id))
        .set((
            endpoints::state.eq(state.as_str()),
            endpoints::state_reason.eq(reason),
            endpoints::state_since.eq(now),
            endpoints::updated_at.eq(now),
            endpoints::revision.eq(endpoints::revision + 1),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Removes an endpoint: it gets nothing more, its deliveries stay readable. `false` when there is none. Belongs into a transaction.
///
/// Nothing secret of it is kept: who sends, signs or compares looks for endpoints that are there, and what waits for this one is ended
/// unsent. Its row stays for the deliveries that name it.
pub async fn delete(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: EndpointId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let changed = diesel::update(own(workspace_id, id))
        .set((
            endpoints::deleted_at.eq(now),
            endpoints::updated_at.eq(now),
            endpoints::revision.eq(endpoints::revision + 1),
            endpoints::headers_sealed.eq(None::<Vec<u8>>),
            endpoints::auth_sealed.eq(None::<Vec<u8>>),
        ))
        .execute(conn)
        .await?;
    if changed > 0 {
        secrets::delete_all(conn, workspace_id, id).await?;
    }
    Ok(changed > 0)
}

#[diesel::dsl::auto_type]
fn own(workspace_id: WorkspaceId, id: EndpointId) -> _ {
    let workspace: Uuid = workspace_id.uuid();
    let endpoint: Uuid = id.uuid();
    endpoints::table
        .filter(endpoints::id.eq(endpoint))
        .filter(endpoints::workspace_id.eq(workspace))
        .filter(endpoints::deleted_at.is_null())
}
