//! Replays: what is offered again, to whom, how fast, and what a crash does to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bus::{Changed, Table};
use chrono::{DateTime, Duration, Utc};
use deliver::metrics::Metrics;
use deliver::replayer::Replayer;
use model::automation::Verdict;
use model::delivery::DeliveryStatus;
use model::event_type::LINK_CLICKED;
use model::{DeliveryId, EndpointId, EventId, ReplayId};
use serde_json::json;
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::endpoints::{self, State};
use store::replays::{self, Replay, ReplayState, Selection, What};
use store::{Pool, delivery_log};
use testkit::{Answer, Script, Subscriber, until};
use uuid::Uuid;

use crate::amendments::amended;
use crate::rig::{LIMIT, Rig, verify};

impl Rig {
    fn replayer(&self) -> Replayer {
        Replayer {
            pool: Pool::connect(&self.settings().database).expect("the URL is ours"),
            work: Arc::default(),
            metrics: Metrics::register(&prometheus::Registry::new()).expect("metrics"),
        }
    }

    fn selection(&self, endpoint_id: EndpointId, what: What) -> Selection {
        Selection {
            workspace_id: self.workspace_id,
            endpoint_id,
            what,
            since: Utc::now() - Duration::hours(1),
            until: Utc::now() + Duration::seconds(1),
            event_type: None,
            campaign_id: None,
            delivery_ids: Vec::new(),
        }
    }

    pub async fn replay(&self, endpoint_id: EndpointId, what: What, rate: u32) -> ReplayId {
        let (selection, now) = (self.selection(endpoint_id, what), Utc::now());
        let mut conn = self.pool.get().await.expect("a connection");
        let begun = replays::insert(&mut conn, &selection, rate, None, "a test", now).await;
        begun.expect("a replay").expect("none is running")
    }

    async fn replay_now(&self, id: ReplayId) -> Replay {
        let mut conn = self.pool.get().await.expect("a connection");
        replays::find(&mut conn, self.workspace_id, id).await.expect("a query").expect("the replay")
    }

    pub async fn ends(&self, id: ReplayId) -> Replay {
        until(LIMIT, || async {
            let replay = self.replay_now(id).await;
            (replay.state != ReplayState::Running).then_some(replay)
        })
        .await
    }

    /// As people change it: `deliver` is told.
    async fn set_state(&self, endpoint_id: EndpointId, state: State) {
        let mut conn = self.pool.get().await.expect("a connection");
        endpoints::set_state(&mut conn, self.workspace_id, endpoint_id, state, None, Utc::now())
            .await
            .expect("a state");
        let keys = vec![endpoint_id.to_string()];
        self.bus.notify(&Changed { table: Table::Endpoints, workspace_id: self.workspace_id, keys }).await;
    }

    /// Deliveries that were given up, of an event each.
    async fn dead(&self, endpoint_id: EndpointId, count: usize) {
        let now = Utc::now();
        let dead = |_| {
            let event_id = EventId::generate();
            NewDelivery {
                id: DeliveryId::generate_at(event_id.timestamp()),
                workspace_id: self.workspace_id,
                owed: Owed { endpoint_id, event_id },
                event_type: LINK_CLICKED,
                click_id: None,
                told_revision: 0,
                progress: Progress {
                    status: DeliveryStatus::Dead,
                    attempt_count: 10,
                    next_attempt_at: None,
                    finished_at: Some(now),
                    last_status: Some(500),
                    ..Progress::due(now, Some(b"{}".to_vec()))
                },
                leased_until: None,
                line: None,
            }
        };
        let new: Vec<_> = (0..count).map(dead).collect();
        let mut conn = self.pool.get().await.expect("a connection");
        deliveries::insert(&mut conn, &new, &[], Uuid::nil(), now).await.expect("an insert");
    }

    async fn is_in_line(&self) -> usize {
        self.deliveries().await.iter().filter(|delivery| delivery.replay_id.is_some()).count()
    }
}

/// Acceptance test 8 of the engine.
#[tokio::test]
async fn what_was_clicked_while_an_endpoint_was_disabled_arrives_once_by_replay() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let (endpoint_id, secret) = rig
        .endpoint_with(&subscriber.url(), |options| options.filter = Some(json!({"verdicts": ["human"]})))
        .await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    subscriber.received(1).await;
    rig.set_state(endpoint_id, State::Disabled).await;
    let clicks = rig.publish_some(5).await;
    let mut by_a_machine = rig.click();
    by_a_machine.automation.verdict = Verdict::Automated;
    rig.publish(&by_a_machine).await;
    rig.all_acknowledged().await;
    for click in clicks.iter().chain([&by_a_machine]) {
        rig.record(click).await;
    }
    rig.set_state(endpoint_id, State::Active).await;

    let replay = rig.replay(endpoint_id, What::Missing, 100).await;

    let requests = subscriber.received(6).await;
    let replay = rig.ends(replay).await;
    assert_eq!((replay.state, replay.done), (ReplayState::Done, 5));
    rig.stand(DeliveryStatus::Delivered, 6).await;
    // a redelivery of the stream meets the same rows
    for click in &clicks {
        rig.publish(click).await;
    }
    rig.all_acknowledged().await;
    running.stop().await;
    assert_eq!(subscriber.count(), 6, "each once");
    let ids: HashSet<_> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!(ids.len(), 6);
    let replayed = requests.iter().filter(|request| request.header("clickwire-replayed") == Some("true"));
    assert_eq!(replayed.count(), 5);
    assert!(requests.iter().all(|request| verify(request, &secret)));
    for request in &requests {
        let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(body["id"].as_str(), request.header("webhook-id"));
    }
}

#[tokio::test]
async fn an_amended_click_is_missing_to_who_wants_it_as_it_is_now_and_told_under_its_own_id() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (endpoint_id, _) = rig
        .endpoint_with(&subscriber.url(), |options| options.filter = Some(json!({"verdicts": ["human"]})))
        .await;
    let running = rig.start().await;
    rig.set_state(endpoint_id, State::Disabled).await;
    let (person, machine) = (rig.click(), rig.click());
    rig.record(&amended(&person, Verdict::Automated)).await;
    rig.record(&amended(&amended(&machine, Verdict::Automated), Verdict::Human)).await;
    rig.set_state(endpoint_id, State::Active).await;

    let replay = rig.replay(endpoint_id, What::Missing, 100).await;

    assert_eq!(rig.ends(replay).await.done, 1);
    let request = subscriber.received(1).await.remove(0);
    assert_eq!(request.header("webhook-id"), Some(machine.event_id.to_string().as_str()));
    let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!((&body["type"], &body["data"]["revision"]), (&json!("link.clicked"), &json!(2)));
    running.stop().await;
}

#[tokio::test]
async fn a_replayed_amendment_tells_the_verdict_that_it_told_and_a_replayed_click_the_last_one() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (endpoint_id, _) = rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;
    let click = rig.click();
    let change = amended(&click, Verdict::Automated);
    rig.publish(&click).await;
    rig.stand(DeliveryStatus::Delivered, 1).await;
    rig.publish(&change).await;
    rig.stand(DeliveryStatus::Delivered, 2).await;
    rig.record(&amended(&change, Verdict::Unknown)).await;

    let replay = rig.replay(endpoint_id, What::Delivered, 100).await;

    assert_eq!(rig.ends(replay).await.done, 2);
    let again = subscriber.received(4).await.split_off(2);
    let told: HashSet<_> = again
        .iter()
        .map(|request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
            assert_eq!(body["id"].as_str(), request.header("webhook-id"));
            (
                body["id"].to_string(),
                body["data"]["revision"].to_string(),
                body["data"]["automation"]["verdict"].to_string(),
            )
        })
        .collect();
    let told_of = |event_id: EventId, revision: u32, verdict: &str| {
        (json!(event_id).to_string(), revision.to_string(), json!(verdict).to_string())
    };
    let expected = [told_of(click.event_id, 2, "unknown"), told_of(change.event_id, 1, "automated")];
    assert_eq!(told, HashSet::from(expected));
    running.stop().await;
}

#[tokio::test]
async fn a_replay_is_a_new_delivery_of_the_same_event_with_all_of_its_schedule() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(400))).await;
    let (endpoint_id, secret) =
        rig.endpoint_with(&subscriber.url(), |options| options.retry_schedule = Some(vec![0])).await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    let dead = rig.stand(DeliveryStatus::Dead, 1).await.remove(0);
    subscriber.change(Script::new([Answer::Status(500), Answer::Status(200)]));

    let replay = rig.replay(endpoint_id, What::Dead, 100).await;

    let delivered = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    assert_eq!(rig.ends(replay).await.done, 1);
    assert_ne!(delivered.id, dead.id);
    assert_eq!((delivered.event_id, delivered.replay_number), (dead.event_id, 1));
    assert_eq!((delivered.attempt_count, delivered.replay_id), (2, Some(replay)));
    let requests = subscriber.received(4).await;
    for request in &requests {
        assert_eq!(request.header("webhook-id"), requests[0].header("webhook-id"));
        assert_eq!(request.body, requests[0].body);
        assert!(verify(request, &secret));
    }
    let told = |name: &str| requests.iter().map(|r| r.header(name).map(str::to_owned)).collect::<Vec<_>>();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(told("clickwire-attempt"), [some("1"), some("2"), some("1"), some("2")]);
    assert_eq!(told("clickwire-replayed"), [None, None, some("true"), some("true")]);

    // its newest delivery arrived: there is nothing to replay any more
    let again = rig.replay(endpoint_id, What::Dead, 100).await;
    assert_eq!((rig.ends(again).await.done, subscriber.count()), (0, 4));
    running.stop().await;
}

#[tokio::test]
async fn the_rate_is_kept_whoever_works_on_it() {
    let rig = Rig::new().await;
    let (endpoint_id, _) = rig.endpoint("http://127.0.0.1:9/").await;
    rig.dead(endpoint_id, 300).await;
    rig.replay(endpoint_id, What::Dead, 100).await;
    let (one, other) = (rig.replayer(), rig.replayer());
    let begin = Utc::now();
    let at = |millis: i64| begin + Duration::milliseconds(millis);
    let made = async |replayer: &Replayer, at: DateTime<Utc>| replayer.step(at).await.expect("a step");

    assert_eq!(made(&one, at(0)).await, 25, "a quarter of a second's worth");
    assert_eq!(made(&other, at(0)).await, 0);
    assert_eq!(made(&other, at(240)).await, 0);
    assert_eq!(made(&other, at(260)).await, 25);
    assert_eq!(made(&one, at(300)).await, 0);
    assert_eq!(made(&one, at(520)).await, 25);
    assert_eq!(rig.is_in_line().await, 75);
}

#[tokio::test]
async fn replicas_at_the_same_time_and_crashes_at_any_point_double_and_lose_nothing() {
    let rig = Arc::new(Rig::new().await);
    let (endpoint_id, _) = rig.endpoint("http://127.0.0.1:9/").await;
    rig.dead(endpoint_id, 400).await;
    let replay = rig.replay(endpoint_id, What::Dead, 100).await;
    let mut now = Utc::now();

    for crash_after in [0, 1, 2, 3, 4, 5, 6, 8, 10, 12] {
        now += Duration::seconds(1);
        let (dies, lives) = (rig.replayer(), rig.replayer());
        let dying = tokio::spawn(async move { dies.step(now).await });
        let living = lives.step(now);
        // a process that is killed takes its connections with it
        let killing = async {
            tokio::time::sleep(std::time::Duration::from_millis(crash_after)).await;
            dying.abort();
        };
        tokio::join!(living, killing).0.expect("a step");
    }
    let last = rig.replayer();
    while rig.replay_now(replay).await.state == ReplayState::Running {
        now += Duration::seconds(1);
        last.step(now).await.expect("a step");
    }

    let mut rows: HashMap<EventId, Vec<u32>> = HashMap::new();
    for delivery in rig.deliveries().await {
        rows.entry(delivery.event_id).or_default().push(delivery.replay_number);
    }
    rows.values_mut().for_each(|numbers| numbers.sort_unstable());
    assert_eq!(rows.len(), 400);
    assert!(rows.values().all(|numbers| numbers == &[0, 1]), "{rows:?}");
    assert_eq!(rig.replay_now(replay).await.done, 400);
}

#[tokio::test]
async fn a_cancelled_replay_puts_nothing_more_in_line() {
    let rig = Rig::new().await;
    let (endpoint_id, _) = rig.endpoint("http://127.0.0.1:9/").await;
    rig.dead(endpoint_id, 50).await;
    let id = rig.replay(endpoint_id, What::Dead, 40).await;
    let (replayer, now) = (rig.replayer(), Utc::now());
    assert_eq!(replayer.step(now).await.expect("a step"), 10);

    let mut conn = rig.pool.get().await.expect("a connection");
    assert!(replays::cancel(&mut conn, rig.workspace_id, id, now).await.expect("a query"));
    assert!(!replays::cancel(&mut conn, rig.workspace_id, id, now).await.expect("a query"));

    assert_eq!(replayer.step(now + Duration::hours(1)).await.expect("a step"), 0);
    let replay = rig.replay_now(id).await;
    assert_eq!((replay.state, replay.done), (ReplayState::Cancelled, 10));
    // what was left out is still there to be replayed
    let next = rig.replay(endpoint_id, What::Dead, 1000).await;
    replayer.step(now + Duration::hours(1)).await.expect("a step");
    assert_eq!(rig.replay_now(next).await.done, 40);
}

#[tokio::test]
async fn a_replay_waits_for_an_endpoint_that_takes_nothing() {
    let rig = Rig::new().await;
    let (endpoint_id, _) = rig.endpoint("http://127.0.0.1:9/").await;
    rig.set_state(endpoint_id, State::Paused).await;
    rig.dead(endpoint_id, 20).await;
    let id = rig.replay(endpoint_id, What::Dead, 2).await;
    let (replayer, now) = (rig.replayer(), Utc::now());

    for second in 0..30 {
        replayer.step(now + Duration::seconds(second)).await.expect("a step");
    }

    let replay = rig.replay_now(id).await;
    assert_eq!((replay.state, replay.done), (ReplayState::Running, 10), "five seconds' worth");
}

#[tokio::test]
async fn a_replay_ends_with_the_reason_when_its_endpoint_is_disabled() {
    let rig = Rig::new().await;
    let (endpoint_id, _) = rig.endpoint("http://127.0.0.1:9/").await;
    rig.dead(endpoint_id, 20).await;
    let id = rig.replay(endpoint_id, What::Dead, 4).await;
    let (replayer, now) = (rig.replayer(), Utc::now());
    assert_eq!(replayer.step(now).await.expect("a step"), 1);

    rig.set_state(endpoint_id, State::Disabled).await;
    replayer.step(now + Duration::seconds(1)).await.expect("a step");

    let replay = rig.replay_now(id).await;
    assert_eq!((replay.state, replay.error.as_deref()), (ReplayState::Failed, Some("endpoint_disabled")));
    assert_eq!(replay.done, 1);
}

#[tokio::test]
async fn what_was_accepted_is_rendered_again_from_its_click() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let (endpoint_id, _) = rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;
    let click = rig.click();
    rig.record(&click).await;
    rig.publish(&click).await;
    rig.stand(DeliveryStatus::Delivered, 1).await;

    let replay = rig.replay(endpoint_id, What::Delivered, 100).await;

    assert_eq!(rig.ends(replay).await.done, 1);
    let requests = subscriber.received(2).await;
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(requests[0].body, requests[1].body);
    let mut conn = rig.pool.get().await.expect("a connection");
    let of_replay = delivery_log::DeliveryFilter { replay_id: Some(replay), ..Default::default() };
    let found = delivery_log::list(&mut conn, rig.workspace_id, &of_replay, None, 10).await.expect("a list");
    assert_eq!(found.len(), 1);
    running.stop().await;
}
