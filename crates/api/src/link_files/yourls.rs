//! YOURLS: its table `yourls_url`, and what its API and a plug-in make of it.
//!
//! The table has `keyword`, `url`, `title`, `timestamp`, `ip` and `clicks` (github.com/YOURLS/YOURLS, includes/functions-install.php),
//! written as CSV by phpMyAdmin, with or without names, or with tabs by `mysql --batch`. `action=stats` of the API answers
//! `links.link_1` and so on with `shorturl`, `url`, `title`, `timestamp`, `ip`, `clicks` (includes/functions-api.php). The plug-in "Import
//! Export" writes `source`, `target`, `hits`, the keyword between slashes (github.com/GautamGupta/YOURLS-Import-Export,
//! fileio/csv.php). Times are those of the database server, and taken for UTC. Who made a link (`ip`) is left out.

use super::draft::{Draft, Place};
use super::record::{Record, error, moment};

/// The columns of the table, for a file without their names.
pub(super) const COLUMNS: [&str; 6] = ["keyword", "url", "title", "timestamp", "ip", "clicks"];

const URL: &[&str] = &["url", "target"];
const CREATED: &[&str] = &["timestamp"];

/// Whether the first row of a file is one of the table, rather than the names of columns.
pub(super) fn is_row(fields: &[String]) -> bool {
    fields.len() == COLUMNS.len() && fields[1].contains("://") && moment(&fields[3]).is_some()
}

pub(super) fn draft(record: &Record) -> Draft {
    let place = match (record.text(&["keyword", "source"]), record.text(&["shorturl"])) {
        (Some(keyword), _) => Ok(Place { host: None, slug: keyword.trim_matches('/').to_owned() }),
        (None, Some(short)) => Place::of_url(&short),
        (None, None) => Err(error("/slug", "required", "is required: there is no keyword in this row")),
    };
    let mut draft = Draft::new(record, URL, place);
    let told = |text: String| Some(text).filter(|text| !matches!(text.as_str(), "NULL" | "\\N"));
    draft.tell("title", record.text(&["title"]).and_then(told));
    draft.tell("created_at", record.told_time(CREATED).and_then(told));
    draft
}
