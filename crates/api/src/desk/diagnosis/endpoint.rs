//! Whether an endpoint gets clicks, and would get the last one.

use chrono::{DateTime, TimeDelta, Utc};

use model::EnrichedClick;
use model::automation::Verdict;
use model::event_type::LINK_CLICKED;
use store::click_log::RecordedClick;
use store::endpoints::{Endpoint, State};
use webhook::Filter;

use super::{Finding, moment};

/// How long after a click was recorded its delivery may be on its way without anything being wrong.
const ON_ITS_WAY: TimeDelta = TimeDelta::seconds(5);

/// There is no endpoint at all.
pub fn none() -> Finding {
    Finding::stop(
        "no_endpoint",
        "the workspace has no webhook endpoint (Settings > Link settings > Webhooks)",
        "add a webhook with the URL that is to hear of clicks",
    )
    .at("/settings/webhooks/new")
}

/// What there is to say of an endpoint and the last click, if there was one.
pub fn finding(endpoint: &Endpoint, last: Option<&EnrichedClick>, now: DateTime<Utc>) -> Finding {
    let page = format!("/settings/webhooks/{}", endpoint.id);
    let name = name(endpoint);
    if let Some(finding) = of_state(endpoint, &name) {
        return finding.at(page);
    }
    if !endpoint.options.event_types.iter().any(|wanted| wanted.matches(LINK_CLICKED)) {
        return Finding::stop(
            "event_type",
            format!("{name} does not subscribe to {LINK_CLICKED}"),
            format!("choose {LINK_CLICKED} among its events"),
        )
        .at(format!("{page}/edit"));
    }
    let paused_until = endpoint.health.as_ref().and_then(|health| health.paused_until);
    if let Some(until) = paused_until.filter(|until| *until > now) {
        return Finding::stop(
            "endpoint_waits",
            format!("{name} asked for a pause until {} (Retry-After)", moment(until)),
            "wait: what it is owed is sent then; if your program asks for that too often, give it a rate",
        )
        .at(format!("{page}/edit"));
    }
    match last.and_then(|last| of_click(endpoint, &name, last)) {
        Some(finding) => finding.at(format!("{page}/edit")),
        None => Finding::note("endpoint", format!("{name} is active")).at(page),
    }
}

/// An endpoint wants a click that is recorded, and no delivery was begun.
pub fn not_told(endpoint: &Endpoint, last: &RecordedClick, now: DateTime<Utc>) -> Finding {
    let name = name(endpoint);
    let finding = if now - last.recorded_at < ON_ITS_WAY {
        Finding::stop(
            "on_its_way",
            format!("{name} is about to get the last click"),
            "look again in a few seconds",
        )
    } else {
        Finding::stop(
            "not_told",
            format!("{name} wants the last click, and was not told of it"),
            "`deliver` does not run or is behind: see `clickwire doctor`; if the webhook was changed since, replay it",
        )
    };
    finding.at(format!("/settings/webhooks/{}", endpoint.id))
}

fn name(endpoint: &Endpoint) -> String {
    format!("endpoint {} ({})", endpoint.id, endpoint.options.url)
}

fn of_state(endpoint: &Endpoint, name: &str) -> Option<Finding> {
    let reason = endpoint.state_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match endpoint.state {
        State::Active => None,
        State::Paused => Some(Finding::stop(
            "endpoint_paused",
            format!("{name} is paused{reason}; its events wait"),
            "resume it: what waits is sent then",
        )),
        State::Disabled => {
            let fix = match endpoint.state_reason.as_deref() {
                Some("gone") => {
                    "your program answered 410 Gone: mend that, enable it, and replay what it missed"
                }
                Some("failing") => {
                    "it failed for days: mend your program, enable it, and replay what it missed"
                }
                _ => "enable it; what was clicked meanwhile can be replayed",
            };
            Some(Finding::stop("endpoint_disabled", format!("{name} is disabled{reason}"), fix))
        }
    }
}

/// Why the endpoint is not owed this click.
fn of_click(endpoint: &Endpoint, name: &str, click: &EnrichedClick) -> Option<Finding> {
    let filter = endpoint.options.filter.as_ref().and_then(|filter| Filter::parse(filter).ok());
    if let Some(refusal) = filter.and_then(|filter| filter.refusal(click)) {
        let verdict = click.automation.verdict;
        let is_about_machines =
            refusal.held.as_ref().is_some_and(|(field, _)| *field == "automation.verdict");
        return Some(if is_about_machines && verdict == Verdict::Automated {
            let reasons: Vec<&str> =
                click.automation.reasons.iter().map(|reason| reason.code.as_str()).collect();
            Finding::stop(
                "automated",
                format!(
                    "{name} filters the last click out (its verdict is automated: {}), and it gets people's clicks only",
                    reasons.join(", ")
                ),
                "click in an ordinary browser, not with a tool or a preview; or let the webhook have every click",
            )
        } else {
            Finding::stop(
                "filtered",
                format!("{name} filters the last click out (its verdict is {}): {refusal}", verdict.as_str()),
                "change the filter; the form of the webhook tries it on the last clicks",
            )
        });
    }
    (click.click.clicked_at < endpoint.owed_from).then(|| {
        let since = moment(endpoint.owed_from);
        Finding::stop(
            "too_old",
            format!("{name} is owed clicks since {since} only; the last one is older"),
            "click again, or replay what it missed",
        )
    })
}
