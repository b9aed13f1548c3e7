//! The table of endpoints in memory: as new as it must be, and not loaded more often than that.

use std::sync::Arc;

use deliver::endpoints::Endpoints;
use deliver::lanes::Lanes;
use deliver::metrics::Metrics;
use service::ops::Ops;
use webhook::Keyring;

use crate::rig::Rig;

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

fn endpoints(rig: &Rig, keyring: Keyring) -> Endpoints {
    let metrics = Metrics::register(Ops::new().registry()).expect("metrics");
    Endpoints::new(rig.pool.clone(), keyring, Lanes::new(10, 10), 100, metrics)
}
