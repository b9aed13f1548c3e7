//! Names of endpoints when they are saved: looked up with the name servers of `deliver.dns_servers`, as `deliver` does.

use chrono::Utc;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use store::domains;
use testkit::{NameAnswer, NameServer, given, until};

use crate::harness::{Answer, Api, LIMIT};

async fn start() -> (Api, NameServer) {
    let names = NameServer::start(|name, _| match name {
        "crm.example" => NameAnswer::addresses(&["127.0.0.2"]),
        "inside.example" => NameAnswer::addresses(&["127.0.0.2", "10.0.0.1"]),
        _ => NameAnswer::Unknown,
    })
    .await;
    let addr = names.addr();
    (Api::start_with(|settings| settings.deliver.dns_servers = vec![addr]).await, names)
}

fn hook(name: &str) -> Value {
    json!({"url": format!("http://{name}:9/hook")})
}

/// Whether a warning says that the name is unknown.
fn is_unknown(saved: &Value) -> bool {
    let warnings = saved["warnings"].as_array().expect("warnings");
    warnings.iter().any(|warning| warning.as_str().is_some_and(|text| text.contains("could not be resolved")))
}

fn assert_forbidden(refused: &Answer, pointer: &str) {
    assert_eq!(refused.status, 422, "{}", refused.body);
    let error = &refused.body["errors"][0];
    assert_eq!(
        (&error["pointer"], &error["code"]),
        (&json!(pointer), &json!("forbidden_address")),
        "{error}"
    );
}

#[tokio::test]
async fn a_name_that_only_the_name_server_of_the_settings_knows_is_judged_by_its_answer() {
    let (api, names) = start().await;

    let known = api.post("/v1/webhook-endpoints", hook("crm.example")).await;
    let inside = api.post("/v1/webhook-endpoints", hook("inside.example")).await;
    let unknown = api.post("/v1/webhook-endpoints", hook("unknown.example")).await;

    assert_eq!((known.status, is_unknown(&known.body)), (201, false), "{}", known.body);
    assert_forbidden(&inside, "/url");
    assert_eq!((unknown.status, is_unknown(&unknown.body)), (201, true), "{}", unknown.body);
    assert_eq!(names.asked("crm.example"), 1);
    let path = format!("/v1/webhook-endpoints/{}", known.body["id"].as_str().expect("an id"));
    assert_forbidden(&api.patch(&path, hook("inside.example")).await, "/url");
}

#[tokio::test]
async fn the_alert_url_is_looked_up_there_too() {
    let (api, names) = start().await;

    let inside = api.patch("/v1/settings", json!({"alert": hook("inside.example")})).await;
    let known = api.patch("/v1/settings", json!({"alert": hook("crm.example")})).await;

    assert_eq!(inside.status, 422, "{}", inside.body);
    assert_eq!((known.status, is_unknown(&known.body["alert"])), (200, false), "{}", known.body);
    assert_eq!(names.asked("crm.example"), 1);
}

#[tokio::test]
async fn neither_webhooks_nor_what_they_need_lead_to_tracked_links() {
    let (api, _names) = start().await;
    let beside = api.post("/v1/webhook-endpoints", hook("crm.example")).await;
    assert_eq!(api.post("/v1/domains", json!({"host": "crm.example"})).await.status, 201);
    let path = format!("/v1/webhook-endpoints/{}", beside.body["id"].as_str().expect("an id"));
    // another port is another program
    assert_eq!(api.patch(&path, hook("crm.example")).await.status, 200);
    assert_eq!(api.post("/v1/webhook-endpoints", hook("localhost")).await.status, 201);
    // so is one on this machine, and a domain that is only claimed serves no links yet
    let mut conn = api.pool.get().await.expect("the database runs");
    given::domain(&mut conn, api.workspace_id, "127.0.0.1").await;
    let claimed = "claimed.example".parse().expect("a host");
    let claimed = domains::claim(&mut conn, api.workspace_id, &claimed, Utc::now()).await.expect("a row");
    assert!(claimed.is_some_and(|domain| !domain.is_verified()));
    for url in ["http://127.0.0.1/hook", "https://claimed.example/hook"] {
        let made = api.post("/v1/webhook-endpoints", json!({"url": url})).await;
        assert_eq!(made.status, 201, "{url} {}", made.body);
    }

    for url in ["http://localhost:8080/abc", "https://crm.example/abc", "http://crm.example:8080/abc"] {
        let token =
            json!({"type": "oauth2", "token_url": url, "client_id": "us", "client_secret": "hunter2"});
        let (url, auth) = (json!({"url": url}), json!({"url": "http://127.0.0.1:9/hook", "auth": token}));
        for (refused, pointer) in [
            (api.post("/v1/webhook-endpoints", url.clone()).await, "/url"),
            (api.patch(&path, url.clone()).await, "/url"),
            (api.post("/v1/webhook-endpoints", auth).await, "/auth/token_url"),
            (api.patch("/v1/settings", json!({"alert": url.clone()})).await, "/alert/url"),
        ] {
            let error = &refused.body["errors"][0];
            let told = (refused.status, &error["pointer"], &error["code"]);
            assert_eq!(told, (422, &json!(pointer), &json!("loop")), "{url} {}", refused.body);
        }
    }
}

#[tokio::test]
async fn a_url_that_was_saved_before_links_were_served_there_may_be_saved_again() {
    let (api, _names) = start().await;
    let url = "https://crm.example/hook";
    let auth = json!({"type": "oauth2", "token_url": url, "client_id": "us", "client_secret": "hunter2"});
    let (endpoint, alert) = (json!({"url": url, "auth": auth}), json!({"alert": {"url": url}}));
    let made = api.post("/v1/webhook-endpoints", endpoint.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let path = format!("/v1/webhook-endpoints/{}", made.body["id"].as_str().expect("an id"));
    assert_eq!(api.patch("/v1/settings", alert.clone()).await.status, 200);
    assert_eq!(api.post("/v1/domains", json!({"host": "crm.example"})).await.status, 201);

    for (path, body) in [(path.as_str(), endpoint), ("/v1/settings", alert)] {
        let again = api.patch(path, body).await;
        assert_eq!(again.status, 200, "{path} {}", again.body);
    }

    let moved = api.patch(&path, json!({"url": "https://crm.example/other"})).await;
    assert_eq!((moved.status, &moved.body["errors"][0]["code"]), (422, &json!("loop")), "{}", moved.body);
}

#[tokio::test]
async fn a_workspace_whose_names_are_never_answered_has_its_part_of_the_look_ups_and_no_more() {
    const OWN_MAX: usize = 32;
    const PATH: &str = "/v1/webhook-endpoints";
    let names = NameServer::start(|name, _| match name {
        "crm.example" => NameAnswer::addresses(&["127.0.0.2"]),
        _ => NameAnswer::Silence,
    })
    .await;
    let addr = names.addr();
    let api = Api::start_with(|settings| {
        settings.deliver.dns_servers = vec![addr];
        (settings.api.resolve_timeout, settings.api.request_timeout) = (LIMIT * 10, LIMIT * 10);
    })
    .await;
    let (_, other) = api.other_workspace().await;
    let known = api.post(PATH, hook("crm.example")).await;
    let send = |request: RequestBuilder, name: &str| {
        let request = request.bearer_auth(&api.key).header("content-type", "application/json");
        tokio::spawn(request.body(hook(name).to_string()).send())
    };
    let slow: Vec<_> = (0..OWN_MAX).map(|number| format!("{number}.slow.example")).collect();

    let asking: Vec<_> = slow.iter().map(|name| send(api.request(Method::POST, PATH), name)).collect();
    until(LIMIT, || async { slow.iter().all(|name| names.asked(name) > 0).then_some(()) }).await;
    let refused = api.post(PATH, hook("crm.example")).await;
    let theirs = api.call_as(&other, Method::POST, PATH, Some(hook("crm.example"))).await;
    let path = format!("{PATH}/{}", known.body["id"].as_str().expect("an id"));
    let changing = api.request(Method::PATCH, &path).header("if-match", "\"another\"");
    let stale = send(changing, "stale.example").await.expect("it does not panic").expect("an answer");

    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("unavailable")), "{}", refused.body);
    assert_eq!((theirs.status, is_unknown(&theirs.body)), (201, false), "{}", theirs.body);
    assert_eq!(stale.status(), 412, "nothing is looked up for what is refused anyway");
    assert!(asking.iter().all(|asking| !asking.is_finished()));
    for asking in asking {
        asking.abort();
    }
}
