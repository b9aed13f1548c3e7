//! The form of a webhook in the console: what the API can, and errors beside the fields.

use serde_json::json;

use store::deliveries::Progress;

use crate::console::Browser;
use crate::console_hooks::delivery;
use crate::harness::{Api, recorded_click};

#[tokio::test]
async fn everything_that_a_webhook_can_be_told_is_changed_by_form() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let (path, edit) =
        (format!("/settings/webhooks/{endpoint}"), format!("/settings/webhooks/{endpoint}/edit"));
    let mut browser = Browser::signed_in(&api).await;
    let (_, form) = browser.open(&edit).await;
    assert!(form.contains("name=\"auto_disable\" value=\"on\" checked"), "{form}");
    assert!(form.contains("After 5 days without a success"), "{form}");

    let fields = [
        ("revision", "1"),
        ("url", "http://127.0.0.1:9/other"),
        ("event_types", "link.clicked"),
        ("audience", "filter"),
        ("filter", r#"{"location.country": {"$in": ["SE", "NO"]}}"#),
        ("retry_schedule", "fast"),
        ("rate_per_second", "20"),
        ("rate_burst", "40"),
        ("settle_ms", "60000"),
    ];
    let page = browser.fill(&edit, &edit, &fields).await;

    assert!(page.contains("20 a second, 40 at once") && page.contains("Never by itself"), "{page}");
    assert!(page.contains("Told 60 seconds after the click"), "{page}");
    let saved = api.get(&format!("/v1/webhook-endpoints/{endpoint}")).await.body;
    assert_eq!(saved["url"], "http://127.0.0.1:9/other");
    assert_eq!(saved["filter"], json!({"location.country": {"$in": ["SE", "NO"]}}));
    assert_eq!((&saved["retry_preset"], &saved["auto_disable"]), (&json!("fast"), &json!(false)));
    assert_eq!((&saved["rate_per_second"], &saved["rate_burst"]), (&json!(20), &json!(40)));
    assert_eq!(saved["settle_ms"], 60_000);

    // empty fields empty, and somebody else's change in between is not undone
    let (_, form) = browser.open(&edit).await;
    assert!(form.contains("value=\"filter\" checked") && form.contains("SE"), "{form}");
    assert!(form.contains("value=\"60000\" selected"), "{form}");
    let fields = [
        ("url", "http://127.0.0.1:9/other"),
        ("event_types", "link.clicked"),
        ("audience", "everything"),
        ("retry_schedule", "default"),
        ("auto_disable", "on"),
        ("revision", "1"),
    ];
    let token = browser.token(&edit).await;
    let mut stale = vec![("csrf", token.as_str())];
    stale.extend(fields);
    assert_eq!(browser.submit(&edit, &stale).await.0, 412);
    browser.fill(&path, &edit, &[&fields[..5], &[("revision", "2")]].concat()).await;
    let saved = api.get(&format!("/v1/webhook-endpoints/{endpoint}")).await.body;
    assert_eq!(
        (&saved["filter"], &saved["rate_per_second"], &saved["rate_burst"]),
        (&json!(null), &json!(null), &json!(null))
    );
}

#[tokio::test]
async fn a_schedule_without_a_name_stays_unless_another_is_chosen() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let route = format!("/v1/webhook-endpoints/{endpoint}");
    api.patch(&route, json!({"retry_schedule": [7, 70], "event_types": ["endpoint.disabled"]})).await;
    let edit = format!("/settings/webhooks/{endpoint}/edit");
    let mut browser = Browser::signed_in(&api).await;
    let (_, form) = browser.open(&edit).await;
    assert!(form.contains("Its own schedule: 7 s, 70 s"), "{form}");
    assert!(form.contains("value=\"endpoint.disabled\" checked"), "{form}");

    let fields = [
        ("url", "http://127.0.0.1:9/hook"),
        ("event_types", "endpoint.disabled"),
        ("audience", "people"),
        ("retry_schedule", "own"),
    ];
    browser.fill(&edit, &edit, &fields).await;

    let saved = api.get(&route).await.body;
    assert_eq!(saved["retry_schedule"], json!([7, 70]));
    assert_eq!(saved["event_types"], json!(["endpoint.disabled"]));
}

#[tokio::test]
async fn what_is_wrong_with_a_webhook_is_said_beside_its_field() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let edit = format!("/settings/webhooks/{endpoint}/edit");
    let mut browser = Browser::signed_in(&api).await;

    for (action, page) in
        [("/settings/webhooks".to_owned(), "/settings/webhooks/new"), (edit.clone(), edit.as_str())]
    {
        let token = browser.token(page).await;
        for (name, value) in [
            ("url", "http://10.0.0.1/"),
            ("rate_per_second", "0"),
            ("rate_per_second", "many"),
            ("rate_burst", "1001"),
            ("settle_ms", "600001"),
            ("filter", "{"),
            ("filter", r#"{"link.nothing": 1}"#),
            ("retry_schedule", "never"),
        ] {
            let fields = [
                ("csrf", token.as_str()),
                (name, value),
                ("url", "http://127.0.0.1:9/hook"),
                ("event_types", "link.clicked"),
                ("audience", "filter"),
                ("filter", r#"{"verdicts": ["human"]}"#),
            ];

            let (status, answer) = browser.submit(&action, &fields).await;

            assert_eq!(status, 422, "{name}={value}");
            assert!(answer.contains(&format!("id=\"{name}-wrong\"")), "{name}={value}: {answer}");
        }
    }
    let saved = api.get(&format!("/v1/webhook-endpoints/{endpoint}")).await.body;
    assert_eq!(saved["revision"], 1, "nothing was saved");
}

#[tokio::test]
async fn a_filter_is_tried_on_the_last_clicks_before_it_is_saved() {
    let api = Api::start().await;
    let link = api.link().await;
    recorded_click(&api, &link).await;
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/settings/webhooks/new").await;
    let try_it = async |browser: &mut Browser<'_>, filter: &str| {
        let fields = [
            ("csrf", token.as_str()),
            ("url", "http://127.0.0.1:9/hook"),
            ("audience", "filter"),
            ("filter", filter),
            ("try", "filter"),
        ];
        browser.submit("/settings/webhooks", &fields).await
    };

    let (status, page) = try_it(&mut browser, r#"{"location.country": "SE"}"#).await;
    assert_eq!(status, 200);
    assert!(page.contains("It lets 1 of the last 1 clicks through") && page.contains(">Sent<"), "{page}");
    let (_, page) = try_it(&mut browser, r#"{"location.country": "NO"}"#).await;
    assert!(
        page.contains("It lets 0 of the last 1 clicks through") && page.contains(">Kept back<"),
        "{page}"
    );
    let (status, page) = try_it(&mut browser, r#"{"location.planet": "Mars"}"#).await;
    assert_eq!(status, 422);
    assert!(page.contains("id=\"filter-wrong\""), "{page}");
    assert_eq!(api.get("/v1/webhook-endpoints").await.body["data"], json!([]), "nothing was saved");
}

#[tokio::test]
async fn who_enables_a_webhook_is_offered_what_it_missed() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    api.patch(&format!("/v1/webhook-endpoints/{endpoint}"), json!({"enabled": false})).await;
    recorded_click(&api, &link).await;
    let path = format!("/settings/webhooks/{endpoint}");
    let mut browser = Browser::signed_in(&api).await;

    let offer = browser.fill(&path, &format!("{path}/resume"), &[]).await;

    assert!(offer.contains("What it missed"), "{offer}");
    let (_, rest) = offer.split_once("name=\"since\" value=\"").expect("prefilled");
    let since = rest.split_once('"').expect("a value").0.to_owned();
    let token = browser.token(&path).await;
    let fields = [("csrf", token.as_str()), ("what", "missing"), ("since", since.as_str())];
    let (status, counted) = browser.submit(&format!("{path}/replays/count"), &fields).await;
    assert_eq!(status, 200, "{counted}");
    assert!(counted.contains("There is 1 click that it has not got."), "{counted}");
    assert!(counted.contains(&format!("name=\"since\" value=\"{since}\"")), "{counted}");
}

#[tokio::test]
async fn a_program_that_fetches_its_events_is_chosen_by_form_and_its_page_says_what_is_there() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let (path, edit) =
        (format!("/settings/webhooks/{endpoint}"), format!("/settings/webhooks/{endpoint}/edit"));
    let mut browser = Browser::signed_in(&api).await;
    let (_, form) = browser.open(&edit).await;
    assert!(form.contains("<option value=\"push\" selected>"), "{form}");
    let (_, page) = browser.open(&path).await;
    assert!(!page.contains("id=\"fetching\""), "{page}");
    let of_sending = ["id=\"test\"", "id=\"secrets\"", "id=\"stats\"", "<dt>Retries</dt>"];
    assert!(of_sending.iter().all(|part| page.contains(part)), "{page}");
    let fields = [
        ("url", "http://127.0.0.1:9/hook"),
        ("event_types", "link.clicked"),
        ("audience", "everything"),
        ("retry_schedule", "default"),
        ("delivery", "pull"),
    ];

    let page = browser.fill(&edit, &edit, &fields).await;

    assert!(page.contains(&format!("GET /v1/webhook-endpoints/{endpoint}/events")), "{page}");
    assert!(page.contains("<dt>There to be fetched</dt><dd>Nothing</dd>"), "{page}");
    assert!(page.contains("Your program fetches its events."), "{page}");
    assert!(!of_sending.iter().any(|part| page.contains(part)), "{page}");
    let (_, wizard) = browser.open(&format!("{path}/try")).await;
    assert!(!wizard.contains("Send test"), "{wizard}");
    assert_eq!(api.get(&format!("/v1/webhook-endpoints/{endpoint}")).await.body["delivery"], "pull");
    let click = recorded_click(&api, &link).await;
    delivery(&api, &endpoint, &click, Progress::offered(None)).await;
    let (_, page) = browser.open(&path).await;
    assert!(page.contains("<dd>1 event</dd>") && page.contains("<dt>The last came</dt>"), "{page}");

    // what says nothing of it leaves it as it is
    browser.fill(&edit, &edit, &fields[..4]).await;
    let (_, form) = browser.open(&edit).await;
    assert!(form.contains("<option value=\"pull\" selected>"), "{form}");
    browser.fill(&edit, &edit, &[&fields[..4], &[("delivery", "push")]].concat()).await;
    assert_eq!(api.get(&format!("/v1/webhook-endpoints/{endpoint}")).await.body["delivery"], "push");
}

#[tokio::test]
async fn what_does_not_go_with_fetching_is_said_beside_its_field() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/settings/webhooks/new").await;
    for (fields, wrong) in [
        (&[("delivery", "mail")][..], "delivery"),
        (&[("delivery", "<script>")][..], "delivery"),
        (&[("delivery", "pull"), ("settle_ms", "10000")][..], "settle_ms"),
        (&[("delivery", "pull"), ("batch", "on")][..], "batch"),
        (&[("delivery", "pull"), ("ordering", "strict")][..], "ordering"),
        (&[("delivery", "pull"), ("checkpoint_minutes", "5")][..], "checkpoint_minutes"),
    ] {
        let rest = [
            ("csrf", token.as_str()),
            ("url", "http://127.0.0.1:9/hook"),
            ("event_types", "link.clicked"),
            ("audience", "everything"),
        ];

        let (status, page) = browser.submit("/settings/webhooks", &[&rest[..], fields].concat()).await;

        assert_eq!(status, 422, "{fields:?}");
        assert!(page.contains(&format!("id=\"{wrong}-wrong\"")), "{fields:?}: {page}");
        assert!(page.contains("<details open>") && !page.contains("<script>"), "{fields:?}: {page}");
    }
    assert_eq!(api.get("/v1/webhook-endpoints").await.body["data"], json!([]), "nothing was saved");
}
