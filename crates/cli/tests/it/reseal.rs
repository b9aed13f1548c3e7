//! `clickwire reseal`.

use chrono::Utc;
use model::minting::MintingKey;
use model::secret::SigningSecret;
use model::{EndpointId, MintingKeyId};
use store::endpoints::{self, EndpointOptions, State};
use store::minting_keys::{self, NewKey};
use store::secrets;
use testkit::{OwnDatabase, TestNats};
use webhook::{CustomHeaders, Keyring};

use crate::command::Clickwire;

#[tokio::test]
async fn secrets_are_sealed_again_with_the_present_key() {
    let (database, nats) = tokio::join!(OwnDatabase::start(), TestNats::start());
    let (old_key, new_key) = (webhook::sealing::generate_key(), webhook::sealing::generate_key());
    let (old, new) = (keyring(&old_key), keyring(&new_key));
    let mut conn = database.pool().get().await.expect("a connection");
    let workspace_id = testkit::given::workspace(&mut conn).await;
    let (now, id, secret) = (Utc::now(), EndpointId::generate(), SigningSecret::generate());
    let headers = CustomHeaders::new([("x-tenant".to_owned(), "42".to_owned())]).expect("headers");
    let options = EndpointOptions {
        headers_sealed: Some(headers.seal(&old, workspace_id, id)),
        ..testkit::given::endpoint_options("https://crm.example.com/hook")
    };
    endpoints::insert(&mut conn, workspace_id, id, &options, State::Active, None, now).await.expect("a row");
    let sealed = old.seal_secret(workspace_id, id, &secret);
    let kept = secrets::insert(&mut conn, workspace_id, id, &sealed, now).await.expect("a row");
    let key = webhook::asymmetric::SigningKey::generate_sealed(&old, workspace_id, id);
    secrets::set_key(&mut conn, workspace_id, kept.id, &key).await.expect("a row");
    let (minting_id, minting) = (MintingKeyId::generate(), MintingKey::generate(7).expect("a number"));
    let sealed = old.seal_minting_key(workspace_id, minting_id, &minting);
    let new_minting = NewKey { id: minting_id, workspace_id, number: 7, sealed: &sealed, created_by: "test" };
    minting_keys::insert(&mut conn, new_minting, now).await.expect("a row").expect("a free number");
    let clickwire = Clickwire::new()
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE__NATS__URL", nats.url())
        .with("CLICKWIRE__SEALING__KEY", &new_key)
        .with("CLICKWIRE__MINTING__KEY", &new_key);

    let without_old = clickwire.fails(&["reseal", "--json"]).await.json();
    let clickwire = clickwire
        .with("CLICKWIRE__SEALING__PREVIOUS_KEYS", &old_key)
        .with("CLICKWIRE__MINTING__PREVIOUS_KEYS", &old_key);
    let first = clickwire.ok(&["reseal", "--json"]).await.json();
    let second = clickwire.ok(&["reseal", "--json"]).await.json();

    let counts = |resealed: u64, current: u64, unreadable: u64| serde_json::json!({"resealed": resealed, "current": current, "unreadable": unreadable, "skipped": 0});
    assert_eq!([without_old, first, second], [counts(0, 0, 4), counts(4, 0, 0), counts(0, 4, 0)]);
    let live = secrets::list_live(&mut conn, workspace_id, id, now).await.expect("secrets");
    assert_eq!(new.open_secret(workspace_id, id, &live[0].sealed), Ok(secret));
    let key = live[0].key_sealed.as_ref().expect("a key");
    assert!(webhook::asymmetric::SigningKey::open(&new, workspace_id, id, key).is_ok());
    let kept = endpoints::find(&mut conn, workspace_id, id).await.expect("a row").expect("there").options;
    let kept = CustomHeaders::open(&new, workspace_id, id, &kept.headers_sealed.expect("headers"));
    assert_eq!(kept.expect("they open").iter().collect::<Vec<_>>(), headers.iter().collect::<Vec<_>>());
    let kept = minting_keys::list_live(&mut conn, workspace_id).await.expect("keys").remove(0);
    let sealed = kept.sealed.expect("it is there");
    assert_eq!(new.open_minting_key(workspace_id, minting_id, 7, &sealed), Ok(minting));

    // the keys that `up` keeps, where settings name none
    let data = clickwire.dir.path().join("data");
    std::fs::create_dir_all(&data).expect("a directory");
    std::fs::write(data.join("sealing.key"), &new_key).expect("written");
    let of_up = Clickwire::new()
        .with("CLICKWIRE__DATABASE__URL", database.url())
        .with("CLICKWIRE_DATA_DIR", data.display().to_string());
    let skipped = of_up.fails(&["reseal", "--json"]).await.json();
    assert_eq!((&skipped["current"], &skipped["skipped"]), (&3.into(), &1.into()), "{skipped}");
    let told = of_up.fails(&["reseal"]).await;
    assert!(!told.stdout.contains("may be emptied"), "{told:?}");
    let of_up = of_up.with("CLICKWIRE__MINTING__PREVIOUS_KEYS", &old_key);
    let refused = of_up.fails(&["reseal"]).await;
    assert!(refused.stderr.contains("minting.previous_keys is set"), "{refused:?}");
    std::fs::write(data.join("minting.key"), &new_key).expect("written");
    assert_eq!(of_up.ok(&["reseal", "--json"]).await.json(), counts(0, 4, 0));
}

fn keyring(key: &str) -> Keyring {
    Keyring::new(key, &[]).expect("a key")
}
