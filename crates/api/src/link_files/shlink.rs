//! Shlink: the CSV that its web client exports, and what `GET /rest/v3/short-urls` lists.
//!
//! The CSV has `createdAt`, `domain`, `shortCode`, `shortUrl`, `longUrl`, `title`, `tags` (with `|` between them) and `visits`
//! (github.com/shlinkio/shlink-web-component, src/short-urls/helpers/ExportShortUrlsBtn.tsx). The API's entries stand in
//! `shortUrls.data` and have `shortCode`, `shortUrl`, `longUrl`, `dateCreated`, `tags`, `meta` with `validSince`, `validUntil` and
//! `maxVisits`, `domain`, `title`, `forwardQuery`, `hasRedirectRules` and `visitsSummary` (github.com/shlinkio/shlink,
//! docs/swagger/definitions/ShortUrl.json and ShortUrlMeta.json). The table that `short-url:list` prints has the same columns with
//! spaces in their names, and is read once its rules are gone.

use super::draft::{Draft, Place};
use super::record::{Record, error};
use serde_json::Value;

const URL: &[&str] = &["longurl"];
const TITLE: &[&str] = &["title"];
const CREATED: &[&str] = &["createdat", "datecreated"];
const TAGS: &[&str] = &["tags"];

pub(super) fn draft(record: &Record) -> Draft {
    let was = record.text(&["shorturl"]).and_then(|short| Place::of_url(&short).ok());
    let host = record.text(&["domain"]).or_else(|| was.and_then(|place| place.host));
    let place = match record.text(&["shortcode"]) {
        Some(slug) => Ok(Place { host, slug }),
        None => Err(error("/slug", "required", "is required: there is no short code in this row")),
    };
    let mut draft = Draft::new(record, URL, place);
    draft.tell_usual(record, TITLE, CREATED, TAGS);

    let meta = Record { line: record.line, fields: meta(record) };
    draft.set_time("starts_at", meta.time(&["validsince"]));
    draft.set_time("expires_at", meta.time(&["validuntil"]));
    let visits_max = meta.number(&["maxvisits"]);
    draft.set_some("max_clicks", visits_max);
    if visits_max.zip(visits(record)).is_some_and(|(most, visits)| visits >= most) {
        draft.set("enabled", false);
        draft.note("all of its visits were made: it is imported, and leads nowhere until it is enabled");
    }
    if record.flag(&["forwardquery"]) == Some(false) {
        draft.set("query_mode", "drop");
    }
    if record.flag(&["hasredirectrules"]) == Some(true) {
        draft.note("its redirect rules are not imported");
    }
    draft
}

fn meta(record: &Record) -> Vec<(String, Value)> {
    match record.value(&["meta"]) {
        Some(Value::Object(meta)) => meta.clone().into_iter().collect(),
        _ => record.fields.clone(),
    }
}

fn visits(record: &Record) -> Option<u64> {
    let summary = record.value(&["visitssummary"]).and_then(|summary| summary["total"].as_u64());
    summary.or_else(|| record.number(&["visits", "visitscount"]))
}
