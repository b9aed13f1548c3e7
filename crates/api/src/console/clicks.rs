//! One click and its trace.

use actix_web::get;
use actix_web::web::{Data, Path};
use askama::Template;
use chrono::Utc;

use super::view::{Chip, DeliveryRow, Layout, When, delivery_row, device, html, verdict_chip, when};
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::path_id;
use crate::desk::clicks::{self, place};

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
    facts: Vec<(&'static str, String)>,
    steps: Vec<(&'static str, When, String)>,
    deliveries: Vec<DeliveryRow>,
}

#[get("/clicks/{id}")]
pub async fn page(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::ClicksRead)?;
    let now = Utc::now();
    let (shown, deliveries) = clicks::find(&shared, &signed.caller, path_id(&id, "click")?).await?;
    let enriched = &shown.click;
    let click = &enriched.click;
    let labels = &click.link.labels;
    let facts = [
        ("Place", Some(place(enriched))),
        ("Network", enriched.location.as_organization.clone()),
        ("Device", Some(device(enriched))),
        ("Language", click.request.language().map(str::to_owned)),
        ("Referrer", click.request.referrer.clone()),
        ("Campaign", labels.campaign_id.clone()),
        ("Conversation", labels.conversation_id.clone()),
        ("Contact", labels.contact_id.clone()),
        ("Message", labels.message_id.clone()),
        ("User agent", click.request.user_agent.clone()),
    ];
    let page = ClickPage {
        layout: signed.layout("overview"),
        id: click.id.to_string(),
        slug: click.link.slug.clone(),
        link_id: click.link.id.to_string(),
        destination: click.destination_url.clone(),
        chip: verdict_chip(enriched.automation.verdict),
        score: enriched.automation.score,
        reasons: enriched.automation.reasons.iter().map(|r| (r.code.clone(), r.weight)).collect(),
        facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        steps: vec![
            ("Redirected", when(click.clicked_at, now), "The visitor was sent on.".to_owned()),
            ("Enriched", when(enriched.enriched_at, now), format!("Location: {}.", place(enriched))),
            ("Recorded", when(shown.recorded_at, now), "Stored for reports.".to_owned()),
        ],
        deliveries: deliveries.iter().map(|delivery| delivery_row(delivery, now)).collect(),
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}
