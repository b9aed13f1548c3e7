//! What is kept, and how long: shown, with where each is changed. It holds for the installation, not for a workspace.

use std::time::Duration;

use actix_web::get;
use actix_web::web::{Data, ServiceConfig};
use askama::Template;

use store::{idempotency, invitations};

use super::view::{Layout, html};
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::settings::RecordSettings;

/// Adds the page.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show);
}

/// One kind of thing that is kept.
struct Kept {
    what: &'static str,
    hint: &'static str,
    how_long: String,
    /// What changes it; `None`: it is so.
    setting: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "retention.html")]
struct RetentionPage {
    layout: Layout,
    groups: Vec<(&'static str, Vec<Kept>)>,
}

#[get("/settings/retention")]
async fn show(signed: Signed, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::SettingsRead)?;
    let groups = vec![
        ("Clicks and what is made of them", clicks(&shared)),
        ("On the way", on_the_way(&shared)),
        ("People and programs", people(&shared)),
    ];
    let page = RetentionPage { layout: signed.layout("retention"), groups };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

fn clicks(shared: &Shared) -> Vec<Kept> {
    vec![
        Kept {
            what: "Clicks",
            hint: "Each click with its place, device and verdict. When a day is dropped, its clicks leave every list and \
                   export. Their counts stay, but for those of single conversations.",
            how_long: days(shared.kept.clicks_kept_days),
            setting: Some("record.clicks_kept_days"),
        },
        Kept {
            what: "Deliveries",
            hint: "What was sent to your webhooks, and what they answered last. Nothing older can be sent again.",
            how_long: days(shared.kept.deliveries_kept_days),
            setting: Some("record.deliveries_kept_days"),
        },
        Kept {
            what: "Attempts of deliveries that failed at first",
            hint: "Each request with its headers, and what was answered to it.",
            how_long: days(attempts_kept_days(&shared.kept)),
            setting: Some("record.attempts_kept_days"),
        },
        Kept {
            what: "Counts for reports",
            hint: "Numbers by quarter of an hour. They tell of nobody in particular.",
            how_long: days(shared.kept.rollups_kept_days),
            setting: Some("record.rollups_kept_days"),
        },
        Kept {
            what: "Links",
            hint: "An archived link leads nowhere, and its slug is never given out again.",
            how_long: "For ever".to_owned(),
            setting: None,
        },
    ]
}

fn on_the_way(shared: &Shared) -> Vec<Kept> {
    let [(_, clicks), (_, enriched), (_, quarantine)] = shared.kept_on_streams;
    vec![
        Kept {
            what: "Clicks before their place is looked up",
            hint: "As the browser sent them, address included. Only the look-up reads them; afterwards the address is treated \
                   as your link settings say.",
            how_long: span(clicks),
            setting: Some("nats.clicks_max_age"),
        },
        Kept {
            what: "Clicks on their way to webhooks and reports",
            hint: "Already without what your link settings drop.",
            how_long: span(enriched),
            setting: Some("nats.enriched_max_age"),
        },
        Kept {
            what: "Messages in quarantine",
            hint: "What could not be read is put aside, for whoever runs the server to look at.",
            how_long: span(quarantine),
            setting: Some("nats.quarantine_max_age"),
        },
        Kept {
            what: "How visitors without a contact are told apart",
            hint: "By a hash with a random salt. The salt is deleted, and then nothing leads back.",
            how_long: "Less than 48 hours".to_owned(),
            setting: None,
        },
    ]
}

fn people(shared: &Shared) -> Vec<Kept> {
    let hours = |delta: chrono::TimeDelta| delta.to_std().map(span).unwrap_or_default();
    vec![
        Kept {
            what: "Sign-ins",
            hint: "After that a person signs in again; sooner when they do nothing for a while (api.session_idle).",
            how_long: span(shared.settings.session_lifetime),
            setting: Some("api.session_lifetime"),
        },
        Kept {
            what: "Invitations",
            hint: "A link that nobody opened works no more.",
            how_long: hours(invitations::LIFETIME),
            setting: None,
        },
        Kept {
            what: "Keys of repeated requests",
            hint: "For so long a program may send a request again and have it done once.",
            how_long: hours(idempotency::KEPT),
            setting: None,
        },
        Kept {
            what: "Activity",
            hint: "Who changed what, and who looked at a secret. The names of people who were removed stay in it.",
            how_long: "For ever".to_owned(),
            setting: None,
        },
    ]
}

/// No longer than their deliveries; 0: for ever.
fn attempts_kept_days(kept: &RecordSettings) -> u32 {
    match (kept.attempts_kept_days, kept.deliveries_kept_days) {
        (0, deliveries) => deliveries,
        (attempts, 0) => attempts,
        (attempts, deliveries) => attempts.min(deliveries),
    }
}

fn days(number: u32) -> String {
    match number {
        0 => "For ever".to_owned(),
        1 => "1 day".to_owned(),
        number => format!("{number} days"),
    }
}

/// In the largest unit that leaves no rest.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        s if s % 86_400 == 0 => (s / 86_400, "day"),
        s if s % 3_600 == 0 => (s / 3_600, "hour"),
        s if s % 60 == 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        let told = [86_400, 259_200, 43_200, 5_400, 61].map(|seconds| span(Duration::from_secs(seconds)));

        assert_eq!(told, ["1 day", "3 days", "12 hours", "90 minutes", "61 seconds"]);
        assert_eq!((days(0), days(90)), ("For ever".to_owned(), "90 days".to_owned()));
    }
}
