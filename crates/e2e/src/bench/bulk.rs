//! How fast links are made in bulk, and what the API holds of them meanwhile.

use std::time::Instant;

use crate::figures::Figures;
use crate::process;
use crate::world::World;

/// Lines of the request.
const LINKS: u64 = 100_000;

/// Links a second through `POST /v1/links/bulk`, and the API's memory after that.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let world = World::start().await?;
    let begun = Instant::now();
    world.import_links(LINKS).await?;
    figures.add(
        "api.bulk_links_per_s",
        LINKS as f64 / begun.elapsed().as_secs_f64(),
        "links a second in one bulk request of 100,000 lines, a result for each",
    );
    figures.add(
        "api.rss_mb",
        process::resident_mib(world.api_pid()?),
        "resident memory of the API after that, MiB",
    );
    Ok(())
}
