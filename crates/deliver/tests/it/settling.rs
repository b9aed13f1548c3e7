//! Endpoints that wait for evidence of a click before they are told of it.

use std::collections::HashSet;

use chrono::{TimeDelta, Utc};
use model::automation::Verdict;
use model::delivery::DeliveryStatus;
use model::{EndpointId, EnrichedClick};
use serde_json::json;
use store::delivery_log::{self, LoggedDelivery};
use store::endpoints::{self, EndpointOptions, State};
use store::{leases, settling};
use testkit::{Answer, Subscriber, until};
use uuid::Uuid;

use crate::amendments::{amended, body, people, told};
use crate::rig::{LIMIT, Rig, Running};

/// Longer than a test takes, so that nothing is due by itself.
const SETTLE_MS: u32 = 600_000;

fn settling(options: &mut EndpointOptions) {
    options.settle_ms = SETTLE_MS;
}

fn settling_people(options: &mut EndpointOptions) {
    settling(options);
    people(options);
}

/// One endpoint waits for evidence of every click, another of those of people.
async fn with_two_who_wait() -> (Rig, Subscriber, EndpointId, Running) {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (of_all, _) = rig.endpoint_with(&subscriber.url(), settling).await;
    rig.endpoint_with(&subscriber.url(), settling_people).await;
    let running = rig.start().await;
    (rig, subscriber, of_all, running)
}

impl Rig {
    /// Lets a delivery wait no longer.
    async fn make_due(&self, delivery: &LoggedDelivery) {
        let mut conn = self.pool.get().await.expect("a connection");
        let is_due = delivery_log::retry(&mut conn, self.workspace_id, delivery.id, Utc::now()).await;
        assert!(is_due.expect("a query"), "{delivery:?}");
    }

    /// Lets an endpoint be owed what was clicked since yesterday, in this state.
    async fn owed_since_yesterday(&self, id: EndpointId, state: State) {
        let (yesterday, mut conn) =
            (Utc::now() - TimeDelta::days(1), self.pool.get().await.expect("a connection"));
        for state in [State::Disabled, state] {
            endpoints::set_state(&mut conn, self.workspace_id, id, state, None, yesterday)
                .await
                .expect("the endpoint is there");
        }
    }

    /// A click that comes long after any evidence of it was waited for, as after an outage.
    fn old_click(&self) -> EnrichedClick {
        let mut click = self.click();
        click.click.clicked_at -= TimeDelta::hours(2);
        click
    }
}

#[tokio::test]
async fn who_waits_for_evidence_is_told_once_with_the_settled_verdict_or_not_at_all() {
    let (rig, subscriber, of_all, running) = with_two_who_wait().await;
    let click = rig.click();
    rig.publish(&click).await;

    for waiting in rig.stand(DeliveryStatus::Pending, 2).await {
        let early = waiting.next_attempt_at.expect("it waits")
            - (click.click.clicked_at + TimeDelta::milliseconds(SETTLE_MS.into()));
        assert!(early.abs() < TimeDelta::milliseconds(1), "{early}");
    }
    let change = amended(&click, Verdict::Automated);
    rig.publish(&change).await;
    rig.all_acknowledged().await;
    let waiting = rig.deliveries().await;
    assert_eq!(waiting.len(), 1, "a click of a machine is no delivery for who wants people");
    assert_eq!((waiting[0].endpoint_id, waiting[0].event_id), (of_all, click.event_id));

    // what comes again, or late, changes nothing
    rig.record(&change).await;
    for again in [&click, &change, &click] {
        rig.publish_again(again).await;
    }
    rig.all_acknowledged().await;
    assert_eq!(rig.deliveries().await, waiting);
    assert_eq!(subscriber.count(), 0);

    rig.make_due(&waiting[0]).await;
    rig.stand(DeliveryStatus::Delivered, 1).await;
    rig.publish_again(&change).await;
    rig.all_acknowledged().await;
    running.stop().await;
    let requests = subscriber.requests();
    assert_eq!(requests.len(), 1);
    let told = body(&requests[0]);
    assert_eq!((&told["type"], &told["data"]["revision"]), (&json!("link.clicked"), &json!(1)));
    assert_eq!(told["data"]["automation"]["verdict"], "automated");
}

#[tokio::test]
async fn a_click_that_turns_out_to_be_a_persons_again_is_told_to_who_waits() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    rig.endpoint_with(&subscriber.url(), settling_people).await;
    let running = rig.start().await;
    let click = rig.click();
    let machine = amended(&click, Verdict::Automated);
    let person = amended(&machine, Verdict::Human);

    rig.publish(&click).await;
    rig.stand(DeliveryStatus::Pending, 1).await;
    rig.publish(&machine).await;
    until(LIMIT, || async { rig.deliveries().await.is_empty().then_some(()) }).await;
    rig.publish(&person).await;
    let waiting = rig.stand(DeliveryStatus::Pending, 1).await.remove(0);
    rig.publish_again(&machine).await;
    rig.all_acknowledged().await;

    assert_eq!(rig.deliveries().await.len(), 1, "a lower revision does not take back a higher one");
    rig.make_due(&waiting).await;
    let told = body(&subscriber.received(1).await[0]);
    assert_eq!(
        (&told["data"]["revision"], &told["data"]["previous_verdict"]),
        (&json!(2), &json!("automated"))
    );
    running.stop().await;
}

#[tokio::test]
async fn an_amendment_that_overtakes_its_click_settles_it_all_the_same() {
    let (rig, subscriber, of_all, running) = with_two_who_wait().await;
    let click = rig.click();
    rig.publish(&amended(&click, Verdict::Automated)).await;
    let first = rig.stand(DeliveryStatus::Pending, 1).await.remove(0);
    assert_eq!((first.endpoint_id, first.event_id), (of_all, click.event_id));

    rig.publish(&click).await;

    // the amendment waits for what it takes back
    rig.all_acknowledged().await;
    let waiting: Vec<_> = rig.deliveries().await.iter().map(|delivery| delivery.id).collect();
    assert_eq!(waiting, [first.id]);
    running.stop().await;
    assert_eq!(subscriber.count(), 0);
}

#[tokio::test]
async fn a_change_that_overtakes_an_old_click_waits_for_what_it_takes_back_until_it_is_recorded() {
    let rig = Rig::new().await;
    let at_once = Subscriber::start(Answer::Status(200)).await;
    let (is_told, _) = rig.endpoint(&at_once.url()).await;
    rig.owed_since_yesterday(is_told, State::Active).await;
    let (of_all, _) = rig.endpoint_with("http://127.0.0.1:9/", settling).await;
    let (of_people, _) = rig.endpoint_with("http://127.0.0.1:9/", settling_people).await;
    for id in [of_all, of_people] {
        rig.owed_since_yesterday(id, State::Paused).await;
    }
    let running = rig.start().await;
    let (one, other) = (rig.old_click(), rig.old_click());
    let changed = amended(&one, Verdict::Automated);
    let changed_twice = amended(&amended(&other, Verdict::Automated), Verdict::Unknown);
    for change in [&changed, &changed_twice] {
        rig.publish(change).await;
    }
    rig.stand(DeliveryStatus::Pending, 2).await;

    for click in [&one, &other] {
        rig.publish(click).await;
    }

    // who is told at once is told in the same batches: of the changes, and then of the clicks
    at_once.received(4).await;
    for change in [&changed, &changed_twice] {
        rig.record(change).await;
    }
    rig.all_acknowledged().await;
    running.stop().await;
    let expected = [&one, &other].map(|click| told(of_all, "link.clicked", click.event_id));
    let told = rig.told_to().await.into_iter().filter(|(endpoint_id, ..)| *endpoint_id != is_told);
    assert_eq!(told.collect::<HashSet<_>>(), HashSet::from(expected));
}

#[tokio::test]
async fn what_was_told_after_the_wait_is_amended_and_nothing_is_told_before_it() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    rig.endpoint_with(&subscriber.url(), |options| options.settle_ms = 700).await;
    let running = rig.start().await;
    let click = rig.click();
    rig.publish(&click).await;

    let first = subscriber.received(1).await.remove(0);
    assert!(first.at - click.click.clicked_at >= TimeDelta::milliseconds(700), "{}", first.at);
    rig.stand(DeliveryStatus::Delivered, 1).await;
    let change = amended(&click, Verdict::Automated);
    rig.publish(&change).await;
    let second = subscriber.received(2).await.remove(1);
    rig.stand(DeliveryStatus::Delivered, 2).await;

    assert_eq!(
        (body(&first)["data"]["revision"].as_u64(), body(&second)["data"]["revision"].as_u64()),
        (Some(0), Some(1))
    );
    assert_eq!(second.header("webhook-id"), Some(change.event_id.to_string().as_str()));
    rig.publish_again(&change).await;
    rig.all_acknowledged().await;
    running.stop().await;
    assert_eq!(subscriber.count(), 2);
}

#[tokio::test]
async fn what_is_recorded_when_the_wait_is_over_is_told_although_it_has_not_come_to_us() {
    let (rig, subscriber, of_all, running) = with_two_who_wait().await;
    let click = rig.click();
    rig.publish(&click).await;
    let waiting = rig.stand(DeliveryStatus::Pending, 2).await;
    rig.all_acknowledged().await;

    let change = amended(&click, Verdict::Automated);
    rig.record(&change).await;
    for delivery in &waiting {
        rig.make_due(delivery).await;
    }

    let first = body(&subscriber.received(1).await[0]);
    assert_eq!((&first["type"], &first["data"]["revision"]), (&json!("link.clicked"), &json!(1)));
    assert_eq!(first["data"]["automation"]["verdict"], "automated");
    rig.stand(DeliveryStatus::Delivered, 1).await;
    until(LIMIT, || async { (rig.deliveries().await.len() == 1).then_some(()) }).await;
    assert_eq!(rig.told_to().await, HashSet::from([told(of_all, "link.clicked", click.event_id)]));

    // when it comes, it is known
    rig.publish(&change).await;
    rig.all_acknowledged().await;
    running.stop().await;
    assert_eq!((rig.deliveries().await.len(), subscriber.count()), (1, 1));
}

#[tokio::test]
async fn a_retry_after_the_wait_sends_the_bytes_of_the_first_attempt() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start([Answer::Status(500), Answer::Status(200)]).await;
    rig.endpoint_with(&subscriber.url(), |options| {
        settling(options);
        options.retry_schedule = Some(vec![600]);
    })
    .await;
    let running = rig.start().await;
    let click = rig.click();
    rig.publish(&click).await;
    let waiting = rig.stand(DeliveryStatus::Pending, 1).await.remove(0);
    rig.make_due(&waiting).await;
    let failed = until(LIMIT, || async {
        let delivery = rig.deliveries().await.remove(0);
        (delivery.attempt_count == 1).then_some(delivery)
    })
    .await;

    rig.record(&amended(&click, Verdict::Automated)).await;
    rig.make_due(&failed).await;

    rig.stand(DeliveryStatus::Delivered, 1).await;
    running.stop().await;
    let requests = subscriber.requests();
    assert_eq!((requests.len(), &requests[0].body), (2, &requests[1].body));
    assert_eq!(body(&requests[1])["data"]["revision"], 0);
}

#[tokio::test]
async fn what_another_had_in_hand_when_the_wait_was_over_keeps_its_bytes_and_the_change_is_told_after_it() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (endpoint_id, _) = rig.endpoint_with(&subscriber.url(), settling).await;
    let running = rig.start().await;
    let click = rig.click();
    rig.publish(&click).await;
    let waiting = rig.stand(DeliveryStatus::Pending, 1).await.remove(0);
    rig.all_acknowledged().await;
    running.stop().await;
    // it may have sent it, and died before it stored the result
    rig.make_due(&waiting).await;
    let (now, mut conn) = (Utc::now(), rig.pool.get().await.expect("a connection"));
    let leased = leases::lease_due(&mut conn, &[(endpoint_id, 1)], Uuid::from_u128(7), now, now).await;
    assert_eq!(leased.expect("a lease").len(), 1);
    drop(conn);
    let change = amended(&click, Verdict::Automated);
    rig.record(&change).await;

    let running = rig.start().await;
    let first = body(&subscriber.received(1).await[0]);
    rig.stand(DeliveryStatus::Delivered, 1).await;
    rig.publish(&change).await;
    let amendment = rig.stand(DeliveryStatus::Pending, 1).await.remove(0);
    rig.make_due(&amendment).await;
    let second = body(&subscriber.received(2).await[1]);
    rig.stand(DeliveryStatus::Delivered, 2).await;
    running.stop().await;

    assert_eq!((&first["type"], &first["data"]["revision"]), (&json!("link.clicked"), &json!(0)));
    assert_eq!((&second["type"], &second["data"]["revision"]), (&json!("link.click.amended"), &json!(1)));
}

#[tokio::test]
async fn what_changes_while_the_first_telling_is_in_hand_is_told_when_it_is_known_what_that_told() {
    let rig = Rig::new().await;
    let (at_once, later) =
        (Subscriber::start(Answer::Status(200)).await, Subscriber::start(Answer::Status(200)).await);
    let (is_told, _) = rig.endpoint(&at_once.url()).await;
    rig.owed_since_yesterday(is_told, State::Active).await;
    let (waits, _) = rig.endpoint_with(&later.url(), settling_people).await;
    rig.owed_since_yesterday(waits, State::Paused).await;
    let running = rig.start().await;
    let click = rig.old_click();
    rig.publish(&click).await;
    rig.stand(DeliveryStatus::Delivered, 1).await;
    let waiting = rig.stand(DeliveryStatus::Pending, 1).await.remove(0);
    rig.all_acknowledged().await;
    // another instance has it in hand
    let another = Uuid::from_u128(7);
    let mut conn = rig.pool.get().await.expect("a connection");
    let (now, end) = (Utc::now(), Utc::now() + TimeDelta::days(1));
    let leased = leases::lease_due(&mut conn, &[(waits, 1)], another, now, end).await;
    assert_eq!(leased.expect("a lease").len(), 1);

    let change = amended(&click, Verdict::Automated);
    rig.publish(&change).await;

    // who is told at once is told in the same batch
    at_once.received(2).await;
    rig.stand(DeliveryStatus::Delivered, 2).await;
    assert_eq!(rig.deliveries().await.len(), 3, "nothing is told of a change of what may not be told");
    rig.record(&change).await;
    settling::withdraw(&mut conn, &[waiting.id], another).await.expect("a query");
    drop(conn);
    rig.all_acknowledged().await;
    running.stop().await;
    assert_eq!((rig.deliveries().await.len(), later.count()), (2, 0));
}
