//! What an account is kept from: links that outlive what they were made for, secrets that are shown to others, forms of another
//! workspace, streams and sign-ins that outlive their session.

use std::time::Duration;

use chrono::Utc;
use model::{Email, PasswordHash, PersonId, Token};
use reqwest::Method;
use serde_json::json;
use store::invitations::{self, NewInvitation, Purpose};
use store::{AsyncConnection as _, QueryError, people};
use tokio::sync::oneshot;

use crate::console::Browser;
use crate::harness::{Api, LIMIT, until_one_waits_for_another};
use crate::people::{PASSWORD, invite, join, person_id, sign_in};

const OTHER_PASSWORD: &str = "a dozen of blue eels";

/// The path of a link with which a person sets another password, that an owner makes.
async fn reset_link(api: &Api, email: &str) -> String {
    let id = person_id(api, email).await;
    let made = api.post(&format!("/v1/people/{id}/reset-password"), json!({})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let url: url::Url = made.body["url"].as_str().expect("a link").parse().expect("a URL");
    url.path().to_owned()
}

/// The path of a link that a page shows.
fn shown_link(page: &str) -> String {
    let (_, rest) = page.split_once("data-link>").expect("a link");
    let url: url::Url = rest.split_once('<').expect("its end").0.parse().expect("a URL");
    url.path().to_owned()
}

/// What opening a link with nobody signed in answers.
async fn opens(api: &Api, path: &str) -> u16 {
    Browser::new(api).open(path).await.0
}

#[tokio::test]
async fn a_link_for_another_password_ends_when_its_person_is_no_more_what_they_were() {
    let api = Api::start().await;
    let (_, other_key) = api.other_workspace().await;
    let mut ada = join(&api, "ada@example.com", "viewer").await;
    let id = person_id(&api, "ada@example.com").await;

    let link = reset_link(&api, "ada@example.com").await;
    assert_eq!(opens(&api, &link).await, 200);
    assert_eq!(api.patch(&format!("/v1/people/{id}"), json!({"role": "operator"})).await.status, 200);
    assert_eq!(opens(&api, &link).await, 404, "they may do more");

    let link = reset_link(&api, "ada@example.com").await;
    let fields = [("current", PASSWORD), ("password", OTHER_PASSWORD)];
    ada.fill("/account", "/account/password", &fields).await;
    assert_eq!(opens(&api, &link).await, 404, "they have another password");

    let link = reset_link(&api, "ada@example.com").await;
    let path = invite(&api, &other_key, "ada@example.com", "owner").await;
    ada.fill(&path, &path, &[("password", OTHER_PASSWORD)]).await;
    assert_eq!(opens(&api, &link).await, 404, "they belong to another workspace");
}

#[tokio::test]
async fn who_belongs_to_two_workspaces_gets_another_password_by_the_operators_link_alone() {
    let api = Api::start().await;
    let (_, other_key) = api.other_workspace().await;
    let mut ada = join(&api, "ada@example.com", "viewer").await;
    let path = invite(&api, &other_key, "ada@example.com", "owner").await;
    ada.fill(&path, &path, &[("password", PASSWORD)]).await;
    let email: Email = "ada@example.com".parse().expect("an address");
    let link = async |created_by: &str| {
        let token = Token::generate();
        let new = NewInvitation {
            workspace_id: api.workspace_id,
            email: &email,
            purpose: Purpose::ResetPassword,
            hash: token.hash(),
            created_by,
        };
        let mut conn = api.pool.get().await.expect("the database runs");
        invitations::insert(&mut conn, new, Utc::now()).await.expect("a link");
        format!("/welcome/{}", token.reveal())
    };
    let mut browser = Browser::new(&api);

    let by_owner = link("per_01jd8m3x5v9k2n4p6q8r0s1t3w").await;
    let token = browser.token(&by_owner).await;
    let fields = [("csrf", token.as_str()), ("password", OTHER_PASSWORD)];
    assert_eq!(browser.submit(&by_owner, &fields).await.0, 404);
    assert_eq!(ada.open("/").await.0, 200);

    let by_operator = link("operator").await;
    browser.fill(&by_operator, &by_operator, &[("password", OTHER_PASSWORD)]).await;
    assert_eq!(ada.open("/").await.1, "/login");
}

#[tokio::test]
async fn invitations_end_with_what_whoever_made_them_may_do() {
    let api = Api::start().await;
    join(&api, "bob@example.com", "owner").await;
    for (email, change) in [("ada@example.com", Some(json!({"role": "viewer"}))), ("eve@example.com", None)] {
        let mut owner = join(&api, email, "owner").await;
        let fields = [("email", "back@example.com"), ("role", "owner")];
        let link = shown_link(&owner.fill("/settings/people", "/settings/people/invite", &fields).await);
        assert_eq!(opens(&api, &link).await, 200);

        let person = format!("/v1/people/{}", person_id(&api, email).await);
        let method = if change.is_some() { Method::PATCH } else { Method::DELETE };
        assert!(api.call(method, &person, change).await.status < 300);

        assert_eq!(opens(&api, &link).await, 404, "{email}");
    }

    let key = api.key_with(&["*"], None).await;
    let link = invite(&api, &key, "back@example.com", "owner").await;
    api.revoke_scoped_key().await;
    assert_eq!(opens(&api, &link).await, 404);
}

/// Makes a key for everything with another one.
async fn key_of(api: &Api, key: &str) -> (String, String) {
    let body = json!({"name": "CI", "scopes": ["*"]});
    let made = api.call_as(key, Method::POST, "/v1/api-keys", Some(body)).await.body;
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("id"), text("key"))
}

#[tokio::test]
async fn invitations_end_with_who_made_the_keys_that_made_them() {
    let api = Api::start().await;
    let mut bob = join(&api, "bob@example.com", "owner").await;
    let others = invite(&api, &key_of(&api, &api.key).await.1, "other@example.com", "owner").await;
    for is_removed in [false, true] {
        let email = if is_removed { "eve@example.com" } else { "ada@example.com" };
        let mut owner = join(&api, email, "owner").await;
        let page = owner.fill("/settings/keys", "/settings/keys", &[("name", "CI"), ("scopes", "*")]).await;
        let (_, rest) = page.split_once("data-key>").expect("a key");
        let key = rest.split_once('<').expect("its end").0.to_owned();
        let (_, keys_key) = key_of(&api, &key).await;
        let links = [
            invite(&api, &key, "back@example.com", "owner").await,
            invite(&api, &keys_key, "again@example.com", "owner").await,
        ];
        for link in &links {
            assert_eq!(opens(&api, link).await, 200);
        }

        let person = person_id(&api, email).await;
        let change = if is_removed { "remove" } else { "role" };
        let path = format!("/settings/people/{person}/{change}");
        let page = bob.fill("/settings/people", &path, &[("role", "viewer")]).await;

        for link in &links {
            assert_eq!(opens(&api, link).await, 404, "{change}");
        }
        assert!(page.contains("2 API keys that they made go on"), "{change}: {page}");
        assert_eq!(api.call_as(&keys_key, Method::GET, "/v1/links", None).await.status, 200);
    }
    assert_eq!(opens(&api, &others).await, 200, "those of others go on");
}

#[tokio::test]
async fn invitations_end_with_a_key_that_is_replaced_at_once() {
    let api = Api::start().await;
    let (id, key) = key_of(&api, &api.key).await;
    let link = invite(&api, &key, "ada@example.com", "owner").await;
    let rotate = format!("/v1/api-keys/{id}/rotate");

    assert_eq!(api.post(&rotate, json!({"overlap_seconds": 60})).await.status, 201);
    assert_eq!(opens(&api, &link).await, 200);
    assert_eq!(api.post(&rotate, json!({"overlap_seconds": 0})).await.status, 201);
    assert_eq!(opens(&api, &link).await, 404);
}

#[tokio::test]
async fn an_address_alone_lets_nobody_in_who_has_it_elsewhere() {
    let api = Api::start().await;
    let (other_id, other_key) = api.other_workspace().await;
    let mut eve = join(&api, "ada@example.com", "owner").await;
    let link = invite(&api, &other_key, "ada@example.com", "owner").await;
    let other_id = other_id.to_string();

    let (_, page) = eve.open("/account").await;
    assert!(!page.contains(&other_id), "{page}");
    let token = eve.token("/account").await;
    let fields = [("csrf", token.as_str()), ("workspace", other_id.as_str())];
    assert_eq!(eve.submit("/account/workspace", &fields).await.0, 404);
    // with the link, and signed in, it still takes the password
    let token = eve.token(&link).await;
    assert_eq!(eve.submit(&link, &[("csrf", &token), ("name", "Ada")]).await.0, 401);

    let people = api.call_as(&other_key, Method::GET, "/v1/people", None).await.body;
    assert_eq!(people["data"], json!([]));
}

#[tokio::test]
async fn a_secret_is_shown_in_the_session_that_made_it_and_no_other_beside_it() {
    let api = Api::start().await;
    let path = format!("/settings/webhooks/{}", api.endpoint().await);
    let (mut browser, mut other) = (Browser::signed_in(&api).await, Browser::signed_in(&api).await);
    let shown = |page: &str| page.matches("data-secret").count();
    let token = browser.token(&path).await;

    assert_eq!(browser.submit(&format!("{path}/rotate"), &[("csrf", &token)]).await.0, 303);
    other.keep_cookie("clickwire_flash", &browser.cookies["clickwire_flash"]);

    assert_eq!(shown(&other.open(&path).await.1), 0, "it is another's");
    assert_eq!(shown(&browser.open(&path).await.1), 1, "the old one was not asked for");
    assert_eq!(shown(&browser.fill(&path, &format!("{path}/reveal"), &[]).await), 2);
}

#[tokio::test]
async fn a_form_of_the_workspace_before_is_not_taken_for_the_one_that_is_looked_at() {
    let api = Api::start().await;
    let (other_id, other_key) = api.other_workspace().await;
    let mut ada = join(&api, "ada@example.com", "owner").await;
    let path = invite(&api, &other_key, "ada@example.com", "owner").await;
    ada.fill(&path, &path, &[("password", PASSWORD)]).await;
    let (here, there) = (api.workspace_id.to_string(), other_id.to_string());
    ada.fill("/", "/account/workspace", &[("workspace", &here)]).await;
    let before = ada.token("/links/new").await;

    ada.fill("/", "/account/workspace", &[("workspace", &there)]).await;

    let fields = [("csrf", before.as_str()), ("url", "https://example.com/")];
    assert_eq!(ada.submit("/links", &fields).await.0, 403);
    ada.fill("/links/new", "/links", &[("url", "https://example.com/")]).await;
}

/// Opens a live stream, signs out, and waits until the stream says that it ends for that.
async fn sign_out_while_it_streams(api: &Api, mut browser: Browser<'_>) {
    let request = api.request(Method::GET, "/live/clicks").header("cookie", browser.cookie());
    let mut stream = request.send().await.expect("an answer");
    assert_eq!(stream.status(), 200);
    let mut text = String::new();
    let mut read_until = async |word: &str| {
        while !text.contains(word) {
            let chunk = tokio::time::timeout(LIMIT, stream.chunk()).await.expect("in time");
            let chunk = chunk.expect("it goes on").expect("more");
            text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    };
    read_until("event: ready").await;

    let token = browser.token("/account").await;
    browser.submit("/logout", &[("csrf", &token)]).await;

    read_until("\"unauthorized\"").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_stream_ends_with_its_session() {
    let api = Api::start_with_nats_and(|settings| {
        settings.api.bulk_key_interval = Duration::from_millis(1);
        settings.api.live_heartbeat = Duration::from_millis(50);
    })
    .await;

    sign_out_while_it_streams(&api, join(&api, "ada@example.com", "viewer").await).await;
    sign_out_while_it_streams(&api, Browser::signed_in(&api).await).await;
}

#[tokio::test]
async fn signing_out_ends_the_session_of_a_key_and_not_the_cookie_alone() {
    let api = Api::start().await;
    let (mut browser, mut other) = (Browser::signed_in(&api).await, Browser::signed_in(&api).await);
    let before = browser.cookies.clone();
    let token = browser.token("/account").await;

    assert_eq!(browser.submit("/logout", &[("csrf", &token)]).await, (303, "/login".to_owned()));

    browser.cookies = before;
    assert_eq!(browser.open("/").await, (303, "/login".to_owned()));
    assert_eq!(other.open("/").await.0, 200, "another session of the same key goes on");

    // who signs in anew leaves none behind
    let before = other.cookies.clone();
    let token = other.token("/login?with=key").await;
    assert_eq!(other.submit("/login", &[("csrf", &token), ("key", &api.key)]).await.0, 303);
    assert_eq!(other.open("/").await.0, 200);
    other.cookies = before;
    assert_eq!(other.open("/").await, (303, "/login".to_owned()));
}

#[tokio::test]
async fn a_sign_in_on_its_way_does_not_outlive_its_password() {
    let api = Api::start().await;
    join(&api, "ada@example.com", "viewer").await;
    let id: PersonId = person_id(&api, "ada@example.com").await.parse().expect("an id");
    let wanted = PasswordHash::of(OTHER_PASSWORD).expect("a hash");
    let mut browser = Browser::new(&api);
    let mut conn = api.pool.get().await.expect("the database runs");
    let (begun, has_begun) = oneshot::channel();

    let change = conn.transaction::<_, QueryError, _>(async |conn| {
        people::set_password(conn, id, &wanted).await?;
        begun.send(()).expect("somebody waits");
        until_one_waits_for_another(&api).await;
        Ok(())
    });
    let late = async {
        has_begun.await.expect("it begins");
        sign_in(&mut browser, "ada@example.com", PASSWORD).await
    };
    let (change, late) = tokio::join!(change, late);

    change.expect("changed");
    assert_eq!(late.0, 401);
    assert_eq!(sign_in(&mut browser, "ada@example.com", OTHER_PASSWORD).await.0, 303);
}
