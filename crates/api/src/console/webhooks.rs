//! Webhooks: the list, a new one, one with its secret, a test and its deliveries.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::Utc;
use serde_json::{Value, json};

use model::EndpointId;
use model::delivery::DeliveryStatus;
use model::retry::RetryPreset;
use store::delivery_log::DeliveryFilter;
use store::endpoints::{Endpoint, Kind, State};

use super::alerts::AlertCard;
use super::form::{Errors, Form};
use super::view::{
    Chip, DeliveryRow, Layout, When, delivery_row, endpoint_chip, html, outcome, pretty, timings_text, when,
};
use super::{Flash, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::endpoints::Tested;
use crate::desk::{alerts, deliveries, endpoints, secrets};
use crate::error::ApiError;
use crate::page::{LIMIT_MAX, PageRequest};
use crate::v1::endpoints::endpoint_id;
use crate::v1::{exports, time};

/// Deliveries of one endpoint that are shown.
const DELIVERIES_SHOWN: i64 = 25;

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(list)
        .service(show)
        .service(export_dead)
        .service(reveal)
        .service(rotate)
        .service(test)
        .service(pause)
        .service(resume)
        .service(delete);
}

struct EndpointRow {
    id: String,
    url: String,
    description: String,
    chip: Chip,
    sentence: String,
    audience: &'static str,
    /// The filter as JSON, where a word does not say it all.
    filter: String,
    retries: &'static str,
    /// Most requests a second.
    rate: String,
    /// How long it waits for evidence.
    wait: String,
    disables: &'static str,
}

fn endpoint_row(endpoint: &Endpoint) -> EndpointRow {
    let (chip, sentence) = endpoint_chip(endpoint, Utc::now());
    EndpointRow {
        id: endpoint.id.to_string(),
        url: endpoint.options.url.to_string(),
        description: endpoint.options.description.clone().unwrap_or_default(),
        chip,
        sentence,
        audience: audience(endpoint),
        filter: match (audience(endpoint), &endpoint.options.filter) {
            ("Some clicks", Some(filter)) => filter.to_string(),
            _ => String::new(),
        },
        retries: retries(endpoint),
        rate: match (endpoint.options.rate_per_second, endpoint.options.rate_burst) {
            (None, _) => "As many as it bears".to_owned(),
            (Some(rate), None) => format!("{rate} a second"),
            (Some(rate), Some(burst)) => format!("{rate} a second, {burst} at once after a quiet time"),
        },
        wait: match endpoint.options.settle_ms {
            0 => "Told at once".to_owned(),
            ms => {
                format!("Told {} seconds after the click, with what is known by then", f64::from(ms) / 1000.0)
            }
        },
        disables: if endpoint.options.auto_disable { "When it only fails" } else { "Never by itself" },
    }
}

fn retries(endpoint: &Endpoint) -> &'static str {
    let schedule = endpoint.options.retry_schedule.as_deref();
    match schedule.map_or(Some(RetryPreset::Default), RetryPreset::of) {
        Some(RetryPreset::Default) => "Ten attempts over three days",
        Some(RetryPreset::Fast) => "Ten attempts within an hour",
        Some(RetryPreset::Long) => "Fourteen attempts over a week",
        None => "A schedule of its own",
    }
}

/// Which clicks an endpoint gets, in a word.
pub(super) fn audience(endpoint: &Endpoint) -> &'static str {
    let Some(filter) = endpoint.options.filter.as_ref().and_then(Value::as_object) else {
        return "Every click";
    };
    let verdicts = filter.get("verdicts").and_then(Value::as_array);
    match verdicts {
        _ if filter.is_empty() => "Every click",
        Some(verdicts) if filter.len() == 1 && !verdicts.contains(&json!("automated")) => "People only",
        _ => "Some clicks",
    }
}

#[derive(Template)]
#[template(path = "webhooks.html")]
pub(super) struct WebhooksPage {
    layout: Layout,
    endpoints: Vec<EndpointRow>,
    alert: AlertCard,
    may_change: bool,
}

#[get("/settings/webhooks")]
async fn list(signed: Signed, shared: Data<Shared>) -> PageResult {
    let page = list_page(&signed, &shared, None).await?;
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

/// The list, with what was typed into the card of the alert URL and what is wrong with it.
pub(super) async fn list_page(
    signed: &Signed,
    shared: &Shared,
    typed: Option<(&Form, Errors)>,
) -> Result<WebhooksPage, super::PageError> {
    let caller = &signed.caller;
    caller.require(Scope::EndpointsRead)?;
    let rows = endpoints::list(shared, caller, &PageRequest::first(LIMIT_MAX)).await?;
    let alert = alerts::find(shared, caller).await?;
    Ok(WebhooksPage {
        layout: signed.layout("webhooks"),
        endpoints: rows.iter().map(endpoint_row).collect(),
        alert: AlertCard::of(alert.as_ref(), typed),
        may_change: caller.may(Scope::EndpointsWrite),
    })
}

struct SecretText {
    /// Empty while it is not revealed.
    text: String,
    created: When,
    expires: Option<When>,
}

/// How a test went, as the page shows it.
struct TestText {
    is_delivered: bool,
    outcome: String,
    detail: String,
    /// Where the time went.
    timings: String,
    request_headers: String,
    request_body: String,
    response_headers: String,
    response_body: String,
}

impl From<Tested> for TestText {
    fn from(Tested { attempt, request_body }: Tested) -> Self {
        let lines = |headers: &[(String, String)]| {
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
        };
        Self {
            is_delivered: attempt.is_success(),
            outcome: outcome(attempt.status, attempt.error.map(|e| e.as_str()), Some(attempt.duration_ms)),
            detail: attempt.error_detail.unwrap_or_default(),
            timings: timings_text(&attempt.timings),
            request_headers: lines(&attempt.request_headers),
            request_body: pretty(&request_body),
            response_headers: lines(&attempt.response_headers),
            response_body: attempt.response_body.as_deref().map(pretty).unwrap_or_default(),
        }
    }
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct WebhookPage {
    layout: Layout,
    row: EndpointRow,
    is_active: bool,
    is_disabled: bool,
    /// The alert URL of the workspace.
    is_alert: bool,
    event_types: Vec<String>,
    secrets: Vec<SecretText>,
    is_revealed: bool,
    may_reveal: bool,
    may_change: bool,
    tested: Option<TestText>,
    test_failure: Option<String>,
    /// Whether deliveries were given up, and may be asked for again from its beginning on.
    has_dead: bool,
    may_replay: bool,
    created_at: String,
    deliveries: Vec<DeliveryRow>,
}

#[get("/settings/webhooks/{id}")]
async fn show(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    let page = webhook_page(&signed, &shared, endpoint_id(&id)?).await?;
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

async fn webhook_page(
    signed: &Signed,
    shared: &Shared,
    id: EndpointId,
) -> Result<WebhookPage, super::PageError> {
    let caller = &signed.caller;
    caller.require(Scope::EndpointsRead)?;
    let now = Utc::now();
    let endpoint = endpoints::find(shared, caller, id).await?;
    let is_revealed = matches!(&signed.flash, Some(Flash::Reveal(_, revealed)) if *revealed == id);
    let secrets = if is_revealed {
        let revealed = secrets::reveal(shared, caller, id).await?.into_iter();
        revealed.map(|s| secret_text(s.secret.reveal(), s.created_at, s.expires_at)).collect()
    } else {
        let hidden = secrets::list(shared, caller, id).await?.into_iter();
        hidden.map(|s| secret_text(String::new(), s.created_at, s.expires_at)).collect()
    };
    let (mut rows, mut has_dead) = (Vec::new(), false);
    if caller.may(Scope::DeliveriesRead) {
        let filter = DeliveryFilter { endpoint_id: Some(id), ..DeliveryFilter::default() };
        let asked = deliveries::Asked { filter, page: PageRequest::first(DELIVERIES_SHOWN - 1) };
        rows = deliveries::list(shared, caller, &asked).await?;
        let asked = deliveries::Asked { filter: dead(id), page: PageRequest::first(0) };
        has_dead = !deliveries::list(shared, caller, &asked).await?.is_empty();
    }
    Ok(WebhookPage {
        layout: signed.layout("webhooks"),
        row: endpoint_row(&endpoint),
        is_active: endpoint.state == State::Active,
        is_disabled: endpoint.state == State::Disabled,
        is_alert: endpoint.options.kind != Kind::Webhook,
        event_types: endpoint.options.event_types.iter().map(ToString::to_string).collect(),
        secrets,
        is_revealed,
        may_reveal: caller.may(Scope::SecretsRead),
        may_change: caller.may(Scope::EndpointsWrite),
        tested: None,
        test_failure: None,
        has_dead,
        may_replay: caller.may(Scope::DeliveriesWrite),
        created_at: time(endpoint.created_at),
        deliveries: rows.iter().map(|delivery| delivery_row(delivery, now)).collect(),
    })
}

/// What was given up of an endpoint.
fn dead(id: EndpointId) -> DeliveryFilter {
    let status = Some(DeliveryStatus::Dead);
    DeliveryFilter { endpoint_id: Some(id), status, ..DeliveryFilter::default() }
}

#[get("/settings/webhooks/{id}/dead.ndjson")]
async fn export_dead(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    let endpoint = endpoints::find(&shared, &signed.caller, endpoint_id(&id)?).await?;
    Ok(exports::export(shared, signed.caller, dead(endpoint.id))?)
}

fn secret_text(
    text: String,
    created_at: chrono::DateTime<Utc>,
    expires_at: Option<chrono::DateTime<Utc>>,
) -> SecretText {
    let now = Utc::now();
    SecretText { text, created: when(created_at, now), expires: expires_at.map(|at| when(at, now)) }
}

/// Looking at a secret is written down, so it is a form; the next page shows it, once.
#[post("/settings/webhooks/{id}/reveal")]
async fn reveal(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SecretsRead)?;
    let id = endpoint_id(&id)?;
    let flash = Flash::Reveal("The secret is shown until you leave this page.".to_owned(), id);
    Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{id}")), &flash))
}

#[post("/settings/webhooks/{id}/rotate")]
async fn rotate(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&id)?;
    let flash = match secrets::rotate(&shared, &signed.caller, id, None).await {
        Ok(_) => {
            Flash::Reveal("A new secret signs from now on; the old one ends in 24 hours.".to_owned(), id)
        }
        Err(error @ ApiError::Conflict { .. }) => {
            Flash::Failed(format!("{}.", super::capital(&error.to_string())))
        }
        Err(error) => return Err(error.into()),
    };
    Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{id}")), &flash))
}

/// The answer shows the whole exchange, which is too long for a message to the next page: it is a page itself.
#[post("/settings/webhooks/{id}/test")]
async fn test(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&id)?;
    let tested = endpoints::test(&shared, &signed.caller, id).await;
    let mut page = webhook_page(&signed, &shared, id).await?;
    match tested {
        Ok(tested) => page.tested = Some(tested.into()),
        Err(ApiError::Away(detail)) => {
            page.test_failure = Some(format!("{}.", super::capital(&detail)));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(html(&page))
}

#[post("/settings/webhooks/{id}/pause")]
async fn pause(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let endpoint = endpoints::pause(&shared, &signed.caller, endpoint_id(&id)?).await?;
    let flash = Flash::Done("Paused. What it is owed waits.".to_owned());
    Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{}", endpoint.id)), &flash))
}

#[post("/settings/webhooks/{id}/resume")]
async fn resume(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&id)?;
    let before = endpoints::find(&shared, &signed.caller, id).await?;
    endpoints::resume(&shared, &signed.caller, id).await?;
    // what was clicked meanwhile is not owed, and is offered
    let missed_since = before.state_since.filter(|_| {
        before.state == State::Disabled
            && before.options.kind == Kind::Webhook
            && signed.caller.may(Scope::DeliveriesWrite)
    });
    let page = match missed_since {
        Some(since) => format!("/settings/webhooks/{id}/replays?missed_since={}", time(since)),
        None => format!("/settings/webhooks/{id}"),
    };
    let flash = Flash::Done("It is active again.".to_owned());
    Ok(session::leave(&shared, see_other(&page), &flash))
}

#[post("/settings/webhooks/{id}/delete")]
async fn delete(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    endpoints::delete(&shared, &signed.caller, endpoint_id(&id)?, None).await?;
    let flash = Flash::Done("The webhook is removed. Its deliveries stay readable.".to_owned());
    Ok(session::leave(&shared, see_other("/settings/webhooks"), &flash))
}
