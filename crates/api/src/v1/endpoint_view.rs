//! An endpoint as the API shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use model::retry::RetryPreset;
use store::endpoints::{Endpoint, State};
use store::lines::HoldUp;
use webhook::Shape;

use super::endpoint_order::{HoldUpView, OrderingView};
use super::ownership::OwnershipView;
use super::time;
use crate::app::Shared;
use crate::auth::Caller;
use crate::desk::batch_body::BatchOption;
use crate::desk::endpoint_auth;
use crate::desk::endpoint_body::Signatures;
use crate::desk::endpoints;
use crate::desk::payload_body::{self, PayloadText};
use crate::error::ApiError;

/// What is shown instead of the value of a custom header.
const MASK: &str = "********";

/// A webhook endpoint.
#[derive(Serialize, ToSchema)]
pub struct EndpointView {
    #[schema(example = "whe_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    pub(super) id: String,
    #[schema(example = "https://crm.example.com/hooks/clicks")]
    url: String,
    description: Option<String>,
    event_types: Vec<String>,
    #[schema(value_type = Option<Object>)]
    filter: Option<Value>,
    /// Custom headers; values are masked.
    headers: BTreeMap<String, &'static str>,
    enabled: bool,
    /// `active`, `paused` (what it is owed waits) or `disabled` (it is owed nothing).
    state: &'static str,
    state_reason: Option<String>,
    max_in_flight: Option<u32>,
    rate_per_second: Option<u32>,
    rate_burst: Option<u32>,
    /// Seconds before the second, third, … attempt; `null` for the default.
    retry_schedule: Option<Vec<u32>>,
    /// The name of that schedule, if it has one: `default`, `fast` or `long`.
    retry_preset: Option<&'static str>,
    /// How long after a click evidence that a machine made it is waited for before it is told of; 0: it is told at once.
    settle_ms: u32,
    timeout_ms: Option<u32>,
    permanent_statuses: Vec<u16>,
    /// Whether it is disabled when it has only failed for days.
    auto_disable: bool,
    /// How the bodies look that it gets.
    #[schema(value_type = PayloadText)]
    payload: Shape,
    /// Several events in one request; `null`: each in its own.
    batch: Option<BatchOption>,
    /// `push`: events are posted to it. `pull`: it fetches them.
    delivery: &'static str,
    ownership: OwnershipView,
    ordering: OrderingView,
    /// How often a checkpoint is made of what it was owed; `null`: none is.
    checkpoint_minutes: Option<u32>,
    /// Deliveries that have failed, and that others wait for because of the order; the first 10.
    held_up_by: Vec<HoldUpView>,
    /// Which signatures its webhooks carry: `v1`, and `v1a` where it is wanted.
    signatures: Vec<&'static str>,
    /// What each request signs in with at the receiver; what is secret is masked.
    #[schema(value_type = Option<Object>)]
    auth: Option<Value>,
    health: HealthView,
    /// Counts the changes; the `ETag` begins with it.
    pub(super) revision: i64,
    created_at: String,
    updated_at: String,
    /// What is allowed but worth knowing; only in the answer to a save.
    pub(super) warnings: Vec<String>,
    /// The signing secret; only in the answer that makes the endpoint, and to its repeat. Later: `GET …/secrets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    pub(super) secret: Option<String>,
}

/// What has been learned of an endpoint.
#[derive(Serialize, ToSchema)]
struct HealthView {
    /// Deliveries that were accepted; of a batch, each one in it.
    delivered: i64,
    /// Failed attempts since the last success; that of a batch is one.
    failed: i64,
    first_failure_at: Option<String>,
    last_failure_at: Option<String>,
    last_success_at: Option<String>,
    /// The subscriber asked for a pause until then.
    paused_until: Option<String>,
}

impl EndpointView {
    /// An endpoint of the caller's; what holds it up is told by [`Self::held_up`].
    pub fn of(shared: &Shared, caller: &Caller, endpoint: Endpoint) -> Result<Self, ApiError> {
        let headers = endpoints::open_headers(shared, caller, &endpoint)?;
        let ownership = OwnershipView::of(shared, &endpoint);
        let auth = endpoint_auth::shown(shared, caller, &endpoint)?;
        let health = endpoint.health.unwrap_or_default();
        let options = endpoint.options;
        Ok(Self {
            id: endpoint.id.to_string(),
            url: options.url.to_string(),
            description: options.description,
            event_types: options.event_types.iter().map(ToString::to_string).collect(),
            filter: options.filter,
            headers: headers.iter().map(|(name, _)| (name.to_owned(), MASK)).collect(),
            enabled: endpoint.state != State::Disabled,
            state: endpoint.state.as_str(),
            state_reason: endpoint.state_reason,
            max_in_flight: options.max_in_flight,
            rate_per_second: options.rate_per_second,
            rate_burst: options.rate_burst,
            retry_preset: options
                .retry_schedule
                .as_deref()
                .map_or(Some(RetryPreset::Default), RetryPreset::of)
                .map(RetryPreset::as_str),
            retry_schedule: options.retry_schedule,
            settle_ms: options.settle_ms,
            timeout_ms: options.timeout_ms,
            permanent_statuses: options.permanent_statuses,
            auto_disable: options.auto_disable,
            payload: payload_body::shape(options.payload.as_ref()),
            batch: options.batch.map(BatchOption::from),
            delivery: options.delivery.as_str(),
            ownership,
            ordering: options.ordering.into(),
            checkpoint_minutes: options.checkpoint_minutes,
            held_up_by: Vec::new(),
            signatures: Signatures { has_v1a: options.signs_v1a }.words(),
            auth,
            health: HealthView {
                delivered: health.delivered,
                failed: health.failed,
                first_failure_at: health.first_failure_at.map(time),
                last_failure_at: health.last_failure_at.map(time),
                last_success_at: health.last_success_at.map(time),
                paused_until: health.paused_until.map(time),
            },
            revision: endpoint.revision,
            created_at: time(endpoint.created_at),
            updated_at: time(endpoint.updated_at),
            warnings: Vec::new(),
            secret: None,
        })
    }

    /// With what holds it up.
    pub fn held_up(mut self, hold_ups: &[HoldUp]) -> Self {
        self.held_up_by = hold_ups.iter().copied().map(HoldUpView::from).collect();
        self
    }
}
