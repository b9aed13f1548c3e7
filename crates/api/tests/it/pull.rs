//! Events that a receiver fetches: every one of them, as it is posted, and only to whom they are owed.

use bus::{Changed, Table};
use chrono::Utc;
use model::delivery::DeliveryStatus;
use model::{DeliveryId, EnrichedClick};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use store::AsyncConnection as _;
use store::deliveries::{self, NewDelivery, Owed, Progress};
use testkit::until;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::console_hooks::delivery;
use crate::harness::{Answer, Api, LIMIT, enriched_click, failed_delivery, recorded_click};

fn path(endpoint: &str) -> String {
    format!("/v1/webhook-endpoints/{endpoint}/events")
}

/// Fetches until there is so much at once: transactions of other tests hold back what entered after they began.
async fn fetched(api: &Api, endpoint: &str, count: usize) -> Value {
    until(LIMIT, || async {
        let page = api.get(&path(endpoint)).await;
        assert_eq!(page.status, 200, "{}", page.body);
        (ids(&page.body).len() >= count).then_some(page.body)
    })
    .await
}

fn ids(page: &Value) -> Vec<&str> {
    let events = page["data"].as_array().expect("a page").iter();
    events.map(|event| event["id"].as_str().expect("an id")).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value}"))
}

fn new_delivery(api: &Api, endpoint: &str, click: &EnrichedClick) -> NewDelivery {
    NewDelivery {
        line: None,
        id: DeliveryId::generate_at(click.click.clicked_at),
        workspace_id: api.workspace_id,
        owed: Owed { endpoint_id: endpoint.parse().expect("an id"), event_id: click.event_id },
        event_type: "link.clicked",
        click_id: Some(click.click.id),
        told_revision: 0,
        progress: Progress::offered(Some(webhook::payload::link_clicked(click))),
        leased_until: None,
    }
}

async fn insert(conn: &mut store::Connection, new: NewDelivery) -> store::QueryResult<()> {
    deliveries::insert(conn, &[new], &[], Uuid::nil(), Utc::now()).await.map(drop)
}

async fn store_one(api: &Api, new: NewDelivery) {
    let mut conn = api.pool.get().await.expect("the database runs");
    insert(&mut conn, new).await.expect("the delivery is stored");
}

#[tokio::test]
async fn events_are_fetched_in_their_order_with_the_ids_and_bodies_of_the_posts() {
    let api = Api::start().await;
    let (link, endpoint, other) = (api.link().await, api.endpoint().await, api.endpoint().await);
    let mut told = Vec::new();
    // one to be fetched, one that was accepted at first try, whose body is not kept, and one that was given up
    let kept = recorded_click(&api, &link).await;
    store_one(&api, new_delivery(&api, &endpoint, &kept)).await;
    told.push((kept.event_id.to_string(), webhook::payload::link_clicked(&kept)));
    let accepted = recorded_click(&api, &link).await;
    let status = DeliveryStatus::Delivered;
    let success = Progress { status, attempt_count: 1, ..Progress::offered(None) };
    delivery(&api, &endpoint, &accepted, success).await;
    told.push((accepted.event_id.to_string(), webhook::payload::link_clicked(&accepted)));
    let given_up = recorded_click(&api, &link).await;
    failed_delivery(&api, &endpoint, &given_up).await;
    told.push((given_up.event_id.to_string(), b"{}".to_vec()));
    store_one(&api, new_delivery(&api, &other, &recorded_click(&api, &link).await)).await;

    let all = fetched(&api, &endpoint, 3).await;

    for (event, (id, body)) in all["data"].as_array().expect("a page").iter().zip(&told) {
        assert_eq!((text(event, "id"), text(event, "type")), (id.as_str(), "link.clicked"));
        assert_eq!(event["body"], serde_json::from_slice::<Value>(body).expect("JSON"));
    }
    assert_eq!((ids(&all).len(), &all["has_more"], &all["skipped"]), (3, &json!(false), &json!(0)));
    assert_eq!(text(&all["data"][2], "cursor"), text(&all, "next_cursor"));

    let first = api.get(&format!("{}?limit=2", path(&endpoint))).await.body;
    assert_eq!((ids(&first), &first["has_more"]), (ids(&all)[..2].to_vec(), &json!(true)));
    let after = text(&first, "next_cursor");
    let rest = api.get(&format!("{}?after={after}", path(&endpoint))).await.body;
    assert_eq!((ids(&rest), &rest["has_more"]), (ids(&all)[2..].to_vec(), &json!(false)));
    let end = text(&rest, "next_cursor");
    let none = api.get(&format!("{}?after={end}", path(&endpoint))).await.body;
    assert_eq!(none, json!({"data": [], "next_cursor": end, "has_more": false, "skipped": 0}));

    // whoever asks for one again has it once more
    let again = text(&all["data"][0], "delivery_id");
    assert_eq!(api.post(&format!("/v1/deliveries/{again}/retry"), json!({})).await.status, 202);
    let again = until(LIMIT, || async {
        let page = api.get(&format!("{}?after={end}", path(&endpoint))).await.body;
        (!ids(&page).is_empty()).then_some(page)
    })
    .await;
    assert_eq!(ids(&again), ids(&all)[..1]);
}

#[tokio::test]
async fn what_is_committed_late_is_not_passed_over() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let link = model::LinkId::generate().to_string();
    let [early, late] = [(); 2].map(|()| enriched_click(api.workspace_id, &link));
    let (inserted, is_inserted) = oneshot::channel();
    let (commit, may_commit) = oneshot::channel::<()>();
    let first = new_delivery(&api, &endpoint, &late);
    let mut open = api.pool.get().await.expect("the database runs");

    let open = open.transaction::<_, store::QueryError, _>(async move |open| {
        insert(open, first).await?;
        let _ = inserted.send(());
        let _ = may_commit.await;
        Ok(())
    });
    let meanwhile = async {
        is_inserted.await.expect("it is inserted");
        // another transaction begins later and is committed first
        store_one(&api, new_delivery(&api, &endpoint, &early)).await;
        let page = api.get(&path(&endpoint)).await.body;
        assert_eq!((ids(&page).len(), &page["has_more"]), (0, &json!(false)), "{page}");
        commit.send(()).expect("it is still open");
    };
    let (committed, ()) = tokio::join!(open, meanwhile);
    committed.expect("it is committed");

    let page = fetched(&api, &endpoint, 2).await;
    assert_eq!(ids(&page), [late.event_id.to_string(), early.event_id.to_string()]);
}

#[tokio::test]
async fn only_who_may_see_deliveries_and_clicks_of_the_workspace_fetches() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let (_, stranger) = api.other_workspace().await;
    let status = async |key: &str, path: &str| api.call_as(key, Method::GET, path, None).await.status;

    assert_eq!(status(&stranger, &path(&endpoint)).await, 404);
    assert_eq!(status(&api.key, &path("whe_01jd8m3x5v9k2n4p6q8r0s1t3w")).await, 404);
    for (scopes, expected) in [
        (&["deliveries:read"][..], 403),
        (&["clicks:read"][..], 403),
        (&["deliveries:read", "clicks:read"][..], 200),
    ] {
        let key = api.key_with(scopes, None).await;
        assert_eq!(status(&key, &path(&endpoint)).await, expected, "{scopes:?}");
    }
    for (query, pointer) in
        [("after=x", "?after"), ("limit=101", "?limit"), ("wait=31", "?wait"), ("until=1", "?until")]
    {
        let refused = api.get(&format!("{}?{query}", path(&endpoint))).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
    let beyond = format!("{}?after=p1.{}.dlv_01jd8m3x5v9k2n4p6q8r0s1t3w", path(&endpoint), i64::MAX);
    let refused = api.get(&beyond).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("?after")));
}

#[tokio::test]
async fn an_endpoint_that_fetches_waits_for_no_evidence() {
    let api = Api::start().await;
    let made =
        api.post("/v1/webhook-endpoints", json!({"url": "http://127.0.0.1:9/x", "delivery": "pull"})).await;
    assert_eq!((made.status, &made.body["delivery"]), (201, &json!("pull")));
    let endpoint = format!("/v1/webhook-endpoints/{}", text(&made.body, "id"));

    for (change, pointer) in
        [(json!({"settle_ms": 1000}), "/settle_ms"), (json!({"delivery": "both"}), "/delivery")]
    {
        let refused = api.patch(&endpoint, change).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
    let settling = json!({"url": "http://127.0.0.1:9/x", "delivery": "pull", "settle_ms": 1000});
    assert_eq!(api.post("/v1/webhook-endpoints", settling).await.status, 422);
    let changed = api.patch(&endpoint, json!({"delivery": "push", "settle_ms": 1000})).await;
    assert_eq!((changed.status, &changed.body["delivery"]), (200, &json!("push")));
    assert_eq!(api.patch(&endpoint, json!({"delivery": "pull"})).await.status, 422);
}

#[tokio::test]
async fn nothing_is_sent_to_an_endpoint_that_fetches_be_it_a_test_or_a_challenge() {
    let api = Api::start_with_nats().await;
    let made =
        api.post("/v1/webhook-endpoints", json!({"url": "http://127.0.0.1:9/x", "delivery": "pull"})).await;
    let endpoint = text(&made.body, "id");

    for asked in ["test", "verify"] {
        let refused = api.post(&format!("/v1/webhook-endpoints/{endpoint}/{asked}"), json!({})).await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("endpoint_fetches")), "{asked}");
        assert!(text(&refused.body, "detail").contains(&path(endpoint)), "{}", refused.body);
    }
}

/// A request that waits for an event.
fn waiting(api: &Api, key: &str, endpoint: &str, seconds: u32) -> RequestBuilder {
    api.request(Method::GET, &format!("{}?wait={seconds}", path(endpoint))).bearer_auth(key)
}

/// It waits once its head is there.
async fn begun(request: RequestBuilder) -> Response {
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    response
}

async fn end_of(response: Response) -> Value {
    let text =
        tokio::time::timeout(LIMIT, response.text()).await.expect("in time").expect("it ends in order");
    serde_json::from_str(&text).expect("JSON, whatever line feeds are before it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_answered_when_an_event_comes_at_the_end_of_the_time_and_when_the_process_stops() {
    let api = Api::start_with_nats().await;
    let endpoint = api.endpoint().await;
    let click = enriched_click(api.workspace_id, &model::LinkId::generate().to_string());

    let waits = begun(waiting(&api, &api.key, &endpoint, 30)).await;
    store_one(&api, new_delivery(&api, &endpoint, &click)).await;
    let keys = vec![endpoint.clone()];
    let changed = Changed { table: Table::Deliveries, workspace_id: api.workspace_id, keys };
    api.bus.as_ref().expect("a broker").notify(&changed).await;
    let page = end_of(waits).await;
    assert_eq!(ids(&page), [click.event_id.to_string()]);

    // what is there is not waited for
    let there = waiting(&api, &api.key, &endpoint, 30).send().await.expect("an answer");
    assert_eq!(ids(&end_of(there).await).len(), 1);
    let after = text(&page, "next_cursor");
    let none = api.get(&format!("{}?after={after}&wait=1", path(&endpoint))).await.body;
    assert_eq!(none, json!({"data": [], "next_cursor": after, "has_more": false, "skipped": 0}));

    let other = api.endpoint().await;
    let waits = begun(waiting(&api, &api.key, &other, 30)).await;
    api.stop.cancel();
    assert_eq!(ids(&end_of(waits).await).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_wait_as_may_and_whoever_goes_makes_room() {
    let api = Api::start_with(|settings| {
        settings.api.pulls_waiting_max = 2;
        settings.api.pulls_workspace_waiting_max = 1;
    })
    .await;
    let endpoint = api.endpoint().await;
    let own = async || waiting(&api, &api.key, &endpoint, 30).send().await.expect("an answer");
    let first = begun(waiting(&api, &api.key, &endpoint, 30)).await;

    let second = own().await;
    let retry_after = second.headers()["retry-after"].to_str().ok();
    assert_eq!((second.status().as_u16(), retry_after), (429, Some("5")));
    let looks = api.get(&path(&endpoint)).await;
    assert_eq!(looks.status, 200, "who does not wait takes no place");
    let mut others = Vec::new();
    for _ in 0..2 {
        let (_, key) = api.other_workspace().await;
        let body = Some(json!({"url": "http://127.0.0.1:9/hook"}));
        let Answer { body, .. } = api.call_as(&key, Method::POST, "/v1/webhook-endpoints", body).await;
        others.push(waiting(&api, &key, text(&body, "id"), 30).send().await.expect("an answer"));
    }
    assert_eq!(others.iter().map(|other| other.status().as_u16()).collect::<Vec<_>>(), [200, 503]);
    assert!(others[1].headers().contains_key("retry-after"));

    // that nobody reads any more shows when something is sent
    drop(first);
    until(LIMIT, || async { (own().await.status() == 200).then_some(()) }).await;
}
