//! Minting keys, templates, and how a link is put into a message.

use model::minting::{MintingKey, Presented, RecipientLink};
use reqwest::Method;
use serde_json::{Value, json};

use crate::console::Browser;
use crate::harness::Api;

#[tokio::test]
async fn a_minting_key_is_shown_once_rotated_and_revoked() {
    let api = Api::start().await;

    let made = api.call(Method::POST, "/v1/minting-keys", None).await;
    assert_eq!((made.status, &made.body["number"]), (201, &json!(0)), "{}", made.body);
    let key: MintingKey = made.body["key"].as_str().expect("a key").parse().expect("a minting key");
    let id = made.body["id"].as_str().expect("an id").to_owned();
    let rotated = api.call(Method::POST, &format!("/v1/minting-keys/{id}/rotate"), None).await;
    assert_eq!((rotated.status, &rotated.body["number"]), (201, &json!(1)), "{}", rotated.body);
    let again = api.call(Method::POST, &format!("/v1/minting-keys/{id}/rotate"), None).await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("key_retired")), "{}", again.body);

    let listed = api.get("/v1/minting-keys").await.body;
    let key_of = |listed: &Value, number: u64| {
        let keys = listed["data"].as_array().expect("keys");
        keys.iter().find(|key| key["number"] == number).expect("the key").clone()
    };
    assert!(key_of(&listed, 0)["retired_at"].is_string(), "{listed}");
    assert!(key_of(&listed, 1)["retired_at"].is_null(), "{listed}");
    assert!(!listed.to_string().contains("mint_"), "{listed}");
    assert_eq!(api.delete(&format!("/v1/minting-keys/{id}")).await.status, 204);
    assert_eq!(api.delete(&format!("/v1/minting-keys/{id}")).await.status, 404);
    let listed = api.get("/v1/minting-keys").await.body;
    assert!(key_of(&listed, 0)["revoked_at"].is_string(), "{listed}");
    let dump = api.dump("minting_keys").await + &api.dump("audit").await;
    assert!(!dump.contains(&key.reveal()), "{dump}");
}

#[tokio::test]
async fn a_workspace_has_so_many_minting_keys_and_a_server_that_is_not_set_up_has_none() {
    let api = Api::start().await;
    for _ in 0..16 {
        assert_eq!(api.call(Method::POST, "/v1/minting-keys", None).await.status, 201);
    }
    let refused = api.call(Method::POST, "/v1/minting-keys", None).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("limit_reached")), "{}", refused.body);

    let api = Api::start_with(|settings| settings.minting.key = None).await;
    let refused = api.call(Method::POST, "/v1/minting-keys", None).await;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (409, &json!("minting_not_set_up")),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn a_link_becomes_a_template_is_closed_and_opened_again_with_its_number() {
    let api = Api::start().await;
    let link = api.link().await;
    let path = format!("/v1/links/{link}/template");
    assert_eq!(api.get(&path).await.status, 404);

    let opened = api.call(Method::PUT, &path, None).await;

    assert_eq!((opened.status, &opened.body["closed_at"]), (200, &json!(null)), "{}", opened.body);
    assert!(
        opened.body["url_prefix"].as_str().is_some_and(|prefix| prefix.ends_with("/_")),
        "{}",
        opened.body
    );
    assert_eq!(api.delete(&path).await.status, 204);
    let closed = api.get(&path).await.body;
    assert!(closed["closed_at"].is_string(), "{closed}");
    assert_eq!(api.call(Method::PUT, &path, None).await.body, opened.body);
    let number = u32::try_from(opened.body["number"].as_u64().expect("a number")).expect("a small one");
    let key = MintingKey::generate(0).expect("a key");
    let token = key.token(&RecipientLink { template: number, recipient: 17, ends_on: None });
    assert!(Presented::read(&token).is_some());
    let shown = api.get(&format!("/v1/links/{link}")).await.body;
    assert_eq!(shown["kind"], "shareable");
}

#[tokio::test]
async fn recipients_are_denied_and_allowed_by_their_numbers() {
    let api = Api::start().await;
    let template = format!("/v1/links/{}/template", api.link().await);
    let path = format!("{template}/denied-recipients");
    assert_eq!(api.post(&path, json!({"recipients": [1]})).await.status, 404);
    api.call(Method::PUT, &template, None).await;

    let denied = api.post(&path, json!({"recipients": [17, "18446744073709551615", "17"]})).await;

    assert_eq!(denied.status, 200, "{}", denied.body);
    let recipients = |body: &Value| -> Vec<String> {
        let data = body["data"].as_array().expect("entries");
        data.iter().map(|entry| entry["recipient"].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(recipients(&denied.body), ["17", "18446744073709551615"]);
    for wrong in
        [json!([]), json!(["01"]), json!([-1]), json!(["cont_9"]), json!([1.5]), json!(vec![1; 1001])]
    {
        let refused = api.post(&path, json!({"recipients": wrong})).await;
        assert_eq!((refused.status, &refused.body["code"]), (422, &json!("invalid")), "{wrong}");
    }
    assert_eq!(api.delete(&format!("{path}/17")).await.status, 204);
    for nobody in ["17", "x", "017"] {
        assert_eq!(api.delete(&format!("{path}/{nobody}")).await.status, 404, "{nobody}");
    }
    assert_eq!(recipients(&api.get(&path).await.body), ["18446744073709551615"]);

    let many: Vec<u32> = (100..1099).collect();
    assert_eq!(api.post(&path, json!({"recipients": many})).await.status, 200);
    let refused = api.post(&path, json!({"recipients": [5000]})).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("limit_reached")), "{}", refused.body);
    assert_eq!(refused.body["errors"][0]["pointer"], "/recipients");
    assert_eq!(recipients(&api.get(&path).await.body).len(), 1000);
}

#[tokio::test]
async fn the_snippet_of_a_honeypot_is_hidden() {
    let api = Api::start().await;
    let hidden = json!({"url": "https://example.com/", "kind": "honeypot", "message_id": "msg_1"});
    let hidden = api.post("/v1/links", hidden).await.body;
    let snippet = async |id: &str| api.get(&format!("/v1/links/{id}/snippet")).await.body;

    let told = snippet(hidden["id"].as_str().expect("an id")).await;

    assert_eq!(told["tracked_url"], hidden["tracked_url"]);
    let html = told["html"].as_str().expect("HTML");
    assert!(
        html.contains("display:none") && html.contains(told["tracked_url"].as_str().expect("a URL")),
        "{html}"
    );
    let other = api.link().await;
    let seen = snippet(&other).await;
    assert!(seen["html"].as_str().is_some_and(|html| !html.contains("display:none")), "{seen}");

    let mut browser = Browser::signed_in(&api).await;
    let (_, page) = browser.open(&format!("/links/{}", hidden["id"].as_str().expect("an id"))).await;
    let (_, shown) = page.split_once("data-snippet>").expect("the HTML");
    let shown = shown.split_once("</code>").expect("its end").0;
    assert_eq!(
        shown.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"").replace("&#38;", "&"),
        html
    );
    assert!(!browser.open(&format!("/links/{other}")).await.1.contains("data-snippet"));
}

#[tokio::test]
async fn the_console_shows_a_new_key_once_and_takes_it_back() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;

    let page = browser.fill("/settings/minting", "/settings/minting", &[]).await;

    let (_, rest) = page.split_once("data-key>").expect("the new key");
    assert!(rest.starts_with("mint_0_"), "{page}");
    assert!(page.contains("<span class=\"sub\">by Key Given</span>"), "{page}");
    assert!(!browser.open("/settings/minting").await.1.contains("data-key>"));
    let keys = api.get("/v1/minting-keys").await.body;
    let revoke = format!("/settings/minting/{}/revoke", keys["data"][0]["id"].as_str().expect("an id"));
    let page = browser.fill("/settings/minting", &revoke, &[]).await;
    assert!(page.contains("Revoked") && !page.contains(&revoke), "{page}");
}

#[tokio::test]
async fn the_console_shows_minting_keys_page_by_page() {
    const SHOWN: usize = 50;
    let api = Api::start().await;
    for _ in 0..=SHOWN {
        let made = api.call(Method::POST, "/v1/minting-keys", None).await;
        let id = made.body["id"].as_str().expect("an id");
        assert_eq!(api.delete(&format!("/v1/minting-keys/{id}")).await.status, 204);
    }
    let mut browser = Browser::signed_in(&api).await;
    let revoked = |page: &str| page.matches(">Revoked<").count();

    let (_, newest) = browser.open("/settings/minting").await;
    let (_, rest) = newest.split_once("/settings/minting?before=").expect("older ones");
    let (before, _) = rest.split_once('"').expect("the end of the address");
    let (_, oldest) = browser.open(&format!("/settings/minting?before={before}")).await;

    assert_eq!((revoked(&newest), revoked(&oldest)), (SHOWN, 1), "{oldest}");
    assert!(!oldest.contains("?before="), "{oldest}");
    assert_eq!(browser.open("/settings/minting?before=x").await.0, 404);
}
