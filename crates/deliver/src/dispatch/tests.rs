//! Places, time, leases, and endpoints that change, in the fast lane.

use futures::FutureExt as _;
use model::EndpointId;
use model::automation::{self, Automation};
use model::delivery::DeliveryStatus;
use serde_json::json;
use store::delivery_log::{self, DeliveryFilter};
use store::endpoints;
use store::leases;
use testkit::{Answer, Subscriber};
use uuid::Uuid;

use super::*;
use crate::app::parts::Parts;
use crate::batch;

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Longer than that, so that nothing happens because it has passed.
const LONG: Duration = Duration::from_secs(90);

/// Nobody is posted to at this port.
const NOWHERE: &str = "http://127.0.0.1:9/hooks";

#[tokio::test]
async fn who_is_answered_makes_room_for_others_while_a_neighbour_is_waited_for() {
    let mut parts = Parts::new(|settings| {
        (settings.deliver.request_timeout, settings.deliver.drain_timeout) = (LONG, LONG);
    })
    .await;
    parts.dispatcher.patience = LONG;
    let (quick, slow) = (Subscriber::start(Answer::Status(200)).await, Subscriber::start(Answer::Held).await);
    parts.endpoint(&quick.url(), |_| {}).await;
    parts.endpoint(&slow.url(), |_| {}).await;
    let (dispatcher, clicks) = (&parts.dispatcher, [parts.click()]);

    let others = async {
        slow.received(1).await;
        let places = u32::try_from(AT_ONCE_MAX - 1).expect("few");
        let room = tokio::time::timeout(LIMIT, dispatcher.at_once.acquire_many(places)).await;
        slow.release();
        room.is_ok()
    };
    let (verdicts, has_room) = tokio::join!(dispatcher.handle(&clicks), others);

    assert!(has_room, "whoever is waited for has the place of the other");
    assert_eq!(verdicts, Verdicts::each(vec![Verdict::Done]));
}

#[tokio::test]
async fn what_there_is_no_time_for_comes_again_and_nothing_is_sent_twice() {
    let mut parts = Parts::new(|_| {}).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    parts.endpoint(&subscriber.url(), |_| {}).await;
    let clicks = [parts.click(), parts.click(), parts.click()];
    let in_time = parts.dispatcher.handle(&clicks[..2]).await;
    assert_eq!(in_time, Verdicts::each(vec![Verdict::Done; 2]));
    subscriber.received(2).await;

    parts.dispatcher.begin_max = Duration::ZERO;
    let late = parts.dispatcher.handle(&clicks).await;
    let sent_late = subscriber.count();
    parts.dispatcher.begin_max = BEGIN_MAX;
    let again = parts.dispatcher.handle(&clicks).await;
    subscriber.received(3).await;

    assert_eq!(late, Verdicts::each(vec![Verdict::Done, Verdict::Done, Verdict::Retry(AGAIN_DELAY)]));
    assert_eq!(again, Verdicts::each(vec![Verdict::Done; 3]));
    assert_eq!((sent_late, subscriber.count()), (2, 3));
}

#[tokio::test]
async fn what_comes_too_early_or_is_in_hand_already_holds_up_nobody() {
    let parts = Parts::new(|_| {}).await;
    let people_with_evidence = |options: &mut endpoints::EndpointOptions| {
        (options.settle_ms, options.filter) = (600_000, Some(json!({"verdicts": ["human"]})));
    };
    parts.endpoint(NOWHERE, people_with_evidence).await;
    let (dispatcher, click, in_hand) = (&parts.dispatcher, parts.click(), parts.click());
    let automation = Automation { verdict: automation::Verdict::Automated, ..click.automation.clone() };
    let overtaking = click.amended(automation, Utc::now()).expect("few revisions");
    let _other_batch = Claim::of(&dispatcher.in_hand, std::slice::from_ref(&in_hand));

    let verdicts = dispatcher.handle(&[overtaking, in_hand]).await;

    let expected = [AGAIN_DELAY, RETRY_DELAY].map(Verdict::NotYet);
    assert_eq!(verdicts, Verdicts::each(expected.to_vec()));
}

#[tokio::test]
async fn what_is_under_way_stays_ours_however_long_the_database_was_waited_for() {
    let parts = Parts::new(|settings| settings.database.pool_max = 1).await;
    let endpoint_id = parts.endpoint(NOWHERE, |_| {}).await;
    let (dispatcher, click) = (&parts.dispatcher, parts.click());
    let (_reply, under_way) = under_way(dispatcher, &click).await;

    let only = dispatcher.pool.get().await.expect("a connection");
    let let_go = async {
        let let_go_at = Utc::now();
        drop(only);
        let_go_at
    };
    let clicks = [&click];
    let (stored, let_go_at) = tokio::join!(biased; dispatcher.store(&clicks, vec![under_way]), let_go);

    stored.expect("it is stored");
    assert!(!others_get_it_at(&parts, endpoint_id, let_go_at + parts.recorder().lease()).await);
}

/// The webhook of a click, sent and not answered: whoever has the other end answers.
async fn under_way(
    dispatcher: &Dispatcher,
    click: &EnrichedClick,
) -> (oneshot::Sender<batch::Answer>, Dispatch) {
    let found = dispatcher.matching.debts(&[click], Utc::now()).await.expect("debts");
    let (reply, answer) = oneshot::channel();
    let dispatch = Dispatch {
        id: DeliveryId::generate_at(click.event_id.timestamp()),
        debt: found.debts[0].clone(),
        body: Bytes::from_static(b"{}"),
        state: State::Sent { answer, is_waited_for: false },
    };
    (reply, dispatch)
}

#[tokio::test]
async fn what_could_not_be_stored_is_not_sent_again_before_it_is() {
    let parts = Parts::new(|settings| settings.database.pool_max = 1).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    parts.endpoint(&subscriber.url(), |_| {}).await;
    let (dispatcher, sent, next) = (&parts.dispatcher, [parts.click()], [parts.click()]);
    let (_reply, under_way) = under_way(dispatcher, &sent[0]).await;
    let only = dispatcher.pool.get().await.expect("a connection");
    let broken_off = dispatcher.store(&[&sent[0]], vec![under_way]).now_or_never();
    assert!(broken_off.is_none(), "there is no connection");
    drop(only);

    let again = dispatcher.handle(&sent).await;
    let sent_again = subscriber.count();
    let after = dispatcher.handle(&next).await;

    assert_eq!((again, after), (Verdicts::each(vec![Verdict::Done]), Verdicts::each(vec![Verdict::Done])));
    let received = subscriber.received(1).await;
    let ids: Vec<_> = received.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!((sent_again, ids), (0, vec![Some(next[0].event_id.to_string().as_str())]));
}

/// Whether another process could lease something of the endpoint then.
async fn others_get_it_at(parts: &Parts, endpoint_id: EndpointId, at: chrono::DateTime<Utc>) -> bool {
    let (wanted, other) = ([(endpoint_id, 1)], Uuid::from_u128(7));
    let leased = leases::lease_due(&mut *parts.conn().await, &wanted, other, at, at).await;
    !leased.expect("leases").is_empty()
}

#[tokio::test]
async fn nothing_is_sent_to_whom_his_owner_paused_after_the_match() {
    let parts = Parts::new(|_| {}).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let endpoint_id = parts.endpoint(&subscriber.url(), |_| {}).await;
    let (dispatcher, click) = (&parts.dispatcher, parts.click());
    let found = dispatcher.matching.debts(&[&click], Utc::now()).await.expect("debts");

    let (paused, now) = (endpoints::State::Paused, Utc::now());
    let mut conn = parts.conn().await;
    let changed = endpoints::set_state(&mut conn, parts.workspace_id, endpoint_id, paused, None, now).await;
    changed.expect("a state");
    parts.refresh().await;
    let places = dispatcher.at_once.acquire().await.expect("a place");
    dispatcher.dispatch_some(&[&click], &found.debts, places).await.expect("it is stored");

    dispatcher.tasks.close();
    dispatcher.tasks.wait().await;
    assert_eq!(subscriber.count(), 0);
    let all = DeliveryFilter::default();
    let rows = delivery_log::list(&mut conn, parts.workspace_id, &all, None, 10).await.expect("deliveries");
    let rows: Vec<_> = rows.iter().map(|row| (row.status, row.attempt_count)).collect();
    assert_eq!(rows, [(DeliveryStatus::Pending, 0)], "it waits for him");
}
