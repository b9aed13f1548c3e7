//! Attempts of deliveries that did not succeed at first try, or were asked for again, one row each.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use model::delivery::Attempt;
use model::{DeliveryId, WorkspaceId};

use crate::schema::attempts;
use crate::{Connection, QueryResult};

/// Rows in one statement: PostgreSQL takes 65,535 parameters.
const ROWS_MAX: usize = 1000;

/// Why an attempt was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// It was due.
    Schedule,
    /// Somebody asked for it after the schedule had ended, or after it was accepted.
    Manual,
}

/// An attempt to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAttempt {
    /// Of which delivery; its id tells the day.
    pub delivery_id: DeliveryId,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// 1 for the first.
    pub number: u32,
    /// Why.
    pub trigger: Trigger,
    /// Where it went, if that is known.
    pub url: Option<String>,
    /// What it came to.
    pub attempt: Attempt,
}

impl Trigger {
    /// The word in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Manual => "manual",
        }
    }
}

#[derive(Insertable)]
#[diesel(table_name = attempts)]
struct Row<'a> {
    day: NaiveDate,
    delivery_id: Uuid,
    number: i32,
    workspace_id: Uuid,
    trigger: &'static str,
    started_at: DateTime<Utc>,
    duration_ms: i32,
    status: Option<i16>,
    error: Option<&'static str>,
    error_detail: Option<&'a str>,
    request_headers: Value,
    response_headers: Value,
    response_body: Option<&'a str>,
    remote_ip: Option<&'a str>,
    timings: Value,
    url: Option<&'a str>,
}

/// Keeps attempts; one that is there already stays as it is.
pub async fn insert<'a>(
    conn: &mut Connection,
    new: impl IntoIterator<Item = &'a NewAttempt>,
) -> QueryResult<()> {
    let rows: Vec<Row<'_>> = new.into_iter().map(row).collect();
    for rows in rows.chunks(ROWS_MAX) {
        diesel::insert_into(attempts::table).values(rows).on_conflict_do_nothing().execute(conn).await?;
    }
    Ok(())
}

fn row(new: &NewAttempt) -> Row<'_> {
    let attempt = &new.attempt;
    Row {
        day: new.delivery_id.day(),
        delivery_id: new.delivery_id.uuid(),
        number: i32::try_from(new.number).unwrap_or(i32::MAX),
        workspace_id: new.workspace_id.uuid(),
        trigger: new.trigger.as_str(),
        started_at: attempt.started_at,
        duration_ms: i32::try_from(attempt.duration_ms).unwrap_or(i32::MAX),
        status: attempt.status.map(u16::cast_signed),
        error: attempt.error.map(|error| error.as_str()),
        error_detail: attempt.error_detail.as_deref(),
        request_headers: pairs(&attempt.request_headers),
        response_headers: pairs(&attempt.response_headers),
        response_body: attempt.response_body.as_deref(),
        remote_ip: attempt.remote_ip.as_deref(),
        timings: serde_json::to_value(attempt.timings).unwrap_or_default(),
        url: new.url.as_deref(),
    }
}

/// A list of `[name, value]`: an object would lose a name that is there twice.
fn pairs(headers: &[(String, String)]) -> Value {
    headers.iter().map(|(name, value)| Value::from(vec![name.as_str(), value.as_str()])).collect()
}
