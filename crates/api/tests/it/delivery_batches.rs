//! Batches of deliveries, over the API and in the console.

use std::time::Duration;

use chrono::Utc;
use model::delivery::{Attempt, DeliveryStatus, ErrorClass};
use model::{BatchId, DeliveryId, EnrichedClick};
use serde_json::json;
use store::attempts::{NewAttempt, Trigger};
use store::batches::{self, FinishedBatch, NewBatch};
use store::deliveries::{self, NewDelivery, Owed, Progress};

use crate::console::Browser;
use crate::harness::{Api, recorded_click};

#[tokio::test]
async fn a_batch_tells_its_attempts_once_and_its_deliveries_are_listed() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let clicks = [recorded_click(&api, &link).await, recorded_click(&api, &link).await];
    let (id, members) = failed_batch(&api, &endpoint, &clicks).await;

    let shown = api.get(&format!("/v1/delivery-batches/{id}")).await;
    let told = (shown.status, &shown.body["status"], &shown.body["events"], &shown.body["attempt_count"]);
    assert_eq!(told, (200, &json!("pending"), &json!(2), &json!(1)));
    let attempts = shown.body["attempts"].as_array().expect("a list");
    assert_eq!((attempts.len(), &attempts[0]["response_body"]), (1, &json!("out of order")));

    let listed = api.get(&format!("/v1/deliveries?batch_id={id}")).await.body;
    let listed: Vec<_> = listed["data"].as_array().expect("a page").iter().map(|d| &d["batch_id"]).collect();
    assert_eq!(listed, [&json!(id), &json!(id)]);
    let delivery = api.get(&format!("/v1/deliveries/{}", members[0])).await.body;
    let told = (&delivery["attempt_count"], &delivery["attempts"], &delivery["last_status"]);
    assert_eq!(told, (&json!(1), &json!([]), &json!(500)));

    let mut browser = Browser::signed_in(&api).await;
    let (status, page) = browser.open(&format!("/deliveries/{}", members[0])).await;
    assert_eq!(status, 200);
    assert!(page.contains(&id.to_string()) && page.contains("2 events in one request"), "{page}");
    assert!(page.contains("out of order"), "the attempts of the batch are shown: {page}");
}

#[tokio::test]
async fn asking_for_one_delivery_of_an_open_batch_sends_the_whole_batch() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let clicks = [recorded_click(&api, &link).await, recorded_click(&api, &link).await];
    let (id, members) = failed_batch(&api, &endpoint, &clicks).await;

    let asked = api.post(&format!("/v1/deliveries/{}/retry", members[1]), json!({})).await;

    assert_eq!(asked.status, 202, "{}", asked.body);
    let (now, mut conn) = (Utc::now(), api.pool.get().await.expect("the database runs"));
    let wanted = [(endpoint.parse().expect("an id"), 10)];
    let until = now + Duration::from_secs(5);
    let leased = batches::lease_due(&mut conn, &wanted, id.uuid(), now, until).await.expect("a query");
    assert_eq!(leased.iter().map(|batch| (batch.id, batch.events)).collect::<Vec<_>>(), [(id, 2)]);
}

#[tokio::test]
async fn batches_are_switched_on_by_form_and_what_is_wrong_is_said_there() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let edit = format!("/settings/webhooks/{endpoint}/edit");
    let mut browser = Browser::signed_in(&api).await;
    let fields = |max_events: &'static str| {
        [
            ("url", "http://127.0.0.1:9/hook"),
            ("event_types", "link.clicked"),
            ("audience", "people"),
            ("batch", "on"),
            ("batch_max_events", max_events),
            ("batch_max_wait_ms", "250"),
        ]
    };

    let page = browser.fill(&edit, &edit, &fields("50")).await;
    assert!(page.contains("Up to 50 events"), "{page}");
    let saved = api.get(&format!("/v1/webhook-endpoints/{endpoint}")).await.body;
    assert_eq!(saved["batch"], json!({"max_events": 50, "max_wait_ms": 250, "max_bytes": 262_144}));

    let token = browser.token(&edit).await;
    let wrong = [&[("csrf", token.as_str())][..], &fields("1")].concat();
    let (status, page) = browser.submit(&edit, &wrong).await;
    assert_eq!(status, 422);
    assert!(page.contains("id=\"batch-wrong\""), "{page}");
}

/// A batch of the deliveries of these clicks that was refused once, and waits.
pub async fn failed_batch(
    api: &Api,
    endpoint_id: &str,
    clicks: &[EnrichedClick],
) -> (BatchId, Vec<DeliveryId>) {
    let (now, endpoint_id) = (Utc::now(), endpoint_id.parse().expect("an id"));
    let delivery = |click: &EnrichedClick| NewDelivery {
        line: None,
        id: DeliveryId::generate_at(click.event_id.timestamp()),
        workspace_id: api.workspace_id,
        owed: Owed { endpoint_id, event_id: click.event_id },
        event_type: "link.clicked",
        click_id: Some(click.click.id),
        told_revision: 0,
        progress: Progress::due(now, Some(b"{}".to_vec())),
        leased_until: None,
    };
    let new: Vec<NewDelivery> = clicks.iter().map(delivery).collect();
    let members: Vec<DeliveryId> = new.iter().map(|new| new.id).collect();
    let newest = members.iter().max().expect("a click");
    let id = BatchId::generate_at(newest.timestamp());
    let mut conn = api.pool.get().await.expect("the database runs");
    let (us, until) = (id.uuid(), now + Duration::from_secs(5));
    deliveries::insert(&mut conn, &new, &[], us, now).await.expect("deliveries");
    let batch = NewBatch {
        id,
        workspace_id: api.workspace_id,
        endpoint_id,
        is_replay: false,
        deliveries: members.clone(),
        body: b"{}".to_vec(),
    };
    batches::make(&mut conn, &batch, now).await.expect("a batch");
    let leased =
        batches::lease_due(&mut conn, &[(endpoint_id, 1)], us, now, until).await.expect("a query").remove(0);
    let attempt = Attempt {
        status: Some(500),
        error: Some(ErrorClass::Status),
        response_body: Some("out of order".to_owned()),
        ..Attempt::begun(now)
    };
    let progress = Progress {
        status: DeliveryStatus::Pending,
        attempt_count: 1,
        attempted_at: Some(now),
        last_status: Some(500),
        last_error: Some("status"),
        ..Progress::due(now + Duration::from_secs(3600), None)
    };
    let finished = FinishedBatch {
        id,
        first_day: leased.first_day,
        workspace_id: api.workspace_id,
        endpoint_id,
        progress,
    };
    let attempt = NewAttempt {
        delivery_id: DeliveryId::from_uuid(id.uuid()),
        workspace_id: api.workspace_id,
        number: 1,
        trigger: Trigger::Schedule,
        url: Some("http://127.0.0.1:9/hook".to_owned()),
        attempt,
    };
    let stored = batches::finish(&mut conn, &[finished], &[attempt], us, now).await.expect("a query");
    assert!(stored.contains(&id));
    (id, members)
}
