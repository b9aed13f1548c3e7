//! The console by HTTP: forms, tokens, sessions, and what hostile names can do (nothing).

mod session;

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::console_hooks::{accepted, delivery};
use crate::harness::{Api, failed_delivery, recorded_click};

pub use session::Browser;

#[tokio::test]
async fn a_page_without_a_session_leads_to_the_sign_in() {
    let api = Api::start().await;
    let mut browser = Browser::new(&api);

    for path in ["/", "/links", "/settings/links", "/settings/webhooks", "/settings/keys"] {
        assert_eq!(browser.open(path).await, (303, "/login".to_owned()), "{path}");
    }
    assert_eq!(
        browser.submit("/links", &[("url", "https://example.com/")]).await,
        (303, "/login".to_owned())
    );
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_guessing_is_slowed() {
    let api = Api::start().await;
    let mut browser = Browser::new(&api);

    for _ in 0..3 {
        let (status, page) = browser.sign_in("cw_wrong").await;
        assert_eq!(status, 401);
        assert!(page.contains("This key is not known"));
    }
    assert_eq!(browser.sign_in(&api.key).await.0, 429);
}

#[tokio::test]
async fn every_page_opens_with_safe_headers() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let delivery = failed_delivery(&api, &endpoint, &click).await;

    for path in [
        "/".to_owned(),
        "/links".to_owned(),
        "/links/new".to_owned(),
        "/links/import".to_owned(),
        "/clicks".to_owned(),
        format!("/links/{link}"),
        format!("/links/{link}/edit"),
        format!("/clicks/{}", click.click.id),
        format!("/deliveries/{delivery}"),
        "/settings/links".to_owned(),
        "/settings/webhooks".to_owned(),
        "/settings/webhooks/new".to_owned(),
        format!("/settings/webhooks/{endpoint}"),
        format!("/settings/webhooks/{endpoint}/replays"),
        "/settings/keys".to_owned(),
        "/settings/people".to_owned(),
        "/settings/activity".to_owned(),
        "/settings/retention".to_owned(),
        "/account".to_owned(),
    ] {
        let request = api.request(Method::GET, &path).header("cookie", browser.cookie());
        let response = request.send().await.expect("an answer");
        let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let (status, page) = browser.keep(response).await;
        assert_eq!(status, 200, "{path}: {page}");
        assert!(page.contains("<a href=\"https://db-ip.com\" rel=\"noopener\">IP Geolocation by DB-IP</a>"));
        for inline in ["<script>", "<style", " style=", " onclick="] {
            assert!(!page.contains(inline), "{path} has {inline}");
        }
    }
}

#[tokio::test]
async fn a_form_without_the_sessions_token_does_nothing() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let mut other = Browser::signed_in(&api).await;
    let foreign = other.token("/links/new").await;

    for token in ["", "guess", &foreign] {
        let fields = [("csrf", token), ("url", "https://example.com/")];
        assert_eq!(browser.submit("/links", &fields).await.0, 403, "{token}");
    }
    let endpoint = api.endpoint().await;
    assert_eq!(browser.submit(&format!("/settings/webhooks/{endpoint}/delete"), &[]).await.0, 403);
    assert_eq!(api.get("/v1/links").await.body["data"], json!([]));
    assert_eq!(api.get(&format!("/v1/webhook-endpoints/{endpoint}")).await.status, 200);
}

#[tokio::test]
async fn a_session_ends_with_its_time_with_its_key_and_on_request() {
    let short = Api::start_with(|settings| settings.api.session_lifetime = Duration::ZERO).await;
    let mut browser = Browser::signed_in(&short).await;
    assert_eq!(browser.open("/").await.1, "/login");

    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let keys = api.get("/v1/api-keys").await;
    api.delete(&format!("/v1/api-keys/{}", keys.body["data"][0]["id"].as_str().expect("an id"))).await;
    assert_eq!(browser.open("/").await.1, "/login");

    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let token = browser.token("/links/new").await;
    assert_eq!(browser.submit("/logout", &[("csrf", &token)]).await, (303, "/login".to_owned()));
    assert_eq!(browser.open("/").await.1, "/login");
}

#[tokio::test]
async fn a_link_that_has_had_its_clicks_is_shown_as_exhausted() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let link = api.link().await;
    recorded_click(&api, &link).await;
    api.patch(&format!("/v1/links/{link}"), json!({"max_clicks": 1})).await;

    let (_, page) = browser.open(&format!("/links/{link}")).await;
    let (_, list) = browser.open("/links").await;

    assert!(page.contains("1 of at most 1") && page.contains(">Exhausted</span>"), "{page}");
    assert!(list.contains(">Exhausted</span>"), "{list}");
}

#[tokio::test]
async fn a_webhook_is_added_by_form_for_people_only_and_shows_its_secret_once() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (_, page) = browser.open("/settings/webhooks/new").await;
    assert!(page.contains("name=\"audience\" value=\"people\" checked"), "{page}");
    let token = browser.token("/settings/webhooks/new").await;
    let fields = [("csrf", token.as_str()), ("url", "http://10.0.0.1/"), ("event_types", "link.clicked")];
    let (status, page) = browser.submit("/settings/webhooks", &fields).await;
    assert_eq!(status, 422);
    assert!(page.contains("private address"), "{page}");
    assert!(
        page.contains("value=\"link.clicked\" checked") && !page.contains("value=\"delivery.*\" checked")
    );

    let fields = [
        ("url", "http://127.0.0.1:9/hook"),
        ("event_types", "link.clicked"),
        ("event_types", "delivery.*"),
        ("audience", "people"),
    ];
    let page = browser.fill("/settings/webhooks/new", "/settings/webhooks", &fields).await;
    assert!(page.contains("whsec_") && page.contains("data-secret"), "{page}");
    let endpoint = api.get("/v1/webhook-endpoints").await.body["data"][0].clone();
    assert_eq!(endpoint["filter"], json!({"verdicts": ["human", "unknown"]}));
    assert_eq!(endpoint["event_types"], json!(["link.clicked", "delivery.*"]));
    let path = format!("/settings/webhooks/{}", endpoint["id"].as_str().expect("an id"));
    assert!(!browser.open(&path).await.1.contains("data-secret"));

    assert!(browser.fill(&path, &format!("{path}/reveal"), &[]).await.contains("data-secret"));
    let page = browser.fill(&path, &format!("{path}/rotate"), &[]).await;
    assert!(page.contains("A new secret signs") && page.contains(" · ends "), "{page}");
    let page = browser.fill(&path, &format!("{path}/rotate"), &[("overlap_seconds", "0")]).await;
    assert!(page.contains("and no other") && !page.contains(" · ends "), "{page}");
    assert!(browser.fill(&path, &format!("{path}/pause"), &[]).await.contains(">Paused<"));
    assert!(browser.fill(&path, &format!("{path}/resume"), &[]).await.contains(">Active<"));
    assert!(browser.fill(&path, &format!("{path}/delete"), &[]).await.contains("No webhooks yet"));
}

#[tokio::test]
async fn settings_and_keys_are_changed_by_form() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;

    let fields = [("address_policy", "truncate"), ("app_schemes", "tel, mailto,")];
    let page = browser.fill("/settings/links", "/settings/links", &fields).await;
    assert!(page.contains("value=\"mailto, tel\""), "{page}");
    let saved = api.get("/v1/settings/links").await.body;
    assert_eq!((&saved["tracking"], &saved["address_policy"]), (&json!(false), &json!("truncate")));
    let page = browser.fill("/settings/links", "/settings/domains", &[("host", "go.example.com")]).await;
    assert!(page.contains("go.example.com"));

    let fields = [("name", "CRM"), ("scopes", "links:read"), ("scopes", "clicks:read")];
    let page = browser.fill("/settings/keys", "/settings/keys", &fields).await;
    let (_, rest) = page.split_once("data-key>").expect("the new key");
    let key = rest.split_once('<').expect("a key").0.to_owned();
    assert_eq!(api.call_as(&key, Method::GET, "/v1/links", None).await.status, 200);
    assert!(!browser.open("/settings/keys").await.1.contains(&key));

    // its successor may do the same, and for a while both do
    let id = api.get("/v1/api-keys").await.body["data"][0]["id"].as_str().expect("an id").to_owned();
    let page = browser.fill("/settings/keys", &format!("/settings/keys/{id}/rotate"), &[]).await;
    let (_, rest) = page.split_once("data-key>").expect("the new key");
    let successor = rest.split_once('<').expect("a key").0;
    assert_ne!(successor, key);
    for key in [successor, &key] {
        assert_eq!(api.call_as(key, Method::GET, "/v1/clicks", None).await.status, 200);
    }
}

#[tokio::test]
async fn a_failed_delivery_is_sent_again_by_form() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let id = failed_delivery(&api, &endpoint, &click).await;
    let path = format!("/deliveries/{id}");

    let (_, page) = browser.open(&path).await;
    assert!(page.contains("out of order") && page.contains("500 in 34 ms"), "{page}");
    let page = browser.fill(&path, &format!("{path}/retry"), &[]).await;

    assert!(page.contains("Retrying"), "{page}");
}

#[tokio::test]
async fn a_replay_is_counted_before_it_is_begun_by_form_and_can_be_cancelled() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    failed_delivery(&api, &endpoint, &click).await;
    let click = recorded_click(&api, &link).await;
    delivery(&api, &endpoint, &click, accepted(&click, 100, "")).await;
    let mut browser = Browser::signed_in(&api).await;
    let page = format!("/settings/webhooks/{endpoint}/replays");
    let token = browser.token(&page).await;
    let wanted = [("csrf", token.as_str()), ("what", "dead"), ("hours", "1")];

    let (status, counted) = browser.submit(&format!("{page}/count"), &wanted).await;
    assert_eq!(status, 200, "{counted}");
    assert!(counted.contains("There is 1 event whose delivery was given up."), "{counted}");
    assert_eq!(api.get("/v1/replays").await.body["data"], json!([]), "nothing has begun");
    for (what, sentence) in [
        ("delivered", "There is 1 event that it accepted."),
        ("any", "There are 2 events that it accepted or whose delivery was given up."),
    ] {
        let chosen = [wanted[0], ("what", what), wanted[2]];
        let (_, counted) = browser.submit(&format!("{page}/count"), &chosen).await;
        assert!(counted.contains(sentence), "{counted}");
        assert!(
            counted.contains(&format!("name=\"what\" value=\"{what}\"")),
            "it is begun as it was counted"
        );
    }
    let of_another = [&wanted[..], &[("campaign_id", "another")]].concat();
    let (_, none) = browser.submit(&format!("{page}/count"), &of_another).await;
    assert!(
        none.contains("There are 0 events whose delivery was given up, of the campaign another."),
        "{none}"
    );

    let hidden = |name: &str| {
        let (_, rest) = counted.split_once(&format!("name=\"{name}\" value=\"")).expect("a field");
        rest.split_once('"').expect("a value").0.to_owned()
    };
    let (since, until) = (hidden("since"), hidden("until"));
    let begun = browser.fill(&page, &page, &[("what", "dead"), ("since", &since), ("until", &until)]).await;
    assert!(begun.contains("0 of 1 in line"), "{begun}");
    let replays = api.get("/v1/replays").await;
    let cancel = format!("{page}/{}/cancel", replays.body["data"][0]["id"].as_str().expect("an id"));
    let cancelled = browser.fill(&page, &cancel, &[]).await;
    assert!(cancelled.contains("Cancelled"), "{cancelled}");
    browser.fill(&page, &page, &[("what", "delivered"), ("since", &since), ("until", &until)]).await;
    let newest = api.get("/v1/replays").await.body["data"][0].clone();
    assert_eq!((&newest["status"], &newest["total"]), (&json!("delivered"), &json!(1)));

    api.patch(&format!("/v1/webhook-endpoints/{endpoint}"), json!({"enabled": false})).await;
    let (_, disabled) = browser.open(&page).await;
    assert!(disabled.contains("This webhook is disabled"), "{disabled}");
}

#[tokio::test]
async fn hostile_names_are_shown_as_text() {
    let api = Api::start().await;
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let link =
        json!({"url": "https://example.com/?q=<script>", "campaign_id": hostile, "tags": ["<b>x</b>"]});
    let made = api.post("/v1/links", link).await;
    assert_eq!(made.status, 201, "{}", made.body);
    api.post("/v1/webhook-endpoints", json!({"url": "http://127.0.0.1:9/", "description": hostile})).await;
    api.post("/v1/api-keys", json!({"name": hostile, "scopes": ["links:read"]})).await;
    let mut browser = Browser::signed_in(&api).await;

    let link = format!("/links/{}", made.body["id"].as_str().expect("an id"));
    for path in ["/links", &link, "/settings/webhooks", "/settings/keys", "/links?q=%3Cscript%3E"] {
        let (status, page) = browser.open(path).await;
        assert_eq!(status, 200, "{path}");
        assert!(
            !page.contains("<script>") && !page.contains("<img src=x") && !page.contains("<b>x"),
            "{path}"
        );
    }
}
