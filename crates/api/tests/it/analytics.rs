//! Reports over the API: what was clicked, step by step, and by what.

use model::EnrichedClick;
use model::automation::Verdict;
use model::device::DeviceKind;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, count_clicks, enriched_click, record};

/// Clicks on a link: so many with this verdict, from this country, by contacts of their own.
fn clicks(
    api: &Api,
    link: &str,
    count: usize,
    verdict: Verdict,
    country: Option<&str>,
) -> Vec<EnrichedClick> {
    let click = |n: usize| {
        let mut click = enriched_click(api.workspace_id, link);
        click.automation.verdict = verdict;
        click.location.country = country.map(str::to_owned);
        click.click.link.labels.contact_id = Some(format!("contact {link} {n}"));
        click.device.kind = if n == 0 { DeviceKind::Desktop } else { DeviceKind::Mobile };
        click
    };
    (0..count).map(click).collect()
}

/// Two links: three people, a machine and somebody unclear on one, a person on the other; and another workspace.
async fn given() -> (Api, String, String, String) {
    let api = Api::start().await;
    let (first, second) = (api.link().await, api.link().await);
    let (stranger_id, stranger) = api.other_workspace().await;
    record(&api, &clicks(&api, &first, 3, Verdict::Human, Some("SE"))).await;
    record(&api, &clicks(&api, &first, 1, Verdict::Automated, Some("US"))).await;
    record(&api, &clicks(&api, &first, 1, Verdict::Unknown, None)).await;
    record(&api, &clicks(&api, &second, 1, Verdict::Human, Some("NO"))).await;
    let theirs = model::LinkId::generate().to_string();
    let mut theirs = clicks(&api, &theirs, 7, Verdict::Human, Some("DE"));
    theirs.iter_mut().for_each(|click| click.click.workspace_id = stranger_id);
    record(&api, &theirs).await;
    count_clicks(&api).await;
    (api, first, second, stranger)
}

fn counts(value: &Value) -> [i64; 3] {
    ["hits", "clicks", "unique_clicks"].map(|name| value[name].as_i64().expect("a number"))
}

#[tokio::test]
async fn a_summary_is_what_people_did_unless_it_is_asked_for_others() {
    let (api, first, _, stranger) = given().await;

    let people = api.get("/v1/analytics/summary").await;
    let all = api.get("/v1/analytics/summary?verdict=all").await;
    let machines = api.get("/v1/analytics/summary?verdict=automated").await;
    let unclear = api.get("/v1/analytics/summary?verdict=unknown").await;
    let of_link = api.get(&format!("/v1/analytics/summary?link_id={first}")).await;
    let theirs = api.call_as(&stranger, Method::GET, "/v1/analytics/summary", None).await;

    assert_eq!(people.status, 200, "{}", people.body);
    assert_eq!((counts(&people.body), &people.body["contacts_clicked"]), ([4, 4, 4], &json!(4)));
    assert_eq!(people.body["by_verdict"], json!({"human": 4, "automated": 1, "unknown": 1}));
    assert_eq!((counts(&all.body), &all.body["contacts_clicked"]), ([6, 5, 5], &json!(4)));
    assert_eq!((counts(&machines.body), &machines.body["contacts_clicked"]), ([1, 0, 0], &json!(0)));
    assert_eq!(counts(&unclear.body), [1, 1, 1]);
    assert_eq!((counts(&of_link.body), &of_link.body["contacts_clicked"]), ([3, 3, 3], &json!(3)));
    assert_eq!(of_link.body["link_id"], first);
    assert_eq!(counts(&theirs.body), [7, 7, 7], "each workspace its own");
    let theirs = format!("/v1/analytics/summary?link_id={first}&verdict=all");
    let theirs = api.call_as(&stranger, Method::GET, &theirs, None).await;
    assert_eq!((counts(&theirs.body), &theirs.body["contacts_clicked"]), ([0, 0, 0], &json!(0)));
}

#[tokio::test]
async fn a_time_series_goes_by_the_clock_of_its_zone() {
    let (api, ..) = given().await;

    let since = "2026-03-28T00:00:00Z";
    let path =
        format!("/v1/analytics/timeseries?since={since}&until=2026-03-31T00:00:00Z&tz=Europe/Stockholm");
    let spring = api.get(&format!("{path}&interval=day")).await;
    let recent = api.get("/v1/analytics/timeseries?interval=hour").await;

    assert_eq!(spring.status, 200, "{}", spring.body);
    let at: Vec<&str> = spring.body["points"]
        .as_array()
        .expect("points")
        .iter()
        .map(|p| p["at"].as_str().expect("a moment"))
        .collect();
    let expected = ["2026-03-27T23:00", "2026-03-28T23:00", "2026-03-29T22:00", "2026-03-30T22:00"];
    assert_eq!(at, expected.map(|at| format!("{at}:00.000Z")), "the day that clocks go forward has 23 hours");
    assert_eq!((&spring.body["interval"], &spring.body["tz"]), (&json!("day"), &json!("Europe/Stockholm")));
    let points = recent.body["points"].as_array().expect("points");
    assert_eq!(points.iter().map(|point| counts(point)[0]).sum::<i64>(), 4);
}

#[tokio::test]
async fn a_list_and_its_others_are_every_click() {
    let (api, first, second, _) = given().await;

    let countries = api.get("/v1/analytics/top?by=country&verdict=all&limit=1").await;
    let links = api.get("/v1/analytics/top?by=link").await;
    let of_link = api.get(&format!("/v1/analytics/top?by=device&verdict=all&link_id={first}")).await;

    assert_eq!(countries.body["values"][0]["value"], "SE", "{}", countries.body);
    assert_eq!(
        (counts(&countries.body["values"][0]), counts(&countries.body["others"])),
        ([3, 3, 3], [3, 2, 2])
    );
    let values = links.body["values"].as_array().expect("values");
    let ids: Vec<&Value> = values.iter().map(|value| &value["value"]).collect();
    assert_eq!(ids, [&json!(first), &json!(second)]);
    let link = api.get(&format!("/v1/links/{first}")).await.body;
    assert_eq!(values[0]["link"], json!({"slug": link["slug"], "tracked_url": link["tracked_url"]}));
    let devices = of_link.body["values"].as_array().expect("values");
    let devices: Vec<(&Value, [i64; 3])> = devices.iter().map(|v| (&v["value"], counts(v))).collect();
    assert_eq!(devices, [(&json!("desktop"), [3, 2, 2]), (&json!("mobile"), [2, 2, 2])]);
    assert_eq!(of_link.body["only_newest"], Value::Null);
}

#[tokio::test]
async fn the_statistics_of_a_link_are_its_own() {
    let (api, first, _, stranger) = given().await;
    let path = format!("/v1/links/{first}/stats");

    let stats = api.get(&path).await;

    assert_eq!(stats.status, 200, "{}", stats.body);
    assert_eq!((counts(&stats.body), &stats.body["contacts_clicked"]), ([3, 3, 3], &json!(3)));
    assert_eq!(stats.body["by_verdict"], json!({"human": 3, "automated": 1, "unknown": 1}));
    let points = stats.body["points"].as_array().expect("points");
    assert_eq!(points.iter().map(|point| counts(point)[1]).sum::<i64>(), 3);
    let top = |by: &str| stats.body["top"][by]["values"][0]["value"].clone();
    assert_eq!((top("country"), top("device"), top("os")), (json!("SE"), json!("mobile"), json!("iOS")));
    assert_eq!(top("city"), json!("Linköping, Östergötland County, SE"));
    assert_eq!(api.call_as(&stranger, Method::GET, &path, None).await.status, 404);
    let unread = api.key_with(&["links:read"], None).await;
    assert_eq!(api.call_as(&unread, Method::GET, &path, None).await.status, 403);
}

#[tokio::test]
async fn a_query_that_is_wrong_names_the_field() {
    let api = Api::start().await;
    let link = api.link().await;

    for (query, pointer) in [
        ("timeseries?tz=Europe/Nowhere", "?tz"),
        ("timeseries?interval=minute", "?interval"),
        ("timeseries?interval=15m&since=2026-01-01T00:00:00Z&until=2026-12-01T00:00:00Z", "?interval"),
        ("summary?since=2020-01-01T00:00:00Z", "?since"),
        ("summary?since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z", "?until"),
        ("summary?verdict=robot", "?verdict"),
        ("summary?link_id=nothing", "?link_id"),
        ("summary?tz=UTC", "?tz"),
        ("top", "?by"),
        ("top?by=colour", "?by"),
        ("top?by=city&limit=101", "?limit"),
    ] {
        let refused = api.get(&format!("/v1/analytics/{query}")).await;
        assert_eq!(
            (refused.status, &refused.body["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{query}"
        );
    }
    let refused = api.get(&format!("/v1/links/{link}/stats?tz=Mars")).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("?tz")));
}
