//! Whether a link leads anywhere, and whether its clicks are recorded.

use chrono::{DateTime, Utc};

use model::Link;
use model::link::{Closed, DecidedBy, Recording};

use super::{Finding, moment};

/// What there is to say of a link. `is_tracking`: whether its workspace records clicks.
pub fn findings(link: &Link, is_tracking: bool, now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = vec![match link.closed(now) {
        None => Finding::note("link", format!("{} leads to {}", link.id, link.original_url)),
        Some(closed) => closed_finding(link, closed),
    }];
    if !is_tracking {
        let text =
            "link tracking is off for the workspace (Settings > Link settings): clicks are not recorded";
        findings.push(
            Finding::stop("tracking_off", text, "switch link tracking on; clicks from then on are told")
                .at("/settings/links"),
        );
    } else if link.recording == Recording::Nothing {
        findings.push(untracked(link));
    }
    findings
}

fn untracked(link: &Link) -> Finding {
    let labels = &link.labels;
    let group = match link.recording_decided_by {
        DecidedBy::Channel => labels.channel.as_ref().map(|name| format!("channel `{name}`")),
        DecidedBy::Campaign => labels.campaign_id.as_ref().map(|name| format!("campaign `{name}`")),
        DecidedBy::Workspace | DecidedBy::Link => None,
    };
    match group {
        Some(group) => Finding::stop(
            "link_tracking_off",
            format!("tracking is off for the {group} of this link: its clicks are not recorded"),
            format!("have the clicks of {group} recorded in the link settings, or set the tracking of the link to full"),
        )
        .at("/settings/links"),
        None => Finding::stop(
            "link_tracking_off",
            "tracking is off for this link: its clicks are not recorded",
            "set the tracking of the link to that of the workspace",
        )
        .at(format!("/links/{}/edit", link.id)),
    }
}

fn closed_finding(link: &Link, closed: Closed) -> Finding {
    let id = link.id;
    let shown = |at: Option<DateTime<Utc>>| at.map(moment).unwrap_or_default();
    match closed {
        Closed::Disabled => Finding::stop(
            "link_disabled",
            format!("{id} is disabled: visitors see the fallback, and nothing is recorded"),
            "switch the link on",
        )
        .at(format!("/links/{id}")),
        Closed::NotStarted => Finding::stop(
            "link_not_started",
            format!("{id} does not begin before {}", shown(link.starts_at)),
            "wait, or give the link an earlier start",
        )
        .at(format!("/links/{id}/edit")),
        Closed::Expired => Finding::stop(
            "link_expired",
            format!("{id} expired at {}", shown(link.expires_at)),
            "give the link a later end, or none",
        )
        .at(format!("/links/{id}/edit")),
        Closed::Blocked => Finding::stop(
            "link_blocked",
            format!("{id} or its domain is blocked (`clickwire unblock` lifts it)"),
            "ask whoever runs Clickwire why, and to lift it with `clickwire unblock`",
        ),
        Closed::Exhausted => Finding::stop(
            "link_exhausted",
            format!("{id} had as many clicks as it may have"),
            "raise the most clicks of the link, or make another link",
        )
        .at(format!("/links/{id}/edit")),
    }
}
