//! What is told of clicks that no person made, or that come from no place.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Subscriber, until};

use crate::services::LIMIT;
use crate::stack::{IPHONE, Stack, body};

#[tokio::test]
async fn a_program_that_fetches_the_link_is_marked_as_automated() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;

    stack.visit(&link.slug, &[("user-agent", "curl/8.5.0"), ("accept", "*/*")]).await;

    let automation = body(&subscriber.received(1).await[0])["data"]["automation"].clone();
    assert_eq!(automation["verdict"], "automated", "{automation}");
    assert_eq!(automation["class"], "library", "{automation}");
}

#[tokio::test]
async fn a_click_from_loopback_says_that_it_has_no_public_address() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;

    stack.visit(&link.slug, &[("user-agent", IPHONE)]).await;

    let body = body(&subscriber.received(1).await[0]);
    assert_eq!(body["data"]["location"]["country"], Value::Null);
    let path = format!("/v1/clicks/{}", body["data"]["click_id"].as_str().unwrap());
    let trace = until(LIMIT, || async {
        let (status, shown) = stack.api(Method::GET, &path, Value::Null).await;
        status.is_success().then(|| shown["trace"].clone())
    })
    .await;
    assert_eq!(trace["location"], "no public address");
}
