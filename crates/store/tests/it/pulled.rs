//! The order in which an endpoint fetches its events, in a database that was moved and in one that is large.

use chrono::Utc;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use model::{EndpointId, WorkspaceId};
use store::Connection;
use store::pulled::{self, Position, Recorded};
use testkit::{TestDatabase, until};

use crate::plan::plan;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// So many deliveries to an endpoint, each of a click of its own; `more` says the rest of their columns.
async fn fill(conn: &mut Connection, whose: (WorkspaceId, EndpointId), count: u32, more: (&str, &str)) {
    let sql = format!(
        "INSERT INTO deliveries (id, day, workspace_id, endpoint_id, event_id, event_type, click_id, status, \
             created_at{}) \
         SELECT id, '{}', '{}', '{}', id, 'link.clicked', id, 'offered', now(){} \
         FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, {count})) AS ids",
        more.0,
        Utc::now().date_naive(),
        whose.0.uuid(),
        whose.1.uuid(),
        more.1,
    );
    diesel::sql_query(sql).execute(conn).await.unwrap();
}

fn somebody() -> (WorkspaceId, EndpointId) {
    (WorkspaceId::generate(), EndpointId::generate())
}

async fn page(
    conn: &mut Connection,
    whose: (WorkspaceId, EndpointId),
    after: Position,
) -> Vec<pulled::Pulled> {
    pulled::page(conn, whose.0, whose.1, after, 100).await.unwrap()
}

#[tokio::test]
async fn deliveries_that_are_ahead_of_the_server_are_taken_on_and_its_cursors_known() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let mut conn = pool.get().await.unwrap();
    let whose = somebody();
    let ahead = Position { entered_in: i64::MAX - 1, ..Position::beginning() };
    fill(&mut conn, whose, 3, (", entered_in", &format!(", {}", ahead.entered_in))).await;
    fill(&mut conn, whose, 1, ("", "")).await;

    let found = page(&mut conn, whose, Position::beginning()).await;
    assert_eq!(found.iter().map(|row| row.is_foreign).collect::<Vec<_>>(), [false, true, true, true]);
    assert!(pulled::is_ahead(&mut conn, ahead).await.unwrap());
    assert!(!pulled::is_ahead(&mut conn, found[0].position).await.unwrap());
    let stranger = pulled::adopt(&mut conn, WorkspaceId::generate(), whose.1, 10).await.unwrap();
    assert_eq!(stranger, 0);
    assert_eq!(pulled::adopt(&mut conn, whose.0, whose.1, 2).await.unwrap(), 2);
    assert_eq!(pulled::adopt(&mut conn, whose.0, whose.1, 2).await.unwrap(), 1);

    // who was behind the one that was no stranger gets all the others
    let after = found[0].position;
    let adopted = page(&mut conn, whose, after).await;
    assert_eq!(adopted.len(), 3);
    assert!(adopted.iter().all(|row| !row.is_foreign));
    drop(conn);
    // transactions of other tests may be open
    let pool = &pool;
    until(LIMIT, || async move {
        let mut conn = pool.get().await.unwrap();
        page(&mut conn, whose, after).await.iter().all(|row| row.is_certain).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_body_is_rendered_from_comes_with_it_unless_its_contact_was_erased() {
    let database = TestDatabase::new().await;
    let mut conn = database.pool().get().await.unwrap();
    let whose = somebody();
    fill(&mut conn, whose, 3, ("", "")).await;
    fill(&mut conn, whose, 1, (", body", ", 'kept'")).await;
    let found = page(&mut conn, whose, Position::beginning()).await;
    let clicks = [("", &found[0]), (", erased_at", &found[1])];
    for (column, row) in clicks {
        let erased_at = if column.is_empty() { "" } else { ", now()" };
        let sql = format!(
            "INSERT INTO clicks (id, day, workspace_id, revision, clicked_at, recorded_at, link_id, device_type, \
                 verdict, event{column}) \
             VALUES ('{}', '{}', '{}', 0, now(), now(), gen_random_uuid(), 'unknown', 'human', 'told'{erased_at})",
            row.click_id.unwrap().uuid(),
            Utc::now().date_naive(),
            whose.0.uuid(),
        );
        conn.batch_execute(&sql).await.unwrap();
    }

    let found = page(&mut conn, whose, Position::beginning()).await;

    let recorded: Vec<_> = found.iter().map(|row| row.recorded.clone()).collect();
    let event = Recorded::Event(b"told".to_vec());
    assert_eq!(recorded, [event, Recorded::Erased, Recorded::Nothing, Recorded::Nothing]);
    assert_eq!(found[3].body.as_deref(), Some(&b"kept"[..]));
    assert!(page(&mut conn, (WorkspaceId::generate(), whose.1), Position::beginning()).await.is_empty());
    assert!(page(&mut conn, (whose.0, EndpointId::generate()), Position::beginning()).await.is_empty());
}

#[tokio::test]
async fn what_is_there_to_be_fetched_is_counted_among_the_newest() {
    let database = TestDatabase::new().await;
    let mut conn = database.pool().get().await.unwrap();
    let whose = somebody();
    let none = pulled::offered(&mut conn, whose.0, whose.1, 10).await.unwrap();
    assert_eq!((none.seen, none.offered, none.oldest_at, none.newest_at), (0, 0, None, None));
    fill(&mut conn, whose, 3, ("", "")).await;
    let one =
        "UPDATE deliveries SET status = 'delivered' WHERE id = (SELECT min(id::text)::uuid FROM deliveries)";
    diesel::sql_query(one).execute(&mut conn).await.unwrap();

    let all = pulled::offered(&mut conn, whose.0, whose.1, 10).await.unwrap();
    assert_eq!((all.seen, all.offered), (3, 2));
    assert!(all.oldest_at.is_some() && all.newest_at.is_some());
    assert_eq!(pulled::offered(&mut conn, whose.0, whose.1, 1).await.unwrap().seen, 1);
    let stranger = pulled::offered(&mut conn, WorkspaceId::generate(), whose.1, 10).await.unwrap();
    assert_eq!((stranger.seen, stranger.offered), (0, 0));
}

#[tokio::test]
async fn a_place_far_on_is_found_through_an_index() {
    let database = TestDatabase::new().await;
    let mut conn = database.pool().get().await.unwrap();
    let whose = somebody();
    for _ in 0..10 {
        fill(&mut conn, whose, 1000, ("", "")).await;
    }
    conn.batch_execute("ANALYZE deliveries").await.unwrap();

    let own = format!("workspace_id = '{}' AND endpoint_id = '{}'", whose.0.uuid(), whose.1.uuid());
    let after = format!("(entered_in, id) > (4711, '{}')", Position::beginning().id.uuid());
    for query in [
        format!("SELECT id FROM deliveries WHERE {own} AND {after} ORDER BY entered_in, id LIMIT 100"),
        format!("SELECT status FROM deliveries WHERE {own} ORDER BY entered_in DESC, id DESC LIMIT 100"),
    ] {
        let plan = plan(&mut conn, &query).await;

        assert!(plan.contains("endpoint_id_entered_in_id_idx"), "{plan}");
        let full = store::partitions::name("deliveries", Utc::now().date_naive());
        assert!(!plan.contains(&format!("Seq Scan on {full}")), "{plan}");
    }
}
