//! The columns of an endpoint, and how they are read and written.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use model::event_type::EventTypePattern;
use model::{AlertFormat, EndpointId, Ordering};

use crate::endpoints::{DeliveryMode, Endpoint, EndpointOptions, Health, Kind, State};
use crate::parse::{parsed, parsed_json};
use crate::schema::{endpoint_state, endpoints};
use crate::{QueryError, QueryResult};

#[derive(Queryable, Selectable)]
#[diesel(table_name = endpoints)]
pub(crate) struct Row {
    id: Uuid,
    url: String,
    description: Option<String>,
    event_types: Vec<String>,
    filter: Option<Value>,
    headers_sealed: Option<Vec<u8>>,
    state: String,
    state_reason: Option<String>,
    state_since: Option<DateTime<Utc>>,
    max_in_flight: Option<i32>,
    rate_per_second: Option<i32>,
    rate_burst: Option<i32>,
    settle_ms: i32,
    timeout_ms: Option<i32>,
    retry_schedule: Option<Vec<i32>>,
    permanent_statuses: Vec<i16>,
    auto_disable: bool,
    alert_format: Option<String>,
    owed_from: DateTime<Utc>,
    revision: i64,
    created_at: DateTime<Utc>,
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

#[derive(Queryable, Selectable)]
#[diesel(table_name = endpoint_state)]
pub(crate) struct HealthRow {
    paused_until: Option<DateTime<Utc>>,
    first_failure_at: Option<DateTime<Utc>>,
    last_failure_at: Option<DateTime<Utc>>,
    last_success_at: Option<DateTime<Utc>>,
    delivered: i64,
    failed: i64,
}

/// An endpoint as it was read, with what `deliver` has learned of it.
pub(crate) fn read((row, health): (Row, Option<HealthRow>)) -> QueryResult<Endpoint> {
    let event_types = row.event_types.iter().map(|text| parsed(text));
    // the columns' checks keep them positive
    let natural = |number: i32| u32::try_from(number).unwrap_or_default();
    Ok(Endpoint {
        id: EndpointId::from_uuid(row.id),
        options: EndpointOptions {
            kind: Kind::read(row.alert_format.as_deref())?,
            url: parsed(&row.url)?,
            description: row.description,
            event_types: event_types.collect::<QueryResult<_>>()?,
            filter: row.filter,
            headers_sealed: row.headers_sealed,
            max_in_flight: row.max_in_flight.map(natural),
            rate_per_second: row.rate_per_second.map(natural),
            rate_burst: row.rate_burst.map(natural),
            settle_ms: natural(row.settle_ms),
            timeout_ms: row.timeout_ms.map(natural),
            retry_schedule: row.retry_schedule.map(|s| s.into_iter().map(natural).collect()),
            permanent_statuses: row
                .permanent_statuses
                .into_iter()
                .map(|status| u16::try_from(status).unwrap_or_default())
                .collect(),
            auto_disable: row.auto_disable,
            payload: row.payload,
            batch: row.batch.map(parsed_json).transpose()?,
            delivery: DeliveryMode::from_word(&row.delivery),
            ordering: read_ordering(row.ordering)?,
            checkpoint_minutes: row.checkpoint_minutes.map(natural),
            signs_v1a: row.signs_v1a,
            auth_sealed: row.auth_sealed,
        },
        state: State::from_word(&row.state),
        state_reason: row.state_reason,
        state_since: row.state_since,
        owed_from: row.owed_from,
        revision: row.revision,
        created_at: row.created_at,
        updated_at: row.updated_at,
        health: health.map(|h| Health {
            paused_until: h.paused_until,
            first_failure_at: h.first_failure_at,
            last_failure_at: h.last_failure_at,
            last_success_at: h.last_success_at,
            delivered: h.delivered,
            failed: h.failed,
        }),
        verified_at: row.verified_at,
    })
}

#[derive(AsChangeset, Insertable)]
#[diesel(table_name = endpoints)]
#[diesel(treat_none_as_null = true)]
pub(crate) struct Values<'a> {
    kind: &'static str,
    alert_format: Option<&'static str>,
    url: &'a str,
    description: Option<&'a str>,
    event_types: Vec<&'a str>,
    filter: Option<&'a Value>,
    headers_sealed: Option<&'a [u8]>,
    max_in_flight: Option<i32>,
    rate_per_second: Option<i32>,
    rate_burst: Option<i32>,
    settle_ms: i32,
    timeout_ms: Option<i32>,
    retry_schedule: Option<Vec<i32>>,
    permanent_statuses: Vec<i16>,
    auto_disable: bool,
    updated_at: DateTime<Utc>,
    payload: Option<&'a Value>,
    batch: Option<Value>,
    delivery: &'static str,
    ordering: Option<Value>,
    checkpoint_minutes: Option<i32>,
    signs_v1a: bool,
    auth_sealed: Option<&'a [u8]>,
}

/// What is written of what people set.
pub(crate) fn values(options: &EndpointOptions, now: DateTime<Utc>) -> Values<'_> {
    Values {
        kind: options.kind.as_str(),
        alert_format: options.kind.alert_format().map(AlertFormat::as_str),
        url: options.url.as_str(),
        description: options.description.as_deref(),
        event_types: options.event_types.iter().map(EventTypePattern::as_str).collect(),
        filter: options.filter.as_ref(),
        headers_sealed: options.headers_sealed.as_deref(),
        max_in_flight: options.max_in_flight.map(u32::cast_signed),
        rate_per_second: options.rate_per_second.map(u32::cast_signed),
        rate_burst: options.rate_burst.map(u32::cast_signed),
        settle_ms: options.settle_ms.cast_signed(),
        timeout_ms: options.timeout_ms.map(u32::cast_signed),
        retry_schedule: options
            .retry_schedule
            .as_ref()
            .map(|schedule| schedule.iter().copied().map(u32::cast_signed).collect()),
        permanent_statuses: options.permanent_statuses.iter().copied().map(u16::cast_signed).collect(),
        auto_disable: options.auto_disable,
        updated_at: now,
        payload: options.payload.as_ref(),
        batch: options.batch.and_then(|batch| serde_json::to_value(batch).ok()),
        delivery: options.delivery.as_str(),
        ordering: options.ordering.is_kept().then(|| json!(options.ordering)),
        checkpoint_minutes: options.checkpoint_minutes.map(u32::cast_signed),
        signs_v1a: options.signs_v1a,
        auth_sealed: options.auth_sealed.as_deref(),
    }
}

/// The order that the column says; someone must have written past us if it is none.
pub(crate) fn read_ordering(stored: Option<Value>) -> QueryResult<Ordering> {
    let read = |stored| {
        serde_json::from_value(stored).map_err(|error| QueryError::DeserializationError(Box::new(error)))
    };
    stored.map_or(Ok(Ordering::None), read)
}
