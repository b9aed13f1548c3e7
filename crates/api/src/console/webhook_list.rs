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
use super::webhooks::{EndpointRow, endpoint_row};
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::endpoint_stats::{self, Figures, Glance};
use crate::desk::{alerts, endpoints};
use crate::page::{LIMIT_MAX, PageRequest};

/// Figures of an endpoint in words; empty where there is nothing to tell.
pub struct FiguresText {
    /// `99.8 %`.
    pub success: String,
    /// What that is of: `of 1,204 in 24 h`, `of the newest 200`.
    pub of: String,
    /// `340 ms`, `2.1 s`: from the click until it was accepted.
    pub p95: String,
    /// Half of them.
    pub p50: String,
    /// Length of an attempt.
    pub answer_p95: String,
    /// `3 waiting, 1 due since 12 s`.
    pub backlog: String,
    /// `good`, `wait`, `bad` or `plain`.
    pub kind: &'static str,
}

impl FiguresText {
    /// Figures and what waits.
    pub fn of(figures: Figures, waiting: i64, due: i64, is_backlog_complete: bool) -> Self {
        let tally = figures.tally;
        let rate = tally.success_rate();
        let tried = tally.delivered + tally.dead + tally.retrying;
        let more = if is_backlog_complete { "" } else { "+" };
        Self {
            success: rate.map(percent).unwrap_or_default(),
            of: match figures.is_complete {
                true => format!("of {tried} in 24 h"),
                false => format!("of the newest {tried}"),
            },
            p95: tally.accepted_p95_ms.map(span).unwrap_or_default(),
            p50: tally.accepted_p50_ms.map(span).unwrap_or_default(),
            answer_p95: tally.answer_p95_ms.map(|ms| span(ms.into())).unwrap_or_default(),
            backlog: match (waiting, due) {
                (0, _) => "nothing waits".to_owned(),
                (waiting, 0) => format!("{waiting}{more} waiting, none due"),
                (waiting, due) => format!("{waiting}{more} waiting, {due} due now"),
            },
            kind: match rate {
                None => "plain",
                Some(rate) if rate >= 0.99 => "good",
                Some(rate) if rate >= 0.9 => "wait",
                Some(_) => "bad",
            },
        }
    }
}

/// `100 %`, `99.8 %`; never rounded up to 100.
fn percent(rate: f64) -> String {
    if rate >= 1.0 { "100 %".to_owned() } else { format!("{:.1} %", (rate * 1000.0).floor() / 10.0) }
}

/// A span of time in the unit that reads best.
pub fn span(ms: i64) -> String {
    match ms {
        ..1000 => format!("{} ms", ms.max(0)),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_rounded_up_to_a_hundred() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.9999), "99.9 %");
        assert_eq!(percent(0.0), "0.0 %");
    }

    #[test]
    fn a_span_is_told_in_the_unit_that_reads_best() {
        let told: Vec<String> = [-3, 340, 2150, 61_000, 7_300_000].into_iter().map(span).collect();
        assert_eq!(told, ["0 ms", "340 ms", "2.1 s", "1 min", "2 h"]);
    }
}
