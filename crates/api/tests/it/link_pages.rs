//! Overview, links and clicks as the console shows them.

use chrono::{TimeDelta, Utc};
use model::automation::Verdict;
use serde_json::json;

use crate::console::Browser;
use crate::harness::{Api, count_clicks, enriched_click, failed_delivery, record, recorded_click};

const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>";

fn assert_inert(page: &str, path: &str) {
    for live in ["<script>alert", "<img src=x", "onerror=alert(1)>"] {
        assert!(!page.contains(live), "{path} has {live}");
    }
}

#[tokio::test]
async fn the_overview_counts_today_beside_yesterday_and_shows_who_is_told() {
    let api = Api::start().await;
    let link = api.link().await;
    let mut clicks = Vec::new();
    for verdict in [Verdict::Human, Verdict::Human, Verdict::Automated, Verdict::Unknown] {
        let mut click = enriched_click(api.workspace_id, &link);
        click.automation.verdict = verdict;
        clicks.push(click);
    }
    record(&api, &clicks).await;
    count_clicks(&api).await;
    let mut browser = Browser::signed_in(&api).await;

    let (_, page) = browser.open("/").await;

    assert!(page.contains("Clicks by people</span><span class=\"number\">2</span>"), "{page}");
    assert!(page.contains("Automated</span><span class=\"number\">1</span>"), "{page}");
    assert!(page.contains("Unclear</span><span class=\"number\">1</span>"), "{page}");
    assert!(page.contains("None yesterday by now"), "{page}");
    assert!(page.contains("Nobody is told yet") && page.contains("data-live=\"/live/clicks\""), "{page}");
    for range in ["24h", "7d", "30d", "nonsense"] {
        assert_eq!(browser.open(&format!("/?range={range}")).await.0, 200, "{range}");
    }
    for path in ["/?utm_source=mail".to_owned(), format!("/links/{link}?fbclid=a&fbclid=b&range=7d")] {
        assert_eq!(browser.open(&path).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn what_needs_attention_says_what_to_do() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    assert!(!browser.open("/").await.1.contains("Needs attention"));

    let click = recorded_click(&api, &link).await;
    failed_delivery(&api, &endpoint, &click).await;
    api.post(&format!("/v1/webhook-endpoints/{endpoint}/pause"), json!({})).await;
    let ended = (Utc::now() - TimeDelta::hours(1)).to_rfc3339();
    let change = json!({"starts_at": null, "expires_at": ended});
    assert_eq!(api.patch(&format!("/v1/links/{link}"), change).await.status, 200);
    let (_, page) = browser.open("/").await;

    assert!(page.contains("Needs attention"), "{page}");
    for told in [
        "1 delivery was given up at 127.0.0.1",
        &format!("href=\"/settings/webhooks/{endpoint}#dead\""),
        "The webhook at 127.0.0.1 is paused",
        "1 link has ended and lead",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
}

#[tokio::test]
async fn links_are_found_by_campaign_tag_state_and_domain() {
    let api = Api::start().await;
    let make = async |body| assert_eq!(api.post("/v1/links", body).await.status, 201);
    make(
        json!({"url": "https://example.com/", "slug": "live-one", "campaign_id": "Spring", "tags": ["a&b"]}),
    )
    .await;
    make(json!({"url": "https://example.com/", "slug": "off-one", "enabled": false})).await;
    make(json!({"url": "https://example.com/", "slug": "coming-one", "starts_at": "2036-01-01T00:00:00Z"}))
        .await;
    let mut browser = Browser::signed_in(&api).await;

    for (query, shown) in [
        ("q=&campaign_id=Spring&tag=&state=&domain=", vec!["live-one"]),
        ("tag=a%26b", vec!["live-one"]),
        ("state=live", vec!["live-one"]),
        ("state=off", vec!["off-one"]),
        ("state=not_started", vec!["coming-one"]),
        ("state=expired", vec![]),
        ("state=exhausted", vec![]),
        ("state=blocked", vec![]),
        ("domain=localhost", vec!["live-one", "off-one", "coming-one"]),
        ("domain=other.example", vec![]),
        ("sort=clicks", vec![]),
    ] {
        let (status, page) = browser.open(&format!("/links?{query}")).await;
        assert_eq!(status, 200, "{query}");
        for slug in ["live-one", "off-one", "coming-one"] {
            assert_eq!(page.contains(&format!(">{slug}</strong>")), shown.contains(&slug), "{query}: {slug}");
        }
    }
    let found = api.get("/v1/links?state=off").await;
    assert_eq!(found.body["data"][0]["slug"], "off-one");
    assert_eq!(api.get("/v1/links?state=asleep").await.status, 422);
}

#[tokio::test]
async fn a_link_shows_how_often_it_was_followed_and_by_whom() {
    let api = Api::start().await;
    let link = api.link().await;
    let mut clicks = Vec::new();
    for (verdict, country) in [(Verdict::Human, "SE"), (Verdict::Human, "NO"), (Verdict::Automated, "US")] {
        let mut click = enriched_click(api.workspace_id, &link);
        click.automation.verdict = verdict;
        click.location.country = Some(country.to_owned());
        clicks.push(click);
    }
    record(&api, &clicks).await;
    count_clicks(&api).await;
    let mut browser = Browser::signed_in(&api).await;

    for range in ["", "?range=24h", "?range=7d", "?range=90d", "?range=all"] {
        let (status, page) = browser.open(&format!("/links/{link}{range}")).await;
        assert_eq!(status, 200, "{range}: {page}");
        assert!(page.contains("Clicks by people</span><span class=\"number\">2</span>"), "{range}: {page}");
        assert!(
            page.contains("<span>Sweden</span>") && page.contains("<span>Norway</span>"),
            "{range}: {page}"
        );
        assert!(!page.contains("<span>United States</span>"), "machines are no answer to where people are");
        assert!(page.contains("<svg class=\"plot-field\"") && page.contains("The numbers as a table"));
    }
    let (_, page) = browser.open("/links").await;
    assert!(page.contains("2 clicks in 14 days"), "{page}");
    let (_, page) = browser.open("/links?sort=clicks").await;
    assert!(page.contains("2 clicks in 14 days"), "{page}");
    let (status, code) = browser.open(&format!("/links/{link}/qr?size=100")).await;
    assert!(status == 200 && code.starts_with("<svg"), "{code}");
}

#[tokio::test]
async fn the_state_of_a_link_is_explained_with_what_to_do() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;

    for (body, told) in [
        (json!({"enabled": false}), ["This link is switched off", "Switch it on"]),
        (json!({"starts_at": "2036-01-01T00:00:00Z"}), ["This link starts 1 Jan 2036", "Change it"]),
        (json!({"tracking": "off"}), ["Clicks on this link are not recorded", "Change it"]),
    ] {
        let mut link = json!({"url": "https://example.com/"});
        link.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
        let made = api.post("/v1/links", link).await;
        let (_, page) = browser.open(&format!("/links/{}", made.body["id"].as_str().expect("an id"))).await;
        for words in told {
            assert!(page.contains(words), "{words}: {page}");
        }
    }
    let link = api.link().await;
    assert!(!browser.open(&format!("/links/{link}")).await.1.contains("class=\"explained"));
    assert_eq!(api.patch("/v1/settings/links", json!({"tracking": false})).await.status, 200);
    let (_, page) = browser.open(&format!("/links/{link}")).await;
    assert!(page.contains("No clicks are recorded in this workspace"), "{page}");
}

#[tokio::test]
async fn the_page_of_a_link_opens_with_two_connections_and_asks_the_broker_only_while_clicks_are_recorded() {
    let api = Api::start_with(|settings| {
        settings.database.pool_max = 2;
        (settings.api.bulk_requests_max, settings.api.bulk_workspace_requests_max) = (1, 1);
    })
    .await;
    let link = api.link().await;
    let mut browser = Browser::signed_in(&api).await;

    let (status, open) = browser.open(&format!("/links/{link}")).await;
    assert_eq!(api.patch(&format!("/v1/links/{link}"), json!({"enabled": false})).await.status, 200);
    let (_, off) = browser.open(&format!("/links/{link}")).await;

    assert_eq!(status, 200, "{open}");
    // the broker is away in this test
    assert!(open.contains("data-code=\"no_click\"") && open.contains("data-code=\"broker_away\""), "{open}");
    assert!(
        off.contains("data-code=\"link_disabled\"") && !off.contains("data-code=\"broker_away\""),
        "{off}"
    );
}

#[tokio::test]
async fn clicks_are_listed_by_what_is_asked_for_and_one_shows_what_happened() {
    let api = Api::start().await;
    let link = api.link().await;
    let mut clicks = Vec::new();
    for (verdict, country) in [(Verdict::Human, "SE"), (Verdict::Automated, "US")] {
        let mut click = enriched_click(api.workspace_id, &link);
        click.automation.verdict = verdict;
        click.location.country = Some(country.to_owned());
        clicks.push(click);
    }
    record(&api, &clicks).await;
    let mut browser = Browser::signed_in(&api).await;
    let paths: Vec<String> =
        clicks.iter().map(|click| format!("href=\"/clicks/{}\"", click.click.id)).collect();
    let (today, tomorrow) = (Utc::now().date_naive(), Utc::now().date_naive() + TimeDelta::days(1));

    for (query, shown) in [
        (String::new(), [true, true]),
        ("?verdict=human&since=&until=&country=&campaign_id=&contact_id=".to_owned(), [true, false]),
        ("?country=us".to_owned(), [false, true]),
        (format!("?since={today}&until={today}"), [true, true]),
        (format!("?since={tomorrow}"), [false, false]),
        (format!("?link_id={link}"), [true, true]),
    ] {
        let (status, page) = browser.open(&format!("/clicks{query}")).await;
        assert_eq!(status, 200, "{query}: {page}");
        assert_eq!(paths.iter().map(|path| page.contains(path)).collect::<Vec<_>>(), shown, "{query}");
    }
    let (_, page) = browser.open(&format!("/clicks/{}", clicks[1].click.id)).await;
    assert!(
        page.contains("A program followed the link") && page.contains("There is no webhook yet"),
        "{page}"
    );
}

#[tokio::test]
async fn hostile_names_addresses_and_programs_are_text() {
    let api = Api::start().await;
    let made = api
        .post(
            "/v1/links",
            json!({"url": "https://example.com/?q=%22%3E%3Cscript%3E", "campaign_id": HOSTILE, "contact_id": HOSTILE,
                "tags": [&HOSTILE[..50]], "metadata": {"note": HOSTILE}, "preview": {"title": HOSTILE, "description": HOSTILE}}),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let link = made.body["id"].as_str().expect("an id").to_owned();
    let mut click = enriched_click(api.workspace_id, &link);
    click.click.link.slug = HOSTILE.to_owned();
    click.click.link.labels.campaign_id = Some(HOSTILE.to_owned());
    click.click.link.labels.tags = vec![HOSTILE.to_owned()];
    click.click.request.user_agent = Some(HOSTILE.to_owned());
    click.click.request.referrer = Some(format!("https://evil.example/{HOSTILE}"));
    click.location.city = Some(HOSTILE.to_owned());
    click.location.country = Some(HOSTILE.to_owned());
    click.location.country_name = Some(HOSTILE.to_owned());
    click.device.browser = Some(HOSTILE.to_owned());
    click.device.os = Some(HOSTILE.to_owned());
    let id = click.click.id;
    record(&api, &[click]).await;
    count_clicks(&api).await;
    let mut browser = Browser::signed_in(&api).await;
    let query: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();

    for path in [
        "/".to_owned(),
        format!("/?range={query}"),
        "/links".to_owned(),
        "/links?sort=clicks".to_owned(),
        format!("/links?q={query}"),
        format!("/links?campaign_id={query}"),
        format!("/links/{link}"),
        format!("/links/{link}/edit"),
        "/clicks".to_owned(),
        format!("/clicks?campaign_id={query}&contact_id={query}"),
        format!("/clicks/{id}"),
    ] {
        let (status, page) = browser.open(&path).await;
        assert_eq!(status, 200, "{path}: {page}");
        assert_inert(&page, &path);
    }
}

#[tokio::test]
async fn days_are_those_of_the_viewer_once_the_browser_has_told() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;

    assert!(browser.open("/").await.1.contains("since midnight, UTC"));
    browser.keep_cookie("clickwire_zone", "Asia/Kathmandu");
    let (status, page) = browser.open("/?range=7d").await;
    assert_eq!(status, 200, "{page}");
    assert!(
        page.contains("since midnight, Asia/Kathmandu") && page.contains("When (Asia/Kathmandu)"),
        "{page}"
    );
    for nonsense in ["Mars/Olympus", "<script>", "EST5EDT"] {
        browser.keep_cookie("clickwire_zone", nonsense);
        assert_eq!(browser.open("/").await.0, 200, "{nonsense}");
    }
}
