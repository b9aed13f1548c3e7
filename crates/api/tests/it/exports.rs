//! Deliveries as a file: all of them, for their workspace, and not too many at once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::console::Browser;
use crate::harness::{Api, failed_delivery, recorded_click, rest_of};

async fn export(api: &Api, query: &str) -> Vec<Value> {
    let path = format!("/v1/deliveries/export?{query}");
    let answer = api.request(Method::GET, &path).bearer_auth(&api.key).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await.expect("it is whole");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[tokio::test]
async fn an_export_has_every_delivery_of_its_filter_once_and_those_of_no_other_workspace() {
    let api = Api::start().await;
    let (link, endpoint, other) = (api.link().await, api.endpoint().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let mut expected = Vec::new();
    // more than one page
    for _ in 0..501 {
        let click = webhook::payload::sample(api.workspace_id, chrono::Utc::now());
        expected.push(failed_delivery(&api, &endpoint, &click).await.to_string());
    }
    failed_delivery(&api, &other, &click).await;

    let lines = export(&api, &format!("status=dead&endpoint_id={endpoint}")).await;

    let mut exported: Vec<String> =
        lines.iter().map(|line| line["id"].as_str().expect("an id").to_owned()).collect();
    assert!(exported.is_sorted_by(|a, b| a > b), "newest first");
    exported.sort();
    expected.sort();
    assert_eq!(exported, expected);
    assert_eq!(lines[0]["status"], "dead");
    assert_eq!(export(&api, "status=pending").await, [] as [Value; 0]);
    assert_eq!(export(&api, "").await.len(), 502);
    let (_, stranger) = api.other_workspace().await;
    let path = format!("/v1/deliveries/export?endpoint_id={endpoint}");
    let nothing = api.request(Method::GET, &path).bearer_auth(stranger).send().await.expect("an answer");
    assert_eq!(nothing.text().await.expect("text"), "");
    assert_eq!(api.get("/v1/deliveries/export?limit=3").await.status, 422, "it has no pages");
}

#[tokio::test]
async fn a_workspace_runs_as_many_exports_as_it_may_and_who_does_not_read_is_cut_off() {
    let api = Api::start_with(|settings| {
        settings.api.exports_workspace_max = 1;
        settings.api.bulk_idle_timeout = std::time::Duration::from_secs(2);
    })
    .await;
    let endpoint = api.endpoint().await;
    // more than sockets and buffers hold
    for _ in 0..40 {
        api_fill(&api, &endpoint).await;
    }
    let begin = || api.request(Method::GET, "/v1/deliveries/export").bearer_auth(&api.key).send();
    let unread = begin().await.expect("an answer");

    let second = begin().await.expect("an answer");

    assert_eq!(second.status(), 503);
    testkit::until(crate::harness::LIMIT, || async {
        begin().await.ok().filter(|answer| answer.status() == 200).map(|_| ())
    })
    .await;
    assert!(unread.text().await.is_err(), "what was cut off is not taken for whole");
}

#[tokio::test]
async fn an_export_says_why_and_breaks_off_when_its_key_is_revoked() {
    let api =
        Api::start_with(|settings| settings.api.bulk_key_interval = std::time::Duration::from_millis(1))
            .await;
    let endpoint = api.endpoint().await;
    // more than sockets and buffers hold
    for _ in 0..40 {
        api_fill(&api, &endpoint).await;
    }
    let key = api.key_with(&["deliveries:read"], None).await;
    let request = api.request(Method::GET, "/v1/deliveries/export").bearer_auth(&key);
    let mut export = request.send().await.expect("an answer");
    let mut text = export.chunk().await.expect("a chunk").expect("deliveries").to_vec();

    api.revoke_scoped_key().await;

    let (rest, is_whole) = rest_of(export).await;
    text.extend_from_slice(&rest);
    assert!(!is_whole, "nobody takes it for whole");
    let text = String::from_utf8(text).expect("text");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let (last, deliveries) = lines.split_last().expect("lines");
    assert_eq!((&last["status"], &last["code"]), (&json!(401), &json!("unauthorized")));
    assert!(deliveries.len() < 40_000 && deliveries.iter().all(|line| line["endpoint_id"] == *endpoint));
}

/// A thousand deliveries at a time.
async fn api_fill(api: &Api, endpoint: &str) {
    use model::delivery::DeliveryStatus;
    use store::deliveries::{NewDelivery, Owed, Progress, insert};
    let now = chrono::Utc::now();
    let rows: Vec<NewDelivery> = (0..1000)
        .map(|_| NewDelivery {
            id: model::DeliveryId::generate_at(now),
            workspace_id: api.workspace_id,
            owed: Owed {
                endpoint_id: endpoint.parse().expect("an id"),
                event_id: model::EventId::generate(),
            },
            event_type: "link.clicked",
            click_id: None,
            told_revision: 0,
            progress: Progress { status: DeliveryStatus::Pending, ..Progress::due(now, None) },
            leased_until: None,
            line: None,
        })
        .collect();
    let mut conn = api.pool.get().await.expect("a connection");
    insert(&mut conn, &rows, &[], model::AuditId::generate().uuid(), now).await.expect("they are stored");
}

#[tokio::test]
async fn what_was_given_up_is_exported_and_replayed_from_the_page_of_its_webhook() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let path = format!("/settings/webhooks/{endpoint}");
    let mut browser = Browser::signed_in(&api).await;
    assert!(!browser.open(&path).await.1.contains("Replay all that were given up"));
    let click = recorded_click(&api, &link).await;
    let delivery = failed_delivery(&api, &endpoint, &click).await;

    let (_, page) = browser.open(&path).await;
    let (status, file) = browser.open(&format!("{path}/dead.ndjson")).await;

    assert_eq!((status, file.lines().count()), (200, 1));
    assert!(file.contains(&delivery.to_string()), "{file}");
    assert!(page.contains("Replay all that were given up"), "{page}");
    let (_, rest) = page.split_once("name=\"since\" value=\"").expect("prefilled");
    let since = rest.split_once('"').expect("a value").0.to_owned();
    let token = browser.token(&path).await;
    let fields = [("csrf", token.as_str()), ("what", "dead"), ("since", since.as_str())];
    let (_, counted) = browser.submit(&format!("{path}/replays/count"), &fields).await;
    assert!(counted.contains("There is 1 event whose delivery was given up."), "{counted}");
}
