//! Click to test: a new webhook is tried with a real click, which is followed until the subscriber has it.
//!
//! The page polls its own part with a script (`assets/scripts/wizard.js`), and without one has a button that looks again.

use std::net::IpAddr;

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};

use model::EndpointId;
use store::links::Link;

use super::findings::{FindingText, wanting};
use super::form::Form;
use super::view::{Layout, When, device, html, outcome, pretty, timings_text, verdict_chip, when};
use super::webhook_stats::span;
use super::{PageError, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Query;
use crate::desk::clicks::place;
use crate::desk::diagnosis::{Code, Finding};
use crate::desk::signature_check::CheckedSignature;
use crate::desk::tryout::{self, Progress, Sent};
use crate::desk::{endpoints, links, secrets};
use crate::fields::{Fields, FromFields, moment};
use crate::v1::endpoints::endpoint_id;
use crate::v1::time;

/// A click that was made before the page was opened is followed, if it was not long before.
const LOOK_BACK: TimeDelta = TimeDelta::minutes(10);

/// The last step of a click that the subscriber fetches.
const TO_BE_FETCHED: &str = "There to be fetched";

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show).service(show_progress).service(make_link);
}

/// From which moment on a click is followed.
struct Asked {
    since: Option<DateTime<Utc>>,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { since: fields.optional("since", moment) })
    }
}

/// How far one step is.
struct Step {
    name: &'static str,
    /// `done`, `now`, `bad` or `todo`.
    state: &'static str,
    when: Option<When>,
    /// How long after the click.
    after: String,
    text: String,
    findings: Vec<FindingText>,
}

impl Step {
    fn new(name: &'static str, state: &'static str, text: impl Into<String>) -> Self {
        Self { name, state, when: None, after: String::new(), text: text.into(), findings: Vec::new() }
    }

    fn at(mut self, at: DateTime<Utc>, clicked_at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        self.when = Some(when(at, now));
        let ms = (at - clicked_at).num_milliseconds();
        self.after = if ms > 0 { format!("{} after the click", span(ms)) } else { String::new() };
        self
    }

    fn with(mut self, findings: Vec<FindingText>) -> Self {
        self.findings = findings;
        self
    }
}

/// What the subscriber answered.
struct AnswerText {
    outcome: String,
    is_success: bool,
    detail: String,
    timings: String,
    headers: String,
    body: String,
}

/// How the signature of what was sent is checked.
struct SignatureText {
    is_kept: bool,
    id: String,
    timestamp: String,
    signature: String,
}

impl From<CheckedSignature> for SignatureText {
    fn from(checked: CheckedSignature) -> Self {
        let CheckedSignature { id, timestamp, signature, is_kept, .. } = checked;
        Self { is_kept, id, timestamp, signature }
    }
}

/// The part of the page that changes.
#[derive(Template)]
#[template(path = "wizard_progress.html")]
struct ProgressPart {
    endpoint_id: String,
    is_done: bool,
    /// Whether it is there to be fetched, in place of sent.
    is_pulled: bool,
    /// The click that is followed.
    click_id: String,
    steps: Vec<Step>,
    answer: Option<AnswerText>,
    signature: Option<SignatureText>,
    delivery_id: String,
}

#[derive(Template)]
#[template(path = "wizard.html")]
struct WizardPage {
    layout: Layout,
    endpoint_id: String,
    url: String,
    /// Its secret, right after it was made.
    secret: Option<String>,
    /// The link to click; empty while there is none.
    tracked_url: String,
    link_id: String,
    /// Whether the link's page and code may be seen.
    may_see_link: bool,
    /// Whether the link leads to this machine alone.
    is_local: bool,
    may_make_link: bool,
    may_test: bool,
    since: String,
    now: String,
    part: Option<ProgressPart>,
}

#[get("/settings/webhooks/{id}/try")]
async fn show(signed: Signed, id: Path<String>, query: Query, shared: Data<Shared>) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::EndpointsRead)?;
    let id = endpoint_id(&id)?;
    let endpoint = endpoints::find(&shared, caller, id).await?;
    let (now, since) = (Utc::now(), since(query.read()?, endpoint.created_at));
    // what is fetched is not signed, and a test would be sent
    let is_pulled = endpoint.options.is_pulled();
    let secret = match signed.revealed(id) {
        _ if is_pulled => None,
        [] => None,
        ids => {
            let shown = secrets::reveal_these(&shared, caller, id, ids).await?;
            shown.first().map(|newest| newest.secret.reveal())
        }
    };
    let link = tryout::test_link(&shared, caller).await?;
    let part = match &link {
        Some(link) if may_follow(caller) => Some(part(&signed, &shared, id, link, since).await?),
        _ => None,
    };
    let page = WizardPage {
        layout: signed.layout("webhooks"),
        endpoint_id: id.to_string(),
        url: endpoint.options.url.to_string(),
        secret,
        is_local: link.as_ref().is_some_and(|link| is_local(link.host.as_str())),
        tracked_url: link.as_ref().map(|link| links::tracked_url(&shared, link)).unwrap_or_default(),
        may_see_link: caller.may(Scope::LinksRead),
        link_id: link.map(|link| link.id.to_string()).unwrap_or_default(),
        may_make_link: caller.may(Scope::LinksWrite),
        may_test: caller.may(Scope::EndpointsWrite) && !is_pulled,
        since: time(since),
        now: time(now),
        part,
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

/// Whether somebody may see what becomes of a click.
fn may_follow(caller: &Caller) -> bool {
    caller.may(Scope::ClicksRead) && caller.may(Scope::DeliveriesRead)
}

/// The part of the page that changes, by itself: it stays as it is when the test link is gone.
#[get("/settings/webhooks/{id}/try/progress")]
async fn show_progress(signed: Signed, id: Path<String>, query: Query, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::EndpointsRead)?;
    let id = endpoint_id(&id)?;
    let endpoint = endpoints::find(&shared, &signed.caller, id).await?;
    let since = since(query.read()?, endpoint.created_at);
    let link = tryout::test_link(&shared, &signed.caller).await?;
    let link = link.ok_or(crate::error::ApiError::NotFound("test link"))?;
    Ok(html(&part(&signed, &shared, id, &link, since).await?))
}

/// Makes the workspace's test link where it has none.
#[post("/settings/webhooks/{id}/try")]
async fn make_link(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let id = endpoint_id(&id)?;
    tryout::make_test_link(&shared, &signed.caller).await?;
    Ok(see_other(&format!("/settings/webhooks/{id}/try")))
}

/// Whether a host name is every machine's own.
fn is_local(host: &str) -> bool {
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || host == "localhost" || host.ends_with(".localhost")
}

fn since(asked: Asked, created_at: DateTime<Utc>) -> DateTime<Utc> {
    asked.since.unwrap_or_else(|| created_at.max(Utc::now() - LOOK_BACK))
}

async fn part(
    signed: &Signed,
    shared: &Shared,
    id: EndpointId,
    link: &Link,
    since: DateTime<Utc>,
) -> Result<ProgressPart, PageError> {
    signed.caller.require(Scope::ClicksRead)?;
    signed.caller.require(Scope::DeliveriesRead)?;
    let progress = tryout::progress(shared, &signed.caller, id, link, since).await?;
    let steps = steps(&progress, &signed.caller, Utc::now());
    let (is_done, is_pulled) = (progress.is_done(), progress.is_pulled());
    let click_id = progress.click.as_ref().map(|shown| shown.click.click.id.to_string());
    let delivery_id = progress.delivery.as_ref().map(|sent| sent.delivery.id.to_string());
    let (answer, signature) = match progress.delivery {
        Some(sent) => (answer(&sent), sent.signature.map(SignatureText::from)),
        None => (None, None),
    };
    Ok(ProgressPart {
        endpoint_id: id.to_string(),
        is_done,
        is_pulled,
        click_id: click_id.unwrap_or_default(),
        steps,
        answer,
        signature,
        delivery_id: delivery_id.unwrap_or_default(),
    })
}

fn steps(progress: &Progress, caller: &Caller, now: DateTime<Utc>) -> Vec<Step> {
    let Some(shown) = &progress.click else { return waiting_steps(progress, caller) };
    let (enriched, click) = (&shown.click, &shown.click.click);
    let clicked_at = click.clicked_at;
    let told = format!(
        "{} · {} · {}",
        verdict_chip(enriched.automation.verdict).text,
        place(enriched),
        device(enriched)
    );
    let mut steps = vec![
        Step::new("Redirected", "done", format!("The visitor was sent on to {}.", click.destination_url))
            .at(clicked_at, clicked_at, now),
        Step::new("Enriched", "done", told)
            .at(enriched.enriched_at, clicked_at, now)
            .with(wanting(&progress.incomplete, caller)),
        Step::new("Recorded", "done", "It counts in reports.").at(shown.recorded_at, clicked_at, now),
    ];
    steps.extend(delivery_steps(progress, caller, clicked_at, now));
    steps
}

fn waiting_steps(progress: &Progress, caller: &Caller) -> Vec<Step> {
    // what is behind may catch up
    let waits = |finding: &Finding| {
        let behind = [Code::NoClick, Code::EnrichBehind, Code::RecordBehind, Code::DeliverBehind];
        !finding.stops || behind.contains(&finding.code)
    };
    let is_stopped = !progress.before.iter().all(waits);
    let (state, text) = match is_stopped {
        true => ("bad", "A click would not get any further than this."),
        false => ("now", "Waiting for your click."),
    };
    let matched = progress.matched.as_ref().filter(|finding| finding.stops);
    let will_match = match matched {
        Some(_) => Step::new("Matched", "bad", "This webhook would not get the click."),
        None => Step::new("Matched", "todo", ""),
    };
    let mut steps = vec![
        Step::new("Redirected", state, text).with(wanting(&progress.before, caller)),
        Step::new("Enriched", "todo", ""),
        Step::new("Recorded", "todo", ""),
        will_match.with(wanting(progress.matched.as_slice(), caller)),
    ];
    steps.extend(steps_to_come(progress));
    steps
}

/// What follows once the click is matched. What is fetched carries no signature.
fn steps_to_come(progress: &Progress) -> Vec<Step> {
    match progress.is_pulled() {
        true => vec![Step::new(TO_BE_FETCHED, "todo", "")],
        false => vec![Step::new("Delivered", "todo", ""), Step::new("Signature checked", "todo", "")],
    }
}

/// Whether the webhook wants the click, and how its delivery went.
fn delivery_steps(
    progress: &Progress,
    caller: &Caller,
    clicked_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Vec<Step> {
    let Some(sent) = &progress.delivery else {
        let (name, state, text) = match &progress.matched {
            Some(finding) if matches!(finding.code, Code::OnItsWay | Code::NotTold) => {
                ("Matched", "now", "It is about to be told.")
            }
            Some(finding) if matches!(finding.code, Code::Filtered | Code::Automated) => {
                ("Filtered", "bad", "This webhook does not want such a click.")
            }
            _ => ("Matched", "bad", "This webhook does not get the click."),
        };
        let mut findings = wanting(progress.matched.as_slice(), caller);
        findings.extend(wanting(&progress.before, caller));
        let mut steps = vec![Step::new(name, state, text).with(findings)];
        steps.extend(steps_to_come(progress));
        return steps;
    };
    let delivery = &sent.delivery;
    let mut matched = Step::new("Matched", "done", "This webhook wants the click.");
    // what it is owed waits, or nothing more is owed to it
    let of_state = [Code::EndpointPaused, Code::EndpointWaits, Code::EndpointDisabled];
    if let Some(finding) = progress.matched.as_ref().filter(|finding| of_state.contains(&finding.code)) {
        matched.findings = wanting(std::slice::from_ref(finding), caller);
    }
    let of_delivery = wanting(std::slice::from_ref(&sent.finding), caller);
    if progress.is_pulled() {
        let text = "Nothing is sent: your program fetches it, and only your program knows whether it has.";
        return vec![matched, Step::new(TO_BE_FETCHED, "done", text).with(of_delivery)];
    }
    let delivered = match (&sent.attempt, progress.is_done()) {
        (Some(attempt), true) => {
            let text = outcome(attempt.status, attempt.error.as_deref(), Some(attempt.duration_ms));
            let at = delivery.finished_at.unwrap_or(attempt.started_at);
            Step::new("Delivered", "done", format!("Attempt {}: {text}.", attempt.number))
                .at(at, clicked_at, now)
        }
        (Some(attempt), false) => {
            let text = outcome(attempt.status, attempt.error.as_deref(), Some(attempt.duration_ms));
            Step::new("Delivered", "bad", format!("Attempt {}: {text}.", attempt.number))
        }
        (None, true) => Step::new("Delivered", "done", ""),
        (None, false) => Step::new("Delivered", "now", "Not tried yet."),
    };
    let signature = match sent.signature.as_ref().map(|checked| checked.verifies) {
        Some(true) => {
            Step::new("Signature checked", "done", "What was sent verifies with the stored secret.")
        }
        Some(false) => {
            Step::new("Signature checked", "bad", "What was sent does not verify with the secrets of now.")
        }
        None => Step::new("Signature checked", "todo", ""),
    };
    vec![matched, delivered.with(of_delivery), signature]
}

fn answer(sent: &Sent) -> Option<AnswerText> {
    let attempt = sent.attempt.as_ref()?;
    let headers = crate::desk::sent::pairs(&attempt.response_headers);
    Some(AnswerText {
        outcome: outcome(attempt.status, attempt.error.as_deref(), Some(attempt.duration_ms)),
        is_success: attempt.error.is_none(),
        detail: attempt.error_detail.clone().unwrap_or_default(),
        timings: timings_text(&attempt.timings),
        headers: headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect::<Vec<_>>()
            .join("\n"),
        body: attempt.response_body.as_deref().map(pretty).unwrap_or_default(),
    })
}
