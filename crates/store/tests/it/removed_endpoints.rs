//! What was sealed of endpoints that were removed before removing one forgot it.

use chrono::Utc;
use diesel_async::SimpleAsyncConnection;
use model::EndpointId;
use store::endpoints::{self, EndpointOptions, State};
use store::sealed::{self, Kind};
use store::secrets;
use testkit::{TestDatabase, given};

#[tokio::test]
async fn the_migration_forgets_it_and_leaves_what_is_used() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let mut conn = pool.get().await.unwrap();
    let (workspace_id, now) = (given::workspace(&mut conn).await, Utc::now());
    let [removed, used] = [EndpointId::generate(), EndpointId::generate()];
    for id in [removed, used] {
        let options = EndpointOptions {
            headers_sealed: Some(b"headers".to_vec()),
            auth_sealed: Some(b"auth".to_vec()),
            ..given::endpoint_options("https://crm.example.com/hook")
        };
        endpoints::insert(&mut conn, workspace_id, id, &options, State::Active, None, now).await.unwrap();
        secrets::insert(&mut conn, workspace_id, id, b"secret", now).await.unwrap();
    }
    // as the release before removes one
    let remove = format!("UPDATE endpoints SET deleted_at = now() WHERE id = '{}'", removed.uuid());
    conn.batch_execute(&remove).await.unwrap();

    conn.batch_execute(include_str!("../../migrations/00000000000041_removed_endpoints/up.sql"))
        .await
        .unwrap();

    for kind in [Kind::Secret, Kind::Headers, Kind::Auth] {
        let page = sealed::page(&mut conn, kind, None, 10).await.unwrap();
        let kept: Vec<EndpointId> = page.iter().map(|sealed| sealed.endpoint_id).collect();
        assert_eq!(kept, [used], "{kind:?}");
    }
}
