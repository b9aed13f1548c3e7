//! One delivery with its attempts, and the button that tries it again.

use actix_web::web::{Data, Path};
use actix_web::{get, post};
use askama::Template;
use chrono::Utc;
use serde_json::Value;

use model::delivery::DeliveryStatus;
use store::delivery_log::LoggedAttempt;

use super::view::{DeliveryRow, Layout, When, delivery_row, html, outcome, pretty, timings_text, when};
use super::{Flash, Form, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::path_id;
use crate::desk::deliveries;

pub struct AttemptText {
    pub number: u32,
    pub trigger: &'static str,
    pub when: When,
    pub is_success: bool,
    pub outcome: String,
    pub detail: String,
    pub remote_ip: String,
    pub timings: String,
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
    is_replay: bool,
    attempts: Vec<AttemptText>,
}

#[get("/deliveries/{id}")]
pub async fn page(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::DeliveriesRead)?;
    let now = Utc::now();
    let (delivery, attempts) = deliveries::find(&shared, &signed.caller, path_id(&id, "delivery")?).await?;
    let page = DeliveryPage {
        layout: signed.layout("webhooks"),
        row: delivery_row(&delivery, now),
        event_id: delivery.event_id.to_string(),
        click_id: delivery.click_id.map(|id| id.to_string()),
        is_delivered: delivery.status == DeliveryStatus::Delivered,
        is_replay: delivery.replay_id.is_some(),
        attempts: attempts.iter().rev().map(|attempt| attempt_text(attempt, now)).collect(),
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

#[post("/deliveries/{id}/retry")]
pub async fn retry(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::DeliveriesWrite)?;
    let delivery = deliveries::retry(&shared, &signed.caller, path_id(&id, "delivery")?, None).await?;
    let delivery = delivery.into_inner();
    let flash = Flash::Done("It is sent again now. Reload in a moment to see how it went.".to_owned());
    Ok(session::leave(&shared, see_other(&format!("/deliveries/{}", delivery.id)), &flash))
}

fn attempt_text(attempt: &LoggedAttempt, now: chrono::DateTime<Utc>) -> AttemptText {
    AttemptText {
        number: attempt.number,
        trigger: if attempt.trigger == "manual" { "by hand" } else { "on schedule" },
        when: when(attempt.started_at, now),
        is_success: attempt.error.is_none(),
        outcome: outcome(attempt.status, attempt.error.as_deref(), Some(attempt.duration_ms)),
        detail: attempt.error_detail.clone().unwrap_or_default(),
        remote_ip: attempt.remote_ip.clone().unwrap_or_default(),
        timings: timings_text(&attempt.timings),
        request_headers: header_lines(&attempt.request_headers),
        response_headers: header_lines(&attempt.response_headers),
        response_body: attempt.response_body.as_deref().map(pretty).unwrap_or_default(),
    }
}

/// Headers as they would stand on the wire, whether they are kept as pairs or as an object.
fn header_lines(headers: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let lines: Vec<String> = match headers {
        Value::Array(pairs) => pairs
            .iter()
            .filter_map(|pair| Some(format!("{}: {}", text(pair.get(0)?), text(pair.get(1)?))))
            .collect(),
        Value::Object(map) => map.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect(),
        _ => Vec::new(),
    };
    lines.join("\n")
}
