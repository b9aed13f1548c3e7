//! What is kept, and how long: shown, with where each is changed. It holds for the installation, not for a workspace.

use std::time::Duration;

use actix_web::get;
use actix_web::web::{Data, ServiceConfig};
use askama::Template;

use super::view::{Layout, html};
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::retention::Retention;

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
    let kept = Retention::of(&shared);
    let groups = vec![
        ("Clicks and what is made of them", clicks(&kept)),
        ("On the way", on_the_way(&kept)),
        ("People and programs", people(&kept)),
    ];
    let page = RetentionPage { layout: signed.layout("retention"), groups };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

fn clicks(kept: &Retention) -> Vec<Kept> {
    vec![
        Kept {
            what: "Clicks",
            hint: "Each click with its place, device and verdict. When a day is dropped, its clicks leave every list and \
                   export. Their counts stay, but for those of single conversations.",
            how_long: days(kept.clicks_days),
            setting: Some("record.clicks_kept_days"),
        },
        Kept {
            what: "Deliveries",
            hint: "What was sent to your webhooks, and what they answered last. Nothing older can be sent again.",
            how_long: days(kept.deliveries_days),
            setting: Some("record.deliveries_kept_days"),
        },
        Kept {
            what: "Attempts of deliveries that failed at first",
            hint: "Each request with its headers, and what was answered to it.",
            how_long: days(kept.attempts_days),
            setting: Some("record.attempts_kept_days"),
        },
        Kept {
            what: "Counts for reports",
            hint: "Numbers by quarter of an hour. They tell of nobody in particular.",
            how_long: days(kept.rollups_days),
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

fn on_the_way(kept: &Retention) -> Vec<Kept> {
    vec![
        Kept {
            what: "Clicks before their place is looked up",
            hint: "As the browser sent them, address included. Only the look-up reads them; afterwards the address is treated \
                   as your link settings say.",
            how_long: span(kept.raw_clicks),
            setting: Some("nats.clicks_max_age"),
        },
        Kept {
            what: "Clicks on their way to webhooks and reports",
            hint: "Already without what your link settings drop.",
            how_long: span(kept.enriched_clicks),
            setting: Some("nats.enriched_max_age"),
        },
        Kept {
            what: "Messages in quarantine",
            hint: "What could not be read is put aside, for whoever runs the server to look at.",
            how_long: span(kept.quarantine),
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

fn people(kept: &Retention) -> Vec<Kept> {
    vec![
        Kept {
            what: "Sign-ins",
            hint: "After that a person signs in again; sooner when they do nothing for a while (api.session_idle).",
            how_long: span(kept.sessions),
            setting: Some("api.session_lifetime"),
        },
        Kept {
            what: "Invitations",
            hint: "A link that nobody opened works no more.",
            how_long: span(kept.invitations),
            setting: None,
        },
        Kept {
            what: "Keys of repeated requests",
            hint: "For so long a program may send a request again and have it done once.",
            how_long: span(kept.idempotency_keys),
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

fn days(number: Option<u32>) -> String {
    match number {
        None => "For ever".to_owned(),
        Some(1) => "1 day".to_owned(),
        Some(number) => format!("{number} days"),
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
        assert_eq!((days(None), days(Some(90))), ("For ever".to_owned(), "90 days".to_owned()));
    }
}
