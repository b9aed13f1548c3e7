//! The page that tells where a link leads.

use chrono::{TimeDelta, Utc};
use model::PasswordHash;
use store::links::LinkOptions;

use crate::client::get;
use crate::house::{House, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_plus_behind_a_link_tells_where_it_leads_and_leads_nowhere() {
    let house = House::new().await;
    let original_url = "https://example.com/offer?a=1&b='<script>".parse().expect("a URL");
    house.link("abc", LinkOptions { original_url, ..options() }).await;
    let redirect = house.start().await;

    let answer = get(redirect.addr, "/abc+", &[]).await;

    insta::assert_snapshot!(answer.shown(), @r#"
    HTTP/1.1 200 OK
    cache-control: private, no-store, max-age=0
    content-length: 1359
    content-security-policy: default-src 'none'; style-src 'sha256-vRrB2rGxkwKLP1Axcay9W31764tzkzH6WBrYwBPI7rA='; base-uri 'none'; frame-ancestors 'none'
    content-type: text/html; charset=utf-8
    referrer-policy: no-referrer
    x-content-type-options: nosniff
    x-robots-tag: noindex, nofollow

    <!doctype html>
    <html lang="en">
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>About this link</title>
    <style></style>
    <main>
    <h1>About this link</h1>
    <p>go.example.com/abc</p>
    <p>It is active, and leads to:</p>
    <p>https://<strong>example.com</strong>/offer?a=1&amp;b=%27%3Cscript%3E</p>
    <p>Looking at this page does not count as a click.</p>
    </main>
    </html>
    "#);
    assert_eq!(get(redirect.addr, "/ABC%2b/", &[]).await, answer);
    // it was no click: the first one is the next visit's
    get(redirect.addr, "/abc", &[("user-agent", "a visitor")]).await;
    assert_eq!(house.clicks_when(1).await[0].request.user_agent.as_deref(), Some("a visitor"));
    assert_eq!(redirect.count("answers", "inspected"), 2);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_or_closed_is_not_shown() {
    let house = House::new().await;
    let now = Utc::now();
    let password = Some(PasswordHash::of("open").expect("randomness"));
    house.link("secret", LinkOptions { password, ..options() }).await;
    house.link("disabled", LinkOptions { enabled: false, ..options() }).await;
    house.link("early", LinkOptions { starts_at: Some(now + TimeDelta::hours(1)), ..options() }).await;
    house.link("expired", LinkOptions { expires_at: Some(now - TimeDelta::hours(1)), ..options() }).await;
    let redirect = house.start().await;

    for (path, told) in [
        ("/secret+", "It is active, and asks for a password"),
        ("/disabled+", "It is not active: it was switched off."),
        ("/early+", "It is not active: its time has not come."),
        ("/expired+", "It is not active: its time is over."),
    ] {
        let answer = get(redirect.addr, path, &[]).await;
        assert_eq!((answer.status, answer.header("location")), (200, None), "{path}");
        assert!(answer.body.contains(told), "{}", answer.body);
        assert!(!answer.body.contains("https://example.com"), "{}", answer.body);
    }
    assert_eq!(get(redirect.addr, "/unknown+", &[]).await.status, 404);
    redirect.stop().await;
}
