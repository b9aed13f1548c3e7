//! The table of endpoints in memory: as new as it must be, and not loaded more often than that.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use deliver::endpoints::Endpoints;
use deliver::lanes::Lanes;
use deliver::metrics::Metrics;
use model::secret::SigningSecret;
use service::ops::Ops;
use store::secrets;
use testkit::until;
use webhook::Keyring;

use crate::rig::{LIMIT, Rig};

#[tokio::test]
async fn a_table_that_is_as_new_as_it_can_be_is_not_loaded_again() {
    let rig = Rig::new().await;
    let (first, _) = rig.endpoint("https://crm.example.com/hooks").await;
    let settings = rig.settings();
    let keyring = settings.sealing.resolve(|path| std::fs::read_to_string(path)).expect("a key");
    let table = endpoints(&rig, keyring);
    table.refresh().await.expect("a table");
    let loaded = table.current();
    assert!(loaded.get(first).is_some());

    table.refresh().await.expect("a table");
    assert!(Arc::ptr_eq(&loaded, &table.current()), "nothing was changed");

    let (second, _) = rig.endpoint("https://crm.example.com/more").await;
    table.refresh().await.expect("a table");
    assert!(table.current().get(second).is_some());
}

#[tokio::test]
async fn at_another_server_an_endpoint_is_not_paused_and_begins_no_second_burst() {
    let rig = Rig::new().await;
    let rate = |options: &mut store::endpoints::EndpointOptions| {
        (options.rate_per_second, options.rate_burst) = (Some(1), Some(5));
    };
    let (id, _) = rig.endpoint_with("https://crm.example.com/hooks", rate).await;
    let table = endpoints(&rig, rig.keyring());
    table.refresh().await.expect("a table");
    let lane = || Arc::clone(&table.current().get(id).expect("the endpoint").lane);
    let (now, later) = (Utc::now(), Utc::now() + TimeDelta::minutes(10));
    assert_eq!(lane().room(now, Duration::ZERO), 5);
    lane().pause(now + TimeDelta::hours(1));

    let mut rooms = Vec::new();
    for url in ["https://crm.example.com/more", "https://hooks.example.com/"] {
        rig.move_to(id, url).await;
        table.refresh().await.expect("a table");
        rooms.push((lane().room(now, Duration::ZERO), lane().room(later, Duration::ZERO)));
    }

    assert_eq!(rooms, [(0, 0), (0, 5)]);
}

#[tokio::test]
async fn a_secret_that_has_ended_signs_no_more_although_nobody_changed_anything() {
    let rig = Rig::new().await;
    let (id, _) = rig.endpoint("https://crm.example.com/hooks").await;
    let (newest, ends_at) = (SigningSecret::generate(), Utc::now() + TimeDelta::milliseconds(500));
    let sealed = rig.keyring().seal_secret(rig.workspace_id, id, &newest);
    let mut conn = rig.pool.get().await.expect("a connection");
    let kept = secrets::insert(&mut conn, rig.workspace_id, id, &sealed, Utc::now()).await.expect("a secret");
    secrets::expire_others(&mut conn, id, kept.id, ends_at).await.expect("the other one ends");
    let table = endpoints(&rig, rig.keyring());
    let signing = || async {
        table.refresh().await.expect("a table");
        table.current().get(id).expect("the endpoint").secrets.clone()
    };

    let before = signing().await;
    assert!(before.len() == 2 || Utc::now() > ends_at, "both sign until then");
    until(LIMIT, || async { (Utc::now() > ends_at).then_some(()) }).await;

    assert_eq!(signing().await, std::slice::from_ref(&newest));
    let tested = table.find(rig.workspace_id, id).await.expect("a query").expect("the endpoint");
    assert_eq!(tested.secrets, [newest]);
}

fn endpoints(rig: &Rig, keyring: Keyring) -> Endpoints {
    let metrics = Metrics::register(Ops::new().registry()).expect("metrics");
    Endpoints::new(rig.pool.clone(), keyring, Lanes::new(10, 10), 100, metrics)
}
