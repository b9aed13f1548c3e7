//! What is told when something is away.

use testkit::{TestDatabase, until};

use crate::harness::{Api, LIMIT, settings};

#[tokio::test]
async fn a_database_that_is_away_is_told_and_comes_back_by_itself() {
    let mut database = TestDatabase::cluster().await;
    let nats =
        bus::Settings { url: "nats://127.0.0.1:9".to_owned(), ..testkit::defaults(bus::DEFAULTS, "nats") };
    let api = Api::serve(settings(database.settings(), nats), database.pool()).await;
    api.ready().await;

    database.stop().await;
    let away = api.get("/v1/links").await;
    assert_eq!((away.status, away.body["code"].as_str()), (503, Some("unavailable")));
    until(LIMIT, || async {
        let ready = reqwest::get(format!("{}/readyz", api.ops_url)).await.ok()?;
        (ready.status() == 503).then_some(())
    })
    .await;

    database.restart().await;
    until(LIMIT, || async { (api.get("/v1/links").await.status == 200).then_some(()) }).await;
    api.ready().await;
}
