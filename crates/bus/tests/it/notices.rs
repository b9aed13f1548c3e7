//! Change notices and requests for tests: core NATS, best effort.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Change, Changed, RequestError, Table};
use futures::StreamExt;
use model::delivery::{TestReply, TestRequest};
use model::{EndpointId, WorkspaceId};
use testkit::{TestNats, until};
use tokio_util::sync::CancellationToken;

use crate::support::LIMIT;

fn request() -> TestRequest {
    TestRequest {
        workspace_id: WorkspaceId::generate(),
        endpoint_id: EndpointId::generate(),
        challenge: None,
    }
}

#[tokio::test]
async fn a_change_reaches_those_who_follow_its_table_only() {
    let nats = TestNats::start_empty().await;
    let (api, redirect) = (nats.bus("api").await, nats.bus("redirect").await);
    let workspace_id = WorkspaceId::generate();
    let link = Changed { table: Table::Links, workspace_id, keys: vec!["go.example.com/x".into()] };
    let endpoint = Changed { table: Table::Endpoints, workspace_id, keys: vec![] };
    let mut links = redirect.changes(Table::Links);

    assert_eq!(links.next().await, Some(Change::Reconnected));
    api.notify(&endpoint).await;
    api.notify(&link).await;

    assert_eq!(links.next().await, Some(Change::Row(link)));
}

#[tokio::test]
async fn a_notice_of_too_many_keys_means_all_of_the_workspace() {
    let nats = TestNats::start_empty().await;
    let bus = nats.bus("test").await;
    let workspace_id = WorkspaceId::generate();
    let keys = (0..5000).map(|n| n.to_string()).collect();
    let mut links = bus.changes(Table::Links);
    links.next().await;

    bus.notify(&Changed { table: Table::Links, workspace_id, keys }).await;

    let all = Changed { table: Table::Links, workspace_id, keys: vec![] };
    assert_eq!(links.next().await, Some(Change::Row(all)));
}

#[tokio::test]
async fn after_a_restart_of_the_broker_followers_refresh_everything_and_go_on() {
    let mut nats = TestNats::start_empty().await;
    let bus = nats.bus("test").await;
    let mut changes = bus.changes(Table::Settings);
    assert_eq!(changes.next().await, Some(Change::Reconnected));

    nats.kill().await;
    nats.restart().await;

    let refreshed = tokio::time::timeout(LIMIT, changes.next()).await.unwrap();
    assert_eq!(refreshed, Some(Change::Reconnected));
    let changed = Changed { table: Table::Settings, workspace_id: WorkspaceId::generate(), keys: vec![] };
    bus.notify(&changed).await;
    assert_eq!(changes.next().await, Some(Change::Row(changed)));
}

#[tokio::test]
async fn a_test_is_answered_and_one_that_panics_harms_no_other() {
    let nats = TestNats::start_empty().await;
    let (api, deliver) = (nats.bus("api").await, nats.bus("deliver").await);
    let poison = request();
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (stop, poison) = (stop.clone(), poison.clone());
        async move {
            let answer = |request: TestRequest| {
                let is_poison = request == poison;
                async move {
                    assert!(!is_poison, "poison");
                    TestReply::NoSuchEndpoint
                }
            };
            deliver.serve_tests(answer, stop).await;
        }
    });

    let reply = until(LIMIT, async || api.request_test(&request(), LIMIT).await.ok()).await;
    let poisoned = api.request_test(&poison, LIMIT).await.unwrap();
    let afterwards = api.request_test(&request(), LIMIT).await.unwrap();

    assert_eq!((reply, afterwards), (TestReply::NoSuchEndpoint, TestReply::NoSuchEndpoint));
    assert!(matches!(poisoned, TestReply::Failed { .. }));
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_test_whose_asker_waits_no_more_is_not_made() {
    // as many as are made at once
    const BUSY: usize = 16;
    let nats = TestNats::start_empty().await;
    let (api, deliver) = (nats.bus("api").await, nats.bus("deliver").await);
    let slow = request();
    let (made, release) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (stop, made, slow, release) = (stop.clone(), Arc::clone(&made), slow.clone(), release.clone());
        async move {
            let answer = |request: TestRequest| {
                let is_slow = request == slow;
                made.lock().unwrap().push(request.endpoint_id);
                let release = release.clone();
                async move {
                    if is_slow {
                        release.cancelled().await;
                    }
                    TestReply::NoSuchEndpoint
                }
            };
            deliver.serve_tests(answer, stop).await;
        }
    });
    until(LIMIT, async || api.request_test(&request(), LIMIT).await.ok()).await;
    let (forgotten, last) = (request(), request());

    let busy = futures::future::join_all((0..BUSY).map(|_| api.request_test(&slow, LIMIT)));
    let meanwhile = async {
        let all = || {
            (made.lock().unwrap().iter().filter(|id| **id == slow.endpoint_id).count() == BUSY).then_some(())
        };
        until(LIMIT, async || all()).await;
        let given_up = api.request_test(&forgotten, Duration::from_millis(50)).await;
        release.cancel();
        given_up
    };
    let (_, given_up) = tokio::join!(busy, meanwhile);
    let answered = api.request_test(&last, LIMIT).await;

    assert!(matches!(given_up, Err(RequestError::Timeout)), "{given_up:?}");
    assert!(answered.is_ok(), "{answered:?}");
    let made = made.lock().unwrap().clone();
    assert!(made.contains(&last.endpoint_id) && !made.contains(&forgotten.endpoint_id));
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn without_a_deliver_a_request_for_a_test_fails_at_once() {
    let nats = TestNats::start_empty().await;

    let error = nats.bus("api").await.request_test(&request(), Duration::from_secs(30)).await.unwrap_err();

    assert!(matches!(error, RequestError::NobodyAnswers), "{error}");
}
