//! What a batch costs: so many statements, however many clicks it has.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::connection::InstrumentationEvent;
use diesel::sql_types::BigInt;
use diesel_async::AsyncConnection as _;
use model::delivery::DeliveryStatus;
use model::event_type::LINK_CLICKED;
use model::{DeliveryId, EndpointId, EventId, Host, Slug, WorkspaceId};
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::{Connection, leases, routes, standing};
use testkit::TestDatabase;
use uuid::Uuid;

/// As many deliveries as a batch has.
const DELIVERIES: usize = 256;

/// A delivery that was accepted at first try, of a click of now.
fn delivered() -> NewDelivery {
    let (event_id, now) = (EventId::generate(), Utc::now());
    NewDelivery {
        id: DeliveryId::generate_at(event_id.timestamp()),
        workspace_id: WorkspaceId::generate(),
        owed: Owed { endpoint_id: EndpointId::generate(), event_id },
        event_type: LINK_CLICKED,
        click_id: None,
        told_revision: 0,
        progress: Progress {
            status: DeliveryStatus::Delivered,
            attempt_count: 1,
            next_attempt_at: None,
            attempted_at: Some(now),
            finished_at: Some(now),
            duration_ms: Some(7),
            last_status: Some(200),
            ..Progress::due(now, None)
        },
        leased_until: None,
        line: None,
    }
}

fn waiting(delivery: NewDelivery) -> NewDelivery {
    NewDelivery { progress: Progress::due(Utc::now(), None), ..delivery }
}

/// Counts the statements of a connection from now on.
fn counted(conn: &mut Connection) -> Arc<AtomicUsize> {
    let statements = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&statements);
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { .. } = event {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    statements
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How many statements this connection keeps, this one not among them.
async fn kept(conn: &mut Connection) -> i64 {
    // for all of the file it would take `load` of atomic numbers for its own
    use diesel_async::RunQueryDsl as _;

    let count = "SELECT count(*) FROM pg_prepared_statements";
    diesel::sql_query(count).get_result::<Count>(conn).await.unwrap().count
}

#[tokio::test]
async fn what_a_redirect_asks_is_parsed_and_planned_once_a_connection() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (host, slug): (Host, Slug) = ("a.example".parse().unwrap(), "none".parse().unwrap());
    let before = kept(&mut conn).await;

    for _ in 0..2 {
        assert_eq!(routes::find_for_redirect(&mut conn, &host, &slug).await.unwrap(), None);
        assert_eq!(routes::serving_domain(&mut conn, &host).await.unwrap(), None);
    }

    assert_eq!(kept(&mut conn).await, before + 2);
}

#[tokio::test]
async fn a_batch_costs_one_question_and_one_statement_for_its_results() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let statements = counted(&mut conn);
    let taken = || statements.swap(0, Ordering::Relaxed);
    let new: Vec<NewDelivery> = std::iter::repeat_with(delivered).take(DELIVERIES).collect();
    // at midnight there are two, and each is asked about
    let days = new.iter().map(|new| new.owed.event_id.day()).collect::<HashSet<_>>().len();
    let owed: Vec<Owed> = new.iter().map(|new| new.owed).collect();
    let (me, now) = (Uuid::from_u128(7), Utc::now());

    standing::ask(&mut conn, &owed, now).await.unwrap();
    let asked = taken();
    let made = deliveries::insert(&mut conn, &new, &[], me, now).await.unwrap();
    let stored = taken();

    assert_eq!((asked, stored, made.len()), (days, 1, DELIVERIES));
}

#[tokio::test]
async fn deliveries_of_many_endpoints_are_found_by_one_statement_and_leased_by_two() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let new: Vec<NewDelivery> = std::iter::repeat_with(|| waiting(delivered())).take(DELIVERIES).collect();
    let (me, now) = (Uuid::from_u128(7), Utc::now() + TimeDelta::seconds(1));
    deliveries::insert(&mut conn, &new, &[], me, now).await.unwrap();
    let statements = counted(&mut conn);

    let found = leases::waiting(&mut conn, None, 1000).await.unwrap();
    let quotas: Vec<_> = found.iter().map(|waiting| (waiting.endpoint_id, 8)).collect();
    let until = now + TimeDelta::seconds(5);
    let leased = leases::lease_due(&mut conn, &quotas, me, now, until).await.unwrap();

    assert_eq!((found.len(), leased.len()), (DELIVERIES, DELIVERIES));
    // the two are a transaction, that is BEGIN and COMMIT as well
    assert_eq!(statements.load(Ordering::Relaxed), 1 + 2 + 2);
}
