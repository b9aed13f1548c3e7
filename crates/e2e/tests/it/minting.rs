//! Recipients' links from a sender who asks nobody, to the webhook.

use std::collections::BTreeMap;

use model::minting::{MintingKey, RecipientLink};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{Answer, Subscriber, until};

use crate::services::LIMIT;
use crate::stack::{PERSON, Stack, body};

/// Whom a message is sent to.
const RECIPIENTS: [u64; 3] = [17, 18, u64::MAX];

/// A template of a campaign, and what makes links of it.
async fn template(stack: &Stack) -> (String, MintingKey, u32) {
    let link = stack.link(json!({"campaign_id": "spring", "message_id": "msg_1", "channel": "sms"})).await;
    let (status, opened) =
        stack.api(Method::PUT, &format!("/v1/links/{}/template", link.id), Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{opened}");
    assert_eq!(opened["url_prefix"], "https://go.example.com/_");
    let (status, made) = stack.api(Method::POST, "/v1/minting-keys", Value::Null).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let key = made["key"].as_str().expect("a key").parse().expect("a minting key");
    let number = opened["number"].as_u64().and_then(|number| u32::try_from(number).ok());
    (link.id, key, number.expect("a number"))
}

#[tokio::test]
async fn a_recipients_click_reaches_the_subscriber_with_the_recipient_and_is_the_first_of_each() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let (link, key, template) = template(&stack).await;
    let path = |recipient| format!("_{}", key.token(&RecipientLink { template, recipient, ends_on: None }));

    for recipient in RECIPIENTS {
        assert_eq!(stack.visit(&path(recipient), &PERSON).await.status(), StatusCode::FOUND);
    }
    let told: Vec<Value> = subscriber.received(3).await.iter().map(body).collect();
    assert_eq!(stack.visit(&path(17), &PERSON).await.status(), StatusCode::FOUND);
    let again = body(subscriber.received(4).await.last().expect("a request"));

    let first: BTreeMap<String, Value> = told
        .iter()
        .map(|told| (text(&told["data"]["contact_id"]), told["data"]["is_first_click"].clone()))
        .collect();
    let expected = RECIPIENTS.map(|recipient| (recipient.to_string(), json!(true)));
    assert_eq!(first, BTreeMap::from(expected));
    for told in &told {
        let data = &told["data"];
        assert_eq!(
            (text(&data["link"]["id"]), &data["campaign_id"]),
            (link.clone(), &json!("spring")),
            "{told}"
        );
        assert_eq!(data["message_id"], "msg_1");
    }
    assert_eq!(
        (&again["data"]["contact_id"], &again["data"]["is_first_click"]),
        (&json!("17"), &json!(false))
    );

    until(LIMIT, async || {
        let (_, clicks) = stack.api(Method::GET, "/v1/clicks?contact_id=17", Value::Null).await;
        (clicks["data"].as_array().map(Vec::len) == Some(2)).then_some(())
    })
    .await;
    let (_, links) = stack.api(Method::GET, "/v1/links", Value::Null).await;
    assert_eq!(links["data"].as_array().map(Vec::len), Some(1), "recipients are no links: {links}");
}

#[tokio::test]
async fn a_revoked_key_closes_what_it_signed() {
    let stack = Stack::start().await;
    let (_, key, template) = template(&stack).await;
    let path = format!("_{}", key.token(&RecipientLink { template, recipient: 17, ends_on: None }));
    assert_eq!(stack.visit(&path, &PERSON).await.status(), StatusCode::FOUND);
    let (_, keys) = stack.api(Method::GET, "/v1/minting-keys", Value::Null).await;
    let id = text(&keys["data"][0]["id"]);

    let (status, _) = stack.api(Method::DELETE, &format!("/v1/minting-keys/{id}"), Value::Null).await;

    assert_eq!(status, StatusCode::NO_CONTENT);
    until(LIMIT, async || {
        (stack.visit(&path, &PERSON).await.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
