//! Clicks as they come in: at once, to their workspace alone, and without a gap for who comes back.

use std::time::{Duration, Instant};

use bus::Message as _;
use model::automation::Verdict;
use model::{EnrichedClick, LinkId, WorkspaceId};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::console::Browser;
use crate::harness::{Api, LIMIT, enriched_click};

/// A stream of events that is read.
struct Events {
    response: Response,
    text: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Event {
    name: String,
    id: Option<u64>,
    data: Value,
}

impl Events {
    async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// Opens a stream and waits until it hears everything.
    async fn ready(request: RequestBuilder) -> (Self, u64) {
        let mut events = Self::open(request).await;
        let ready = events.next().await.expect("it goes on");
        assert_eq!(ready.name, "ready", "{ready:?}");
        (events, ready.id.expect("a place"))
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = read(block);
                self.text = rest.to_owned();
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let chunk = tokio::time::timeout(LIMIT, self.response.chunk()).await.expect("in time").ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    /// The ids of the clicks of the next events.
    async fn clicks(&mut self, count: usize) -> Vec<String> {
        let mut clicks = Vec::new();
        while clicks.len() < count {
            let event = self.next().await.expect("it goes on");
            assert_eq!(event.name, "link.clicked", "{event:?}");
            clicks.push(event.data["click_id"].as_str().expect("an id").to_owned());
        }
        clicks
    }
}

fn read(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Event {
        name: field("event")?.to_owned(),
        id: field("id").map(|id| id.parse().expect("a number")),
        data: serde_json::from_str(field("data")?).expect("JSON"),
    })
}

fn live(api: &Api, query: &str) -> RequestBuilder {
    api.request(Method::GET, &format!("/v1/clicks/live?{query}")).bearer_auth(&api.key)
}

async fn publish(api: &Api, clicks: &[EnrichedClick]) {
    let publisher = api.bus.as_ref().expect("a broker").publisher();
    for click in clicks {
        publisher.publish(click.outgoing()).await.expect("it is stored");
    }
}

fn click(workspace_id: WorkspaceId) -> EnrichedClick {
    enriched_click(workspace_id, &LinkId::generate().to_string())
}

fn ids(clicks: &[EnrichedClick]) -> Vec<String> {
    clicks.iter().map(|click| click.click.id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_shows_at_once_to_its_workspace_and_to_no_other() {
    let api = Api::start_with_nats().await;
    let (stranger_id, stranger) = api.other_workspace().await;
    let (mut own, _) = Events::ready(live(&api, "")).await;
    let (mut machines, _) = Events::ready(live(&api, "verdict=automated")).await;
    let (mut theirs, _) =
        Events::ready(api.request(Method::GET, "/v1/clicks/live").bearer_auth(&stranger)).await;
    let (person, their) = (click(api.workspace_id), click(stranger_id));
    let mut machine = click(api.workspace_id);
    machine.automation.verdict = Verdict::Automated;
    let mut sample = click(api.workspace_id);
    sample.test = true;

    publish(&api, &[their.clone(), sample, person.clone(), machine.clone()]).await;

    let first = own.next().await.expect("it goes on");
    assert_eq!((first.name.as_str(), &first.data["click_id"]), ("link.clicked", &json!(person.click.id)));
    let shown: Value = serde_json::from_slice(&webhook::payload::data(&person)).expect("JSON");
    assert_eq!(first.data, shown, "as in the list");
    assert_eq!(own.clicks(1).await, ids(std::slice::from_ref(&machine)));
    assert_eq!(machines.clicks(1).await, ids(std::slice::from_ref(&machine)));
    assert_eq!(theirs.clicks(1).await, ids(&[their]));
    let amended = webhook::payload::amended_sample(&person);
    publish(&api, &[amended]).await;
    assert_eq!(own.next().await.expect("it goes on").name, "link.click.amended");
    let of_link = format!("link_id={}", person.click.link.id);
    let (mut of_link, _) = Events::ready(live(&api, &of_link)).await;
    publish(&api, &[click(api.workspace_id), again(&person)]).await;
    assert_eq!(of_link.next().await.expect("it goes on").data["link"]["id"], json!(person.click.link.id));
}

/// Another click on the same link.
fn again(click: &EnrichedClick) -> EnrichedClick {
    let mut again = click.clone();
    again.click.id = model::ClickId::generate();
    again.event_id = model::EventId::of_click(again.click.id, 0);
    again
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_misses_nothing_and_is_told_when_that_cannot_be() {
    let api = Api::start_with_nats().await;
    let (stranger_id, _) = api.other_workspace().await;
    let before = [click(api.workspace_id), click(stranger_id), click(api.workspace_id)];
    publish(&api, &before).await;

    // nobody looked at that time: it is read from the stream again
    let mut first = Events::open(live(&api, "last_event_id=1")).await;
    assert_eq!(first.clicks(1).await, ids(&before[2..]));
    let ready = first.next().await.expect("it goes on");
    assert_eq!((ready.name.as_str(), ready.id), ("ready", Some(3)));
    let after = [click(api.workspace_id), click(api.workspace_id)];
    publish(&api, &after).await;
    let seen = first.next().await.expect("it goes on");
    drop(first);

    // from the ring, by what browsers send
    let back = live(&api, "last_event_id=1").header("last-event-id", seen.id.expect("a place").to_string());
    let mut back = Events::open(back).await;
    assert_eq!(back.clicks(1).await, ids(&after[1..]));
    assert_eq!(back.next().await.expect("it goes on").name, "ready");

    let mut ahead = Events::open(live(&api, "last_event_id=999")).await;
    assert_eq!(ahead.next().await.expect("it goes on").name, "gap");
    assert_eq!(ahead.next().await.expect("it goes on").name, "ready");
    for refused in [live(&api, "last_event_id=x"), live(&api, "").header("last-event-id", "x")] {
        assert_eq!(refused.send().await.expect("an answer").status(), 422);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_to_be_told_again_are_a_gap() {
    let api = Api::start_with_nats().await;
    let publisher = api.bus.as_ref().expect("a broker").publisher();
    let clicks: Vec<_> = (0..1_001).map(|_| click(api.workspace_id)).collect();
    let stored = clicks.iter().map(|click| publisher.publish(click.outgoing()));
    for stored in futures::future::join_all(stored).await {
        stored.expect("it is stored");
    }

    let mut events = Events::open(live(&api, "last_event_id=0")).await;

    let gap = events.next().await.expect("it goes on");
    assert_eq!(gap.name, "gap");
    let ready = events.next().await.expect("it goes on");
    assert_eq!((ready.name.as_str(), ready.id), ("ready", Some(1_001)));
    let mut last = Events::open(live(&api, "last_event_id=1")).await;
    assert_eq!(last.clicks(1_000).await.len(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_erased_contact_nothing_is_told_again() {
    let api = Api::start_with_nats().await;
    let (erased, mut kept) = (click(api.workspace_id), click(api.workspace_id));
    kept.click.link.labels.contact_id = Some("another".to_owned());
    publish(&api, &[erased, kept.clone()]).await;

    assert_eq!(api.post("/v1/contacts/cont_9/erase", json!({})).await.status, 200);

    let mut events = Events::open(live(&api, "last_event_id=0")).await;
    assert_eq!(events.clicks(1).await, ids(&[kept]));
    assert_eq!(events.next().await.expect("it goes on").name, "ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_says_when_the_broker_is_away_and_goes_on_by_itself() {
    let mut api = Api::start_with_nats().await;
    let (mut events, _) = Events::ready(live(&api, "")).await;

    api.nats.as_ref().expect("a broker").kill().await;
    assert_eq!(events.next().await.expect("it goes on").name, "away");
    api.nats.as_mut().expect("a broker").restart().await;
    let missed = click(api.workspace_id);
    let publisher = api.bus.as_ref().expect("a broker").publisher();
    while publisher.publish(missed.outgoing()).await.is_err() {}

    assert_eq!(events.next().await.expect("it goes on").name, "back");
    assert_eq!(events.clicks(1).await, ids(&[missed]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_key_and_with_the_process() {
    let api = Api::start_with_nats_and(|settings| {
        settings.api.bulk_key_interval = Duration::from_millis(1);
        settings.api.live_heartbeat = Duration::from_millis(50);
        // streams outlive the time of a request
        settings.api.test_timeout = Duration::from_millis(100);
        settings.api.request_timeout = Duration::from_millis(500);
    })
    .await;
    let key = api.key_with(&["clicks:read"], None).await;
    let request = || api.request(Method::GET, "/v1/clicks/live");
    let (mut revoked, _) = Events::ready(request().bearer_auth(&key)).await;
    let (mut stays, _) = Events::ready(request().bearer_auth(&api.key)).await;

    api.revoke_scoped_key().await;
    let end = revoked.next().await.expect("it says why");
    assert_eq!((end.name.as_str(), &end.data["code"]), ("end", &json!("unauthorized")));
    assert_eq!(revoked.next().await, None);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let later = click(api.workspace_id);
    publish(&api, std::slice::from_ref(&later)).await;
    assert_eq!(stays.clicks(1).await, ids(&[later]));

    let stopped_at = Instant::now();
    api.stop.cancel();

    assert_eq!(stays.next().await.expect("it says why").name, "end");
    assert_eq!(stays.next().await, None);
    assert!(stopped_at.elapsed() < Duration::from_secs(5), "nobody waits for a stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_as_many_streams_as_it_may_and_its_place_is_free_when_one_ends() {
    let api = Api::start_with_nats_and(|settings| {
        settings.api.live_key_streams_max = 1;
        // that who looked is gone is seen when there is something to send
        settings.api.live_heartbeat = Duration::from_millis(50);
    })
    .await;
    let (first, _) = Events::ready(live(&api, "")).await;

    let second = live(&api, "").send().await.expect("an answer");

    assert_eq!(second.status(), 503);
    let other = api.key_with(&["clicks:read"], None).await;
    let request = api.request(Method::GET, "/v1/clicks/live").bearer_auth(&other);
    drop(Events::ready(request).await);
    drop(first);
    testkit::until(LIMIT, || async {
        live(&api, "").send().await.ok().filter(|answer| answer.status() == 200).map(|_| ())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_the_console_hear_of_clicks_with_a_session() {
    let api = Api::start_with_nats().await;
    let browser = Browser::signed_in(&api).await;
    let request = || api.request(Method::GET, "/live/clicks");
    let (mut events, _) = Events::ready(request().header("cookie", browser.cookie())).await;

    publish(&api, &[click(api.workspace_id)]).await;

    let row = events.next().await.expect("it goes on").data;
    assert_eq!((&row["place"], &row["text"]), (&json!("Linköping, Sweden"), &json!("Person")));
    assert_eq!(request().send().await.expect("an answer").status(), 401);
}
