//! The order of an endpoint over the API and in the console: how it is set, what holds it up, and how that is ended.

use chrono::{TimeDelta, Utc};
use model::delivery::DeliveryStatus;
use model::{DeliveryId, EnrichedClick};
use serde_json::{Value, json};
use store::checkpoints;
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::sequences::Line;

use crate::console::Browser;
use crate::harness::{Api, recorded_click_at};

/// A delivery in line that stands so, as `deliver` stores it.
async fn in_line(api: &Api, endpoint: &str, click: &EnrichedClick, progress: Progress) -> DeliveryId {
    let (at, link_id) = (click.click.clicked_at, click.click.link.id);
    let new = NewDelivery {
        id: DeliveryId::generate_at(click.event_id.timestamp()),
        workspace_id: api.workspace_id,
        owed: Owed { endpoint_id: endpoint.parse().expect("an id"), event_id: click.event_id },
        event_type: "link.clicked",
        click_id: Some(click.click.id),
        told_revision: 0,
        progress,
        leased_until: None,
        line: Some(Line { at, link_id: Some(link_id) }),
    };
    let mut conn = api.pool.get().await.expect("the database runs");
    let (id, us) = (new.id, new.id.uuid());
    deliveries::insert(&mut conn, &[new], &[], us, Utc::now()).await.expect("the delivery is stored");
    id
}

fn failing() -> Progress {
    let now = Utc::now();
    Progress {
        attempt_count: 3,
        attempted_at: Some(now),
        last_status: Some(500),
        last_error: Some("status"),
        ..Progress::due(now + TimeDelta::hours(1), Some(b"{}".to_vec()))
    }
}

fn waiting() -> Progress {
    Progress::due(Utc::now(), Some(b"{}".to_vec()))
}

async fn two_clicks(api: &Api, link: &str) -> (EnrichedClick, EnrichedClick) {
    let now = Utc::now();
    let first = recorded_click_at(api, link, now - TimeDelta::seconds(20)).await;
    (first, recorded_click_at(api, link, now - TimeDelta::seconds(10)).await)
}

async fn made(api: &Api, ordering: Value) -> String {
    let body = json!({"url": "http://127.0.0.1:9/hook", "ordering": ordering});
    let made = api.post("/v1/webhook-endpoints", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn an_order_is_set_by_its_name_or_in_full_and_taken_away() {
    let api = Api::start().await;
    let path = format!("/v1/webhook-endpoints/{}", made(&api, json!("strict")).await);
    let shown = async || api.get(&path).await.body["ordering"].clone();
    assert_eq!(shown().await, json!({"mode": "strict", "skip_after": null}));

    for (ordering, expected) in [
        (json!({"mode": "strict", "skip_after": 5}), json!({"mode": "strict", "skip_after": 5})),
        // what was shown is taken
        (json!({"mode": "per_link", "skip_after": null}), json!({"mode": "per_link", "skip_after": null})),
        (Value::Null, json!({"mode": "none", "skip_after": null})),
    ] {
        let changed = api.patch(&path, json!({"ordering": ordering})).await;
        assert_eq!((changed.status, &changed.body["ordering"]), (200, &expected), "{}", changed.body);
        assert_eq!(shown().await, expected);
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_order_is_named_where_it_stands() {
    let api = Api::start().await;
    let url = "http://127.0.0.1:9/hook";
    for (body, pointer) in [
        (json!({"ordering": {"mode": "fifo"}}), "/ordering/mode"),
        (json!({"ordering": {"mode": "strict", "skip_after": 101}}), "/ordering/skip_after"),
        (json!({"ordering": {"mode": "per_link", "skip_after": 5}}), "/ordering/skip_after"),
        (json!({"ordering": "strict", "settle_ms": 1000}), "/ordering"),
    ] {
        let mut body = body;
        body["url"] = json!(url);
        let refused = api.post("/v1/webhook-endpoints", body).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
    let path = format!("/v1/webhook-endpoints/{}", made(&api, json!("per_link")).await);
    assert_eq!(api.patch(&path, json!({"settle_ms": 1000})).await.status, 422, "one after the other, too");
}

#[tokio::test]
async fn what_holds_an_endpoint_up_is_shown_and_given_up_and_then_the_next_one_is_first() {
    let api = Api::start().await;
    let endpoint = made(&api, json!("per_link")).await;
    let link = api.link().await;
    let (first, second) = two_clicks(&api, &link).await;
    let blocking = in_line(&api, &endpoint, &first, failing()).await;
    let behind = in_line(&api, &endpoint, &second, waiting()).await;

    let path = format!("/v1/webhook-endpoints/{endpoint}");
    let shown = api.get(&path).await.body;
    let held = &shown["held_up_by"][0];
    assert_eq!(held["delivery_id"], json!(blocking.to_string()), "{shown}");
    assert_eq!((&held["sequence"], &held["attempt_count"]), (&json!(1), &json!(3)));
    assert_eq!(held["link_id"], json!(first.click.link.id.to_string()));
    assert_eq!(shown["held_up_by"].as_array().map(Vec::len), Some(1));
    assert_eq!(api.get("/v1/webhook-endpoints").await.body["data"][0]["held_up_by"], shown["held_up_by"]);
    assert_eq!(api.get(&format!("/v1/deliveries/{behind}")).await.body["sequence"], 2);

    let mut browser = Browser::signed_in(&api).await;
    let (_, page) = browser.open(&format!("/settings/webhooks/{endpoint}")).await;
    assert!(page.contains("What holds it up") && page.contains(&format!("/deliveries/{blocking}")), "{page}");
    let (_, why) = browser.open(&format!("/links/{link}")).await;
    assert!(why.contains("data-code=\"held_up\"") && why.contains("data-code=\"in_order\""), "{why}");

    let give_up = format!("/v1/deliveries/{blocking}/give-up");
    let ended = api.post(&give_up, json!({})).await;
    assert_eq!((ended.status, &ended.body["status"]), (200, &json!("dead")), "{}", ended.body);
    assert_eq!(api.post(&give_up, json!({})).await.status, 200, "it stays as it is");
    let audit = api.get("/v1/audit?action=delivery.given_up").await.body;
    assert_eq!(audit["data"].as_array().map(Vec::len), Some(1), "{audit}");
    assert_eq!(api.get(&path).await.body["held_up_by"], json!([]));
}

#[tokio::test]
async fn a_delivery_that_waits_is_given_up_by_form_and_one_that_was_accepted_is_not() {
    let api = Api::start().await;
    let (endpoint, link) = (made(&api, json!("strict")).await, api.link().await);
    let (first, second) = two_clicks(&api, &link).await;
    let blocking = in_line(&api, &endpoint, &first, failing()).await;
    let now = Utc::now();
    let accepted = Progress {
        status: DeliveryStatus::Delivered,
        attempt_count: 1,
        next_attempt_at: None,
        attempted_at: Some(now),
        finished_at: Some(now),
        last_status: Some(200),
        ..Progress::due(now, None)
    };
    let accepted = in_line(&api, &endpoint, &second, accepted).await;
    let mut browser = Browser::signed_in(&api).await;
    let path = format!("/deliveries/{blocking}");

    let page = browser.fill(&path, &format!("{path}/give-up"), &[]).await;

    assert!(page.contains("Given up"), "{page}");
    assert!(!page.contains("Give it up"), "{page}");
    let refused = api.post(&format!("/v1/deliveries/{accepted}/give-up"), json!({})).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("delivery_delivered")));
}

#[tokio::test]
async fn an_order_is_chosen_in_the_form() {
    let api = Api::start().await;
    let endpoint = made(&api, json!("none")).await;
    let mut browser = Browser::signed_in(&api).await;
    let form = format!("/settings/webhooks/{endpoint}/edit");
    let said = |skip_after| {
        [
            ("url", "http://127.0.0.1:9/hook"),
            ("event_types", "link.clicked"),
            ("audience", "everything"),
            ("ordering", "strict"),
            ("skip_after", skip_after),
        ]
    };

    let page = browser.fill(&form, &form, &said("5")).await;

    assert!(page.contains("what fails 5 times is passed over"), "{page}");
    let (_, again) = browser.open(&form).await;
    assert!(again.contains("<option value=\"strict\" selected>"), "{again}");
    let token = browser.token(&form).await;
    let wrong: Vec<_> = said("0").into_iter().chain([("csrf", token.as_str())]).collect();
    let (status, page) = browser.submit(&form, &wrong).await;
    assert_eq!(status, 422);
    assert!(page.contains("ordering-wrong"), "{page}");
}

#[tokio::test]
async fn checkpoints_are_listed_page_by_page_from_where_one_left_off() {
    let api = Api::start().await;
    let body = json!({"url": "http://127.0.0.1:9/hook", "checkpoint_minutes": 5});
    let made = api.post("/v1/webhook-endpoints", body).await;
    assert_eq!((made.status, &made.body["checkpoint_minutes"]), (201, &json!(5)), "{}", made.body);
    let endpoint = made.body["id"].as_str().expect("an id").to_owned();
    let (endpoint_id, link) = (endpoint.parse().expect("an id"), api.link().await);
    let (first, second) = two_clicks(&api, &link).await;
    for (after, click) in [(0, &first), (1, &second)] {
        in_line(&api, &endpoint, click, waiting()).await;
        let mut conn = api.pool.get().await.expect("a connection");
        let due = checkpoints::Due { endpoint_id, workspace_id: api.workspace_id, after };
        let closed = checkpoints::close(&mut conn, &due, Utc::now()).await.expect("a query");
        assert!(closed.is_some());
    }

    let path = format!("/v1/webhook-endpoints/{endpoint}/checkpoints");
    let page = api.get(&format!("{path}?limit=1")).await.body;
    let shown = &page["data"][0];
    assert_eq!((&shown["first_sequence"], &shown["count"]), (&json!(1), &json!(1)), "{page}");
    assert_eq!(shown["sha256"].as_str().map(str::len), Some(64), "{page}");
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    let next = api.get(&format!("{path}?cursor={cursor}")).await.body;
    assert_eq!((&next["data"][0]["first_sequence"], &next["next_cursor"]), (&json!(2), &Value::Null));
    assert_eq!(api.get(&format!("{path}?after=1")).await.body["data"], next["data"]);
    assert_eq!(api.get(&format!("{path}?after=x")).await.status, 422);
    let nobodys = "/v1/webhook-endpoints/whe_01jd8m3x5v9k2n4p6q8r0s1t3w/checkpoints";
    assert_eq!(api.get(nobodys).await.status, 404);

    let mut browser = Browser::signed_in(&api).await;
    let (_, shown_there) = browser.open(&format!("/settings/webhooks/{endpoint}")).await;
    let of = |checkpoint: &Value| shown_there.find(checkpoint["sha256"].as_str().expect("a digest"));
    assert!(
        of(&next["data"][0]).is_some() && of(&next["data"][0]) < of(shown),
        "newest first: {shown_there}"
    );
    let (_, form) = browser.open("/settings/webhooks/new").await;
    assert!(form.contains("name=\"event_types\" value=\"endpoint.checkpoint\""), "{form}");
    let looker = api.key_with(&["endpoints:read"], None).await;
    let mut looker = Browser::signed_in_with(&api, &looker).await;
    let (_, page) = looker.open(&format!("/settings/webhooks/{endpoint}")).await;
    assert!(!page.contains("id=\"checkpoints\""), "{page}");

    let change = json!({"settle_ms": 1000});
    let refused = api.patch(&format!("/v1/webhook-endpoints/{endpoint}"), change).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/checkpoint_minutes")));
}
