//! What is recorded of the clicks of channels and campaigns: a part of the page of the link settings.

use std::collections::BTreeMap;

use actix_web::post;
use actix_web::web::{Data, ServiceConfig};
use serde_json::{Map, Value};

use model::link::Tracking;
use store::settings::LinkSettings;

use super::form::{self, Errors, Form};
use super::settings::finish;
use super::{PageResult, Signed};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::settings;

/// What may say something: the field of the API, the word of the form, and the noun for people.
const GROUPS: [(&str, &str, &str); 2] =
    [("campaign_tracking", "campaign", "Campaign"), ("channel_tracking", "channel", "Channel")];

/// Adds the forms.
pub fn configure(config: &mut ServiceConfig) {
    config.service(say).service(unsay);
}

/// A channel or a campaign, and what is recorded of it.
pub struct SayRow {
    /// `campaign` or `channel`.
    pub group: &'static str,
    /// The same for people.
    pub noun: &'static str,
    pub name: String,
    /// What is recorded, in words.
    pub words: &'static str,
}

/// The part of the page.
pub struct TrackingPart {
    pub rows: Vec<SayRow>,
    /// What was typed, so that nobody types it twice.
    pub group: &'static str,
    pub name: String,
    pub choice: String,
    pub error: Option<String>,
}

impl TrackingPart {
    /// Of settings, and of a form that was wrong.
    pub fn of(saved: &LinkSettings, typed: Option<&Form>, errors: &Errors) -> Self {
        let kept: [&BTreeMap<String, Tracking>; 2] = [&saved.campaign_tracking, &saved.channel_tracking];
        let rows = GROUPS.into_iter().zip(kept).flat_map(|((_, group, noun), kept)| {
            let row = move |(name, says): (&String, &Tracking)| SayRow {
                group,
                noun,
                name: name.clone(),
                words: words(*says),
            };
            kept.iter().map(row)
        });
        let text = |name: &str| typed.and_then(|form| form.text(name)).unwrap_or_default().to_owned();
        Self {
            rows: rows.collect(),
            group: group_of(&text("group")).1,
            name: text("name"),
            choice: text("choice"),
            error: GROUPS.iter().find_map(|(field, _, _)| errors.at(field)),
        }
    }
}

const fn words(says: Tracking) -> &'static str {
    match says {
        Tracking::Inherit | Tracking::Full => "Recorded",
        Tracking::Anonymous => "Recorded anonymously",
        Tracking::Off => "Not recorded",
    }
}

/// The group with this word; campaigns are what is mostly meant.
fn group_of(word: &str) -> (&'static str, &'static str, &'static str) {
    GROUPS.into_iter().find(|(_, known, _)| *known == word).unwrap_or(GROUPS[0])
}

#[post("/settings/tracking")]
async fn say(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    let choice = form.text("choice").map_or(Value::Null, Value::from);
    save(&signed, &shared, &form, choice, "Saved. Visitors meet it within a second.").await
}

#[post("/settings/tracking/remove")]
async fn unsay(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    let text = "Removed. What the link settings say of all links counts again.";
    save(&signed, &shared, &form, Value::Null, text).await
}

async fn save(signed: &Signed, shared: &Shared, form: &Form, choice: Value, text: &str) -> PageResult {
    signed.caller.require(Scope::SettingsWrite)?;
    let (field, ..) = group_of(form.text("group").unwrap_or_default());
    let mut said = Map::new();
    said.insert(form.text("name").unwrap_or_default().to_owned(), choice);
    let mut object = Map::new();
    object.insert(field.to_owned(), said.into());
    let saved = match form::read(object) {
        Ok(change) => settings::update(shared, &signed.caller, None, change).await.map(|_| ()),
        Err(error) => Err(error),
    };
    finish(signed, shared, form, saved, text).await
}
