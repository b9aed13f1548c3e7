//! API keys over the API.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::json;

use crate::harness::{Api, answer};
use crate::people::join;

#[tokio::test]
async fn nobody_gives_away_more_than_they_hold() {
    let api = Api::start().await;
    let keeper = api.key_with(&["keys:write", "links:read"], None).await;
    let make = async |scopes| {
        let body = json!({"name": "x", "scopes": scopes});
        api.call_as(&keeper, reqwest::Method::POST, "/v1/api-keys", Some(body)).await
    };

    assert_eq!(make(json!(["links:read"])).await.status, 201);
    let refused = make(json!(["links:read", "links:write"])).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.body["errors"][0]["pointer"], "/scopes/1");
    assert_eq!(make(json!(["*"])).await.status, 422);
    assert_eq!(make(json!(["links:fly"])).await.status, 422);
    assert_eq!(make(json!([])).await.status, 422);
}

#[tokio::test]
async fn a_key_is_rotated_and_the_old_one_goes_on_for_a_while() {
    let api = Api::start().await;
    let old = api.post("/v1/api-keys", json!({"name": "CRM", "scopes": ["links:read"]})).await.body;
    let (id, key) = (text(&old["id"]), text(&old["key"]));
    let path = format!("/v1/api-keys/{id}/rotate");

    let rotated = api.post(&path, json!({})).await;

    assert_eq!(rotated.status, 201, "{}", rotated.body);
    let new = rotated.body;
    assert_eq!(
        (&new["name"], &new["scopes"], &new["expires_at"]),
        (&old["name"], &old["scopes"], &json!(null))
    );
    assert_ne!(new["id"], old["id"]);
    for key in [&key, &text(&new["key"])] {
        assert_eq!(api.call_as(key, Method::GET, "/v1/links", None).await.status, 200);
    }
    let shown = api.get(&format!("/v1/api-keys/{id}")).await.body;
    let ends_at: DateTime<Utc> = text(&shown["expires_at"]).parse().expect("a moment");
    let left = ends_at - Utc::now();
    assert!(left > TimeDelta::hours(23) && left <= TimeDelta::hours(24), "{left}");
    assert_eq!(shown.get("key"), None);

    // at once, and never later than it would have ended anyway
    let newest = api.post(&path, json!({"overlap_seconds": 0})).await;
    assert_eq!(newest.status, 201);
    assert_eq!(api.call_as(&key, Method::GET, "/v1/links", None).await.status, 401);
    let refused = api.post(&path, json!({})).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("key_expired")));
    let audit = api.get(&format!("/v1/audit?subject={id}&action=key.rotated")).await.body;
    assert_eq!(audit["data"][0]["details"]["successor"], newest.body["id"]);
    for wrong in
        [json!({"overlap_seconds": -1}), json!({"overlap_seconds": 2_592_001}), json!({"overlap": 1})]
    {
        assert_eq!(api.post(&path, wrong).await.status, 422);
    }
}

#[tokio::test]
async fn rotation_asked_for_twice_is_done_once_and_shows_the_key_once() {
    let api = Api::start().await;
    let old = api.post("/v1/api-keys", json!({"name": "CRM", "scopes": ["links:read"]})).await.body;
    let path = format!("/v1/api-keys/{}/rotate", text(&old["id"]));
    let ask = async || {
        let request = api.request(Method::POST, &path).bearer_auth(&api.key).header("idempotency-key", "k");
        answer(request.send().await.expect("an answer")).await
    };

    let (first, again) = (ask().await, ask().await);

    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body["id"], again.body["id"]);
    assert!(first.body["key"].is_string() && again.body.get("key").is_none());
}

#[tokio::test]
async fn nobody_gets_by_rotation_what_they_do_not_hold() {
    let api = Api::start().await;
    let keeper = api.key_with(&["keys:write", "links:read"], None).await;
    let all = api.post("/v1/api-keys", json!({"name": "All", "scopes": ["*"]})).await.body;
    let some = api.post("/v1/api-keys", json!({"name": "Some", "scopes": ["links:read"]})).await.body;
    let rotate = async |key: &serde_json::Value| {
        let path = format!("/v1/api-keys/{}/rotate", text(&key["id"]));
        api.call_as(&keeper, Method::POST, &path, Some(json!({}))).await
    };

    let refused = rotate(&all).await;

    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("not_held")));
    assert_eq!(rotate(&some).await.status, 201);
    let still = api.call_as(&text(&all["key"]), Method::GET, "/v1/links", None).await;
    assert_eq!(still.status, 200, "what was refused changed nothing");
}

#[tokio::test]
async fn nobody_makes_a_key_that_outlives_their_own() {
    let api = Api::start().await;
    let ends_at = Utc::now() + TimeDelta::days(1);
    let keeper = api.key_with(&["keys:write", "links:read"], Some(ends_at)).await;
    let make = async |expires_at: Option<DateTime<Utc>>| {
        let body = json!({"name": "x", "scopes": ["links:read"], "expires_at": expires_at});
        api.call_as(&keeper, Method::POST, "/v1/api-keys", Some(body)).await
    };

    for later in [None, Some(ends_at + TimeDelta::seconds(1))] {
        let refused = make(later).await;
        let error = &refused.body["errors"][0];
        let told = (refused.status, &error["pointer"], &error["code"]);
        assert_eq!(told, (422, &json!("/expires_at"), &json!("not_held")), "{later:?}");
    }
    assert_eq!(make(Some(ends_at - TimeDelta::seconds(1))).await.status, 201);

    // nor by rotation, and the key goes on as it was
    let endless = api.post("/v1/api-keys", json!({"name": "CRM", "scopes": ["links:read"]})).await.body;
    let path = format!("/v1/api-keys/{}", text(&endless["id"]));
    let rotated = api.call_as(&keeper, Method::POST, &format!("{path}/rotate"), Some(json!({}))).await;
    assert_eq!((rotated.status, &rotated.body["code"]), (409, &json!("not_held")));
    assert_eq!(api.get(&path).await.body["expires_at"], json!(null));
}

#[tokio::test]
async fn who_missed_the_successor_of_their_own_key_rotates_again_for_one_that_lasts_as_long() {
    let api = Api::start().await;
    for ends_at in [None, Some(Utc::now() + TimeDelta::days(20))] {
        let keeper = api.key_with(&["keys:write", "links:read"], ends_at).await;
        let call = async |method, path: &str, body| api.call_as(&keeper, method, path, body).await;
        let listed = call(Method::GET, "/v1/api-keys", None).await.body;
        let is_own = |key: &&serde_json::Value| keeper.starts_with(key["shown"].as_str().expect("text"));
        let own = listed["data"].as_array().expect("keys").iter().find(is_own).expect("the key").clone();
        let rotate = async |key: &serde_json::Value| {
            let path = format!("/v1/api-keys/{}/rotate", text(&key["id"]));
            call(Method::POST, &path, Some(json!({}))).await
        };

        let missed = rotate(&own).await;
        let again = rotate(&own).await;

        assert_eq!((missed.status, &missed.body["expires_at"]), (201, &own["expires_at"]), "{}", missed.body);
        assert_eq!((again.status, &again.body["expires_at"]), (201, &own["expires_at"]), "{}", again.body);
        let of_missed = rotate(&missed.body).await;
        assert_eq!((of_missed.status, &of_missed.body["expires_at"]), (201, &own["expires_at"]));
        let body = json!({"name": "x", "scopes": ["links:read"], "expires_at": own["expires_at"]});
        assert_eq!(call(Method::POST, "/v1/api-keys", Some(body)).await.status, 201);
        // the key itself ends all the same
        let shown = api.get(&format!("/v1/api-keys/{}", text(&own["id"]))).await.body;
        let ends_at: DateTime<Utc> = text(&shown["expires_at"]).parse().expect("a moment");
        assert!(ends_at - Utc::now() <= TimeDelta::hours(24), "{ends_at}");

        let body = json!({"name": "x", "scopes": ["links:read"], "expires_at": null});
        let lasting = call(Method::POST, "/v1/api-keys", Some(body)).await.status;
        assert_eq!(lasting, if own["expires_at"].is_null() { 201 } else { 422 });
    }
}

#[tokio::test]
async fn a_form_makes_a_key_that_ends_and_says_what_to_do_where_there_is_none() {
    let api = Api::start().await;
    let mut owner = join(&api, "ada@example.com", "owner").await;
    let first = api.get("/v1/api-keys").await.body;
    let path = format!("/v1/api-keys/{}", text(&first["data"][0]["id"]));
    assert_eq!(api.delete(&path).await.status, 204);
    assert!(owner.open("/settings/keys").await.1.contains("No keys yet"));
    let token = owner.token("/settings/keys").await;
    let wrong = [("csrf", token.as_str()), ("name", "CI"), ("scopes", "links:read"), ("expires_at", "soon")];
    let (status, page) = owner.submit("/settings/keys", &wrong).await;
    assert!(status == 422 && page.contains("id=\"expires_at-wrong\""), "{status}: {page}");

    let fields = [("name", "CI"), ("scopes", "keys:write"), ("expires_at", "30")];
    let page = owner.fill("/settings/keys", "/settings/keys", &fields).await;

    let (_, rest) = page.split_once("data-key>").expect("a key");
    let key = rest.split_once('<').expect("its end").0;
    let listed = api.call_as(key, Method::GET, "/v1/api-keys", None).await.body;
    let ends_at: DateTime<Utc> = text(&listed["data"][0]["expires_at"]).parse().expect("a moment");
    let left = ends_at - Utc::now();
    assert!(left > TimeDelta::days(29) && left <= TimeDelta::days(30), "{left}");
    let person = listed["data"][0]["created_by"].as_str().expect("an id");
    assert!(person.starts_with("per_"), "{listed}");
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("text").to_owned()
}
