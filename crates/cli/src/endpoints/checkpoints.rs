//! `clickwire endpoints checkpoints`: what an endpoint was owed, by number, for a receiver that wants to know whether it has missed
//! anything.

use std::process::ExitCode;

use clap::Args;
use model::EndpointId;
use serde_json::Value;

use crate::api::text;
use crate::listing::{self, Listing, ListingOptions};

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  clickwire endpoints checkpoints whe_01jd8m3x5v9k2n4p6q8r0s1t3w --after 4096 --all --json"
)]
pub(crate) struct Options {
    /// Id of the endpoint
    id: EndpointId,

    /// Those that begin after this number: the last one of the checkpoint that you have
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,

    #[command(flatten)]
    listing: ListingOptions,
}

pub(super) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/webhook-endpoints/{}/checkpoints", options.id);
    let listing = Listing {
        path: &path,
        asked: vec![("after", options.after.map(|after| after.to_string()))],
        line,
        empty: "no checkpoints; an endpoint has them that was added with --checkpoint-minutes, once it is owed something",
    };
    listing::list(listing, &options.listing).await
}

fn line(checkpoint: &Value) -> String {
    format!(
        "{}–{}  {} deliveries  {} to {}  sha256 {}",
        text(&checkpoint["first_sequence"]),
        text(&checkpoint["last_sequence"]),
        text(&checkpoint["count"]),
        text(&checkpoint["first_event_at"]),
        text(&checkpoint["last_event_at"]),
        text(&checkpoint["sha256"]),
    )
}
