//! A million clicks as a file: how fast they are read, and what the API holds of them meanwhile.

use std::time::Instant;

use anyhow::Context as _;
use bus::Message as _;
use chrono::{TimeDelta, Utc};
use model::{ClickId, EventId};
use store::clicks::{self, NewClick};
use store::partitions;

use crate::figures::Figures;
use crate::process;
use crate::visitors;
use crate::world::World;

/// Clicks of the export.
const CLICKS: u64 = 1_000_000;

/// Clicks that are recorded in one statement.
const BATCH: u64 = 5_000;

/// Both forms of a million clicks, and the most memory that the API had.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let world = World::start().await?;
    record(&world).await?;
    let pid = world.api_pid()?;
    let before = process::resident_mib(pid);
    for form in ["ndjson", "csv"] {
        let begun = Instant::now();
        let (lines, bytes) = world.read(&format!("/v1/clicks/export?format={form}")).await?;
        let took = begun.elapsed().as_secs_f64();
        let headings = u64::from(form == "csv");
        anyhow::ensure!(lines == CLICKS + headings, "{lines} lines came for {CLICKS} clicks");
        figures.add(
            format!("export.{form}_clicks_per_s"),
            CLICKS as f64 / took,
            format!("clicks a second in one export of a million as {form}, {} MB", bytes / 1_000_000),
        );
        figures.add(
            format!("export.{form}_peak_rss_mb"),
            process::peak_mib(pid),
            format!("the most resident memory that the API has had after that, MiB; before the exports {before:.0}"),
        );
    }
    Ok(())
}

/// A million clicks of the last day, as `record` stores them.
async fn record(world: &World) -> anyhow::Result<()> {
    let link = world.create_links(1).await?.remove(0);
    let mut conn = store::connect(&store::Settings::at(world.postgres.url("bench"))).await?;
    let now = Utc::now();
    partitions::ensure(&mut conn, now.date_naive(), 1).await?;
    let begin = now - TimeDelta::hours(20);
    let begun = Instant::now();
    for first in (0..CLICKS).step_by(BATCH as usize) {
        let enriched: Vec<_> = (first..first + BATCH)
            .map(|n| {
                let at =
                    begin + TimeDelta::milliseconds(i64::try_from(n * 72_000 / 1_000).unwrap_or_default());
                let mut click = visitors::enriched(world.workspace_id, &link, n);
                (click.click.id, click.click.clicked_at) = (ClickId::generate_at(at), at);
                click.event_id = EventId::of_click(click.click.id, 0);
                click
            })
            .collect();
        let events: Vec<_> = enriched.iter().map(|click| click.outgoing().payload).collect();
        let new: Vec<_> =
            enriched.iter().zip(&events).map(|(click, event)| NewClick { click, event }).collect();
        clicks::record(&mut conn, &new, now).await.context("failed to record clicks")?;
    }
    eprintln!("  {CLICKS} clicks were made in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}
