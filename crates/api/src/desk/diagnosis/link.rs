//! Whether a link leads anywhere, and whether its clicks are recorded.

use chrono::{DateTime, Utc};

use model::WorkspaceId;
use model::link::{DecidedBy, Recording};
use model::privacy::SignalPolicy;
use store::link_state::LinkState;
use store::links::Link;
use store::obstacles::{self, Obstacle};
use store::settings::{self, LinkSettings};
use store::{Connection, QueryResult};

use super::{Code, Finding, moment};
use crate::desk::tracking;

/// What there is to say of a link of a workspace.
///
/// # Errors
/// When the database is away.
pub async fn look(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    link: &Link,
    now: DateTime<Utc>,
) -> QueryResult<Vec<Finding>> {
    let settings = settings::find(conn, workspace_id).await?;
    let obstacle = obstacles::of_link(conn, workspace_id, link, &settings.app_schemes).await?;
    let way = match obstacle {
        Some(obstacle) => of_obstacle(link, obstacle),
        None => of_state(link, now),
    };
    Ok([Some(way), of_tracking(link, &settings), of_signals(link, &settings)].into_iter().flatten().collect())
}

/// No link was ever made with that URL.
pub fn not_found(url: &str) -> Finding {
    Finding::stop(
        Code::LinkNotFound,
        format!("no link leads from `{url}`: none was made with that URL"),
        "check the slug and the domain",
    )
}

fn of_obstacle(link: &Link, obstacle: Obstacle) -> Finding {
    let (id, host, url) = (link.id, &link.host, &link.options.original_url);
    match obstacle {
        Obstacle::Archived => Finding::stop(
            Code::LinkArchived,
            format!("{id} is archived: it leads nowhere for good"),
            "make another link; its slug is never given out again",
        )
        .at("/links/new"),
        Obstacle::DomainNotVerified => Finding::stop(
            Code::DomainNotVerified,
            format!("{host} was not shown to be yours: nothing is served under it"),
            "make the TXT record that the link settings name, and have it checked there",
        )
        .at("/settings/links"),
        Obstacle::DomainBlocked => blocked(link),
        Obstacle::Loop => Finding::stop(
            Code::LinkLoops,
            format!("{id} leads to {url}, where links are served: visitors would go round in circles"),
            "give the link the URL of the page itself, not that of a link",
        )
        .at(format!("/links/{id}/edit")),
        Obstacle::Scheme => Finding::stop(
            Code::LinkScheme,
            format!("{id} leads to an app ({url}), which the workspace does not allow"),
            "allow its scheme in the link settings, or give the link a web address",
        )
        .at("/settings/links"),
    }
}

fn of_state(link: &Link, now: DateTime<Utc>) -> Finding {
    let id = link.id;
    let shown = |at: Option<DateTime<Utc>>| at.map(moment).unwrap_or_default();
    let edit = format!("/links/{id}/edit");
    match LinkState::of(link, now) {
        LinkState::Live => Finding::note(Code::Link, format!("{id} leads to {}", link.options.original_url)),
        LinkState::Blocked => blocked(link),
        LinkState::Off => Finding::stop(
            Code::LinkDisabled,
            format!("{id} is disabled: visitors see the fallback, and nothing is recorded"),
            "switch the link on",
        )
        .at(format!("/links/{id}")),
        LinkState::NotStarted => Finding::stop(
            Code::LinkNotStarted,
            format!("{id} does not begin before {}", shown(link.options.starts_at)),
            "wait, or give the link an earlier start",
        )
        .at(edit),
        LinkState::Expired => Finding::stop(
            Code::LinkExpired,
            format!("{id} expired at {}", shown(link.options.expires_at)),
            "give the link a later end, or none",
        )
        .at(edit),
        LinkState::Exhausted => Finding::stop(
            Code::LinkExhausted,
            format!("{id} had as many clicks as it may have"),
            "raise the most clicks of the link, or make another link",
        )
        .at(edit),
    }
}

fn blocked(link: &Link) -> Finding {
    Finding::stop(
        Code::LinkBlocked,
        format!("{} or its domain is blocked (`clickwire unblock` lifts it)", link.id),
        "ask whoever runs Clickwire why, and to lift it with `clickwire unblock`",
    )
}

fn of_tracking(link: &Link, settings: &LinkSettings) -> Option<Finding> {
    if !settings.is_tracking {
        let text =
            "link tracking is off for the workspace (Settings > Link settings): clicks are not recorded";
        let fix = "switch link tracking on; clicks from then on are told";
        return Some(Finding::stop(Code::TrackingOff, text, fix).at("/settings/links"));
    }
    let (recording, decided_by) = tracking::of(link, settings);
    if recording != Recording::Nothing {
        return None;
    }
    let labels = &link.options.labels;
    let group = match decided_by {
        DecidedBy::Channel => labels.channel.as_ref().map(|name| format!("channel `{name}`")),
        DecidedBy::Campaign => labels.campaign_id.as_ref().map(|name| format!("campaign `{name}`")),
        DecidedBy::Workspace | DecidedBy::Link => None,
    };
    Some(match group {
        Some(group) => Finding::stop(
            Code::LinkTrackingOff,
            format!("tracking is off for the {group} of this link: its clicks are not recorded"),
            format!("have the clicks of {group} recorded in the link settings, or set the tracking of the link to full"),
        )
        .at("/settings/links"),
        None => Finding::stop(
            Code::LinkTrackingOff,
            "tracking is off for this link: its clicks are not recorded",
            "set the tracking of the link to full, or to that of the workspace",
        )
        .at(format!("/links/{}/edit", link.id)),
    })
}

/// Some visitors are not recorded.
fn of_signals(link: &Link, settings: &LinkSettings) -> Option<Finding> {
    if link.options.max_clicks.is_some() {
        // they are counted, without who it was
        return None;
    }
    let wishes = [("Sec-GPC", settings.signals.gpc), ("DNT", settings.signals.dnt)];
    let unseen: Vec<&str> =
        wishes.into_iter().filter(|(_, policy)| *policy == SignalPolicy::Off).map(|(name, _)| name).collect();
    (!unseen.is_empty()).then(|| {
        Finding::hint(
            Code::SignalsOff,
            format!("clicks of visitors whose browser sends {} are not recorded", unseen.join(" or ")),
            "click with a browser that does not send it, or change in the link settings what becomes of such clicks",
        )
        .at("/settings/links")
    })
}
