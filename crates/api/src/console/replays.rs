//! Replays of one webhook: what to send again, how much that is, and how far it is.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use model::EndpointId;
use store::endpoints::{Endpoint, State};
use store::replays::{Replay, ReplayState, What};

use super::form::{self, Form};
use super::view::{Chip, Layout, When, html_with, when};
use super::{Flash, PageError, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::path_id;
use crate::desk::idempotency::Done;
use crate::desk::replay_count::Count;
use crate::desk::replays::{self, Asked, Asking};
use crate::desk::{endpoints, now};
use crate::error::ApiError;
use crate::page::PageRequest;
use crate::v1::endpoints::endpoint_id;
use crate::v1::time;

/// Replays that are shown.
const REPLAYS_SHOWN: i64 = 10;

/// How far back a replay can reach, in hours.
const SPANS: [(&str, i64); 4] =
    [("the last hour", 1), ("the last day", 24), ("the last week", 7 * 24), ("the last 30 days", 30 * 24)];

/// What stands for deliveries that were chosen one by one.
const SELECTED: &str = "selected";

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show).service(show_progress).service(count).service(begin).service(cancel);
}

struct ReplayRow {
    id: String,
    chip: Chip,
    what: &'static str,
    /// Whose clicks alone; empty: all.
    campaign: String,
    since: When,
    created: When,
    progress: String,
    done: i64,
    total: Option<i64>,
    is_running: bool,
}

fn replay_row(replay: &Replay, now: DateTime<Utc>) -> ReplayRow {
    let of = replay.total.map_or_else(String::new, |total| format!(" of {total}"));
    let error = replay.error.as_deref().map_or_else(String::new, |e| format!(": {}", e.replace('_', " ")));
    ReplayRow {
        id: replay.id.to_string(),
        chip: match replay.state {
            ReplayState::Running => Chip { kind: "wait", text: "Running" },
            ReplayState::Done => Chip { kind: "good", text: "Done" },
            ReplayState::Cancelled => Chip { kind: "plain", text: "Cancelled" },
            ReplayState::Failed => Chip { kind: "bad", text: "Stopped" },
        },
        what: what_text(replay.selection.what),
        campaign: replay.selection.campaign_id.clone().unwrap_or_default(),
        since: when(replay.selection.since, now),
        created: when(replay.created_at, now),
        progress: format!("{}{of} in line{error}", replay.done),
        done: i64::try_from(replay.done).unwrap_or(i64::MAX),
        total: replay.total.and_then(|total| i64::try_from(total).ok()),
        is_running: replay.state == ReplayState::Running,
    }
}

fn what_text(what: What) -> &'static str {
    match what {
        What::Dead => "Given up",
        What::Delivered => "Delivered",
        What::Any => "Given up and delivered",
        What::Missing => "Missed clicks",
    }
}

/// What was chosen and counted, to be confirmed.
struct Counted {
    what: String,
    /// Those that were chosen one by one.
    delivery_ids: Vec<String>,
    /// Only of this campaign; empty: of all.
    campaign: String,
    since: String,
    until: String,
    sentence: String,
    is_nothing: bool,
}

#[derive(Template)]
#[template(path = "replays.html")]
struct ReplaysPage {
    layout: Layout,
    endpoint_id: String,
    url: String,
    is_disabled: bool,
    may_replay: bool,
    spans: [(&'static str, i64); 4],
    /// It was disabled from then on until now, exact and for people.
    missed: Option<When>,
    counted: Option<Counted>,
    failure: Option<String>,
    is_first: bool,
    progress: ProgressPart,
}

/// The replays so far: the part of the page that changes while one runs.
#[derive(Template)]
#[template(path = "replay_progress.html")]
struct ProgressPart {
    endpoint_id: String,
    csrf: String,
    may_replay: bool,
    is_running: bool,
    replays: Vec<ReplayRow>,
}

/// What the page before knows of the endpoint.
#[derive(Deserialize)]
struct Missed {
    /// When it was disabled that was just enabled.
    missed_since: Option<String>,
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc))
}

#[get("/settings/webhooks/{id}/replays")]
async fn show(signed: Signed, id: Path<String>, asked: Query<Missed>, shared: Data<Shared>) -> PageResult {
    let mut page = page(&signed, &shared, endpoint_id(&id)?).await?;
    page.missed = asked.missed_since.as_deref().and_then(moment).map(|since| when(since, Utc::now()));
    Ok(session::taken(&shared, html_with(StatusCode::OK, &page), signed.flash.as_ref()))
}

async fn page(signed: &Signed, shared: &Shared, id: EndpointId) -> Result<ReplaysPage, PageError> {
    signed.caller.require(Scope::DeliveriesRead)?;
    let endpoint: Endpoint = endpoints::find(shared, &signed.caller, id).await?;
    let progress = progress_part(signed, shared, id).await?;
    Ok(ReplaysPage {
        layout: signed.layout("webhooks"),
        endpoint_id: id.to_string(),
        url: endpoint.options.url.to_string(),
        is_disabled: endpoint.state == State::Disabled,
        may_replay: signed.caller.may(Scope::DeliveriesWrite),
        spans: SPANS,
        missed: None,
        counted: None,
        failure: None,
        is_first: progress.replays.is_empty(),
        progress,
    })
}

async fn progress_part(signed: &Signed, shared: &Shared, id: EndpointId) -> Result<ProgressPart, PageError> {
    let asked = Asked { endpoint_id: Some(id), page: PageRequest::first(REPLAYS_SHOWN - 1) };
    let rows = replays::list(shared, &signed.caller, &asked).await?;
    let now = Utc::now();
    Ok(ProgressPart {
        endpoint_id: id.to_string(),
        csrf: signed.session.token.clone(),
        may_replay: signed.caller.may(Scope::DeliveriesWrite),
        is_running: rows.iter().any(|replay| replay.state == ReplayState::Running),
        replays: rows.iter().map(|replay| replay_row(replay, now)).collect(),
    })
}

/// The replays so far by themselves, for the script that looks again.
#[get("/settings/webhooks/{id}/replays/progress")]
async fn show_progress(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::DeliveriesRead)?;
    let endpoint = endpoints::find(&shared, &signed.caller, endpoint_id(&id)?).await?;
    Ok(html_with(StatusCode::OK, &progress_part(&signed, &shared, endpoint.id).await?))
}

/// Counting changes nothing: the answer is the page, with the count and the button that begins.
#[post("/settings/webhooks/{id}/replays/count")]
async fn count(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::DeliveriesWrite)?;
    let id = endpoint_id(&id)?;
    let until = now();
    let hours = form
        .text("hours")
        .and_then(|text| text.parse().ok())
        .filter(|hours| SPANS.iter().any(|s| s.1 == *hours));
    let since = form.text("since").and_then(moment);
    let since = time(since.unwrap_or(until - TimeDelta::hours(hours.unwrap_or(24))));
    let until = time(until);
    let what = form.text("what").unwrap_or("dead").to_owned();
    let chosen = form.all("delivery_ids");
    let campaign = form.text("campaign_id").unwrap_or_default().to_owned();
    if what == SELECTED && chosen.is_empty() {
        let flash = Flash::Failed("Choose at least one delivery first.".to_owned());
        return Ok(session::leave(
            &shared,
            see_other(&format!("/settings/webhooks/{id}/deliveries")),
            &flash,
        ));
    }
    let mut wanted = object(id, &what, &since, &until, &campaign, &chosen);
    wanted.insert("dry_run".to_owned(), true.into());
    let asking = replays::create(&shared, &signed.caller, form::read(wanted)?, None).await;
    let asking = asking.map(Done::into_inner);
    let mut page = page(&signed, &shared, id).await?;
    match asking {
        Ok(Asking::Counted(count)) => {
            page.counted = Some(Counted {
                sentence: sentence(&what, &campaign, count),
                is_nothing: count.matching == 0 && count.is_complete,
                delivery_ids: match what.as_str() {
                    SELECTED => chosen.into_iter().map(str::to_owned).collect(),
                    _ => Vec::new(),
                },
                campaign,
                what,
                since,
                until,
            });
        }
        Ok(Asking::Begun(_)) => {}
        Err(error) => page.failure = Some(refusal(error)?),
    }
    Ok(html_with(StatusCode::OK, &page))
}

/// How many were counted of what was chosen.
fn sentence(what: &str, campaign: &str, counted: Count) -> String {
    let Count { matching, is_complete } = counted;
    let there_are = match (is_complete, matching) {
        (true, 1) => "There is",
        (true, _) => "There are",
        (false, _) => "There are at least",
    };
    let noun = match (what, matching) {
        ("missing", 1) => "click that it has not got",
        ("missing", _) => "clicks that it has not got",
        ("delivered", 1) => "event that it accepted",
        ("delivered", _) => "events that it accepted",
        ("any", 1) => "event that it accepted or whose delivery was given up",
        ("any", _) => "events that it accepted or whose delivery was given up",
        (SELECTED, 1) => "event among those you chose that can be sent again",
        (SELECTED, _) => "events among those you chose that can be sent again",
        (_, 1) => "event whose delivery was given up",
        _ => "events whose delivery was given up",
    };
    match campaign {
        "" => format!("{there_are} {matching} {noun}."),
        campaign => format!("{there_are} {matching} {noun}, of the campaign {campaign}."),
    }
}

#[post("/settings/webhooks/{id}/replays")]
async fn begin(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::DeliveriesWrite)?;
    let id = endpoint_id(&id)?;
    let text = |name: &str| form.text(name).unwrap_or_default();
    let (since, until, campaign) = (text("since"), text("until"), text("campaign_id"));
    let wanted = object(id, text("what"), since, until, campaign, &form.all("delivery_ids"));
    let flash = match replays::create(&shared, &signed.caller, form::read(wanted)?, None).await {
        Ok(_) => Flash::Done("The replay has begun. Reload to see how far it is.".to_owned()),
        Err(error) => Flash::Failed(refusal(error)?),
    };
    Ok(session::leave(&shared, see_other(&format!("/settings/webhooks/{id}/replays")), &flash))
}

#[post("/settings/webhooks/{id}/replays/{replay_id}/cancel")]
async fn cancel(
    signed: Signed,
    _form: Form,
    path: Path<(String, String)>,
    shared: Data<Shared>,
) -> PageResult {
    signed.caller.require(Scope::DeliveriesWrite)?;
    let replay = replays::cancel(&shared, &signed.caller, path_id(&path.1, "replay")?).await?;
    let flash = Flash::Done("The replay is cancelled. What is in line already is sent.".to_owned());
    let page = format!("/settings/webhooks/{}/replays", replay.selection.endpoint_id);
    Ok(session::leave(&shared, see_other(&page), &flash))
}

/// The body that the API takes for it.
fn object(
    id: EndpointId,
    what: &str,
    since: &str,
    until: &str,
    campaign: &str,
    chosen: &[&str],
) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("endpoint_id".to_owned(), json!(id));
    if what == SELECTED {
        object.insert("delivery_ids".to_owned(), json!(chosen));
        return object;
    }
    object.insert("since".to_owned(), since.into());
    object.insert("until".to_owned(), until.into());
    if !campaign.is_empty() {
        object.insert("campaign_id".to_owned(), campaign.into());
    }
    match what {
        "missing" => object.insert("missing_only".to_owned(), true.into()),
        "delivered" | "any" => object.insert("status".to_owned(), what.into()),
        _ => object.insert("status".to_owned(), "dead".into()),
    };
    object
}

/// What is there already forbids it: told on the page.
fn refusal(error: ApiError) -> Result<String, PageError> {
    match error {
        ApiError::Conflict { .. } => Ok(format!("{}.", super::capital(&error.to_string()))),
        error => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_in_a_sentence() {
        let told = |what: &str, campaign: &str, matching: u64, is_complete: bool| {
            sentence(what, campaign, Count { matching, is_complete })
        };

        assert_eq!(told("dead", "", 1, true), "There is 1 event whose delivery was given up.");
        assert_eq!(told("delivered", "", 0, true), "There are 0 events that it accepted.");
        assert_eq!(
            told("missing", "spring", 2, true),
            "There are 2 clicks that it has not got, of the campaign spring."
        );
        assert_eq!(
            told(SELECTED, "", 50_000, false),
            "There are at least 50000 events among those you chose that can be sent again."
        );
    }
}
