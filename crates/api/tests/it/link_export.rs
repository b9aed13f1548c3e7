//! Links as a file: all of them, in both forms, for their workspace, and so that they can be imported again.

use std::ops::ControlFlow;

use api::link_files::{self, FoundLink, Reading, Source};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::console::Browser;
use crate::harness::Api;

async fn export(api: &Api, key: &str, query: &str) -> (String, String) {
    let path = format!("/v1/links/export?{query}");
    let answer = api.request(Method::GET, &path).bearer_auth(key).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
    (kind, answer.text().await.expect("it is whole"))
}

/// The links that an import finds in a file.
fn imported(text: &str) -> Vec<FoundLink> {
    let mut found = Vec::new();
    let source = link_files::read(text.as_bytes(), &Reading::default(), |row| {
        found.extend(row.found.expect("a link"));
        ControlFlow::Continue(())
    });
    assert_eq!(source.expect("it can be read"), Source::Clickwire);
    found
}

/// A link with everything that an export has.
fn everything() -> Map<String, Value> {
    let Value::Object(link) = json!({
        "url": "https://example.com/offer?a=1", "slug": "spring-sale", "domain": "localhost", "kind": "message",
        "campaign_id": "=1+1", "conversation_id": "conv_7", "contact_id": "cont_9", "message_id": "msg_1",
        "channel": "sms", "sequence_id": "seq_5", "step_id": "step_2", "external_id": "ext-1", "tags": ["spring", "vip", "a|b;c"],
        "metadata": {"source": "crm, old"}, "starts_at": "2026-01-01T00:00:00Z", "expires_at": "2036-01-01T00:00:00Z",
        "expired_url": "https://example.com/over", "enabled": true, "tracking": "full", "status_code": 307,
        "query_mode": "override", "sent_at": "2026-01-01T00:00:00Z", "max_clicks": 7,
        "utm": {"source": "sms", "campaign": "våren"},
        "preview": {"title": "Våren", "description": "Half price", "image_url": "https://example.com/a.png"},
    }) else {
        unreachable!("it is an object")
    };
    link
}

#[tokio::test]
async fn an_export_has_every_link_of_its_filter_once_and_those_of_no_other_workspace() {
    let api = Api::start().await;
    let (_, stranger) = api.other_workspace().await;
    // more than one page
    let lines: String = (0..502)
        .map(|n| format!("{{\"url\": \"https://example.com/{n}\", \"campaign_id\": \"many\"}}\n"))
        .collect();
    let bulk = api.request(Method::POST, "/v1/links/bulk").bearer_auth(&api.key);
    let bulk =
        bulk.header("content-type", "application/x-ndjson").body(lines).send().await.expect("an answer");
    let made = bulk.text().await.expect("it is whole");
    let mut made: Vec<Value> = made.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    made.sort_by_key(|link| std::cmp::Reverse(link["id"].to_string()));
    let other = api.link().await;

    let (kind, text) = export(&api, &api.key, "campaign_id=many").await;

    assert_eq!(kind, "application/x-ndjson");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ids = |links: &[Value]| links.iter().map(|link| link["id"].clone()).collect::<Vec<_>>();
    assert!(ids(&lines) == ids(&made), "{} of {}, newest first", lines.len(), made.len());
    let shown = api.get(&format!("/v1/links/{}", lines[0]["id"].as_str().expect("an id"))).await;
    assert_eq!(lines[0], shown.body, "as it is shown");
    assert_eq!(export(&api, &api.key, "").await.1.lines().count(), 503);
    api.delete(&format!("/v1/links/{other}")).await;
    assert_eq!(export(&api, &api.key, "").await.1.lines().count(), 502, "none that is archived");
    assert_eq!(export(&api, &stranger, "").await.1, "");
    for (query, pointer) in [("format=xml", "?format"), ("limit=3", "?limit"), ("state=away", "?state")] {
        let refused = api.get(&format!("/v1/links/export?{query}")).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
}

#[tokio::test]
async fn what_was_exported_can_be_imported_again_in_both_forms() {
    let api = Api::start().await;
    let given = everything();
    let made = api.post("/v1/links", Value::Object(given.clone())).await;
    assert_eq!(made.status, 201, "{}", made.body);

    let (lines, sheet) = (export(&api, &api.key, "").await, export(&api, &api.key, "format=csv").await);

    assert_eq!(
        (lines.0.as_str(), sheet.0.as_str()),
        ("application/x-ndjson", "text/csv; charset=utf-8; header=present")
    );
    for text in [&lines.1, &sheet.1] {
        let found = imported(text);
        assert_eq!((found.len(), found[0].external_id.as_str()), (1, "ext-1"));
        found[0].check().expect("it keeps to the rules");
        for (name, value) in &given {
            let read = &found[0].body[name];
            // times are written to the millisecond
            let read = read.as_str().map_or_else(|| read.clone(), |text| text.replace(".000Z", "Z").into());
            assert_eq!(&read, value, "{name} in {text}");
        }
    }
    let mut reader = csv::ReaderBuilder::new().from_reader(sheet.1.as_bytes());
    let head: Vec<String> = reader.headers().expect("headings").iter().map(str::to_owned).collect();
    let row = reader.records().next().expect("a row").expect("cells");
    let cell = |name: &str| &row[head.iter().position(|column| column == name).expect("a column")];
    assert_eq!(cell("campaign_id"), "'=1+1", "no spreadsheet runs it");
    assert_eq!((cell("link_id"), cell("recording")), (made.body["id"].as_str().expect("an id"), "full"));
}

#[tokio::test]
async fn a_sheet_that_was_exported_makes_the_same_links_in_the_console() {
    let (api, other) = (Api::start().await, Api::start().await);
    let given = everything();
    assert_eq!(api.post("/v1/links", Value::Object(given.clone())).await.status, 201);
    let (_, sheet) = export(&api, &api.key, "format=csv").await;
    let mut browser = Browser::signed_in(&other).await;
    let token = browser.token("/links/import").await;

    let (status, page) =
        browser.upload("/links/import", &[("csrf", token.as_str())], Some(sheet.as_str())).await;

    assert_eq!(status, 200, "{page}");
    assert!(page.contains("1 link is live"), "{page}");
    let made = other.get("/v1/links").await.body["data"][0].clone();
    for (name, value) in &given {
        let read: Option<Value> = made[name].as_str().map(|text| text.replace(".000Z", "Z").into());
        assert_eq!(&read.unwrap_or_else(|| made[name].clone()), value, "{name} in {sheet}");
    }
}

#[tokio::test]
async fn the_list_of_the_console_leads_to_its_links_as_a_sheet() {
    let api = Api::start().await;
    assert_eq!(api.post("/v1/links", Value::Object(everything())).await.status, 201);
    api.link().await;
    let mut browser = Browser::signed_in(&api).await;

    let (_, page) = browser.open("/links?tag=vip&q=").await;
    let (_, rest) = page.split_once("href=\"/links/export?").expect("a link to the export");
    let query = rest.split_once('"').expect("an end").0.replace("&amp;", "&").replace("&#38;", "&");
    let (status, sheet) = browser.open(&format!("/links/export?{query}")).await;

    assert_eq!((status, sheet.lines().count()), (200, 2), "headings and the link with the tag: {sheet}");
    assert!(sheet.starts_with("url,slug,domain,"), "{sheet}");
}
