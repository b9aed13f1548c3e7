//! The description of the API is the API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, answer, failed_delivery, recorded_click};

/// Method and path of every operation.
async fn operations(api: &Api) -> Vec<(Method, String)> {
    let document: Value =
        answer(api.request(Method::GET, "/openapi.json").send().await.expect("an answer")).await.body;
    let paths = document["paths"].as_object().expect("paths").clone();
    let operations = paths.into_iter().flat_map(|(path, item)| {
        let methods: Vec<String> = item.as_object().expect("an item").keys().cloned().collect();
        methods.into_iter().map(move |method| {
            (Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method"), path.clone())
        })
    });
    operations.collect()
}

#[tokio::test]
async fn every_described_route_is_there_and_asks_for_a_key() {
    let api = Api::start().await;
    let operations = operations(&api).await;
    assert!(operations.len() >= 30, "{}", operations.len());

    for (method, path) in operations {
        let path = path.replace("{id}", "x").replace("{secret_id}", "x");
        let refused = api.request(method.clone(), &path).send().await.expect("an answer");
        assert_eq!(refused.status(), 401, "{method} {path}");
        let nobody = api.key_with(&["none"], None).await;
        let refused = api.call_as(&nobody, method.clone(), &path, None).await;
        let expected = if path == "/v1/event-types" { 200 } else { 403 };
        assert_eq!(refused.status, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn another_workspaces_things_are_not_there() {
    let api = Api::start().await;
    let (_, stranger) = api.other_workspace().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let delivery = failed_delivery(&api, &endpoint, &click).await;
    let replay = json!({"endpoint_id": endpoint, "delivery_ids": [delivery]});
    let replay = api.post("/v1/replays", replay).await;
    let secrets = api.get(&format!("/v1/webhook-endpoints/{endpoint}/secrets")).await;
    let domains = api.get("/v1/domains").await;
    let keys = api.get("/v1/api-keys").await;
    let id = |list: &Value| list["data"][0]["id"].as_str().expect("an id").to_owned();

    for (method, pattern) in operations(&api).await {
        let id = match pattern.split('/').nth(2).expect("a resource") {
            "links" => link.clone(),
            "webhook-endpoints" => endpoint.clone(),
            "deliveries" => delivery.to_string(),
            "replays" => replay.body["id"].as_str().expect("an id").to_owned(),
            "clicks" => click.click.id.to_string(),
            "domains" => id(&domains.body),
            "api-keys" => id(&keys.body),
            _ => continue,
        };
        // whoever has another external id makes a link: link_upsert.rs
        if pattern.contains("by-external-id") {
            continue;
        }
        // goes on for ever: live.rs
        if pattern == "/v1/clicks/live" {
            continue;
        }
        if !pattern.contains("{id}") {
            let listed = api.call_as(&stranger, Method::GET, &pattern, None).await;
            assert!(!listed.body.to_string().contains(&id), "{pattern} shows {id}");
            continue;
        }
        let secret_id = secrets.body["data"][0]["id"].as_str().expect("an id");
        let path = pattern.replace("{id}", &id).replace("{secret_id}", secret_id);
        let body = if path.ends_with("/verdict") { json!({"verdict": "human"}) } else { json!({}) };
        let answer = api.call_as(&stranger, method.clone(), &path, Some(body)).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
        assert_eq!(answer.body["code"], "not_found");
    }
}

#[tokio::test]
async fn a_wrong_address_and_a_wrong_method_are_told() {
    let api = Api::start().await;

    let nowhere = api.get("/v1/nothing").await;
    assert_eq!((nowhere.status, nowhere.body["code"].as_str()), (404, Some("no_such_route")));
    let wrong = api.request(Method::PUT, "/v1/links").send().await.expect("an answer");
    assert_eq!(wrong.status(), 405);
    assert_eq!(wrong.headers()["allow"], "GET, POST");
}

#[tokio::test]
async fn the_description_is_readable_without_the_internet() {
    let api = Api::start().await;

    let response = api.request(Method::GET, "/docs").send().await.expect("an answer");

    assert_eq!(response.status(), 200);
    assert!(
        response.headers()["content-security-policy"].to_str().expect("text").contains("default-src 'none'")
    );
    let page = response.text().await.expect("a page");
    for expected in ["/v1/webhook-endpoints", "slug_taken", "campaign_id", "links:write"] {
        assert!(page.contains(expected), "{expected}");
    }
}
