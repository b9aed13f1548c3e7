//! What is recorded of a link's clicks: by the workspace, its channel, its campaign, or the link itself, and who says so.

use reqwest::Method;
use serde_json::{Value, json};

use crate::console::Browser;
use crate::harness::Api;

async fn decide(api: &Api, change: Value) -> Value {
    let changed = api.patch("/v1/settings/links", change).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    changed.body
}

/// A link with these fields.
async fn link(api: &Api, more: Value) -> String {
    let mut link = json!({"url": "https://example.com/"});
    link.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let made = api.post("/v1/links", link).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["id"].as_str().expect("an id").to_owned()
}

async fn recording(api: &Api, id: &str) -> [Value; 2] {
    let link = api.get(&format!("/v1/links/{id}")).await.body;
    [link["recording"].clone(), link["recording_decided_by"].clone()]
}

#[tokio::test]
async fn the_nearest_of_link_campaign_and_channel_decides_and_a_link_tells_who() {
    let api = Api::start().await;
    let usual = link(&api, json!({})).await;
    let by_channel = link(&api, json!({"channel": "sms"})).await;
    let by_campaign = link(&api, json!({"channel": "sms", "campaign_id": "spring"})).await;
    let by_link = link(&api, json!({"channel": "sms", "campaign_id": "spring", "tracking": "full"})).await;
    assert_eq!(recording(&api, &by_channel).await, ["full", "workspace"]);

    decide(&api, json!({"channel_tracking": {"sms": "off"}, "campaign_tracking": {"spring": "anonymous"}}))
        .await;

    assert_eq!(recording(&api, &usual).await, ["full", "workspace"]);
    assert_eq!(recording(&api, &by_channel).await, ["off", "channel"]);
    assert_eq!(recording(&api, &by_campaign).await, ["anonymous", "campaign"]);
    assert_eq!(recording(&api, &by_link).await, ["full", "link"]);
    let listed = api.get("/v1/links?campaign_id=spring").await.body;
    assert_eq!(listed["data"][0]["recording_decided_by"], "link", "as in the list");

    decide(&api, json!({"anonymous": true})).await;
    assert_eq!(recording(&api, &by_link).await, ["anonymous", "workspace"]);
    decide(&api, json!({"tracking": false})).await;
    assert_eq!(recording(&api, &by_link).await, ["off", "workspace"]);
}

#[tokio::test]
async fn what_a_change_does_not_name_stays_and_null_takes_one_out() {
    let api = Api::start().await;
    decide(&api, json!({"campaign_tracking": {"spring": "off", "autumn": "full"}})).await;

    let saved = decide(&api, json!({"campaign_tracking": {"spring": null, "winter": "anonymous"}})).await;

    assert_eq!(saved["campaign_tracking"], json!({"autumn": "full", "winter": "anonymous"}));
    assert_eq!(saved["channel_tracking"], json!({}));
    for (wrong, pointer) in [
        (json!({"campaign_tracking": {"spring": "inherit"}}), "/campaign_tracking/spring"),
        (json!({"campaign_tracking": {"": "off"}}), "/campaign_tracking/"),
        (json!({"channel_tracking": {"x".repeat(129): "off"}}), "/channel_tracking/"),
        (json!({"channel_tracking": null}), "/channel_tracking"),
    ] {
        let refused = api.patch("/v1/settings/links", wrong).await;
        let told = refused.body["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned();
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert!(told.starts_with(pointer), "{told}");
    }
    let entry = api.call(Method::GET, "/v1/audit?action=settings.updated&limit=1", None).await.body;
    let details = &entry["data"][0]["details"];
    assert_eq!(
        details["campaign_tracking"],
        json!({"spring": null, "winter": "anonymous"}),
        "what was said: {entry}"
    );
}

#[tokio::test]
async fn a_campaign_is_switched_off_by_form_and_its_links_say_why_they_are_not_tracked() {
    let api = Api::start().await;
    let id = link(&api, json!({"campaign_id": "spring <b>"})).await;
    let (path, settings) = (format!("/links/{id}"), "/settings/links");
    let mut browser = Browser::signed_in(&api).await;
    let (_, page) = browser.open(&path).await;
    assert!(page.contains("Tracked, because the link settings say so of all links"), "{page}");

    let said = [("group", "campaign"), ("name", "spring <b>"), ("choice", "off")];
    let page = browser.fill(settings, "/settings/tracking", &said).await;

    assert!(
        page.contains("Not recorded")
            && page.contains("Remove Campaign spring")
            && !page.contains("spring <b>"),
        "{page}"
    );
    let (_, page) = browser.open(&path).await;
    assert!(
        page.contains("Not tracked, because the link settings say so of its campaign “spring "),
        "{page}"
    );
    assert!(page.contains("Clicks on this link are not recorded"), "{page}");
    assert!(browser.open("/links").await.1.contains("Not tracked"));

    let token = browser.token(settings).await;
    let nameless = [("csrf", token.as_str()), ("group", "channel"), ("name", " "), ("choice", "off")];
    let (status, page) = browser.submit("/settings/tracking", &nameless).await;
    assert_eq!(status, 422, "{page}");
    assert!(
        page.contains("id=\"tracking-name-wrong\"") && page.contains("<option value=\"channel\" selected>"),
        "{page}"
    );

    let unsaid = [("group", "campaign"), ("name", "spring <b>")];
    browser.fill(settings, "/settings/tracking/remove", &unsaid).await;
    assert_eq!(recording(&api, &id).await, ["full", "workspace"]);
}
