//! Links over the API.

mod refusals;

use bus::{Change, Table};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, LIMIT, recorded_click};

fn pointers(body: &Value) -> Vec<(String, String)> {
    let errors = body["errors"].as_array().expect("errors");
    let text = |error: &Value, name: &str| error[name].as_str().expect("a text").to_owned();
    errors.iter().map(|error| (text(error, "pointer"), text(error, "code"))).collect()
}

#[tokio::test]
async fn a_link_is_made_from_a_url_alone() {
    let api = Api::start().await;

    let made = api.post("/v1/links", json!({"url": "https://example.com/offer"})).await;

    assert_eq!((made.status, made.revision()), (201, Some("1")));
    let keys = api.get("/v1/api-keys").await.body;
    assert_eq!(made.body["created_by"], keys["data"][0]["id"], "{keys}");
    let slug = made.body["slug"].as_str().expect("a slug");
    assert_eq!(slug.len(), 9);
    assert_eq!(made.body["tracked_url"], format!("http://localhost:8080/{slug}"));
    insta::assert_json_snapshot!(made.body, {
        ".id" => "[id]", ".slug" => "[slug]", ".tracked_url" => "[url]", ".created_at" => "[time]", ".created_by" => "[key]",
        ".updated_at" => "[time]",
    }, @r#"
    {
      "archived_at": null,
      "blocked_at": null,
      "campaign_id": null,
      "channel": null,
      "contact_id": null,
      "conversation_id": null,
      "counted_clicks": 0,
      "created_at": "[time]",
      "created_by": "[key]",
      "domain": "localhost",
      "enabled": true,
      "exhausted_at": null,
      "expired_url": null,
      "expires_at": null,
      "external_id": null,
      "has_password": false,
      "id": "[id]",
      "kind": "shareable",
      "max_clicks": null,
      "message_id": null,
      "metadata": {},
      "preview": null,
      "query_mode": "fill_missing",
      "recording": "full",
      "recording_decided_by": "workspace",
      "revision": 1,
      "sent_at": null,
      "sequence_id": null,
      "slug": "[slug]",
      "starts_at": null,
      "status_code": 302,
      "step_id": null,
      "tags": [],
      "tracked_url": "[url]",
      "tracking": "inherit",
      "undercounts": false,
      "updated_at": "[time]",
      "url": "https://example.com/offer",
      "utm": {}
    }
    "#);
}

#[tokio::test]
async fn a_link_keeps_everything_it_was_given() {
    let api = Api::start().await;
    let given = json!({
        "url": "https://example.com/offer?a=1", "slug": "Spring-Sale", "domain": "localhost",
        "campaign_id": "cmp_42", "conversation_id": "conv_7", "contact_id": "cont_9", "message_id": "msg_1",
        "channel": "sms", "sequence_id": "seq_5", "step_id": "step_2", "external_id": "ext-1", "tags": ["spring", "vip"], "metadata": {"source": "crm"},
        "starts_at": "2026-01-01T00:00:00.000Z", "expires_at": "2036-01-01T00:00:00.000Z",
        "expired_url": "https://example.com/over", "enabled": false, "tracking": "off", "status_code": 307,
        "query_mode": "override", "kind": "message", "sent_at": "2026-01-01T00:00:00.000Z", "max_clicks": 1_000_000,
        "utm": {"source": "sms", "campaign": "våren"},
        "preview": {"title": "Våren", "description": "Half price", "image_url": "https://example.com/a.png"},
    });

    let made = api.post("/v1/links", given.clone()).await;

    assert_eq!(made.status, 201, "{}", made.body);
    let read = api.get(&format!("/v1/links/{}", made.body["id"].as_str().expect("an id"))).await;
    assert_eq!(read.body, made.body);
    for (name, value) in given.as_object().expect("an object") {
        let expected = if name == "slug" { json!("spring-sale") } else { value.clone() };
        assert_eq!(read.body[name], expected, "{name}");
    }
}

#[tokio::test]
async fn a_slug_and_an_external_id_are_given_once() {
    let api = Api::start().await;
    let link = json!({"url": "https://example.com/", "slug": "sale", "external_id": "one"});
    let made = api.post("/v1/links", link).await;

    let same_slug = api.post("/v1/links", json!({"url": "https://example.com/", "slug": "SALE"})).await;
    assert_eq!((same_slug.status, same_slug.body["code"].as_str()), (409, Some("slug_taken")));
    let same_id = api.post("/v1/links", json!({"url": "https://example.com/", "external_id": "one"})).await;
    assert_eq!((same_id.status, same_id.body["code"].as_str()), (409, Some("external_id_taken")));

    let id = made.body["id"].as_str().expect("an id");
    assert_eq!(api.delete(&format!("/v1/links/{id}")).await.status, 204);
    let archived_slug = api.post("/v1/links", json!({"url": "https://example.com/", "slug": "sale"})).await;
    assert_eq!((archived_slug.status, archived_slug.body["code"].as_str()), (409, Some("slug_taken")));
    assert_eq!(api.patch(&format!("/v1/links/{id}"), json!({"enabled": true})).await.status, 404);
}

#[tokio::test]
async fn a_change_counts_the_revision_and_leaves_the_rest() {
    let api = Api::start().await;
    let made = api
        .post("/v1/links", json!({"url": "https://example.com/", "campaign_id": "a", "contact_id": "b"}))
        .await;
    let path = format!("/v1/links/{}", made.body["id"].as_str().expect("an id"));

    let changed = api.patch(&path, json!({"enabled": false, "campaign_id": null})).await;

    assert_eq!((changed.status, changed.revision()), (200, Some("2")));
    assert_eq!(changed.body["revision"], 2);
    assert_eq!(changed.body["enabled"], false);
    assert_eq!(changed.body["campaign_id"], Value::Null);
    assert_eq!(changed.body["contact_id"], "b");
    assert_eq!(api.patch(&path, json!({"enabled": null})).await.status, 422);
    assert_eq!(api.patch(&path, json!({"slug": "other"})).await.status, 422);
}

#[tokio::test]
async fn two_editors_do_not_undo_each_other() {
    let api = Api::start().await;
    let path = format!("/v1/links/{}", api.link().await);
    let patch = |tag: &'static str| {
        let request = api.request(Method::PATCH, &path).bearer_auth(&api.key).header("if-match", tag);
        request.header("content-type", "application/json").body("{\"enabled\":false}").send()
    };

    assert_eq!(patch("\"1\"").await.expect("an answer").status(), 200);
    assert_eq!(patch("\"1\"").await.expect("an answer").status(), 412);
    assert_eq!(patch("*").await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn pages_hold_every_link_once() {
    let api = Api::start().await;
    for _ in 0..5 {
        api.link().await;
    }

    let mut seen = Vec::new();
    let mut path = "/v1/links?limit=2".to_owned();
    loop {
        let page = api.get(&path).await;
        let ids = page.body["data"].as_array().expect("a page").iter().map(|link| link["id"].to_string());
        seen.extend(ids);
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("/v1/links?limit=2&cursor={cursor}");
    }

    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first");
    assert_eq!(api.get("/v1/links?limits=2").await.status, 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_written_down_and_announced() {
    let api = Api::start_with_nats().await;
    let mut changes = api.bus.as_ref().expect("a bus").changes(Table::Links);
    assert_eq!(changes.next().await, Some(Change::Reconnected));
    let mut announced = async || match tokio::time::timeout(LIMIT, changes.next()).await.expect("a notice") {
        Some(Change::Row(changed)) => changed.keys,
        other => panic!("{other:?}"),
    };

    let made = api.post("/v1/links", json!({"url": "https://example.com/", "slug": "spring"})).await.body;
    let key = vec![format!("{}/spring", made["domain"].as_str().expect("a host"))];
    assert_eq!(announced().await, key);
    let path = format!("/v1/links/{}", made["id"].as_str().expect("an id"));
    assert_eq!(api.patch(&path, json!({"enabled": false})).await.status, 200);
    assert_eq!(announced().await, key);
    assert_eq!(api.delete(&path).await.status, 204);
    assert_eq!(announced().await, key);

    let audit = api.get("/v1/audit").await.body["data"].as_array().expect("a page").clone();
    let actions: Vec<_> = audit.iter().map(|entry| entry["action"].as_str().expect("a text")).collect();
    assert_eq!(actions, ["link.archived", "link.updated", "link.created"]);
    assert!(audit.iter().all(|entry| entry["subject"] == made["id"]));
}

#[tokio::test]
async fn a_link_to_one_recipient_is_of_the_kind_message_and_has_a_longer_slug() {
    let api = Api::start().await;
    let kind_of = async |body: Value| {
        let made = api.post("/v1/links", body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let slug = made.body["slug"].as_str().expect("a slug").len();
        (made.body["kind"].as_str().expect("a kind").to_owned(), slug)
    };
    let url = "https://example.com/";

    for label in ["contact_id", "conversation_id", "message_id"] {
        assert_eq!(kind_of(json!({"url": url, label: "x"})).await, ("message".to_owned(), 12), "{label}");
    }
    assert_eq!(kind_of(json!({"url": url, "campaign_id": "x"})).await, ("shareable".to_owned(), 9));
    let chosen = json!({"url": url, "contact_id": "x", "kind": "shareable"});
    assert_eq!(kind_of(chosen).await, ("shareable".to_owned(), 9));
    assert_eq!(kind_of(json!({"url": url, "kind": "honeypot"})).await, ("honeypot".to_owned(), 9));
    let path = format!("/v1/links/{}", api.link().await);
    let refused = api.patch(&path, json!({"kind": "message"})).await;
    assert_eq!(pointers(&refused.body), [("/kind".to_owned(), "unknown_field".to_owned())]);
}

#[tokio::test]
async fn campaign_parameters_are_replaced_as_a_whole_and_must_leave_the_url_short_enough() {
    let api = Api::start().await;
    let url = format!("https://example.com/{}", "x".repeat(8100));
    let made = api.post("/v1/links", json!({"url": url, "utm": {"source": "a", "medium": "b"}})).await;
    assert_eq!(made.body["utm"], json!({"source": "a", "medium": "b"}));
    let path = format!("/v1/links/{}", made.body["id"].as_str().expect("an id"));

    let long = json!({"source": "x".repeat(100)});
    let too_long = api.post("/v1/links", json!({"url": url, "utm": long})).await;
    let grown = api.patch(&path, json!({"utm": long})).await;
    let changed = api.patch(&path, json!({"utm": {"campaign": "c", "medium": null}})).await;
    let cleared = api.patch(&path, json!({"utm": null})).await;

    for refused in [too_long, grown] {
        assert_eq!(refused.status, 422);
        assert_eq!(pointers(&refused.body), [("/utm".to_owned(), "too_long".to_owned())]);
    }
    assert_eq!(
        (changed.body["utm"].clone(), cleared.body["utm"].clone()),
        (json!({"campaign": "c"}), json!({}))
    );
    let wrong = api.post("/v1/links", json!({"url": "https://example.com/", "utm": {"source": 1}})).await;
    assert_eq!(pointers(&wrong.body), [("/utm/source".to_owned(), "wrong_type".to_owned())]);
}

#[tokio::test]
async fn a_password_is_kept_as_a_hash_and_never_shown() {
    let api = Api::start().await;
    let given = json!({"url": "https://example.com/", "password": "open sesame"});
    let made = api.post("/v1/links", given).await;
    let path = format!("/v1/links/{}", made.body["id"].as_str().expect("an id"));
    let kept = async || {
        let mut conn = api.pool.get().await.expect("the database runs");
        let id = made.body["id"].as_str().expect("an id").parse().expect("an id");
        let link = store::links::find(&mut conn, api.workspace_id, id).await.expect("a query");
        link.expect("a link").options.password
    };

    assert_eq!(made.body["has_password"], true);
    assert!(!made.body.to_string().contains("sesame") && !made.body.to_string().contains("argon2"));
    assert!(kept().await.expect("a hash").is_of("open sesame"));
    assert!(!api.get("/v1/audit").await.body.to_string().contains("argon2"));

    let untouched = api.patch(&path, json!({"enabled": true})).await;
    assert_eq!(untouched.body["has_password"], true);
    api.patch(&path, json!({"password": "another"})).await;
    assert!(kept().await.expect("a hash").is_of("another"));
    let removed = api.patch(&path, json!({"password": null})).await;
    assert_eq!((removed.body["has_password"].clone(), kept().await), (json!(false), None));
}

#[tokio::test]
async fn a_limit_of_clicks_counts_those_that_were_recorded_already() {
    let api = Api::start().await;
    let id = api.link().await;
    let path = format!("/v1/links/{id}");
    for _ in 0..3 {
        recorded_click(&api, &id).await;
    }
    let state = |answer: &crate::harness::Answer| {
        (answer.body["counted_clicks"].as_u64().expect("a number"), answer.body["exhausted_at"].is_string())
    };

    assert_eq!(state(&api.get(&path).await), (0, false));
    assert_eq!(state(&api.patch(&path, json!({"max_clicks": 5})).await), (3, false));
    recorded_click(&api, &id).await;
    assert_eq!(state(&api.get(&path).await), (4, false));
    assert_eq!(state(&api.patch(&path, json!({"max_clicks": 2})).await), (4, true));
    assert_eq!(state(&api.patch(&path, json!({"enabled": true})).await), (4, true));
    assert_eq!(state(&api.patch(&path, json!({"max_clicks": 10})).await), (4, false));
    assert_eq!(state(&api.patch(&path, json!({"max_clicks": 4})).await), (4, true));
    assert_eq!(state(&api.patch(&path, json!({"max_clicks": null})).await), (0, false));
}

#[tokio::test]
async fn a_redirect_that_browsers_keep_says_that_it_undercounts() {
    let api = Api::start().await;

    for (code, undercounts) in [(301, true), (308, true), (302, false), (307, false)] {
        let made = api.post("/v1/links", json!({"url": "https://example.com/", "status_code": code})).await;
        assert_eq!(made.body["undercounts"], undercounts, "{code}");
    }
}

#[tokio::test]
async fn links_are_found_by_campaign_and_by_tag() {
    let api = Api::start().await;
    let url = "https://example.com/";
    let one = api.post("/v1/links", json!({"url": url, "campaign_id": "a", "tags": ["x", "y"]})).await;
    api.post("/v1/links", json!({"url": url, "campaign_id": "b", "tags": ["x"]})).await;
    api.post("/v1/links", json!({"url": url})).await;

    for query in ["campaign_id=a", "tag=y", "tag=x&campaign_id=a"] {
        let found = api.get(&format!("/v1/links?{query}")).await;
        assert_eq!(found.body["data"], json!([one.body]), "{query}");
    }
    assert_eq!(api.get("/v1/links?tag=x").await.body["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(api.get("/v1/links?tag=z").await.body["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_asked_for_twice_with_one_key_is_made_once() {
    let api = Api::start().await;
    let ask = async |key: &str, body: Value| {
        let request = api.request(Method::POST, "/v1/links").bearer_auth(&api.key);
        let request = request.header("idempotency-key", key).header("content-type", "application/json");
        let request = request.body(body.to_string());
        let answer = request.send().await.expect("an answer");
        let is_replayed = answer.headers().contains_key("idempotency-replayed");
        (is_replayed, crate::harness::answer(answer).await)
    };
    let wanted = json!({"url": "https://example.com/offer", "channel": "sms"});

    let (at_once, other) = tokio::join!(ask("k1", wanted.clone()), ask("k1", wanted.clone()));
    let (is_replayed, again) = ask("k1", json!({"channel": "sms", "url": "https://example.com/offer"})).await;

    let ids = [&at_once.1, &other.1, &again].map(|answer| (answer.status, answer.body["id"].clone()));
    assert!(ids.iter().all(|id| *id == (201, again.body["id"].clone())), "{ids:?}");
    assert!(is_replayed && (at_once.0 ^ other.0));
    assert_eq!(api.get("/v1/links").await.body["data"].as_array().map(Vec::len), Some(1));
    let (_, reused) = ask("k1", json!({"url": "https://example.com/other"})).await;
    assert_eq!((reused.status, &reused.body["code"]), (409, &json!("idempotency_key_reused")));
    assert_ne!(ask("k2", wanted.clone()).await.1.body["id"], again.body["id"]);
    // what was refused made nothing, and leaves the key free
    assert_eq!(ask("k3", json!({"url": "http://localhost:8080/x"})).await.1.status, 422);
    assert_eq!(ask("k3", wanted.clone()).await.1.status, 201);
    assert_eq!(ask(&"x".repeat(256), wanted).await.1.status, 422);
}
