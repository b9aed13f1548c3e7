//! What is shown once, right after it was made or asked for, is shown where that was done and to who may still see it.

use serde_json::json;

use crate::console::Browser;
use crate::harness::Api;
use crate::people::{join, person_id};

#[tokio::test]
async fn a_new_key_and_a_link_are_shown_in_the_session_that_made_them_alone() {
    let api = Api::start().await;
    let (mut browser, mut other) = (Browser::signed_in(&api).await, Browser::signed_in(&api).await);
    let made = [
        ("/settings/keys", "/settings/keys", [("name", "CI"), ("scopes", "links:read")], "data-key>"),
        (
            "/settings/people",
            "/settings/people/invite",
            [("email", "ada@example.com"), ("role", "viewer")],
            "data-link>",
        ),
    ];

    for (page, action, [one, two], mark) in made {
        let token = browser.token(page).await;
        assert_eq!(browser.submit(action, &[("csrf", &token), one, two]).await.0, 303);

        other.keep_cookie("clickwire_flash", &browser.cookies["clickwire_flash"]);
        assert!(!other.open(page).await.1.contains(mark), "{page}: it is another's");
        assert!(browser.open(page).await.1.contains(mark), "{page}");
        assert!(!browser.open(page).await.1.contains(mark), "{page}: once");
    }
}

#[tokio::test]
async fn a_secret_is_not_shown_to_who_may_not_see_it_any_more() {
    let api = Api::start().await;
    let path = format!("/settings/webhooks/{}", api.endpoint().await);
    join(&api, "bob@example.com", "owner").await;
    let mut ada = join(&api, "ada@example.com", "owner").await;
    let person = format!("/v1/people/{}", person_id(&api, "ada@example.com").await);
    let shown = |page: &str| page.matches("data-secret").count();
    let token = ada.token(&path).await;

    assert_eq!(ada.submit(&format!("{path}/reveal"), &[("csrf", &token)]).await.0, 303);
    assert_eq!(api.patch(&person, json!({"role": "operator"})).await.status, 200);
    let (status, page) = ada.open(&path).await;
    assert_eq!((status, shown(&page)), (200, 0), "{page}");

    let page = ada.fill(&path, &format!("{path}/rotate"), &[]).await;
    assert_eq!(shown(&page), 1, "an operator sees the one that they make: {page}");

    assert_eq!(ada.submit(&format!("{path}/rotate"), &[("csrf", &token)]).await.0, 303);
    assert_eq!(api.patch(&person, json!({"role": "viewer"})).await.status, 200);
    assert_eq!(shown(&ada.open(&path).await.1), 0, "a viewer sees none");
}
