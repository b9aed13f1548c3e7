//! The alert URL over the API and in the console.

use chrono::Utc;
use model::EndpointId;
use reqwest::Method;
use serde_json::{Value, json};
use store::{AsyncConnection as _, QueryError, endpoints};
use tokio::sync::oneshot;

use crate::console::Browser;
use crate::harness::{Api, answer, until_one_waits_for_another};

#[tokio::test]
async fn the_alert_url_is_named_changed_and_removed_and_stands_in_no_list_of_webhooks() {
    let api = Api::start().await;
    let unnamed = api.get("/v1/settings").await.body;
    assert_eq!(unnamed["alert"], Value::Null);

    let named = api.patch("/v1/settings", json!({"alert": {"url": "http://127.0.0.1:9/alerts"}})).await;

    assert_eq!(named.status, 200, "{}", named.body);
    let alert = &named.body["alert"];
    assert_eq!((&alert["format"], &alert["state"]), (&json!("webhook"), &json!("active")));
    assert!(alert["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{alert}");
    assert_eq!(alert["warnings"].as_array().map(Vec::len), Some(1), "http is worth knowing");
    let id = alert["endpoint_id"].as_str().expect("an id").to_owned();
    let shown = api.get("/v1/settings").await.body["alert"].clone();
    assert_eq!((&shown["endpoint_id"], shown.get("secret")), (&json!(id), None));
    assert_eq!(api.get("/v1/webhook-endpoints").await.body["data"], json!([]));

    let slack = json!({"alert": {"url": "http://127.0.0.1:9/slack", "format": "slack"}});
    let changed = api.patch("/v1/settings", slack).await.body["alert"].clone();
    assert_eq!((&changed["endpoint_id"], &changed["format"]), (&json!(id), &json!("slack")));
    assert_eq!(changed.get("secret"), None, "the secret stays");
    // nothing else is changed by a change of nothing
    assert_eq!(api.patch("/v1/settings", json!({})).await.body["alert"]["url"], "http://127.0.0.1:9/slack");

    assert_eq!(api.patch("/v1/settings", json!({"alert": null})).await.body, unnamed);
    assert_eq!(api.get("/v1/settings").await.body, unnamed);
    assert_eq!(api.get(&format!("/v1/webhook-endpoints/{id}")).await.status, 404);
}

#[tokio::test]
async fn the_settings_tell_what_the_retention_page_does_and_change_nothing_of_it() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;

    let kept = api.get("/v1/settings").await.body["retention"].clone();
    let (_, page) = browser.open("/settings/retention").await;

    let shown = [
        (&kept["deliveries_days"], 90, "90 days"),
        (&kept["attempts_days"], 30, "30 days"),
        (&kept["invitation_seconds"], 7 * 86_400, "7 days"),
    ];
    for (told, expected, words) in shown {
        assert_eq!(told, expected, "{kept}");
        assert!(page.contains(&format!("<td class=\"nowrap\">{words}</td>")), "{words}: {page}");
    }
    assert_eq!(kept["clicks_days"], Value::Null, "for ever");
    let refused = api.patch("/v1/settings", json!({"retention": {"deliveries_days": 7}})).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["code"]), (422, &json!("unknown_field")));
}

#[tokio::test]
async fn what_is_wrong_with_an_alert_url_is_told_by_field() {
    let api = Api::start().await;

    for (alert, pointer, code) in [
        (json!({"url": "http://10.0.0.1/"}), "/alert/url", "forbidden_address"),
        (json!({"url": "https://example.com/", "format": "teams"}), "/alert/format", "invalid"),
        (json!({"format": "slack"}), "/alert/url", "required"),
        (json!({"url": "https://example.com/", "channel": "#x"}), "/alert/channel", "unknown_field"),
    ] {
        let refused = api.patch("/v1/settings", json!({"alert": alert})).await;
        assert_eq!(refused.status, 422, "{alert}");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{}", refused.body);
        assert_eq!(refused.body["errors"][0]["code"], code, "{}", refused.body);
    }
}

#[tokio::test]
async fn an_alert_url_is_one_workspaces_and_takes_no_place_among_its_webhooks() {
    let api = Api::start().await;
    let named = api.patch("/v1/settings", json!({"alert": {"url": "http://127.0.0.1:9/alerts"}})).await;
    let id = named.body["alert"]["endpoint_id"].as_str().expect("an id").to_owned();

    // as many as the settings of these tests allow
    for _ in 0..5 {
        api.endpoint().await;
    }

    let (_, other) = api.other_workspace().await;
    assert_eq!(api.call_as(&other, Method::GET, "/v1/settings", None).await.body["alert"], Value::Null);
    assert_eq!(
        api.call_as(&other, Method::POST, &format!("/v1/webhook-endpoints/{id}/pause"), None).await.status,
        404
    );
    let reader = api.key_with(&["endpoints:read"], None).await;
    let body = json!({"alert": null});
    assert_eq!(api.call_as(&reader, Method::PATCH, "/v1/settings", Some(body)).await.status, 403);
    for (name, choice) in
        [("event_types", json!(["link.clicked"])), ("filter", json!({"verdicts": ["human"]}))]
    {
        let refused = api.patch(&format!("/v1/webhook-endpoints/{id}"), json!({ name: choice })).await;
        let pointer = json!(format!("/{name}"));
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &pointer), "{name}");
    }
}

#[tokio::test]
async fn an_alert_url_that_is_changed_as_an_endpoint_meanwhile_is_not_what_was_seen() {
    let api = Api::start().await;
    let named = api.patch("/v1/settings", json!({"alert": {"url": "http://127.0.0.1:9/alerts"}})).await.body;
    let id: EndpointId = named["alert"]["endpoint_id"].as_str().expect("an id").parse().expect("an id");
    let seen = api.get("/v1/settings").await.etag.expect("a tag");
    let mut conn = api.pool.get().await.expect("the database runs");
    let (begun, has_begun) = oneshot::channel();

    let other = conn.transaction::<_, QueryError, _>(async |conn| {
        endpoints::lock(conn, api.workspace_id, id).await?;
        let mut options = endpoints::find(conn, api.workspace_id, id).await?.expect("it is there").options;
        options.description = Some("Pager".to_owned());
        endpoints::update(conn, api.workspace_id, id, &options, Utc::now()).await?;
        begun.send(()).expect("somebody waits");
        until_one_waits_for_another(&api).await;
        Ok(())
    });
    let late = async {
        has_begun.await.expect("it begins");
        let body = json!({"alert": {"url": "http://127.0.0.1:9/other"}}).to_string();
        let request = api.request(Method::PATCH, "/v1/settings").bearer_auth(&api.key);
        let request = request.header("if-match", seen).header("content-type", "application/json").body(body);
        answer(request.send().await.expect("an answer")).await
    };
    let (other, late) = tokio::join!(other, late);

    other.expect("saved");
    assert_eq!(late.status, 412, "{}", late.body);
    let kept = api.get(&format!("/v1/webhook-endpoints/{id}")).await.body;
    assert_eq!((&kept["description"], &kept["url"]), (&json!("Pager"), &json!("http://127.0.0.1:9/alerts")));
}

#[tokio::test]
async fn the_console_names_an_alert_url_and_says_beside_the_field_what_is_wrong() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/settings/webhooks").await;
    let form = [("csrf", token.as_str()), ("url", "http://10.0.0.1/"), ("format", "slack")];
    let (status, page) = browser.submit("/settings/alerts", &form).await;
    assert_eq!(status, 422);
    assert!(page.contains("id=\"url-wrong\"") && page.contains("value=\"http://10.0.0.1/\""), "{page}");

    let form = [("url", "http://127.0.0.1:9/alerts?x=<b>"), ("format", "webhook")];
    let page = browser.fill("/settings/webhooks", "/settings/alerts", &form).await;

    assert!(page.contains("whsec_") && page.contains("The alert URL is saved"), "{page}");
    let (_, list) = browser.open("/settings/webhooks").await;
    assert!(list.contains("Send a test") && !list.contains("<b>"), "{list}");
    let page = browser.fill("/settings/webhooks", "/settings/alerts/remove", &[]).await;
    assert!(page.contains("Nobody is alerted any more") && !page.contains("Send a test"), "{page}");
}
