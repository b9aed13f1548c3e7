//! Replays over the API.

use chrono::{Duration, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, failed_delivery, recorded_click};

fn an_hour_ago() -> String {
    (Utc::now() - Duration::hours(1)).to_rfc3339()
}

fn errors(answer: &Answer) -> Vec<(&str, &str)> {
    let errors = answer.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    errors.iter().filter_map(|error| Some((error["pointer"].as_str()?, error["code"].as_str()?))).collect()
}

#[tokio::test]
async fn a_replay_is_counted_begun_shown_and_cancelled() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    for _ in 0..3 {
        let click = recorded_click(&api, &link).await;
        failed_delivery(&api, &endpoint, &click).await;
    }
    let wanted = json!({"endpoint_id": endpoint, "since": an_hour_ago()});
    let mut counted = wanted.clone();
    counted["dry_run"] = json!(true);

    let count = api.post("/v1/replays", counted).await;
    assert_eq!(count.status, 200, "{}", count.body);
    assert_eq!(count.body, json!({"dry_run": true, "matching": 3, "is_complete": true}));
    assert_eq!(api.get("/v1/replays").await.body["data"], json!([]), "counting begins nothing");

    let begun = api.post("/v1/replays", wanted.clone()).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    insta::assert_json_snapshot!(begun.body, {
        ".id" => "[id]", ".endpoint_id" => "[id]", ".created_by" => "[key]", ".created_at" => "[time]",
        ".updated_at" => "[time]", ".since" => "[time]", ".until" => "[time]",
    }, @r#"
    {
      "campaign_id": null,
      "created_at": "[time]",
      "created_by": "[key]",
      "delivery_ids": [],
      "done": 0,
      "endpoint_id": "[id]",
      "error": null,
      "event_type": null,
      "finished_at": null,
      "id": "[id]",
      "missing_only": false,
      "rate_per_second": 100,
      "since": "[time]",
      "state": "running",
      "status": "dead",
      "total": 3,
      "until": "[time]",
      "updated_at": "[time]"
    }
    "#);
    let twice = api.post("/v1/replays", wanted).await;
    assert_eq!((twice.status, twice.body["code"].as_str()), (409, Some("replay_running")));
    let path = format!("/v1/replays/{}", begun.body["id"].as_str().expect("an id"));
    assert_eq!(api.get(&path).await.body, begun.body);
    assert_eq!(api.get("/v1/audit").await.body["data"][0]["action"], "replay.started");

    let cancelled = api.post(&format!("{path}/cancel"), json!({})).await;
    assert_eq!((cancelled.status, cancelled.body["state"].as_str()), (200, Some("cancelled")));
    assert!(cancelled.body["finished_at"].is_string());
    assert_eq!(api.post(&format!("{path}/cancel"), json!({})).await.body, cancelled.body, "it stays ended");
    let list = api.get(&format!("/v1/replays?endpoint_id={endpoint}")).await;
    assert_eq!(list.body["data"], json!([cancelled.body]));
    let audit = api.get("/v1/audit").await;
    let cancellations =
        audit.body["data"].as_array().expect("a page").iter().filter(|e| e["action"] == "replay.cancelled");
    assert_eq!(cancellations.count(), 1);
}

#[tokio::test]
async fn clicks_that_an_endpoint_missed_are_counted_by_its_filter() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let path = format!("/v1/webhook-endpoints/{endpoint}");
    api.patch(&path, json!({"enabled": false})).await;
    let clicks = [
        recorded_click(&api, &link).await,
        recorded_click(&api, &link).await,
        recorded_click(&api, &link).await,
    ];
    let wanted = json!({
        "endpoint_id": endpoint, "since": an_hour_ago(), "missing_only": true, "dry_run": true
    });
    let refused = api.post("/v1/replays", wanted.clone()).await;
    assert_eq!((refused.status, refused.body["code"].as_str()), (409, Some("endpoint_disabled")));
    api.patch(&path, json!({"enabled": true})).await;

    let count = async |filter: Value| {
        api.patch(&path, json!({ "filter": filter })).await;
        api.post("/v1/replays", wanted.clone()).await.body["matching"].clone()
    };
    assert_eq!(count(Value::Null).await, 3);
    let verdict = clicks[0].automation.verdict.as_str();
    let other = if verdict == "human" { "automated" } else { "human" };
    assert_eq!(count(json!({"verdicts": [verdict]})).await, 3);
    assert_eq!(count(json!({"verdicts": [other]})).await, 0);

    failed_delivery(&api, &endpoint, &clicks[0]).await;
    assert_eq!(count(Value::Null).await, 2, "what has a delivery is not missing");
}

#[tokio::test]
async fn a_replay_is_about_one_campaigns_clicks() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let campaign = click.click.link.labels.campaign_id.clone().expect("a campaign");
    failed_delivery(&api, &endpoint, &click).await;
    let mut wanted =
        json!({"endpoint_id": endpoint, "since": an_hour_ago(), "campaign_id": "other", "dry_run": true});
    assert_eq!(api.post("/v1/replays", wanted.clone()).await.body["matching"], 0);

    wanted["campaign_id"] = json!(campaign);
    assert_eq!(api.post("/v1/replays", wanted.clone()).await.body["matching"], 1);

    wanted["dry_run"] = json!(false);
    let begun = api.post("/v1/replays", wanted.clone()).await.body;
    assert_eq!((&begun["campaign_id"], &begun["total"]), (&json!(campaign), &json!(1)), "{begun}");

    let other = api.endpoint().await;
    let path = format!("/v1/webhook-endpoints/{other}");
    api.patch(&path, json!({"enabled": false})).await;
    recorded_click(&api, &link).await;
    api.patch(&path, json!({"enabled": true})).await;
    let mut missed =
        json!({"endpoint_id": other, "since": an_hour_ago(), "missing_only": true, "dry_run": true});
    assert_eq!(api.post("/v1/replays", missed.clone()).await.body["matching"], 2);
    missed["campaign_id"] = json!("other");
    assert_eq!(api.post("/v1/replays", missed).await.body["matching"], 0);
}

#[tokio::test]
async fn a_click_that_is_on_its_way_is_not_missing() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    recorded_click(&api, &link).await;

    let wanted =
        json!({"endpoint_id": endpoint, "since": an_hour_ago(), "missing_only": true, "dry_run": true});
    assert_eq!(api.post("/v1/replays", wanted).await.body["matching"], 0);
}

#[tokio::test]
async fn a_replay_can_name_its_deliveries() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let click = recorded_click(&api, &link).await;
        ids.push(failed_delivery(&api, &endpoint, &click).await);
    }

    let wanted = json!({"endpoint_id": endpoint, "delivery_ids": ids[..2], "dry_run": true});
    let count = api.post("/v1/replays", wanted).await;

    assert_eq!((count.status, count.body["matching"].as_u64()), (200, Some(2)), "{}", count.body);
}

#[tokio::test]
async fn what_is_wrong_with_a_replay_is_named() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;

    let nothing = api.post("/v1/replays", json!({})).await;
    assert_eq!(errors(&nothing), [("/endpoint_id", "required")]);
    let all = api.post("/v1/replays", json!({"endpoint_id": endpoint})).await;
    assert_eq!(errors(&all), [("/since", "required")]);
    let contradiction = json!({
        "endpoint_id": endpoint, "since": an_hour_ago(), "missing_only": true, "status": "any",
        "rate_per_second": 1001, "delivery_ids": []
    });
    let contradiction = api.post("/v1/replays", contradiction).await;
    let mut found = errors(&contradiction);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("/delivery_ids", "invalid"),
            ("/delivery_ids", "invalid"),
            ("/rate_per_second", "invalid"),
            ("/status", "invalid"),
        ]
    );
    let empty = json!({"endpoint_id": endpoint, "since": an_hour_ago(), "until": "2020-01-01T00:00:00Z"});
    assert_eq!(errors(&api.post("/v1/replays", empty).await), [("/since", "invalid")]);
    let (_, stranger) = api.other_workspace().await;
    let foreign = json!({"endpoint_id": endpoint, "since": an_hour_ago()});
    let foreign = api.call_as(&stranger, Method::POST, "/v1/replays", Some(foreign)).await;
    assert_eq!((foreign.status, foreign.body["code"].as_str()), (404, Some("not_found")));
}
