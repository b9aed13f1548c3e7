//! Minting keys and templates.

use chrono::Utc;
use diesel_async::SimpleAsyncConnection;
use model::minting::KEY_NUMBERS;
use model::{MintingKeyId, WorkspaceId};
use store::links::LinkOptions;
use store::minting_keys::{self, NewKey, StoredKey};
use store::{Connection, templates};
use testkit::{TestDatabase, given};

async fn made(conn: &mut Connection, workspace_id: WorkspaceId) -> StoredKey {
    let number = minting_keys::free_number(conn, workspace_id).await.unwrap().unwrap();
    let id = MintingKeyId::generate();
    let new = NewKey { id, workspace_id, number, sealed: b"sealed", created_by: "test" };
    minting_keys::insert(conn, new, Utc::now()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_number_is_given_again_as_late_as_can_be() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (workspace_id, other) = (given::workspace(&mut conn).await, given::workspace(&mut conn).await);

    let first = made(&mut conn, workspace_id).await;
    for number in 1..KEY_NUMBERS {
        assert_eq!(made(&mut conn, workspace_id).await.number, number);
    }
    assert_eq!(minting_keys::free_number(&mut conn, workspace_id).await.unwrap(), None);
    assert_eq!(made(&mut conn, other).await.number, 0);

    assert!(!minting_keys::revoke(&mut conn, other, first.id, Utc::now()).await.unwrap());
    assert!(minting_keys::revoke(&mut conn, workspace_id, first.id, Utc::now()).await.unwrap());
    assert!(!minting_keys::revoke(&mut conn, workspace_id, first.id, Utc::now()).await.unwrap());
    let revoked = minting_keys::find(&mut conn, workspace_id, first.id).await.unwrap().unwrap();
    assert_eq!((revoked.number, revoked.sealed), (0, None));
    assert_eq!(made(&mut conn, workspace_id).await.number, 0);
    let new =
        NewKey { id: MintingKeyId::generate(), workspace_id, number: 0, sealed: b"x", created_by: "test" };
    assert_eq!(minting_keys::insert(&mut conn, new, Utc::now()).await.unwrap(), None);
}

#[tokio::test]
async fn a_template_is_found_under_its_own_host_with_what_judges_tokens() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain = given::domain(&mut conn, workspace_id, "a.example").await;
    let other = given::domain(&mut conn, workspace_id, "b.example").await;
    let options = LinkOptions::to("https://example.com/".parse().unwrap());
    let link_id = given::link(&mut conn, workspace_id, domain.id, "abc", &options).await;
    let (key, revoked) = (made(&mut conn, workspace_id).await, made(&mut conn, workspace_id).await);
    minting_keys::revoke(&mut conn, workspace_id, revoked.id, Utc::now()).await.unwrap();

    let template = templates::insert(&mut conn, workspace_id, link_id, Utc::now()).await.unwrap();
    let recipients = [u64::MAX, 0, 17];
    assert_eq!(templates::deny(&mut conn, &template, &recipients, Utc::now()).await.unwrap(), 3);
    assert_eq!(templates::deny(&mut conn, &template, &[17], Utc::now()).await.unwrap(), 3);
    let found =
        templates::find_for_redirect(&mut conn, &domain.host, template.number).await.unwrap().unwrap();

    assert_eq!((found.link.id, found.is_closed), (link_id, false));
    assert_eq!(found.denied, [0, 17, u64::MAX]);
    assert_eq!(found.keys, [key]);
    for (host, number) in
        [(&other.host, template.number), (&domain.host, template.number + 1), (&domain.host, u32::MAX)]
    {
        assert_eq!(
            templates::find_for_redirect(&mut conn, host, number).await.unwrap(),
            None,
            "{host} {number}"
        );
    }
    conn.batch_execute("UPDATE links SET archived_at = now()").await.unwrap();
    assert_eq!(templates::find_for_redirect(&mut conn, &domain.host, template.number).await.unwrap(), None);
    let stranger = given::workspace(&mut conn).await;
    assert_eq!(templates::find(&mut conn, stranger, link_id).await.unwrap(), None);
    assert!(!templates::set_closed(&mut conn, stranger, link_id, Some(Utc::now())).await.unwrap());
}
