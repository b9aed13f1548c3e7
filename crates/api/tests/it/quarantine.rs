//! What was put aside, over the API and in the console: the operator's, and nobody else's.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use store::quarantine::{self, Quarantined};
use testkit::{TestDatabase, TestNats};

use crate::console::Browser;
use crate::harness::{Answer, Api, settings};

const SUBJECT: &str = "clickwire.clicks.raw.wks_01kbr5zj7v0000000000000001.07";

/// A message of CLICKS that `enrich` could not read.
pub async fn put_aside(api: &Api, message_id: &str, at: DateTime<Utc>, payload: &[u8]) -> String {
    let message = Quarantined {
        stream: "CLICKS".to_owned(),
        stream_sequence: at.timestamp_micros(),
        message_id: Some(message_id.to_owned()),
        consumer: "enrich".to_owned(),
        subject: SUBJECT.to_owned(),
        reason: "the payload is <b>not</b> readable".to_owned(),
        payload: payload.to_vec(),
        quarantined_at: at,
        removed_at: None,
    };
    let mut conn = api.pool.get().await.expect("a connection");
    assert_eq!(quarantine::insert(&mut conn, &[message]).await.expect("it is kept"), 1);
    let listed = quarantine::list(&mut conn, None, None, 100).await.expect("a list");
    let own = listed.iter().find(|entry| entry.stream_sequence == at.timestamp_micros());
    own.expect("it is listed").id.to_string()
}

async fn operator(api: &Api) -> String {
    api.key_with(&["*", "admin"], None).await
}

async fn get(api: &Api, key: &str, path: &str) -> Answer {
    api.call_as(key, Method::GET, path, None).await
}

#[tokio::test]
async fn a_key_for_everything_of_a_workspace_is_not_the_operators() {
    let api = Api::start().await;
    let id = put_aside(&api, "m", Utc::now(), b"x").await;

    for (method, path) in [
        (Method::GET, "/v1/quarantine".to_owned()),
        (Method::GET, format!("/v1/quarantine/{id}")),
        (Method::GET, format!("/v1/quarantine/{id}/payload")),
        (Method::POST, format!("/v1/quarantine/{id}/replay")),
        (Method::DELETE, format!("/v1/quarantine/{id}")),
    ] {
        assert_eq!(api.call(method, &path, None).await.status, 403, "{path}");
    }
    let wanted = json!({"name": "Mine", "scopes": ["admin"]});
    assert_eq!(api.post("/v1/api-keys", wanted).await.body["errors"][0]["code"], "not_held");
    let mut browser = Browser::signed_in(&api).await;
    assert_eq!(browser.open("/quarantine").await.0, 403);
    assert!(!browser.open("/").await.1.contains("href=\"/quarantine\""));
}

#[tokio::test]
async fn what_was_put_aside_is_listed_in_pages_shown_handed_out_and_removed() {
    let api = Api::start().await;
    let key = operator(&api).await;
    let long = [b"\x00\xff".as_slice(), &[b'a'; 5000]].concat();
    let first = put_aside(&api, "one", Utc::now(), &long).await;
    let second = put_aside(&api, "two", Utc::now(), b"short").await;

    let page = get(&api, &key, "/v1/quarantine?limit=1").await.body;
    let cursor = page["next_cursor"].as_str().expect("another page").to_owned();
    let next = get(&api, &key, &format!("/v1/quarantine?limit=1&cursor={cursor}")).await.body;
    assert_eq!(next["next_cursor"], Value::Null);
    // two of one millisecond stand in no order
    let mut listed = [&page, &next].map(|page| page["data"][0]["id"].as_str().expect("an id").to_owned());
    listed.sort();
    let mut expected = [first.clone(), second];
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(get(&api, &key, "/v1/quarantine?consumer=deliver").await.body["data"], json!([]));

    let shown = get(&api, &key, &format!("/v1/quarantine/{first}")).await.body;
    assert_eq!((&shown["size_bytes"], &shown["message_id"]), (&json!(5002), &json!("one")));
    assert_eq!(shown["hex"].as_str().map(str::len), Some(2 * 4096), "bounded");
    assert!(shown["hex"].as_str().expect("text").starts_with("00ff6161"));
    assert!(shown["text"].as_str().expect("text").starts_with("..aa"));
    let path = format!("/v1/quarantine/{first}/payload");
    let whole = api.request(Method::GET, &path).bearer_auth(&key).send().await.expect("an answer");
    assert_eq!(whole.headers()["content-type"], "application/octet-stream");
    assert_eq!(whole.bytes().await.expect("bytes"), long);

    let path = format!("/v1/quarantine/{first}");
    assert_eq!(api.call_as(&key, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(get(&api, &key, &path).await.status, 404);
    let left = get(&api, &key, "/v1/quarantine").await.body;
    assert_eq!(left["data"].as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(api.call_as(&key, Method::POST, &format!("{path}/replay"), None).await.status, 404);
    assert_eq!(api.call_as(&key, Method::DELETE, &path, None).await.status, 404);
    let audit = api.get("/v1/audit").await.body;
    assert_eq!(
        (&audit["data"][0]["action"], &audit["data"][0]["subject"]),
        (&json!("quarantine.removed"), &json!(first))
    );
}

#[tokio::test]
async fn what_was_put_aside_is_published_again_byte_for_byte_and_under_its_id() {
    let (database, nats) = tokio::join!(TestDatabase::new(), TestNats::start());
    let api = Api::serve(settings(database.settings(), nats.settings()), database.pool()).await;
    let bus = nats.bus("test").await;
    let key = operator(&api).await;
    let before = Utc::now() - TimeDelta::hours(1);
    let id = put_aside(&api, "clk_malformed", before, b"\x00\xff").await;
    let replay = format!("/v1/quarantine/{id}/replay");

    let keyed = async || {
        let request = api.request(Method::POST, &replay).bearer_auth(&key).header("idempotency-key", "k");
        let sent = request.send().await.expect("an answer");
        (sent.headers().contains_key("idempotency-replayed"), crate::harness::answer(sent).await)
    };
    let (_, replayed) = keyed().await;

    assert_eq!(replayed.status, 202, "{}", replayed.body);
    let (is_replayed, repeated) = keyed().await;
    assert_eq!((is_replayed, repeated.status, &repeated.body), (true, 202, &replayed.body));
    assert_ne!(replayed.body["replayed_at"], Value::Null);
    assert_eq!(nats.messages("CLICKS").await, [(SUBJECT.to_owned(), b"\x00\xff".to_vec())]);
    // the broker knows it by its id, and would drop it now: that is said instead
    let again =
        bus::Outgoing::again("CLICKS", SUBJECT.to_owned(), "clk_malformed".to_owned(), (&b"x"[..]).into());
    bus.publisher().publish(again.expect("a stream of ours")).await.expect("it is confirmed");
    assert_eq!(nats.messages("CLICKS").await.len(), 1);
    let soon = api.call_as(&key, Method::POST, &replay, None).await;
    assert_eq!((soon.status, &soon.body["code"]), (409, &json!("too_soon")));
    assert_eq!(replayed.body["again_at"], Value::Null);

    // `enrich` could not read it this time either
    let back = put_aside(&api, "clk_malformed", Utc::now() + TimeDelta::seconds(1), b"\x00\xff").await;

    assert_ne!(get(&api, &key, &format!("/v1/quarantine/{id}")).await.body["again_at"], Value::Null);
    assert_eq!(get(&api, &key, &format!("/v1/quarantine/{back}")).await.body["is_replay"], true);
}

#[tokio::test]
async fn the_console_shows_what_was_put_aside_and_what_became_of_it() {
    let api = Api::start().await;
    let key = operator(&api).await;
    let mut browser = Browser::signed_in_with(&api, &key).await;
    assert!(browser.open("/quarantine").await.1.contains("Nothing was put aside"));
    let id = put_aside(&api, "<script>", Utc::now() - TimeDelta::hours(1), b"<b>\x00").await;

    let (_, list) = browser.open("/quarantine").await;
    let path = format!("/quarantine/{id}");
    let (_, page) = browser.open(&path).await;

    assert!(list.contains(&path) && list.contains("Put aside"), "{list}");
    assert!(page.contains("3c 62 3e 00"), "{page}");
    for page in [&list, &page] {
        assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
    }
    // the broker is away in this test
    let page = browser.fill(&path, &format!("{path}/replay"), &[]).await;
    assert!(page.contains("It could not be published") && page.contains("not yet"), "{page}");
    let page = browser.fill(&path, &format!("{path}/delete"), &[]).await;
    assert!(page.contains("It is removed") && page.contains("Nothing was put aside"), "{page}");
}
