//! A click is held when it stands in `clicks`, or was put aside on its way there.

use std::collections::BTreeSet;

use chrono::{Days, Utc};
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use model::{ClickId, EventId};
use store::quarantine::{self, Quarantined};
use store::{Connection, confirmation, partitions};
use testkit::TestDatabase;

use crate::plan::plan;

#[derive(QueryableByName)]
struct Kept {
    #[diesel(sql_type = Text)]
    line: String,
}

async fn record(conn: &mut Connection, id: ClickId) {
    let insert = format!(
        "INSERT INTO clicks (id, day, workspace_id, revision, clicked_at, recorded_at, link_id, device_type,
             verdict, event)
         VALUES ('{}', '{}', gen_random_uuid(), 0, now(), now(), gen_random_uuid(), 'mobile', 'human', '')",
        id.uuid(),
        id.day(),
    );
    conn.batch_execute(&insert).await.unwrap();
}

async fn put_aside(conn: &mut Connection, consumer: &str, message_id: String) {
    let message = Quarantined {
        stream: "S".into(),
        stream_sequence: 1,
        message_id: Some(message_id),
        consumer: consumer.into(),
        subject: "s".into(),
        reason: "r".into(),
        payload: b"p".to_vec(),
        quarantined_at: Utc::now(),
        removed_at: None,
    };
    quarantine::insert(conn, &[message]).await.unwrap();
}

#[tokio::test]
async fn clicks_are_held_once_they_are_recorded_whatever_their_day() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let long_ago = ClickId::generate_at(Utc::now() - Days::new(400));
    let yesterday = ClickId::generate_at(Utc::now() - Days::new(1));
    let (now, missing) = (ClickId::generate(), ClickId::generate());
    for id in [long_ago, yesterday, now] {
        record(&mut conn, id).await;
    }

    let held = confirmation::held(&mut conn, &[now, missing, long_ago, yesterday]).await.unwrap();

    assert_eq!(held, BTreeSet::from([long_ago, yesterday, now]));
    assert!(confirmation::held(&mut conn, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_enrich_or_record_put_aside_is_held_and_what_deliver_put_aside_is_not() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let ids = [(); 5].map(|()| ClickId::generate());
    let event = |id: ClickId| EventId::of_click(id, 0).to_string();
    put_aside(&mut conn, "enrich", ids[0].to_string()).await;
    put_aside(&mut conn, "record", event(ids[1])).await;
    put_aside(&mut conn, "deliver", event(ids[2])).await;
    // such ids are not those of the consumers' streams
    put_aside(&mut conn, "enrich", event(ids[3])).await;
    put_aside(&mut conn, "deliver", ids[4].to_string()).await;

    let held = confirmation::held(&mut conn, &ids).await.unwrap();

    assert_eq!(held, BTreeSet::from([ids[0], ids[1]]));
}

#[tokio::test]
async fn what_was_removed_from_the_quarantine_is_held_and_nowhere_to_be_seen() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let click = ClickId::generate();
    put_aside(&mut conn, "enrich", click.to_string()).await;
    let id = quarantine::list(&mut conn, None, None, 10).await.unwrap()[0].id;

    assert!(quarantine::remove(&mut conn, id, Utc::now()).await.unwrap());

    assert_eq!(confirmation::held(&mut conn, &[click]).await.unwrap(), BTreeSet::from([click]));
    assert!(!quarantine::remove(&mut conn, id, Utc::now()).await.unwrap(), "once");
    assert_eq!(quarantine::list(&mut conn, None, None, 10).await.unwrap(), []);
    assert_eq!(quarantine::newest(&mut conn, 10).await.unwrap(), []);
    assert_eq!(quarantine::find(&mut conn, id).await.unwrap(), None);
    assert_eq!(quarantine::payload(&mut conn, id, 10).await.unwrap(), None);
    let kept = "SELECT encode(payload, 'hex') || reason AS line FROM quarantine";
    assert_eq!(diesel::sql_query(kept).get_result::<Kept>(&mut conn).await.unwrap().line, "");
}

#[tokio::test]
async fn only_the_partition_of_the_clicks_day_is_looked_at() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let today = Utc::now().date_naive();
    for number in 0..100 {
        put_aside(&mut conn, "enrich", format!("clk_{number}")).await;
    }
    // the plan that a prepared statement has after some runs, before it knows the day
    conn.batch_execute(
        "ANALYZE quarantine; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
         PREPARE recorded (date, uuid[]) AS SELECT id FROM clicks WHERE day = $1 AND id = ANY($2);
         PREPARE aside (text[]) AS SELECT consumer, message_id FROM quarantine
             WHERE message_id = ANY($1) AND consumer IN ('enrich', 'record')",
    )
    .await
    .unwrap();

    let recorded = format!("EXECUTE recorded ('{today}', ARRAY[gen_random_uuid()])");
    let recorded = plan(&mut conn, &recorded).await;
    let aside = plan(&mut conn, "EXECUTE aside (ARRAY['clk_1'])").await;

    let partition = partitions::name("clicks", today);
    assert!(recorded.contains(&format!("{partition}_pkey on {partition}")), "{recorded}");
    assert_eq!(recorded.matches(" on clicks_").count(), 1, "{recorded}");
    assert!(aside.contains("quarantine_of_message"), "{aside}");
}
