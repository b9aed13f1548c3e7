//! `clickwire status`.

use chrono::Utc;
use model::EndpointId;
use serde_json::json;
use store::endpoints::{self, State};
use testkit::{OwnDatabase, TestNats};

use crate::command::{Clickwire, text};

#[tokio::test]
async fn status_says_what_waits_and_which_endpoints_are_not_well() {
    let (database, nats) = tokio::join!(OwnDatabase::start(), TestNats::start());
    let clickwire = Clickwire::new()
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE__NATS__URL", nats.url());
    let well = clickwire.ok(&["status"]).await;
    let mut conn = database.pool().get().await.unwrap();
    let workspace_id = testkit::given::workspace(&mut conn).await;
    for (state, url) in [
        (State::Active, "https://well.example.com/hook"),
        (State::Paused, "https://crm.example.com/hook/s3cret"),
    ] {
        let (id, options) = (EndpointId::generate(), testkit::given::endpoint_options(url));
        endpoints::insert(&mut conn, workspace_id, id, &options, state, None, Utc::now()).await.unwrap();
    }

    let told = clickwire.ok(&["status"]).await;
    let status = clickwire.ok(&["status", "--json"]).await.json();

    for line in ["enrich             0 messages wait", "endpoints          no endpoint fails, and none waits"]
    {
        assert!(well.stdout.contains(line), "{line}: {well:?}");
    }
    assert!(told.stdout.contains(" crm.example.com: paused, 0 deliveries wait\n"), "{told:?}");
    assert!(!told.stdout.contains("s3cret") && !told.stdout.contains("well.example.com"), "{told:?}");
    assert_eq!((&status["lag"]["enrich"], &status["lag"]["deliver"]), (&json!(0), &json!(0)));
    assert_eq!(status["deliveries"], json!({"waiting": 0, "oldest_due_seconds": 0}));
    assert_eq!(status["endpoints"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));

    assert!(well.stdout.contains("CLICKS             0 % full\n"), "{well:?}");
    let small = bus::Settings { clicks_max_bytes: 100_000, ..nats.settings() };
    let bus = bus::Bus::connect(&small, "setup").await.unwrap();
    bus.setup().await.unwrap();
    let client = nats.client().await;
    for _ in 0..2 {
        // answered once it is stored
        client.request("clickwire.clicks.orphan.none", vec![0_u8; 42_000].into()).await.unwrap();
    }
    let fuller = clickwire.ok(&["status", "--json"]).await.json();
    let doctor = clickwire.fails(&["doctor", "--json"]).await.json();
    let percent = fuller["streams"]["CLICKS"]["percent"].as_u64().unwrap();
    assert!((84..100).contains(&percent), "{fuller}");
    let doctor = doctor.as_array().unwrap();
    let room = doctor.iter().find(|diagnosis| diagnosis["part"] == "streams").unwrap();
    assert_eq!(text(room, "health"), "warn");
    assert!(text(room, "found").contains(&format!("CLICKS {percent} %")), "{room}");
}

#[tokio::test]
async fn status_tells_what_it_could_not_ask_and_what_it_could() {
    let database = OwnDatabase::start().await;
    let clickwire = Clickwire::new()
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE__NATS__URL", "nats://127.0.0.1:1");

    let status = clickwire.fails(&["status", "--json"]).await.json();

    assert!(text(&status, "nats_error").contains("NATS was not reached"), "{status}");
    assert_eq!((&status["lag"], &status["clicks"]["recorded_last_hour"]), (&json!(null), &json!(0)));
}
