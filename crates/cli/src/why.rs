//! `clickwire why`: what keeps a link's clicks from becoming webhooks, in the order of a click's way.

use std::process::ExitCode;

use anyhow::Context as _;
use bus::Message;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use model::delivery::DeliveryStatus;
use model::link::{Closed, Recording};
use model::{EnrichedClick, Host, Link, LinkId, TypedSlug};
use serde::Serialize;
use store::click_log::{self, ClickFilter, RecordedClick};
use store::delivery_log::{self, DeliveryFilter, LoggedDelivery};
use store::endpoints::{self, Endpoint, State};
use store::first_run::WORKSPACE_NAME;
use store::{Connection, domains, links, routes, settings, workspaces};
use url::Url;
use webhook::Filter;

use crate::connections::ConnectionOptions;
use crate::out;
use crate::tracked_url::{slug_in, slug_of};

/// The event that a click becomes.
const EVENT_TYPE: &str = "link.clicked";

/// More endpoints than that are not looked at.
const ENDPOINTS_MAX: i64 = 1_000;

/// Say what keeps a link's clicks from becoming webhooks
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A tracked URL, a slug, or the id of a link of workspace Default
    link: String,

    #[command(flatten)]
    connections: ConnectionOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// For scripts.
    code: &'static str,
    /// Whether it keeps webhooks from arriving.
    stops: bool,
    /// For people.
    text: String,
}

fn stop(code: &'static str, text: impl Into<String>) -> Finding {
    Finding { code, stops: true, text: text.into() }
}

fn note(code: &'static str, text: impl Into<String>) -> Finding {
    Finding { code, stops: false, text: text.into() }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let connections = options.connections.find()?;
    let mut conn = connections.database().await?;
    let public_url = connections.layers.named()?.links.public_url;
    let now = Utc::now();
    let findings = match find(&mut conn, &options.link, public_url.as_ref()).await? {
        None => vec![stop(
            "link_not_found",
            format!("no link leads from `{}`: it was never made, or is archived", options.link),
        )],
        Some(link) => look(&mut conn, &link, now).await?,
    };
    let is_stopped = findings.iter().any(|finding| finding.stops);
    if options.json {
        out::json(&findings);
    } else {
        for finding in &findings {
            out::line(&format!("{}  {}", if finding.stops { "✗" } else { "✓" }, finding.text));
        }
        if !is_stopped {
            out::line("Nothing here stops a webhook; `clickwire doctor` looks at the rest.");
        }
    }
    Ok(if is_stopped { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn find(conn: &mut Connection, text: &str, public_url: Option<&Url>) -> anyhow::Result<Option<Link>> {
    if text.starts_with(LinkId::PREFIX) {
        let id: LinkId = text.parse()?;
        let Some(workspace) = workspaces::find_by_name(conn, WORKSPACE_NAME).await? else { return Ok(None) };
        let Some(link) = links::find(conn, workspace.id, id).await? else { return Ok(None) };
        return Ok(routes::find_for_redirect(conn, &link.host, &link.slug).await?);
    }
    let (host, slug) = parse(text, public_url)?;
    let host = match host {
        Some(host) => host,
        None => default_host(conn).await?,
    };
    Ok(routes::find_as_typed(conn, &host, &slug).await?)
}

async fn default_host(conn: &mut Connection) -> anyhow::Result<Host> {
    let workspace = workspaces::find_by_name(conn, WORKSPACE_NAME).await?;
    let workspace = workspace.context("there is no workspace Default: run `clickwire setup`")?;
    let domain = domains::default(conn, workspace.id).await?;
    Ok(domain.context("workspace Default has no domain: run `clickwire setup`")?.host)
}

fn parse(text: &str, public_url: Option<&Url>) -> anyhow::Result<(Option<Host>, TypedSlug)> {
    let (host, slug) = if text.contains("://") {
        let url: Url = text.parse().with_context(|| format!("`{text}` is not a URL"))?;
        let host = url.host_str().and_then(|host| host.parse().ok());
        (Some(host.with_context(|| format!("`{text}` has no host"))?), slug_of(&url, public_url)?)
    } else {
        (None, slug_in(text)?)
    };
    Ok((host, slug.with_context(|| format!("`{text}` names no link: its path is empty"))?))
}

async fn look(conn: &mut Connection, link: &Link, now: DateTime<Utc>) -> anyhow::Result<Vec<Finding>> {
    let is_tracking = settings::find(conn, link.workspace_id).await?.is_tracking;
    let mut findings = of_link(link, is_tracking, now);
    let endpoints = endpoints::list(conn, link.workspace_id, None, ENDPOINTS_MAX).await?;
    let filter = ClickFilter { link_id: Some(link.id), ..ClickFilter::default() };
    let click = click_log::list(conn, link.workspace_id, &filter, None, 1).await?.into_iter().next();
    let event = click.as_ref().and_then(|click| EnrichedClick::decode(&click.event).ok());
    findings.extend(of_endpoints(&endpoints, event.as_ref(), now));
    findings.extend(match &click {
        None => vec![stop("no_click", "no click of this link has been recorded yet")],
        Some(click) => {
            let filter = DeliveryFilter { click_id: Some(click.id), ..DeliveryFilter::default() };
            let deliveries =
                delivery_log::list(conn, link.workspace_id, &filter, None, ENDPOINTS_MAX).await?;
            of_last_click(click, &deliveries)
        }
    });
    Ok(findings)
}

fn of_link(link: &Link, is_tracking: bool, now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let shown = |at: Option<DateTime<Utc>>| at.map(moment).unwrap_or_default();
    match link.closed(now) {
        None => findings.push(note("link", format!("{} leads to {}", link.id, link.original_url))),
        Some(Closed::Disabled) => findings.push(stop("link_disabled", format!("{} is disabled", link.id))),
        Some(Closed::NotStarted) => {
            let text = format!("{} does not begin before {}", link.id, shown(link.starts_at));
            findings.push(stop("link_not_started", text));
        }
        Some(Closed::Expired) => {
            let text = format!("{} expired at {}", link.id, shown(link.expires_at));
            findings.push(stop("link_expired", text));
        }
        Some(Closed::Blocked) => {
            let text = format!("{} or its domain is blocked (`clickwire unblock` lifts it)", link.id);
            findings.push(stop("link_blocked", text));
        }
        Some(Closed::Exhausted) => {
            findings.push(stop("link_exhausted", format!("{} had as many clicks as it may have", link.id)));
        }
    }
    if !is_tracking {
        let text =
            "link tracking is off for the workspace (Settings > Link settings): clicks are not recorded";
        findings.push(stop("tracking_off", text));
    } else if link.recording == Recording::Nothing {
        findings
            .push(stop("link_tracking_off", "tracking is off for this link: its clicks are not recorded"));
    }
    findings
}

fn of_endpoints(endpoints: &[Endpoint], last: Option<&EnrichedClick>, now: DateTime<Utc>) -> Vec<Finding> {
    if endpoints.is_empty() {
        let text = "the workspace has no webhook endpoint (Settings > Link settings > Webhooks)";
        return vec![stop("no_endpoint", text)];
    }
    endpoints.iter().map(|endpoint| of_endpoint(endpoint, last, now)).collect()
}

fn of_endpoint(endpoint: &Endpoint, last: Option<&EnrichedClick>, now: DateTime<Utc>) -> Finding {
    let name = format!("endpoint {} ({})", endpoint.id, endpoint.options.url);
    let reason = endpoint.state_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match endpoint.state {
        State::Disabled => return stop("endpoint_disabled", format!("{name} is disabled{reason}")),
        State::Paused => {
            return stop("endpoint_paused", format!("{name} is paused{reason}; its events wait"));
        }
        State::Active => {}
    }
    if !endpoint.options.event_types.iter().any(|wanted| wanted.matches(EVENT_TYPE)) {
        return stop("event_type", format!("{name} does not subscribe to {EVENT_TYPE}"));
    }
    let paused_until = endpoint.health.as_ref().and_then(|health| health.paused_until);
    if let Some(until) = paused_until.filter(|until| *until > now) {
        return stop("endpoint_waits", format!("{name} asked for a pause until {}", moment(until)));
    }
    if let Some(last) = last {
        let filter = endpoint.options.filter.as_ref().and_then(|filter| Filter::parse(filter).ok());
        if filter.is_some_and(|filter| !filter.matches(last)) {
            let verdict = last.automation.verdict.as_str();
            return stop("filtered", format!("{name} filters the last click out (its verdict is {verdict})"));
        }
        if last.click.clicked_at < endpoint.owed_from {
            let since = moment(endpoint.owed_from);
            return stop(
                "too_old",
                format!("{name} is owed clicks since {since} only; the last one is older"),
            );
        }
    }
    note("endpoint", format!("{name} is active"))
}

fn of_last_click(click: &RecordedClick, deliveries: &[LoggedDelivery]) -> Vec<Finding> {
    let clicked_at = moment(click.id.timestamp());
    let mut findings = vec![note("click", format!("the last click is {} of {clicked_at}", click.id))];
    if deliveries.is_empty() {
        findings.push(stop("no_delivery", "that click is owed to no endpoint"));
    }
    for delivery in deliveries {
        let error =
            delivery.last_error.clone().or_else(|| delivery.last_status.map(|status| status.to_string()));
        let error = error.map(|error| format!(", last answer: {error}")).unwrap_or_default();
        let name = format!("delivery {} to {}", delivery.id, delivery.endpoint_id);
        let attempts = delivery.attempt_count;
        findings.push(match delivery.status {
            DeliveryStatus::Delivered => note("delivered", format!("{name} was accepted")),
            DeliveryStatus::Pending => {
                let next = delivery
                    .next_attempt_at
                    .map(|at| format!(", next at {}", moment(at)))
                    .unwrap_or_default();
                stop("pending", format!("{name} waits after {attempts} attempts{error}{next}"))
            }
            DeliveryStatus::Dead => {
                stop("dead", format!("{name} was given up after {attempts} attempts{error}"))
            }
        });
    }
    findings
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(slug: &TypedSlug) -> String {
        slug.of(model::SlugCase::Insensitive).to_string()
    }

    #[test]
    fn a_link_is_named_by_url_or_slug() {
        let (host, slug) = parse("http://127.0.0.1:8080/K7m2xq9ra?utm_source=sms", None).unwrap();

        assert_eq!(host.unwrap().as_str(), "127.0.0.1");
        assert_eq!(lower(&slug), "k7m2xq9ra");
        assert_eq!(parse("k7m2xq9ra", None).unwrap().0, None);
        assert_eq!(
            parse("http://h/", None).unwrap_err().to_string(),
            "`http://h/` names no link: its path is empty"
        );
        assert_eq!(parse("http://", None).unwrap_err().to_string(), "`http://` is not a URL");
        for text in ["http://h/CAF%C3%89", "http://h/café/", "caf%c3%a9", "http://h/caf%C3%A9%2B"] {
            assert_eq!(lower(&parse(text, None).unwrap().1), "café", "{text}");
        }
        let below: Url = "https://h/sale/".parse().unwrap();
        assert_eq!(lower(&parse("https://h/sale/abc", Some(&below)).unwrap().1), "abc");
        assert_eq!(
            parse("http://h/%ff", None).unwrap_err().to_string(),
            "`%ff` is not UTF-8 once it is percent-decoded"
        );
    }
}
