//! Each service has a user of its own on NATS that may do what the service needs, and nothing else.

use serde_json::json;
use testkit::{Answer, Subscriber, TestDatabase, TestNats, until};

use crate::services::{LIMIT, Service, Services};
use crate::stack::{Database, Stack};

/// What deployments give the users.
const PERMISSIONS: &str = include_str!("../../../../deploy/nats/permissions.conf");

#[tokio::test]
async fn with_the_permissions_of_the_deployment_every_service_works_and_is_refused_nothing() {
    let nats = TestNats::start_guarded(PERMISSIONS).await;
    let database = Database::Shared(TestDatabase::new().await);
    let mut services = Services::new(database.url(), nats.url());
    for service in Service::ALL {
        services.set_for(service, "NATS__URL", nats.url_of(service.name()));
    }
    let mut stack = Stack::start_around(database, nats, services).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let endpoint = stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;

    stack.click(&link).await;
    stack.visit("nothing-here", &[]).await;
    subscriber.received(1).await;
    let path = format!("/v1/webhook-endpoints/{}/test", endpoint.id);
    let (status, test) = stack.api(reqwest::Method::POST, &path, json!({})).await;
    stack.settled(&stack.nats.bus("test").await).await;
    for service in Service::ALL {
        assert!(stack.services.stop(service).await, "{service:?}");
    }

    assert_eq!((status.as_u16(), &test["delivered"]), (200, &true.into()), "{test}");
    for service in Service::ALL {
        let said = stack.services.said(service);
        assert!(!said.contains("Permissions Violation"), "{service:?}: {said}");
    }
}

#[tokio::test]
async fn a_service_that_lacks_a_permission_says_which_and_does_not_work() {
    let lacking = PERMISSIONS.replace("      \"$JS.ACK.ENRICHED.record.>\"\n", "");
    let nats = TestNats::start_guarded(&lacking).await;
    let database = TestDatabase::new().await;
    let mut services = Services::new(database.url(), nats.url());
    services.set_for(Service::Record, "NATS__URL", nats.url_of("record"));

    services.launch(Service::Record);

    let said = until(LIMIT, || async {
        let said = services.said(Service::Record);
        let is_named = said.contains("publish to $JS.ACK.ENRICHED.record.");
        (is_named && said.contains("lacks a permission")).then_some(said)
    })
    .await;
    until(LIMIT, || services.complaint(Service::Record)).await;
    assert!(!said.contains("broker is away"), "{said}");
}
