//! Counts clicks again wherever they have changed: first the quarters of an hour that people look at, then days, then what was
//! recorded by a version that marked nothing. Once an hour one of the last days is held against its clicks, whoever wrote them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
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
pub const AUDIT_EVERY: Duration = Duration::from_secs(HOUR_SECONDS.cast_unsigned());

/// Each hour has a day.
const HOUR_SECONDS: i64 = 3600;

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

    /// Counts until `stop`, and every `audit_every` holds a day against its clicks. What cannot be counted is tried again.
    pub async fn run(self, audit_every: Duration, stop: CancellationToken) {
        // reading a day of millions of clicks takes minutes: they do not keep others from being counted
        tokio::join!(self.count_until(&stop), self.audit_until(audit_every, &stop));
    }

    async fn count_until(&self, stop: &CancellationToken) {
        let mut measured_at: Option<Instant> = None;
        while !stop.is_cancelled() {
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

    async fn audit_until(&self, every: Duration, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            let now = Utc::now();
            let day = audited_day(now, self.audited_days);
            if let Some(Err(error)) = stop.run_until_cancelled(self.audit(day, now)).await {
                warn!(error = format!("{error:#}"), %day, "the counts of a day could not be checked");
            }
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

/// The day that is held against its clicks at this hour. The clock chooses it, whenever a process began: from hour to hour the
/// one before, and then from yesterday again.
fn audited_day(now: DateTime<Utc>, audited_days: u32) -> NaiveDate {
    let hours = now.timestamp().div_euclid(HOUR_SECONDS);
    now.date_naive() - TimeDelta::days(1 + hours.rem_euclid(i64::from(audited_days)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_day_that_is_kept_is_checked_before_it_is_too_old() {
        let hours = || (0..100 * 24).map(|hour| DateTime::<Utc>::UNIX_EPOCH + TimeDelta::hours(hour));
        let days = || DateTime::<Utc>::UNIX_EPOCH.date_naive().iter_days().take(60);
        for audited_days in 1..=AUDITED_DAYS {
            let mut checked = HashSet::new();
            for now in hours() {
                let day = audited_day(now, audited_days);
                let age = (now.date_naive() - day).num_days();
                assert!((1..=i64::from(audited_days)).contains(&age), "{age} of {audited_days}");
                checked.insert(day);
            }

            assert!(days().all(|day| checked.contains(&day)), "{audited_days}");
        }
    }
}
