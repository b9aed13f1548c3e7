//! Who did what: the audit log as sentences, filtered by who, what and when.

use actix_web::get;
use actix_web::web::{Data, ServiceConfig};
use askama::Template;
use chrono::{NaiveDate, Utc};
use serde_json::{Map, Value};

use super::doors::Doors;
use super::form::Errors;
use super::view::{Layout, When, html, when};
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::Query;
use crate::desk::activity::{self, Asked, KINDS, Told};
use crate::fields::{Fields, FromFields, text};
use crate::page::Page;

/// Adds the page.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show);
}

struct Line {
    when: When,
    actor: String,
    sentence: &'static str,
    details: String,
    path: Option<String>,
}

/// An entry of a list to choose from.
struct Choice {
    word: String,
    name: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage {
    layout: Layout,
    lines: Vec<Line>,
    actors: Vec<Choice>,
    kinds: Vec<Choice>,
    since: String,
    until: String,
    is_filtered: bool,
    next: Option<String>,
    errors: Errors,
}

/// What the form of the page says: each field may be left empty.
struct Typed {
    actor: String,
    kind: String,
    since: String,
    until: String,
    cursor: String,
}

impl FromFields for Typed {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let mut read = |name| {
            let value = fields.optional(name, |value| match value.as_str() {
                Some("") => Ok(String::new()),
                _ => text::<300>(value),
            });
            value.unwrap_or_default()
        };
        Some(Self {
            actor: read("actor"),
            kind: read("kind"),
            since: read("since"),
            until: read("until"),
            cursor: read("cursor"),
        })
    }
}

impl Typed {
    /// What is asked for in the words of the API. Days are whole ones, in UTC.
    fn asked(&self) -> Map<String, Value> {
        let day = |text: &str, more| {
            let day: Option<NaiveDate> = text.parse().ok();
            let day = day.and_then(|day| day.checked_add_days(chrono::Days::new(more)));
            day.map_or_else(|| text.to_owned(), |day| format!("{day}T00:00:00Z"))
        };
        let fields = [
            ("actor", self.actor.clone()),
            ("action", self.kind.clone()),
            ("since", day(&self.since, 0)),
            ("until", day(&self.until, 1)),
            ("cursor", self.cursor.clone()),
        ];
        let filled = fields.into_iter().filter(|(_, value)| !value.is_empty());
        filled.map(|(name, value)| (name.to_owned(), value.into())).collect()
    }

    fn next(&self, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let same =
            [("actor", &self.actor), ("kind", &self.kind), ("since", &self.since), ("until", &self.until)];
        query.extend_pairs(same.iter().filter(|(_, value)| !value.is_empty()));
        query.append_pair("cursor", cursor).finish()
    }
}

#[get("/settings/activity")]
async fn show(signed: Signed, query: Query, shared: Data<Shared>) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::KeysWrite)?;
    let typed: Typed = query.read()?;
    let (asked, errors) = match super::form::read::<Asked>(typed.asked()) {
        Ok(asked) => (Some(asked), Errors::default()),
        Err(error) => (None, Errors::of(error)?),
    };
    let Page { data, next_cursor } = match &asked {
        Some(asked) => {
            let rows = activity::list(&shared, caller, asked).await?;
            let now = Utc::now();
            let doors = signed.doors();
            asked.page.page(rows, |told| told.entry.id, |told| line(told, doors, now))
        }
        None => Page { data: Vec::new(), next_cursor: None },
    };
    let actors = activity::actors(&shared, caller).await?.into_iter();
    let kinds = KINDS.iter().map(|(word, name)| ((*word).to_owned(), (*name).to_owned()));
    let page = ActivityPage {
        layout: signed.layout("activity"),
        lines: data,
        actors: actors.map(|choice| choose(choice, &typed.actor)).collect(),
        kinds: kinds.map(|choice| choose(choice, &typed.kind)).collect(),
        is_filtered: !typed.asked().is_empty(),
        next: next_cursor.map(|cursor| typed.next(&cursor)),
        since: typed.since,
        until: typed.until,
        errors,
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

fn choose((word, name): (String, String), chosen: &str) -> Choice {
    Choice { is_chosen: word == chosen, word, name }
}

fn line(told: Told, doors: Doors, now: chrono::DateTime<Utc>) -> Line {
    Line {
        when: when(told.entry.created_at, now),
        actor: told.actor,
        sentence: told.sentence,
        details: told.details,
        path: told.path.filter(|path| doors.opens(path)),
    }
}
