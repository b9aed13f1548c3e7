//! Endpoints that only fail: warned, disabled, recovered; and what is told of it.

use std::time::Duration;

use chrono::Utc;
use deliver::failing::Rule;
use deliver::life::Life;
use model::EndpointId;
use model::delivery::DeliveryStatus;
use serde_json::{Value, json};
use store::endpoint_state::{self, Learned};
use store::endpoints::{self, State};
use testkit::{Answer, Script, Subscriber, until};

use crate::rig::{LIMIT, Rig};

const URL: &str = "https://crm.example.com/hooks/secret";

fn rule(after: Duration) -> Rule {
    Rule { after, failed_min: 20, span_min: Duration::from_secs(3600) }
}

/// What is learned of an endpoint that began to fail so many hours ago, and failed until now.
fn failed_for(rig: &Rig, endpoint_id: EndpointId, hours: i64) -> Learned {
    let now = Utc::now();
    Learned {
        endpoint_id,
        workspace_id: rig.workspace_id,
        url: URL.parse().expect("a URL"),
        delivered: 0,
        failed: 90,
        failed_messages: 30,
        first_failure_at: Some(now - chrono::Duration::hours(hours)),
        last_failure_at: Some(now),
        last_success_at: None,
    }
}

async fn learn(rig: &Rig, learned: Learned) {
    let mut conn = rig.pool.get().await.expect("a connection");
    endpoint_state::add(&mut conn, &[learned], Utc::now()).await.expect("it is written");
}

/// Percentages that were warned of.
async fn percents(rig: &Rig) -> Vec<Value> {
    rig.told_of("endpoint.warning").await.into_iter().map(|data| data["percent"].clone()).collect()
}

#[tokio::test]
async fn two_replicas_warn_once_and_disable_once() {
    let rig = Rig::new().await;
    let (late, fine) = (rig.endpoint(URL).await.0, rig.endpoint(URL).await.0);
    let ten_hours = rule(Duration::from_secs(10 * 3600));
    let (one, two) =
        (Life::new(rig.pool.clone(), Some(ten_hours)), Life::new(rig.pool.clone(), Some(ten_hours)));
    learn(&rig, failed_for(&rig, late, 8)).await;
    learn(&rig, failed_for(&rig, fine, 4)).await;

    let now = Utc::now();
    for moment in [now, now, now + chrono::Duration::hours(1), now + chrono::Duration::hours(1)] {
        let (a, b) = tokio::join!(one.look(moment), two.look(moment));
        assert_eq!((a.expect("a look"), b.expect("a look")), (vec![], vec![]));
    }
    // the second, at 5 of 10 hours, is only at its first warning
    let mut warned = percents(&rig).await;
    warned.sort_by_key(Value::as_u64);
    assert_eq!(warned, [json!(50), json!(75), json!(90)]);

    let moment = now + chrono::Duration::hours(2);
    let (a, b) = tokio::join!(one.look(moment), two.look(moment));
    let disabled = [a.expect("a look"), b.expect("a look")].concat();
    assert_eq!(disabled, [(rig.workspace_id, late)]);
    let told = rig.told_of("endpoint.disabled").await;
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["endpoint_id"], &told[0]["reason"]), (&json!(late), &json!("failing")));
    assert_eq!(told[0]["host"], json!("crm.example.com"), "a path can be secret");
    let endpoint = rig.endpoint_now(late).await;
    assert_eq!((endpoint.state, endpoint.state_reason.as_deref()), (State::Disabled, Some("failing")));
    assert_eq!(rig.endpoint_now(fine).await.state, State::Active);
}

#[tokio::test]
async fn a_success_ends_the_warnings_and_is_told_of_once() {
    let rig = Rig::new().await;
    let (warned, unwarned) = (rig.endpoint(URL).await.0, rig.endpoint(URL).await.0);
    let life = Life::new(rig.pool.clone(), Some(rule(Duration::from_secs(10 * 3600))));
    learn(&rig, failed_for(&rig, warned, 6)).await;
    learn(&rig, failed_for(&rig, unwarned, 1)).await;
    life.look(Utc::now()).await.expect("a look");
    assert_eq!(percents(&rig).await, [json!(50)]);
    for endpoint_id in [warned, unwarned] {
        let failed = failed_for(&rig, endpoint_id, 0);
        let success = Learned {
            delivered: 1,
            failed: 0,
            failed_messages: 0,
            first_failure_at: None,
            last_failure_at: None,
            last_success_at: Some(Utc::now()),
            ..failed
        };
        learn(&rig, success).await;
    }

    for _ in 0..2 {
        life.look(Utc::now()).await.expect("a look");
    }

    let told = rig.told_of("endpoint.recovered").await;
    assert_eq!(told, [json!({ "endpoint_id": warned, "host": "crm.example.com" })]);
    // what fails anew is warned of anew
    learn(&rig, failed_for(&rig, warned, 6)).await;
    life.look(Utc::now()).await.expect("a look");
    assert_eq!(percents(&rig).await, [json!(50), json!(50)]);
}

#[tokio::test]
async fn an_endpoint_that_is_enabled_again_has_its_whole_time_again() {
    let rig = Rig::new().await;
    let (endpoint_id, _) = rig.endpoint(URL).await;
    let life = Life::new(rig.pool.clone(), Some(rule(Duration::from_secs(10 * 3600))));
    learn(&rig, failed_for(&rig, endpoint_id, 11)).await;
    assert_eq!(life.look(Utc::now()).await.expect("a look").len(), 1);

    let mut conn = rig.pool.get().await.expect("a connection");
    endpoints::set_state(&mut conn, rig.workspace_id, endpoint_id, State::Active, None, Utc::now())
        .await
        .expect("it is enabled");
    drop(conn);

    assert_eq!(life.look(Utc::now()).await.expect("a look"), []);
    assert_eq!(rig.endpoint_now(endpoint_id).await.state, State::Active);
}

#[tokio::test]
async fn who_switched_it_off_is_neither_warned_nor_disabled() {
    let rig = Rig::new().await;
    let (endpoint_id, _) = rig.endpoint_with(URL, |options| options.auto_disable = false).await;
    let other = rig.endpoint(URL).await.0;
    learn(&rig, failed_for(&rig, endpoint_id, 100)).await;
    learn(&rig, failed_for(&rig, other, 100)).await;

    let nobody = Life::new(rig.pool.clone(), None).look(Utc::now()).await.expect("a look");
    let by_rule = Life::new(rig.pool.clone(), Some(rule(Duration::from_secs(3600))));

    assert_eq!(nobody, []);
    assert_eq!(by_rule.look(Utc::now()).await.expect("a look"), [(rig.workspace_id, other)]);
    assert!(percents(&rig).await.is_empty());
}

#[tokio::test]
async fn an_endpoint_that_only_fails_is_disabled_and_nothing_more_is_owed_to_it() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(500))).await;
    let (endpoint_id, _) =
        rig.endpoint_with(&subscriber.url(), |options| options.retry_schedule = Some(vec![3600])).await;
    let mut settings = rig.settings();
    settings.deliver.auto_disable_after = Duration::from_secs(4);
    settings.deliver.auto_disable_failed_min = 3;
    settings.deliver.auto_disable_span_min = Duration::ZERO;
    let running = rig.start_with(settings).await;

    rig.publish_some(3).await;

    until(LIMIT, || async { (rig.endpoint_now(endpoint_id).await.state == State::Disabled).then_some(()) })
        .await;
    assert_eq!(rig.endpoint_now(endpoint_id).await.state_reason.as_deref(), Some("failing"));
    let percents = percents(&rig).await;
    assert!(!percents.is_empty(), "nobody is disabled without a warning");
    assert_eq!(rig.told_of("endpoint.disabled").await.len(), 1);
    rig.publish(&rig.click()).await;
    rig.all_acknowledged().await;
    running.stop().await;
    assert_eq!((subscriber.count(), rig.deliveries().await.len()), (3, 3));
}

#[tokio::test]
async fn the_third_failure_of_a_delivery_is_told_of_once_an_hour() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(500))).await;
    let (endpoint_id, _) =
        rig.endpoint_with(&subscriber.url(), |options| options.retry_schedule = Some(vec![0, 0, 3600])).await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    let third = |count| {
        let rig = &rig;
        until(LIMIT, move || async move {
            let deliveries = rig.stand(DeliveryStatus::Pending, count).await;
            deliveries.iter().all(|delivery| delivery.attempt_count == 3).then_some(())
        })
    };
    third(1).await;

    rig.publish(&rig.click()).await;
    third(2).await;

    running.stop().await;
    let told = rig.told_of("delivery.failing").await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["endpoint_id"], &told[0]["attempts"], &told[0]["last_status"]),
        (&json!(endpoint_id), &json!(3), &json!(500))
    );
}
