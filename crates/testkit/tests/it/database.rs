//! Databases for tests.

use std::time::Duration;

use chrono::Utc;
use testkit::{TestDatabase, until};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn each_test_has_a_migrated_database_of_its_own() {
    let (one, other) = tokio::join!(TestDatabase::new(), TestDatabase::new());
    let mut conn = one.pool().get().await.unwrap();
    store::workspaces::insert(&mut conn, "Only here", Utc::now()).await.unwrap();

    let here = store::workspaces::find_by_name(&mut conn, "Only here").await.unwrap();
    let there =
        store::workspaces::find_by_name(&mut other.pool().get().await.unwrap(), "Only here").await.unwrap();

    assert!(here.is_some() && there.is_none());
}

#[tokio::test]
async fn a_cluster_of_ones_own_can_be_killed_and_brought_back() {
    let mut database = TestDatabase::cluster().await;
    let pool = database.pool();
    let mut conn = pool.get().await.unwrap();
    store::workspaces::insert(&mut conn, "Before the crash", Utc::now()).await.unwrap();

    database.kill().await;
    assert!(store::workspaces::find_by_name(&mut conn, "Before the crash").await.is_err());
    drop(conn);
    database.restart().await;

    let found = until(LIMIT, || async {
        let mut conn = pool.get().await.ok()?;
        store::workspaces::find_by_name(&mut conn, "Before the crash").await.ok()
    });
    assert!(found.await.is_some());
}
