//! Works replays off: puts what they offer in line, at their rate; the courier sends it after what is live.
//!
//! [`Replayer::step`] does one step of each replay that is due. A step is one transaction: lock the job, look at a page,
//! put what matches in line, move the job's position. So a replica that dies loses and doubles nothing, the next one goes
//! on at once, and nobody else can take the same step. The rate stands in the job's row (`due_at`), not in a process.
//!
//! A job waits while its endpoint does not take what is in line already, so that a replay to an endpoint that is down
//! is a few seconds' worth of rows, not all of it.

use std::sync::Arc;
use std::time::Duration;

use bus::Message as _;
use chrono::{DateTime, Utc};
use model::event_type::LINK_CLICKED;
use model::{ClickId, EnrichedClick, ReplayId};
use store::endpoints::{DeliveryMode, State};
use store::replay_source::{self, is_on_its_way};
use store::replays::{self, Advance, Position, Replay, What};
use store::subscriptions::{self, Subscription};
use store::{AsyncConnection as _, Connection, Pool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use webhook::Filter;

use crate::metrics::Metrics;

/// How long one step's deliveries should last at the job's rate; a cancelled job stops within it.
const STEP: Duration = Duration::from_millis(250);

/// How often replays are looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Most replays that one round does a step of.
const REPLAYS_MAX: i64 = 64;

/// Most deliveries that one step looks at.
const DELIVERIES_SEEN_MAX: i64 = 1000;

/// Most clicks that one step looks at: their events come with them.
const CLICKS_SEEN_MAX: i64 = 500;

/// No more is put in line while so much of the job's rate is due and not sent.
const BACKLOG: Duration = Duration::from_secs(5);

/// Pause of a job whose endpoint has a backlog.
const BACKLOG_PAUSE: Duration = Duration::from_secs(1);

/// Pause of a job whose step failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// Works off replays.
pub struct Replayer {
    /// Holds jobs and deliveries.
    pub pool: Pool,
    /// Tells the courier that there is work.
    pub work: Arc<Notify>,
    /// Counts.
    pub metrics: Metrics,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// So many deliveries are in line; there may be more.
    Made(u64),
    /// Everything is in line, with so many of this step.
    Done(u64),
    /// The endpoint has enough to do.
    Waits,
    /// It cannot go on.
    Failed(&'static str),
    /// Somebody else does it.
    NotOurs,
}

impl Replayer {
    /// Works until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            if let Err(error) = self.step(Utc::now()).await {
                warn!(error = format!("{error:#}"), "failed to look for replays");
                stop.run_until_cancelled(tokio::time::sleep(FAILURE_PAUSE)).await;
            }
        }
    }

    /// Does one step of each replay that is due at `now`; tells how many deliveries are new in line.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn step(&self, now: DateTime<Utc>) -> anyhow::Result<u64> {
        let mut conn = self.pool.get().await?;
        let running = replays::count_running(&mut conn, REPLAYS_MAX).await?;
        self.metrics.replays_running.set(i64::try_from(running).unwrap_or(i64::MAX));
        let mut made = 0;
        for id in replays::due(&mut conn, now, REPLAYS_MAX).await? {
            match step_of(&mut conn, id, now).await {
                Ok(step) => made += self.count(id, step),
                Err(error) => {
                    warn!(replay.id = %id, error = format!("{error:#}"), "a step of a replay failed; it is done again");
                    replays::postpone(&mut conn, id, now + FAILURE_PAUSE).await?;
                }
            }
        }
        if made > 0 {
            self.work.notify_one();
        }
        Ok(made)
    }

    fn count(&self, id: ReplayId, step: Step) -> u64 {
        let made = match step {
            Step::Made(made) => made,
            Step::Done(made) => {
                info!(replay.id = %id, "a replay is done");
                made
            }
            Step::Failed(reason) => {
                warn!(replay.id = %id, reason, "a replay cannot go on");
                0
            }
            Step::Waits | Step::NotOurs => 0,
        };
        self.metrics.replayed.inc_by(made);
        made
    }
}

/// One step of one replay, in one transaction.
async fn step_of(conn: &mut Connection, id: ReplayId, now: DateTime<Utc>) -> anyhow::Result<Step> {
    conn.transaction(async |conn| {
        let Some(replay) = replays::lock_due(conn, id, now).await? else { return Ok(Step::NotOurs) };
        let (workspace_id, endpoint_id) = (replay.selection.workspace_id, replay.selection.endpoint_id);
        let endpoint = subscriptions::find(conn, workspace_id, endpoint_id, now).await?;
        let endpoint = match endpoint {
            None => return fail(conn, &replay, "endpoint_deleted", now).await,
            Some(endpoint) if endpoint.state == State::Disabled => {
                return fail(conn, &replay, "endpoint_disabled", now).await;
            }
            Some(endpoint) => endpoint,
        };
        // who fetches has no backlog: what is in line is there for it
        if endpoint.delivery == DeliveryMode::Push && has_backlog(conn, &replay, now).await? {
            let due_at = now + BACKLOG_PAUSE;
            replays::advance(conn, &replay, Advance { position: None, made: 0, due_at }, now).await?;
            return Ok(Step::Waits);
        }
        let page = match replay.selection.what {
            What::Missing => missing_page(conn, &replay, &endpoint, now).await?,
            What::Dead | What::Delivered | What::Any => delivery_page(conn, &replay, now).await?,
        };
        let due_at = now + lasts(page.taken, replay.rate_per_second);
        replays::advance(conn, &replay, Advance { position: page.position, made: page.made, due_at }, now)
            .await?;
        if page.is_last {
            replays::finish(conn, &replay, None, now).await?;
            return Ok(Step::Done(page.made));
        }
        Ok(Step::Made(page.made))
    })
    .await
}

/// What one step has looked at and put in line.
struct Page {
    position: Option<Position>,
    /// Matches, whether or not somebody else put them in line at the same moment.
    taken: usize,
    made: u64,
    is_last: bool,
}

async fn delivery_page(conn: &mut Connection, replay: &Replay, now: DateTime<Utc>) -> anyhow::Result<Page> {
    let quota = quota(replay.rate_per_second);
    let limit = DELIVERIES_SEEN_MAX;
    let mut seen =
        replay_source::deliveries(conn, &replay.selection, Some(replay.id), replay.position, limit).await?;
    let mut is_last = is_short(seen.len(), limit);
    if let Some(end) = end_of(seen.iter().map(|seen| seen.matches), quota) {
        is_last &= end == seen.len();
        seen.truncate(end);
    }
    let position = seen.last().map(|seen| seen.id.uuid());
    seen.retain(|seen| seen.matches);
    let made = replay_source::again(conn, replay, &seen, now).await?;
    Ok(Page { position, taken: seen.len(), made: made as u64, is_last })
}

async fn missing_page(
    conn: &mut Connection,
    replay: &Replay,
    endpoint: &Subscription,
    now: DateTime<Utc>,
) -> anyhow::Result<Page> {
    let quota = quota(replay.rate_per_second);
    let limit = CLICKS_SEEN_MAX;
    let filter = endpoint.filter.as_ref().map(Filter::parse).transpose()?;
    let wants_clicks = endpoint.event_types.iter().any(|pattern| pattern.matches(LINK_CLICKED));
    if !wants_clicks {
        return Ok(Page { position: None, taken: 0, made: 0, is_last: true });
    }
    let mut seen =
        replay_source::clicks(conn, &replay.selection, replay.position, filter.is_some(), limit).await?;
    let matches: Vec<bool> = seen
        .iter()
        .map(|seen| {
            seen.is_missing
                && !is_on_its_way(seen.clicked_at, endpoint.owed_from, replay.created_at)
                && filter.as_ref().is_none_or(|filter| passes(filter, seen.id, seen.event.as_deref()))
        })
        .collect();
    let mut is_last = is_short(seen.len(), limit);
    if let Some(end) = end_of(matches.iter().copied(), quota) {
        is_last &= end == seen.len();
        seen.truncate(end);
    }
    let position = seen.last().map(|seen| seen.id.uuid());
    let missed: Vec<(ClickId, u32)> =
        seen.iter().zip(&matches).filter(|(_, matches)| **matches).map(|(s, _)| (s.id, s.revision)).collect();
    let made = replay_source::first(conn, replay, &missed, now).await?;
    Ok(Page { position, taken: missed.len(), made: made as u64, is_last })
}

/// Whether the endpoint's filter lets a recorded click through; one that cannot be read is logged and left out.
fn passes(filter: &Filter, id: ClickId, event: Option<&[u8]>) -> bool {
    let Some(event) = event else { return false };
    match EnrichedClick::decode(event) {
        Ok(click) => filter.matches(&click),
        Err(error) => {
            error!(click.id = %id, %error, "a recorded click could not be read and is not replayed");
            false
        }
    }
}

async fn fail(
    conn: &mut Connection,
    replay: &Replay,
    reason: &'static str,
    now: DateTime<Utc>,
) -> anyhow::Result<Step> {
    replays::finish(conn, replay, Some(reason), now).await?;
    Ok(Step::Failed(reason))
}

async fn has_backlog(conn: &mut Connection, replay: &Replay, now: DateTime<Utc>) -> anyhow::Result<bool> {
    let limit = i64::from(replay.rate_per_second).saturating_mul(BACKLOG.as_secs().cast_signed());
    Ok(replay_source::count_due(conn, replay, now, limit).await? >= limit)
}

/// How many deliveries one step puts in line: at least one, else what [`STEP`] allows.
fn quota(rate_per_second: u32) -> usize {
    let quota = f64::from(rate_per_second) * STEP.as_secs_f64();
    (quota as usize).max(1)
}

/// How long so many deliveries last at this rate.
fn lasts(deliveries: usize, rate_per_second: u32) -> Duration {
    let deliveries = u32::try_from(deliveries).unwrap_or(u32::MAX);
    Duration::from_secs_f64(f64::from(deliveries) / f64::from(rate_per_second.max(1)))
}

/// Where a page ends that may have so many matches; `None`: it has fewer.
fn end_of(matches: impl Iterator<Item = bool>, quota: usize) -> Option<usize> {
    let mut matching = matches.enumerate().filter(|(_, matches)| *matches);
    matching.nth(quota.saturating_sub(1)).map(|(index, _)| index + 1)
}

fn is_short(seen: usize, limit: i64) -> bool {
    i64::try_from(seen).unwrap_or(i64::MAX) < limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_ends_with_the_last_match_that_the_rate_allows() {
        let page = [false, true, true, false, true];

        for (quota, end) in [(1, Some(2)), (2, Some(3)), (3, Some(5)), (4, None)] {
            assert_eq!(end_of(page.into_iter(), quota), end, "{quota}");
        }
    }

    proptest! {
        #[test]
        fn no_rate_is_exceeded(rate in 1u32..=replays::RATE_MAX) {
            let (mut made, mut passed) = (0, Duration::ZERO);
            while passed < Duration::from_secs(10) {
                made += quota(rate);
                passed += lasts(quota(rate), rate);
            }

            // what the last step put in line lasts beyond the end
            prop_assert!(made <= rate as usize * 10 + quota(rate));
            prop_assert!(made >= rate as usize * 10);
            prop_assert!(lasts(quota(rate), rate) <= Duration::from_secs(1));
        }
    }
}
