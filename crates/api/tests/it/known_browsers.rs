//! Nobody is kept out of their account by who guesses at it: a browser that they came in with before is counted by itself.

use crate::console::Browser;
use crate::harness::Api;
use crate::people::{PASSWORD, join, sign_in};

#[tokio::test]
async fn who_fails_elsewhere_keeps_nobody_out_who_comes_back_with_their_browser() {
    let api = Api::start_with(|settings| {
        settings.api.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        settings.api.sign_in_account_failures_max = 4;
    })
    .await;
    let mut ada = join(&api, "ada@example.com", "viewer").await;
    join(&api, "bob@example.com", "viewer").await;
    let mut eve = Browser::new(&api);
    for last in 1..=2 {
        eve.forwarded_for = Some(format!("198.51.100.{last}"));
        for _ in 0..2 {
            assert_eq!(sign_in(&mut eve, "ada@example.com", "not the password").await.0, 401);
        }
    }
    assert_eq!(sign_in(&mut eve, "ada@example.com", PASSWORD).await.0, 429, "a new browser has to wait");

    // from the very address that the guesses came from
    ada.forwarded_for.clone_from(&eve.forwarded_for);
    assert_eq!(sign_in(&mut ada, "ada@example.com", PASSWORD).await.0, 303);

    // it guesses no more often than an address may, and knows nobody else
    for _ in 0..3 {
        assert_eq!(sign_in(&mut ada, "ada@example.com", "not the password").await.0, 401);
    }
    let (status, page) = sign_in(&mut ada, "ada@example.com", PASSWORD).await;
    assert_eq!(status, 429);
    assert!(page.contains("with this browser"), "{page}");
    ada.forwarded_for = Some("198.51.100.9".to_owned());
    for _ in 0..3 {
        assert_eq!(sign_in(&mut ada, "bob@example.com", "not the password").await.0, 401);
    }
    let (status, page) = sign_in(&mut ada, "bob@example.com", PASSWORD).await;
    assert_eq!(status, 429);
    assert!(page.contains("from your address"), "{page}");
}

#[tokio::test]
async fn many_browsers_that_somebody_came_in_with_are_counted_together() {
    let api = Api::start_with(|settings| settings.api.sign_in_failures_max = 1).await;
    join(&api, "ada@example.com", "viewer").await;
    let mut browsers: Vec<Browser<'_>> = (0..6).map(|_| Browser::new(&api)).collect();
    for browser in &mut browsers {
        assert_eq!(sign_in(browser, "ada@example.com", PASSWORD).await.0, 303);
    }

    let mut last = browsers.pop().expect("one more than guess");
    for browser in &mut browsers {
        assert_eq!(sign_in(browser, "ada@example.com", "not the password").await.0, 401);
    }

    let (status, page) = sign_in(&mut last, "ada@example.com", "not the password").await;
    assert_eq!(status, 429);
    assert!(page.contains("with this e-mail address"), "{page}");
}

#[tokio::test]
async fn another_password_ends_what_browsers_are_known_by_but_not_where_it_was_chosen() {
    let api = Api::start_with(|settings| settings.api.sign_in_account_failures_max = 1).await;
    let mut ada = join(&api, "ada@example.com", "viewer").await;
    let mut eve = Browser::new(&api);
    assert_eq!(sign_in(&mut eve, "ada@example.com", PASSWORD).await.0, 303);
    let wanted = "a dozen of blue eels";
    ada.fill("/account", "/account/password", &[("current", PASSWORD), ("password", wanted)]).await;

    assert_eq!(sign_in(&mut eve, "ada@example.com", PASSWORD).await.0, 401);
    let (status, page) = sign_in(&mut eve, "ada@example.com", PASSWORD).await;
    assert_eq!(status, 429);
    assert!(page.contains("with this e-mail address"), "{page}");
    assert_eq!(sign_in(&mut ada, "ada@example.com", wanted).await.0, 303);
}

#[tokio::test]
async fn what_says_that_a_browser_is_known_opens_nothing_and_cannot_be_made() {
    let api = Api::start_with(|settings| settings.api.sign_in_account_failures_max = 1).await;
    let ada = join(&api, "ada@example.com", "viewer").await;
    let mut other = Browser::new(&api);

    other.keep_cookie("clickwire_known", &ada.cookies["clickwire_known"]);
    assert_eq!(other.open("/").await.1, "/login");
    other.keep_cookie("clickwire_known", &ada.cookies["clickwire_session"]);
    assert_eq!(sign_in(&mut other, "ada@example.com", "not the password").await.0, 401);
    assert_eq!(sign_in(&mut other, "ada@example.com", PASSWORD).await.0, 429);
}
