//! What people did, as the console tells it.

use serde_json::json;

use crate::harness::Api;
use crate::people::{join, person_id};

#[tokio::test]
async fn activity_reads_as_sentences_and_is_filtered() {
    let api = Api::start().await;
    let mut ada = join(&api, "ada@example.com", "owner").await;
    ada.fill("/links/new", "/links", &[("url", "https://example.com/"), ("slug", "spring")]).await;
    let endpoint = api.endpoint().await;
    let id = person_id(&api, "ada@example.com").await;

    let (_, all) = ada.open("/settings/activity").await;
    for said in [
        "<strong>ada</strong>",
        ">made a link</a>",
        "spring",
        "accepted an invitation",
        "added a webhook",
        "Key Given",
    ] {
        assert!(all.contains(said), "{said}: {all}");
    }
    let (_, links) = ada.open("/settings/activity?actor=&kind=link&since=&until=").await;
    assert!(links.contains("made a link") && !links.contains(">added a webhook<"), "{links}");
    let (_, hers) = ada.open(&format!("/settings/activity?actor={id}")).await;
    assert!(hers.contains("made a link") && !hers.contains(&endpoint), "{hers}");
    let (_, none) = ada.open("/settings/activity?until=2020-01-01").await;
    assert!(none.contains("Nothing found"), "{none}");
    let (status, wrong) = ada.open("/settings/activity?since=yesterday").await;
    assert_eq!(status, 200);
    assert!(wrong.contains("id=\"since-wrong\""), "{wrong}");
    let entries = api.get("/v1/audit?action=endpoint.created").await.body;
    assert_eq!(
        (entries["data"].as_array().map(Vec::len), &entries["data"][0]["subject"]),
        (Some(1), &json!(endpoint))
    );
    assert_eq!(api.get("/v1/audit?action=DROP").await.status, 422);
}
