//! The state of a link in a word, and what it means and what to do in a few.

use chrono::{DateTime, Utc};

use model::link::{DecidedBy, Recording};
use store::link_state::LinkState;
use store::links::Link;

use super::view::{Chip, when};

/// The state in a word, with what is recorded of its clicks.
pub fn chip(link: &Link, recording: Recording, now: DateTime<Utc>) -> Chip {
    if link.archived_at.is_some() {
        return Chip { kind: "plain", text: "Archived" };
    }
    match LinkState::of(link, now) {
        LinkState::Blocked => Chip { kind: "bad", text: "Blocked" },
        LinkState::Off => Chip { kind: "plain", text: "Off" },
        LinkState::Expired => Chip { kind: "plain", text: "Expired" },
        LinkState::NotStarted => Chip { kind: "wait", text: "Not started" },
        LinkState::Exhausted => Chip { kind: "plain", text: "Exhausted" },
        LinkState::Live if recording == Recording::Nothing => Chip { kind: "wait", text: "Not tracked" },
        LinkState::Live if link.options.password.is_some() => {
            Chip { kind: "good", text: "Live, with password" }
        }
        LinkState::Live => Chip { kind: "good", text: "Live" },
    }
}

/// What a state means.
pub struct Explained {
    /// `bad`, `wait` or `plain`.
    pub kind: &'static str,
    /// What is the matter.
    pub title: String,
    /// What visitors meet, and what to do.
    pub text: String,
    /// What may be done about it here.
    pub remedy: Remedy,
}

/// What may be done about a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Switch it on.
    SwitchOn,
    /// Change it.
    Change,
    /// Nothing here.
    Nothing,
}

/// Why a link does not do what links do, and what to do about it; `None` when it does.
pub fn explained(
    link: &Link,
    decided: (Recording, DecidedBy),
    has_fallback: bool,
    now: DateTime<Utc>,
) -> Option<Explained> {
    let options = &link.options;
    let visitors = match &options.expired_url {
        Some(url) => format!("Visitors go to {url} instead."),
        None if has_fallback => "Visitors go to the fallback of your link settings instead.".to_owned(),
        None => "Visitors see a page that says so, for there is no fallback.".to_owned(),
    };
    let explained = |kind, title: String, text: String, remedy| Some(Explained { kind, title, text, remedy });
    if let Some(at) = link.archived_at {
        let title = format!("This link was archived {}", when(at, now).near);
        let text =
            "It leads nowhere for good, and its slug is never given out again. Its clicks stay.".to_owned();
        return explained("plain", title, text, Remedy::Nothing);
    }
    match LinkState::of(link, now) {
        LinkState::Blocked => explained(
            "bad",
            "This link is blocked".to_owned(),
            "Whoever runs this server has blocked it; visitors see that, and no destination. Ask them why."
                .to_owned(),
            Remedy::Nothing,
        ),
        LinkState::Off => explained(
            "wait",
            "This link is switched off".to_owned(),
            format!("{visitors} Switch it on, and it leads where it did."),
            Remedy::SwitchOn,
        ),
        LinkState::Expired => explained(
            "wait",
            format!(
                "This link expired{}",
                options.expires_at.map(|at| format!(" {}", when(at, now).near)).unwrap_or_default()
            ),
            format!("{visitors} Give it a later end, or none, and it leads somewhere again."),
            Remedy::Change,
        ),
        LinkState::NotStarted => explained(
            "wait",
            format!(
                "This link starts {}",
                options.starts_at.map(|at| when(at, now).near).unwrap_or_default()
            ),
            format!("{visitors} To have it lead somewhere now, take its beginning away."),
            Remedy::Change,
        ),
        LinkState::Exhausted => explained(
            "wait",
            format!("This link had its {} clicks", options.max_clicks.unwrap_or(link.counted_clicks)),
            format!("{visitors} Allow more clicks, and it leads somewhere again."),
            Remedy::Change,
        ),
        LinkState::Live if decided.0 == Recording::Nothing => Some(untracked(link, decided.1)),
        LinkState::Live => None,
    }
}

/// That no clicks are recorded, and where that is changed.
fn untracked(link: &Link, decided_by: DecidedBy) -> Explained {
    if decided_by == DecidedBy::Workspace {
        return Explained {
            kind: "wait",
            title: "No clicks are recorded in this workspace".to_owned(),
            text: "Link tracking is off in the link settings: links redirect, and nothing shows here nor reaches a webhook."
                .to_owned(),
            remedy: Remedy::Nothing,
        };
    }
    let text = match group(link, decided_by) {
        Some(group) => format!(
            "The link settings say so of {group}: it redirects, and nothing shows here nor reaches a webhook. Change it there, \
             or have the clicks of this link alone recorded under “How it redirects, and what is recorded”."
        ),
        None => "It redirects, and nothing shows here nor reaches a webhook. Have its clicks recorded under “How it redirects, \
                 and what is recorded”."
            .to_owned(),
    };
    let title = "Clicks on this link are not recorded".to_owned();
    Explained { kind: "wait", title, text, remedy: Remedy::Change }
}

/// What is recorded of a link's clicks, and why.
pub fn tracked_because(link: &Link, (recording, decided_by): (Recording, DecidedBy)) -> String {
    let tracked = match recording {
        Recording::Full => "Tracked",
        Recording::Anonymous => "Tracked anonymously",
        Recording::Nothing => "Not tracked",
    };
    match group(link, decided_by) {
        Some(group) => format!("{tracked}, because the link settings say so of {group}"),
        None if decided_by == DecidedBy::Link => format!("{tracked}, because the link itself says so"),
        None => format!("{tracked}, because the link settings say so of all links"),
    }
}

/// The channel or the campaign that decided, by its name.
fn group(link: &Link, decided_by: DecidedBy) -> Option<String> {
    let labels = &link.options.labels;
    match decided_by {
        DecidedBy::Channel => Some(format!("its channel “{}”", labels.channel.as_deref()?)),
        DecidedBy::Campaign => Some(format!("its campaign “{}”", labels.campaign_id.as_deref()?)),
        DecidedBy::Workspace | DecidedBy::Link => None,
    }
}
