//! People and machines, over the whole stack: what is told, to whom, and what is told again when more is known.

use std::collections::BTreeSet;

use bus::{Message as _, Outgoing};
use model::{Click, ClickId, EnrichedClick, EventId, LinkId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{Answer, Received, Subscriber, until};

use crate::services::{LIMIT, Service};
use crate::stack::{HOST, PERSON, Stack, body};

/// Links of the message that a gateway opens.
const LINKS: usize = 10;

/// What Twitter's preview calls itself.
const TWITTERBOT: &str = "Twitterbot/1.0";

/// In the browsers of apps, and of a phone whose name sounds like a program's.
const IN_APPS: [&str; 4] = [
    "Mozilla/5.0 (Linux; Android 8.1.0; CUBOT_P20 Build/O11019; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
     Version/4.0 Chrome/126.0.6478.71 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
     Version/4.0 Chrome/126.0.6478.71 Mobile Safari/537.36 trill_350403 JsSdk/1.0 NetType/WIFI Channel/googleplay \
     AppName/musical_ly app_version/35.4.3",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 \
     Instagram 332.0.0.34.90 (iPhone15,2; iOS 17_5_1; en_US; en; scale=3.00; 1179x2556; 607389258)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 \
     Viber/22.5.0.6",
];

/// What a phone's browser sends in any app, beside its User-Agent and the address.
const IN_APP: [(&str, &str); 3] = [
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "it-IT,it;q=0.9"),
    ("x-forwarded-for", "82.90.81.233"),
];

fn verdict(request: &Received) -> Value {
    body(request)["data"]["automation"]["verdict"].clone()
}

/// The clicks of the workspace with this verdict, as the API lists them.
async fn clicks(stack: &Stack, verdict: &str) -> Vec<Value> {
    let (status, page) =
        stack.api(Method::GET, &format!("/v1/clicks?limit=250&verdict={verdict}"), Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page["data"].as_array().expect("a list").clone()
}

async fn recorded(stack: &Stack, verdict: &str, count: usize) {
    until(LIMIT, || async { (clicks(stack, verdict).await.len() == count).then_some(()) }).await;
}

/// Acceptance test 1 of links and clicks.
#[tokio::test]
async fn three_heads_and_a_preview_are_four_hits_and_no_click() {
    let stack = Stack::start().await;
    let (all, people) =
        (Subscriber::start(Answer::Status(200)).await, Subscriber::start(Answer::Status(200)).await);
    stack.endpoint(&all, json!({})).await;
    stack.endpoint(&people, json!({"filter": {"verdicts": ["human", "unknown"]}})).await;
    let link = stack.link(json!({})).await;
    let url = format!("http://127.0.0.1:{}/{}", stack.services.redirect_port, link.slug);

    for _ in 0..3 {
        let head = stack.client.head(&url).header("host", HOST);
        let head = PERSON.iter().fold(head, |head, (name, value)| head.header(*name, *value));
        assert_eq!(head.send().await.expect("an answer").status(), StatusCode::FOUND);
    }
    stack.visit(&link.slug, &[("user-agent", TWITTERBOT)]).await;

    let hits = all.received(4).await;
    assert!(hits.iter().all(|hit| verdict(hit) == "automated"));
    recorded(&stack, "automated", 4).await;
    stack.click(&link).await;
    assert_eq!(verdict(&people.received(1).await[0]), "human");
    recorded(&stack, "human", 1).await;
    assert_eq!(people.count(), 1);
}

/// Acceptance test 2 of links and clicks.
#[tokio::test]
async fn a_prefetch_is_a_hit_and_no_click() {
    let stack = Stack::start().await;
    let all = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&all, json!({})).await;
    let link = stack.link(json!({})).await;

    let headers: Vec<_> = PERSON.into_iter().chain([("sec-purpose", "prefetch;prerender")]).collect();
    assert_eq!(stack.visit(&link.slug, &headers).await.status(), StatusCode::FOUND);

    let told = body(&all.received(1).await[0])["data"].clone();
    assert_eq!(
        (&told["automation"]["verdict"], &told["automation"]["class"]),
        (&json!("automated"), &json!("prefetch"))
    );
    assert_eq!(told["is_first_click"], false);
    assert_eq!(told["device"]["type"], "mobile");
}

/// Acceptance test 3 of links and clicks.
#[tokio::test]
async fn ten_links_of_one_message_at_once_end_automated_and_the_person_is_told_of_once() {
    let stack = Stack::start().await;
    let (live, settled) =
        (Subscriber::start(Answer::Status(200)).await, Subscriber::start(Answer::Status(200)).await);
    let people = json!({"verdicts": ["human", "unknown"]});
    stack.endpoint(&live, json!({ "filter": people })).await;
    stack.endpoint(&settled, json!({ "filter": people, "settle_ms": 3000 })).await;
    let mut links = Vec::new();
    for _ in 0..LINKS {
        links.push(
            stack.link(json!({"kind": "message", "message_id": "msg_1", "contact_id": "cont_9"})).await,
        );
    }

    // a gateway with the User-Agent of a browser
    for link in &links {
        stack.click(link).await;
    }
    recorded(&stack, "automated", LINKS).await;

    let automated = clicks(&stack, "automated").await;
    assert!(automated.iter().all(|click| {
        let reasons = click["automation"]["reasons"].as_array().expect("a list");
        reasons.iter().any(|reason| reason["code"] == "burst_message") && click["is_first_click"] == false
    }));
    // whoever was told of the first ones as of a person's is told of the change
    let told: BTreeSet<String> = until(LIMIT, || async {
        let of_type = |name: &str| {
            let requests = live.requests();
            let of_type = requests.iter().map(body).filter(|body| body["type"] == name);
            of_type.map(|body| body["data"]["click_id"].to_string()).collect::<BTreeSet<_>>()
        };
        let (told, amended) = (of_type("link.clicked"), of_type("link.click.amended"));
        (told == amended).then_some(told)
    })
    .await;
    assert!(told.len() < LINKS, "the last ones were known as a machine's at once");

    // the person comes later than any burst lasts: to wait is what this is about
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    stack.click(&links[0]).await;

    let person = body(&settled.received(1).await[0]);
    assert_eq!(
        (&person["type"], &person["data"]["automation"]["verdict"]),
        (&json!("link.clicked"), &json!("human"))
    );
    assert_eq!((&person["data"]["is_first_click"], settled.count()), (&json!(true), 1));
}

/// What a click shows of one before it is seen although `enrich` was killed between them.
#[tokio::test]
async fn a_burst_is_seen_across_a_kill_of_enrich() {
    let mut stack = Stack::start().await;
    let bus = stack.nats.bus("test").await;
    let all = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&all, json!({})).await;
    let link = stack.link(json!({"kind": "message", "message_id": "msg_1", "contact_id": "cont_9"})).await;
    stack.click(&link).await;
    all.received(1).await;
    recorded(&stack, "human", 1).await;

    stack.services.kill(Service::Enrich).await;
    let (_, payload) = stack.nats.messages("CLICKS").await.remove(0);
    let first = Click::decode(&payload).expect("a click");
    let mut second = first.clone();
    second.clicked_at += chrono::TimeDelta::milliseconds(500);
    second.id = ClickId::generate_at(second.clicked_at);
    second.link.id = LinkId::generate();
    bus.publisher().publish(second.outgoing()).await.expect("it is confirmed");
    stack.services.launch(Service::Enrich);

    recorded(&stack, "automated", 2).await;
    let types: Vec<Value> =
        all.received(3).await.iter().map(|request| body(request)["type"].clone()).collect();
    assert_eq!(types.iter().filter(|name| **name == "link.click.amended").count(), 1, "{types:?}");
}

/// Acceptance test 4 of links and clicks.
#[tokio::test]
async fn people_in_the_browsers_of_apps_are_people() {
    let stack = Stack::start().await;
    let all = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&all, json!({})).await;
    let link = stack.link(json!({})).await;

    for agent in IN_APPS {
        let headers: Vec<_> = IN_APP.into_iter().chain([("user-agent", agent)]).collect();
        stack.visit(&link.slug, &headers).await;
    }

    for request in all.received(IN_APPS.len()).await {
        assert_eq!(verdict(&request), "human", "{}", body(&request)["data"]["user_agent"]);
    }
}

#[tokio::test]
async fn a_click_that_comes_twice_is_a_first_one_once() {
    let stack = Stack::start().await;
    let bus = stack.nats.bus("test").await;
    let all = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&all, json!({})).await;
    let link = stack.link(json!({})).await;
    for _ in 0..3 {
        stack.click(&link).await;
    }
    all.received(3).await;
    recorded(&stack, "human", 3).await;
    let firsts = async || {
        let clicks = clicks(&stack, "human").await;
        let firsts = clicks.iter().filter(|click| click["is_first_click"] == true);
        (clicks.len(), firsts.map(|click| click["click_id"].to_string()).collect::<Vec<_>>())
    };
    let before = firsts().await;
    assert_eq!((before.0, before.1.len()), (3, 1));

    // twice more, under ids that the broker does not know
    let raw = stack.nats.messages("CLICKS").await;
    for round in 0..2 {
        for (number, (subject, payload)) in raw.iter().enumerate() {
            let id = format!("again-{round}-{number}");
            let again = Outgoing::again("CLICKS", subject.clone(), id, payload.clone().into());
            bus.publisher().publish(again.expect("a stream of ours")).await.expect("it is confirmed");
        }
    }
    stack.settled(&bus).await;

    assert_eq!(firsts().await, before);
    assert_eq!(all.count(), 3);
}

#[tokio::test]
async fn a_person_overrules_a_verdict_and_everybody_is_told() {
    let stack = Stack::start().await;
    let bus = stack.nats.bus("test").await;
    let (all, people) =
        (Subscriber::start(Answer::Status(200)).await, Subscriber::start(Answer::Status(200)).await);
    stack.endpoint(&all, json!({})).await;
    stack.endpoint(&people, json!({"filter": {"verdicts": ["human"]}})).await;
    let link = stack.link(json!({})).await;
    stack.visit(&link.slug, &[("user-agent", TWITTERBOT)]).await;
    all.received(1).await;
    recorded(&stack, "automated", 1).await;
    let id = clicks(&stack, "automated").await[0]["click_id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/clicks/{id}/verdict");
    let (status, refused) = stack.api(Method::POST, &path, json!({"verdict": "human"})).await;
    assert_eq!(
        (status, &refused["code"]),
        (StatusCode::CONFLICT, &json!("too_soon")),
        "evidence still comes in"
    );

    // the same, of a click that was made two minutes ago
    let (_, payload) = stack.nats.messages("ENRICHED").await.remove(0);
    let mut old = EnrichedClick::decode(&payload).expect("a click");
    old.click.clicked_at -= chrono::TimeDelta::minutes(2);
    old.enriched_at = old.click.clicked_at;
    old.click.id = ClickId::generate_at(old.click.clicked_at);
    old.event_id = EventId::of_click(old.click.id, 0);
    bus.publisher().publish(old.outgoing()).await.expect("it is confirmed");
    recorded(&stack, "automated", 2).await;
    let click = old.click;
    let path = format!("/v1/clicks/{}/verdict", click.id);
    let (status, told) =
        stack.api(Method::POST, &path, json!({"verdict": "human", "note": "a colleague"})).await;

    assert_eq!((status, &told["revision"]), (StatusCode::ACCEPTED, &json!(1)), "{told}");
    recorded(&stack, "human", 1).await;
    let overruled = clicks(&stack, "human").await.remove(0);
    assert_eq!(overruled["click_id"], click.id.to_string());
    assert_eq!(overruled["automation"]["reasons"][0]["code"], "overruled");
    assert_eq!(overruled["previous_verdict"], "automated");
    // asked again, it is so already
    let (status, _) = stack.api(Method::POST, &path, json!({"verdict": "human"})).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}
