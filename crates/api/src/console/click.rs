//! One click and its trace.

use actix_web::get;
use actix_web::web::{Data, Path};
use askama::Template;
use chrono::{DateTime, Utc};

use model::automation::Verdict;

use super::view::{
    Chip, DeliveryRow, Layout, When, delivery_row, device, html, label_facts, outcome, verdict_chip, when,
};
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::path_id;
use crate::desk::clicks::place;
use crate::desk::trace::{self, AtEndpoint, Trace, TracedDelivery};

#[derive(Template)]
#[template(path = "click.html")]
struct ClickPage {
    layout: Layout,
    id: String,
    slug: String,
    link_id: String,
    destination: String,
    chip: Chip,
    score: u8,
    reasons: Vec<(String, i16)>,
    verdict_words: &'static str,
    clicked: When,
    visitor: Vec<(&'static str, String)>,
    labels: Vec<(&'static str, String)>,
    steps: Vec<(&'static str, When, String)>,
    endpoints: Vec<EndpointLine>,
    may_add_webhook: bool,
}

/// What became of the click at an endpoint.
pub struct EndpointLine {
    id: String,
    /// Its URL, or its id.
    name: String,
    /// Why it was not told, or was not told yet.
    reason: Option<String>,
    deliveries: Vec<DeliveryLine>,
}

/// A delivery with its attempts.
pub struct DeliveryLine {
    row: DeliveryRow,
    attempts: Vec<(When, String)>,
}

#[get("/clicks/{id}")]
pub async fn page(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::ClicksRead)?;
    let now = Utc::now();
    let Trace { shown, endpoints } = trace::of_click(&shared, &signed.caller, path_id(&id, "click")?).await?;
    let enriched = &shown.click;
    let click = &enriched.click;
    let labels = &click.link.labels;
    let visitor = [
        ("Place", Some(place(enriched))),
        ("Network", enriched.location.as_organization.clone()),
        ("Device", Some(device(enriched))),
        ("Language", click.request.language().map(str::to_owned)),
        ("Referrer", click.request.referrer.clone()),
        ("User agent", click.request.user_agent.clone()),
    ];
    let tags = ("Tags", (!labels.tags.is_empty()).then(|| labels.tags.join(", ")));
    let labels: Vec<_> = label_facts(labels).into_iter().chain([tags]).collect();
    let known = |facts: Vec<(&'static str, Option<String>)>| -> Vec<(&'static str, String)> {
        facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    };
    let page = ClickPage {
        layout: signed.layout("clicks"),
        id: click.id.to_string(),
        slug: click.link.slug.clone(),
        link_id: click.link.id.to_string(),
        destination: click.destination_url.clone(),
        chip: verdict_chip(enriched.automation.verdict),
        score: enriched.automation.score,
        reasons: enriched.automation.reasons.iter().map(|r| (r.code.clone(), r.weight)).collect(),
        verdict_words: verdict_words(enriched.automation.verdict),
        clicked: when(click.clicked_at, now),
        visitor: known(visitor.into()),
        labels: known(labels),
        steps: vec![
            ("Redirected", when(click.clicked_at, now), "The visitor was sent on.".to_owned()),
            ("Enriched", when(enriched.enriched_at, now), format!("Location: {}.", place(enriched))),
            ("Recorded", when(shown.recorded_at, now), "Stored for reports.".to_owned()),
        ],
        endpoints: endpoints.iter().map(|at| endpoint_line(&signed, at, now)).collect(),
        may_add_webhook: signed.caller.may(Scope::EndpointsWrite),
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

/// What a verdict means.
const fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Human => "Everything looks like a person who opened the link.",
        Verdict::Automated => {
            "A program followed the link: a preview, a security scanner, a bot. It does not count as a click."
        }
        Verdict::Unknown => {
            "It may have been a person or a program. It counts as a click, marked as unclear."
        }
    }
}

fn endpoint_line(signed: &Signed, at: &AtEndpoint, now: DateTime<Utc>) -> EndpointLine {
    let may_see = signed.caller.may(Scope::EndpointsRead);
    let id = at.id.to_string();
    EndpointLine {
        name: at.url.clone().filter(|_| may_see).unwrap_or_else(|| id.clone()),
        id,
        reason: at.reason().map(|(_, sentence)| sentence).filter(|_| may_see),
        deliveries: at.deliveries.iter().map(|delivery| delivery_line(delivery, now)).collect(),
    }
}

fn delivery_line(traced: &TracedDelivery, now: DateTime<Utc>) -> DeliveryLine {
    let attempts = traced.attempts.iter().map(|attempt| {
        let outcome = outcome(attempt.status, attempt.error.as_deref(), Some(attempt.duration_ms));
        (when(attempt.started_at, now), outcome)
    });
    DeliveryLine { row: delivery_row(&traced.delivery, now), attempts: attempts.collect() }
}
