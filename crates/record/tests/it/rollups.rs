//! What is recorded is counted, however often it is told and whatever becomes of it.

use std::time::Duration;

use bus::{Handler, Message, Verdict, Verdicts};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use model::automation::Verdict as Who;
use model::{ClickId, EnrichedClick, EventId, LinkId, WorkspaceId};
use record::{Metrics, Rollups};
use store::clicks::{self, NewClick};
use store::rollups::{self, Bucket, Grain, Range, Scope, Summary};
use store::{AsyncConnection as _, Connection, Pool, partitions};
use testkit::{TestDatabase, TestNats, until};
use tokio_util::sync::CancellationToken;

use crate::support::{LIMIT, Running, click, publish, recorder, when};

/// Numbers that are the same in every run.
struct Seeded(u64);

impl Seeded {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// A number below `end`, a low one rather than a high one.
    fn low(&mut self, end: u64) -> u64 {
        let bound = self.below(end) + 1;
        self.below(bound)
    }

    fn maybe(&mut self, word: &str, end: u64) -> Option<String> {
        let number = self.low(end);
        (number > 0).then(|| format!("{word} {number}"))
    }
}

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2031, 5, 17).unwrap()
}

fn begin() -> DateTime<Utc> {
    day().and_time(NaiveTime::MIN).and_utc()
}

fn two_days() -> Range {
    Range::new(begin(), begin() + TimeDelta::days(2))
}

fn seeded_click(seeded: &mut Seeded, workspace_id: WorkspaceId, links: &[LinkId]) -> EnrichedClick {
    let mut click = click(workspace_id);
    let at = begin() + TimeDelta::hours(14) + TimeDelta::milliseconds(seeded.below(72_000_000) as i64);
    click.click.id = ClickId::generate_at(at);
    click.event_id = EventId::of_click(click.click.id, 0);
    click.click.clicked_at = at;
    click.click.link.id = links[seeded.low(links.len() as u64) as usize];
    click.click.link.labels.campaign_id = seeded.maybe("campaign", 30);
    click.click.link.labels.conversation_id = seeded.maybe("conversation", 20_000);
    click.click.request.referrer =
        seeded.maybe("", 40).map(|host| format!("https://host{}.example/a", host.trim()));
    click.location.country = seeded.maybe("country", 60);
    click.location.region = seeded.maybe("region", 5);
    click.location.city = seeded.maybe("city", 900);
    click.device.os = seeded.maybe("os", 6);
    click.device.browser = seeded.maybe("browser", 9);
    click.automation.verdict =
        [Who::Human, Who::Human, Who::Automated, Who::Unknown][seeded.below(4) as usize];
    click.is_first_click = [Some(true), Some(false), None][seeded.below(3) as usize];
    click
}

fn counting(pool: &Pool) -> Rollups {
    Rollups::new(pool.clone(), Duration::ZERO, 0, Metrics::register(&Default::default()).unwrap())
}

/// Counts until nothing is left, days too.
async fn count_all(pool: &Pool) {
    let rollups = counting(pool);
    // a day rests after its quarters
    for hours in [1, 2] {
        while rollups.step(Utc::now() + TimeDelta::hours(hours)).await.unwrap() {}
    }
}

async fn deviations(conn: &mut Connection) -> i64 {
    let first = rollups::deviations(conn, day()).await.unwrap();
    first + rollups::deviations(conn, day().succ_opt().unwrap()).await.unwrap()
}

async fn summary(pool: &Pool, workspace_id: WorkspaceId) -> Summary {
    let mut conn = pool.get().await.unwrap();
    rollups::summary(&mut conn, Scope::Workspace(workspace_id), two_days()).await.unwrap()
}

/// Hits of the UTC day that begins then.
async fn hits_of_day(pool: &Pool, workspace_id: WorkspaceId, begins_at: DateTime<Utc>) -> i64 {
    let range = Range::new(begins_at, begins_at + TimeDelta::days(1));
    let mut conn = pool.get().await.unwrap();
    rollups::summary(&mut conn, Scope::Workspace(workspace_id), range).await.unwrap().counts.hits
}

async fn marked(pool: &Pool) -> Vec<Bucket> {
    let mut conn = pool.get().await.unwrap();
    rollups::due(&mut conn, Grain::Quarter, Utc::now() + TimeDelta::hours(1), 1000).await.unwrap()
}

/// Acceptance test 8 of links and clicks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollups_equal_a_full_count_before_and_after_redelivery_of_a_tenth_and_amendment_of_a_hundredth() {
    const CLICKS: usize = 50_000;
    let database = TestDatabase::new().await;
    let (pool, mut conn) = (database.pool(), store::connect(&database.settings()).await.unwrap());
    partitions::ensure(&mut conn, day(), 1).await.unwrap();
    let mut seeded = Seeded(20_261_128);
    let workspace_ids = [WorkspaceId::generate(), WorkspaceId::generate()];
    let links: Vec<_> = (0..2000).map(|_| LinkId::generate()).collect();
    let mut all: Vec<_> = (0..CLICKS)
        .map(|_| {
            let workspace_id = workspace_ids[usize::from(seeded.below(10) == 0)];
            seeded_click(&mut seeded, workspace_id, &links)
        })
        .collect();
    let recorder = recorder(pool.clone()).await;
    let record = async |clicks: &[EnrichedClick]| {
        for batch in clicks.chunks(500) {
            assert_eq!(recorder.handle(batch).await, Verdicts::all(Verdict::Done));
        }
    };
    record(&all).await;
    assert!(deviations(&mut conn).await > 0, "nothing is counted yet");
    count_all(&pool).await;
    assert_eq!(deviations(&mut conn).await, 0);

    let tenth: Vec<_> = all.iter().filter(|_| seeded.below(10) == 0).cloned().collect();
    record(&tenth).await;
    assert_eq!(marked(&pool).await, [], "a redelivery changes nothing");

    let mut amended = Vec::new();
    for click in &mut all {
        if seeded.below(100) != 0 {
            continue;
        }
        let verdict = if click.automation.verdict == Who::Human { Who::Automated } else { Who::Human };
        click.event_id = EventId::of_click(click.click.id, 1);
        click.automation.verdict = verdict;
        click.location.city = seeded.maybe("other city", 5);
        amended.push(click.clone());
    }
    record(&amended).await;
    assert!(deviations(&mut conn).await > 0, "{} amendments are not counted yet", amended.len());
    count_all(&pool).await;

    assert_eq!(deviations(&mut conn).await, 0);
    for workspace_id in workspace_ids {
        let of = |who| {
            let theirs = all.iter().filter(|click| click.click.workspace_id == workspace_id);
            theirs.filter(|click| click.automation.verdict == who).count() as i64
        };
        let hits = summary(&pool, workspace_id).await.hits;
        let expected = (of(Who::Human), of(Who::Automated), of(Who::Unknown));
        assert_eq!((hits.human, hits.automated, hits.unknown), expected);
    }
    assert_eq!(marked(&pool).await, []);
}

fn click_at_noon(workspace_id: WorkspaceId) -> EnrichedClick {
    click_at(workspace_id, begin() + TimeDelta::hours(12))
}

fn click_at(workspace_id: WorkspaceId, at: DateTime<Utc>) -> EnrichedClick {
    let mut click = click(workspace_id);
    click.click.id = ClickId::generate_at(at);
    click.event_id = EventId::of_click(click.click.id, 0);
    click
}

#[tokio::test]
async fn a_click_that_is_recorded_while_its_bucket_is_counted_does_not_wait_and_is_counted_next() {
    let database = TestDatabase::new().await;
    let (pool, workspace_id) = (database.pool(), WorkspaceId::generate());
    let recorder = recorder(pool.clone()).await;
    recorder.handle(&[click_at_noon(workspace_id)]).await;
    let bucket = marked(&pool).await[0];
    let mut counting = store::connect(&database.settings()).await.unwrap();

    counting
        .transaction(async |conn| {
            assert!(rollups::recount(conn, bucket, Utc::now()).await?);
            // it is counted and not committed
            let second = [click_at_noon(workspace_id)];
            let recorded = tokio::time::timeout(LIMIT, recorder.handle(&second)).await.unwrap();
            assert_eq!(recorded, Verdicts::all(Verdict::Done));
            let mut other = pool.get().await.unwrap();
            assert!(!rollups::recount(&mut other, bucket, Utc::now()).await?, "another is at it");
            store::QueryResult::Ok(())
        })
        .await
        .unwrap();
    let first = summary(&pool, workspace_id).await.counts.hits;
    let left = marked(&pool).await;
    count_all(&pool).await;

    assert_eq!((first, left), (1, vec![bucket]));
    assert_eq!(summary(&pool, workspace_id).await.counts.hits, 2);
}

#[tokio::test]
async fn a_click_whose_recording_is_committed_after_its_bucket_was_counted_is_counted_next() {
    let database = TestDatabase::new().await;
    let (pool, workspace_id) = (database.pool(), WorkspaceId::generate());
    recorder(pool.clone()).await.handle(&[click_at_noon(workspace_id)]).await;
    let bucket = marked(&pool).await[0];
    let mut recording = store::connect(&database.settings()).await.unwrap();

    recording
        .transaction(async |conn| {
            let second = click_at_noon(workspace_id);
            let event = second.outgoing().payload;
            clicks::record(conn, &[NewClick { click: &second, event: &event }], Utc::now()).await?;
            let mut other = pool.get().await.unwrap();
            assert!(rollups::recount(&mut other, bucket, Utc::now()).await?);
            store::QueryResult::Ok(())
        })
        .await
        .unwrap();
    let first = summary(&pool, workspace_id).await.counts.hits;
    let left = marked(&pool).await;
    count_all(&pool).await;

    assert_eq!((first, left), (1, vec![bucket]));
    assert_eq!(summary(&pool, workspace_id).await.counts.hits, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_count_while_clicks_come_in_miss_none_and_count_none_twice() {
    let database = TestDatabase::new().await;
    let (pool, workspace_id) = (database.pool(), WorkspaceId::generate());
    let recorder = recorder(pool.clone()).await;
    let (one, other) = (counting(&pool), counting(&pool));
    let now = || Utc::now() + TimeDelta::hours(1);

    for _ in 0..30 {
        let batch: Vec<_> = (0..20).map(|_| click_at_noon(workspace_id)).collect();
        let (recorded, first, second) =
            tokio::join!(recorder.handle(&batch), one.step(now()), other.step(now()));
        assert_eq!(recorded, Verdicts::all(Verdict::Done));
        first.unwrap();
        second.unwrap();
    }
    count_all(&pool).await;

    assert_eq!(summary(&pool, workspace_id).await.counts.hits, 600);
    assert_eq!(deviations(&mut pool.get().await.unwrap()).await, 0);
}

#[tokio::test]
async fn a_day_without_counts_is_counted_again_unless_they_are_not_kept_for_so_long() {
    let database = TestDatabase::new().await;
    let (pool, workspace_id) = (database.pool(), WorkspaceId::generate());
    let midnight = Utc::now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let (yesterday, not_kept) = (midnight - TimeDelta::days(1), midnight - TimeDelta::days(5));
    // today is yesterday if midnight comes now
    let clicks = [midnight, yesterday, not_kept].map(|at| click_at(workspace_id, at));
    recorder(pool.clone()).await.handle(&clicks).await;
    count_all(&pool).await;
    let mut conn = pool.get().await.unwrap();
    let deleted = rollups::delete_before(&mut conn, midnight + TimeDelta::days(1), 1000).await.unwrap();
    assert!(deleted > 0 && marked(&pool).await.is_empty());
    let metrics = Metrics::register(&Default::default()).unwrap();
    let counting = Rollups::new(pool.clone(), Duration::ZERO, 1, metrics);
    let stop = CancellationToken::new();

    let running = tokio::spawn(counting.run(Duration::from_millis(10), stop.clone()));

    until(LIMIT, async || {
        let found = hits_of_day(&pool, workspace_id, yesterday).await;
        when(found + hits_of_day(&pool, workspace_id, midnight).await > 0)
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(hits_of_day(&pool, workspace_id, not_kept).await, 0);
}

#[tokio::test]
async fn a_running_service_counts_what_comes_in() {
    let (nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let bus = nats.bus("enrich").await;
    let (pool, workspace_id) = (database.pool(), WorkspaceId::generate());
    let running = Running::start(nats.settings(), database.settings()).await;
    let clicks: Vec<_> = (0..50).map(|_| click_at_noon(workspace_id)).collect();

    publish(&bus, &clicks).await;

    until(LIMIT, async || when(summary(&pool, workspace_id).await.counts.hits == 50)).await;
    running.stop().await.unwrap();
}
