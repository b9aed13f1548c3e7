//! Numbers of deliveries and the heads of lines, as the database keeps them.

use chrono::{DateTime, Duration, Utc};
use model::delivery::{Attempt, DeliveryStatus, ErrorClass};
use model::event_type::LINK_CLICKED;
use model::ordering::OnFailure;
use model::{DeliveryId, EndpointId, EventId, LinkId, Ordering, WorkspaceId};
use store::attempts::{NewAttempt, Trigger};
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::delivery_log::{self, DeliveryFilter};
use store::endpoints::{self, State};
use store::leases::{self, Finished};
use store::lines::{self, Heads, LineKey, Sight, Wanted};
use store::sequences::{self, Line};
use store::{Connection, endpoint_state};
use testkit::{TestDatabase, given};
use uuid::Uuid;

/// Two lines at a look.
const SIGHT: Sight = Sight { lines: 2, of_line: 2, of_strict: 4 };

/// An endpoint whose deliveries are counted, and its one courier.
pub struct Counted {
    pub conn: Connection,
    pub workspace_id: WorkspaceId,
    pub endpoint_id: EndpointId,
    courier: Uuid,
    pub now: DateTime<Utc>,
}

impl Counted {
    pub async fn begin(database: &TestDatabase) -> Self {
        let mut conn = store::connect(&database.settings()).await.expect("a connection");
        let workspace_id = given::workspace(&mut conn).await;
        let (endpoint_id, now) = (EndpointId::generate(), Utc::now());
        let options = given::endpoint_options("http://127.0.0.1:9/");
        endpoints::insert(&mut conn, workspace_id, endpoint_id, &options, State::Active, None, now)
            .await
            .expect("an endpoint");
        let courier = Uuid::from_u128(rand::random());
        Self { conn, workspace_id, endpoint_id, courier, now }
    }

    /// A delivery of a click on this link, so many seconds ago.
    pub fn delivery(&self, link_id: LinkId, seconds_ago: i64) -> NewDelivery {
        let (event_id, at) = (EventId::generate(), self.now - Duration::seconds(seconds_ago));
        NewDelivery {
            id: DeliveryId::generate_at(event_id.timestamp()),
            workspace_id: self.workspace_id,
            owed: Owed { endpoint_id: self.endpoint_id, event_id },
            event_type: LINK_CLICKED,
            click_id: None,
            told_revision: 0,
            progress: Progress::due(self.now, Some(b"{}".to_vec())),
            leased_until: None,
            line: Some(Line { at, link_id: Some(link_id) }),
        }
    }

    pub async fn store(&mut self, new: &[NewDelivery]) -> usize {
        let stored = deliveries::insert(&mut self.conn, new, &[], Uuid::nil(), self.now).await;
        stored.expect("an insert").len()
    }

    async fn sequence_of(&mut self, new: &NewDelivery) -> Option<u64> {
        let found = delivery_log::find(&mut self.conn, self.workspace_id, new.id).await.expect("a query");
        found.expect("the delivery").sequence
    }

    async fn keep_order(&mut self) {
        let mut options = given::endpoint_options("http://127.0.0.1:9/");
        options.ordering = Ordering::Strict(OnFailure::Stop);
        endpoints::update(&mut self.conn, self.workspace_id, self.endpoint_id, &options, self.now)
            .await
            .expect("it is saved");
    }

    async fn retry(&mut self, new: &NewDelivery) {
        let asked = delivery_log::retry(&mut self.conn, self.workspace_id, new.id, self.now).await;
        assert!(asked.expect("a query"));
    }

    async fn heads(&mut self, is_strict: bool, after: LineKey) -> Heads {
        let wanted = Wanted { endpoint_id: self.endpoint_id, is_strict, after };
        let mut heads = lines::heads(&mut self.conn, &[wanted], SIGHT).await.expect("a query");
        heads.remove(&self.endpoint_id).unwrap_or_default()
    }

    async fn live(&mut self, is_strict: bool, after: LineKey) -> Vec<u64> {
        self.heads(is_strict, after).await.live.iter().map(|head| head.first.sequence).collect()
    }

    /// What is seen behind each of the first heads.
    async fn behind(&mut self, is_strict: bool) -> Vec<Vec<u64>> {
        let heads = self.heads(is_strict, LineKey::default()).await.live;
        heads.iter().map(|head| head.behind.iter().map(|place| place.sequence).collect()).collect()
    }

    async fn hold(&mut self) {
        let until = self.now + Duration::seconds(5);
        let ids = [(self.endpoint_id, self.workspace_id)];
        endpoint_state::hold(&mut self.conn, &ids, self.courier, self.now, until).await.expect("a query");
    }

    async fn lease(&mut self, id: DeliveryId) -> Vec<u64> {
        let until = self.now + Duration::seconds(5);
        let leased = lines::lease(&mut self.conn, &[id], self.courier, self.now, until).await;
        leased.expect("a lease").iter().filter_map(|leased| leased.sequence).collect()
    }

    /// Stores how an attempt of a leased delivery went.
    async fn finish(&mut self, new: &NewDelivery, status: DeliveryStatus) {
        let due_at = self.now + Duration::hours(1);
        let progress = Progress {
            status,
            attempt_count: 1,
            next_attempt_at: (status == DeliveryStatus::Pending).then_some(due_at),
            attempted_at: Some(self.now),
            finished_at: (status != DeliveryStatus::Pending).then_some(self.now),
            last_error: (status != DeliveryStatus::Delivered).then_some(ErrorClass::Timeout.as_str()),
            ..Progress::due(self.now, None)
        };
        self.finish_with(new, progress, &[]).await;
    }

    /// Stores that this attempt of a leased delivery, so many seconds ago, failed; it is due again at once.
    async fn fail(&mut self, new: &NewDelivery, number: u32, seconds_ago: i64) {
        let error = Some(ErrorClass::Timeout);
        let attempt = Attempt { error, ..Attempt::begun(self.now - Duration::seconds(seconds_ago)) };
        let progress = Progress {
            attempt_count: number,
            attempted_at: Some(attempt.started_at),
            last_error: error.map(|error| error.as_str()),
            ..Progress::due(self.now, None)
        };
        let attempt = NewAttempt {
            delivery_id: new.id,
            workspace_id: self.workspace_id,
            number,
            trigger: Trigger::Schedule,
            url: None,
            attempt,
        };
        self.finish_with(new, progress, &[attempt]).await;
    }

    async fn finish_with(&mut self, new: &NewDelivery, progress: Progress, attempts: &[NewAttempt]) {
        let finished = Finished { id: new.id, workspace_id: self.workspace_id, owed: new.owed, progress };
        let stored = leases::finish(&mut self.conn, &[finished], attempts, self.courier, self.now).await;
        assert_eq!(stored.expect("a query").len(), 1);
    }

    /// How many seconds ago what holds up others began to fail, and how many endpoints it holds up.
    async fn held_up(&mut self) -> (Vec<i64>, i64) {
        let ids = [self.endpoint_id];
        let held = lines::hold_ups(&mut self.conn, self.workspace_id, &ids, 10).await.expect("a query");
        let count = lines::count_held_up(&mut self.conn, &ids, 10).await.expect("a count");
        (held.iter().map(|held| self.now.timestamp() - held.since.timestamp()).collect(), count)
    }
}

#[tokio::test]
async fn numbers_go_by_the_time_of_the_click_and_have_no_gaps() {
    let database = TestDatabase::new().await;
    let mut counted = Counted::begin(&database).await;
    let link = LinkId::generate();
    let (second, first, third) =
        (counted.delivery(link, 5), counted.delivery(link, 9), counted.delivery(link, 1));
    let late = counted.delivery(link, 7);

    assert_eq!(counted.store(&[second.clone(), first.clone(), third.clone()]).await, 3);
    // the message comes again, with one that is new
    assert_eq!(counted.store(&[third.clone(), late.clone()]).await, 1);
    assert_eq!(counted.store(std::slice::from_ref(&second)).await, 0);

    let mut numbers = Vec::new();
    for new in [&first, &second, &third, &late] {
        numbers.push(counted.sequence_of(new).await);
    }
    assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4)]);
}

#[tokio::test]
async fn what_was_stored_before_it_was_counted_gets_its_number_later_and_then_stands_in_line() {
    let database = TestDatabase::new().await;
    let mut counted = Counted::begin(&database).await;
    let link = LinkId::generate();
    let (before, after) =
        (NewDelivery { line: None, ..counted.delivery(link, 9) }, counted.delivery(link, 1));
    counted.store(&[before.clone(), after.clone()]).await;
    assert_eq!(counted.sequence_of(&before).await, None);
    assert_eq!(counted.live(true, LineKey::default()).await, [1]);

    let endpoint_id = counted.endpoint_id;
    let numbered = sequences::number_rest(&mut counted.conn, &[endpoint_id], 10).await.expect("a query");
    let again = sequences::number_rest(&mut counted.conn, &[endpoint_id], 10).await.expect("a query");

    assert_eq!((numbered, again), (1, 0));
    assert_eq!((counted.sequence_of(&after).await, counted.sequence_of(&before).await), (Some(1), Some(2)));
}

#[tokio::test]
async fn what_was_stored_before_it_was_counted_stands_in_line_as_soon_as_it_is_asked_for_again() {
    let database = TestDatabase::new().await;
    let mut counted = Counted::begin(&database).await;
    let before = NewDelivery { line: None, ..counted.delivery(LinkId::generate(), 9) };
    counted.store(std::slice::from_ref(&before)).await;
    counted.retry(&before).await;
    assert_eq!(counted.sequence_of(&before).await, None, "it is in no order");

    counted.keep_order().await;
    for _ in 0..2 {
        counted.retry(&before).await;
    }

    assert_eq!(counted.sequence_of(&before).await, Some(1));
    assert_eq!(counted.live(true, LineKey::default()).await, [1]);
}

#[tokio::test]
async fn each_link_has_its_head_and_a_strict_order_has_one() {
    let database = TestDatabase::new().await;
    let mut counted = Counted::begin(&database).await;
    let links: Vec<LinkId> = (1..=3).map(|n| LinkId::from_uuid(Uuid::from_u128(n))).collect();
    // numbers 1 to 6: each link twice, the last link first
    let new: Vec<NewDelivery> =
        (0..6).map(|n| counted.delivery(links[2 - n % 3], 60 - i64::try_from(n).expect("small"))).collect();
    counted.store(&new).await;

    assert_eq!(counted.live(true, LineKey::default()).await, [1]);
    assert_eq!(counted.behind(true).await, [vec![2, 3, 4]]);
    assert_eq!(counted.behind(false).await, [[6], [5]]);
    // two at a look, in the order of the links
    assert_eq!(counted.live(false, LineKey::default()).await, [3, 2]);
    assert_eq!(counted.live(false, LineKey(links[1].uuid())).await, [1]);
    assert_eq!(counted.live(false, LineKey(links[2].uuid())).await, [0; 0]);

    counted.hold().await;
    assert_eq!(counted.lease(new[0].id).await, [1]);
    counted.finish(&new[0], DeliveryStatus::Delivered).await;
    assert_eq!(counted.live(true, LineKey::default()).await, [2]);
    assert_eq!(counted.live(false, LineKey(links[1].uuid())).await, [4]);
}

#[tokio::test]
async fn what_was_accepted_and_is_asked_for_again_holds_up_others_since_it_first_failed_after_that() {
    let database = TestDatabase::new().await;
    let mut counted = Counted::begin(&database).await;
    let first = counted.delivery(LinkId::generate(), 90);
    counted.store(std::slice::from_ref(&first)).await;
    counted.hold().await;
    assert_eq!(counted.lease(first.id).await, [1]);
    counted.fail(&first, 1, 80).await;
    assert_eq!(counted.held_up().await, (vec![80], 1));
    assert_eq!(counted.lease(first.id).await, [1]);
    let accepted = Progress {
        status: DeliveryStatus::Delivered,
        attempt_count: 2,
        next_attempt_at: None,
        attempted_at: Some(counted.now),
        finished_at: Some(counted.now),
        ..Progress::due(counted.now, None)
    };
    let attempt = Attempt::begun(counted.now - Duration::seconds(70));
    let (delivery_id, workspace_id) = (first.id, counted.workspace_id);
    let attempt =
        NewAttempt { delivery_id, workspace_id, number: 2, trigger: Trigger::Schedule, url: None, attempt };
    counted.finish_with(&first, accepted, &[attempt]).await;

    counted.retry(&first).await;
    assert_eq!(counted.held_up().await, (vec![], 0), "it has not failed");

    for (number, seconds_ago) in [(3, 20), (4, 10)] {
        assert_eq!(counted.lease(first.id).await, [1]);
        counted.fail(&first, number, seconds_ago).await;
        assert_eq!(counted.held_up().await, (vec![20], 1));
    }
}

#[tokio::test]
async fn a_head_that_failed_keeps_its_place_and_is_told_of_as_holding_up_the_others() {
    let database = TestDatabase::new().await;
    let mut counted = Counted::begin(&database).await;
    let link = LinkId::generate();
    let (first, second) = (counted.delivery(link, 9), counted.delivery(link, 1));
    counted.store(&[first.clone(), second.clone()]).await;
    // nobody else's endpoint is leased from
    assert_eq!(counted.lease(first.id).await, [0; 0]);
    counted.hold().await;
    assert_eq!(counted.lease(first.id).await, [1]);
    assert_eq!(counted.lease(first.id).await, [0; 0], "it is in hand");
    counted.finish(&first, DeliveryStatus::Pending).await;

    let head = counted.heads(true, LineKey::default()).await.live[0].first;
    assert_eq!((head.id, head.due_at > counted.now), (first.id, true));
    let (workspace_id, endpoint_id, now) = (counted.workspace_id, counted.endpoint_id, counted.now);
    let held = lines::hold_ups(&mut counted.conn, workspace_id, &[endpoint_id], 10).await.expect("a query");
    let held: Vec<_> = held.iter().map(|held| (held.delivery_id, held.link_id, held.sequence)).collect();
    assert_eq!(held, [(first.id, Some(link), 1)]);
    let of_others = lines::hold_ups(&mut counted.conn, WorkspaceId::generate(), &[endpoint_id], 10).await;
    assert!(of_others.expect("a query").is_empty());

    for (of, held_up) in [(endpoint_id, 1), (EndpointId::generate(), 0)] {
        assert_eq!(lines::count_held_up(&mut counted.conn, &[of], 10).await.expect("a count"), held_up);
    }

    let other = WorkspaceId::generate();
    let give_up = store::given_up::give_up;
    assert!(!give_up(&mut counted.conn, other, first.id, now).await.expect("a query"));
    assert!(give_up(&mut counted.conn, workspace_id, first.id, now).await.expect("a query"));
    assert!(!give_up(&mut counted.conn, workspace_id, first.id, now).await.expect("a query"), "once");
    assert_eq!(counted.live(true, LineKey::default()).await, [2]);
    let filter = DeliveryFilter { status: Some(DeliveryStatus::Dead), ..DeliveryFilter::default() };
    let dead = delivery_log::list(&mut counted.conn, workspace_id, &filter, None, 10).await.expect("a list");
    assert_eq!(dead.iter().map(|dead| dead.id).collect::<Vec<_>>(), [first.id]);
    let told = store::outbox::lock_oldest(&mut counted.conn, 10).await.expect("events");
    assert_eq!(told.iter().map(|told| told.event_type.as_str()).collect::<Vec<_>>(), ["delivery.dead"]);
}
