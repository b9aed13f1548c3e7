//! What people do to a link over the API, and what its visitors see of it.

use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{Answer, Subscriber, TestDatabase, until};

use crate::services::LIMIT;
use crate::stack::{Database, IPHONE, PERSON, ROME, Stack, body};
use crate::workspaces::recorded;

/// What unfurls a link in a chat.
const SLACKBOT: &str = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)";

async fn visit(stack: &Stack, slug: &str, user_agent: &str) -> (StatusCode, Option<String>) {
    let answer = stack.visit(slug, &[("user-agent", user_agent), ("x-forwarded-for", ROME)]).await;
    let location = answer.headers().get(LOCATION).map(|url| url.to_str().expect("a URL").to_owned());
    (answer.status(), location)
}

/// Acceptance test 10 of links and clicks.
#[tokio::test]
async fn an_edit_a_disable_and_an_archive_reach_the_redirect_by_notice() {
    // age does not help
    let database = Database::Shared(TestDatabase::new().await);
    let stack = Stack::start_as(database, &[("LINKS__REFRESH", "1h")]).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    let path = format!("/v1/links/{}", link.id);
    let changed = async |method: Method, change: Value, status: StatusCode, location: Option<&str>| {
        let (answer, text) = stack.api(method, &path, change).await;
        assert!(answer.is_success(), "{text}");
        until(LIMIT, async || {
            (visit(&stack, &link.slug, IPHONE).await == (status, location.map(str::to_owned))).then_some(())
        })
        .await;
    };
    stack.click(&link).await;

    let moved = "https://example.com/moved";
    changed(Method::PATCH, json!({"url": moved}), StatusCode::FOUND, Some(moved)).await;
    changed(Method::PATCH, json!({"enabled": false}), StatusCode::GONE, None).await;
    changed(Method::PATCH, json!({"enabled": true}), StatusCode::FOUND, Some(moved)).await;
    changed(Method::DELETE, Value::Null, StatusCode::NOT_FOUND, None).await;

    // the first click, one after each edit that left the link open, and whoever came before its notice
    for request in subscriber.received(3).await {
        let link = &body(&request)["data"]["link"];
        assert_eq!(link["revision"] == 1, link["destination_url"] != moved, "{link}");
    }
}

/// Acceptance test 12 of links and clicks.
#[tokio::test]
async fn a_link_for_one_click_is_used_up_by_a_person_and_not_by_a_preview() {
    let stack = Stack::start().await;
    let link = stack.link(json!({"max_clicks": 1})).await;

    // a preview looks at the page that asks, and is recorded as what it is
    assert_eq!(visit(&stack, &link.slug, SLACKBOT).await, (StatusCode::OK, None));
    until(LIMIT, async || (recorded(&stack, &link).await == 1).then_some(())).await;
    assert_eq!(visit(&stack, &link.slug, IPHONE).await, (StatusCode::OK, None));
    let followed = stack.send_form(&link.slug, &PERSON).await;
    assert_eq!(followed.status(), StatusCode::SEE_OTHER);

    until(LIMIT, async || (visit(&stack, &link.slug, IPHONE).await.0 == StatusCode::GONE).then_some(()))
        .await;
    assert_eq!(stack.send_form(&link.slug, &PERSON).await.status(), StatusCode::GONE);
}
