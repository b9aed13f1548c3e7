//! The processes may be started in any order, before what they depend on.

use chrono::Utc;
use testkit::{OwnDatabase, TestNats, until};

use crate::services::{LIMIT, Service, Services};

#[tokio::test]
async fn processes_started_before_setup_name_the_command_that_is_missing() {
    let (nats, database) = tokio::join!(TestNats::start_empty(), OwnDatabase::start_empty());
    let mut services = Services::new(database.url(), nats.url());

    for service in Service::ALL {
        services.launch(service);
    }

    for service in Service::ALL {
        until(LIMIT, || async {
            services.complaint(service).await?.contains("run `clickwire setup`").then_some(())
        })
        .await;
    }
    store::setup(&database.settings(), Utc::now()).await.unwrap();
    nats.bus("test").await.setup().await.unwrap();
    for service in Service::ALL {
        // who serves people waits; who works off a stream ends, and is started again by whatever started it
        if services.status(service).is_some() {
            services.launch(service);
        }
        services.wait_ready(service).await;
    }
}

#[tokio::test]
async fn processes_wait_for_a_broker_and_a_database_that_come_later() {
    let (mut nats, mut database) = tokio::join!(TestNats::start(), OwnDatabase::start());
    let mut services = Services::new(database.url(), nats.url());
    nats.stop().await;
    database.stop().await;

    for service in Service::ALL {
        services.launch(service);
    }
    for service in Service::ALL {
        until(LIMIT, || async {
            assert_eq!(services.status(service), None, "{service:?} ended");
            (services.readiness(service).await?.0 == 503).then_some(())
        })
        .await;
    }
    nats.restart().await;
    database.restart().await;

    for service in Service::ALL {
        services.wait_ready(service).await;
    }
}

#[tokio::test]
async fn processes_finish_properly_when_they_are_asked_to() {
    let (nats, database) = tokio::join!(TestNats::start(), OwnDatabase::start());
    let mut services = Services::new(database.url(), nats.url());
    services.start_all().await;

    for service in Service::ALL {
        assert!(services.stop(service).await, "{service:?}");
    }
}
