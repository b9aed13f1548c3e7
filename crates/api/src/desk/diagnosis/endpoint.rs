//! Whether an endpoint gets clicks, and would get the last one: how it [stands](Standing) to it, and what to do.

use chrono::{DateTime, TimeDelta, Utc};

use model::EnrichedClick;
use model::automation::Verdict;
use model::event_type::LINK_CLICKED;
use store::click_log::RecordedClick;
use store::endpoints::Endpoint;
use webhook::filter::Refusal;

use super::{Code, Finding, moment};
use crate::desk::standing::Standing;

/// How long after a click was recorded its delivery may be on its way without anything being wrong.
const ON_ITS_WAY: TimeDelta = TimeDelta::seconds(5);

/// There is no endpoint at all.
pub fn none() -> Finding {
    Finding::stop(
        Code::NoEndpoint,
        "the workspace has no webhook endpoint (Settings > Link settings > Webhooks)",
        "add a webhook with the URL that is to hear of clicks",
    )
    .at("/settings/webhooks/new")
}

/// What there is to say of an endpoint and the last click, if there was one.
pub fn finding(endpoint: &Endpoint, last: Option<&EnrichedClick>, now: DateTime<Utc>) -> Finding {
    let (name, page) = (name(endpoint), page(endpoint));
    let edit = format!("{page}/edit");
    match Standing::of(endpoint, last, now) {
        Standing::Wanted => active(endpoint),
        Standing::Paused(reason) => Finding::stop(
            Code::EndpointPaused,
            format!("{name} is paused{}; its events wait", because(reason.as_deref())),
            "resume it: what waits is sent then",
        )
        .at(page),
        Standing::Disabled(reason) => disabled(&name, reason.as_deref()).at(page),
        Standing::NotSubscribed => Finding::stop(
            Code::EventType,
            format!("{name} does not subscribe to {LINK_CLICKED}"),
            format!("choose {LINK_CLICKED} among its events"),
        )
        .at(edit),
        Standing::Waits(until) => Finding::stop(
            Code::EndpointWaits,
            format!("{name} asked for a pause until {} (Retry-After)", moment(until)),
            "wait: what it is owed is sent then; if your program asks for that too often, give it a rate",
        )
        .at(edit),
        Standing::Filtered(refusal) => filtered(&name, &refusal, last).at(edit),
        Standing::TooOld(from) => Finding::stop(
            Code::TooOld,
            format!("{name} is owed clicks since {} only; the last one is older", moment(from)),
            "click again, or replay what it missed",
        )
        .at(edit),
        Standing::Erased => Finding::stop(
            Code::Erased,
            format!("{name} is not told of the last click any more: its contact was erased"),
            "nothing: the next click is told of",
        )
        .at(page),
    }
}

/// It gets what it is owed.
pub fn active(endpoint: &Endpoint) -> Finding {
    Finding::note(Code::Endpoint, format!("{} is active", name(endpoint))).at(page(endpoint))
}

/// An endpoint wants a click that is recorded, and no delivery was begun.
pub fn not_told(endpoint: &Endpoint, last: &RecordedClick, now: DateTime<Utc>) -> Finding {
    let name = name(endpoint);
    let finding = if now - last.recorded_at < ON_ITS_WAY {
        Finding::stop(
            Code::OnItsWay,
            format!("{name} is about to get the last click"),
            "look again in a few seconds",
        )
    } else {
        Finding::stop(
            Code::NotTold,
            format!("{name} wants the last click, and was not told of it"),
            "`deliver` does not run or is behind: see `clickwire doctor`; if the webhook was changed since, replay it",
        )
    };
    finding.at(page(endpoint))
}

fn name(endpoint: &Endpoint) -> String {
    format!("endpoint {} ({})", endpoint.id, endpoint.options.url)
}

fn page(endpoint: &Endpoint) -> String {
    format!("/settings/webhooks/{}", endpoint.id)
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn disabled(name: &str, reason: Option<&str>) -> Finding {
    let fix = match reason {
        Some("gone") => "your program answered 410 Gone: mend that, enable it, and replay what it missed",
        Some("failing") => "it failed for days: mend your program, enable it, and replay what it missed",
        _ => "enable it; what was clicked meanwhile can be replayed",
    };
    Finding::stop(Code::EndpointDisabled, format!("{name} is disabled{}", because(reason)), fix)
}

/// Its filter keeps the last click back.
fn filtered(name: &str, refusal: &Refusal, last: Option<&EnrichedClick>) -> Finding {
    let automation = last.map(|click| &click.automation);
    let is_about_machines = refusal.held.as_ref().is_some_and(|(field, _)| *field == "automation.verdict");
    match automation.filter(|automation| is_about_machines && automation.verdict == Verdict::Automated) {
        Some(automation) => {
            let reasons: Vec<&str> = automation.reasons.iter().map(|reason| reason.code.as_str()).collect();
            Finding::stop(
                Code::Automated,
                format!(
                    "{name} filters the last click out (its verdict is automated: {}), and it gets people's clicks only",
                    reasons.join(", ")
                ),
                "click in an ordinary browser, not with a tool or a preview; or let the webhook have every click",
            )
        }
        None => {
            let verdict = automation.map_or("not known", |automation| automation.verdict.as_str());
            Finding::stop(
                Code::Filtered,
                format!("{name} filters the last click out (its verdict is {verdict}): {refusal}"),
                "change the filter; the form of the webhook tries it on the last clicks",
            )
        }
    }
}
