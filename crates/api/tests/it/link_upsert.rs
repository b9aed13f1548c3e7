//! Links by the sender's own id.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, answer};

const PATH: &str = "/v1/links/by-external-id/order-7";

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_link_is_made_then_changed_then_left_alone() {
    let api = Api::start().await;
    let body = json!({"url": "https://example.com/a", "tags": ["x"], "metadata": {"a": "b"}, "utm": {"source": "s"},
        "expires_at": "2036-01-01T00:00:00.123Z", "max_clicks": 7, "password": "open sesame"});
    let other = json!({"url": "https://example.com/b"});

    let made = api.put(PATH, body.clone()).await;
    let again = api.put(PATH, body.clone()).await;
    let changed = api.put(PATH, other.clone()).await;
    let changed_again = api.put(PATH, other).await;

    assert_eq!((made.status, made.revision()), (201, Some("1")));
    assert_eq!(made.body["external_id"], "order-7");
    assert_eq!((again.status, again.body), (200, made.body.clone()));
    assert_eq!((changed.status, changed.revision()), (200, Some("2")));
    assert_eq!(changed.body["id"], made.body["id"]);
    assert_eq!(changed.body["slug"], made.body["slug"]);
    for (field, left_out) in [
        ("url", json!("https://example.com/b")),
        ("tags", json!([])),
        ("metadata", json!({})),
        ("utm", json!({})),
        ("expires_at", Value::Null),
        ("max_clicks", Value::Null),
        ("has_password", json!(false)),
    ] {
        assert_eq!(changed.body[field], left_out, "{field}");
    }
    assert_eq!((changed_again.status, &changed_again.body), (200, &changed.body));
    let actions = api.get("/v1/audit").await.body["data"].as_array().expect("a page").clone();
    let actions: Vec<&str> = actions.iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions, ["link.updated", "link.created"]);
}

#[tokio::test]
async fn slug_domain_and_kind_stay_as_they_were_made() {
    let api = Api::start().await;
    let url = "https://example.com/";
    let made = api.put(PATH, json!({"url": url, "slug": "sale", "domain": "localhost"})).await;
    assert_eq!(made.status, 201, "{}", made.body);

    for same in [
        json!({"url": url}),
        json!({"url": url, "slug": "SALE", "domain": "LOCALHOST", "kind": "shareable", "external_id": "order-7"}),
    ] {
        assert_eq!(api.put(PATH, same).await.body["revision"], 1);
    }
    // the kind that these labels would mean is not taken back from a link that has another
    let labelled = api.put(PATH, json!({"url": url, "contact_id": "x"})).await;
    assert_eq!((labelled.status, &labelled.body["kind"]), (200, &json!("shareable")));
    for (field, value) in [("slug", "other"), ("domain", "go.example.com"), ("kind", "message")] {
        let refused = api.put(PATH, json!({"url": url, field: value})).await;
        assert_eq!(code(&refused), (409, "link_differs"), "{field}: {}", refused.body);
        assert_eq!(refused.body["errors"][0]["pointer"], format!("/{field}"));
    }
}

#[tokio::test]
async fn what_cannot_be_put_is_told() {
    let api = Api::start().await;
    let url = "https://example.com/";
    api.post("/v1/links", json!({"url": url, "slug": "sale"})).await;

    assert_eq!(code(&api.put(PATH, json!({"url": url, "slug": "sale"})).await), (409, "slug_taken"));
    assert_eq!(code(&api.put(PATH, json!({"url": url, "domain": "x.example"})).await), (422, "invalid"));
    assert_eq!(code(&api.put(PATH, json!({"url": "http://localhost:8080/x"})).await), (422, "invalid"));
    assert_eq!(code(&api.put(PATH, json!({"url": url, "external_id": "other"})).await), (422, "invalid"));
    assert_eq!(code(&api.put(PATH, json!({})).await), (422, "invalid"));
    let long = format!("/v1/links/by-external-id/{}", "x".repeat(256));
    assert_eq!(code(&api.put(&long, json!({"url": url})).await), (422, "invalid"));
    assert_eq!(api.get("/v1/links").await.body["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_external_id_may_hold_any_sign() {
    let api = Api::start().await;

    let made =
        api.put("/v1/links/by-external-id/a%2Fb%20%C3%A5%3F", json!({"url": "https://example.com/"})).await;

    assert_eq!((made.status, &made.body["external_id"]), (201, &json!("a/b å?")));
}

#[tokio::test]
async fn an_archived_link_does_not_come_back() {
    let api = Api::start().await;
    let body = json!({"url": "https://example.com/"});
    let made = api.put(PATH, body.clone()).await;
    api.delete(&format!("/v1/links/{}", made.body["id"].as_str().expect("an id"))).await;

    let refused = api.put(PATH, body).await;

    assert_eq!(code(&refused), (409, "link_archived"));
}

#[tokio::test]
async fn a_stale_revision_is_refused() {
    let api = Api::start().await;
    let put = async |tag: &'static str, url: &'static str| {
        let request = api.request(Method::PUT, PATH).bearer_auth(&api.key).header("if-match", tag);
        let request =
            request.header("content-type", "application/json").body(json!({"url": url}).to_string());
        answer(request.send().await.expect("an answer")).await.status
    };

    assert_eq!(put("\"1\"", "https://example.com/a").await, 412);
    assert_eq!(api.put(PATH, json!({"url": "https://example.com/a"})).await.status, 201);
    assert_eq!(put("\"1\"", "https://example.com/b").await, 200);
    assert_eq!(put("\"1\"", "https://example.com/c").await, 412);
}

#[tokio::test]
async fn two_workspaces_have_their_own_external_ids() {
    let api = Api::start().await;
    let (_, stranger) = api.other_workspace().await;
    let body = json!({"url": "https://example.com/"});
    let own = api.put(PATH, body.clone()).await;

    let others = api.call_as(&stranger, Method::PUT, PATH, Some(body)).await;

    assert_eq!((own.status, others.status), (201, 201));
    assert_ne!(own.body["id"], others.body["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_first_puts_at_once_make_one_link() {
    let api = Api::start().await;

    for round in 0..5 {
        let path = format!("/v1/links/by-external-id/{round}");
        let body = json!({"url": "https://example.com/", "slug": format!("slug-{round}"), "contact_id": "c"});
        let answers = futures::future::join_all((0..12).map(|_| api.put(&path, body.clone()))).await;

        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 11, "{statuses:?}");
        let ids: HashSet<&str> = answers.iter().filter_map(|answer| answer.body["id"].as_str()).collect();
        assert_eq!(ids.len(), 1);
        assert!(answers.iter().all(|answer| answer.body["revision"] == 1));
    }
}
