//! Webhooks in the console: health, deliveries sent again, and what a hostile subscriber can do with its answers (nothing).

use chrono::{TimeDelta, Utc};
use model::delivery::DeliveryStatus;
use model::{DeliveryId, EnrichedClick};
use serde_json::{Value, json};
use store::deliveries::{self, NewDelivery, Owed, Progress};

use crate::console::Browser;
use crate::harness::{Api, failed_delivery, recorded_click};

/// What a hostile text would like to be.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";

/// A delivery of a click that stands so, as `deliver` stores it.
pub async fn delivery(api: &Api, endpoint: &str, click: &EnrichedClick, progress: Progress) -> DeliveryId {
    let new = NewDelivery {
        id: DeliveryId::generate_at(click.click.clicked_at),
        workspace_id: api.workspace_id,
        owed: Owed { endpoint_id: endpoint.parse().expect("an id"), event_id: click.event_id },
        event_type: "link.clicked",
        click_id: Some(click.click.id),
        told_revision: 0,
        progress,
        leased_until: None,
        line: None,
    };
    let mut conn = api.pool.get().await.expect("the database runs");
    let (id, us) = (new.id, new.id.uuid());
    deliveries::insert(&mut conn, &[new], &[], us, Utc::now()).await.expect("the delivery is stored");
    id
}

/// Accepted at first try, so long after the click.
pub fn accepted(click: &EnrichedClick, after_ms: i64, answer: &str) -> Progress {
    let at = click.click.id.timestamp() + TimeDelta::milliseconds(after_ms);
    Progress {
        status: DeliveryStatus::Delivered,
        attempt_count: 1,
        next_attempt_at: None,
        attempted_at: Some(at),
        finished_at: Some(at),
        duration_ms: Some(20),
        last_status: Some(200),
        response_body: Some(answer.to_owned()),
        ..Progress::due(at, None)
    }
}

/// The text of a value that is one.
pub fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[tokio::test]
async fn the_list_and_the_api_tell_how_a_webhook_does() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (link, endpoint, idle) = (api.link().await, api.endpoint().await, api.endpoint().await);
    for after_ms in [100, 200, 4000] {
        let click = recorded_click(&api, &link).await;
        delivery(&api, &endpoint, &click, accepted(&click, after_ms, "")).await;
    }
    let click = recorded_click(&api, &link).await;
    failed_delivery(&api, &endpoint, &click).await;
    let click = recorded_click(&api, &link).await;
    delivery(
        &api,
        &endpoint,
        &click,
        Progress::due(Utc::now() - TimeDelta::seconds(9), Some(b"{}".to_vec())),
    )
    .await;

    let stats = api.get(&format!("/v1/webhook-endpoints/{endpoint}/stats")).await;
    assert_eq!(stats.status, 200, "{}", stats.body);
    let summary = &stats.body["summary"];
    assert_eq!(
        (&summary["delivered"], &summary["dead"], &summary["waiting"]),
        (&json!(3), &json!(1), &json!(1))
    );
    assert_eq!((&summary["success_rate"], &summary["complete"]), (&json!(0.75), &json!(true)));
    assert_eq!((&summary["accepted_p50_ms"], &summary["accepted_p95_ms"]), (&json!(200), &json!(4000)));
    assert_eq!((&stats.body["backlog"]["waiting"], &stats.body["backlog"]["due"]), (&json!(1), &json!(1)));
    let hours = stats.body["hours"].as_array().expect("hours");
    let delivered: i64 = hours.iter().filter_map(|hour| hour["delivered"].as_i64()).sum();
    assert_eq!((hours.len(), delivered), (24, 3));

    let (_, list) = browser.open("/settings/webhooks").await;
    let of = |id: &str| list.split("<li id=\"").find(|row| row.starts_with(id)).expect("a row").to_owned();
    let busy = of(&endpoint);
    assert!(busy.contains("75.0 % accepted") && busy.contains("of 4 in 24 h"), "{busy}");
    assert!(busy.contains("p95 from the click 4.0 s") && busy.contains("1 waiting, 1 due now"), "{busy}");
    assert!(of(&idle).contains("Nothing in 24 h") && of(&idle).contains("nothing waits"), "{}", of(&idle));
    let (_, detail) = browser.open(&format!("/settings/webhooks/{endpoint}")).await;
    assert!(detail.contains("<svg class=\"plot-field\"") && detail.contains("75.0 %"), "{detail}");
}

#[tokio::test]
async fn deliveries_are_found_by_state_and_time_in_pages_and_several_are_sent_again() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let path = format!("/settings/webhooks/{endpoint}/deliveries");
    assert!(browser.open(&path).await.1.contains("Nothing was sent yet"));
    let click = recorded_click(&api, &link).await;
    let dead = failed_delivery(&api, &endpoint, &click).await;
    for _ in 0..51 {
        let click = recorded_click(&api, &link).await;
        delivery(&api, &endpoint, &click, accepted(&click, 100, "")).await;
    }

    let (_, first) = browser.open(&path).await;
    let count = |page: &str| page.matches("name=\"delivery_ids\"").count();
    assert_eq!(count(&first), 50);
    let (_, rest) = first.split_once("deliveries?").expect("an older page");
    let next = rest.split_once('"').expect("a link").0.replace("&#38;", "&").replace("&amp;", "&");
    assert_eq!(count(&browser.open(&format!("{path}?{next}")).await.1), 2);
    let (_, only_dead) = browser.open(&format!("{path}?status=dead&hours=1")).await;
    assert!(count(&only_dead) == 1 && only_dead.contains(&dead.to_string()), "{only_dead}");
    for nonsense in ["status=x", "hours=7", "cursor=x", "status=&hours=&cursor="] {
        assert_eq!(
            browser.open(&format!("{path}?{nonsense}")).await.0,
            if nonsense.contains("hours=&") { 400 } else { 200 }
        );
    }

    let token = browser.token(&path).await;
    let count_path = format!("/settings/webhooks/{endpoint}/replays/count");
    let (status, nothing) = browser.submit(&count_path, &[("csrf", &token), ("what", "selected")]).await;
    assert_eq!((status, nothing.as_str()), (303, path.as_str()));
    let id = dead.to_string();
    let chosen = [("csrf", token.as_str()), ("what", "selected"), ("delivery_ids", &id)];
    let (_, counted) = browser.submit(&count_path, &chosen).await;
    assert!(counted.contains("There is 1 event among those you chose"), "{counted}");
    let replays = format!("/settings/webhooks/{endpoint}/replays");
    let begun = browser.fill(&replays, &replays, &chosen[1..]).await;
    assert!(begun.contains("0 of 1 in line") && begun.contains("<progress max=\"1\""), "{begun}");
    let (_, part) = browser.open(&format!("{replays}/progress")).await;
    assert!(part.starts_with("<div>") && part.contains("Running"), "it is looked at again: {part}");
}

#[tokio::test]
async fn a_delivery_shows_what_was_sent_and_copies_it_as_curl() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let id = delivery(&api, &endpoint, &click, accepted(&click, 100, "")).await;

    let (_, page) = browser.open(&format!("/deliveries/{id}")).await;

    assert!(page.contains("curl --globoff --include --request POST"), "{page}");
    assert!(page.contains("webhook-signature: v1,") && page.contains("--data-raw"), "{page}");
    assert!(page.contains(&click.click.id.to_string()), "the body is rendered again: {page}");
    let dead = recorded_click(&api, &link).await;
    let dead = failed_delivery(&api, &endpoint, &dead).await;
    let (_, page) = browser.open(&format!("/deliveries/{dead}")).await;
    assert!(page.contains("<svg class=\"timing\"") && page.contains("your program"), "{page}");
    assert!(page.contains("data-code=\"dead\"") && page.contains("its log has the reason"), "{page}");
    let reader = api.key_with(&["deliveries:read", "endpoints:read"], None).await;
    let mut reader = Browser::signed_in_with(&api, &reader).await;
    let (_, page) = reader.open(&format!("/deliveries/{dead}")).await;
    assert!(!page.contains("webhook-signature: v1,") && !page.contains("Send again now"), "{page}");
    // a body is the whole click, and a command says where the endpoint is
    for (scopes, sees_body) in [
        (["deliveries:read", "deliveries:write", "endpoints:read"], false),
        (["deliveries:read", "deliveries:write", "clicks:read"], true),
    ] {
        let key = api.key_with(&scopes, None).await;
        let mut reader = Browser::signed_in_with(&api, &key).await;
        let (status, page) = reader.open(&format!("/deliveries/{id}")).await;
        assert_eq!((status, page.contains("What is sent")), (200, sees_body), "{scopes:?} {page}");
        assert!(!page.contains("curl --globoff"), "{scopes:?} {page}");
    }
}

#[tokio::test]
async fn what_a_receiver_cannot_verify_is_explained_and_no_secret_comes_back() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    delivery(&api, &endpoint, &click, accepted(&click, 100, "")).await;
    let secret =
        api.get(&format!("/v1/webhook-endpoints/{endpoint}/secrets")).await.body["data"][0]["secret"].clone();
    let body = String::from_utf8(webhook::payload::link_clicked(&click)).expect("UTF-8");
    let at = Utc::now().timestamp();
    let key: model::secret::SigningSecret = text(&secret).parse().expect("a secret");
    let signature = webhook::signature::sign(&[key], &click.event_id.to_string(), at, body.as_bytes());
    let headers = |timestamp: i64, signature: &str| {
        format!(
            "Webhook-Id: {}\nWebhook-Timestamp: {timestamp}\nWebhook-Signature: {signature}",
            click.event_id
        )
    };
    let path = format!("/settings/webhooks/{endpoint}/verify");
    let token = browser.token(&path).await;
    let rewritten =
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(&body).expect("JSON")).expect("JSON");
    let other = model::secret::SigningSecret::generate().reveal();

    let good = headers(at, &signature);
    let cases = [
        (good.clone(), body.clone(), text(&secret), "The signature matches"),
        (good.clone(), body.clone(), "", "The signature matches"),
        (good.clone(), rewritten, "", "parsed and written again"),
        (good.clone(), "{\"a\":1}".to_owned(), "", "not the one that was sent"),
        (good.clone(), body.clone(), other.as_str(), "not the one this was signed with"),
        (good.clone(), body.clone(), "cw_abc", "does not begin with whsec_"),
        (headers(at - 4000, &signature), body.clone(), "", "1 h ago"),
        (headers(at, "v1,AAAA"), body.clone(), "", "not the base64 of 32 bytes"),
        ("webhook-id: evt_1".to_owned(), body.clone(), "", "The header webhook-timestamp is missing"),
    ];
    for (headers, body, typed, expected) in &cases {
        let fields = [("csrf", token.as_str()), ("headers", headers), ("body", body), ("secret", typed)];
        let (status, page) = browser.submit(&path, &fields).await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains(expected), "{expected}: {page}");
        assert!(!page.contains(text(&secret)) && !page.contains(other.as_str()), "{expected}");
    }
    let own = format!("/settings/webhooks/{endpoint}");
    browser.fill(&own, &format!("{own}/rotate"), &[]).await;
    let secrets = api.get(&format!("/v1/webhook-endpoints/{endpoint}/secrets")).await.body;
    let old = text(&secrets["data"][1]["id"]).to_owned();
    let page = browser.fill(&own, &format!("{own}/secrets/{old}/revoke"), &[]).await;
    assert!(page.contains("signs nothing any more"), "{page}");
    let fields = [("csrf", token.as_str()), ("headers", &good), ("body", &body), ("secret", text(&secret))];
    let (_, page) = browser.submit(&path, &fields).await;
    assert!(page.contains("That secret has ended"), "{page}");
}

#[tokio::test]
async fn custom_headers_and_limits_are_set_by_form_and_a_masked_value_stays() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let fields = [
        ("url", "http://127.0.0.1:9/hook"),
        ("event_types", "link.clicked"),
        ("audience", "everything"),
        ("headers", "Authorization: Bearer abc\r\nX-Tenant: 42\r\n"),
        ("timeout_ms", "3000"),
        ("max_in_flight", "7"),
    ];
    browser.fill("/settings/webhooks/new", "/settings/webhooks", &fields).await;
    let made = api.get("/v1/webhook-endpoints").await.body["data"][0].clone();
    assert_eq!(made["headers"], json!({"authorization": "********", "x-tenant": "********"}));
    assert_eq!((&made["timeout_ms"], &made["max_in_flight"]), (&json!(3000), &json!(7)));

    let edit = format!("/settings/webhooks/{}/edit", text(&made["id"]));
    let (_, form) = browser.open(&edit).await;
    assert!(form.contains("authorization: ********") && !form.contains("Bearer abc"), "{form}");
    let mut changed = fields;
    changed[3].1 = "authorization: ********\r\nX-Tenant: 43";
    browser.fill(&edit, &edit, &changed).await;
    let mut conn = api.pool.get().await.expect("the database runs");
    let id = text(&made["id"]).parse().expect("an id");
    let kept =
        store::endpoints::find(&mut conn, api.workspace_id, id).await.expect("a query").expect("there");
    assert!(kept.options.headers_sealed.is_some());
    let shown = api.get(&format!("/v1/webhook-endpoints/{}", text(&made["id"]))).await.body;
    assert_eq!(shown["headers"], json!({"authorization": "********", "x-tenant": "********"}));

    let token = browser.token(&edit).await;
    for (headers, wrong) in
        [("no colon", "one header a line"), ("Host: x", "cannot be set"), ("a: 1\na: 2", "there twice")]
    {
        let fields = [
            ("csrf", token.as_str()),
            ("url", "http://127.0.0.1:9/hook"),
            ("event_types", "link.clicked"),
            ("headers", headers),
        ];
        let (status, page) = browser.submit(&edit, &fields).await;
        assert!(
            status == 422 && page.contains("id=\"headers-wrong\"") && page.contains(wrong),
            "{headers}: {page}"
        );
    }
}

#[tokio::test]
async fn a_filter_that_is_tried_says_why_it_keeps_a_click_back() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let link = api.link().await;
    recorded_click(&api, &link).await;
    let token = browser.token("/settings/webhooks/new").await;
    let fields = [
        ("csrf", token.as_str()),
        ("audience", "filter"),
        ("filter", r#"{"location.country": "NO"}"#),
        ("try", "filter"),
    ];

    let (_, page) = browser.submit("/settings/webhooks", &fields).await;

    let page = page.replace("&#34;", "\"").replace("&quot;", "\"");
    assert!(
        page.contains(r#"location.country is "SE", and the filter wants {"location.country":"NO"}"#),
        "{page}"
    );
}

#[tokio::test]
async fn what_owners_and_subscribers_write_renders_inert() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let link = api.link().await;
    let body = json!({
        "url": "http://127.0.0.1:9/?q=<script>alert(1)</script>", "description": HOSTILE,
        "headers": {"x-note": HOSTILE}, "filter": {"campaign_id": {"$startsWith": HOSTILE}}
    });
    let made = api.post("/v1/webhook-endpoints", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let endpoint = text(&made.body["id"]).to_owned();
    let click = recorded_click(&api, &link).await;
    let answered = delivery(&api, &endpoint, &click, accepted(&click, 100, HOSTILE)).await;
    let own = format!("/settings/webhooks/{endpoint}");
    let token = browser.token(&own).await;

    let mut pages = Vec::new();
    for path in [
        "/settings/webhooks".to_owned(),
        own.clone(),
        format!("{own}/edit"),
        format!("{own}/try"),
        format!("{own}/verify"),
        format!("{own}/deliveries"),
        format!("{own}/replays"),
        format!("/deliveries/{answered}"),
        format!("/links/{link}"),
        format!("/clicks/{}", click.click.id),
    ] {
        let (status, page) = browser.open(&path).await;
        assert_eq!(status, 200, "{path}: {page}");
        pages.push((path, page));
    }
    let pasted = [("csrf", token.as_str()), ("headers", HOSTILE), ("body", HOSTILE), ("secret", HOSTILE)];
    pages.push(("verify".to_owned(), browser.submit(&format!("{own}/verify"), &pasted).await.1));
    let tried = [
        ("csrf", token.as_str()),
        ("url", HOSTILE),
        ("headers", HOSTILE),
        ("audience", "filter"),
        ("filter", r#"{"campaign_id": "<script>alert(1)</script>"}"#),
        ("try", "filter"),
    ];
    pages.push(("try".to_owned(), browser.submit("/settings/webhooks", &tried).await.1));
    for (path, page) in pages {
        assert!(!page.contains("<script>") && !page.contains("<img src=x"), "{path}: {page}");
    }
}

#[tokio::test]
async fn the_causes_are_explained_without_a_session() {
    let api = Api::start().await;

    let response =
        api.request(reqwest::Method::GET, "/docs/troubleshooting").send().await.expect("an answer");

    assert_eq!(response.status(), 200);
    let page = response.text().await.expect("a page");
    for code in ["tracking_off", "answer_refused", "settling", "location_no_data"] {
        assert!(page.contains(code), "{code}");
    }
}
