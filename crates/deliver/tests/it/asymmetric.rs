//! Asymmetric signatures beside the usual ones.

use chrono::{TimeDelta, Utc};
use model::EndpointId;
use store::secrets;
use testkit::{Received, Response, Script, Subscriber};
use webhook::asymmetric::{self, PublicKey, SigningKey};
use webhook::signature::{Signed, TOLERANCE};

use crate::rig::{Rig, verify};

/// Gives the newest secret of an endpoint a key.
async fn with_key(rig: &Rig, id: EndpointId) -> PublicKey {
    let keyring = rig.keyring();
    let sealed = SigningKey::generate_sealed(&keyring, rig.workspace_id, id);
    let mut conn = rig.pool.get().await.expect("a connection");
    let live = secrets::list_live(&mut conn, rig.workspace_id, id, Utc::now()).await.expect("secrets");
    secrets::set_key(&mut conn, rig.workspace_id, live[0].id, &sealed).await.expect("a key");
    SigningKey::open(&keyring, rig.workspace_id, id, &sealed).expect("it opens").public()
}

fn verifies(request: &Received, key: &PublicKey) -> bool {
    let header = |name: &str| request.header(name).expect("the header");
    let signed = Signed {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: &request.body,
    };
    asymmetric::verify(key, &signed, Utc::now(), TOLERANCE).is_ok()
}

fn versions(request: &Received) -> Vec<&str> {
    let value = request.header("webhook-signature").expect("the header");
    value.split(' ').map(|entry| entry.split_once(',').expect("a version").0).collect()
}

#[tokio::test]
async fn both_signatures_verify_through_a_rotation() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Response::new(200))).await;
    let (id, secret) = rig.endpoint_with(&subscriber.url(), |options| options.signs_v1a = true).await;
    let old = with_key(&rig, id).await;
    let next = model::secret::SigningSecret::generate();
    let sealed = rig.keyring().seal_secret(rig.workspace_id, id, &next);
    let mut conn = rig.pool.get().await.expect("a connection");
    let later = Utc::now() + TimeDelta::seconds(1);
    secrets::insert(&mut conn, rig.workspace_id, id, &sealed, later).await.expect("a secret");
    drop(conn);
    let new = with_key(&rig, id).await;
    let running = rig.start().await;

    rig.attempt(id).await;

    let request = subscriber.received(1).await.remove(0);
    assert_eq!(versions(&request), ["v1", "v1", "v1a", "v1a"]);
    assert!(verify(&request, &secret) && verify(&request, &next));
    assert!(verifies(&request, &old) && verifies(&request, &new));
    running.stop().await;
}

#[tokio::test]
async fn a_key_signs_only_where_it_is_wanted() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Response::new(200))).await;
    let (id, secret) = rig.endpoint(&subscriber.url()).await;
    with_key(&rig, id).await;
    let running = rig.start().await;

    rig.publish(&rig.click()).await;

    let request = subscriber.received(1).await.remove(0);
    assert_eq!(versions(&request), ["v1"]);
    assert!(verify(&request, &secret));
    running.stop().await;
}
