//! The shape of an endpoint's bodies, over the API and in the console.

use serde_json::{Value, json};

use crate::console::Browser;
use crate::console_hooks::{accepted, delivery};
use crate::harness::{Api, recorded_click};

/// What an endpoint has that nobody chose another shape for.
fn usual() -> Value {
    json!({ "profile": "full", "fields": null, "format": "standard_webhooks", "version": "2026-11-01" })
}

#[tokio::test]
async fn a_shape_is_chosen_part_by_part_and_the_version_stays() {
    let api = Api::start().await;
    let given = json!({
        "url": "http://127.0.0.1:9/hook",
        "payload": { "format": "cloudevents", "fields": { "exclude": ["contact_id", "location"] } },
    });

    let made = api.post("/v1/webhook-endpoints", given).await;

    assert_eq!(made.status, 201, "{}", made.body);
    let fields = json!({ "exclude": ["contact_id", "location"] });
    let kept =
        json!({ "profile": "full", "fields": fields, "format": "cloudevents", "version": "2026-11-01" });
    assert_eq!(made.body["payload"], kept);
    let path = format!("/v1/webhook-endpoints/{}", made.body["id"].as_str().expect("an id"));
    let change = async |change: Value| {
        let changed = api.patch(&path, change).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        changed.body["payload"].clone()
    };
    assert_eq!(change(json!({ "description": "CRM" })).await, kept);
    let thin =
        json!({ "profile": "thin", "fields": fields, "format": "cloudevents", "version": "2026-11-01" });
    assert_eq!(change(json!({ "payload": { "profile": "thin" } })).await, thin);
    assert_eq!(change(json!({ "payload": { "fields": null } })).await["fields"], Value::Null);
    assert_eq!(change(json!({ "payload": { "version": "2026-11-01" } })).await["profile"], "thin");
    assert_eq!(change(json!({ "payload": null })).await, usual());
    assert_eq!(api.get(&path).await.body["payload"], usual());
    let audit = api.get("/v1/audit").await;
    assert_eq!(audit.body["data"][0]["action"], "endpoint.updated");
}

#[tokio::test]
async fn what_a_shape_cannot_be_is_refused_with_the_pointer_to_it() {
    let api = Api::start().await;
    let path = format!("/v1/webhook-endpoints/{}", api.endpoint().await);

    for (payload, pointer, rule) in [
        (json!("thin"), "/payload", "an object"),
        (json!({ "mask": [] }), "/payload/mask", "`profile`"),
        (json!({ "profile": "small" }), "/payload/profile", "`standard`"),
        (json!({ "format": "xml" }), "/payload/format", "`cloudevents`"),
        (json!({ "version": "2020-01-01" }), "/payload/version", "`2026-11-01`"),
        (json!({ "fields": { "only": ["ip"] } }), "/payload/fields/only", "`include`"),
        (json!({ "fields": { "exclude": ["ip", "link.name"] } }), "/payload/fields/exclude/1", "`link.slug`"),
    ] {
        let url = "http://127.0.0.1:9/hook";
        let made = api.post("/v1/webhook-endpoints", json!({ "url": url, "payload": payload })).await;
        let changed = api.patch(&path, json!({ "payload": payload })).await;
        for refused in [made, changed] {
            assert_eq!(refused.status, 422, "{}", refused.body);
            let error = &refused.body["errors"][0];
            assert_eq!(error["pointer"], pointer, "{error}");
            assert!(error["detail"].as_str().is_some_and(|detail| detail.contains(rule)), "{error}");
        }
    }
    assert_eq!(api.get(&path).await.body["payload"], usual());
}

#[tokio::test]
async fn the_alert_url_has_no_shape_but_its_format() {
    let api = Api::start().await;
    let named = api.patch("/v1/settings", json!({"alert": {"url": "http://127.0.0.1:9/alerts"}})).await;
    let id = named.body["alert"]["endpoint_id"].as_str().expect("an id").to_owned();

    let path = format!("/v1/webhook-endpoints/{id}");
    let refused = api.patch(&path, json!({ "payload": { "format": "slack" } })).await;

    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/payload")));
}

#[tokio::test]
async fn what_was_sent_is_shown_in_the_shape_of_its_endpoint_and_copied_as_what_it_is() {
    let api = Api::start_with(|settings| {
        settings.api.public_url = "https://clicks.example.com".to_owned();
    })
    .await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let payload = json!({ "payload": { "format": "cloudevents", "profile": "thin" } });
    api.patch(&format!("/v1/webhook-endpoints/{endpoint}"), payload).await;
    let id = delivery(&api, &endpoint, &click, accepted(&click, 100, "")).await;
    let mut browser = Browser::signed_in(&api).await;

    let (_, page) = browser.open(&format!("/deliveries/{id}")).await;

    assert!(page.contains("specversion") && !page.contains("user_agent"), "{page}");
    assert!(page.contains(&format!("https://clicks.example.com/v1/clicks/{}", click.click.id)), "{page}");
    assert!(page.contains("application/cloudevents+json; charset=UTF-8"), "{page}");
}

#[tokio::test]
async fn a_shape_is_chosen_by_form_and_a_sample_of_it_shown_before_it_is_saved() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let edit = format!("/settings/webhooks/{endpoint}/edit");
    let route = format!("/v1/webhook-endpoints/{endpoint}");
    let mut browser = Browser::signed_in(&api).await;
    let (_, form) = browser.open(&edit).await;
    assert!(
        form.contains("value=\"standard_webhooks\" selected") && form.contains("browser_version"),
        "{form}"
    );
    let token = browser.token(&edit).await;
    let chosen = [
        ("csrf", token.as_str()),
        ("url", "http://127.0.0.1:9/hook"),
        ("event_types", "link.clicked"),
        ("audience", "everything"),
        ("payload_format", "request"),
        ("payload_profile", "standard"),
        ("payload_mask", "exclude"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&chosen[..], more].concat();

    let (status, page) =
        browser.submit(&edit, &with(&[("payload_fields", "link"), ("try", "payload")])).await;
    assert_eq!(status, 200);
    assert!(page.contains("id=\"sample\"") && page.contains("evt_"), "{page}");
    for left_out in ["timestamp", "tracked_url", "browser_version"] {
        assert!(!page.contains(left_out), "{left_out}: {page}");
    }
    assert_eq!(api.get(&route).await.body["payload"], usual(), "nothing is saved yet");

    let wrong = with(&[("payload_fields", "link\nlocation.town"), ("try", "payload")]);
    let (status, page) = browser.submit(&edit, &wrong).await;
    assert_eq!(status, 422);
    assert!(page.contains("id=\"payload-wrong\"") && page.contains("location.town"), "{page}");

    let saved = with(&[("payload_fields", "link\r\ndevice.model, ip"), ("revision", "1")]);
    let (status, _) = browser.submit(&edit, &saved).await;
    assert_eq!(status, 303);
    let fields = json!({ "exclude": ["link", "device.model", "ip"] });
    let kept =
        json!({ "profile": "standard", "fields": fields, "format": "request", "version": "2026-11-01" });
    assert_eq!(api.get(&route).await.body["payload"], kept);
    let (_, page) = browser.open(&format!("/settings/webhooks/{endpoint}")).await;
    assert!(page.contains("all but link, device.model, ip. Version 2026-11-01"), "{page}");
    let (_, form) = browser.open(&edit).await;
    assert!(form.contains("value=\"exclude\" selected") && form.contains("device.model\nip"), "{form}");
}
