//! Dub: the CSV of "Export links", and what `GET /links` lists.
//!
//! The columns of the CSV are chosen by whoever exports: `Short link`, `Destination URL`, `Clicks`, `Created at`, `Updated at`, `Tags`,
//! `Archived`, and later `Title`, `Description`, `Comments` (github.com/dubinc/dub, apps/web/ui/modals/export-links-modal.tsx and
//! apps/web/lib/api/links/format-links-for-export.ts). The API's fields are those of `LinkSchema` in
//! apps/web/lib/zod/schemas/links.ts. `externalId` is what `external_id` is here.

use super::draft::{Draft, Place};
use super::record::{Record, error};
use serde_json::{Map, Value};

const URL: &[&str] = &["destinationurl", "url"];
const TITLE: &[&str] = &["title"];
const CREATED: &[&str] = &["createdat", "createddate"];
const TAGS: &[&str] = &["tags"];

/// What leads visitors elsewhere by their device or country.
const TARGETS: [&str; 3] = ["ios", "android", "geo"];

/// The key of the page that a domain itself is.
const ROOT: &str = "_root";

pub(super) fn draft(record: &Record) -> Draft {
    let place = match (record.text(&["key"]), record.text(&["shortlink", "link"])) {
        (Some(key), _) if key == ROOT => {
            Err(error("/slug", "invalid", "is the page of the domain itself, without a slug"))
        }
        (Some(slug), _) => Ok(Place { host: record.text(&["domain"]), slug }),
        (None, Some(short)) => Place::of_url(&short),
        (None, None) => Err(error("/slug", "required", "is required: there is no short link in this row")),
    };
    let mut draft = Draft::new(record, URL, place);
    draft.tell_usual(record, TITLE, CREATED, TAGS);
    draft.tell("description", record.text(&["description"]));
    draft.tell("comments", record.text(&["comments"]));
    draft.set_time("expires_at", record.time(&["expiresat"]));
    draft.set_some("expired_url", record.text(&["expiredurl"]));
    draft.known_as(record.text(&["externalid"]));
    if record.flag(&["proxy"]) == Some(true) {
        draft.set_some("preview", preview(record));
    }
    if record.value(&["password"]).is_some() {
        draft.note(
            "it had a password, which is not imported: set one, or whoever knows the link may follow it",
        );
    }
    if TARGETS.iter().any(|name| record.value(&[name]).is_some()) {
        draft.note("its targets by device or country are not imported");
    }
    draft
}

/// What messengers are to show, as it was set.
fn preview(record: &Record) -> Option<Map<String, Value>> {
    let mut preview = Map::new();
    preview.insert("title".to_owned(), record.text(TITLE)?.into());
    for (name, theirs) in [("description", "description"), ("image_url", "image")] {
        if let Some(text) = record.text(&[theirs]) {
            preview.insert(name.to_owned(), text.into());
        }
    }
    Some(preview)
}
