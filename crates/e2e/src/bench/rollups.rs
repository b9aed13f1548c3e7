//! A month of clicks, made with a fixed seed, counted by quarters of an hour: whether the counts are those of a full count, before
//! and after a tenth comes again and a hundredth is amended, how fast they are made, and how fast they are read.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use ::record::{Metrics, Rollups};
use anyhow::Context as _;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use embedded::{Postgres, PostgresOptions};
use model::{LinkId, WorkspaceId};
use service::ops::Ops;
use store::rollups::{self, Dimension, Interval, Range, Scope};
use store::{Connection, Pool, partitions};
use tempfile::TempDir;

use crate::figures::{Figures, quantile};
use crate::world::psql;

/// Days that the clicks are spread over.
const DAYS: u32 = 30;

/// Links that are clicked, some much more than others.
const LINKS: u32 = 5_000;

/// The link with most clicks: the first.
const LINK: &str = "lnk_00000000000000000000000001";

/// Reads of each kind.
const READS: u32 = 200;

/// Values that are listed.
const LISTED: i64 = 10;

/// A number from 0 to 1 for each click and purpose: the seed is in the purpose.
const RANDOM: &str =
    "CREATE FUNCTION random_of(n bigint, purpose integer) RETURNS double precision LANGUAGE sql IMMUTABLE AS
    $$ SELECT (hashint8extended(n, 20261128 + purpose) & 2147483647) / 2147483648.0::double precision $$";

struct Month {
    url: String,
    workspace_id: WorkspaceId,
    first_day: NaiveDate,
    clicks: u64,
    conn: Connection,
    rollups: Rollups,
    metrics: Metrics,
    // the server before its files
    _postgres: Postgres,
    _dir: TempDir,
}

/// All of it, with so many clicks.
pub async fn measure(figures: &mut Figures, clicks: u64) -> anyhow::Result<()> {
    let mut month = Month::start(clicks).await?;
    let began = Instant::now();
    month.fill().await?;
    eprintln!("  {clicks} clicks were made in {:.0} s", began.elapsed().as_secs_f64());

    let (took, buckets) = month.count().await?;
    let meaning =
        "clicks a second that are counted from nothing, one connection; rows without their messages";
    figures.add("rollups.counted_clicks_per_s", clicks as f64 / took.as_secs_f64(), meaning);
    let mean = took.as_secs_f64() * 1e3 / buckets.max(1) as f64;
    figures.add(
        "rollups.bucket_ms",
        mean,
        "milliseconds to count a quarter of an hour, its share of the day included",
    );
    let deviations = month.deviations().await?;
    figures.add("rollups.deviations", deviations as f64, "counts that differ from a full count");
    anyhow::ensure!(deviations == 0, "{deviations} counts differ from a full count");

    month.read(figures).await?;

    let again = month.tell_again().await?;
    let (took, buckets) = month.count().await?;
    let deviations = month.deviations().await?;
    figures.add(
        "rollups.deviations_after",
        deviations as f64,
        format!("the same after {} clicks came again and {} were amended", again.repeated, again.amended),
    );
    let mean = took.as_secs_f64() * 1e3 / buckets.max(1) as f64;
    figures.add(
        "rollups.bucket_again_ms",
        mean,
        "milliseconds to count a quarter of an hour again after that",
    );
    anyhow::ensure!(deviations == 0, "{deviations} counts differ from a full count after that");
    anyhow::ensure!(again.added == 0, "{} clicks that came again were new", again.added);
    Ok(())
}

/// What came a second time.
struct Again {
    repeated: u64,
    added: u64,
    amended: u64,
}

impl Month {
    async fn start(clicks: u64) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("clickwire-bench-")?;
        // as root, PostgreSQL runs as another user
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        let options = PostgresOptions { dir: dir.path().join("postgres"), port: None, durable: true };
        let postgres = Postgres::start(options).await?;
        postgres.create_database("bench", None).await?;
        let url = postgres.url("bench");
        let settings = store::Settings::at(&url);
        store::setup(&settings, Utc::now()).await?;
        let mut conn = store::connect(&settings).await?;
        let workspace_id = store::workspaces::insert(&mut conn, "Bench", Utc::now()).await?.id;
        let yesterday = Utc::now().date_naive() - Days::new(1);
        let first_day = yesterday - Days::new(u64::from(DAYS) - 1);
        // begins the day before the one that it is asked for
        partitions::ensure(&mut conn, first_day + Days::new(1), DAYS).await?;
        psql(&url, RANDOM).await?;
        let metrics = Metrics::register(Ops::new().registry())?;
        let rollups = Rollups::new(Pool::connect(&settings)?, Duration::ZERO, 0, metrics.clone());
        let (_postgres, _dir) = (postgres, dir);
        Ok(Self { url, workspace_id, first_day, clicks, conn, rollups, metrics, _postgres, _dir })
    }

    fn days(&self) -> impl Iterator<Item = NaiveDate> + use<> {
        self.first_day.iter_days().take(DAYS as usize)
    }

    /// Clicks as if recorded by a version that counted nothing.
    async fn fill(&self) -> anyhow::Result<()> {
        let a_day = self.clicks / u64::from(DAYS);
        for (number, day) in self.days().enumerate() {
            let first = number as u64 * a_day;
            let last_day = number + 1 == DAYS as usize;
            let end = if last_day { self.clicks } else { first + a_day };
            psql(&self.url, &make_clicks(self.workspace_id, day, first, end)).await?;
        }
        let (first, end) = (self.first_day, self.first_day + Days::new(u64::from(DAYS)));
        psql(
            &self.url,
            &format!(
                "INSERT INTO unmarked_hours SELECT generate_series('{first} 00:00Z'::timestamptz, '{end} 00:00Z'::timestamptz
                     - interval '1 hour', interval '1 hour')"
            ),
        )
        .await?;
        psql(&self.url, "VACUUM ANALYZE clicks").await?;
        Ok(())
    }

    /// Counts until nothing is left; tells how long it took, and how many quarters it were.
    async fn count(&mut self) -> anyhow::Result<(Duration, u64)> {
        let (began, before) = (Instant::now(), self.metrics.recount_seconds.get_sample_count());
        // late enough that nothing rests: a day does after its quarters
        for hours in [1, 2] {
            while self.rollups.step(Utc::now() + TimeDelta::hours(hours)).await? {}
        }
        let took = began.elapsed();
        let left = rollups::waiting(&mut self.conn).await?;
        anyhow::ensure!(left.buckets == 0, "{} buckets are left", left.buckets);
        psql(&self.url, "VACUUM ANALYZE rollups, daily_rollups, link_rollups, dirty_buckets").await?;
        Ok((took, self.metrics.recount_seconds.get_sample_count() - before))
    }

    async fn deviations(&mut self) -> anyhow::Result<i64> {
        let mut deviations = 0;
        for day in self.days() {
            deviations += rollups::deviations(&mut self.conn, day).await?;
        }
        Ok(deviations)
    }

    /// A random tenth is inserted again, as a redelivery is; a random hundredth turns out to be something else.
    async fn tell_again(&self) -> anyhow::Result<Again> {
        let mut again = Again { repeated: 0, added: 0, amended: 0 };
        for day in self.days() {
            let chosen = |purpose: u32, share: f64| {
                format!(
                    "day = '{day}' AND (hashtextextended(id::text, {purpose}) & 65535) < {}",
                    share * 65536.0
                )
            };
            let told = psql(
                &self.url,
                &format!(
                    "WITH repeated AS MATERIALIZED (SELECT * FROM clicks WHERE {repeated}), added AS (
                         INSERT INTO clicks SELECT * FROM repeated ON CONFLICT (day, id) DO NOTHING RETURNING 1
                     ), amended AS (
                         UPDATE clicks SET revision = 1, country = 'XX', city = NULL, browser = NULL,
                             verdict = CASE verdict WHEN 'human' THEN 'automated' ELSE 'human' END,
                             is_first_click = NOT is_first_click
                         WHERE {amended} RETURNING id, workspace_id
                     ), marked AS (
                         INSERT INTO dirty_buckets (workspace_id, bucket, marked_at)
                         SELECT DISTINCT workspace_id, click_bucket(id), now() FROM (
                             SELECT id, workspace_id FROM amended UNION ALL SELECT id, workspace_id FROM repeated
                         ) AS touched
                     )
                     SELECT (SELECT count(*) FROM repeated) || ' ' || (SELECT count(*) FROM added) || ' '
                         || (SELECT count(*) FROM amended)",
                    repeated = chosen(1, 0.1),
                    amended = chosen(2, 0.01),
                ),
            )
            .await?;
            let mut numbers = told.split_whitespace().map(str::parse::<u64>);
            let mut next = || numbers.next().context("a number is missing")?.context("not a number");
            again.repeated += next()?;
            again.added += next()?;
            again.amended += next()?;
        }
        Ok(again)
    }

    /// What a report asks for, over a month, a week and a day.
    async fn read(&mut self, figures: &mut Figures) -> anyhow::Result<()> {
        let (mut summary, mut series, mut top, mut link) = (vec![], vec![], vec![], vec![]);
        for n in 0..READS {
            let (range, workspace) = (self.range(n), Scope::Workspace(self.workspace_id));
            let (interval, zone) = match n % 3 {
                0 => (Interval::Day, "Europe/Stockholm"),
                1 => (Interval::Hour, "Asia/Kathmandu"),
                _ => (Interval::Quarter, "America/New_York"),
            };
            let dimension = Dimension::ALL[n as usize % Dimension::ALL.len()];
            let one = Scope::Link(self.workspace_id, LINK.parse::<LinkId>()?);
            let conn = &mut self.conn;
            timed(&mut summary, rollups::summary(conn, workspace, range)).await?;
            timed(&mut series, rollups::time_series(conn, workspace, range, interval, zone, None)).await?;
            timed(&mut top, rollups::top(conn, self.workspace_id, range, dimension, None, LISTED)).await?;
            timed(&mut link, rollups::time_series(conn, one, range, interval, zone, None)).await?;
        }
        for (name, mut millis, what) in [
            ("summary", summary, "a summary of a month, a week or a day"),
            (
                "timeseries",
                series,
                "a time series of these: days, hours or quarters of an hour in three zones",
            ),
            ("top", top, "the ten most of these, by each dimension"),
            ("link", link, "a link's time series"),
        ] {
            millis.sort_by(f64::total_cmp);
            figures.add(
                format!("rollups.{name}_p50_ms"),
                quantile(&millis, 0.5),
                format!("{what}, median, ms"),
            );
            figures.add(
                format!("rollups.{name}_p95_ms"),
                quantile(&millis, 0.95),
                format!("{what}, 95th percentile, ms"),
            );
        }
        Ok(())
    }

    /// Begins within a day, so that whole days and quarters are both read.
    fn range(&self, n: u32) -> Range {
        let begin: DateTime<Utc> = self.first_day.and_time(NaiveTime::MIN).and_utc();
        let offset = TimeDelta::minutes(i64::from(n % 95) * 15);
        match n % 5 {
            0 | 1 => Range::new(begin + offset, begin + TimeDelta::days(DAYS.into())),
            2 | 3 => {
                let since = begin + TimeDelta::days(i64::from(n % (DAYS - 8))) + offset;
                Range::new(since, since + TimeDelta::days(7))
            }
            _ => {
                let since = begin + TimeDelta::days(i64::from(n % (DAYS - 2))) + offset;
                Range::new(since, since + TimeDelta::days(1))
            }
        }
    }
}

async fn timed<T>(
    millis: &mut Vec<f64>,
    read: impl Future<Output = store::QueryResult<T>>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    read.await?;
    millis.push(began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// The clicks with these numbers, spread evenly over a day. A few links, places and programs have most of them.
fn make_clicks(workspace_id: WorkspaceId, day: NaiveDate, first: u64, end: u64) -> String {
    let workspace_id = workspace_id.uuid();
    format!(
        "INSERT INTO clicks (id, day, workspace_id, revision, clicked_at, recorded_at, link_id, campaign_id, conversation_id,
             country, region, city, device_type, os, browser, verdict, is_first_click, event, referrer_host, language)
         SELECT (lpad(to_hex(millis), 12, '0') || left(md5(n::text), 20))::uuid, '{day}', '{workspace_id}', 0,
             to_timestamp(millis / 1000.0), now(), lpad(to_hex(1 + floor({LINKS} * r[1] ^ 3)::bigint), 32, '0')::uuid,
             'cmp_' || floor(40 * r[2] ^ 2), CASE WHEN r[3] < 0.5 THEN 'conv_' || floor(100000 * r[4]) END,
             country, country || ' region ' || floor(city / 10), country || ' city ' || city,
             (ARRAY['mobile', 'desktop', 'tablet'])[1 + floor(3 * r[5] ^ 2)::integer],
             (ARRAY['iOS', 'Android', 'Windows', 'macOS', 'Linux'])[1 + floor(5 * r[6] ^ 2)::integer],
             (ARRAY['Mobile Safari', 'Chrome', 'Firefox', 'Edge', 'Samsung Internet'])[1 + floor(5 * r[7] ^ 2)::integer],
             CASE WHEN r[8] < 0.7 THEN 'human' WHEN r[8] < 0.9 THEN 'automated' ELSE 'unknown' END, r[9] < 0.6, '',
             CASE WHEN r[10] < 0.4 THEN 'host' || floor(150 * r[10]) || '.example' END,
             (ARRAY['en-US', 'sv-SE', 'de', 'fr', 'es', 'en'])[1 + floor(6 * r[11] ^ 2)::integer]
         FROM (
             SELECT n, r, (extract(epoch FROM timestamptz '{day} 00:00Z') * 1000)::bigint
                     + (n - {first}) * 86400000 / greatest({end} - {first}, 1) AS millis,
                 'C' || floor(60 * r[12] ^ 3) AS country, floor(40 * r[13] ^ 2)::integer AS city
             FROM (
                 SELECT n, ARRAY(SELECT random_of(n, purpose) FROM generate_series(1, 13) AS purpose) AS r
                 FROM generate_series({first}::bigint, {end}::bigint - 1) AS n
             ) AS numbers
         ) AS made"
    )
}
