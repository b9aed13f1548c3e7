//! Clicks over the API.

use chrono::{TimeDelta, Utc};
use model::automation::Verdict;
use model::device::DeviceKind;
use reqwest::Method;
use serde_json::{Value, json};

use crate::console::Browser;
use crate::harness::{Api, enriched_click, failed_delivery, record, recorded_click};

fn ids(page: &Value) -> Vec<String> {
    let clicks = page["data"].as_array().expect("a list").iter();
    clicks.map(|click| click["click_id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn a_click_is_shown_with_its_trace() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let delivery = failed_delivery(&api, &endpoint, &click).await;

    let shown = api.get(&format!("/v1/clicks/{}", click.click.id)).await;

    let trace = &shown.body["trace"];
    assert_eq!(shown.body["click"]["click_id"], click.click.id.to_string());
    assert_eq!(trace["location"], "Linköping, Sweden");
    for moment in ["redirected_at", "enriched_at", "recorded_at"] {
        assert!(trace[moment].is_string(), "{moment}");
    }
    let at = &trace["endpoints"][0];
    assert_eq!(
        (&at["endpoint_id"], &at["matched"], &at["reason"]),
        (&json!(endpoint), &json!(true), &Value::Null)
    );
    assert_eq!(at["url"], "http://127.0.0.1:9/hook");
    let told = &at["deliveries"][0];
    assert_eq!((&told["id"], &told["status"]), (&json!(delivery.to_string()), &json!("dead")));
    let attempt = &told["attempts"][0];
    assert_eq!(
        (&attempt["status"], &attempt["duration_ms"], &attempt["number"]),
        (&json!(500), &json!(34), &json!(1))
    );
    let list = api.get(&format!("/v1/clicks?link_id={link}&verdict=human")).await;
    assert_eq!(list.body["data"][0], shown.body["click"]);
    assert_eq!(api.get("/v1/clicks?verdict=automated").await.body["data"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_trace_says_why_an_endpoint_was_not_told() {
    let api = Api::start().await;
    let link = api.link().await;
    let click = recorded_click(&api, &link).await;
    let make = async |body: Value| {
        let made = api.post("/v1/webhook-endpoints", body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.body["id"].as_str().expect("an id").to_owned()
    };
    let url = "http://127.0.0.1:9/hook";
    let filtered =
        make(json!({"url": url, "filter": {"location.country": "NO", "device.type": "mobile"}})).await;
    let unsubscribed = make(json!({"url": url, "event_types": ["endpoint.disabled"]})).await;
    let late = make(json!({"url": url})).await;
    let disabled = make(json!({"url": url, "enabled": false})).await;

    let path = format!("/v1/clicks/{}", click.click.id);
    let trace = api.get(&path).await.body["trace"].clone();
    let reason = |trace: &Value, id: &str| {
        let endpoints = trace["endpoints"].as_array().expect("endpoints").clone();
        let at = endpoints.into_iter().find(|at| at["endpoint_id"] == id).expect("the endpoint");
        assert_eq!((&at["matched"], &at["deliveries"]), (&json!(false), &json!([])));
        (at["reason"].clone(), at["detail"].as_str().unwrap_or_default().to_owned())
    };

    let (word, sentence) = reason(&trace, &filtered);
    assert_eq!(word, "filtered");
    let expected = r#"location.country is "SE", and the filter wants {"location.country":"NO"}"#;
    assert!(sentence.contains(expected), "only what does not hold: {sentence}");
    assert_eq!(reason(&trace, &unsubscribed).0, "not_subscribed");
    assert_eq!(reason(&trace, &late).0, "too_old");
    assert_eq!(reason(&trace, &disabled).0, "disabled");
    let few = api.key_with(&["clicks:read"], None).await;
    let trace = api.call_as(&few, Method::GET, &path, None).await.body["trace"].clone();
    assert_eq!(reason(&trace, &filtered), (json!("filtered"), String::new()), "endpoints are not its to see");
    assert_eq!(trace["endpoints"][0]["url"], Value::Null);
    let mut browser = Browser::signed_in(&api).await;
    let (status, page) = browser.open(&format!("/clicks/{}", click.click.id)).await;
    assert!(status == 200 && page.contains("Its filter keeps this click back"), "{page}");
}

#[tokio::test]
async fn clicks_are_found_by_what_is_known_of_them() {
    let api = Api::start().await;
    let (link, other) = (api.link().await, api.link().await);
    let (stranger_id, stranger) = api.other_workspace().await;
    let make = |link: &str, change: &dyn Fn(&mut model::EnrichedClick)| {
        let mut click = enriched_click(api.workspace_id, link);
        change(&mut click);
        click
    };
    let plain = make(&link, &|_| {});
    let odd = make(&other, &|click| {
        let labels = &mut click.click.link.labels;
        labels.campaign_id = Some("odd campaign".to_owned());
        labels.conversation_id = Some("odd conversation".to_owned());
        labels.contact_id = Some("odd contact".to_owned());
        labels.message_id = Some("odd message".to_owned());
        click.location.country = Some("NO".to_owned());
        click.device.kind = DeviceKind::Tv;
        click.automation.verdict = Verdict::Automated;
    });
    let mut theirs = odd.clone();
    theirs.click.id = model::ClickId::generate();
    theirs.click.workspace_id = stranger_id;
    record(&api, &[plain, odd.clone(), theirs.clone()]).await;

    let own = odd.click.id.to_string();
    for query in [
        format!("link_id={other}"),
        "campaign_id=odd%20campaign".to_owned(),
        "conversation_id=odd%20conversation".to_owned(),
        "contact_id=odd%20contact".to_owned(),
        "message_id=odd%20message".to_owned(),
        "country=no".to_owned(),
        "device=tv".to_owned(),
        "verdict=automated".to_owned(),
        format!("contact_id=odd%20contact&country=NO&link_id={other}&device=tv"),
    ] {
        let found = api.get(&format!("/v1/clicks?{query}")).await;
        assert_eq!((found.status, ids(&found.body)), (200, vec![own.clone()]), "{query}");
        assert_eq!(found.body["next_cursor"], Value::Null);
    }
    let theirs_found = api.call_as(&stranger, Method::GET, "/v1/clicks?contact_id=odd%20contact", None).await;
    assert_eq!(ids(&theirs_found.body), [theirs.click.id.to_string()]);
    let foreign = api.call_as(&stranger, Method::GET, &format!("/v1/clicks?link_id={other}"), None).await;
    assert_eq!(foreign.body["data"], json!([]));
    for (query, pointer) in
        [("country=Norway", "?country"), ("device=phone", "?device"), ("contact_id=", "?contact_id")]
    {
        let refused = api.get(&format!("/v1/clicks?{query}")).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
}

#[tokio::test]
async fn a_page_looks_at_a_limited_number_of_clicks_and_the_next_goes_on() {
    let api = Api::start().await;
    let link = api.link().await;
    let begin = Utc::now() - TimeDelta::hours(1);
    // more than one page looks at; the first and the last are on a television
    let count = store::click_log::LOOKED_AT_MAX + 10;
    let clicks: Vec<_> = (0..count)
        .map(|n| {
            let mut click = enriched_click(api.workspace_id, &link);
            click.click.id = model::ClickId::generate_at(begin + TimeDelta::milliseconds(n));
            click.event_id = model::EventId::of_click(click.click.id, 0);
            if n == 0 || n == count - 1 {
                click.device.kind = DeviceKind::Tv;
            }
            click
        })
        .collect();
    record(&api, &clicks).await;

    let first = api.get("/v1/clicks?device=tv").await;
    let cursor = first.body["next_cursor"].as_str().expect("there is more").to_owned();
    let second = api.get(&format!("/v1/clicks?device=tv&cursor={cursor}")).await;

    assert_eq!(ids(&first.body), [clicks.last().expect("one").click.id.to_string()]);
    assert_eq!(ids(&second.body), [clicks[0].click.id.to_string()]);
    assert_eq!(second.body["next_cursor"], Value::Null);
    let all = api.get("/v1/clicks?limit=2").await;
    assert_eq!(ids(&all.body).len(), 2);
    assert!(all.body["next_cursor"].is_string());
}

#[tokio::test]
async fn moments_of_any_year_are_looked_for_where_they_are() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    failed_delivery(&api, &endpoint, &click).await;
    let (first, last) = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z");
    let before_ids = "1969-12-31T23:59:59.999Z";
    let asked = [
        (format!("since={first}"), true),
        (format!("since={before_ids}"), true),
        (format!("until={last}"), true),
        (format!("since={first}&until={last}"), true),
        // in UTC it is the year 10000
        ("until=9999-12-31T23:59:59-23:59".to_owned(), true),
        (format!("since={last}"), false),
        (format!("until={first}"), false),
        (format!("until={before_ids}"), false),
    ];

    for list in ["/v1/clicks", "/v1/deliveries", "/v1/audit"] {
        for (query, is_found) in &asked {
            let page = api.get(&format!("{list}?{query}")).await;
            let found = page.body["data"].as_array().map(|found| !found.is_empty());
            assert_eq!((page.status, found), (200, Some(*is_found)), "{list}?{query}: {}", page.body);
        }
    }
    for (since, until) in [
        ("9999-01-01T00:00:00.000Z", "9999-12-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00.000Z", "0001-12-01T00:00:00.000Z"),
        ("1969-06-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z"),
    ] {
        let query = format!("since={since}&until={until}");
        let summary = api.get(&format!("/v1/analytics/summary?{query}")).await;
        let told = (&summary.body["since"], &summary.body["until"], &summary.body["clicks"]);
        assert_eq!(told, (&json!(since), &json!(until), &json!(0)), "{}", summary.body);
        let series = api.get(&format!("/v1/analytics/timeseries?{query}&interval=month")).await;
        assert_eq!(series.body["points"][0]["at"], since, "{}", series.body);
    }
}

#[tokio::test]
async fn a_parameter_that_is_given_twice_is_refused_by_its_name() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;

    for path in ["/v1/clicks", "/v1/links", "/v1/deliveries", "/v1/audit", "/v1/api-keys"] {
        let refused = api.get(&format!("{path}?limit=1&limit=2")).await;
        let error = &refused.body["errors"][0];
        assert_eq!(
            (refused.status, &error["pointer"], &error["code"]),
            (422, &json!("?limit"), &json!("repeated")),
            "{path}: {}",
            refused.body
        );
    }
    for path in ["/?range=7d&range=7d", "/clicks?verdict=human&verdict=human"] {
        let (status, page) = browser.open(path).await;
        assert_eq!(status, 422, "{path}");
        assert!(page.contains("must be given once"), "{path}: {page}");
    }
}
