//! What a request says of a webhook endpoint: a new one, or a change of one.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use model::event_type::EventTypePattern;
use model::retry::RetryPreset;
use model::{Batching, EndpointUrl, Ordering};
use store::endpoints::DeliveryMode;
use webhook::shape::ShapeChange;
use webhook::{CustomHeaders, Filter, ReceiverAuth};

use super::batch_body::{BatchOption, batch};
use super::endpoint_auth::{MASKED, is_mask};
use super::endpoint_order::{WantedOrdering, ordering};
use super::payload_body::{self, PayloadText};
use crate::fields::{self, Fields, FromFields, Wrong, boolean, invalid, number, parsed, text, word};

/// Longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 500;
/// Most event types that an endpoint names.
const EVENT_TYPES_MAX: usize = 20;
/// Most requests that an endpoint may ask for at the same time.
const IN_FLIGHT_MAX: u32 = 1000;
/// Most requests a second that an endpoint may be limited to, and that may go at once.
const RATE_MAX: u32 = 1000;
/// Most attempts after the first.
const RETRIES_MAX: usize = 20;
/// Longest wait before an attempt: a week, in seconds.
const RETRY_SECONDS_MAX: u32 = 7 * 24 * 3600;
/// Longest wait for evidence that a machine clicked.
const SETTLE_MS_MAX: u32 = 600_000;
/// Longest time between two checkpoints: a day.
const CHECKPOINT_MINUTES_MAX: u32 = 24 * 60;
/// Shortest and longest wait for an answer.
const TIMEOUT_MS_MIN: u32 = 500;
const TIMEOUT_MS_MAX: u32 = 30_000;
/// Most statuses that end a delivery at once.
const PERMANENT_STATUSES_MAX: usize = 50;
/// Most clicks that a filter is tried on at a time.
const PREVIEWED_CLICKS_MAX: u32 = 200;

/// Schedules with a name.
const PRESETS: &[(&str, RetryPreset)] =
    &[("default", RetryPreset::Default), ("fast", RetryPreset::Fast), ("long", RetryPreset::Long)];

/// How an endpoint gets its events.
const DELIVERY_MODES: &[(&str, DeliveryMode)] =
    &[(DeliveryMode::Push.as_str(), DeliveryMode::Push), (DeliveryMode::Pull.as_str(), DeliveryMode::Pull)];

/// Versions of signatures (Standard Webhooks 1.0.0).
const SIGNATURES: &[(&str, &str)] = &[("v1", "v1"), ("v1a", "v1a")];

/// Which signatures the webhooks of an endpoint carry. `v1` is always there: most receivers know no other, and whoever wants to rely
/// on `v1a` alone passes `v1` over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signatures {
    /// Whether `v1a` stands beside `v1`.
    pub has_v1a: bool,
}

impl Signatures {
    /// How many versions there are.
    const VERSIONS_MAX: usize = SIGNATURES.len();

    /// The words in the API.
    pub fn words(self) -> Vec<&'static str> {
        if self.has_v1a { vec!["v1", "v1a"] } else { vec!["v1"] }
    }
}

/// A schedule of retries: by name, or in seconds.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the field for the OpenAPI document")]
pub enum RetrySchedule {
    /// `default`, `fast` or `long`.
    Preset(String),
    /// Seconds before the second, third, … attempt.
    Seconds(Vec<u32>),
}

/// A filter to be tried on clicks that were made.
#[derive(ToSchema)]
pub struct FilterPreview {
    /// The filter; without one the endpoint's own is tried.
    #[schema(value_type = Option<Object>, example = json!({"location.country": {"$in": ["SE", "NO"]}}))]
    pub filter: Option<Filter>,
    /// How many of the last clicks to look at, 1 to 200. Default: 50.
    pub clicks: Option<u32>,
}

impl FromFields for FilterPreview {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            filter: fields.optional("filter", filter),
            clicks: fields.optional("clicks", number::<1, PREVIEWED_CLICKS_MAX>),
        })
    }
}

/// An endpoint to be made. Only `url` is required.
#[derive(ToSchema)]
pub struct NewEndpoint {
    /// Where events are posted: http or https, not to a private address.
    #[schema(value_type = String, example = "https://crm.example.com/hooks/clicks")]
    pub url: EndpointUrl,
    /// What it is for; at most 500 characters.
    #[schema(example = "Contact timeline in the CRM")]
    pub description: Option<String>,
    /// Which events it gets: types, or beginnings with `*`. Default: `["link.clicked"]`.
    #[schema(value_type = Option<Vec<String>>, example = json!(["link.clicked"]))]
    pub event_types: Option<Vec<EventTypePattern>>,
    /// Only clicks for which all of these conditions hold, over fields of the payload's `data`:
    /// `{"verdicts": ["human", "unknown"], "location.country": {"$in": ["SE", "NO"]}, "link.tags": "spring"}`.
    /// A value alone means `$eq`; there are `$ne`, `$in`, `$nin`, `$startsWith`, `$exists`, `$gt`, `$gte`, `$lt`, `$lte`,
    /// and around conditions `$and`, `$or` and `$not`. Default: every click, its verdict marked.
    #[schema(value_type = Option<Object>, example = json!({"verdicts": ["human", "unknown"], "link.tags": "spring"}))]
    pub filter: Option<Filter>,
    /// Headers that each request carries, at most 20 and 4 KiB together; stored sealed and shown masked.
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"x-tenant": "42"}))]
    pub headers: Option<CustomHeaders>,
    /// `false` makes it disabled: it is owed nothing until it is enabled. Default: true.
    pub enabled: Option<bool>,
    /// Most requests at the same time, 1 to 1000.
    pub max_in_flight: Option<u32>,
    /// Most requests a second, 1 to 1000: what is more waits. Default: as many as it bears.
    pub rate_per_second: Option<u32>,
    /// How many of them may go at once after a quiet time, 1 to 1000. Default: a second's worth.
    pub rate_burst: Option<u32>,
    /// `default` (ten attempts over three days), `fast` (ten within an hour), `long` (fourteen over a week), or the
    /// seconds before the second, third, … attempt: at most 20 of at most a week.
    #[schema(value_type = Option<RetrySchedule>)]
    pub retry_schedule: Option<Vec<u32>>,
    /// How long after a click evidence that a machine made it is waited for before it is told of, up to 600000: what turns
    /// out to be one meanwhile is told as one, or not at all if the filter keeps machines out. Default: 0, at once.
    pub settle_ms: Option<u32>,
    /// Longest wait for a whole answer, 500 to 30000. Default: 15000.
    pub timeout_ms: Option<u32>,
    /// Statuses from 300 that end a delivery at once instead of being tried again.
    pub permanent_statuses: Option<Vec<u16>>,
    /// Whether it is disabled when it has only failed for days; its owner is warned before. Default: true.
    pub auto_disable: Option<bool>,
    /// How the bodies look that it gets. Default: everything, as Standard Webhooks, in the newest version.
    #[schema(value_type = Option<PayloadText>)]
    pub payload: Option<ShapeChange>,
    /// Several events in one request, with one id and one signature; all of them are accepted or tried again together. `{}` is
    /// every default. In the format `standard_webhooks` alone, and not with `pull`. Default: each event in a request of its own.
    #[schema(value_type = Option<BatchOption>)]
    pub batch: Option<Batching>,
    /// `push`: events are posted to `url`. `pull`: nothing is sent; `GET …/events` fetches them, and they are kept as long as
    /// deliveries are; not with `settle_ms`. Default: `push`; its events can be fetched as well.
    #[schema(value_type = Option<String>, example = "push")]
    pub delivery: Option<DeliveryMode>,
    /// `per_link`: the clicks of a link one after the other, by the time of the click; `strict`: everything; with
    /// `{"mode": "strict", "skip_after": 5}` a delivery that fails so often is given up. Not with `settle_ms`, `batch` or `pull`.
    /// Default: `none`.
    #[schema(value_type = Option<WantedOrdering>)]
    pub ordering: Option<Ordering>,
    /// How often a checkpoint is made of what it was owed, 1 to 1440: `GET …/checkpoints`, and the event `endpoint.checkpoint`.
    /// Its deliveries are numbered then. Not with `settle_ms`, `batch` or `pull`. Default: none is made.
    pub checkpoint_minutes: Option<u32>,
    /// Which signatures its webhooks carry: `["v1"]`, or `["v1", "v1a"]` for ed25519 as well, which whoever has the public key alone
    /// can verify (`GET …/secrets`, and without a key at `/.well-known/clickwire-webhook-keys?endpoint_id=…`). Default: `["v1"]`.
    #[schema(value_type = Option<Vec<String>>, example = json!(["v1", "v1a"]))]
    pub signatures: Option<Signatures>,
    /// What each request signs in with at the receiver; stored sealed and shown masked. `basic`: `username`, `password`. `bearer`: `token`.
    /// `oauth2`: `token_url`, `client_id`, `client_secret`, and if wanted `scope`, `audience`, and `client_auth`: `basic` (the
    /// default) or `post`; tokens are fetched there with client credentials and kept until shortly before they expire. `mtls`:
    /// `certificate_pem`, `private_key_pem`, and if wanted `ca_pem`, which the receiver's certificate is checked with in place of the
    /// machine's authorities; over https only.
    #[schema(value_type = Option<Object>, example = json!({"type": "basic", "username": "clickwire", "password": "…"}))]
    pub auth: Option<ReceiverAuth>,
}

/// A change of an endpoint: what is left out stays as it is, `null` empties.
#[derive(Default, ToSchema)]
pub struct EndpointChange {
    /// Where events are posted.
    #[schema(value_type = Option<String>)]
    pub url: Option<EndpointUrl>,
    /// What it is for.
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    /// Which events it gets.
    #[schema(value_type = Option<Vec<String>>)]
    pub event_types: Option<Vec<EventTypePattern>>,
    /// Which of them.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Option<Filter>>,
    /// All headers that each request carries; a `url` at another host or port, or no longer of https, takes them anew, or `null`.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub headers: Option<Option<CustomHeaders>>,
    /// `false`: it is disabled, and owed nothing. `true`: it is active, and owed what is clicked from now on.
    pub enabled: Option<bool>,
    /// Most requests at the same time.
    #[schema(value_type = Option<u32>)]
    pub max_in_flight: Option<Option<u32>>,
    /// Most requests a second.
    #[schema(value_type = Option<u32>)]
    pub rate_per_second: Option<Option<u32>>,
    /// How many of them may go at once after a quiet time.
    #[schema(value_type = Option<u32>)]
    pub rate_burst: Option<Option<u32>>,
    /// A name, or seconds before the second, third, … attempt.
    #[schema(value_type = Option<RetrySchedule>)]
    pub retry_schedule: Option<Option<Vec<u32>>>,
    /// How long after a click evidence is waited for before it is told of; 0 or `null`: it is told at once.
    #[schema(value_type = Option<u32>)]
    pub settle_ms: Option<Option<u32>>,
    /// Longest wait for a whole answer.
    #[schema(value_type = Option<u32>)]
    pub timeout_ms: Option<Option<u32>>,
    /// Statuses that end a delivery at once.
    pub permanent_statuses: Option<Vec<u16>>,
    /// Whether it is disabled when it has only failed for days.
    pub auto_disable: Option<bool>,
    /// How the bodies look that it gets: what is left out of it stays too, and `null` keeps the version.
    #[schema(value_type = Option<PayloadText>)]
    pub payload: Option<Option<ShapeChange>>,
    /// Several events in one request, as a whole; `null`: each in its own.
    #[schema(value_type = Option<BatchOption>)]
    pub batch: Option<Option<Batching>>,
    /// `push` or `pull`. What waits for an endpoint that becomes `pull` is there to be fetched; what was there to be fetched
    /// of one that becomes `push` is not sent by itself: replay it.
    #[schema(value_type = Option<String>)]
    pub delivery: Option<DeliveryMode>,
    /// In which order it gets what it is owed; `null`: in none.
    #[schema(value_type = Option<WantedOrdering>)]
    pub ordering: Option<Option<Ordering>>,
    /// How often a checkpoint is made of what it was owed; `null`: none is.
    #[schema(value_type = Option<u32>)]
    pub checkpoint_minutes: Option<Option<u32>>,
    /// Which signatures its webhooks carry: `["v1"]` or `["v1", "v1a"]`.
    #[schema(value_type = Option<Vec<String>>)]
    pub signatures: Option<Signatures>,
    /// What each request signs in with at the receiver, all of it; a `url` at another server takes it anew, or `null`, as `headers`.
    #[schema(value_type = Option<Object>)]
    pub auth: Option<Option<ReceiverAuth>>,
}

impl FromFields for NewEndpoint {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let url = fields.required("url", parsed);
        Some(Self {
            description: fields.optional("description", text::<DESCRIPTION_CHARS_MAX>),
            event_types: fields.optional("event_types", event_types),
            filter: fields.optional("filter", filter),
            headers: fields.optional("headers", headers),
            enabled: fields.optional("enabled", boolean),
            max_in_flight: fields.optional("max_in_flight", number::<1, IN_FLIGHT_MAX>),
            rate_per_second: fields.optional("rate_per_second", number::<1, RATE_MAX>),
            rate_burst: fields.optional("rate_burst", number::<1, RATE_MAX>),
            retry_schedule: fields.optional("retry_schedule", retry_schedule).flatten(),
            settle_ms: fields.optional("settle_ms", number::<0, SETTLE_MS_MAX>),
            timeout_ms: fields.optional("timeout_ms", number::<TIMEOUT_MS_MIN, TIMEOUT_MS_MAX>),
            permanent_statuses: fields.optional("permanent_statuses", permanent_statuses),
            auto_disable: fields.optional("auto_disable", boolean),
            payload: fields.optional("payload", payload_body::payload),
            batch: fields.optional("batch", batch),
            delivery: fields.optional("delivery", word(DELIVERY_MODES)),
            ordering: fields.optional("ordering", ordering),
            checkpoint_minutes: fields.optional("checkpoint_minutes", number::<1, CHECKPOINT_MINUTES_MAX>),
            signatures: fields.optional("signatures", signatures),
            auth: fields.optional("auth", fields::nested),
            url: url?,
        })
    }
}

impl FromFields for EndpointChange {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            url: fields.change("url", parsed),
            description: fields.change_or_clear("description", text::<DESCRIPTION_CHARS_MAX>),
            event_types: fields.change("event_types", event_types),
            filter: fields.change_or_clear("filter", filter),
            headers: fields.change_or_clear("headers", headers),
            enabled: fields.change("enabled", boolean),
            max_in_flight: fields.change_or_clear("max_in_flight", number::<1, IN_FLIGHT_MAX>),
            rate_per_second: fields.change_or_clear("rate_per_second", number::<1, RATE_MAX>),
            rate_burst: fields.change_or_clear("rate_burst", number::<1, RATE_MAX>),
            retry_schedule: fields.change_or_clear("retry_schedule", retry_schedule).map(Option::flatten),
            settle_ms: fields.change_or_clear("settle_ms", number::<0, SETTLE_MS_MAX>),
            timeout_ms: fields.change_or_clear("timeout_ms", number::<TIMEOUT_MS_MIN, TIMEOUT_MS_MAX>),
            permanent_statuses: fields.change("permanent_statuses", permanent_statuses),
            auto_disable: fields.change("auto_disable", boolean),
            payload: fields.change_or_clear("payload", payload_body::payload),
            batch: fields.change_or_clear("batch", batch),
            delivery: fields.change("delivery", word(DELIVERY_MODES)),
            ordering: fields.change_or_clear("ordering", ordering),
            checkpoint_minutes: fields
                .change_or_clear("checkpoint_minutes", number::<1, CHECKPOINT_MINUTES_MAX>),
            signatures: fields.change("signatures", signatures),
            auth: fields.change_or_clear("auth", fields::nested),
        })
    }
}

fn event_types(value: &Value) -> Result<Vec<EventTypePattern>, Wrong> {
    let types = fields::list(EVENT_TYPES_MAX, parsed)(value)?;
    if types.is_empty() { Err(invalid("must name at least one event type")) } else { Ok(types) }
}

fn filter(value: &Value) -> Result<Filter, Wrong> {
    Filter::parse(value)
        .map_err(|error| error.path.iter().rev().fold(invalid(error.rule), |wrong, step| wrong.at(step)))
}

fn headers(value: &Value) -> Result<CustomHeaders, Wrong> {
    let pairs = fields::pairs(value)?;
    if let Some((name, _)) = pairs.iter().find(|(_, value)| is_mask(value)) {
        return Err(invalid(MASKED).at(name));
    }
    CustomHeaders::new(pairs).map_err(invalid)
}

fn signatures(value: &Value) -> Result<Signatures, Wrong> {
    let wanted = fields::list(Signatures::VERSIONS_MAX, fields::word(SIGNATURES))(value)?;
    match (wanted.contains(&"v1"), wanted.contains(&"v1a")) {
        (true, has_v1a) => Ok(Signatures { has_v1a }),
        (false, _) => Err(invalid("must name `v1`, which every webhook carries; `v1a` stands beside it")),
    }
}

/// A preset or pauses; `None` is the default, which may change with a release.
fn retry_schedule(value: &Value) -> Result<Option<Vec<u32>>, Wrong> {
    if !value.is_string() {
        return fields::list(RETRIES_MAX, number::<1, RETRY_SECONDS_MAX>)(value).map(Some);
    }
    let preset = fields::word(PRESETS)(value)?;
    Ok((preset != RetryPreset::Default).then(|| preset.seconds().to_vec()))
}

fn permanent_statuses(value: &Value) -> Result<Vec<u16>, Wrong> {
    let statuses = fields::list(PERMANENT_STATUSES_MAX, number::<300, 599>)(value)?;
    // at most 599
    Ok(statuses.into_iter().filter_map(|status| u16::try_from(status).ok()).collect())
}
