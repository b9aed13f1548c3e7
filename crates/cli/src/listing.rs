//! Lists that the API tells page by page.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use crate::api::{ApiOptions, query};
use crate::out;

/// What every list can be asked for.
#[derive(Debug, Args)]
pub(crate) struct ListingOptions {
    /// Most entries, 1 to 250
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=250))]
    limit: u32,

    /// Go on where the page before ended
    #[arg(long, value_name = "CURSOR", conflicts_with = "all")]
    cursor: Option<String>,

    /// Every entry, page after page
    #[arg(long, conflicts_with = "limit")]
    all: bool,

    #[command(flatten)]
    api: ApiOptions,

    /// Print one line of JSON; with --all one for each entry
    #[arg(long)]
    json: bool,
}

/// The size of the pages of `--all`.
const PAGE_ALL: u32 = 250;

/// What is listed: where, asked for how, and how it is told.
pub(crate) struct Listing<'a> {
    pub path: &'a str,
    pub asked: Vec<(&'a str, Option<String>)>,
    pub line: fn(&Value) -> String,
    /// What to do when there is nothing.
    pub empty: &'a str,
}

/// Prints a list: a line an entry; with `json` the page as one line, or with `--all` a line of JSON an entry.
pub(crate) async fn list(listing: Listing<'_>, options: &ListingOptions) -> anyhow::Result<ExitCode> {
    let ListingOptions { limit, cursor, all, api, json } = options;
    let (all, json, api) = (*all, *json, api.open()?);
    let limit = if all { PAGE_ALL } else { *limit };
    let (mut cursor, mut is_first) = (cursor.clone(), true);
    loop {
        let mut asked = listing.asked.clone();
        asked.extend([("limit", Some(limit.to_string())), ("cursor", cursor.take())]);
        let answer = api.ask(Method::GET, &format!("{}{}", listing.path, query(&asked)), None).await?;
        if all && !answer.status.is_success() {
            // standard output is a line an entry, and this is none
            answer.tell_refusal();
            return Ok(answer.exit());
        }
        if !answer.status.is_success() || (json && !all) {
            answer.print(json, |_| Vec::new());
            return Ok(answer.exit());
        }
        let entries = answer.body["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        if entries.is_empty() && is_first && !json {
            out::line(listing.empty);
        }
        is_first = false;
        for entry in entries {
            let line = if json { entry.to_string() } else { (listing.line)(entry) };
            if !out::is_read(&line) {
                return Ok(ExitCode::SUCCESS);
            }
        }
        match answer.body["next_cursor"].as_str() {
            Some(next) if all => cursor = Some(next.to_owned()),
            Some(next) => {
                out::error(&format!("there are more: --all, or --cursor {next}"));
                return Ok(ExitCode::SUCCESS);
            }
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}
