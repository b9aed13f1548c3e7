//! Keeps every enriched click once, in batches of one statement, and counts it for a link that may have only so many.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use bus::{Bus, Changed, Handler, Message as _, Table, Verdict, Verdicts};
use bytes::Bytes;
use chrono::Utc;
use model::{EnrichedClick, LinkId, WorkspaceId};
use store::clicks::{self, NewClick, Recorded};
use store::tombstones::{self, Late};
use store::{Connection, Pool, QueryResult, links};
use tracing::{debug, info, warn};

use crate::metrics::Metrics;

/// Writes ENRICHED into `clicks`.
pub struct Recorder {
    pool: Pool,
    bus: Bus,
    retry_delay: Duration,
    metrics: Metrics,
}

impl Recorder {
    /// A recorder that hands clicks back for `retry_delay` while the database cannot take them, and tells over `bus`
    /// which links have had their last click.
    pub fn new(pool: Pool, bus: Bus, retry_delay: Duration, metrics: Metrics) -> Self {
        Self { pool, bus, retry_delay, metrics }
    }

    async fn record(&self, batch: &[EnrichedClick]) -> anyhow::Result<()> {
        let mut conn = self.pool.get().await?;
        let (kept, late) = without_erased(&mut conn, batch).await.context("failed to look for tombstones")?;
        let events: Vec<Bytes> = kept.iter().map(|click| click.outgoing().payload).collect();
        let rows = kept.iter().zip(&events).map(|(click, event)| NewClick { click, event });
        // a sample is nobody's click
        let rows: Vec<NewClick<'_>> = rows.filter(|new| !new.click.test).collect();
        let now = Utc::now();
        let recorded = clicks::record(&mut conn, &rows, now).await.context("failed to write clicks")?;
        if !late.is_empty() {
            tombstones::mark(&mut conn, &late, now)
                .await
                .context("failed to mark clicks of erased contacts")?;
            self.metrics.erased_clicks_total.inc_by(late.len() as u64);
        }
        drop(conn);
        let Recorded { written, exhausted, reopened } = recorded;
        self.metrics.clicks_total.inc_by(written as u64);
        self.metrics.repeated_clicks_total.inc_by((batch.len() - written) as u64);
        debug!(clicks = batch.len(), written, "recorded");
        self.metrics.exhausted_links_total.inc_by(exhausted.len() as u64);
        let changed = [exhausted, reopened].concat();
        if !changed.is_empty()
            && let Err(error) = self.announce(&changed).await
        {
            // the clicks are written; redirects learn of it by age
            warn!(
                error = format!("{error:#}"),
                links = changed.len(),
                "links are exhausted, or not any more, and nobody was told"
            );
        }
        Ok(())
    }

    /// Tells redirects which links lead nowhere from now on, or somewhere again.
    async fn announce(&self, changed: &[LinkId]) -> anyhow::Result<()> {
        let mut conn = self.pool.get().await?;
        let addresses = links::addresses(&mut conn, changed).await.context("failed to find the links")?;
        drop(conn);
        let mut keys: BTreeMap<WorkspaceId, Vec<String>> = BTreeMap::new();
        for (workspace_id, host, slug) in addresses {
            keys.entry(workspace_id).or_default().push(format!("{host}/{slug}"));
        }
        for (workspace_id, keys) in keys {
            info!(workspace.id = %workspace_id, links = keys.len(), "links have had as many clicks as they may have, or not any more");
            self.bus.notify(&Changed { table: Table::Links, workspace_id, keys }).await;
        }
        Ok(())
    }
}

/// The clicks as they are kept: those of erased contacts without what tells who it was, however they came (redelivered, from a
/// spool, from the quarantine) and whenever they were made. And which those are.
async fn without_erased<'a>(
    conn: &mut Connection,
    batch: &'a [EnrichedClick],
) -> QueryResult<(Vec<Cow<'a, EnrichedClick>>, Vec<Late<'a>>)> {
    fn contact(click: &EnrichedClick) -> Option<(WorkspaceId, &str)> {
        Some((click.click.workspace_id, click.click.link.labels.contact_id.as_deref()?))
    }
    let erased = tombstones::erased(conn, batch.iter().filter_map(contact)).await?;
    let (mut kept, mut late) = (Vec::with_capacity(batch.len()), Vec::new());
    for click in batch {
        let named = contact(click)
            .filter(|(workspace_id, contact)| erased.contains(&(*workspace_id, (*contact).to_owned())));
        if named.is_none() && !click.is_erased {
            kept.push(Cow::Borrowed(click));
            continue;
        }
        let mut emptied = click.clone();
        emptied.erase();
        kept.push(Cow::Owned(emptied));
        let contact = named.map(|(_, contact)| contact);
        late.push(Late { id: click.click.id, link_id: click.click.link.id, contact });
    }
    Ok((kept, late))
}

impl Handler for Recorder {
    type Message = EnrichedClick;

    async fn handle(&self, batch: &[EnrichedClick]) -> Verdicts {
        match self.record(batch).await {
            Ok(()) => Verdicts::all(Verdict::Done),
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    clicks = batch.len(),
                    "recording failed; the clicks come again"
                );
                Verdicts::all(Verdict::Retry(self.retry_delay))
            }
        }
    }
}
