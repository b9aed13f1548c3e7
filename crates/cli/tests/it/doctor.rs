//! What the doctor tells of what expires.

use chrono::{TimeDelta, Utc};
use model::EndpointId;
use model::secret::ApiKey;
use serde_json::Value;
use store::api_keys::{self, NewKey};
use store::endpoints::{self, State};
use store::secrets;
use testkit::{TestDatabase, given};

use crate::command::{Clickwire, text};

/// Credentials that were good until 2001-09-09 01:46:40.
const OLD_CREDENTIALS: &str =
    "-----BEGIN NATS USER JWT-----\ne30.eyJleHAiOjEwMDAwMDAwMDB9.e30\n------END NATS USER JWT------\n";

/// What was found of one part.
fn of<'a>(diagnoses: &'a Value, part: &str) -> Vec<&'a Value> {
    diagnoses.as_array().unwrap().iter().filter(|diagnosis| diagnosis["part"] == part).collect()
}

#[tokio::test]
async fn what_ends_soon_is_told_of_with_the_days_that_are_left() {
    let database = TestDatabase::new().await;
    let mut conn = database.pool().get().await.unwrap();
    let clickwire = Clickwire::new();
    let creds = clickwire.dir.path().join("user.creds");
    std::fs::write(&creds, OLD_CREDENTIALS).unwrap();
    let clickwire = clickwire
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE__NATS__URL", "nats://127.0.0.1:1")
        .with("CLICKWIRE__NATS__CREDS", creds.display().to_string());
    let before = clickwire.fails(&["doctor", "--json"]).await.json();

    let (workspace_id, now) = (given::workspace(&mut conn).await, Utc::now());
    for (name, days) in [("crm", 3), ("warehouse", 60)] {
        let new = NewKey {
            workspace_id,
            name,
            key: &ApiKey::generate(),
            scopes: &["*".to_owned()],
            expires_at: Some(now + TimeDelta::days(days) + TimeDelta::hours(1)),
            created_by: "operator",
        };
        api_keys::insert(&mut conn, new, now).await.unwrap().unwrap();
    }
    let endpoint_id = EndpointId::generate();
    let options = given::endpoint_options("https://crm.example.com/hook");
    endpoints::insert(&mut conn, workspace_id, endpoint_id, &options, State::Active, None, now)
        .await
        .unwrap();
    secrets::insert(&mut conn, workspace_id, endpoint_id, b"old", now).await.unwrap();
    let newest = secrets::insert(&mut conn, workspace_id, endpoint_id, b"new", now).await.unwrap();
    let end = now + TimeDelta::hours(20);
    secrets::expire_others(&mut conn, endpoint_id, newest.id, end).await.unwrap();
    let diagnoses = clickwire.fails(&["doctor", "--json"]).await.json();
    let lines = clickwire.fails(&["doctor"]).await;

    for part in ["api keys", "secrets"] {
        let diagnosis = of(&before, part)[0];
        assert_eq!((text(diagnosis, "health"), text(diagnosis, "found")), ("ok", "none ends soon"));
    }
    let [key] = of(&diagnoses, "api keys")[..] else { panic!("one key ends soon: {diagnoses}") };
    assert_eq!((text(key, "health"), &key["days_left"]), ("warn", &3.into()));
    assert!(text(key, "found").starts_with("crm (key_") && text(key, "mend").contains("Replace"), "{key}");
    let [secret] = of(&diagnoses, "secrets")[..] else { panic!("one secret ends: {diagnoses}") };
    assert_eq!((text(secret, "health"), &secret["days_left"]), ("warn", &0.into()));
    assert!(text(secret, "found").contains(&endpoint_id.to_string()), "{secret}");
    let [credentials] = of(&diagnoses, "nats creds")[..] else { panic!("one file has ended: {diagnoses}") };
    assert_eq!(text(credentials, "health"), "fail");
    assert!(text(credentials, "found").ends_with("expired at 2001-09-09T01:46:40Z"), "{credentials}");
    assert!(lines.stdout.contains("warn  api keys     crm (key_"), "{}", lines.stdout);
}
