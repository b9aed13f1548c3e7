//! Erasing contacts over the API.

use reqwest::Method;
use serde_json::{Value, json};
use store::tombstones;

use crate::harness::{Api, failed_delivery, recorded_click};
use crate::quarantine::put_aside;

#[tokio::test]
async fn a_contact_is_erased_by_who_may_and_only_in_their_workspace() {
    let api = Api::start().await;
    let (_, stranger) = api.other_workspace().await;
    let link =
        api.post("/v1/links", json!({"url": "https://example.com/", "contact_id": "cont_9"})).await.body;
    let path = "/v1/contacts/cont_9/erase";

    let reader = api.key_with(&["clicks:read", "links:write"], None).await;
    assert_eq!(api.call_as(&reader, Method::POST, path, None).await.status, 403);
    let theirs = api.call_as(&stranger, Method::POST, path, None).await;
    assert_eq!((theirs.status, &theirs.body["scrubbed"]["links"]), (200, &json!(0)));
    let shown = format!("/v1/links/{}", link["id"].as_str().expect("an id"));
    assert_eq!(api.get(&shown).await.body["contact_id"], "cont_9");

    let may = api.key_with(&["clicks:erase"], None).await;
    let erased = api.call_as(&may, Method::POST, path, None).await;

    assert_eq!((erased.status, &erased.body["scrubbed"]["links"]), (200, &json!(1)), "{}", erased.body);
    let emptied = api.get(&shown).await.body;
    assert_eq!((&emptied["contact_id"], &emptied["revision"]), (&Value::Null, &json!(2)));
    assert_eq!(emptied["url"], "https://example.com/");
    for wrong in ["%00", "%20", &"x".repeat(1000)] {
        assert_eq!(api.post(&format!("/v1/contacts/{wrong}/erase"), json!({})).await.status, 422, "{wrong}");
    }
}

#[tokio::test]
async fn asked_again_an_erasure_is_the_same_looks_again_and_names_nobody_in_the_audit_log() {
    let api = Api::start().await;
    let path = "/v1/contacts/cont_9/erase";

    let first = api.post(path, json!({})).await.body;
    api.post("/v1/links", json!({"url": "https://example.com/", "contact_id": "cont_9"})).await;
    let again = api.post(path, json!({})).await.body;

    assert_eq!((&again["id"], &again["erased_at"]), (&first["id"], &first["erased_at"]));
    assert_eq!((&first["scrubbed"]["links"], &again["scrubbed"]["links"]), (&json!(0), &json!(1)));
    let log = api.get("/v1/audit").await.body;
    assert!(!log.to_string().contains("cont_9"), "{log}");
    let erasures = log["data"].as_array().expect("a list").iter();
    assert_eq!(erasures.filter(|entry| entry["action"] == "contact.erased").count(), 2);
}

#[tokio::test]
async fn a_workspace_has_only_so_many_contacts_erased_at_a_time() {
    let api = Api::start_with(|settings| settings.api.erasures_open_max = 2).await;
    let (_, stranger) = api.other_workspace().await;
    let erase = async |key: &str, contact| {
        let path = format!("/v1/contacts/{contact}/erase");
        api.call_as(key, Method::POST, &path, None).await
    };

    // each is looked through again after minutes
    assert_eq!(erase(&api.key, "cont_1").await.status, 200);
    assert_eq!(erase(&api.key, "cont_2").await.status, 200);
    let third = erase(&api.key, "cont_3").await;

    assert_eq!((third.status, &third.body["code"]), (503, &json!("unavailable")));
    assert!(third.body["detail"].to_string().contains("api.erasures_open_max"), "{}", third.body);
    assert_eq!(erase(&stranger, "cont_3").await.status, 200);
}

#[tokio::test]
async fn nothing_is_sent_again_of_an_erased_contact_and_nothing_of_it_stays_in_quarantine() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let contact = click.click.link.labels.contact_id.clone().expect("a contact");
    let delivery = failed_delivery(&api, &endpoint, &click).await;
    let aside = bus::Message::outgoing(&click.click);
    let subject_of_others = put_aside(&api, "other", chrono::Utc::now(), &aside.payload).await;
    let retry = format!("/v1/deliveries/{delivery}/retry");
    let replay = json!({"endpoint_id": endpoint, "delivery_ids": [delivery], "dry_run": true});
    assert_eq!(api.post("/v1/replays", replay.clone()).await.body["matching"], 1);

    let erased = api.post(&format!("/v1/contacts/{contact}/erase"), json!({})).await.body;

    assert_eq!(
        (&erased["scrubbed"]["clicks"], &erased["scrubbed"]["deliveries"]),
        (&json!(1), &json!(1)),
        "{erased}"
    );
    let refused = api.post(&retry, json!({})).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("contact_erased")));
    assert_eq!(api.post("/v1/replays", replay).await.body["matching"], 0);
    let shown = api.get(&format!("/v1/clicks/{}", click.click.id)).await.body.to_string();
    assert!(!shown.contains(&contact), "{shown}");
    let shown = api.get(&format!("/v1/deliveries/{delivery}")).await.body.to_string();
    assert!(!shown.contains("out of order"), "what a subscriber answered is gone: {shown}");
    // that one was of another workspace
    let operator = api.key_with(&["admin"], None).await;
    let left =
        api.call_as(&operator, Method::GET, &format!("/v1/quarantine/{subject_of_others}"), None).await;
    assert_eq!(left.status, 200);
    let mut conn = api.pool.get().await.expect("a connection");
    let known =
        tombstones::erased(&mut conn, [(api.workspace_id, contact.as_str())]).await.expect("an answer");
    assert_eq!(known.len(), 1);
}
