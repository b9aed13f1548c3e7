//! What was put aside, looked at and published again by the command, with everything running.

use bus::Message as _;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use store::quarantine::{self, Quarantined};
use testkit::{TestDatabase, TestNats, until};

use crate::command::{Clickwire, LIMIT, text};

/// A message of ENRICHED that `record` put aside an hour ago, when it could not read it.
fn put_aside(message_id: &str, subject: &str, payload: &[u8]) -> Quarantined {
    Quarantined {
        stream: "ENRICHED".to_owned(),
        stream_sequence: 1,
        message_id: Some(message_id.to_owned()),
        consumer: "record".to_owned(),
        subject: subject.to_owned(),
        reason: "not \u{1b}[31mreadable".to_owned(),
        payload: payload.to_vec(),
        quarantined_at: Utc::now() - TimeDelta::hours(1),
        removed_at: None,
    }
}

#[tokio::test]
async fn what_was_put_aside_is_handled_once_its_reason_is_mended_and_says_so_when_it_comes_back() {
    let (database, nats) = tokio::join!(TestDatabase::new(), TestNats::start());
    let clickwire = Clickwire::new()
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE__NATS__URL", nats.url());
    clickwire.up(&[]).await;
    let mut conn = database.pool().get().await.expect("a connection");
    let workspace = store::workspaces::find_by_name(&mut conn, "Default").await.expect("a query");
    let mut click = webhook::payload::sample(workspace.expect("Default").id, Utc::now());
    click.test = false;
    let mended = click.outgoing();
    let rows = [
        put_aside(&mended.id, &mended.subject, &mended.payload),
        Quarantined { stream_sequence: 2, ..put_aside("malformed", &mended.subject, b"\xff\x00<b>") },
    ];
    quarantine::insert(&mut conn, &rows).await.expect("they are kept");
    drop(conn);

    let listed = clickwire.ok(&["quarantine", "list", "--json"]).await.json();
    let listed = listed["data"].as_array().expect("a list").clone();
    let id_of = |message_id: &str| {
        let found = listed.iter().find(|message| message["message_id"] == message_id);
        text(found.expect(message_id), "id").to_owned()
    };
    let (good, bad) = (id_of(&mended.id), id_of("malformed"));
    let shown = clickwire.ok(&["quarantine", "show", &bad]).await.stdout;
    assert!(shown.contains("hex      ff003c623e") && !shown.contains('\u{1b}'), "{shown}");

    let first = clickwire.ok(&["quarantine", "list", "--limit", "1"]).await;
    assert!(first.stderr.starts_with("there are more: --all, or --cursor "), "{first:?}");
    let all = clickwire.ok(&["quarantine", "list", "--all", "--json"]).await.stdout;
    assert_eq!(all.lines().count(), 2, "{all}");

    let unknown = "qua_01kbr5zj7v0000000000000001";
    let replayed = clickwire.fails(&["quarantine", "replay", &good, unknown, &bad]).await;
    assert_eq!(replayed.stdout, format!("{good} is on ENRICHED again\n{bad} is on ENRICHED again\n"));
    assert!(replayed.stderr.contains(&format!("{unknown} is not published again")), "{replayed:?}");

    until(LIMIT, || async {
        let mut conn = database.pool().get().await.ok()?;
        let found = store::click_log::find(&mut conn, click.click.workspace_id, click.click.id).await.ok()?;
        found.map(|_| ())
    })
    .await;
    let show = async |id: &str| clickwire.ok(&["quarantine", "show", id, "--json"]).await.json();
    let came_back = until(LIMIT, || async {
        let message = show(&bad).await;
        (message["again_at"] != Value::Null).then_some(message)
    })
    .await;
    assert_ne!(came_back["replayed_at"], Value::Null);
    assert_eq!(show(&good).await["again_at"], Value::Null);
    let newest =
        clickwire.ok(&["quarantine", "list", "--consumer", "record", "--limit", "1", "--json"]).await.json();
    assert_eq!(
        (&newest["data"][0]["message_id"], &newest["data"][0]["is_replay"]),
        (&json!("malformed"), &json!(true))
    );
    let soon = clickwire.fails(&["quarantine", "replay", &bad]).await;
    assert!(soon.stderr.contains("the broker still remembers it"), "{soon:?}");

    clickwire.ok(&["quarantine", "delete", &good]).await;
    let gone = clickwire.fails(&["quarantine", "show", &good]).await;
    assert!(gone.stderr.contains("no such message in quarantine"), "{gone:?}");
}
