//! One webhook: its secrets, a test, how it does, its deliveries. The list is in `webhooks`, the form in `webhook_form`.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use model::delivery::DeliveryStatus;
use model::retry::RetryPreset;
use model::{EndpointId, SecretId};
use store::delivery_log::{DeliveryFilter, LoggedDelivery};
use store::endpoints::{DeliveryMode, Endpoint, Kind, State};
use store::secrets::Secret;

use super::auth_fields;
use super::findings::{FindingText, wanting};
use super::flash::ShownAs;
use super::form::Form;
use super::ownership::OwnershipText;
use super::plot::TimePlot;
use super::view::{
    Chip, DeliveryRow, Layout, When, delivery_row, endpoint_chip, html, outcome, pretty, timings_text, when,
};
use super::webhook_fetch::{FetchText, fetch_text};
use super::webhook_fields::carries;
use super::webhook_order::{HoldUpText, order_text};
use super::webhook_payload;
use super::webhook_stats::{FiguresText, span, stats_plot};
use super::webhooks::advice;
use super::{Flash, PageResult, Signed, refused, see_other, session};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::path_id;
use crate::desk::endpoints::Tested;
use crate::desk::{
    deliveries, diagnosis, endpoint_auth, endpoint_order, endpoint_stats, endpoints, payload_body, secrets,
    signing_keys,
};
use crate::error::ApiError;
use crate::page::PageRequest;
use crate::v1::endpoints::endpoint_id;
use crate::v1::{exports, time};

/// Deliveries of one endpoint that are shown.
const DELIVERIES_SHOWN: i64 = 25;

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(show)
        .service(export_dead)
        .service(reveal)
        .service(rotate)
        .service(revoke)
        .service(test)
        .service(pause)
        .service(resume)
        .service(delete);
}

pub(super) struct EndpointRow {
    pub id: String,
    pub url: String,
    pub description: String,
    pub chip: Chip,
    pub sentence: String,
    pub audience: &'static str,
    /// The filter as JSON, where a word does not say it all.
    pub filter: String,
    pub retries: &'static str,
    /// Most requests a second.
    pub rate: String,
    /// How long it waits for evidence.
    pub wait: String,
    pub disables: &'static str,
    /// How its bodies look.
    pub payload: String,
    /// How many events a request carries.
    pub carries: String,
    /// Whether it fetches its events.
    pub is_pulled: bool,
    /// In which order it gets what it is owed.
    pub order: String,
}

pub(super) fn endpoint_row(endpoint: &Endpoint) -> EndpointRow {
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
        payload: webhook_payload::sentence(&payload_body::shape(endpoint.options.payload.as_ref())),
        carries: carries(endpoint.options.batch),
        is_pulled: endpoint.options.delivery == DeliveryMode::Pull,
        order: order_text(&endpoint.options),
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

struct SecretText {
    id: String,
    /// Empty while it is not revealed.
    text: String,
    created: When,
    expires: Option<When>,
    /// What verifies the asymmetric signatures made beside its own; empty when there are none.
    public_key: String,
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
    /// How it did in the last 24 hours, for who may see deliveries.
    figures: Option<FiguresText>,
    plot: Option<TimePlot>,
    /// What is wrong with its last deliveries, if anything is.
    troubles: Vec<FindingText>,
    /// Deliveries that have failed and that others wait for.
    hold_ups: Vec<HoldUpText>,
    advice: &'static str,
    headers: Vec<String>,
    /// What opens the receiver's door, in words; empty for nothing.
    auth: String,
    timeout: String,
    in_flight: String,
    ownership: OwnershipText,
    /// What is there to be fetched, where nothing is sent.
    fetch: Option<FetchText>,
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
    let shown = match signed.revealed(id) {
        [] => Vec::new(),
        ids => secrets::reveal_these(shared, caller, id, ids).await?,
    };
    let text_of = |id: SecretId| {
        shown.iter().find(|revealed| revealed.id == id).map(|revealed| revealed.secret.reveal())
    };
    let mut secrets = Vec::new();
    for kept in secrets::list(shared, caller, id).await? {
        let public_key = match &kept.key_sealed {
            Some(sealed) if endpoint.options.signs_v1a => {
                signing_keys::public(shared, caller.workspace_id, id, sealed)?.to_string()
            }
            _ => String::new(),
        };
        secrets.push(secret_text(&kept, text_of(kept.id).unwrap_or_default(), public_key));
    }
    let (mut rows, mut has_dead, mut figures, mut plot) = (Vec::new(), false, None, None);
    if caller.may(Scope::DeliveriesRead) {
        let filter = DeliveryFilter { endpoint_id: Some(id), ..DeliveryFilter::default() };
        let asked = deliveries::Asked { filter, page: PageRequest::first(DELIVERIES_SHOWN - 1) };
        rows = deliveries::list(shared, caller, &asked).await?;
        let asked = deliveries::Asked { filter: dead(id), page: PageRequest::first(0) };
        has_dead = !deliveries::list(shared, caller, &asked).await?.is_empty();
        let stats = endpoint_stats::stats(shared, caller, id).await?;
        let backlog = stats.backlog;
        let complete = stats.is_backlog_complete;
        figures = Some(FiguresText::of(stats.figures, backlog.waiting, backlog.due, complete));
        plot = Some(stats_plot(&stats));
    }
    let troubles = troubles(shared, caller, &endpoint, &rows, now);
    let hold_ups = endpoint_order::hold_ups(shared, caller, std::slice::from_ref(&endpoint)).await?;
    let hold_ups =
        hold_ups.into_values().flatten().map(|hold_up| HoldUpText::of(&hold_up, &endpoint, now)).collect();
    let headers = endpoints::open_headers(shared, caller, &endpoint)?;
    let auth = endpoint_auth::open(shared, caller, id, &endpoint.options)?;
    Ok(WebhookPage {
        layout: signed.layout("webhooks"),
        row: endpoint_row(&endpoint),
        is_active: endpoint.state == State::Active,
        is_disabled: endpoint.state == State::Disabled,
        is_alert: endpoint.options.kind != Kind::Webhook,
        event_types: endpoint.options.event_types.iter().map(ToString::to_string).collect(),
        secrets,
        is_revealed: !shown.is_empty(),
        may_reveal: caller.may(Scope::SecretsRead),
        may_change: caller.may(Scope::EndpointsWrite),
        tested: None,
        test_failure: None,
        has_dead,
        may_replay: caller.may(Scope::DeliveriesWrite),
        created_at: time(endpoint.created_at),
        deliveries: rows.iter().map(|delivery| delivery_row(delivery, now)).collect(),
        figures,
        plot,
        troubles,
        hold_ups,
        advice: advice(&endpoint),
        headers: headers.iter().map(|(name, _)| name.to_owned()).collect(),
        auth: auth.as_ref().map(auth_fields::described).unwrap_or_default(),
        timeout: endpoint.options.timeout_ms.map_or_else(|| "15 seconds".to_owned(), |ms| span(ms.into())),
        in_flight: endpoint.options.max_in_flight.map(|most| most.to_string()).unwrap_or_default(),
        ownership: OwnershipText::of(shared, &endpoint),
        fetch: fetch_text(shared, caller, &endpoint, now).await?,
    })
}

/// What is wrong with the last delivery that did not go well; each cause once.
fn troubles(
    shared: &Shared,
    caller: &Caller,
    endpoint: &Endpoint,
    rows: &[LoggedDelivery],
    now: DateTime<Utc>,
) -> Vec<FindingText> {
    let is_well =
        |row: &LoggedDelivery| matches!(row.status, DeliveryStatus::Delivered | DeliveryStatus::Offered);
    let failed = rows.iter().find(|row| !is_well(row));
    // what was mended since needs no more saying
    let is_over = rows.first().is_some_and(is_well);
    let finding = failed
        .filter(|_| !is_over)
        .map(|row| diagnosis::delivery::finding(row, Some(endpoint), shared.ownership, now));
    wanting(finding.as_slice(), caller)
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

fn secret_text(kept: &Secret, text: String, public_key: String) -> SecretText {
    let now = Utc::now();
    SecretText {
        id: kept.id.to_string(),
        text,
        created: when(kept.created_at, now),
        expires: kept.expires_at.map(|at| when(at, now)),
        public_key,
    }
}

/// Looking at a secret is written down, so it is a form; the next page shows it, once.
#[post("/settings/webhooks/{id}/reveal")]
async fn reveal(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SecretsRead)?;
    let id = endpoint_id(&id)?;
    let listed = secrets::list(&shared, &signed.caller, id).await?;
    let ids = listed.into_iter().map(|secret| secret.id).collect();
    let flash = signed.reveal("The secret is shown until you leave this page.", id, ids, ShownAs::Kept);
    Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{id}")), &flash))
}

#[post("/settings/webhooks/{id}/rotate")]
async fn rotate(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&id)?;
    let flash = match secrets::rotate(&shared, &signed.caller, id, None).await {
        Ok(rotated) => {
            let text = "A new secret signs from now on; the old one ends in 24 hours.";
            signed.reveal(text, id, vec![rotated.into_inner().id], ShownAs::Made)
        }
        Err(error) => refused(error)?,
    };
    Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{id}")), &flash))
}

/// Ends a secret at once; the last one stays.
#[post("/settings/webhooks/{id}/secrets/{secret_id}/revoke")]
async fn revoke(
    signed: Signed,
    _form: Form,
    path: Path<(String, String)>,
    shared: Data<Shared>,
) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&path.0)?;
    let flash = match secrets::revoke(&shared, &signed.caller, id, path_id(&path.1, "secret")?).await {
        Ok(()) => Flash::Done("That secret signs nothing any more.".to_owned()),
        Err(error) => refused(error)?,
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
