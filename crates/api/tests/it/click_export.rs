//! Clicks as a file: all of them, in both forms, for their workspace.

use chrono::{TimeDelta, Utc};
use model::{ClickId, EnrichedClick, EventId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, enriched_click, record, rest_of};

/// Clicks of the last hour, oldest first.
fn clicks(api: &Api, link: &str, count: i64) -> Vec<EnrichedClick> {
    let begin = Utc::now() - TimeDelta::hours(1);
    let click = |n| {
        let mut click = enriched_click(api.workspace_id, link);
        click.click.id = ClickId::generate_at(begin + TimeDelta::milliseconds(n));
        click.event_id = EventId::of_click(click.click.id, 0);
        click
    };
    (0..count).map(click).collect()
}

async fn export(api: &Api, key: &str, query: &str) -> (String, String) {
    let path = format!("/v1/clicks/export?{query}");
    let answer = api.request(Method::GET, &path).bearer_auth(key).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
    (kind, answer.text().await.expect("it is whole"))
}

#[tokio::test]
async fn an_export_has_every_click_once_newest_first_and_those_of_no_other_workspace() {
    let api = Api::start().await;
    let (link, other) = (api.link().await, api.link().await);
    let (_, stranger) = api.other_workspace().await;
    // more than two pages
    let mut recorded = clicks(&api, &link, 1_203);
    record(&api, &recorded).await;
    record(&api, &clicks(&api, &other, 1)).await;

    let (kind, text) = export(&api, &api.key, &format!("link_id={link}")).await;

    recorded.reverse();
    let expected: Vec<Value> = recorded.iter().map(|click| json!(click.click.id)).collect();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let exported: Vec<Value> = lines.iter().map(|line| line["click_id"].clone()).collect();
    assert_eq!(kind, "application/x-ndjson");
    assert!(exported == expected, "{} of {}", exported.len(), expected.len());
    let shown = api.get(&format!("/v1/clicks/{}", recorded[0].click.id)).await;
    assert_eq!(lines[0], shown.body["click"], "as in the list");
    assert_eq!(export(&api, &api.key, "verdict=unknown").await.1, "");
    assert_eq!(export(&api, &stranger, "").await.1, "");
    assert_eq!(export(&api, &stranger, &format!("link_id={link}")).await.1, "");
    for (query, pointer) in [("format=xml", "?format"), ("limit=3", "?limit"), ("device=phone", "?device")] {
        let refused = api.get(&format!("/v1/clicks/export?{query}")).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
}

#[tokio::test]
async fn a_table_has_headings_and_nothing_that_a_spreadsheet_runs() {
    let api = Api::start().await;
    let link = api.link().await;
    let mut recorded = clicks(&api, &link, 501);
    recorded[500].click.request.user_agent = Some("=HYPERLINK(\"http://evil.example\",\"me\")".to_owned());
    recorded[500].click.request.referrer = Some("-2+3".to_owned());
    record(&api, &recorded).await;

    let (kind, text) = export(&api, &api.key, "format=csv").await;

    assert_eq!(kind, "text/csv; charset=utf-8; header=present");
    let rows: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(rows.len(), 502);
    assert!(rows[0].starts_with("click_id,clicked_at,link_id,tracked_url,"), "{}", rows[0]);
    assert!(rows[1].starts_with(&format!("{},", recorded[500].click.id)), "newest first: {}", rows[1]);
    assert!(rows[1].contains(",'-2+3,"), "{}", rows[1]);
    assert!(rows[1].contains(r#","'=HYPERLINK(""http://evil.example"",""me"")","#), "{}", rows[1]);
    assert!(rows.iter().skip(2).all(|row| row.contains(",human,")));
    let (_, nothing) = export(&api, &api.key, "format=csv&country=NO").await;
    assert_eq!(nothing, format!("{}\r\n", rows[0]), "headings alone");
}

#[tokio::test]
async fn a_table_is_read_page_by_page_and_breaks_off_when_its_key_is_revoked() {
    let api =
        Api::start_with(|settings| settings.api.bulk_key_interval = std::time::Duration::from_millis(1))
            .await;
    let link = api.link().await;
    // more than sockets and buffers hold
    for _ in 0..3 {
        record(&api, &clicks(&api, &link, 10_000)).await;
    }
    let key = api.key_with(&["clicks:read"], None).await;
    let request = api.request(Method::GET, "/v1/clicks/export?format=csv").bearer_auth(&key);
    let mut export = request.send().await.expect("an answer");
    let mut text = export.chunk().await.expect("a chunk").expect("rows").to_vec();

    api.revoke_scoped_key().await;

    let (rest, is_whole) = rest_of(export).await;
    text.extend_from_slice(&rest);
    let text = String::from_utf8(text).expect("text");
    let rows = text.lines().count();
    assert!(!is_whole && rows > 500 && rows < 30_000, "{rows}");
    assert!(text.ends_with("\r\n") && !text.contains("unauthorized"), "what is in a table is a row of it");
}

#[tokio::test]
async fn of_an_erased_contact_an_export_tells_nobody() {
    let api = Api::start().await;
    let link = api.link().await;
    record(&api, &clicks(&api, &link, 2)).await;
    assert!(export(&api, &api.key, "").await.1.contains("cont_9"));

    assert_eq!(api.post("/v1/contacts/cont_9/erase", json!({})).await.status, 200);

    for form in ["ndjson", "csv"] {
        let text = export(&api, &api.key, &format!("format={form}")).await.1;
        assert!(text.contains(&link) && !text.contains("cont_9") && !text.contains("Linköping"), "{text}");
    }
}
