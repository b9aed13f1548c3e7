//! One delivery with its attempts, and the buttons that try it again or give it up.

use actix_web::web::{Data, Path};
use actix_web::{get, post};
use askama::Template;
use chrono::Utc;
use serde_json::Value;

use model::delivery::{DeliveryStatus, Timings};
use model::{BatchId, DeliveryId};
use store::delivery_log::{LoggedAttempt, LoggedDelivery};
use store::endpoints::Endpoint;

use super::findings::{FindingText, wanting};
use super::view::{DeliveryRow, Layout, When, delivery_row, html, outcome, pretty, timings_text, when};
use super::{Flash, Form, PageResult, Signed, refused, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::path_id;
use crate::desk::{curl, deliveries, delivery_batches, diagnosis, endpoints, sent};
use crate::error::ApiError;

pub struct AttemptText {
    pub number: u32,
    pub trigger: &'static str,
    pub when: When,
    pub is_success: bool,
    pub outcome: String,
    pub detail: String,
    pub remote_ip: String,
    /// Where it went, if its webhook is elsewhere by now.
    pub url: String,
    pub timings: String,
    /// The same as a bar.
    pub bar: Vec<BarPart>,
    pub request_headers: String,
    pub response_headers: String,
    pub response_body: String,
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct DeliveryPage {
    layout: Layout,
    row: DeliveryRow,
    event_id: String,
    click_id: Option<String>,
    is_delivered: bool,
    /// It waits, and may be given up.
    is_waiting: bool,
    /// Its place among what its endpoint is owed; empty where that is not counted.
    sequence: String,
    is_replay: bool,
    batch: Option<BatchText>,
    attempts: Vec<AttemptText>,
    /// What was sent, each attempt the same bytes; empty for who may not see clicks, if it is one.
    body: String,
    /// A command that sends it by hand.
    curl: String,
    may_retry: bool,
    /// What is wrong with it, if anything is.
    findings: Vec<FindingText>,
}

/// The request that it goes in with others.
struct BatchText {
    id: String,
    events: u32,
    status: String,
}

#[get("/deliveries/{id}")]
pub async fn page(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::DeliveriesRead)?;
    let now = Utc::now();
    let (delivery, mut attempts) =
        deliveries::find(&shared, &signed.caller, path_id(&id, "delivery")?).await?;
    // the body of a click is the whole click
    let may_see_body = delivery.click_id.is_none() || signed.caller.may(Scope::ClicksRead);
    let body = match may_see_body {
        true => sent::body(&shared, &signed.caller, &delivery).await?,
        false => None,
    };
    let may_retry = signed.caller.may(Scope::DeliveriesWrite);
    let curl = match may_see_body && may_retry && signed.caller.may(Scope::EndpointsRead) {
        true => command(&signed, &shared, &delivery, attempts.last()).await?,
        false => String::new(),
    };
    let endpoint = match endpoints::find(&shared, &signed.caller, delivery.endpoint_id).await {
        Ok(endpoint) => Some(endpoint),
        Err(ApiError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let batch = match delivery.batch_id {
        Some(id) => batch(&signed, &shared, id, &mut attempts).await?,
        None => None,
    };
    let finding = diagnosis::delivery::finding(&delivery, endpoint.as_ref(), shared.ownership, now);
    let page = DeliveryPage {
        body: body.map(|body| pretty(&String::from_utf8_lossy(&body))).unwrap_or_default(),
        curl,
        may_retry,
        findings: wanting(std::slice::from_ref(&finding), &signed.caller),
        layout: signed.layout("webhooks"),
        row: delivery_row(&delivery, now),
        event_id: delivery.event_id.to_string(),
        click_id: delivery.click_id.map(|id| id.to_string()),
        is_delivered: delivery.status == DeliveryStatus::Delivered,
        is_waiting: delivery.status == DeliveryStatus::Pending,
        sequence: delivery.sequence.map(|sequence| sequence.to_string()).unwrap_or_default(),
        is_replay: delivery.replay_id.is_some(),
        batch,
        attempts: attempts
            .iter()
            .rev()
            .map(|attempt| attempt_text(attempt, endpoint.as_ref(), now))
            .collect(),
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

/// A command that sends it by hand, for who may also have it sent again; empty when its endpoint was removed, and has no URL any
/// more.
async fn command(
    signed: &Signed,
    shared: &Shared,
    delivery: &LoggedDelivery,
    attempt: Option<&LoggedAttempt>,
) -> Result<String, ApiError> {
    match curl::of_delivery(shared, &signed.caller, delivery, attempt).await {
        Ok(curl) => Ok(curl.unwrap_or_default()),
        Err(ApiError::NotFound(_)) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// The batch of a delivery, if it is kept; its attempts are shown among the delivery's own.
async fn batch(
    signed: &Signed,
    shared: &Shared,
    id: BatchId,
    attempts: &mut Vec<LoggedAttempt>,
) -> Result<Option<BatchText>, ApiError> {
    let (batch, of_batch) = match delivery_batches::find(shared, &signed.caller, id).await {
        Ok(found) => found,
        Err(ApiError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    attempts.extend(of_batch);
    attempts.sort_by_key(|attempt| attempt.started_at);
    Ok(Some(BatchText { id: batch.id.to_string(), events: batch.events, status: batch.status }))
}

#[post("/deliveries/{id}/retry")]
pub async fn retry(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::DeliveriesWrite)?;
    let delivery = deliveries::retry(&shared, &signed.caller, path_id(&id, "delivery")?, None).await?;
    let delivery = delivery.into_inner();
    let flash = Flash::Done(
        "It is sent again as soon as the webhook may be sent to. Reload in a moment to see how it went."
            .to_owned(),
    );
    Ok(session::leave(&shared, see_other(&format!("/deliveries/{}", delivery.id)), &flash))
}

#[post("/deliveries/{id}/give-up")]
pub async fn give_up(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::DeliveriesWrite)?;
    let id: DeliveryId = path_id(&id, "delivery")?;
    let flash = match deliveries::give_up(&shared, &signed.caller, id, None).await {
        Ok(_) => Flash::Done("Given up. It can still be sent again, or replayed.".to_owned()),
        Err(error) => refused(error)?,
    };
    Ok(session::leave(&shared, see_other(&format!("/deliveries/{id}")), &flash))
}

fn attempt_text(
    attempt: &LoggedAttempt,
    endpoint: Option<&Endpoint>,
    now: chrono::DateTime<Utc>,
) -> AttemptText {
    let is_elsewhere = |url: &String| endpoint.is_none_or(|endpoint| endpoint.options.url.as_str() != url);
    AttemptText {
        url: attempt.url.clone().filter(is_elsewhere).unwrap_or_default(),
        number: attempt.number,
        trigger: if attempt.trigger == "manual" { "by hand" } else { "on schedule" },
        when: when(attempt.started_at, now),
        is_success: attempt.error.is_none(),
        outcome: outcome(attempt.status, attempt.error.as_deref(), Some(attempt.duration_ms)),
        detail: attempt.error_detail.clone().unwrap_or_default(),
        remote_ip: attempt.remote_ip.clone().unwrap_or_default(),
        timings: timings_text(&attempt.timings),
        bar: bar(&attempt.timings, attempt.duration_ms),
        request_headers: header_lines(&attempt.request_headers),
        response_headers: header_lines(&attempt.response_headers),
        response_body: attempt.response_body.as_deref().map(pretty).unwrap_or_default(),
    }
}

/// Headers as they would stand on the wire, whether they are kept as pairs or as an object.
fn header_lines(headers: &Value) -> String {
    let lines = sent::pairs(headers).into_iter().map(|(name, value)| format!("{name}: {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A part of the bar of an attempt: where it stands among a thousand.
pub struct BarPart {
    /// Which.
    pub kind: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// How long it took.
    pub text: String,
    /// Where it begins.
    pub x: u64,
    /// How wide it is.
    pub width: u64,
}

/// Where the time of an attempt went, part after part; nothing where it was not measured.
fn bar(timings: &Timings, duration_ms: u32) -> Vec<BarPart> {
    let Some(first_byte) = timings.first_byte_us else { return Vec::new() };
    let part = |us: Option<u32>| u64::from(us.unwrap_or_default());
    let (dns, connect, tls) = (part(timings.dns_us), part(timings.connect_us), part(timings.tls_us));
    let first_byte = u64::from(first_byte);
    let waited = first_byte.saturating_sub(dns + connect + tls);
    let rest = (u64::from(duration_ms) * 1000).saturating_sub(first_byte);
    let parts = [
        ("dns", "look-up", dns),
        ("connect", "connection", connect),
        ("tls", "TLS", tls),
        ("wait", "your program", waited),
        ("rest", "the rest of the answer", rest),
    ];
    let total = parts.iter().map(|(_, _, us)| us).sum::<u64>().max(1);
    let mut before = 0;
    let there = parts.into_iter().filter(|(_, _, us)| *us > 0);
    there
        .map(|(kind, name, us)| {
            let (x, end) = (before * 1000 / total, (before + us) * 1000 / total);
            before += us;
            let text = format!("{}.{} ms", us / 1000, us % 1000 / 100);
            // what took next to nothing is still seen
            BarPart { kind, name, text, x, width: (end - x).max(2) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_of_an_attempt_is_as_long_as_its_parts() {
        let timings = Timings {
            dns_us: Some(1_000),
            connect_us: Some(1_000),
            tls_us: None,
            first_byte_us: Some(8_000),
            is_reused: Some(false),
        };

        let bar: Vec<_> = bar(&timings, 10).into_iter().map(|part| (part.kind, part.x, part.width)).collect();

        assert_eq!(bar, [("dns", 0, 100), ("connect", 100, 100), ("wait", 200, 600), ("rest", 800, 200)]);
    }
}
