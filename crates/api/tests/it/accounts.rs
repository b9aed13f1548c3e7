//! Accounts of people: signing in and how guessing is slowed, sessions, passwords.

use std::time::Duration;

use reqwest::Method;

use crate::console::Browser;
use crate::harness::Api;
use crate::people::{PASSWORD, audited, invite, join, person_id, sign_in};

#[tokio::test]
async fn guessing_is_slowed_by_account_wherever_it_comes_from() {
    let api = Api::start_with(|settings| {
        settings.api.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        settings.api.sign_in_account_failures_max = 2;
    })
    .await;
    join(&api, "ada@example.com", "viewer").await;
    join(&api, "bob@example.com", "viewer").await;
    let mut browser = Browser::new(&api);

    let mut words = Vec::new();
    for (last, email) in ["ada@example.com", "nobody@example.com"].into_iter().enumerate() {
        browser.forwarded_for = Some(format!("198.51.100.{last}"));
        let (status, page) = sign_in(&mut browser, email, "not the password").await;
        assert_eq!(status, 401);
        let (_, said) = page.split_once("role=\"alert\">").expect("a message");
        words.push(said.split_once('<').expect("its end").0.to_owned());
    }
    assert_eq!(words[0], words[1], "nobody learns who there is");

    browser.forwarded_for = Some("198.51.100.7".to_owned());
    assert_eq!(sign_in(&mut browser, "ADA@example.com", "not the password").await.0, 401);
    browser.forwarded_for = Some("198.51.100.8".to_owned());
    assert_eq!(sign_in(&mut browser, "ada@example.com", PASSWORD).await.0, 429);
    assert_eq!(sign_in(&mut browser, "bob@example.com", PASSWORD).await.0, 303);
}

#[tokio::test]
async fn guessing_is_slowed_by_address_whoever_is_tried() {
    let api = Api::start().await;
    join(&api, "ada@example.com", "viewer").await;
    let mut browser = Browser::new(&api);
    for guess in ["x@example.com", "y@example.com", "z@example.com"] {
        assert_eq!(sign_in(&mut browser, guess, PASSWORD).await.0, 401);
    }

    // nobody is a proxy here: what the header says is not believed
    browser.forwarded_for = Some("198.51.100.9".to_owned());
    let (status, page) = sign_in(&mut browser, "ada@example.com", PASSWORD).await;
    assert_eq!(status, 429);
    assert!(page.contains("from your address"), "{page}");
}

#[tokio::test]
async fn a_sign_in_begins_a_session_of_its_own_and_ends_the_one_before() {
    let api = Api::start().await;
    let mut browser = join(&api, "ada@example.com", "viewer").await;
    let before = browser.cookies.clone();

    assert_eq!(sign_in(&mut browser, "ada@example.com", PASSWORD).await.0, 303);

    assert_ne!(browser.cookies["clickwire_session"], before["clickwire_session"]);
    assert_eq!(browser.open("/").await.0, 200);
    browser.cookies = before;
    assert_eq!(browser.open("/").await, (303, "/login".to_owned()));
}

#[tokio::test]
async fn cookies_over_https_are_taken_from_the_host_alone() {
    let api = Api::start_with(|settings| settings.api.secure_cookies = true).await;
    let browser = join(&api, "ada@example.com", "viewer").await;

    assert!(browser.cookies.keys().all(|name| name.starts_with("__Host-")), "{:?}", browser.cookies.keys());
    let mut browser = Browser::new(&api);
    let response = api.request(Method::GET, "/login").send().await.expect("an answer");
    let cookie = response.headers()["set-cookie"].to_str().expect("text").to_owned();
    for part in ["__Host-clickwire_form=", "; Secure", "; HttpOnly", "; Path=/", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    assert!(!cookie.contains("Domain="), "{cookie}");
    assert_eq!(sign_in(&mut browser, "ada@example.com", PASSWORD).await.0, 303);
}

#[tokio::test]
async fn a_person_ends_their_sessions_one_by_one_and_all_at_once() {
    let api = Api::start().await;
    let mut here = join(&api, "ada@example.com", "viewer").await;
    let mut there = Browser::new(&api);
    sign_in(&mut there, "ada@example.com", PASSWORD).await;
    let (_, page) = here.open("/account").await;
    let (_, rest) = page.split_once("/account/sessions/").expect("another session");
    let id = rest.split_once('/').expect("an id").0.to_owned();

    here.fill("/account", &format!("/account/sessions/{id}/end"), &[]).await;
    assert_eq!(there.open("/").await.1, "/login");
    assert_eq!(here.open("/").await.0, 200);

    sign_in(&mut there, "ada@example.com", PASSWORD).await;
    let token = here.token("/account").await;
    assert_eq!(here.submit("/account/sign-out-everywhere", &[("csrf", &token)]).await.1, "/login");
    assert_eq!((here.open("/").await.1.as_str(), there.open("/").await.1.as_str()), ("/login", "/login"));
    assert_eq!(
        audited(&api, "person.signed_out_everywhere").await["subject"],
        *person_id(&api, "ada@example.com").await
    );

    // nobody ends another's
    let mut eve = join(&api, "eve@example.com", "viewer").await;
    sign_in(&mut here, "ada@example.com", PASSWORD).await;
    let token = eve.token("/account").await;
    let (_, page) = here.open("/settings/people").await;
    assert!(page.contains("ada@example.com"));
    assert_eq!(eve.submit(&format!("/account/sessions/{id}/end"), &[("csrf", &token)]).await.0, 404);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_not_the_cookie_alone() {
    let api = Api::start().await;
    let mut browser = join(&api, "ada@example.com", "viewer").await;
    let before = browser.cookies.clone();
    let token = browser.token("/account").await;

    browser.submit("/logout", &[("csrf", &token)]).await;

    browser.cookies = before;
    assert_eq!(browser.open("/").await.1, "/login");
}

#[tokio::test]
async fn a_session_that_is_not_used_ends() {
    let api = Api::start_with(|settings| settings.api.session_idle = Duration::ZERO).await;
    let path = invite(&api, &api.key, "ada@example.com", "viewer").await;
    let mut browser = Browser::new(&api);
    let token = browser.token(&path).await;
    browser.submit(&path, &[("csrf", &token), ("name", "Ada"), ("password", PASSWORD)]).await;

    assert_eq!(browser.open("/").await.1, "/login");
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let api = Api::start().await;
    let mut here = join(&api, "ada@example.com", "viewer").await;
    let mut there = Browser::new(&api);
    sign_in(&mut there, "ada@example.com", PASSWORD).await;
    let wanted = "a dozen of blue eels";

    let token = here.token("/account").await;
    let wrong = [("csrf", token.as_str()), ("current", "not the password"), ("password", wanted)];
    let (status, page) = here.submit("/account/password", &wrong).await;
    assert_eq!(status, 422);
    assert!(page.contains("id=\"current-wrong\">Is not your password."), "{page}");
    let page =
        here.fill("/account", "/account/password", &[("current", PASSWORD), ("password", wanted)]).await;

    assert!(page.contains("Your password is changed"), "{page}");
    assert_eq!(there.open("/").await.1, "/login");
    assert_eq!(sign_in(&mut there, "ada@example.com", PASSWORD).await.0, 401);
    assert_eq!(sign_in(&mut there, "ada@example.com", wanted).await.0, 303);
    assert_eq!(
        audited(&api, "person.password_changed").await["actor"],
        *person_id(&api, "ada@example.com").await
    );
}

#[tokio::test]
async fn an_owner_makes_a_link_for_a_new_password() {
    let api = Api::start().await;
    let mut owner = join(&api, "bob@example.com", "owner").await;
    let mut ada = join(&api, "ada@example.com", "viewer").await;
    let id = person_id(&api, "ada@example.com").await;
    let wanted = "a dozen of blue eels";

    let page = owner.fill("/settings/people", &format!("/settings/people/{id}/reset"), &[]).await;
    let (_, rest) = page.split_once("data-link>").expect("a link");
    let url: url::Url = rest.split_once('<').expect("its end").0.parse().expect("a URL");
    assert!(!owner.open("/settings/people").await.1.contains("data-link"), "it is shown once");
    assert_eq!(ada.open("/").await.0, 200, "the old password holds until the link is used");

    let mut elsewhere = Browser::new(&api);
    elsewhere.fill(url.path(), url.path(), &[("password", wanted)]).await;
    assert_eq!(ada.open("/").await.1, "/login");
    assert_eq!(sign_in(&mut ada, "ada@example.com", PASSWORD).await.0, 401);
    assert_eq!(sign_in(&mut ada, "ada@example.com", wanted).await.0, 303);
    assert_eq!(elsewhere.open(url.path()).await.0, 404);
    assert_eq!(audited(&api, "person.password_reset").await["actor"], *id);
}

#[tokio::test]
async fn a_key_has_no_account() {
    let api = Api::start().await;
    let mut browser = Browser::signed_in(&api).await;

    let (status, page) = browser.open("/account").await;
    assert_eq!(status, 200);
    assert!(page.contains("You signed in with an API key"), "{page}");
    let token = browser.token("/account").await;
    let fields = [("csrf", token.as_str()), ("current", ""), ("password", PASSWORD)];
    assert_eq!(browser.submit("/account/password", &fields).await.0, 404);
}

#[tokio::test]
async fn a_hostile_name_is_shown_as_text_wherever_it_stands() {
    let api = Api::start().await;
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let path = invite(&api, &api.key, "ada@example.com", "owner").await;
    let mut ada = Browser::new(&api);
    let token = ada.token(&path).await;
    let fields = [("csrf", token.as_str()), ("name", hostile), ("password", "short")];
    let (_, again) = ada.submit(&path, &fields).await;
    ada.fill(&path, &path, &[("name", hostile), ("password", PASSWORD)]).await;

    let mut pages = vec![again];
    for path in ["/", "/account", "/settings/people", "/settings/activity"] {
        pages.push(ada.open(path).await.1);
    }
    for page in pages {
        assert!(
            page.contains("&#60;script&#62;") && !page.contains("<script>") && !page.contains("<img src=x"),
            "{page}"
        );
    }
}
