//! What is left of counts when their clicks go, and when they go themselves.

use chrono::{Days, TimeDelta};
use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use model::WorkspaceId;
use store::partitions;
use store::rollups::{self, Dimension, Grain, Range, Scope};
use testkit::TestDatabase;

use super::{Click, connect, count_all, counts, day, due, record_at, top, whole_day};

#[tokio::test]
async fn counts_outlive_their_clicks_and_are_not_counted_again_without_them() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    let first_kept = day() + Days::new(1);
    partitions::ensure(&mut conn, first_kept, 0).await.unwrap();
    record_at(&mut conn, id, &["2031-05-17T10:00:00Z", "2031-05-17T10:00:01Z"]).await;

    let uncounted = partitions::drop_clicks_before(&mut conn, first_kept).await.unwrap();
    count_all(&mut conn).await;
    let while_delivered = partitions::drop_clicks_before(&mut conn, first_kept).await.unwrap();
    partitions::drop_deliveries_before(&mut conn, first_kept).await.unwrap();
    let gone = partitions::drop_clicks_before(&mut conn, first_kept).await.unwrap();
    Click::at(id, "2031-05-17T10:00:02Z").record(&mut conn).await;
    count_all(&mut conn).await;

    assert_eq!((uncounted, while_delivered, gone), (false, false, true));
    let summary = rollups::summary(&mut conn, Scope::Workspace(id), whole_day()).await.unwrap();
    assert_eq!(summary.counts, counts(2, 2));
    assert_eq!(due(&mut conn, Grain::Quarter).await, []);
    assert!(partitions::drop_clicks_before(&mut conn, first_kept).await.unwrap());
    let left: Number =
        diesel::sql_query("SELECT count(*) AS number FROM clicks").get_result(&mut conn).await.unwrap();
    assert_eq!(left.number, 0);
}

#[tokio::test]
async fn conversations_end_with_their_clicks_and_stay_counted() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    let first_kept = day() + Days::new(1);
    partitions::ensure(&mut conn, first_kept, 0).await.unwrap();
    record_at(&mut conn, id, &["2031-05-17T10:00:00Z", "2031-05-17T10:20:00Z", "2031-05-18T10:00:00Z"]).await;
    let talk = "UPDATE clicks SET conversation_id = 'conv_1' WHERE clicked_at <> '2031-05-17T10:20:00Z'";
    conn.batch_execute(talk).await.unwrap();
    count_all(&mut conn).await;
    let both = Range::new(whole_day().since(), whole_day().until() + TimeDelta::days(1));
    assert_eq!(top(&mut conn, id, both, Dimension::Conversation, 9).await, "conv_1 2, - 1, others 0");

    partitions::drop_deliveries_before(&mut conn, first_kept).await.unwrap();
    assert!(partitions::drop_clicks_before(&mut conn, first_kept).await.unwrap());

    assert_eq!(top(&mut conn, id, both, Dimension::Conversation, 9).await, "- 1, conv_1 1, others 1");
    assert_eq!(top(&mut conn, id, whole_day(), Dimension::Conversation, 9).await, "- 1, others 1");
    assert!(partitions::drop_clicks_before(&mut conn, first_kept).await.unwrap());
    assert_eq!(top(&mut conn, id, whole_day(), Dimension::Conversation, 9).await, "- 1, others 1");
}

#[tokio::test]
async fn old_counts_are_deleted_so_many_at_a_time() {
    let database = TestDatabase::new().await;
    let mut conn = connect(&database).await;
    let id = WorkspaceId::generate();
    record_at(&mut conn, id, &["2031-05-17T10:00:00Z", "2031-05-18T10:00:00Z"]).await;
    count_all(&mut conn).await;

    let before = whole_day().until();
    let mut steps = Vec::new();
    while let deleted @ 1.. = rollups::delete_before(&mut conn, before, 10).await.unwrap() {
        steps.push(deleted);
    }

    assert_eq!(steps, [21, 2], "a row of each of eleven dimensions, twice, and the link's");
    let both = Range::new(whole_day().since(), before + TimeDelta::days(1));
    let summary = rollups::summary(&mut conn, Scope::Workspace(id), both).await.unwrap();
    assert_eq!(summary.counts, counts(1, 1));
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}
