//! The page of one webhook: a test, how it does, its deliveries; what it chose is said in `webhook_row`, and its secrets are in
//! `webhook_secrets`. The list is in `webhooks`, the form in `webhook_form`.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::{DateTime, Utc};

use model::EndpointId;
use model::delivery::DeliveryStatus;
use store::delivery_log::{DeliveryFilter, LoggedDelivery};
use store::endpoints::{DeliveryMode, Endpoint, Kind, State};

use super::auth_fields;
use super::findings::{FindingText, wanting};
use super::form::Form;
use super::ownership::OwnershipText;
use super::plot::TimePlot;
use super::view::{DeliveryRow, Layout, delivery_row, html, outcome, pretty, timings_text};
use super::webhook_fetch::{FetchText, fetch_text};
use super::webhook_order::{CheckpointText, HoldUpText, checkpoint_texts};
use super::webhook_row::{EndpointRow, endpoint_row};
use super::webhook_secrets::{self, SecretText};
use super::webhook_stats::{FiguresText, span, stats_plot};
use super::webhooks::advice;
use super::{Flash, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::desk::test_requests::{self, Tested};
use crate::desk::{deliveries, diagnosis, endpoint_auth, endpoint_order, endpoint_stats, endpoints};
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
        .service(webhook_secrets::reveal)
        .service(webhook_secrets::rotate)
        .service(webhook_secrets::revoke)
        .service(test)
        .service(pause)
        .service(resume)
        .service(delete);
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
    /// The last ones, newest first, for who may see deliveries.
    checkpoints: Vec<CheckpointText>,
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
    let (secrets, is_revealed) = webhook_secrets::texts(signed, shared, &endpoint).await?;
    let Lately { rows, has_dead, figures, plot } = match caller.may(Scope::DeliveriesRead) {
        true => lately(shared, caller, &endpoint).await?,
        false => Lately::default(),
    };
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
        is_revealed,
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
        checkpoints: checkpoint_texts(shared, caller, id, now).await?,
        advice: advice(&endpoint),
        headers: headers.iter().map(|(name, _)| name.to_owned()).collect(),
        auth: auth.as_ref().map(auth_fields::described).unwrap_or_default(),
        timeout: endpoint.options.timeout_ms.map_or_else(|| "15 seconds".to_owned(), |ms| span(ms.into())),
        in_flight: endpoint.options.max_in_flight.map(|most| most.to_string()).unwrap_or_default(),
        ownership: OwnershipText::of(shared, &endpoint),
        fetch: fetch_text(shared, caller, &endpoint, now).await?,
    })
}

/// How an endpoint did lately, for who may see deliveries.
#[derive(Default)]
struct Lately {
    rows: Vec<LoggedDelivery>,
    has_dead: bool,
    figures: Option<FiguresText>,
    plot: Option<TimePlot>,
}

async fn lately(shared: &Shared, caller: &Caller, endpoint: &Endpoint) -> Result<Lately, super::PageError> {
    let id = endpoint.id;
    let filter = DeliveryFilter { endpoint_id: Some(id), ..DeliveryFilter::default() };
    let asked = deliveries::Asked { filter, page: PageRequest::first(DELIVERIES_SHOWN - 1) };
    let rows = deliveries::list(shared, caller, &asked).await?;
    let asked = deliveries::Asked { filter: dead(id), page: PageRequest::first(0) };
    let has_dead = !deliveries::list(shared, caller, &asked).await?.is_empty();
    let stats = endpoint_stats::stats(shared, caller, id).await?;
    let backlog = stats.backlog;
    let complete = stats.is_backlog_complete;
    let tally = &stats.figures.tally;
    // nobody tells us of what is fetched
    let was_sent_to =
        endpoint.options.delivery == DeliveryMode::Push || tally.delivered + tally.dead + tally.retrying > 0;
    Ok(Lately {
        rows,
        has_dead,
        figures: was_sent_to.then(|| FiguresText::of(stats.figures, backlog.waiting, backlog.due, complete)),
        plot: was_sent_to.then(|| stats_plot(&stats)),
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

/// The answer shows the whole exchange, which is too long for a message to the next page: it is a page itself.
#[post("/settings/webhooks/{id}/test")]
async fn test(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&id)?;
    let tested = test_requests::send(&shared, &signed.caller, id).await;
    let mut page = webhook_page(&signed, &shared, id).await?;
    match tested {
        Ok(tested) => page.tested = Some(tested.into()),
        Err(error @ (ApiError::Away(_) | ApiError::Busy(_))) => {
            page.test_failure = Some(format!("{}.", super::capital(&error.to_string())));
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
