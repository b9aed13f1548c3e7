//! Who was first, with several asking at once and with a database that is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{Days, Utc};
use enrich::first_clicks::{Candidate, Contacts, FirstClicks};
use model::{ClickId, LinkId};
use store::visitor_salts;
use testkit::{TestDatabase, until};

/// Generous: it only ends a test that fails.
const LIMIT: Duration = Duration::from_secs(60);

fn candidate(link_id: LinkId, visitor: &str) -> Candidate {
    Candidate { link_id, visitor: visitor.to_owned(), click_id: ClickId::generate(), contact_of: None }
}

#[tokio::test]
async fn the_same_question_has_the_same_answer() {
    let database = TestDatabase::new().await;
    let first_clicks = FirstClicks::new(database.pool(), LIMIT, LIMIT);
    let (link, other) = (LinkId::generate(), LinkId::generate());
    let batch = vec![
        candidate(link, "cont_1"),
        candidate(link, "cont_1"),
        candidate(link, "cont_2"),
        candidate(other, "cont_1"),
    ];

    let answer = first_clicks.ask(batch.clone(), Contacts::new()).await;
    let again = first_clicks.ask(batch, Contacts::new()).await;

    assert_eq!(
        answer.as_ref().map(|answer| answer.is_first.as_slice()),
        Some(&[true, false, true, true][..])
    );
    assert_eq!(again, answer);
}

#[tokio::test]
async fn many_that_ask_at_once_agree_on_one_first_click() {
    let database = TestDatabase::new().await;
    let first_clicks = Arc::new(FirstClicks::new(database.pool(), LIMIT, LIMIT));
    let links: Vec<LinkId> = (0..50).map(|_| LinkId::generate()).collect();

    let questions: Vec<_> = (0..8)
        .map(|turn| {
            let mut batch: Vec<Candidate> = links.iter().map(|link| candidate(*link, "cont_1")).collect();
            // each in an order of its own
            batch.rotate_left(turn * 7);
            let first_clicks = Arc::clone(&first_clicks);
            tokio::spawn(async move {
                let answer =
                    first_clicks.ask(batch.clone(), Contacts::new()).await.expect("an answer").is_first;
                batch
                    .into_iter()
                    .zip(answer)
                    .filter(|(_, is_first)| *is_first)
                    .map(|(c, _)| c.link_id)
                    .collect()
            })
        })
        .collect();

    let mut first: Vec<LinkId> = Vec::new();
    for question in questions {
        let answered: Vec<LinkId> = question.await.expect("no panic");
        first.extend(answered);
    }
    first.sort();
    let mut links = links;
    links.sort();
    assert_eq!(first, links);
}

#[tokio::test]
async fn a_database_that_is_away_is_not_waited_for_and_is_asked_again_later() {
    let database = TestDatabase::cluster().await;
    let first_clicks =
        FirstClicks::new(database.pool(), Duration::from_millis(500), Duration::from_millis(50));
    let link = LinkId::generate();
    let ask = || first_clicks.ask(vec![candidate(link, "cont_1")], Contacts::new());
    until(LIMIT, || async { ask().await }).await;

    database.stop().await;
    let since = Instant::now();
    let away = ask().await;

    assert_eq!(away, None);
    assert!(since.elapsed() < LIMIT / 4, "{:?}", since.elapsed());
    let mut database = database;
    database.restart().await;
    assert_eq!(until(LIMIT, || async { ask().await }).await.is_first, [false]);
}

#[tokio::test]
async fn places_of_machines_that_cannot_be_given_up_now_hold_nobody_up() {
    let database = TestDatabase::new().await;
    let first_clicks = FirstClicks::new(database.pool(), Duration::from_millis(500), LIMIT);
    let place = || vec![candidate(LinkId::generate(), "cont_1")];
    until(LIMIT, || async { first_clicks.ask(place(), Contacts::new()).await }).await;
    let held = database.hold("first_clicks").await;

    let given_up = tokio::time::timeout(LIMIT, first_clicks.release(place())).await;

    assert_eq!(given_up, Ok(()));
    held.let_go().await;
    assert!(first_clicks.ask(place(), Contacts::new()).await.is_some(), "it is asked on");
}

#[tokio::test]
async fn replicas_share_the_salt_of_a_day_also_after_a_restart_and_it_is_gone_within_48_hours() {
    let database = TestDatabase::new().await;
    let replica = || FirstClicks::new(database.pool(), LIMIT, LIMIT);
    let (one, other) = (replica(), replica());
    let (today, now) = (Utc::now().date_naive(), Utc::now());

    let (first, second) = tokio::join!(one.salt(today, now), other.salt(today, now));
    let first = first.expect("a salt");
    assert_eq!(second.as_deref(), Some(&first[..]));
    assert_eq!(replica().salt(today, now).await.as_deref(), Some(&first[..]));
    let tomorrow = today.checked_add_days(Days::new(1)).expect("a day");
    assert_ne!(one.salt(tomorrow, now).await.as_deref(), Some(&first[..]), "each day has its own");

    let begun = today.and_hms_opt(0, 0, 0).expect("a moment").and_utc();
    let late = begun + chrono::TimeDelta::hours(48);
    let mut conn = database.pool().get().await.expect("a connection");
    assert_eq!(visitor_salts::destroy_old(&mut conn, late).await.expect("a delete"), 1);
    assert_eq!(one.salt(today, late).await, None, "what was kept in memory is gone as well");
    assert_eq!(replica().salt(today, late).await, None, "nobody makes another one for a day that is over");
}
