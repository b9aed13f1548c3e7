//! Erasures: what is found, what is left alone, what only the second look finds, and what is put off.

use std::collections::BTreeSet;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use diesel_async::SimpleAsyncConnection;
use model::event_type::LINK_CLICKED;
use model::{ClickId, DeliveryId, EndpointId, EventId, LinkId, WorkspaceId};
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::erasures::{self, LOOK_AGAIN, PUT_OFF, Step};
use store::first_clicks::Claim;
use store::links::LinkOptions;
use store::quarantine::{self, Quarantined};
use store::{Connection, first_clicks, occurrences, templates, tombstones};
use testkit::{TestDatabase, given};
use uuid::Uuid;

/// Nothing is left of an event here: what is left of a real one, `bus` decides.
fn scrub(_: &[u8]) -> Vec<u8> {
    b"scrubbed".to_vec()
}

async fn link(conn: &mut Connection, workspace_id: WorkspaceId, slug: &str, contact: &str) -> LinkId {
    let domains = store::domains::list(conn, workspace_id, 1).await.unwrap();
    let mut options = LinkOptions::to("https://example.com/".parse().unwrap());
    options.labels.contact_id = Some(contact.to_owned());
    given::link(conn, workspace_id, domains[0].id, slug, &options).await
}

/// A recorded click of the contact, whose event names it, as does where its visitor came from.
async fn click(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    contact: &str,
    now: DateTime<Utc>,
) -> ClickId {
    let id = ClickId::generate_at(now);
    let insert = format!(
        "INSERT INTO clicks (id, day, workspace_id, revision, clicked_at, recorded_at, link_id, contact_id,
             device_type, verdict, event, referrer_host)
         VALUES ('{}', '{}', '{}', 0, now(), now(), gen_random_uuid(), '{contact}', 'mobile', 'human',
             convert_to('of {contact}', 'UTF8'), '{contact}.example')",
        id.uuid(),
        id.day(),
        workspace_id.uuid(),
    );
    conn.batch_execute(&insert).await.unwrap();
    id
}

/// Does every step that is due; tells which links were emptied.
async fn work(conn: &mut Connection, id: model::ErasureId, now: DateTime<Utc>) -> Vec<LinkId> {
    let mut emptied = Vec::new();
    while let Step::Looked(found) = erasures::step(conn, id, scrub, now).await.unwrap() {
        emptied.extend(found);
    }
    emptied
}

#[tokio::test]
async fn what_came_while_everything_was_looked_through_is_found_by_the_second_look() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    given::domain(&mut conn, workspace_id, "go.example.com").await;
    // PostgreSQL keeps microseconds
    let now = Utc::now().trunc_subsecs(6);
    let own = link(&mut conn, workspace_id, "own", "cont_of_the_test").await;
    link(&mut conn, workspace_id, "others", "cont_of_another").await;

    let begun = erasures::begin(&mut conn, workspace_id, "cont_of_the_test", "test", now).await.unwrap();
    assert_eq!(work(&mut conn, begun.id, now).await, [own]);
    let first = erasures::find(&mut conn, workspace_id, begun.id).await.unwrap().unwrap();
    assert_eq!((first.scrubbed_at, first.links), (Some(now), 1));
    assert_eq!(erasures::find(&mut conn, WorkspaceId::generate(), begun.id).await.unwrap(), None);

    let late = link(&mut conn, workspace_id, "late", "cont_of_the_test").await;
    assert_eq!(work(&mut conn, begun.id, now).await, [], "it is not due");
    let later = now + TimeDelta::from_std(LOOK_AGAIN).unwrap();
    assert_eq!(erasures::due(&mut conn, later, 10).await.unwrap(), [begun.id]);
    assert_eq!(work(&mut conn, begun.id, later).await, [late]);
    assert!(erasures::due(&mut conn, later + TimeDelta::days(1), 10).await.unwrap().is_empty());

    assert_eq!(occurrences::tables(&mut conn, b"cont_of_the_test,").await.unwrap(), Vec::<String>::new());
    assert_eq!(occurrences::tables(&mut conn, b"cont_of_another,").await.unwrap(), ["links"]);
}

#[tokio::test]
async fn what_comes_back_to_a_click_that_was_emptied_goes_with_the_second_look() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    // PostgreSQL keeps microseconds
    let now = Utc::now().trunc_subsecs(6);
    let own = click(&mut conn, workspace_id, "cont_of_the_test", now).await;
    click(&mut conn, workspace_id, "cont_of_another", now).await;
    let begun = erasures::begin(&mut conn, workspace_id, "cont_of_the_test", "test", now).await.unwrap();
    work(&mut conn, begun.id, now).await;
    assert_eq!(occurrences::tables(&mut conn, b"cont_of_the_test").await.unwrap(), Vec::<String>::new());

    // `record` had an amendment in hand, and `deliver` the click
    let amend = format!(
        "UPDATE clicks SET revision = 1, city = 'Rome', event = convert_to('of cont_of_the_test', 'UTF8')
         WHERE id = '{}'",
        own.uuid()
    );
    conn.batch_execute(&amend).await.unwrap();
    let event_id = EventId::of_click(own, 0);
    let delivery = NewDelivery {
        id: DeliveryId::generate_at(event_id.timestamp()),
        workspace_id,
        owed: Owed { endpoint_id: EndpointId::generate(), event_id },
        event_type: LINK_CLICKED,
        click_id: Some(own),
        told_revision: 0,
        progress: Progress::due(now, Some(b"to cont_of_the_test".to_vec())),
        leased_until: None,
        line: None,
    };
    deliveries::insert(&mut conn, &[delivery], &[], Uuid::nil(), now).await.unwrap();
    let traces = occurrences::tables(&mut conn, b"cont_of_the_test").await.unwrap();
    assert_eq!(traces, ["clicks", "deliveries"]);
    assert_eq!(deliveries::count_waiting(&mut conn, 10).await.unwrap(), 1);

    work(&mut conn, begun.id, now + TimeDelta::from_std(LOOK_AGAIN).unwrap()).await;

    assert_eq!(occurrences::tables(&mut conn, b"cont_of_the_test").await.unwrap(), Vec::<String>::new());
    assert_eq!(occurrences::tables(&mut conn, b"Rome").await.unwrap(), Vec::<String>::new());
    assert_eq!(occurrences::tables(&mut conn, b"cont_of_another").await.unwrap(), ["clicks"]);
    assert_eq!(deliveries::count_waiting(&mut conn, 10).await.unwrap(), 0);
    let done = erasures::find(&mut conn, workspace_id, begun.id).await.unwrap().unwrap();
    assert_eq!(done.clicks, 1, "a click counts once");
}

#[tokio::test]
async fn where_visitors_came_from_goes_also_of_clicks_that_the_release_before_emptied() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let now = Utc::now().trunc_subsecs(6);
    let second_look = now + TimeDelta::from_std(LOOK_AGAIN).unwrap();
    let mut emptied = Vec::new();
    for contact in ["cont_1", "cont_2"] {
        emptied.push(click(&mut conn, workspace_id, contact, now).await.uuid().to_string());
        let id = erasures::begin(&mut conn, workspace_id, contact, "test", now).await.unwrap().id;
        work(&mut conn, id, now).await;
        work(&mut conn, id, second_look).await;
    }
    click(&mut conn, workspace_id, "cont_of_another", now).await;
    let left =
        format!("UPDATE clicks SET referrer_host = 'left.example' WHERE id IN ('{}')", emptied.join("', '"));
    conn.batch_execute(&left).await.unwrap();

    conn.batch_execute(include_str!("../../migrations/00000000000042_referrers_of_erased/up.sql"))
        .await
        .unwrap();

    // the release before may run for a while
    assert!(erasures::due(&mut conn, now + TimeDelta::hours(23), 10).await.unwrap().is_empty());
    let tomorrow = now + TimeDelta::hours(25);
    for id in erasures::due(&mut conn, tomorrow, 10).await.unwrap() {
        work(&mut conn, id, tomorrow).await;
    }
    assert_eq!(occurrences::tables(&mut conn, b"left.example").await.unwrap(), Vec::<String>::new());
    assert_eq!(occurrences::tables(&mut conn, b"cont_of_another.example").await.unwrap(), ["clicks"]);
    assert!(erasures::due(&mut conn, tomorrow + TimeDelta::days(1), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_last_look_finds_clicks_of_a_clock_that_is_ahead_as_well() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let now = Utc::now().trunc_subsecs(6);
    click(&mut conn, workspace_id, "cont_of_the_test", now + TimeDelta::days(2)).await;

    let begun = erasures::begin(&mut conn, workspace_id, "cont_of_the_test", "test", now).await.unwrap();
    work(&mut conn, begun.id, now).await;
    work(&mut conn, begun.id, now + TimeDelta::from_std(LOOK_AGAIN).unwrap()).await;

    assert_eq!(occurrences::tables(&mut conn, b"cont_of_the_test").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_recipients_place_on_a_template_goes_although_its_clicks_are_not_kept_any_more() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let now = Utc::now().trunc_subsecs(6);
    let mut places = Vec::new();
    for _ in 0..2 {
        let workspace_id = given::workspace(&mut conn).await;
        let domain = given::domain(&mut conn, workspace_id, &format!("{}.example", places.len())).await;
        let options = LinkOptions::to("https://example.com/".parse().unwrap());
        let link_id = given::link(&mut conn, workspace_id, domain.id, "template", &options).await;
        templates::insert(&mut conn, workspace_id, link_id, now).await.unwrap();
        places.push((workspace_id, link_id));
    }
    let claim = |(workspace_id, link_id), visitor| Claim {
        link_id,
        visitor,
        click_id: ClickId::generate(),
        contact_of: Some(workspace_id),
    };
    let claims = [claim(places[0], "17"), claim(places[0], "18"), claim(places[1], "17")];
    first_clicks::claim(&mut conn, &claims, &BTreeSet::new()).await.unwrap();

    let begun = erasures::begin(&mut conn, places[0].0, "17", "test", now).await.unwrap();

    assert_eq!(begun.first_clicks, 1);
    let again: Vec<Claim<'_>> =
        claims.iter().map(|claim| Claim { click_id: ClickId::generate(), ..*claim }).collect();
    let answer = first_clicks::claim(&mut conn, &again[1..], &BTreeSet::new()).await.unwrap();
    assert_eq!(answer.is_first, [false, false], "others keep their places");
    let answer = first_clicks::claim(&mut conn, &again[..1], &BTreeSet::new()).await.unwrap();
    assert_eq!(answer.is_first, [true], "its own is free");
}

#[tokio::test]
async fn an_erasure_that_is_put_off_lets_others_go_first_and_never_looks_again_too_early() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let now = Utc::now().trunc_subsecs(6);
    let failing = erasures::begin(&mut conn, workspace_id, "cont_1", "test", now).await.unwrap().id;
    let later = now + TimeDelta::milliseconds(1);
    let other = erasures::begin(&mut conn, workspace_id, "cont_2", "test", later).await.unwrap().id;
    assert_eq!(erasures::due(&mut conn, later, 10).await.unwrap(), [failing, other]);

    erasures::postpone(&mut conn, failing, later).await.unwrap();

    assert_eq!(erasures::due(&mut conn, later, 10).await.unwrap(), [other]);
    let again = later + TimeDelta::from_std(PUT_OFF).unwrap();
    assert_eq!(erasures::due(&mut conn, again, 10).await.unwrap(), [other, failing]);
    // it was looked through meanwhile, and waits for its second look
    work(&mut conn, failing, again).await;
    erasures::postpone(&mut conn, failing, again).await.unwrap();
    let second_look = again + TimeDelta::from_std(LOOK_AGAIN).unwrap();
    assert_eq!(erasures::due(&mut conn, second_look - TimeDelta::seconds(1), 10).await.unwrap(), [other]);
    assert_eq!(erasures::due(&mut conn, second_look, 10).await.unwrap(), [other, failing]);
}

#[tokio::test]
async fn a_tombstone_is_of_one_workspace_and_keeps_its_contact_from_taking_a_place() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (workspace_id, other) = (given::workspace(&mut conn).await, given::workspace(&mut conn).await);
    let link_id = LinkId::generate();
    erasures::begin(&mut conn, workspace_id, "cont_1", "test", Utc::now()).await.unwrap();

    let asked = [(workspace_id, "cont_1"), (workspace_id, "cont_2"), (other, "cont_1"), (other, "a\0b")];
    let erased = tombstones::erased(&mut conn, asked).await.unwrap();
    assert_eq!(erased, [(workspace_id, "cont_1".to_owned())].into());

    let claim = |workspace_id, click_id| first_clicks::Claim {
        link_id,
        visitor: "cont_1",
        click_id,
        contact_of: Some(workspace_id),
    };
    let contacts = [(workspace_id, "cont_1")].into();
    let claims = [claim(workspace_id, ClickId::generate())];
    let answer = first_clicks::claim(&mut conn, &claims, &contacts).await.unwrap();
    assert_eq!((answer.is_first, answer.erased.len()), (vec![false], 1));
    let claims = [claim(other, ClickId::generate())];
    let answer = first_clicks::claim(&mut conn, &claims, &[(other, "cont_1")].into()).await.unwrap();
    assert_eq!((answer.is_first, answer.erased.len()), (vec![true], 0));
}

#[tokio::test]
async fn what_was_put_aside_of_a_contact_is_emptied_and_of_others_is_not() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (workspace_id, other) = (given::workspace(&mut conn).await, given::workspace(&mut conn).await);
    let message = |sequence, workspace_id: WorkspaceId, payload: &[u8]| Quarantined {
        stream: "ENRICHED".into(),
        stream_sequence: sequence,
        message_id: Some(format!("m{sequence}")),
        consumer: "record".into(),
        subject: format!("clickwire.clicks.enriched.{workspace_id}.human"),
        reason: "it panicked".into(),
        payload: payload.to_vec(),
        quarantined_at: Utc::now(),
        removed_at: None,
    };
    let messages = [
        message(1, workspace_id, b"\xff\x52\x06cont_1\xff"),
        message(2, workspace_id, b"\xff\x52\x07cont_12"),
        message(3, other, b"\xff\x52\x06cont_1"),
    ];
    quarantine::insert(&mut conn, &messages).await.unwrap();

    let begun = erasures::begin(&mut conn, workspace_id, "cont_1", "test", Utc::now()).await.unwrap();

    assert_eq!(begun.quarantined, 1);
    let mut left: Vec<i64> =
        quarantine::newest(&mut conn, 10).await.unwrap().iter().map(|left| left.stream_sequence).collect();
    left.sort();
    assert_eq!(left, [2, 3]);
}
