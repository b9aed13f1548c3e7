//! What pages share: the frame around them, times and words as people read them.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};

use model::EnrichedClick;
use model::automation::Verdict;
use model::delivery::{DeliveryStatus, Timings};
use model::link::LinkLabels;
use store::delivery_log::LoggedDelivery;
use store::endpoints::{Endpoint, State};

use super::doors::Doors;
use crate::desk::clicks::{ShownClick, place};
use crate::error::ApiError;

/// The frame around a page.
pub struct Layout {
    /// Which entry of the navigation is the current one.
    pub section: &'static str,
    /// What the person is called, or the key that this session was begun with.
    pub who: String,
    /// Whether it is a person.
    pub is_person: bool,
    /// The workspaces of the person.
    pub workspaces: Vec<WorkspaceChoice>,
    /// The token of the session's forms.
    pub csrf: String,
    /// Which pages are open to them.
    pub open: Doors,
    /// Whether there is a session.
    pub is_signed_in: bool,
    /// What the page before left.
    pub notice: Option<Notice>,
}

/// A workspace that a person may look at.
pub struct WorkspaceChoice {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whether it is the one that is looked at.
    pub is_current: bool,
}

/// A message above the page.
pub struct Notice {
    /// `good` or `bad`.
    pub kind: &'static str,
    /// What it says.
    pub text: String,
}

impl Layout {
    /// The frame of a page without a session.
    pub fn outside() -> Self {
        Self {
            section: "",
            who: String::new(),
            is_person: false,
            workspaces: Vec::new(),
            csrf: String::new(),
            open: Doors::default(),
            is_signed_in: false,
            notice: None,
        }
    }
}

/// Answers a page.
pub fn html(page: &impl Template) -> HttpResponse {
    html_with(StatusCode::OK, page)
}

/// Answers a page with a status of its own.
pub fn html_with(status: StatusCode, page: &impl Template) -> HttpResponse {
    match page.render() {
        Ok(text) => HttpResponse::build(status).content_type("text/html; charset=utf-8").body(text),
        Err(error) => {
            let error = ApiError::Internal(anyhow::Error::new(error).context("failed to render a page"));
            HttpResponse::from_error(error)
        }
    }
}

/// A moment: exact for machines, near for people.
pub struct When {
    /// RFC 3339.
    pub exact: String,
    /// `23 Nov 2026, 14:16:12 UTC`.
    pub full: String,
    /// `3 min ago`, `in 2 h`, or the date when it is far.
    pub near: String,
}

/// How a moment reads at `now`.
pub fn when(at: DateTime<Utc>, now: DateTime<Utc>) -> When {
    let distance = now - at;
    let near = match (distance.abs(), distance >= TimeDelta::zero()) {
        (d, _) if d < TimeDelta::seconds(5) => "just now".to_owned(),
        (d, is_past) if d < TimeDelta::hours(24) => {
            let span = if d < TimeDelta::minutes(1) {
                format!("{} s", d.num_seconds())
            } else if d < TimeDelta::hours(1) {
                format!("{} min", d.num_minutes())
            } else {
                format!("{} h", d.num_hours())
            };
            if is_past { format!("{span} ago") } else { format!("in {span}") }
        }
        _ => at.format("%-d %b %Y").to_string(),
    };
    When {
        exact: at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        full: at.format("%-d %b %Y, %H:%M:%S UTC").to_string(),
        near,
    }
}

/// A word with a colour: `good`, `bad`, `wait` or `plain`.
pub struct Chip {
    /// Its colour.
    pub kind: &'static str,
    /// Its word.
    pub text: &'static str,
}

/// The chip of a verdict.
pub fn verdict_chip(verdict: Verdict) -> Chip {
    match verdict {
        Verdict::Human => Chip { kind: "good", text: "Person" },
        Verdict::Automated => Chip { kind: "plain", text: "Automated" },
        Verdict::Unknown => Chip { kind: "wait", text: "Unclear" },
    }
}

/// A click as a row of a table.
pub struct ClickRow {
    /// Its id.
    pub id: String,
    /// When.
    pub when: When,
    /// Slug of its link.
    pub slug: String,
    /// Id of its link.
    pub link_id: String,
    /// Where from.
    pub place: String,
    /// On which device.
    pub device: String,
    /// By whom.
    pub chip: Chip,
}

/// A click as a row of a table.
pub fn click_row(shown: &ShownClick, now: DateTime<Utc>) -> ClickRow {
    let click = &shown.click;
    ClickRow {
        id: click.click.id.to_string(),
        when: when(click.click.clicked_at, now),
        slug: click.click.link.slug.clone(),
        link_id: click.click.link.id.to_string(),
        place: place(click),
        device: device(click),
        chip: verdict_chip(click.automation.verdict),
    }
}

/// The device of a click in words.
pub fn device(click: &EnrichedClick) -> String {
    let device = &click.device;
    let thing = device.model_name.as_deref().or(device.model.as_deref()).or(device.os.as_deref());
    let parts: Vec<&str> = [thing, device.browser.as_deref()].into_iter().flatten().collect();
    if parts.is_empty() { device.kind.as_str().to_owned() } else { parts.join(" · ") }
}

/// What a link is about and for whom, by name.
pub fn label_facts(labels: &LinkLabels) -> [(&'static str, Option<String>); 8] {
    [
        ("Campaign", labels.campaign_id.clone()),
        ("Conversation", labels.conversation_id.clone()),
        ("Contact", labels.contact_id.clone()),
        ("Message", labels.message_id.clone()),
        ("Channel", labels.channel.clone()),
        ("Sequence", labels.sequence_id.clone()),
        ("Step", labels.step_id.clone()),
        ("Your id", labels.external_id.clone()),
    ]
}

/// The state and health of an endpoint as one chip, and a sentence that explains it.
pub fn endpoint_chip(endpoint: &Endpoint, now: DateTime<Utc>) -> (Chip, String) {
    let health = endpoint.health.clone().unwrap_or_default();
    match endpoint.state {
        State::Paused => {
            (Chip { kind: "wait", text: "Paused" }, "What it is owed waits until you resume it.".to_owned())
        }
        State::Disabled => {
            let reason = endpoint.state_reason.as_deref().unwrap_or("switched off");
            (Chip { kind: "plain", text: "Disabled" }, format!("Nothing is sent: {reason}."))
        }
        State::Active if endpoint.options.is_pulled() => {
            (Chip { kind: "plain", text: "Fetched" }, "Your program fetches its events.".to_owned())
        }
        State::Active if health.paused_until.is_some_and(|until| until > now) => {
            (Chip { kind: "wait", text: "Waiting" }, "It asked us to wait (Retry-After).".to_owned())
        }
        State::Active if health.failed > 0 => {
            let since = health
                .first_failure_at
                .map_or_else(String::new, |at| format!(", first {}", when(at, now).near));
            let attempts = if health.failed == 1 { "attempt" } else { "attempts" };
            (
                Chip { kind: "bad", text: "Failing" },
                format!("{} failed {attempts} since the last success{since}.", health.failed),
            )
        }
        State::Active => match health.last_success_at {
            Some(at) => (
                Chip { kind: "good", text: "Healthy" },
                format!("{} delivered, last {}.", health.delivered, when(at, now).near),
            ),
            None => (Chip { kind: "plain", text: "Active" }, "Nothing has been sent yet.".to_owned()),
        },
    }
}

/// A delivery as a row of a table.
pub struct DeliveryRow {
    /// Its id.
    pub id: String,
    /// When its event happened.
    pub when: When,
    /// Where it stands.
    pub chip: Chip,
    /// Type of its event.
    pub event_type: String,
    /// Attempts so far.
    pub attempts: u32,
    /// What the last attempt came to.
    pub outcome: String,
    /// When it is tried next.
    pub next: Option<When>,
    /// The endpoint's URL or id, where pages show several.
    pub endpoint: String,
}

/// A delivery as a row of a table.
pub fn delivery_row(delivery: &LoggedDelivery, now: DateTime<Utc>) -> DeliveryRow {
    let chip = match delivery.status {
        DeliveryStatus::Delivered => Chip { kind: "good", text: "Delivered" },
        DeliveryStatus::Dead => Chip { kind: "bad", text: "Given up" },
        DeliveryStatus::Offered => Chip { kind: "good", text: "To be fetched" },
        DeliveryStatus::Pending if delivery.attempt_count > 0 => Chip { kind: "wait", text: "Retrying" },
        DeliveryStatus::Pending => Chip { kind: "wait", text: "Waiting" },
    };
    DeliveryRow {
        id: delivery.id.to_string(),
        when: when(delivery.event_id.timestamp(), now),
        chip,
        event_type: delivery.event_type.clone(),
        attempts: delivery.attempt_count,
        outcome: match delivery.status {
            DeliveryStatus::Offered => "your program fetches it".to_owned(),
            _ => outcome(delivery.last_status, delivery.last_error.as_deref(), delivery.duration_ms),
        },
        // one that is due is told as now, not as a moment gone by
        next: delivery.next_attempt_at.map(|at| match when(at, now) {
            due if at <= now => When { near: "now".to_owned(), ..due },
            later => later,
        }),
        endpoint: delivery.endpoint_id.to_string(),
    }
}

/// Where the time of an attempt went: `look-up 1.2 ms, connection 3.4 ms, first byte after 20 ms`.
pub fn timings_text(timings: &Timings) -> String {
    let ms = |us: u32| format!("{:.1} ms", f64::from(us) / 1000.0);
    let mut parts = Vec::new();
    parts.extend(timings.dns_us.map(|us| format!("look-up {}", ms(us))));
    parts.extend(timings.connect_us.map(|us| format!("connection {}", ms(us))));
    parts.extend(timings.tls_us.map(|us| format!("TLS {}", ms(us))));
    parts.extend((timings.is_reused == Some(true)).then(|| "kept connection".to_owned()));
    parts.extend(timings.first_byte_us.map(|us| format!("first byte after {}", ms(us))));
    parts.join(", ")
}

/// What an attempt came to: `200 in 34 ms`, `timeout after 15000 ms`.
pub fn outcome(status: Option<u16>, error: Option<&str>, duration_ms: Option<u32>) -> String {
    let result = match (status, error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => error.replace('_', " "),
        (None, None) => return "–".to_owned(),
    };
    match duration_ms {
        Some(duration) if status.is_some() => format!("{result} in {duration} ms"),
        Some(duration) => format!("{result} after {duration} ms"),
        None => result,
    }
}

/// JSON with line breaks; what is not JSON stays as it is.
pub fn pretty(text: &str) -> String {
    let value: Result<serde_json::Value, _> = serde_json::from_str(text);
    value.ok().and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_moment_is_told_by_its_distance() {
        let now = Utc::now();
        let near = |seconds: i64| when(now - TimeDelta::seconds(seconds), now).near;

        assert_eq!(near(2), "just now");
        assert_eq!(near(50), "50 s ago");
        assert_eq!(near(200), "3 min ago");
        assert_eq!(near(-7300), "in 2 h");
        assert_eq!(when(DateTime::UNIX_EPOCH, now).near, "1 Jan 1970");
    }
}
