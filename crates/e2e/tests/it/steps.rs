//! P3 and P4 step by step: `deliver` is killed before a request is answered, after it was accepted and before that is stored, and
//! after it was stored. The storms meet these steps by chance; here it is held at each of them.

use bus::Outgoing;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Received, Script, Subscriber, until};

use crate::services::{LIMIT, Service};
use crate::stack::{Database, Link, Stack};

fn sent(request: &Received) -> (&str, &[u8]) {
    (request.header("webhook-id").expect("an id"), &request.body[..])
}

async fn launch_again(stack: &mut Stack) {
    stack.services.launch(Service::Deliver);
    stack.services.wait_ready(Service::Deliver).await;
}

/// Waits until the results of so many deliveries are stored.
async fn delivered(stack: &Stack, count: usize) {
    until(LIMIT, || async {
        let (_, page) = stack.api(Method::GET, "/v1/deliveries?status=delivered", Value::Null).await;
        (page["data"].as_array()?.len() == count).then_some(())
    })
    .await;
}

/// Everything running, and a link whose clicks this subscriber gets.
async fn subscribed(script: impl Into<Script>) -> (Stack, Subscriber, Link) {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(script).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    (stack, subscriber, link)
}

/// Waits until one click was sent twice, as the same, and nothing more.
async fn sent_again_once(stack: &Stack, subscriber: &Subscriber) {
    let requests = subscriber.received(2).await;
    assert_eq!(sent(&requests[0]), sent(&requests[1]));
    delivered(stack, 1).await;
    stack.settled(&stack.nats.bus("test").await).await;
    assert_eq!(subscriber.count(), 2);
}

#[tokio::test]
async fn killed_before_an_answer_it_sends_the_same_again_once() {
    let (mut stack, subscriber, link) = subscribed([Answer::Hang, Answer::Status(200)]).await;
    stack.click(&link).await;
    subscriber.received(1).await;

    stack.services.kill(Service::Deliver).await;
    launch_again(&mut stack).await;

    sent_again_once(&stack, &subscriber).await;
}

#[tokio::test]
async fn killed_after_an_acceptance_that_is_not_stored_it_sends_the_same_again_once() {
    let (mut stack, subscriber, link) = subscribed(Answer::Status(200)).await;
    let pool = stack.database.pool();
    let Database::Shared(database) = &stack.database else { panic!("it was started in the shared cluster") };
    let held = database.hold("deliveries").await;
    stack.click(&link).await;
    subscriber.received(1).await;
    until(LIMIT, || async {
        let mut conn = pool.get().await.ok()?;
        (store::locks::waiting(&mut conn).await.ok()? > 0).then_some(())
    })
    .await;

    stack.services.kill(Service::Deliver).await;
    held.cut_off_who_waits().await;
    held.let_go().await;
    launch_again(&mut stack).await;

    sent_again_once(&stack, &subscriber).await;
}

#[tokio::test]
async fn killed_after_its_result_was_stored_it_sends_nothing_again() {
    let (mut stack, subscriber, link) = subscribed(Answer::Status(200)).await;
    let bus = stack.nats.bus("test").await;
    stack.click(&link).await;
    delivered(&stack, 1).await;

    stack.services.kill(Service::Deliver).await;
    launch_again(&mut stack).await;
    // and the broker has lost that it was acknowledged
    let (subject, payload) = stack.nats.messages("ENRICHED").await.remove(0);
    let again = Outgoing::again("ENRICHED", subject, "again".to_owned(), payload.into());
    bus.publisher().publish(again.expect("a stream of ours")).await.expect("it is confirmed");
    stack.settled(&bus).await;
    stack.click(&link).await;

    let requests = subscriber.received(2).await;
    assert_ne!(sent(&requests[0]).0, sent(&requests[1]).0, "the second is the second click");
    delivered(&stack, 2).await;
    assert_eq!(subscriber.count(), 2);
}
