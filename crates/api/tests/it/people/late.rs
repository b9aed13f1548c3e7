//! Requests that have begun while their sender is removed, or demoted, and are worked on after that.

use model::{PersonId, Role};
use serde_json::{Value, json};
use store::memberships::{self, Changed};
use store::{AsyncConnection as _, QueryError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::keys::key_of;
use super::{join, person_id};
use crate::harness::{Api, LIMIT, until_one_waits_for_another};

/// Waits until the key with this name has let somebody in.
async fn until_used(api: &Api, name: &str) {
    testkit::until(LIMIT, || async {
        let keys = api.get("/v1/api-keys").await.body;
        let used = keys["data"].as_array()?.iter().find(|key| key["name"] == name)?["last_used_at"].clone();
        used.is_string().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_removed_before_the_body_has_come_invites_nobody() {
    let api = Api::start().await;
    join(&api, "bob@example.com", "owner").await;
    let mut mallory = join(&api, "mallory@example.com", "owner").await;
    let key = key_of(&mut mallory, "Kept open").await;
    let id = person_id(&api, "mallory@example.com").await;
    let body = json!({"email": "friend@example.com", "role": "owner"}).to_string();
    let head = format!(
        "POST /v1/invitations HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let addr = api.url.strip_prefix("http://").expect("its URL");
    let mut stream = TcpStream::connect(addr).await.expect("the API listens");

    stream.write_all(head.as_bytes()).await.expect("it is read");
    until_used(&api, "Kept open").await;
    assert_eq!(api.delete(&format!("/v1/people/{id}?revoke_keys=true")).await.status, 204);
    stream.write_all(body.as_bytes()).await.expect("it is read");
    let mut told = String::new();
    timeout(LIMIT, stream.read_to_string(&mut told)).await.expect("an answer").expect("text");

    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");
    assert_eq!(api.get("/v1/invitations").await.body["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_demoted_meanwhile_does_not_make_themselves_an_owner_again() {
    let api = Api::start().await;
    join(&api, "bob@example.com", "owner").await;
    let mut mallory = join(&api, "mallory@example.com", "owner").await;
    let id: PersonId = person_id(&api, "mallory@example.com").await.parse().expect("an id");
    let path = format!("/settings/people/{id}/role");
    let token = mallory.token("/settings/people").await;
    let mut conn = api.pool.get().await.expect("the database runs");
    let (begun, has_begun) = oneshot::channel();

    let demoting = conn.transaction::<_, QueryError, _>(async |conn| {
        let changed = memberships::set_role(conn, api.workspace_id, id, Role::Viewer).await?;
        begun.send(()).expect("somebody waits");
        until_one_waits_for_another(&api).await;
        Ok(changed)
    });
    let late = async {
        has_begun.await.expect("it begins");
        mallory.submit(&path, &[("csrf", &token), ("role", "owner")]).await
    };
    let (demoting, late) = tokio::join!(demoting, late);

    assert_eq!(demoting.expect("no error"), Changed::Done(Role::Owner));
    assert_eq!(late.0, 403, "{}", late.1);
    let people = api.get("/v1/people").await.body;
    let is_theirs = |person: &&Value| person["email"] == "mallory@example.com";
    let mallory = people["data"].as_array().expect("a list").iter().find(is_theirs).expect("they are there");
    assert_eq!(mallory["role"], "viewer");
}
