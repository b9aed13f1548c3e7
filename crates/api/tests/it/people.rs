//! People: what each role opens, and who may give what away.

mod invitations;
mod keys;
mod late;

use model::WorkspaceId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::console::Browser;
use crate::harness::{Answer, Api, failed_delivery, recorded_click};

/// What people of these tests choose.
pub const PASSWORD: &str = "green tea at four";

/// Invites with a key, and tells the path of the link.
pub async fn invite(api: &Api, key: &str, email: &str, role: &str) -> String {
    let body = json!({"email": email, "role": role});
    let made = api.call_as(key, Method::POST, "/v1/invitations", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    path(&made)
}

/// The path of a link that was just made.
fn path(made: &Answer) -> String {
    let url: url::Url = made.body["url"].as_str().expect("a link").parse().expect("a URL");
    url.path().to_owned()
}

/// A browser of somebody who accepted an invitation. Their name is what stands before the `@`.
pub async fn join<'a>(api: &'a Api, email: &str, role: &str) -> Browser<'a> {
    let path = invite(api, &api.key, email, role).await;
    let mut browser = Browser::new(api);
    let name = email.split('@').next().expect("a name");
    browser.fill(&path, &path, &[("name", name), ("password", PASSWORD)]).await;
    browser
}

pub async fn sign_in(browser: &mut Browser<'_>, email: &str, password: &str) -> (u16, String) {
    let token = browser.token("/login?with=password").await;
    browser.submit("/login", &[("csrf", &token), ("email", email), ("password", password)]).await
}

pub async fn person_id(api: &Api, email: &str) -> String {
    let people = api.get("/v1/people").await.body;
    let found = people["data"].as_array().expect("a list").iter().find(|person| person["email"] == email);
    found.expect("a person")["id"].as_str().expect("an id").to_owned()
}

/// The newest entry of the audit log with this action.
pub async fn audited(api: &Api, action: &str) -> Value {
    let entries = api.get(&format!("/v1/audit?action={action}&limit=1")).await.body;
    entries["data"][0].clone()
}

#[tokio::test]
async fn each_role_opens_what_its_table_says() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let delivery = failed_delivery(&api, &endpoint, &click).await;
    const ALL: &[&str] = &["owner", "operator", "viewer"];
    const DAILY: &[&str] = &["owner", "operator"];
    const OWNER: &[&str] = &["owner"];
    let somebody = "per_01jd8m3x5v9k2n4p6q8r0s1t3w";
    let pages = [
        ("/".to_owned(), ALL),
        ("/links".to_owned(), ALL),
        (format!("/links/{link}"), ALL),
        (format!("/clicks/{}", click.click.id), ALL),
        (format!("/deliveries/{delivery}"), ALL),
        ("/settings/links".to_owned(), ALL),
        ("/settings/webhooks".to_owned(), ALL),
        (format!("/settings/webhooks/{endpoint}"), ALL),
        ("/settings/people".to_owned(), ALL),
        ("/settings/retention".to_owned(), ALL),
        ("/account".to_owned(), ALL),
        ("/settings/keys".to_owned(), OWNER),
        ("/settings/activity".to_owned(), OWNER),
        ("/settings/minting".to_owned(), OWNER),
        ("/quarantine".to_owned(), &[]),
    ];
    let actions = [
        ("/links".to_owned(), DAILY),
        (format!("/links/{link}/switch"), DAILY),
        (format!("/links/{link}/template"), DAILY),
        (format!("/links/{link}/template/deny"), DAILY),
        (format!("/links/{link}/template/allow"), DAILY),
        (format!("/links/{link}/template/close"), DAILY),
        ("/settings/webhooks".to_owned(), DAILY),
        (format!("/settings/webhooks/{endpoint}/pause"), DAILY),
        (format!("/settings/webhooks/{endpoint}/resume"), DAILY),
        (format!("/deliveries/{delivery}/retry"), DAILY),
        (format!("/settings/webhooks/{endpoint}/reveal"), OWNER),
        ("/settings/links".to_owned(), OWNER),
        ("/settings/domains".to_owned(), OWNER),
        ("/settings/keys".to_owned(), OWNER),
        ("/settings/minting".to_owned(), OWNER),
        ("/settings/people/invite".to_owned(), OWNER),
        (format!("/settings/people/{somebody}/role"), OWNER),
        (format!("/settings/people/{somebody}/reset"), OWNER),
        (format!("/settings/people/{somebody}/remove"), OWNER),
    ];

    for role in ALL {
        let mut browser = join(&api, &format!("{role}@example.com"), role).await;
        for (path, roles) in &pages {
            let expected = if roles.contains(role) { 200 } else { 403 };
            assert_eq!(browser.open(path).await.0, expected, "{role} opens {path}");
        }
        let token = browser.token("/account").await;
        for (path, roles) in &actions {
            let (status, page) = browser.submit(path, &[("csrf", &token)]).await;
            assert_eq!(status != 403, roles.contains(role), "{role} sends {path}: {status} {page}");
            assert!(status < 500, "{role} sends {path}: {page}");
        }
    }
}

#[tokio::test]
async fn a_workspace_keeps_its_last_owner_also_when_two_are_demoted_at_once() {
    let api = Api::start().await;
    join(&api, "ada@example.com", "owner").await;
    let ada = format!("/v1/people/{}", person_id(&api, "ada@example.com").await);

    let demoted = api.patch(&ada, json!({"role": "viewer"})).await;
    assert_eq!((demoted.status, &demoted.body["code"]), (409, &json!("last_owner")));
    assert_eq!(api.delete(&ada).await.body["code"], "last_owner");

    join(&api, "bob@example.com", "owner").await;
    let bob = format!("/v1/people/{}", person_id(&api, "bob@example.com").await);
    let viewer = json!({"role": "viewer"});
    let (one, other) = tokio::join!(api.patch(&ada, viewer.clone()), api.patch(&bob, viewer));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", one.body, other.body);

    let entry = audited(&api, "person.role_changed").await;
    assert_eq!((&entry["details"]["before"], &entry["details"]["role"]), (&json!("owner"), &json!("viewer")));
}

#[tokio::test]
async fn what_a_person_is_changes_at_once_and_whoever_is_removed_is_out() {
    let api = Api::start().await;
    join(&api, "bob@example.com", "owner").await;
    let mut ada = join(&api, "ada@example.com", "owner").await;
    let id = person_id(&api, "ada@example.com").await;
    assert_eq!(ada.open("/settings/keys").await.0, 200);

    let changed = api.patch(&format!("/v1/people/{id}"), json!({"role": "viewer"})).await;
    assert_eq!((changed.status, &changed.body["role"]), (200, &json!("viewer")));
    assert_eq!(ada.open("/settings/keys").await.0, 403);

    assert_eq!(api.delete(&format!("/v1/people/{id}")).await.status, 204);
    assert_eq!(ada.open("/").await.1, "/login");
    assert_eq!(sign_in(&mut ada, "ada@example.com", PASSWORD).await.0, 401);
    assert_eq!(api.get(&format!("/v1/audit?actor={id}")).await.status, 200);

    // who comes back begins anew, as the same person
    let mut back = join(&api, "ada@example.com", "operator").await;
    assert_eq!(person_id(&api, "ada@example.com").await, id);
    assert_eq!(back.open("/").await.0, 200);
}

#[tokio::test]
async fn nobody_gives_away_or_meddles_with_more_than_they_hold() {
    let api = Api::start().await;
    join(&api, "ada@example.com", "owner").await;
    join(&api, "bob@example.com", "owner").await;
    let ada = format!("/v1/people/{}", person_id(&api, "ada@example.com").await);
    let looking = ["links:read", "endpoints:read", "deliveries:read", "clicks:read", "settings:read"];
    let key = api.key_with(&[&looking[..], &["people:read", "people:write"]].concat(), None).await;
    let call = async |method, path: &str, body| api.call_as(&key, method, path, body).await;

    for role in ["owner", "operator"] {
        let body = json!({"email": "eve@example.com", "role": role});
        let refused = call(Method::POST, "/v1/invitations", Some(body)).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["code"]), (422, &json!("not_held")), "{role}");
    }
    let viewer = json!({"email": "eve@example.com", "role": "viewer"});
    assert_eq!(call(Method::POST, "/v1/invitations", Some(viewer)).await.status, 201);
    assert_eq!(call(Method::PATCH, &ada, Some(json!({"role": "viewer"}))).await.status, 422);
    assert_eq!(call(Method::POST, &format!("{ada}/reset-password"), None).await.status, 422);
    assert_eq!(call(Method::DELETE, &ada, None).await.status, 422);
    assert_eq!(api.get("/v1/people").await.body["data"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_person_of_two_workspaces_goes_from_one_to_the_other() {
    let api = Api::start().await;
    let (other_id, other_key) = api.other_workspace().await;
    let mut ada = join(&api, "ada@example.com", "owner").await;
    let id = person_id(&api, "ada@example.com").await;
    let link = api.link().await;

    let path = invite(&api, &other_key, "ada@example.com", "viewer").await;
    let mut elsewhere = Browser::new(&api);
    let token = elsewhere.token(&path).await;
    let wrong = [("csrf", token.as_str()), ("password", "not the password")];
    assert_eq!(elsewhere.submit(&path, &wrong).await.0, 401, "the link alone opens no account");
    elsewhere.fill(&path, &path, &[("password", PASSWORD)]).await;
    assert_eq!(elsewhere.open(&format!("/links/{link}")).await.0, 404);
    assert_eq!(elsewhere.open("/settings/keys").await.0, 403);

    let (_, page) = ada.open("/").await;
    assert!(page.contains("<select id=\"workspace\""), "{page}");
    ada.fill("/", "/account/workspace", &[("workspace", &other_id.to_string())]).await;
    assert_eq!(ada.open(&format!("/links/{link}")).await.0, 404);
    ada.fill("/", "/account/workspace", &[("workspace", &api.workspace_id.to_string())]).await;
    assert_eq!(ada.open(&format!("/links/{link}")).await.0, 200);
    let token = ada.token("/account").await;
    let foreign = WorkspaceId::generate().to_string();
    assert_eq!(ada.submit("/account/workspace", &[("csrf", &token), ("workspace", &foreign)]).await.0, 404);

    // a link for a new password would open the other workspace too
    let reset = api.post(&format!("/v1/people/{id}/reset-password"), json!({})).await;
    assert_eq!((reset.status, &reset.body["code"]), (409, &json!("person_elsewhere")));
    let theirs = api.call_as(&other_key, Method::DELETE, &format!("/v1/people/{id}"), None).await;
    assert_eq!(theirs.status, 204);
    assert_eq!(ada.open("/").await.0, 200, "they stay where they were not removed");
    assert_eq!(elsewhere.open("/").await.1, "/login");
}

#[tokio::test]
async fn another_workspaces_people_and_invitations_are_not_there() {
    let api = Api::start().await;
    let (_, stranger) = api.other_workspace().await;
    join(&api, "ada@example.com", "viewer").await;
    invite(&api, &api.key, "bob@example.com", "viewer").await;
    let id = person_id(&api, "ada@example.com").await;
    let open = api.get("/v1/invitations").await.body;
    let invitation = open["data"][0]["id"].as_str().expect("an id");
    let call = async |method, path: &str, body| api.call_as(&stranger, method, path, body).await;

    for list in ["/v1/people", "/v1/invitations"] {
        assert_eq!(call(Method::GET, list, None).await.body["data"], json!([]), "{list}");
    }
    let owner = Some(json!({"role": "owner"}));
    for (method, path, body) in [
        (Method::PATCH, format!("/v1/people/{id}"), owner),
        (Method::DELETE, format!("/v1/people/{id}"), None),
        (Method::POST, format!("/v1/people/{id}/reset-password"), None),
        (Method::DELETE, format!("/v1/invitations/{invitation}"), None),
    ] {
        assert_eq!(call(method.clone(), &path, body).await.status, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn people_are_managed_by_form() {
    let api = Api::start().await;
    let mut owner = Browser::signed_in(&api).await;
    assert!(owner.open("/settings/people").await.1.contains("Nobody yet"));

    let page = owner
        .fill(
            "/settings/people",
            "/settings/people/invite",
            &[("email", "ada@example.com"), ("role", "owner")],
        )
        .await;
    assert!(page.contains("data-link>http://127.0.0.1") && page.contains("Open links"), "{page}");
    let token = owner.token("/settings/people").await;
    let wrong = [("csrf", token.as_str()), ("email", "nobody"), ("role", "viewer")];
    let (status, page) = owner.submit("/settings/people/invite", &wrong).await;
    assert_eq!(status, 422);
    assert!(page.contains("id=\"email-wrong\"") && page.contains("value=\"nobody\""), "{page}");
    let open = api.get("/v1/invitations").await.body;
    let revoke =
        format!("/settings/people/invitations/{}/revoke", open["data"][0]["id"].as_str().expect("an id"));
    assert!(owner.fill("/settings/people", &revoke, &[]).await.contains("It is taken back"));

    join(&api, "ada@example.com", "owner").await;
    let ada = format!("/settings/people/{}", person_id(&api, "ada@example.com").await);
    let page = owner.fill("/settings/people", &format!("{ada}/role"), &[("role", "viewer")]).await;
    assert!(page.contains("This is the last owner"), "{page}");
    join(&api, "bob@example.com", "owner").await;
    let page = owner.fill("/settings/people", &format!("{ada}/role"), &[("role", "viewer")]).await;
    assert!(page.contains("From now on ada is viewer."), "{page}");
    let page = owner.fill("/settings/people", &format!("{ada}/remove"), &[]).await;
    assert!(page.contains("They are removed") && !page.contains("ada@example.com"), "{page}");
}
