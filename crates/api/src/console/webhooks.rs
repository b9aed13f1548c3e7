//! The list of webhooks with their health, and the card of the alert URL.

use actix_web::get;
use actix_web::web::Data;
use askama::Template;
use chrono::Utc;

use model::EndpointId;
use store::endpoints::Endpoint;

use super::alerts::AlertCard;
use super::form::{Errors, Form};
use super::view::{Layout, html};
use super::webhook_row::{EndpointRow, endpoint_row};
use super::webhook_stats::FiguresText;
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::endpoint_stats::{self, Glance};
use crate::desk::{alerts, endpoints};
use crate::page::{LIMIT_MAX, PageRequest};

struct ListRow {
    row: EndpointRow,
    figures: FiguresText,
    /// What to do about its state; empty when it is well.
    advice: &'static str,
}

#[derive(Template)]
#[template(path = "webhooks.html")]
pub(super) struct WebhooksPage {
    layout: Layout,
    endpoints: Vec<ListRow>,
    alert: AlertCard,
    may_change: bool,
    /// Whether figures are shown.
    has_figures: bool,
}

#[get("/settings/webhooks")]
pub(super) async fn list(signed: Signed, shared: Data<Shared>) -> PageResult {
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
    let mut rows = endpoints::list(shared, caller, &PageRequest::first(LIMIT_MAX)).await?;
    rows.truncate(usize::try_from(LIMIT_MAX).unwrap_or(usize::MAX));
    let alert = alerts::find(shared, caller).await?;
    let has_figures = caller.may(Scope::DeliveriesRead);
    let ids: Vec<EndpointId> = rows.iter().map(|endpoint| endpoint.id).collect();
    let glances = match has_figures {
        true => endpoint_stats::glances(shared, caller, &ids).await?,
        false => vec![Glance::default(); rows.len()],
    };
    Ok(WebhooksPage {
        layout: signed.layout("webhooks"),
        endpoints: rows.iter().zip(glances).map(|(endpoint, glance)| list_row(endpoint, glance)).collect(),
        alert: AlertCard::of(alert.as_ref(), typed),
        may_change: caller.may(Scope::EndpointsWrite),
        has_figures,
    })
}

fn list_row(endpoint: &Endpoint, glance: Glance) -> ListRow {
    let row = endpoint_row(endpoint);
    let Glance { figures, backlog, is_backlog_complete } = glance;
    ListRow {
        advice: advice(endpoint),
        figures: FiguresText::of(figures, backlog.waiting, backlog.due, is_backlog_complete),
        row,
    }
}

/// What a person can do about the state of an endpoint; empty when it is well.
pub fn advice(endpoint: &Endpoint) -> &'static str {
    use store::endpoints::State;
    let health = endpoint.health.as_ref();
    match (endpoint.state, endpoint.state_reason.as_deref()) {
        (State::Paused, _) => "Resume it to have what waits sent.",
        (State::Disabled, Some("gone")) => {
            "Your program answered 410 Gone. Mend that, enable it, and replay what it missed."
        }
        (State::Disabled, Some("failing")) => {
            "It only failed for days. Mend your program, enable it, and replay what it missed."
        }
        (State::Disabled, _) => "Enable it, and replay what it missed.",
        (State::Active, _)
            if health.is_some_and(|h| h.paused_until.is_some_and(|until| until > Utc::now())) =>
        {
            "What it is owed is sent when the pause is over. If that happens often, give it a rate."
        }
        (State::Active, _) if health.is_some_and(|health| health.failed > 0) => {
            "Open it: its last deliveries say what came back, and what to do."
        }
        (State::Active, _) => "",
    }
}
