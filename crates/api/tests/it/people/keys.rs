//! API keys that somebody made who is removed.

use chrono::Utc;
use model::KeyId;
use reqwest::Method;
use serde_json::json;
use store::{AsyncConnection as _, QueryError, api_keys, workspaces};
use tokio::sync::oneshot;

use super::{audited, join, person_id};
use crate::console::Browser;
use crate::harness::{Api, until_one_waits_for_another};

/// Has an owner make a key for everything, and tells it.
pub async fn key_of(owner: &mut Browser<'_>, name: &str) -> String {
    let page = owner.fill("/settings/keys", "/settings/keys", &[("name", name), ("scopes", "*")]).await;
    let (_, rest) = page.split_once("data-key>").expect("a key");
    rest.split_once('<').expect("its end").0.to_owned()
}

async fn opens(api: &Api, key: &str) -> u16 {
    api.call_as(key, Method::GET, "/v1/links", None).await.status
}

#[tokio::test]
async fn whoever_removes_somebody_sees_the_keys_that_they_made_and_may_revoke_them_at_once() {
    let api = Api::start().await;
    let mut bob = join(&api, "bob@example.com", "owner").await;
    let mut ada = join(&api, "ada@example.com", "owner").await;
    let (of_ada, of_bob) = (key_of(&mut ada, "Warehouse").await, key_of(&mut bob, "CRM").await);
    let body = json!({"name": "Nightly", "scopes": ["links:read"]});
    let made = api.call_as(&of_ada, Method::POST, "/v1/api-keys", Some(body)).await.body;
    let of_her_key = made["key"].as_str().expect("a key");
    let id = person_id(&api, "ada@example.com").await;
    let remove = format!("/settings/people/{id}/remove");

    let (_, before) = bob.open("/settings/people").await;
    let page = bob.fill("/settings/people", &remove, &[("revoke_keys", "true")]).await;

    let (_, form) = before.split_once(&remove).expect("a form");
    let form = form.split("</form>").next().unwrap_or_default();
    assert!(form.contains("“Warehouse”") && form.contains("“Nightly”") && !form.contains("“CRM”"), "{form}");
    assert!(page.contains("The 2 API keys that they made are revoked."), "{page}");
    for (key, expected) in [(of_ada.as_str(), 401), (of_her_key, 401), (of_bob.as_str(), 200)] {
        assert_eq!(opens(&api, key).await, expected);
    }
    let entry = audited(&api, "key.revoked").await;
    assert_eq!(entry["details"]["removed"], json!(id), "{entry}");
}

#[tokio::test]
async fn keys_go_on_unless_they_are_to_be_revoked_by_who_may() {
    let api = Api::start().await;
    join(&api, "bob@example.com", "owner").await;
    for (query, expected) in [("", 200), ("?revoke_keys=false", 200), ("?revoke_keys=true", 401)] {
        let mut ada = join(&api, "ada@example.com", "owner").await;
        let key = key_of(&mut ada, "CI").await;
        let path = format!("/v1/people/{}", person_id(&api, "ada@example.com").await);

        assert_eq!(api.delete(&format!("{path}?revoke_keys=perhaps")).await.status, 422);
        assert_eq!(api.delete(&format!("{path}{query}")).await.status, 204, "{query}");

        assert_eq!(opens(&api, &key).await, expected, "{query}");
    }

    join(&api, "eve@example.com", "viewer").await;
    let eve = format!("/v1/people/{}", person_id(&api, "eve@example.com").await);
    let looking = ["links:read", "endpoints:read", "deliveries:read", "clicks:read", "settings:read"];
    let key = api.key_with(&[&looking[..], &["people:read", "people:write"]].concat(), None).await;
    let delete = async |path: &str| api.call_as(&key, Method::DELETE, path, None).await.status;
    assert_eq!(delete(&format!("{eve}?revoke_keys=true")).await, 403, "it may not manage keys");
    assert_eq!(delete(&eve).await, 204);
}

#[tokio::test]
async fn a_key_that_is_revoked_meanwhile_makes_no_other() {
    let api = Api::start().await;
    let maker = api.key_with(&["keys:write"], None).await;
    let keys = api.get("/v1/api-keys").await.body;
    let made = keys["data"].as_array().expect("keys").iter().find(|key| key["name"] == "Scoped");
    let id: KeyId = made.expect("it is there")["id"].as_str().expect("an id").parse().expect("an id");
    let mut conn = api.pool.get().await.expect("the database runs");
    let (begun, has_begun) = oneshot::channel();

    let revoking = conn.transaction::<_, QueryError, _>(async |conn| {
        workspaces::lock(conn, api.workspace_id).await?;
        begun.send(()).expect("somebody waits");
        until_one_waits_for_another(&api).await;
        api_keys::revoke(conn, api.workspace_id, id, Utc::now()).await
    });
    let late = async {
        has_begun.await.expect("it begins");
        let body = json!({"name": "Late", "scopes": ["keys:write"]});
        api.call_as(&maker, Method::POST, "/v1/api-keys", Some(body)).await
    };
    let (revoking, late) = tokio::join!(revoking, late);

    assert!(revoking.expect("no error"));
    assert_eq!(late.status, 401, "{}", late.body);
    assert!(!api.get("/v1/api-keys").await.body.to_string().contains("Late"));
}
