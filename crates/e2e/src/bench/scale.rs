//! What a click costs `deliver` when ever more workspaces have endpoints that it is not for.

use std::time::Duration;

use bus::ConsumerName;

use crate::figures::Figures;
use crate::process;
use crate::sink::Sink;
use crate::streams;
use crate::visitors;
use crate::world::World;

/// Endpoints in the table, each in a workspace of its own; clicks are in the workspace of the last.
const ENDPOINTS: [usize; 4] = [1, 100, 10_000, 100_000];

/// Clicks before the measurement, and in it.
const WARM_UP: u64 = 2_000;
const CLICKS: u64 = 30_000;

/// A service that makes no progress for so long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// CPU of `deliver` for a click, and its memory, by the number of endpoints.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    for endpoints in ENDPOINTS {
        let world = World::start().await?;
        let link = world.create_links(1).await?.remove(0);
        let sink = Sink::start().await?;
        world.insert_endpoints(endpoints - 1, &sink.url(1)).await?;
        world.create_endpoint(&sink.url(0)).await?;
        let deliver = world.service("deliver", None, &[]).await?;
        let click = |n| visitors::enriched(world.workspace_id, &link, n);
        streams::publish(&world, WARM_UP, click).await?;
        sink.wait_for(usize::try_from(WARM_UP)?, STALLED_AFTER).await?;
        streams::wait_drained(&world, ConsumerName::Deliver).await?;

        let before = process::cpu(deliver.pid());
        streams::publish(&world, CLICKS, click).await?;
        sink.wait_for(usize::try_from(WARM_UP + CLICKS)?, STALLED_AFTER).await?;
        streams::wait_drained(&world, ConsumerName::Deliver).await?;
        let used = process::cpu(deliver.pid()) - before;

        figures.add(
            format!("scale.cpu_ms_per_click.{endpoints}"),
            used.as_secs_f64() * 1000.0 / CLICKS as f64,
            format!("CPU of deliver for a click that one of {endpoints} endpoints is subscribed to, ms"),
        );
        figures.add(
            format!("scale.rss_mb.{endpoints}"),
            process::peak_mib(deliver.pid()),
            format!("the most resident memory that deliver had with {endpoints} endpoints, MiB"),
        );
    }
    Ok(())
}
