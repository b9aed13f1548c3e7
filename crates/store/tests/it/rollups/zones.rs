//! Hours and days are those of the reader's zone.

use model::WorkspaceId;
use store::Connection;
use store::rollups::{self, Interval, Range, Scope};
use testkit::TestDatabase;

use super::{connect, count_all, range, record_at};

async fn series(
    conn: &mut Connection,
    id: WorkspaceId,
    range: Range,
    of: (Interval, &str),
) -> Vec<(String, i64)> {
    let points = rollups::time_series(conn, Scope::Workspace(id), range, of.0, of.1, None).await.unwrap();
    points.into_iter().map(|point| (point.at.format("%dT%H:%MZ").to_string(), point.counts.hits)).collect()
}

fn points(points: &[(&str, i64)]) -> Vec<(String, i64)> {
    points.iter().map(|(at, hits)| ((*at).to_owned(), *hits)).collect()
}

#[tokio::test]
async fn a_day_is_that_of_the_zone_also_when_it_has_23_hours() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    record_at(
        &mut conn,
        id,
        &["2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"],
    )
    .await;
    count_all(&mut conn).await;

    let days = range("2026-03-28T23:00:00Z", "2026-03-30T22:00:00Z");
    let told = series(&mut conn, id, days, (Interval::Day, "Europe/Stockholm")).await;

    assert_eq!(told, points(&[("28T23:00Z", 2), ("29T22:00Z", 1)]));
}

#[tokio::test]
async fn the_hour_that_comes_twice_in_autumn_is_two() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    record_at(&mut conn, id, &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T01:45:00Z"]).await;
    count_all(&mut conn).await;

    let hours = range("2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z");
    let told = series(&mut conn, id, hours, (Interval::Hour, "Europe/Stockholm")).await;

    assert_eq!(told, points(&[("25T00:00Z", 1), ("25T01:00Z", 2), ("25T02:00Z", 0)]));
}

#[tokio::test]
async fn an_hour_of_a_zone_that_is_off_by_a_quarter_begins_at_its_own_clock() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    record_at(&mut conn, id, &["2026-05-01T10:14:59.999Z", "2026-05-01T10:15:00Z", "2026-05-01T11:14:00Z"])
        .await;
    count_all(&mut conn).await;

    let hours = range("2026-05-01T10:00:00Z", "2026-05-01T11:30:00Z");
    let told = series(&mut conn, id, hours, (Interval::Hour, "Asia/Kathmandu")).await;

    assert_eq!(told, points(&[("01T09:15Z", 1), ("01T10:15Z", 2), ("01T11:15Z", 0)]));
    let quarters = range("2026-05-01T10:00:00Z", "2026-05-01T10:30:00Z");
    let told = series(&mut conn, id, quarters, (Interval::Quarter, "Asia/Kathmandu")).await;
    assert_eq!(told, points(&[("01T10:00Z", 1), ("01T10:15Z", 1)]));
    let zones = rollups::time_zones(&mut conn).await.unwrap();
    assert!(zones.iter().any(|zone| zone == "Asia/Kathmandu") && zones.iter().any(|zone| zone == "UTC"));
    assert!(!zones.iter().any(|zone| zone == "localtime" || zone.starts_with("posix")));
}
