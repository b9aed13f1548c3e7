//! What belongs to one workspace is nothing to another; and what is not to be recorded is not.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{Answer, Subscriber};

use crate::stack::{Link, Stack, body};

#[tokio::test]
async fn what_another_workspace_has_is_not_there() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let endpoint = stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    stack.click(&link).await;
    let click_id = body(&subscriber.received(1).await[0])["data"]["click_id"].as_str().unwrap().to_owned();
    let other = stack.workspace("go.example.org").await;

    let paths = [
        format!("/v1/links/{}", link.id),
        format!("/v1/webhook-endpoints/{}", endpoint.id),
        format!("/v1/webhook-endpoints/{}/secrets", endpoint.id),
        format!("/v1/clicks/{click_id}"),
    ];
    for path in paths {
        let (status, problem) = stack.api_as(&other, Method::GET, &path, Value::Null).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {problem}");
    }
    for path in ["/v1/links", "/v1/webhook-endpoints", "/v1/clicks", "/v1/deliveries"] {
        let (_, page) = stack.api_as(&other, Method::GET, path, Value::Null).await;
        assert_eq!(page["data"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn an_endpoint_gets_the_clicks_of_its_own_workspace_only() {
    let stack = Stack::start().await;
    let (ours, theirs) =
        tokio::join!(Subscriber::start(Answer::Status(200)), Subscriber::start(Answer::Status(200)));
    stack.endpoint(&ours, json!({})).await;
    let other = stack.workspace("go.example.org").await;
    let endpoint = json!({"url": theirs.url()});
    let (status, endpoint) = stack.api_as(&other, Method::POST, "/v1/webhook-endpoints", endpoint).await;
    assert_eq!(status, StatusCode::CREATED);
    let link = stack.link(json!({})).await;

    stack.click(&link).await;

    ours.received(1).await;
    let test = format!("/v1/webhook-endpoints/{}/test", endpoint["id"].as_str().unwrap());
    let (_, tested) = stack.api_as(&other, Method::POST, &test, Value::Null).await;
    assert_eq!(tested["delivered"], true, "{tested}");
    let requests = theirs.requests();
    assert_eq!(requests.len(), 1, "nothing but the test");
    assert_eq!(body(&requests[0])["data"]["test"], true);
}

#[tokio::test]
async fn a_link_without_tracking_redirects_and_records_nothing() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let untracked = stack.link(json!({"tracking": "off"})).await;
    let tracked = stack.link(json!({})).await;

    stack.click(&untracked).await;
    stack.click(&tracked).await;

    let requests = subscriber.received(1).await;
    assert_eq!(body(&requests[0])["data"]["link"]["id"], tracked.id, "only the click after it arrives");
    assert_eq!(recorded(&stack, &untracked).await, 0);
}

#[tokio::test]
async fn a_workspace_without_tracking_redirects_and_records_nothing() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let settings =
        |tracking: bool| stack.api(Method::PATCH, "/v1/settings/links", json!({"tracking": tracking}));
    let (status, answer) = settings(false).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let while_off = stack.link(json!({})).await;

    stack.click(&while_off).await;
    settings(true).await;
    let while_on = stack.link(json!({})).await;
    stack.click(&while_on).await;

    let requests = subscriber.received(1).await;
    assert_eq!(body(&requests[0])["data"]["link"]["id"], while_on.id, "only the click after it arrives");
    assert_eq!(recorded(&stack, &while_off).await, 0);
}

#[tokio::test]
async fn a_campaign_without_tracking_redirects_and_records_nothing_but_of_links_that_say_otherwise() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let off = json!({"campaign_tracking": {"spring": "off"}});
    let (status, answer) = stack.api(Method::PATCH, "/v1/settings/links", off).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let untracked = stack.link(json!({"campaign_id": "spring"})).await;
    let tracked = stack.link(json!({"campaign_id": "spring", "tracking": "full"})).await;

    stack.click(&untracked).await;
    stack.click(&tracked).await;

    let requests = subscriber.received(1).await;
    assert_eq!(body(&requests[0])["data"]["link"]["id"], tracked.id, "only the click after it arrives");
    assert_eq!(recorded(&stack, &untracked).await, 0);
}

/// How many of its clicks are recorded.
pub async fn recorded(stack: &Stack, link: &Link) -> usize {
    let path = format!("/v1/clicks?link_id={}", link.id);
    let (status, page) = stack.api(Method::GET, &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page["data"].as_array().expect("a page").len()
}
