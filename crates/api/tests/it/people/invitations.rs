//! Links that make somebody a person of a workspace.

use chrono::{TimeDelta, Utc};
use model::{Email, Role, Token};
use reqwest::Method;
use serde_json::json;
use store::invitations::{self, NewInvitation, Purpose};

use super::{PASSWORD, audited, invite, path, person_id};
use crate::console::Browser;
use crate::harness::Api;

#[tokio::test]
async fn an_invitation_works_once_and_its_person_is_named_in_the_audit_log() {
    let api = Api::start().await;
    let path = invite(&api, &api.key, "Ada@Example.com", "operator").await;
    let token = path.rsplit('/').next().expect("a token");
    let mut browser = Browser::new(&api);

    let (status, page) = browser.open(&path).await;
    assert_eq!(status, 200);
    assert!(page.contains("ada@example.com") && page.contains("Operator"), "{page}");
    let page = browser.fill(&path, &path, &[("name", "Ada"), ("password", PASSWORD)]).await;
    assert!(
        page.contains("Welcome to Given.") && page.contains("Signed in as<strong>Ada</strong>"),
        "{page}"
    );

    let mut late = Browser::new(&api);
    let (status, page) = late.open(&path).await;
    assert_eq!(status, 404);
    assert!(page.contains("This link opens nothing any more"), "{page}");
    let form = late.token("/login").await;
    let fields = [("csrf", form.as_str()), ("name", "Eve"), ("password", PASSWORD)];
    assert_eq!(late.submit(&path, &fields).await.0, 404);

    let id = person_id(&api, "ada@example.com").await;
    browser.fill("/links/new", "/links", &[("url", "https://example.com/")]).await;
    assert_eq!(audited(&api, "link.created").await["actor"], *id);
    let accepted = audited(&api, "invitation.accepted").await;
    assert_eq!((&accepted["actor"], &accepted["details"]["role"]), (&json!(id), &json!("operator")));
    assert!(!api.dump("invitations").await.contains(token), "only its hash is kept");
    assert!(api.dump("people").await.contains("$argon2id$"));
}

#[tokio::test]
async fn an_invitation_that_is_over_taken_back_or_replaced_opens_nothing() {
    let api = Api::start().await;
    let mut browser = Browser::new(&api);
    let over = Token::generate();
    let mut conn = api.pool.get().await.expect("the database runs");
    let email: Email = "ada@example.com".parse().expect("an address");
    let new = NewInvitation {
        workspace_id: api.workspace_id,
        email: &email,
        purpose: Purpose::Join(Role::Owner),
        hash: over.hash(),
        created_by: "operator",
    };
    let eight_days_ago = Utc::now() - TimeDelta::days(8);
    invitations::insert(&mut conn, new, eight_days_ago).await.expect("an invitation");
    drop(conn);
    assert_eq!(api.get("/v1/invitations").await.body["data"], json!([]));

    let taken_back = invite(&api, &api.key, "bob@example.com", "viewer").await;
    let open = api.get("/v1/invitations").await.body;
    let id = open["data"][0]["id"].as_str().expect("an id").to_owned();
    assert!(open["data"][0].get("url").is_none(), "{open}");
    assert_eq!(api.delete(&format!("/v1/invitations/{id}")).await.status, 204);
    assert_eq!(api.delete(&format!("/v1/invitations/{id}")).await.status, 404);

    let first = invite(&api, &api.key, "eve@example.com", "viewer").await;
    let second = invite(&api, &api.key, "eve@example.com", "viewer").await;

    let never = Token::generate().reveal();
    for gone in [
        &format!("/welcome/{}", over.reveal()),
        &taken_back,
        &first,
        &format!("/welcome/{never}"),
        "/welcome/x",
    ] {
        assert_eq!(browser.open(gone).await.0, 404, "{gone}");
    }
    assert_eq!(browser.open(&second).await.0, 200);
}

#[tokio::test]
async fn two_who_open_one_link_at_once_are_not_both_let_in() {
    let api = Api::start().await;
    let path = invite(&api, &api.key, "ada@example.com", "owner").await;
    let mut browsers = [Browser::new(&api), Browser::new(&api)];
    let [one, other] = &mut browsers;
    let tokens = [one.token(&path).await, other.token(&path).await];
    let fields = |token| [("csrf", token), ("name", "Ada"), ("password", PASSWORD)];

    let (first, second) = (fields(tokens[0].as_str()), fields(tokens[1].as_str()));
    let (one, other) = tokio::join!(one.submit(&path, &first), other.submit(&path, &second));

    let mut statuses = [one.0, other.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 404]);
}

#[tokio::test]
async fn a_weak_password_is_refused_and_the_link_stays_open() {
    let api = Api::start().await;
    let path = invite(&api, &api.key, "ada.lovelace@example.com", "viewer").await;
    let mut browser = Browser::new(&api);
    let token = browser.token(&path).await;

    for (name, password, said) in [
        ("Ada", "short", "at least 12 characters"),
        ("Ada", "ada.lovelace@example.com", "must not be the e-mail address"),
        ("Ada", "PasswordPassword", "one of the first that would be tried"),
        ("", PASSWORD, "Is required"),
    ] {
        let fields = [("csrf", token.as_str()), ("name", name), ("password", password)];
        let (status, page) = browser.submit(&path, &fields).await;
        assert_eq!(status, 422, "{page}");
        assert!(page.to_lowercase().contains(&said.to_lowercase()), "{said}: {page}");
        assert!(!page.contains(&format!("value=\"{password}\"")) || password.contains('@'), "{page}");
    }
    browser.fill(&path, &path, &[("name", "Ada"), ("password", PASSWORD)]).await;
}

#[tokio::test]
async fn an_invitation_is_made_once_for_one_idempotency_key() {
    let api = Api::start().await;
    let body = json!({"email": "ada@example.com", "role": "viewer"}).to_string();
    let post = async || {
        let request = api.request(Method::POST, "/v1/invitations").bearer_auth(&api.key);
        let request = request.header("content-type", "application/json").header("idempotency-key", "a");
        crate::harness::answer(request.body(body.clone()).send().await.expect("an answer")).await
    };

    let (first, second) = (post().await, post().await);

    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body["id"], second.body["id"]);
    assert!(first.body["url"].is_string() && second.body.get("url").is_none(), "{}", second.body);
    assert_eq!(Browser::new(&api).open(&path(&first)).await.0, 200);
    let again = api.post("/v1/invitations", json!({"email": "x", "role": "boss"})).await;
    assert_eq!((again.status, again.body["errors"].as_array().map(Vec::len)), (422, Some(2)));
}
