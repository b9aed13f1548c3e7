//! What a replay is about, who goes first, and that its tables come and go.

use chrono::{DateTime, Duration, Utc};
use diesel_async::SimpleAsyncConnection;
use model::delivery::DeliveryStatus;
use model::event_type::LINK_CLICKED;
use model::{ClickId, DeliveryId, EndpointId, EventId, WorkspaceId};
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::replay_source::{self, Seen};
use store::replays::{self, Replay, Selection, What};
use store::{AsyncConnection, Connection, leases, partitions};
use testkit::{TestDatabase, given};
use uuid::Uuid;

struct Given {
    conn: Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    _database: TestDatabase,
}

impl Given {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let mut conn = store::connect(&database.settings()).await.unwrap();
        let workspace_id = given::workspace(&mut conn).await;
        let endpoint_id = EndpointId::generate();
        conn.batch_execute(&format!(
            "INSERT INTO endpoints (id, workspace_id, url, event_types, owed_from, created_at, updated_at)
             VALUES ('{}', '{}', 'http://127.0.0.1:9/', '{{*}}', now(), now(), now())",
            endpoint_id.uuid(),
            workspace_id.uuid(),
        ))
        .await
        .unwrap();
        Self { conn, workspace_id, endpoint_id, _database: database }
    }

    fn selection(&self, what: What) -> Selection {
        Selection {
            workspace_id: self.workspace_id,
            endpoint_id: self.endpoint_id,
            what,
            since: Utc::now() - Duration::days(1),
            until: Utc::now() + Duration::seconds(1),
            event_type: None,
            campaign_id: None,
            delivery_ids: Vec::new(),
        }
    }

    async fn delivery(&mut self, status: DeliveryStatus) -> DeliveryId {
        let (now, event_id) = (Utc::now(), EventId::generate());
        let is_pending = status == DeliveryStatus::Pending;
        let new = NewDelivery {
            id: DeliveryId::generate_at(event_id.timestamp()),
            workspace_id: self.workspace_id,
            owed: Owed { endpoint_id: self.endpoint_id, event_id },
            event_type: LINK_CLICKED,
            click_id: None,
            told_revision: 0,
            progress: Progress {
                status,
                next_attempt_at: is_pending.then_some(now),
                finished_at: (!is_pending).then_some(now),
                ..Progress::due(now, Some(b"{}".to_vec()))
            },
            leased_until: None,
            line: None,
        };
        let id = new.id;
        deliveries::insert(&mut self.conn, &[new], &[], Uuid::nil(), now).await.unwrap();
        id
    }

    async fn click(&mut self, at: DateTime<Utc>) -> ClickId {
        let id = ClickId::generate_at(at);
        let insert = format!(
            "INSERT INTO clicks (id, day, workspace_id, revision, clicked_at, recorded_at, link_id, device_type,
                 verdict, event)
             VALUES ('{}', '{}', '{}', 0, '{}', now(), gen_random_uuid(), 'mobile', 'human', '')",
            id.uuid(),
            id.day(),
            self.workspace_id.uuid(),
            at.to_rfc3339(),
        );
        self.conn.batch_execute(&insert).await.unwrap();
        id
    }

    async fn missing(&mut self, selection: &Selection) -> Vec<ClickId> {
        let seen = replay_source::clicks(&mut self.conn, selection, None, false, 100).await.unwrap();
        seen.into_iter().filter(|seen| seen.is_missing).map(|seen| seen.id).collect()
    }

    async fn begin(&mut self, selection: &Selection) -> Option<Replay> {
        let id =
            replays::insert(&mut self.conn, selection, 100, Some(1), "a test", Utc::now()).await.unwrap()?;
        replays::find(&mut self.conn, self.workspace_id, id).await.unwrap()
    }

    async fn matching(&mut self, selection: &Selection) -> Vec<Seen> {
        let mut seen = replay_source::deliveries(&mut self.conn, selection, None, None, 100).await.unwrap();
        seen.retain(|seen| seen.matches);
        seen
    }

    async fn leased(&mut self, quota: usize, now: DateTime<Utc>) -> Vec<(DeliveryId, bool)> {
        let wanted = [(self.endpoint_id, quota)];
        let until = now + Duration::seconds(5);
        let leased = leases::lease_due(&mut self.conn, &wanted, Uuid::nil(), now, until).await.unwrap();
        leased.into_iter().map(|leased| (leased.id, leased.is_replay)).collect()
    }
}

#[tokio::test]
async fn a_replay_is_about_events_whose_newest_delivery_stands_there() {
    let mut given = Given::new().await;
    let dead = given.delivery(DeliveryStatus::Dead).await;
    let delivered = given.delivery(DeliveryStatus::Delivered).await;
    given.delivery(DeliveryStatus::Pending).await;
    let ids = |seen: Vec<Seen>| seen.into_iter().map(|seen| seen.id).collect::<Vec<_>>();
    let selection = |what| Given::selection(&given, what);
    let (of_dead, of_delivered, of_any) =
        (selection(What::Dead), selection(What::Delivered), selection(What::Any));

    assert_eq!(ids(given.matching(&of_dead).await), [dead]);
    assert_eq!(ids(given.matching(&of_delivered).await), [delivered]);
    assert_eq!(given.matching(&of_any).await.len(), 2);
    let elsewhere = Selection { workspace_id: WorkspaceId::generate(), ..of_any.clone() };
    assert_eq!(given.matching(&elsewhere).await, []);
    let typed = |pattern: &str| Selection { event_type: Some(pattern.parse().unwrap()), ..of_any.clone() };
    assert_eq!(given.matching(&typed("link.*")).await.len(), 2);
    assert_eq!(given.matching(&typed("link.clicked")).await.len(), 2);
    let named = Selection { delivery_ids: vec![dead], ..of_any.clone() };
    assert_eq!(ids(given.matching(&named).await), [dead]);
    let earlier = Selection { until: dead.timestamp(), ..of_any.clone() };
    assert_eq!(given.matching(&earlier).await, []);

    let seen = given.matching(&of_dead).await;
    let replay = given.begin(&of_dead).await.unwrap();
    let made = replay_source::again(&mut given.conn, &replay, &seen, Utc::now()).await.unwrap();
    assert_eq!(made, 1);
    assert_eq!(given.matching(&of_dead).await, [], "a newer one waits");
    let again = replay_source::again(&mut given.conn, &replay, &seen, Utc::now()).await.unwrap();
    assert_eq!(again, 0, "nobody can put it in line twice");
}

#[tokio::test]
async fn clicks_of_a_day_whose_deliveries_were_dropped_are_not_missing() {
    let mut given = Given::new().await;
    let now = Utc::now();
    partitions::ensure(&mut given.conn, now.date_naive(), 0).await.unwrap();
    let yesterday = given.click(now - Duration::days(1)).await;
    let today = given.click(now).await;
    let selection = Selection { since: now - Duration::days(3), ..given.selection(What::Missing) };
    assert_eq!(given.missing(&selection).await, [yesterday, today]);

    partitions::drop_deliveries_before(&mut given.conn, now.date_naive()).await.unwrap();

    assert_eq!(given.missing(&selection).await, [today]);
}

#[tokio::test]
async fn a_click_whose_amendment_alone_was_delivered_is_missing() {
    let mut given = Given::new().await;
    let click = given.click(Utc::now()).await;
    let selection = given.selection(What::Missing);
    let deliver = async |given: &mut Given, event_type: &str, revision: u32| {
        let insert = format!(
            "INSERT INTO deliveries (id, day, workspace_id, endpoint_id, event_id, event_revision, event_type, click_id,
                 status, created_at, finished_at)
             VALUES ('{}', '{}', '{}', '{}', '{}', {revision}, '{event_type}', '{}', 'delivered', now(), now())",
            DeliveryId::generate_at(click.timestamp()).uuid(),
            click.day(),
            given.workspace_id.uuid(),
            given.endpoint_id.uuid(),
            click.uuid(),
            click.uuid(),
        );
        given.conn.batch_execute(&insert).await.unwrap();
    };

    deliver(&mut given, "link.click.amended", 1).await;
    assert_eq!(given.missing(&selection).await, [click]);
    // who wants it since it was amended is told of it as it is by then
    deliver(&mut given, LINK_CLICKED, 2).await;
    assert_eq!(given.missing(&selection).await, []);
}

#[tokio::test]
async fn an_endpoint_has_one_replay_at_a_time() {
    let mut given = Given::new().await;
    let selection = given.selection(What::Dead);
    let replay = given.begin(&selection).await.unwrap();

    assert_eq!(given.begin(&selection).await, None);
    replays::cancel(&mut given.conn, given.workspace_id, replay.id, Utc::now()).await.unwrap();
    assert!(given.begin(&selection).await.is_some());
    let strangers = WorkspaceId::generate();
    assert_eq!(replays::find(&mut given.conn, strangers, replay.id).await.unwrap(), None);
    assert!(!replays::cancel(&mut given.conn, strangers, replay.id, Utc::now()).await.unwrap());
    assert_eq!(replays::list(&mut given.conn, strangers, None, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_replay_that_is_in_hand_is_in_nobody_elses() {
    let mut given = Given::new().await;
    let selection = given.selection(What::Dead);
    let id = given.begin(&selection).await.unwrap().id;
    let mut other = store::connect(&given._database.settings()).await.unwrap();
    let now = Utc::now();

    given
        .conn
        .transaction(async |conn| {
            assert!(replays::lock_due(conn, id, now).await?.is_some());
            let meanwhile = other.transaction(async |conn| replays::lock_due(conn, id, now).await).await;
            assert_eq!(meanwhile.unwrap(), None);
            store::QueryResult::Ok(())
        })
        .await
        .unwrap();

    let then = other.transaction(async |conn| replays::lock_due(conn, id, now).await).await.unwrap();
    assert!(then.is_some());
}

#[tokio::test]
async fn what_is_live_goes_before_replays() {
    let mut given = Given::new().await;
    for _ in 0..8 {
        given.delivery(DeliveryStatus::Dead).await;
    }
    let selection = given.selection(What::Dead);
    let replay = given.begin(&selection).await.unwrap();
    let seen = given.matching(&selection).await;
    let earlier = Utc::now() - Duration::minutes(1);
    replay_source::again(&mut given.conn, &replay, &seen, earlier).await.unwrap();
    for _ in 0..3 {
        given.delivery(DeliveryStatus::Pending).await;
    }
    let now = Utc::now();

    let first = given.leased(2, now).await;
    assert!(first.iter().all(|(_, is_replay)| !is_replay), "live ones are due later and go first");
    assert_eq!(first.len(), 2);
    let second = given.leased(8, now).await;
    let replays = second.iter().filter(|(_, is_replay)| *is_replay).count();
    assert_eq!((second.len(), replays), (3, 2), "replays have at most a quarter");
    assert_eq!(given.leased(1, now).await.len(), 1, "and are not starved");
    let due = replay_source::count_due(&mut given.conn, &replay, now, 100).await.unwrap();
    assert_eq!(due, 8, "what is leased is not sent yet");
}

#[tokio::test]
async fn the_migration_can_be_undone_and_done_again() {
    let mut given = Given::new().await;
    given.delivery(DeliveryStatus::Dead).await;

    for _ in 0..2 {
        let down = include_str!("../../migrations/00000000000006_replays/down.sql");
        given.conn.batch_execute(down).await.unwrap();
        given
            .conn
            .batch_execute(include_str!("../../migrations/00000000000006_replays/up.sql"))
            .await
            .unwrap();
    }

    let selection = given.selection(What::Dead);
    assert_eq!(given.matching(&selection).await.len(), 1);
}
