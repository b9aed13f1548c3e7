//! Leases, rates and ends, in the slow lane.

use model::EventId;
use model::event_type::LINK_CLICKED;
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::endpoints::{self, State};
use testkit::until;
use uuid::Uuid;

use super::*;
use crate::app::parts::Parts;
use crate::lane::Report;
use crate::limit::Load;
use crate::outcome::Signal;

/// Nobody is posted to at this port.
const NOWHERE: &str = "http://127.0.0.1:9/hooks";

const HOUR: TimeDelta = TimeDelta::hours(1);

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Another process.
fn other() -> Uuid {
    Uuid::from_u128(7)
}

/// So many deliveries to the endpoint become due now.
async fn owe(parts: &Parts, endpoint_id: EndpointId, count: usize) {
    let (now, workspace_id) = (Utc::now(), parts.workspace_id);
    let one = |event_id: EventId| NewDelivery {
        id: DeliveryId::generate_at(event_id.timestamp()),
        workspace_id,
        owed: Owed { endpoint_id, event_id },
        event_type: LINK_CLICKED,
        click_id: None,
        told_revision: 0,
        progress: Progress::due(now, Some(b"{}".to_vec())),
        leased_until: None,
        line: None,
    };
    let new: Vec<NewDelivery> = (0..count).map(|_| one(EventId::generate())).collect();
    let made = deliveries::insert(&mut *parts.conn().await, &new, &[], other(), now).await;
    assert_eq!(made.expect("deliveries").len(), count);
}

/// What `leased_by` leases of the endpoint at `now`.
async fn leased(
    parts: &Parts,
    endpoint_id: EndpointId,
    leased_by: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<Leased> {
    let wanted = [(endpoint_id, 10)];
    let leased = leases::lease_due(&mut *parts.conn().await, &wanted, leased_by, now, until).await;
    leased.expect("leases")
}

#[tokio::test]
async fn a_lease_begins_when_there_is_a_connection() {
    let parts = Parts::new(|settings| settings.database.pool_max = 1).await;
    let endpoint_id = parts.endpoint(NOWHERE, |_| {}).await;
    owe(&parts, endpoint_id, 1).await;
    let only = parts.courier.pool.get().await.expect("a connection");

    let now = Utc::now();
    let let_go = async {
        let let_go_at = Utc::now();
        drop(only);
        let_go_at
    };
    let (step, let_go_at) = tokio::join!(biased; parts.courier.step(now), let_go);

    assert_eq!(step.expect("the database is there"), Step::Worked(1));
    let then = let_go_at + parts.recorder().lease();
    assert_eq!(leased(&parts, endpoint_id, other(), then, then).await, []);
}

#[tokio::test]
async fn what_the_fast_lane_waits_for_takes_from_the_slow_one_its_slots_and_nothing_else() {
    let parts = Parts::new(|settings| settings.deliver.in_flight_max = 32).await;
    let endpoint_id = parts.endpoint(NOWHERE, |_| {}).await;
    owe(&parts, endpoint_id, 5).await;
    let neighbour = parts.courier.lanes.lane(None, None);
    let in_flight: Vec<_> = (0..30).map(|_| neighbour.admit(Utc::now()).expect("free")).collect();
    let waited_for: Vec<_> = (0..LEASED_MAX).map(|_| parts.dispatcher.tasks.token()).collect();

    let step = parts.courier.step(Utc::now()).await.expect("the database is there");

    assert_eq!(step, Step::Worked(2));
    drop((in_flight, waited_for));
}

#[tokio::test]
async fn nothing_is_late_that_waits_for_its_endpoint() {
    let parts = Parts::new(|_| {}).await;
    let endpoint = async || parts.endpoint(NOWHERE, |_| {}).await;
    let (paused, asked_for_a_pause) = (endpoint().await, endpoint().await);
    let (broken, ready, removed) = (endpoint().await, endpoint().await, EndpointId::generate());
    let now = Utc::now();
    let mut conn = parts.conn().await;
    let changed = endpoints::set_state(&mut conn, parts.workspace_id, paused, State::Paused, None, now).await;
    changed.expect("a state");
    parts.refresh().await;
    let table = parts.courier.endpoints.current();
    let lane = |id| &table.get(id).expect("an endpoint").lane;
    lane(asked_for_a_pause).pause(now + HOUR);
    let no_answer = Report { signal: Signal::Down, load: Load::Borne, duration: Duration::ZERO };
    while let Ok(slot) = lane(broken).admit(now) {
        lane(broken).report(slot, no_answer, now);
    }

    let seconds_late = |endpoint_id, at: DateTime<Utc>| {
        parts.courier.observe(&table, &[Waiting { endpoint_id, due_at: at - HOUR }], at);
        parts.courier.metrics.oldest_due_seconds.get()
    };

    for waited_for in [paused, asked_for_a_pause, broken, removed] {
        assert_eq!((seconds_late(waited_for, now), seconds_late(ready, now)), (0, 3600));
    }
    let then = now + TimeDelta::minutes(10);
    assert_eq!(seconds_late(broken, then), 0, "it is tried, and has not answered");
}

#[tokio::test]
async fn after_a_long_step_what_is_ours_is_renewed_and_what_somebody_else_has_is_left_to_him() {
    let parts = Parts::new(|_| {}).await;
    let endpoint_id = parts.endpoint(NOWHERE, |_| {}).await;
    owe(&parts, endpoint_id, 2).await;
    let (us, now) = (parts.recorder().leased_by(), Utc::now());
    let mut ours = leased(&parts, endpoint_id, us, now, now).await;
    let mut of_lines: HashSet<DeliveryId> = ours.iter().map(|leased| leased.id).collect();
    let mut conn = parts.conn().await;
    let lost = leases::lease_due(&mut conn, &[(endpoint_id, 1)], other(), now, now + HOUR).await;
    let lost = lost.expect("a lease")[0].id;

    let lease = Lease { by: us, now, until: now };
    let kept = parts.courier.keep_ours(&mut conn, lease, &mut ours, &mut of_lines, &mut Vec::new()).await;

    kept.expect("there is time");
    let ids: Vec<DeliveryId> = ours.iter().map(|leased| leased.id).collect();
    assert!(ids.len() == 1 && ids[0] != lost, "{ids:?}");
    assert_eq!(of_lines, HashSet::from([ids[0]]), "nothing is sent behind what is not ours");
    assert_eq!(leased(&parts, endpoint_id, other(), now, now).await, []);
}

#[tokio::test]
async fn what_is_under_way_and_leased_once_more_is_not_given_back() {
    let mut parts = Parts::new(|_| {}).await;
    let endpoint_id = parts.endpoint(NOWHERE, |_| {}).await;
    owe(&parts, endpoint_id, 3).await;
    let (us, now) = (parts.recorder().leased_by(), Utc::now());
    let run = leased(&parts, endpoint_id, us, now, now).await;
    assert!(run.iter().all(|leased| parts.recorder().take(leased.id, now)));

    let table = parts.courier.endpoints.current();
    parts.courier.runner.begin(table.get(endpoint_id).expect("the endpoint"), run);

    parts.recording.store_what_came().await.expect("the database is there");
    assert_eq!(parts.recorder().in_hand_count(), 3);
}

#[tokio::test]
async fn what_was_given_back_can_be_sent_although_what_came_with_it_is_not_stored_yet() {
    let mut parts = Parts::new(|_| {}).await;
    let endpoint_id = parts.endpoint(NOWHERE, |_| {}).await;
    owe(&parts, endpoint_id, 1).await;
    let (us, now) = (parts.recorder().leased_by(), Utc::now());
    let (id, batch_id) = (leased(&parts, endpoint_id, us, now, now + HOUR).await[0].id, BatchId::generate());
    let then = now + HOUR;
    assert!(parts.recorder().take(id, then) && parts.recorder().take_batch(batch_id, then));
    parts.recorder().give_back(id);
    parts.recorder().give_back_batch(batch_id);
    let held = parts.database.hold("delivery_batches").await;
    let cut_off = until(LIMIT, || async {
        held.cut_off_who_waits().await;
        None::<()>
    });

    let stored = tokio::select! {
        stored = parts.recording.store_what_came() => stored,
        () = cut_off => Ok(()),
    };

    assert!(stored.is_err(), "the batch could not be given back");
    for again in leased(&parts, endpoint_id, us, now, now + HOUR).await {
        assert!(parts.recorder().take(again.id, then), "it is not in hand any more");
    }
    held.let_go().await;
    while parts.recording.store_what_came().await.is_err() {}
    assert_eq!(parts.recorder().in_hand_count(), 1);
    assert_eq!(leased(&parts, endpoint_id, other(), now, now).await, [], "it is not given back once more");
}

#[tokio::test]
async fn what_is_given_back_with_a_lease_that_has_ended_does_not_end_the_one_that_was_got_since() {
    let mut parts = Parts::new(|_| {}).await;
    let endpoint_id = parts.endpoint(NOWHERE, |_| {}).await;
    owe(&parts, endpoint_id, 2).await;
    let (us, now) = (parts.recorder().leased_by(), Utc::now());
    for ended in leased(&parts, endpoint_id, us, now, now).await {
        assert!(parts.recorder().take(ended.id, now));
        parts.recorder().give_back(ended.id);
    }
    let anew: Vec<DeliveryId> =
        leased(&parts, endpoint_id, us, now, now + HOUR).await.iter().map(|leased| leased.id).collect();
    assert!(!parts.recorder().take(anew[1], now + HOUR), "it is in hand: it is not sent again");

    parts.recording.store_what_came().await.expect("the database is there");

    assert!(parts.recorder().take(anew[0], now + HOUR), "it is sent");
    let left = leased(&parts, endpoint_id, other(), now, now + HOUR).await;
    assert_eq!(left.iter().map(|leased| leased.id).collect::<Vec<_>>(), [anew[1]], "nobody waits for it");
}

#[tokio::test]
async fn what_is_renewed_is_given_back_and_a_lease_that_was_got_since_is_left_as_it_is() {
    let mut parts = Parts::new(|_| {}).await;
    let endpoint_id = parts.endpoint(NOWHERE, |_| {}).await;
    owe(&parts, endpoint_id, 2).await;
    let (us, now) = (parts.recorder().leased_by(), Utc::now());
    let in_hand = leased(&parts, endpoint_id, us, now, now).await;
    assert!(in_hand.iter().all(|leased| parts.recorder().take(leased.id, now)));
    let (one, until) = ([(endpoint_id, 1)], now + HOUR);
    let anew = leases::lease_due(&mut *parts.conn().await, &one, us, now, until).await.expect("a lease");

    let lost = parts.recorder().renew_once(|| now + HOUR).await.expect("the database is there");

    assert_eq!(lost, 1);
    for leased in &in_hand {
        parts.recorder().give_back(leased.id);
    }
    parts.recording.store_what_came().await.expect("the database is there");
    let left = leased(&parts, endpoint_id, other(), now, now + HOUR).await;
    assert!(left.len() == 1 && left[0].id != anew[0].id, "{left:?}");
}

#[tokio::test]
async fn whoever_takes_an_endpoint_over_goes_on_with_its_rate_and_begins_no_second_burst() {
    let parts = Parts::new(|_| {}).await;
    let rate = |options: &mut store::endpoints::EndpointOptions| {
        (options.rate_per_second, options.rate_burst) = (Some(1), Some(5));
    };
    let endpoint_id = parts.endpoint(NOWHERE, rate).await;
    owe(&parts, endpoint_id, 5).await;
    let (now, mut conn) = (Utc::now(), parts.conn().await);
    let ids = [(endpoint_id, parts.workspace_id)];
    endpoint_state::hold(&mut conn, &ids, other(), now, now + HOUR).await.expect("a hold");
    endpoint_state::let_go(&mut conn, other(), now).await.expect("an end of it");

    let at_once = parts.courier.step(now).await.expect("the database is there");
    let later = parts.courier.step(now + TimeDelta::seconds(3)).await.expect("the database is there");

    assert_eq!((at_once, later), (Step::Idle, Step::Worked(3)));
}

#[tokio::test]
async fn what_the_end_broke_off_is_taken_over_at_once_and_may_have_arrived() {
    let parts = Parts::new(|_| {}).await;
    let endpoint_id = parts.endpoint(NOWHERE, |_| {}).await;
    owe(&parts, endpoint_id, 1).await;
    let (us, now) = (parts.recorder().leased_by(), Utc::now());
    for under_way in leased(&parts, endpoint_id, us, now, now + HOUR).await {
        assert!(parts.recorder().take(under_way.id, now + HOUR));
    }

    parts.recorder().give_back_all().await.expect("the database is there");

    let now = Utc::now();
    let taken_over = leased(&parts, endpoint_id, other(), now, now + HOUR).await;
    assert_eq!(taken_over.iter().map(|leased| leased.is_taken_over).collect::<Vec<_>>(), [true]);
}
