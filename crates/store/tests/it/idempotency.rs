//! A key stands for one request, for a day.

use chrono::{TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use model::LinkId;
use store::AsyncConnection;
use store::idempotency::{Claim, Claimed, KEPT, claim, find, made};
use testkit::{TestDatabase, given};

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    keys: i64,
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_one_workspace_for_a_day() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (workspace_id, other) = (given::workspace(&mut conn).await, given::workspace(&mut conn).await);
    let (first, second, now) = (LinkId::generate().uuid(), LinkId::generate().uuid(), Utc::now());
    let asked = Claim {
        workspace_id,
        operation: "link.create",
        key: "k",
        fingerprint: &[1; 32],
        earlier_fingerprints: &[],
    };

    assert_eq!(find(&mut conn, asked, now).await, Ok(Claimed::New));
    assert_eq!(claim(&mut conn, asked, now).await, Ok(Claimed::New));
    made(&mut conn, asked, first).await.unwrap();
    for ask in [find(&mut conn, asked, now).await, claim(&mut conn, asked, now).await] {
        assert_eq!(ask, Ok(Claimed::Before(first)));
    }
    let another = Claim { fingerprint: &[2; 32], ..asked };
    for ask in [find(&mut conn, another, now).await, claim(&mut conn, another, now).await] {
        assert_eq!(ask, Ok(Claimed::OfAnother));
    }
    let known_by_another = Claim { earlier_fingerprints: &[[3; 32], [1; 32]], ..another };
    assert_eq!(claim(&mut conn, known_by_another, now).await, Ok(Claimed::Before(first)));
    for apart in [
        Claim { workspace_id: other, ..asked },
        Claim { operation: "endpoint.create", ..asked },
        Claim { key: "K", ..asked },
    ] {
        assert_eq!(claim(&mut conn, apart, now).await, Ok(Claimed::New));
    }
    let later = now + KEPT + TimeDelta::seconds(1);
    assert_eq!(find(&mut conn, asked, later).await, Ok(Claimed::New));
    assert_eq!(claim(&mut conn, asked, later).await, Ok(Claimed::New));
    made(&mut conn, asked, second).await.unwrap();
    assert_eq!(claim(&mut conn, asked, later).await, Ok(Claimed::Before(second)));

    // the others' time was over as well
    let kept: Count = diesel::sql_query("SELECT count(*) AS keys FROM idempotency_keys")
        .get_result(&mut conn)
        .await
        .unwrap();
    assert_eq!(kept.keys, 1);
}

#[tokio::test]
async fn a_request_that_failed_leaves_its_key_free() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let asked = Claim {
        workspace_id,
        operation: "link.create",
        key: "k",
        fingerprint: &[1; 32],
        earlier_fingerprints: &[],
    };

    let failed = conn
        .transaction::<(), store::QueryError, _>(async |conn| {
            claim(conn, asked, Utc::now()).await?;
            Err(store::QueryError::RollbackTransaction)
        })
        .await;

    assert!(failed.is_err());
    assert_eq!(claim(&mut conn, asked, Utc::now()).await, Ok(Claimed::New));
}
