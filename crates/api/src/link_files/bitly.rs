//! Bitly: the CSV that "Links > Export" sends, and a page of `GET /v4/groups/{group_guid}/bitlinks`.
//!
//! The names of the CSV's columns have changed over time, and Bitly describes none of them. Known are `Link`, `Custom Link`,
//! `Destination URL` (github.com/URLR/urlr-docs, migration/bitly.md), `long_url`, `custom_bitlink`, `title`, `archived`, `tags`,
//! `created_at` (docs.elido.app/docs/migrations/from-bitly), and those of the API: `id`, `link`, `long_url`, `title`, `archived`,
//! `created_at`, `tags`, `custom_bitlinks` (dev.bitly.com/api-reference). Letter case, `_` and spaces make no difference.
//!
//! A link can have several short URLs, all of them in use: its own and custom ones. Each becomes a link; one of Bitly's own
//! domains only where there is no other.

use super::draft::{Draft, Place};
use super::record::{Record, texts_of};
use crate::error::FieldError;

pub(super) const URL: &[&str] = &["longurl", "destinationurl", "destination", "originalurl"];
pub(super) const SHORT: &[&str] =
    &["link", "bitlink", "shorturl", "id", "customlink", "custombitlink", "custombitlinks"];
const CUSTOM: [&str; 5] = ["customlink", "customlinks", "custombitlink", "custombitlinks", "customurl"];
const PLAIN: &[&str] = &["link", "bitlink", "shorturl", "id"];
const TITLE: &[&str] = &["title", "linktitle"];
const CREATED: &[&str] = &["createdat", "created", "datecreated", "createddate", "creationdate"];
const TAGS: &[&str] = &["tags", "tag"];

/// Domains that belong to Bitly.
const BITLYS_OWN: [&str; 4] = ["bit.ly", "j.mp", "bitly.com", "bitly.is"];

pub(super) fn drafts(record: &Record) -> Vec<Draft> {
    places(record)
        .into_iter()
        .map(|place| {
            let mut draft = Draft::new(record, URL, place);
            draft.tell_usual(record, TITLE, CREATED, TAGS);
            draft
        })
        .collect()
}

fn places(record: &Record) -> Vec<Result<Place, FieldError>> {
    let custom = CUSTOM.iter().filter_map(|name| record.value(&[name])).flat_map(texts_of);
    let mut places: Vec<Result<Place, FieldError>> = Vec::new();
    for text in custom.chain(record.text(PLAIN)) {
        let place = Place::of_url(&text);
        let is_bitlys = |place: &Place| place.host.as_deref().is_some_and(|host| BITLYS_OWN.contains(&host));
        let is_spare = !places.is_empty() && place.as_ref().is_ok_and(is_bitlys);
        let is_known = places.iter().flatten().any(|known| place.as_ref().is_ok_and(|place| place == known));
        if !is_spare && !is_known {
            places.push(place);
        }
    }
    if places.is_empty() {
        places.push(Place::of_url(""));
    }
    places
}
