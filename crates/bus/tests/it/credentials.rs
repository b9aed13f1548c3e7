//! Users that a JWT tells of, as NATS installations of several teams have them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bus::{Bus, Settings};
use chrono::Utc;
use nkeys::KeyPair;
use serde_json::{Value, json};
use testkit::{ScratchDir, TestNats, until};

use crate::support::LIMIT;

/// An operator with an account of ours, and one that nats-server wants for itself.
struct Operator {
    key: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Operator {
    fn new() -> Self {
        Self { key: KeyPair::new_operator(), account: KeyPair::new_account(), system: KeyPair::new_account() }
    }

    /// Lines of nats-server's configuration.
    fn configuration(&self) -> String {
        let account = |account: &KeyPair, more: Value| {
            let mut limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1
            });
            limits.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            jwt(&self.key, account, json!({"type": "account", "version": 2, "limits": limits}), None)
        };
        let streams = json!({"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
        format!(
            "operator: {operator}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload {{\n\
             {ours}: {our_jwt}\n{system}: {system_jwt}\n}}\n",
            operator = jwt(&self.key, &self.key, json!({"type": "operator", "version": 2}), None),
            system = self.system.public_key(),
            ours = self.account.public_key(),
            our_jwt = account(&self.account, streams),
            system_jwt = account(&self.system, json!({})),
        )
    }

    /// Writes a credentials file for a new user, good for so many seconds.
    fn write_credentials(&self, file: &Path, seconds: i64) {
        let user = KeyPair::new_user();
        let limits = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        let jwt = jwt(&self.account, &user, limits, Some(Utc::now().timestamp() + seconds));
        let seed = user.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        // in one step, as whoever renews it should
        let new = file.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, file).unwrap();
    }
}

/// A JWT as nats-server reads it (its "JWT v2").
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value, expires_at: Option<i64>) -> String {
    let mut claims = json!({
        "jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test", "nats": nats
    });
    if let Some(expires_at) = expires_at {
        claims["exp"] = expires_at.into();
    }
    let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encoded(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), encoded(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn new_credentials_are_taken_from_the_file_without_a_restart() {
    let operator = Operator::new();
    let nats = TestNats::start_configured(&operator.configuration()).await;
    let dir = ScratchDir::new("credentials");
    let file = dir.path().join("user.creds");
    operator.write_credentials(&file, -60);
    let settings = Settings { creds: Some(file.clone()), ..nats.settings() };

    let bus = Bus::connect(&settings, "test").await.unwrap();
    let while_expired = bus.wait_connected(Duration::from_millis(300)).await;
    operator.write_credentials(&file, 3600);
    bus.wait_connected(LIMIT).await.unwrap();

    assert!(while_expired.is_err());
    bus.setup().await.unwrap();
}

#[tokio::test]
async fn whose_credentials_expire_is_back_with_those_that_are_in_the_file_by_then() {
    let operator = Operator::new();
    let nats = TestNats::start_configured(&operator.configuration()).await;
    let dir = ScratchDir::new("credentials");
    let file = dir.path().join("user.creds");
    operator.write_credentials(&file, 5);
    let settings = Settings { creds: Some(file.clone()), ..nats.settings() };
    let bus = Bus::connect(&settings, "test").await.unwrap();
    until(LIMIT, async || {
        let connected = bus.wait_connected(Duration::from_secs(2)).await;
        // on a busy machine they expire before they are used
        connected.inspect_err(|_| operator.write_credentials(&file, 5)).ok()
    })
    .await;

    until(LIMIT, async || (!bus.is_connected()).then_some(())).await;
    operator.write_credentials(&file, 3600);

    bus.wait_connected(LIMIT).await.unwrap();
    bus.setup().await.unwrap();
}
