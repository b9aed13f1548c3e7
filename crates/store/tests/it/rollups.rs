//! Clicks counted by quarters of an hour are those of a full count, and are read by the clock of any zone.

mod ends;
mod zones;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use model::automation::Verdict;
use model::{ClickId, LinkId, WorkspaceId};
use store::rollups::{self, Bucket, Counts, Dimension, Grain, Interval, Range, Scope, VALUES_PER_BUCKET_MAX};
use store::{Connection, partitions};
use testkit::TestDatabase;

/// A click as a test writes it: what is not said is a person's, the first, from nowhere.
struct Click<'a> {
    workspace_id: WorkspaceId,
    link_id: LinkId,
    at: &'a str,
    verdict: &'a str,
    country: Option<&'a str>,
    city: Option<&'a str>,
}

impl Click<'_> {
    fn at(workspace_id: WorkspaceId, at: &str) -> Click<'_> {
        let link_id = LinkId::from_uuid(workspace_id.uuid());
        Click { workspace_id, link_id, at, verdict: "human", country: None, city: None }
    }

    async fn record(&self, conn: &mut Connection) -> ClickId {
        let id = self.insert(conn).await;
        rollups::mark(conn, &[(self.workspace_id, id)], Utc::now()).await.unwrap();
        id
    }

    /// As a program does that marks nothing.
    async fn insert(&self, conn: &mut Connection) -> ClickId {
        let id = ClickId::generate_at(at(self.at));
        let text = |text: Option<&str>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        let insert = format!(
            "INSERT INTO clicks (id, day, workspace_id, revision, clicked_at, recorded_at, link_id, device_type, verdict,
                 is_first_click, event, country, city)
             VALUES ('{}', '{}', '{}', 0, '{}', now(), '{}', 'mobile', '{}', true, '', {}, {})",
            id.uuid(),
            id.day(),
            self.workspace_id.uuid(),
            self.at,
            self.link_id.uuid(),
            self.verdict,
            text(self.country),
            text(self.city),
        );
        conn.batch_execute(&insert).await.unwrap();
        id
    }
}

/// A click of a person at each of these moments.
async fn record_at(conn: &mut Connection, id: WorkspaceId, moments: &[&str]) {
    for moment in moments {
        Click::at(id, moment).record(conn).await;
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn range(since: &str, until: &str) -> Range {
    Range::new(at(since), at(until))
}

/// Far from today, so that setting up the test's database has not made it.
fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2031, 5, 17).unwrap()
}

fn whole_day() -> Range {
    let begin = day().and_time(NaiveTime::MIN).and_utc();
    Range::new(begin, begin + TimeDelta::days(1))
}

const fn counts(hits: i64, clicks: i64) -> Counts {
    Counts { hits, clicks, unique_clicks: clicks }
}

async fn due(conn: &mut Connection, grain: Grain) -> Vec<Bucket> {
    rollups::due(conn, grain, Utc::now() + TimeDelta::days(1), 1000).await.unwrap()
}

async fn count(conn: &mut Connection, grain: Grain) -> usize {
    let buckets = due(conn, grain).await;
    for bucket in &buckets {
        assert!(rollups::recount(conn, *bucket, Utc::now()).await.unwrap());
    }
    buckets.len()
}

async fn count_all(conn: &mut Connection) {
    count(conn, Grain::Quarter).await;
    count(conn, Grain::Day).await;
}

async fn connect(database: &TestDatabase) -> Connection {
    store::connect(&database.settings()).await.unwrap()
}

/// The list as words: `SE 2, - 1, others 3`.
async fn top(
    conn: &mut Connection,
    id: WorkspaceId,
    range: Range,
    dimension: Dimension,
    limit: i64,
) -> String {
    let list = rollups::top(conn, id, range, dimension, None, limit).await.unwrap();
    let values = list
        .values
        .into_iter()
        .map(|top| format!("{} {}", top.value.as_deref().unwrap_or("-"), top.counts.hits));
    let others = format!("others {}", list.others.hits);
    values.chain([others]).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn counts_tell_people_from_machines_and_belong_to_their_workspace_and_link() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let (id, other, link_id) = (WorkspaceId::generate(), WorkspaceId::generate(), LinkId::generate());
    for verdict in ["human", "human", "unknown", "automated", "automated"] {
        Click { verdict, ..Click::at(id, "2031-05-17T10:00:00Z") }.record(&mut conn).await;
    }
    Click { link_id, ..Click::at(id, "2031-05-17T10:20:00Z") }.record(&mut conn).await;
    Click::at(other, "2031-05-17T10:00:00Z").record(&mut conn).await;
    count_all(&mut conn).await;

    let mut summary = async |scope| rollups::summary(&mut conn, scope, whole_day()).await.unwrap();
    let all = summary(Scope::Workspace(id)).await;
    let of_link = summary(Scope::Link(id, link_id)).await;
    let of_other = summary(Scope::Workspace(other)).await;
    let not_theirs = summary(Scope::Link(other, link_id)).await;

    assert_eq!(all.counts, counts(6, 4));
    assert_eq!((all.hits.human, all.hits.unknown, all.hits.automated), (3, 1, 2));
    assert_eq!((of_link.counts, of_other.counts), (counts(1, 1), counts(1, 1)));
    assert_eq!(not_theirs, rollups::Summary::default());
    let scope = Scope::Link(id, LinkId::from_uuid(id.uuid()));
    let automated = Some(Verdict::Automated);
    let hours =
        rollups::time_series(&mut conn, scope, whole_day(), Interval::Day, "UTC", automated).await.unwrap();
    assert_eq!(hours.iter().map(|point| point.counts).collect::<Vec<_>>(), [counts(2, 0)]);
    assert_eq!(rollups::deviations(&mut conn, day()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_list_has_the_most_what_is_not_known_and_the_rest() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    for country in [Some("SE"), Some("SE"), Some("SE"), None, None, Some("NO"), Some("DK")] {
        Click { country, city: country.map(|_| "Lund"), ..Click::at(id, "2031-05-17T10:00:00Z") }
            .record(&mut conn)
            .await;
    }
    for _ in 0..5 {
        Click { country: Some("US"), verdict: "automated", ..Click::at(id, "2031-05-17T10:00:00Z") }
            .record(&mut conn)
            .await;
    }
    count_all(&mut conn).await;

    assert_eq!(top(&mut conn, id, whole_day(), Dimension::Country, 2).await, "SE 3, - 2, others 7");
    let all = top(&mut conn, id, whole_day(), Dimension::Country, 9).await;
    assert_eq!(all, "SE 3, - 2, DK 1, NO 1, US 5, others 0");
    let cities = top(&mut conn, id, whole_day(), Dimension::City, 2).await;
    assert_eq!(cities, "Lund, SE 3, - 7, others 2");
    let human = Some(Verdict::Human);
    let of_people = rollups::top(&mut conn, id, whole_day(), Dimension::Country, human, 1).await.unwrap();
    assert_eq!((of_people.values[0].counts, of_people.others), (counts(3, 3), counts(4, 4)));
}

#[tokio::test]
async fn values_beyond_the_limit_are_summed_and_those_of_machines_first() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    for number in 0..VALUES_PER_BUCKET_MAX + 5 {
        let country = format!("{number:03}");
        Click { country: Some(&country), ..Click::at(id, "2031-05-17T10:00:00Z") }.record(&mut conn).await;
    }
    for _ in 0..3 {
        Click { country: Some("machines"), verdict: "automated", ..Click::at(id, "2031-05-17T10:00:00Z") }
            .record(&mut conn)
            .await;
    }
    count_all(&mut conn).await;

    let list = rollups::top(&mut conn, id, whole_day(), Dimension::Country, None, 1000).await.unwrap();

    assert_eq!(list.values.len(), VALUES_PER_BUCKET_MAX as usize);
    assert!(list.values.iter().all(|top| top.value.as_deref() != Some("machines")));
    assert_eq!(list.others, counts(8, 5));
    assert_eq!(rollups::deviations(&mut conn, day()).await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_click_no_longer_is_vanishes_from_the_counts() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    let click =
        Click { country: Some("SE"), ..Click::at(id, "2031-05-17T10:00:00Z") }.record(&mut conn).await;
    count_all(&mut conn).await;
    assert_eq!(top(&mut conn, id, whole_day(), Dimension::Country, 9).await, "SE 1, others 0");

    conn.batch_execute("UPDATE clicks SET country = NULL, verdict = 'automated'").await.unwrap();
    rollups::mark(&mut conn, &[(id, click)], Utc::now()).await.unwrap();
    count_all(&mut conn).await;

    assert_eq!(top(&mut conn, id, whole_day(), Dimension::Country, 9).await, "- 1, others 0");
    let summary = rollups::summary(&mut conn, Scope::Workspace(id), whole_day()).await.unwrap();
    assert_eq!(summary.counts, counts(1, 0));
    assert_eq!(rollups::deviations(&mut conn, day()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_days_sum_is_read_only_while_it_is_up_to_date() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    Click { country: Some("SE"), ..Click::at(id, "2031-05-17T10:00:00Z") }.record(&mut conn).await;
    let before = Range::new(whole_day().since() - TimeDelta::minutes(15), whole_day().until());
    count(&mut conn, Grain::Quarter).await;
    assert_eq!(top(&mut conn, id, before, Dimension::Country, 9).await, "SE 1, others 0");

    assert_eq!(count(&mut conn, Grain::Day).await, 1);
    // what it says can be told from what the quarters say
    conn.batch_execute("UPDATE daily_rollups SET human = 70").await.unwrap();
    let of_day = top(&mut conn, id, before, Dimension::Country, 9).await;
    let part = Range::new(whole_day().since() + TimeDelta::minutes(15), whole_day().until());
    let of_part = top(&mut conn, id, part, Dimension::Country, 9).await;
    Click { country: Some("SE"), ..Click::at(id, "2031-05-17T23:59:00Z") }.record(&mut conn).await;
    count(&mut conn, Grain::Quarter).await;
    let of_changed_day = top(&mut conn, id, before, Dimension::Country, 9).await;

    assert_eq!((of_day.as_str(), of_part.as_str()), ("SE 70, others 0", "SE 1, others 0"));
    assert_eq!(of_changed_day, "SE 2, others 0");
    assert_eq!(count(&mut conn, Grain::Day).await, 1);
    assert_eq!(top(&mut conn, id, before, Dimension::Country, 9).await, "SE 2, others 0");
}

#[tokio::test]
async fn a_bucket_that_cannot_be_counted_goes_to_the_end_of_the_line() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    record_at(&mut conn, id, &["2031-05-17T10:00:00Z", "2031-05-17T10:00:01Z", "2031-05-17T10:15:00Z"]).await;
    let line = due(&mut conn, Grain::Quarter).await;
    assert_eq!(line[0].begins_at, at("2031-05-17T10:00:00Z"));

    let later = Utc::now() + TimeDelta::hours(1);
    rollups::put_off(&mut conn, line[0], later).await.unwrap();

    assert_eq!(due(&mut conn, Grain::Quarter).await, [line[1], line[0]]);
    assert_eq!(rollups::due(&mut conn, Grain::Quarter, Utc::now(), 9).await.unwrap(), [line[1]]);
    let waiting = rollups::waiting(&mut conn).await.unwrap();
    assert_eq!(waiting.buckets, 2);
    assert!(waiting.oldest.unwrap() <= Utc::now());
}

#[tokio::test]
async fn an_upgrade_counts_what_was_recorded_before_an_hour_at_a_time() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    let migration = |file: &str| {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/00000000000017_rollups");
        std::fs::read_to_string(format!("{dir}/{file}")).unwrap()
    };
    record_at(&mut conn, id, &["2026-05-17T10:00:00Z", "2026-05-17T10:50:00Z", "2026-05-19T23:59:59.999Z"])
        .await;

    conn.batch_execute(&migration("down.sql")).await.unwrap();
    conn.batch_execute(&migration("up.sql")).await.unwrap();
    let now = at("2026-05-30T00:00:00Z");
    let mut steps = 0;
    while rollups::mark_next_hour(&mut conn, now, now).await.unwrap() {
        steps += 1;
    }

    assert_eq!(steps, 48, "the hours of two days");
    let buckets = due(&mut conn, Grain::Quarter).await;
    assert_eq!(buckets.len(), 3);
    count_all(&mut conn).await;
    let all = range("2026-05-17T00:00:00Z", "2026-05-20T00:00:00Z");
    let summary = rollups::summary(&mut conn, Scope::Workspace(id), all).await.unwrap();
    assert_eq!(summary.counts, counts(3, 3));
}

#[tokio::test]
async fn a_range_of_centuries_is_read_as_far_as_there_are_clicks() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    record_at(&mut conn, id, &["2031-05-17T10:00:00Z", "2031-05-18T23:59:59Z"]).await;
    count_all(&mut conn).await;
    let ages = range("1700-01-01T00:00:00Z", "2260-01-01T00:00:00Z");
    // the days of it alone would take longer
    conn.batch_execute("SET statement_timeout = '1s'").await.unwrap();

    let summary = rollups::summary(&mut conn, Scope::Workspace(id), ages).await.unwrap();

    assert_eq!(summary.counts, counts(2, 2));
    assert_eq!(top(&mut conn, id, ages, Dimension::Device, 9).await, "mobile 2, others 0");
    let nobodys = rollups::summary(&mut conn, Scope::Workspace(WorkspaceId::generate()), ages).await.unwrap();
    assert_eq!(nobodys.counts, counts(0, 0));
}

#[tokio::test]
async fn what_was_written_without_a_mark_is_found_when_its_day_is_held_against_its_clicks() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let (id, other) = (WorkspaceId::generate(), WorkspaceId::generate());
    for (workspace_id, moment) in
        [(id, "2031-05-17T10:00:00Z"), (id, "2031-05-17T23:59:59Z"), (other, "2031-05-17T10:00:00Z")]
    {
        Click::at(workspace_id, moment).record(&mut conn).await;
    }
    let now = Utc::now();
    let while_marked = rollups::mark_deviating(&mut conn, day(), now).await.unwrap();
    count_all(&mut conn).await;
    let when_counted = rollups::mark_deviating(&mut conn, day(), now).await.unwrap();

    Click::at(id, "2031-05-17T10:01:00Z").insert(&mut conn).await;
    Click::at(id, "2031-05-17T12:00:00Z").insert(&mut conn).await;
    conn.batch_execute("UPDATE clicks SET verdict = 'automated' WHERE clicked_at = '2031-05-17T23:59:59Z'")
        .await
        .unwrap();
    let found = rollups::mark_deviating(&mut conn, day(), now).await.unwrap();
    let twice = rollups::mark_deviating(&mut conn, day(), now).await.unwrap();
    let elsewhere = rollups::mark_deviating(&mut conn, day() + Days::new(1), now).await.unwrap();
    count_all(&mut conn).await;

    assert_eq!((while_marked, when_counted, found, twice, elsewhere), (0, 0, 3, 0, 0));
    let summary = rollups::summary(&mut conn, Scope::Workspace(id), whole_day()).await.unwrap();
    assert_eq!(summary.counts.hits, 4);
    assert_eq!((summary.hits.human, summary.hits.automated), (3, 1));
    assert_eq!(rollups::deviations(&mut conn, day()).await.unwrap(), 0);
}

#[derive(Debug, QueryableByName)]
struct Scanned {
    #[diesel(sql_type = Text)]
    name: String,
}

#[tokio::test]
async fn counting_and_reading_go_by_indexes() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    partitions::ensure(&mut conn, day(), 0).await.unwrap();
    Click { country: Some("SE"), ..Click::at(id, "2031-05-17T10:00:00Z") }.record(&mut conn).await;
    // building the partition's indexes has scanned: another connection counts its own scans
    let mut counting = connect(&database).await;
    counting.batch_execute("SET enable_seqscan = off").await.unwrap();

    let scanned: Vec<Scanned> = counting
        .transaction(async |conn| {
            count_all(conn).await;
            rollups::waiting(conn).await?;
            for scope in [Scope::Workspace(id), Scope::Link(id, LinkId::from_uuid(id.uuid()))] {
                rollups::summary(conn, scope, whole_day()).await?;
                rollups::time_series(conn, scope, whole_day(), Interval::Hour, "UTC", None).await?;
            }
            rollups::top(conn, id, whole_day(), Dimension::Country, None, 10).await?;
            let scanned = "SELECT relname || ' ' || seq_scan AS name FROM pg_stat_xact_user_tables
                WHERE seq_scan > 0 AND relname <> 'counted_clicks' OR relname = 'rollups' AND idx_scan = 0";
            diesel::sql_query(scanned).load(conn).await
        })
        .await
        .unwrap();

    let names: Vec<_> = scanned.iter().map(|scanned| scanned.name.as_str()).collect();
    assert!(names.is_empty(), "{names:?}");
}
