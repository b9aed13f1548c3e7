//! Entity tags: nobody undoes what another did, and nobody is sent what they have.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, answer, recorded_click};

async fn send(api: &Api, method: Method, path: &str, header: (&str, &str), body: Option<&Value>) -> Response {
    let request = api.request(method, path).bearer_auth(&api.key).header(header.0, header.1);
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    };
    request.send().await.expect("an answer")
}

async fn changed(api: &Api, method: Method, path: &str, tag: &str, body: Option<&Value>) -> Answer {
    answer(send(api, method, path, ("if-match", tag), body).await).await
}

#[tokio::test]
async fn whatever_can_be_changed_is_changed_only_as_it_was_seen() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let domain = api.post("/v1/domains", json!({"host": "new.example"})).await.body;
    let domain = domain["id"].as_str().expect("an id");
    let alert = |path| json!({"alert": {"url": format!("http://127.0.0.1:9/{path}")}});
    let changes = [
        (format!("/v1/links/{link}"), json!({"tags": ["a"]}), json!({"tags": ["b"]})),
        (
            format!("/v1/webhook-endpoints/{endpoint}"),
            json!({"description": "a"}),
            json!({"description": "b"}),
        ),
        ("/v1/settings/links".to_owned(), json!({"tracking": false}), json!({"tracking": true})),
        ("/v1/settings".to_owned(), alert("a"), alert("b")),
        (format!("/v1/domains/{domain}"), json!({"hsts_max_age": 1}), json!({"hsts_max_age": 2})),
    ];

    for (path, one, other) in &changes {
        let seen = api.get(path).await.etag.unwrap_or_else(|| panic!("{path} has a tag"));

        let first = changed(&api, Method::PATCH, path, &seen, Some(one)).await;
        assert_eq!(first.status, 200, "{path}: {}", first.body);
        let late = changed(&api, Method::PATCH, path, &seen, Some(other)).await;
        assert_eq!((late.status, &late.body["code"]), (412, &json!("precondition_failed")), "{path}");
        let tag = first.etag.expect("a tag");
        assert_ne!(tag, seen, "{path}");
        for malformed in ["1", "\"1", "\"a\" \"b\"", ""] {
            let refused = changed(&api, Method::PATCH, path, malformed, Some(other)).await;
            assert_eq!(refused.status, 422, "{path} {malformed}");
            assert_eq!(refused.body["errors"][0]["pointer"], "If-Match", "{path} {malformed}");
        }
        let listed = format!("\"x\", {tag}");
        assert_eq!(changed(&api, Method::PATCH, path, &listed, Some(other)).await.status, 200, "{path}");
        assert_eq!(changed(&api, Method::PATCH, path, "*", Some(one)).await.status, 200, "{path}");
    }
    for (path, ..) in changes.iter().filter(|(path, ..)| !path.starts_with("/v1/settings")) {
        assert_eq!(changed(&api, Method::DELETE, path, "\"0\"", None).await.status, 412, "{path}");
        let tag = api.get(path).await.etag.expect("a tag");
        assert_eq!(changed(&api, Method::DELETE, path, &tag, None).await.status, 204, "{path}");
    }
    let stale = changed(&api, Method::PATCH, "/v1/settings", "\"none\"", Some(&json!({"alert": null}))).await;
    assert_eq!(stale.status, 412);
}

#[tokio::test]
async fn who_has_the_answer_is_not_sent_it_again() {
    let api = Api::start().await;
    let link = api.link().await;
    let click = recorded_click(&api, &link).await;
    let endpoint = api.endpoint().await;
    let delivery = crate::harness::failed_delivery(&api, &endpoint, &click).await;
    let replay = json!({"endpoint_id": endpoint, "delivery_ids": [delivery]});
    let replay = api.post("/v1/replays", replay).await.body;
    let key = api.get("/v1/api-keys").await.body["data"][0]["id"].as_str().expect("an id").to_owned();

    for path in [
        format!("/v1/links/{link}"),
        format!("/v1/webhook-endpoints/{endpoint}"),
        format!("/v1/deliveries/{delivery}"),
        format!("/v1/replays/{}", replay["id"].as_str().expect("an id")),
        format!("/v1/api-keys/{key}"),
        "/v1/settings".to_owned(),
        "/v1/settings/links".to_owned(),
    ] {
        let tag = api.get(&path).await.etag.unwrap_or_else(|| panic!("{path} has a tag"));
        for has_it in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let same = send(&api, Method::GET, &path, ("if-none-match", &has_it), None).await;
            assert_eq!(same.status(), 304, "{path} {has_it}");
            assert_eq!(same.headers()["etag"], tag, "{path}");
            assert!(same.headers().contains_key("ratelimit-remaining"), "{path}");
            assert!(same.bytes().await.expect("no body").is_empty(), "{path}");
        }
        assert_eq!(send(&api, Method::GET, &path, ("if-none-match", "\"x\""), None).await.status(), 200);
    }

    // what goes on by itself is another answer, though its revision is the same
    let path = format!("/v1/links/{link}");
    let tag = api.get(&path).await.etag.expect("a tag");
    let mut conn = api.pool.get().await.expect("a connection");
    store::blocks::set_link(&mut conn, link.parse().expect("an id"), Some(chrono::Utc::now()))
        .await
        .expect("it is blocked");
    let other = send(&api, Method::GET, &path, ("if-none-match", &tag), None).await;
    assert_eq!(other.status(), 200);
    let patched = changed(&api, Method::PATCH, &path, &tag, Some(&json!({"tags": ["a"]}))).await;
    assert_eq!(patched.status, 200, "{}", patched.body);
}
