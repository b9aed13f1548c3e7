//! What a person may ask for: to be forgotten, and to be told of as little as possible.

use std::net::Ipv4Addr;

use bus::{Message as _, Outgoing};
use model::{Click, ClickId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{Answer, Subscriber, until};

use crate::services::LIMIT;
use crate::stack::{IPHONE, ROME, Stack, body};

/// A contact whose id stands nowhere by chance, with a sign that a path has to encode.
const CONTACT: &str = "cont/of-whom-nothing-stays";

/// The same in a path.
const CONTACT_IN_PATH: &str = "cont%2Fof-whom-nothing-stays";

/// The tables that hold something of the contact or of the address they clicked from.
async fn traces(stack: &Stack) -> Vec<String> {
    let pool = stack.database.pool();
    let mut conn = pool.get().await.expect("a connection");
    let address: Ipv4Addr = ROME.parse().expect("an address");
    let mut traces = Vec::new();
    for needle in [CONTACT.as_bytes(), ROME.as_bytes(), &address.octets()] {
        traces.extend(store::occurrences::tables(&mut conn, needle).await.expect("an answer"));
    }
    traces.sort();
    traces.dedup();
    traces
}

async fn erase(stack: &Stack) -> Value {
    let path = format!("/v1/contacts/{CONTACT_IN_PATH}/erase");
    let (status, erasure) = stack.api(Method::POST, &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{erasure}");
    erasure
}

#[tokio::test]
async fn an_erased_contact_stands_nowhere_in_the_database_and_no_redelivered_click_brings_it_back() {
    let stack = Stack::start().await;
    let bus = stack.nats.bus("test").await;
    let (status, _) = stack.api(Method::PATCH, "/v1/settings/links", json!({"address_policy": "keep"})).await;
    assert_eq!(status, StatusCode::OK);
    let accepting = Subscriber::start(Answer::Status(200)).await;
    let refusing = Subscriber::start(Answer::Status(500)).await;
    stack.endpoint(&accepting, json!({})).await;
    let refused = stack.endpoint(&refusing, json!({"retry_schedule": [3600]})).await;
    let link = json!({
        "contact_id": CONTACT, "conversation_id": "conv_1", "external_id": format!("of {CONTACT}"),
        "metadata": {"for": CONTACT}, "campaign_id": "cmp_1"
    });
    let link = stack.link(link).await;
    stack.click(&link).await;
    accepting.received(1).await;
    refusing.received(1).await;
    let waiting = format!("/v1/deliveries?endpoint_id={}&status=pending", refused.id);
    until(LIMIT, async || {
        let (_, page) = stack.api(Method::GET, &waiting, Value::Null).await;
        (page["data"][0]["attempt_count"] == 1).then_some(())
    })
    .await;
    stack.settled(&bus).await;
    let before = [stack.nats.messages("CLICKS").await, stack.nats.messages("ENRICHED").await];
    assert_eq!(traces(&stack).await, ["clicks", "deliveries", "first_clicks", "links"]);

    let erasure = erase(&stack).await;

    assert_eq!(erasure["state"], "done");
    assert_eq!(
        erasure["scrubbed"],
        json!({
            "links": 1, "clicks": 1, "deliveries": 2, "deliveries_ended": 1, "first_clicks": 1, "quarantined": 0
        })
    );
    let streams: Vec<&Value> =
        erasure["streams"].as_array().expect("a list").iter().map(|stream| &stream["stream"]).collect();
    assert_eq!(streams, ["CLICKS", "ENRICHED", "QUARANTINE"]);
    assert_eq!(traces(&stack).await, Vec::<String>::new());
    let dead = format!("/v1/deliveries?endpoint_id={}&status=dead", refused.id);
    let (_, page) = stack.api(Method::GET, &dead, Value::Null).await;
    assert_eq!(page["data"][0]["last_error"], "erased", "{page}");

    // the same again, under ids that the broker does not know, and a click that a spool still held
    for (stream, messages) in ["CLICKS", "ENRICHED"].into_iter().zip(before) {
        for (number, (subject, payload)) in messages.into_iter().enumerate() {
            let again =
                Outgoing::again(stream, subject, format!("again-{stream}-{number}"), payload.clone().into());
            bus.publisher().publish(again.expect("a stream of ours")).await.expect("it is confirmed");
            if stream == "CLICKS" {
                let late = Click { id: ClickId::generate(), ..Click::decode(&payload).expect("a click") };
                assert_eq!(late.link.labels.contact_id.as_deref(), Some(CONTACT));
                bus.publisher().publish(late.outgoing()).await.expect("it is confirmed");
            }
        }
    }
    // whoever clicks the link once its redirect has heard is nobody's contact
    until(LIMIT, async || {
        stack.click(&link).await;
        (accepting.requests().len() > 1).then_some(())
    })
    .await;
    stack.settled(&bus).await;

    for request in &accepting.requests()[1..] {
        let told = &body(request)["data"];
        assert_eq!((&told["contact_id"], &told["campaign_id"]), (&Value::Null, &json!("cmp_1")));
        assert_eq!(told["link"]["revision"], 2, "nothing is told of a click that came late");
    }
    let (_, clicks) = stack.api(Method::GET, "/v1/clicks", Value::Null).await;
    assert!(clicks["data"].as_array().expect("a list").len() >= 3, "every click is counted: {clicks}");
    let (id, octets) = (CONTACT.as_bytes(), ROME.parse::<Ipv4Addr>().expect("an address").octets());
    let pool = stack.database.pool();
    let mut conn = pool.get().await.expect("a connection");
    assert_eq!(store::occurrences::tables(&mut conn, id).await.expect("an answer"), Vec::<String>::new());
    // of the address only what the newest click, which is nobody's, tells
    let found = store::occurrences::tables(&mut conn, &octets).await.expect("an answer");
    assert_eq!(found, ["clicks"]);
    let again = erase(&stack).await;
    assert_eq!((&again["id"], &again["erased_at"]), (&erasure["id"], &erasure["erased_at"]));
}

/// Acceptance test 9 of links and clicks.
#[tokio::test]
async fn a_gpc_request_reaches_the_webhook_with_the_senders_ids_and_without_address_and_user_agent() {
    let stack = Stack::start().await;
    let (status, _) = stack.api(Method::PATCH, "/v1/settings/links", json!({"address_policy": "keep"})).await;
    assert_eq!(status, StatusCode::OK);
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({"contact_id": "cont_9", "message_id": "msg_3"})).await;
    let visit = async |more: (&str, &str)| {
        let headers = [("user-agent", IPHONE), ("x-forwarded-for", ROME), ("accept-language", "it-IT"), more];
        assert_eq!(stack.visit(&link.slug, &headers).await.status(), StatusCode::FOUND);
    };

    visit(("sec-gpc", "1")).await;
    subscriber.received(1).await;
    visit(("dnt", "1")).await;

    let requests = subscriber.received(2).await;
    let [gpc, dnt] = [&requests[0], &requests[1]].map(|request| body(request)["data"].clone());
    assert_eq!(gpc["privacy"]["redacted_fields"], json!(["ip", "user_agent"]));
    assert_eq!((&gpc["ip"], &gpc["user_agent"]), (&Value::Null, &Value::Null));
    assert_eq!((&gpc["contact_id"], &gpc["message_id"]), (&json!("cont_9"), &json!("msg_3")));
    assert_eq!((&gpc["location"]["city"], &gpc["device"]["type"]), (&json!("Rome"), &json!("mobile")));
    assert_eq!((&dnt["ip"], &dnt["user_agent"]), (&json!(ROME), &json!(IPHONE)), "it is advice");
    assert_eq!(dnt["privacy"]["redacted_fields"], json!([]));
}
