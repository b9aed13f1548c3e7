//! Counts clicks again wherever they have changed: first the quarters of an hour that people look at, then days, then what was
//! recorded by a version that marked nothing. Once an hour one of the last days is held against its clicks, whoever wrote them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use store::rollups::{self, Bucket, Grain};
use store::{Connection, Pool};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// Buckets that are looked up at a time. Each is counted in a transaction of its own.
const BUCKETS_MAX: i64 = 64;

/// Days likewise.
const DAYS_MAX: i64 = 8;

/// How long a day rests after a change of one of its quarters. Until then the quarters answer for it: it only costs readers
/// some milliseconds.
const DAY_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// How often it is looked for work when there was none.
const POLL: Duration = Duration::from_secs(1);

/// Of the time that counting took, this part is left to others.
const REST: u32 = 4;

/// How often it is measured how much waits.
const MEASURE_EVERY: Duration = Duration::from_secs(10);

/// How often a day is held against its clicks.
const AUDIT_EVERY: Duration = Duration::from_secs(3600);

/// How many days are, one after the other, from yesterday back: a program that slept for longer is not waited for.
const AUDITED_DAYS: u32 = 31;

/// Keeps the counts of clicks. Several may run: a bucket that another is counting is passed over.
pub struct Rollups {
    pool: Pool,
    pause: Duration,
    audited_days: u32,
    metrics: Metrics,
}

impl Rollups {
    /// Counts that rest for `pause` after the first change since they were made: what is clicked all the time is counted so
    /// often and no more. They are kept for `kept_days`, 0: for ever; what is deleted is not missed.
    pub fn new(pool: Pool, pause: Duration, kept_days: u32, metrics: Metrics) -> Self {
        let audited_days = match kept_days {
            0 => AUDITED_DAYS,
            kept => kept.min(AUDITED_DAYS),
        };
        Self { pool, pause, audited_days, metrics }
    }

    /// Counts until `stop`. What cannot be counted is tried again.
    pub async fn run(self, stop: CancellationToken) {
        let mut measured_at: Option<Instant> = None;
        let (mut audited_at, mut audits) = (Instant::now(), 0);
        while !stop.is_cancelled() {
            if audited_at.elapsed() >= AUDIT_EVERY {
                let day = Utc::now().date_naive() - Days::new(1 + audits % u64::from(self.audited_days));
                if let Some(Err(error)) = stop.run_until_cancelled(self.audit(day, Utc::now())).await {
                    warn!(error = format!("{error:#}"), %day, "the counts of a day could not be checked");
                }
                (audited_at, audits) = (Instant::now(), audits + 1);
            }
            if measured_at.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
                if let Some(Err(error)) = stop.run_until_cancelled(self.measure(Utc::now())).await {
                    debug!(error = format!("{error:#}"), "what waits to be counted could not be measured");
                }
                measured_at = Some(Instant::now());
            }
            let began = Instant::now();
            // a step that is given up is undone by the database
            let rest = match stop.run_until_cancelled(self.step(Utc::now())).await {
                None => return,
                Some(Ok(true)) => began.elapsed() / REST,
                Some(Ok(false)) => POLL,
                Some(Err(error)) => {
                    warn!(error = format!("{error:#}"), "clicks could not be counted");
                    POLL
                }
            };
            stop.run_until_cancelled(tokio::time::sleep(rest)).await;
        }
    }

    /// Counts some of what is due; false when nothing is.
    ///
    /// # Errors
    /// When the database is away. A bucket that cannot be counted by itself is logged and sent to the end of the line.
    pub async fn step(&self, now: DateTime<Utc>) -> anyhow::Result<bool> {
        let mut conn = self.pool.get().await?;
        let pause = TimeDelta::from_std(self.pause).unwrap_or(DAY_PAUSE);
        let mut counted = false;
        for (grain, pause, limit) in [(Grain::Quarter, pause, BUCKETS_MAX), (Grain::Day, DAY_PAUSE, DAYS_MAX)]
        {
            let due = rollups::due(&mut conn, grain, now - pause, limit).await;
            for bucket in due.context("failed to look for what has to be counted")? {
                counted |= self.count(&mut conn, bucket, now).await?;
            }
        }
        if counted {
            return Ok(true);
        }
        // due at once: hour by hour, the next when this one is done
        rollups::mark_next_hour(&mut conn, now, now - pause)
            .await
            .context("failed to mark what was recorded before")
    }

    /// False when another is at it.
    async fn count(&self, conn: &mut Connection, bucket: Bucket, now: DateTime<Utc>) -> anyhow::Result<bool> {
        let began = Instant::now();
        match rollups::recount(conn, bucket, now).await {
            Ok(counted) => {
                if counted && bucket.grain == Grain::Quarter {
                    self.metrics.recount_seconds.observe(began.elapsed().as_secs_f64());
                }
                Ok(counted)
            }
            Err(error) if store::is_connection_lost(&error) => Err(error).context("failed to count clicks"),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                warn!(
                    error,
                    workspace.id = %bucket.workspace_id, bucket = %bucket.begins_at,
                    "the clicks of a bucket could not be counted"
                );
                self.metrics.recount_failures_total.inc();
                rollups::put_off(conn, bucket, now).await.context("failed to put a bucket off")?;
                Ok(false)
            }
        }
    }

    /// Has counted again what does not fit the clicks of a UTC day; tells how many quarters of an hour that are.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn audit(&self, day: NaiveDate, now: DateTime<Utc>) -> anyhow::Result<usize> {
        let mut conn = self.pool.get().await?;
        let found = rollups::mark_deviating(&mut conn, day, now).await;
        let found = found.context("failed to hold counts against clicks")?;
        if found > 0 {
            warn!(buckets = found, %day, "clicks were written without being counted; they are counted now");
            self.metrics.unmarked_buckets_total.inc_by(found as u64);
        }
        Ok(found)
    }

    /// Shows how much waits, and for how long.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn measure(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let mut conn = self.pool.get().await?;
        let waiting = rollups::waiting(&mut conn).await.context("failed to look for what waits")?;
        let age = waiting.oldest.map_or(TimeDelta::zero(), |oldest| now - oldest);
        self.metrics.dirty_buckets.set(waiting.buckets);
        self.metrics.oldest_dirty_bucket_seconds.set(age.as_seconds_f64().max(0.0));
        Ok(())
    }
}
