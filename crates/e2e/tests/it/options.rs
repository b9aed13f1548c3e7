//! What is promised of delivery holds with each option: `deliver` is killed with requests in hand while a neighbour hangs, and the
//! broker tells everything a second time.

use std::collections::{BTreeMap, BTreeSet};

use bus::Outgoing;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::certificates::{CLIENT, CLIENT_KEY, SUBSCRIBER};
use testkit::proxy::{Mood, Proxy};
use testkit::{Answer, Received, Response, Subscriber, TestDatabase, until};

use crate::services::{LIMIT, Service};
use crate::stack::{Database, Endpoint, Link, Stack, body};
use crate::tls_front::TlsFront;

/// Links that are clicked in turn.
const LINKS: usize = 3;

/// Clicks before `deliver` is killed.
const CLICKS: usize = 12;

/// Slots of the hanging neighbour.
const SLOTS: usize = 2;

/// Where the API says that it is; shapes of bodies tell of it.
const PUBLIC_URL: (&str, &str) = ("API__PUBLIC_URL", "https://clicks.example.com");

/// What must come in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Any,
    OfEachLink,
    OfAll,
}

/// An endpoint with an option, and who listens there.
struct Chosen {
    name: &'static str,
    order: Order,
    endpoint: Endpoint,
    subscriber: Subscriber,
    /// The TLS before it, where a certificate of ours is wanted.
    _front: Option<TlsFront>,
}

impl Chosen {
    async fn new(stack: &Stack, name: &'static str, order: Order, option: Value) -> Self {
        let subscriber = Subscriber::start(Answer::Held).await;
        let endpoint = stack.endpoint(&subscriber, option).await;
        Self { name, order, endpoint, subscriber, _front: None }
    }

    /// One that wants to see our certificate.
    async fn behind_tls(stack: &Stack) -> Self {
        let subscriber = Subscriber::start(Answer::Held).await;
        let front = TlsFront::start(&subscriber).await;
        let auth = json!({
            "type": "mtls", "certificate_pem": CLIENT, "private_key_pem": CLIENT_KEY, "ca_pem": SUBSCRIBER
        });
        let endpoint = stack.endpoint(&subscriber, json!({"url": front.url, "auth": auth})).await;
        Self { name: "mtls", order: Order::Any, endpoint, subscriber, _front: Some(front) }
    }

    /// Waits until the results of so many deliveries are stored.
    async fn delivered(&self, stack: &Stack, count: usize) {
        let path = format!("/v1/deliveries?endpoint_id={}&status=delivered&limit=100", self.endpoint.id);
        until(LIMIT, || async {
            let (_, page) = stack.api(Method::GET, &path, Value::Null).await;
            (page["data"].as_array()?.len() == count).then_some(())
        })
        .await;
    }

    /// The events that were posted, each once.
    fn told(&self) -> BTreeSet<String> {
        self.subscriber.requests().iter().flat_map(events).collect()
    }

    /// Checks that nothing but what was in hand came again, the same as before, and all in the order that was chosen.
    fn assert_kept(&self, before_the_kill: usize) {
        let requests = self.subscriber.requests();
        let in_hand: BTreeSet<String> = requests[..before_the_kill].iter().flat_map(events).collect();
        let (mut bodies, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for request in &requests {
            let id = request.header("webhook-id").expect("an id");
            let first = bodies.entry(id).or_insert(&request.body);
            assert_eq!(*first, &request.body, "{}: {id} came again as something else", self.name);
            for event in events(request) {
                let is_new = seen.insert(event.clone());
                assert!(is_new || in_hand.contains(&event), "{}: {event} was not in hand", self.name);
            }
        }
        let mut last = BTreeMap::new();
        for request in requests.iter().filter(|_| self.order != Order::Any) {
            let sequence: u64 =
                request.header("clickwire-sequence").expect("a number").parse().expect("digits");
            let of = match self.order {
                Order::OfEachLink => body(request)["data"]["link"]["id"].to_string(),
                Order::OfAll | Order::Any => String::new(),
            };
            let before = last.insert(of, sequence).unwrap_or_default();
            assert!(before <= sequence, "{}: {sequence} came after {before}", self.name);
        }
    }
}

/// The ids of the events in a request.
fn events(request: &Received) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    if request.header("clickwire-event-type") == Some("batch") {
        let batch = body(request);
        return batch["data"].as_array().expect("events").iter().map(|event| text(&event["id"])).collect();
    }
    vec![request.header("webhook-id").expect("an id").to_owned()]
}

/// The options that one endpoint each has.
fn options(token_url: &str) -> Vec<(&'static str, Order, Value)> {
    let auth = |auth: Value| json!({ "auth": auth });
    vec![
        ("plain", Order::Any, json!({})),
        ("v1a", Order::Any, json!({"signatures": ["v1", "v1a"]})),
        ("thin", Order::Any, json!({"payload": {"profile": "thin"}})),
        ("mask", Order::Any, json!({"payload": {"fields": {"exclude": ["location", "device"]}}})),
        ("cloudevents", Order::Any, json!({"payload": {"format": "cloudevents"}})),
        ("request", Order::Any, json!({"payload": {"format": "request"}})),
        ("slack", Order::Any, json!({"payload": {"format": "slack"}})),
        ("basic", Order::Any, auth(json!({"type": "basic", "username": "us", "password": "hunter2"}))),
        ("bearer", Order::Any, auth(json!({"type": "bearer", "token": "abc"}))),
        (
            "oauth2",
            Order::Any,
            auth(json!({
                "type": "oauth2", "token_url": token_url, "client_id": "us", "client_secret": "hunter2"
            })),
        ),
        ("batch", Order::Any, json!({"batch": {"max_events": 5, "max_wait_ms": 200}})),
        ("checkpoints", Order::Any, json!({"checkpoint_minutes": 1})),
        ("per_link", Order::OfEachLink, json!({"ordering": "per_link"})),
        ("strict", Order::OfAll, json!({"ordering": "strict"})),
        ("skip", Order::OfAll, json!({"ordering": {"mode": "strict", "skip_after": 50}})),
    ]
}

/// Kills `deliver` with requests of all in hand beside a neighbour that hangs, has the broker tell everything twice, and checks each.
async fn assert_all_kept(stack: &mut Stack, all: &[Chosen]) {
    let hanging = Subscriber::start(Answer::Hang).await;
    stack.endpoint(&hanging, json!({"max_in_flight": SLOTS, "timeout_ms": 30_000})).await;
    let mut links = Vec::new();
    for _ in 0..LINKS {
        links.push(stack.link(json!({})).await);
    }
    for click in 0..CLICKS {
        stack.click(&links[click % LINKS]).await;
    }
    for chosen in all {
        chosen.subscriber.received(1).await;
    }
    hanging.received(SLOTS).await;

    stack.services.kill(Service::Deliver).await;
    let before: Vec<usize> = all.iter().map(|chosen| chosen.subscriber.count()).collect();
    all.iter().for_each(|chosen| chosen.subscriber.release());
    stack.services.launch(Service::Deliver);
    stack.services.wait_ready(Service::Deliver).await;
    for chosen in all {
        chosen.delivered(stack, CLICKS).await;
    }
    let told = all[0].told();
    assert_eq!(told.len(), CLICKS);
    for (chosen, before) in all.iter().zip(before) {
        assert_eq!(chosen.told(), told, "{}", chosen.name);
        chosen.assert_kept(before);
    }

    tell_again(stack).await;
    let counts: Vec<usize> = all.iter().map(|chosen| chosen.subscriber.count()).collect();
    stack.click(&links[0]).await;
    for (chosen, count) in all.iter().zip(counts) {
        chosen.delivered(stack, CLICKS + 1).await;
        let new: Vec<String> = chosen.subscriber.requests_from(count).iter().flat_map(events).collect();
        assert!(matches!(&new[..], [event] if !told.contains(event)), "{}: {new:?}", chosen.name);
    }
}

/// Has the broker tell again what was told, as one does that has lost what was acknowledged.
async fn tell_again(stack: &Stack) {
    let bus = stack.nats.bus("test").await;
    for (number, (subject, payload)) in stack.nats.messages("ENRICHED").await.into_iter().enumerate() {
        let again = Outgoing::again("ENRICHED", subject, format!("again-{number}"), payload.into());
        bus.publisher().publish(again.expect("a stream of ours")).await.expect("it is confirmed");
    }
    stack.settled(&bus).await;
}

#[tokio::test]
async fn with_each_option_nothing_is_lost_doubled_or_held_up_by_a_neighbour() {
    let mut stack = Stack::start_as(Database::Shared(TestDatabase::new().await), &[PUBLIC_URL]).await;
    let token = r#"{"access_token": "abc", "token_type": "Bearer", "expires_in": 3600}"#;
    let token = Response::new(200).header("content-type", "application/json").body(token);
    let tokens = Subscriber::start(Answer::from(token)).await;
    let mut all = Vec::new();
    for (name, order, option) in options(&tokens.url()) {
        all.push(Chosen::new(&stack, name, order, option).await);
    }
    all.push(Chosen::behind_tls(&stack).await);

    assert_all_kept(&mut stack, &all).await;
}

#[tokio::test]
async fn through_a_proxy_and_to_who_gave_no_challenge_back_nothing_is_lost_or_doubled() {
    let proxy = Proxy::start(false, Mood::Works).await;
    let url = format!("http://us:secret@{}", proxy.addr);
    let settings = [PUBLIC_URL, ("DELIVER__PROXY", url.as_str()), ("DELIVER__OWNERSHIP", "required")];
    let mut stack = Stack::start_as(Database::Shared(TestDatabase::new().await), &settings).await;
    let mut all = Vec::new();
    for (name, order, option) in [
        ("plain", Order::Any, json!({})),
        ("strict", Order::OfAll, json!({"ordering": "strict"})),
        ("batch", Order::Any, json!({"batch": {"max_events": 5, "max_wait_ms": 200}})),
    ] {
        all.push(Chosen::new(&stack, name, order, option).await);
    }

    assert_all_kept(&mut stack, &all).await;

    assert!(!proxy.asked().is_empty());
}

#[tokio::test]
async fn what_is_fetched_is_there_once_whoever_is_killed_and_whatever_is_told_again() {
    let mut stack = Stack::start().await;
    let (hanging, sent_to) =
        tokio::join!(Subscriber::start(Answer::Hang), Subscriber::start(Answer::Status(200)));
    stack.endpoint(&hanging, json!({"max_in_flight": SLOTS})).await;
    let endpoint = stack.endpoint(&sent_to, json!({"delivery": "pull"})).await;
    let link = stack.link(json!({})).await;

    click_some(&stack, &link, 0..CLICKS / 2).await;
    hanging.received(1).await;
    stack.services.kill(Service::Deliver).await;
    click_some(&stack, &link, CLICKS / 2..CLICKS).await;
    stack.services.launch(Service::Deliver);
    stack.services.wait_ready(Service::Deliver).await;
    let fetched = until(LIMIT, || async {
        let fetched = fetch_all(&stack, &endpoint).await;
        (fetched.len() >= CLICKS).then_some(fetched)
    })
    .await;
    tell_again(&stack).await;

    let ids: BTreeSet<&String> = fetched.iter().collect();
    assert_eq!((fetched.len(), ids.len()), (CLICKS, CLICKS));
    assert_eq!(fetch_all(&stack, &endpoint).await, fetched);
    assert_eq!(sent_to.count(), 0);
}

async fn click_some(stack: &Stack, link: &Link, clicks: std::ops::Range<usize>) {
    for _ in clicks {
        stack.click(link).await;
    }
}

/// The ids of all events of an endpoint, page by page.
async fn fetch_all(stack: &Stack, endpoint: &Endpoint) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/webhook-endpoints/{}/events?limit=5{after}", endpoint.id);
        let (status, page) = stack.api(Method::GET, &path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let events = page["data"].as_array().expect("events");
        ids.extend(events.iter().map(|event| event["id"].as_str().expect("an id").to_owned()));
        if page["has_more"] != true {
            return ids;
        }
        after = format!("&after={}", page["next_cursor"].as_str().expect("a cursor"));
    }
}
