//! NATS over TLS, with a certificate that its own authority has signed; and what says how long it is good.

use serde_json::Value;
use testkit::{TestDatabase, TestNats, until};

use crate::services::{LIMIT, Service, Services};

/// Certificates for 127.0.0.1 alone, good until 2125.
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../service/tests/data/authority.pem");
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../service/tests/data/server.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../service/tests/data/server.key");

#[tokio::test]
async fn services_reach_nats_over_tls_and_tell_until_when_its_certificate_is_good() {
    let tls = format!("tls {{ cert_file: \"{CERTIFICATE}\", key_file: \"{KEY}\" }}\n");
    let nats = TestNats::start_configured(&tls).await;
    let database = TestDatabase::new().await;
    let mut services = Services::new(database.url(), &nats.url().replace("nats://", "tls://"));
    services.set("NATS__TLS_CA", AUTHORITY);
    for stream in ["CLICKS", "ENRICHED"] {
        services.set(&format!("NATS__{stream}_MAX_BYTES"), "268435456");
    }

    let setup = services.clickwire(&["setup"]).await;
    let doctor = services.clickwire(&["doctor", "--json"]).await;
    services.launch(Service::Record);
    services.wait_ready(Service::Record).await;

    assert!(setup.status.success(), "{setup:?}");
    let diagnoses: Value = serde_json::from_slice(&doctor.stdout).expect("a line of JSON");
    for part in ["nats tls", "nats ca"] {
        let diagnosis = diagnoses.as_array().and_then(|all| all.iter().find(|one| one["part"] == part));
        let diagnosis = diagnosis.unwrap_or_else(|| panic!("nothing of {part}: {diagnoses}"));
        assert_eq!(diagnosis["health"], "ok", "{diagnosis}");
        assert!(diagnosis["days_left"].as_i64().is_some_and(|days| days > 30_000), "{diagnosis}");
    }
    let line =
        r#"clickwire_record_credential_expiry_timestamp_seconds{credential="nats_certificate"} 4906306050"#;
    until(LIMIT, || async { services.metrics(Service::Record).await?.contains(line).then_some(()) }).await;
}
