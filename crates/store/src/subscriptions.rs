//! Who is subscribed to what, as the service that matches events needs it: all workspaces at once.
//!
//! Every change of endpoints and their secrets counts `endpoint_changes` up in its own transaction. Whoever
//! has read the counter before the endpoints knows that what was loaded is at least as new as that number.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use model::event_type::EventTypePattern;
use model::{Batching, EndpointId, EndpointUrl, Ordering, WorkspaceId};

use crate::endpoint_row::read_ordering;
use crate::endpoints::{DeliveryMode, Kind, State};
use crate::parse::{parsed, parsed_json};
use crate::schema::{endpoint_changes, endpoint_secrets, endpoints};
use crate::{Connection, QueryResult};

/// An endpoint with all that it takes to send to it, still sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// Its id.
    pub endpoint_id: EndpointId,
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// What it is for.
    pub kind: Kind,
    /// Where events are posted.
    pub url: EndpointUrl,
    /// Which event types it wants.
    pub event_types: Vec<EventTypePattern>,
    /// Which events of those types, as `webhook::filter` reads it.
    pub filter: Option<Value>,
    /// Custom headers, sealed.
    pub headers_sealed: Option<Vec<u8>>,
    /// Whether it gets anything.
    pub state: State,
    /// Most requests at the same time.
    pub max_in_flight: Option<u32>,
    /// Most requests a second.
    pub rate_per_second: Option<u32>,
    /// How many of them may go at once after a quiet time.
    pub rate_burst: Option<u32>,
    /// How long after a click evidence is waited for before it is told of; 0: it is told at once.
    pub settle_ms: u32,
    /// Longest wait for a whole answer.
    pub timeout_ms: Option<u32>,
    /// Seconds before the second, third … attempt.
    pub retry_schedule: Option<Vec<i32>>,
    /// Statuses that end a delivery at once.
    pub permanent_statuses: Vec<u16>,
    /// No older event is owed.
    pub owed_from: DateTime<Utc>,
    /// When it was last changed, in whatever: of what happened before it is not known whether it was wanted then.
    pub changed_at: DateTime<Utc>,
    /// Live signing secrets, sealed, newest first.
    pub secrets_sealed: Vec<Vec<u8>>,
    /// The shape of its bodies, as `webhook::shape` reads it.
    pub payload: Option<Value>,
    /// Several events go in one request; `None`: each goes alone.
    pub batch: Option<Batching>,
    /// How it gets its events.
    pub delivery: DeliveryMode,
    /// When it showed that it wants what is sent to it.
    pub verified_at: Option<DateTime<Utc>>,
    /// In which order it gets what it is owed.
    pub ordering: Ordering,
    /// How often a checkpoint of what it was owed is made, if it asks for them.
    pub checkpoint_minutes: Option<u32>,
    /// Live keys of asymmetric signatures, sealed, newest first; none when the endpoint does not want such signatures.
    pub keys_sealed: Vec<Vec<u8>>,
    /// How it lets us in, sealed.
    pub auth_sealed: Option<Vec<u8>>,
}

/// What [`load`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscriptions {
    /// The counter of changes; what was loaded is at least as new.
    pub version: i64,
    /// When the first of the secrets that were loaded ends; until then nothing is other than it was without a change.
    pub valid_until: Option<DateTime<Utc>>,
    /// Endpoints that are active or paused. Disabled ones are owed nothing.
    pub subscriptions: Vec<Subscription>,
    /// Endpoints that could not be read, and why.
    pub unreadable: Vec<(EndpointId, String)>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = endpoints)]
struct Row {
    id: Uuid,
    workspace_id: Uuid,
    url: String,
    event_types: Vec<String>,
    filter: Option<Value>,
    headers_sealed: Option<Vec<u8>>,
    state: String,
    max_in_flight: Option<i32>,
    rate_per_second: Option<i32>,
    rate_burst: Option<i32>,
    settle_ms: i32,
    timeout_ms: Option<i32>,
    retry_schedule: Option<Vec<i32>>,
    permanent_statuses: Vec<i16>,
    alert_format: Option<String>,
    owed_from: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    payload: Option<Value>,
    batch: Option<Value>,
    delivery: String,
    verified_at: Option<DateTime<Utc>>,
    ordering: Option<Value>,
    checkpoint_minutes: Option<i32>,
    signs_v1a: bool,
    auth_sealed: Option<Vec<u8>>,
}

/// A live secret: of which endpoint, itself, when it ends, and the key that goes with it.
type SecretRow = (Uuid, Vec<u8>, Option<DateTime<Utc>>, Option<Vec<u8>>);

/// Everyone who is owed events, at most `limit` endpoints.
pub async fn load(conn: &mut Connection, now: DateTime<Utc>, limit: i64) -> QueryResult<Subscriptions> {
    // before the endpoints, see above
    let version = version(conn).await?;
    let rows: Vec<Row> = endpoints::table
        .filter(endpoints::deleted_at.is_null().and(endpoints::state.ne(State::Disabled.as_str())))
        .order(endpoints::id)
        .limit(limit)
        .select(Row::as_select())
        .load(conn)
        .await?;
    let secrets: Vec<SecretRow> = endpoint_secrets::table
        .inner_join(endpoints::table)
        .filter(endpoints::deleted_at.is_null().and(endpoints::state.ne(State::Disabled.as_str())))
        .filter(endpoint_secrets::revoked_at.is_null())
        .filter(
            endpoint_secrets::expires_at.is_null().or(endpoint_secrets::expires_at.assume_not_null().gt(now)),
        )
        .order((endpoint_secrets::endpoint_id, endpoint_secrets::id.desc()))
        .select((
            endpoint_secrets::endpoint_id,
            endpoint_secrets::sealed,
            endpoint_secrets::expires_at,
            endpoint_secrets::key_sealed,
        ))
        .load(conn)
        .await?;
    let valid_until = secrets.iter().filter_map(|(_, _, expires_at, _)| *expires_at).min();
    let mut found = Subscriptions { version, valid_until, subscriptions: Vec::new(), unreadable: Vec::new() };
    for row in rows {
        let id = row.id;
        // both are sorted by endpoint
        let first = secrets.partition_point(|(endpoint, ..)| *endpoint < id);
        let own = secrets[first..].iter().take_while(|(endpoint, ..)| *endpoint == id);
        let sealed = own.map(|(_, sealed, _, key)| (sealed.clone(), key.clone())).collect();
        match read(row, sealed) {
            Ok(subscription) => found.subscriptions.push(subscription),
            Err(error) => found.unreadable.push((EndpointId::from_uuid(id), error.to_string())),
        }
    }
    Ok(found)
}

/// One endpoint of a workspace, whatever its state.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    now: DateTime<Utc>,
) -> QueryResult<Option<Subscription>> {
    let row: Option<Row> = endpoints::table
        .filter(endpoints::id.eq(endpoint_id.uuid()).and(endpoints::workspace_id.eq(workspace_id.uuid())))
        .filter(endpoints::deleted_at.is_null())
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    let Some(row) = row else { return Ok(None) };
    let secrets = crate::secrets::list_live(conn, workspace_id, endpoint_id, now).await?;
    read(row, secrets.into_iter().map(|secret| (secret.sealed, secret.key_sealed)).collect()).map(Some)
}

/// The counter of changes.
pub async fn version(conn: &mut Connection) -> QueryResult<i64> {
    endpoint_changes::table.select(endpoint_changes::version).first(conn).await
}

fn read(row: Row, sealed: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> QueryResult<Subscription> {
    let (secrets_sealed, keys): (Vec<_>, Vec<_>) = sealed.into_iter().unzip();
    // the columns' checks keep them positive
    let natural = |number: i32| u32::try_from(number).unwrap_or_default();
    Ok(Subscription {
        endpoint_id: EndpointId::from_uuid(row.id),
        workspace_id: WorkspaceId::from_uuid(row.workspace_id),
        kind: Kind::read(row.alert_format.as_deref())?,
        url: parsed(&row.url)?,
        event_types: row.event_types.iter().map(|text| parsed(text)).collect::<QueryResult<_>>()?,
        filter: row.filter,
        headers_sealed: row.headers_sealed,
        state: State::from_word(&row.state),
        max_in_flight: row.max_in_flight.map(natural),
        rate_per_second: row.rate_per_second.map(natural),
        rate_burst: row.rate_burst.map(natural),
        settle_ms: natural(row.settle_ms),
        timeout_ms: row.timeout_ms.map(natural),
        retry_schedule: row.retry_schedule,
        permanent_statuses: row
            .permanent_statuses
            .into_iter()
            .filter_map(|s| u16::try_from(s).ok())
            .collect(),
        owed_from: row.owed_from,
        changed_at: row.updated_at,
        secrets_sealed,
        payload: row.payload,
        batch: row.batch.map(parsed_json).transpose()?,
        delivery: DeliveryMode::from_word(&row.delivery),
        verified_at: row.verified_at,
        ordering: read_ordering(row.ordering)?,
        checkpoint_minutes: row.checkpoint_minutes.map(natural),
        keys_sealed: keys.into_iter().flatten().filter(|_| row.signs_v1a).collect(),
        auth_sealed: row.auth_sealed,
    })
}
