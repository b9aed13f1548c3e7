//! Visits that no link answers: what is not there, and what is closed.

use bus::{Changed, Table};
use chrono::{TimeDelta, Utc};
use model::DestinationUrl;
use store::links::LinkOptions;
use store::settings::LinkSettings;
use testkit::until;

use crate::client::{get, send};
use crate::house::{House, LIMIT, Running, options};

#[tokio::test(flavor = "multi_thread")]
async fn scanners_are_answered_at_once_and_counted_apart() {
    let house = House::new().await;
    let redirect = house.start().await;

    for path in ["/wp-login.php", "/.env", "/.git/config", "/a/b/index.PHP", "/wp-content/x"] {
        assert_eq!(get(redirect.addr, path, &[]).await.status, 404, "{path}");
    }

    assert_eq!(redirect.count("answers", "scanner_noise"), 5);
    assert_eq!(redirect.count("answers", "not_found"), 0);
    assert_eq!(redirect.count("lookups", "database"), 0);
    redirect.stop().await;
}

/// Acceptance test 11 of links and clicks.
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_percent_encoding_is_not_found() {
    let house = House::new().await;
    house.link("a", options()).await;
    let redirect = house.start().await;

    for path in ["/%", "/a%", "/a%2", "/a%zz", "/%ff", "/%c3%28", "/%00", "/a%00", "/%2561", "/a%2f"] {
        assert_eq!(get(redirect.addr, path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(get(redirect.addr, "/%61", &[]).await.status, 302);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_a_small_page_that_nobody_keeps() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = house.start().await;

    let answer = get(redirect.addr, "/unknown", &[]).await;

    insta::assert_snapshot!(answer.shown(), @r#"
    HTTP/1.1 404 Not Found
    cache-control: private, no-store, max-age=0
    content-length: 1185
    content-security-policy: default-src 'none'; style-src 'sha256-vRrB2rGxkwKLP1Axcay9W31764tzkzH6WBrYwBPI7rA='; base-uri 'none'; frame-ancestors 'none'
    content-type: text/html; charset=utf-8
    referrer-policy: no-referrer
    x-content-type-options: nosniff
    x-robots-tag: noindex, nofollow

    <!doctype html>
    <html lang="en">
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Not found</title>
    <style></style>
    <main>
    <h1>Not found</h1>
    <p>There is no such link.</p>
    </main>
    </html>
    "#);
    for path in ["/", "//abc", "/abc/x", "/%ff", "/%00", "/a%", "/%252e", "/_abc", "/.env", "/livez"] {
        assert_eq!(get(redirect.addr, path, &[]).await.status, 404, "{path}");
    }
    for host in ["other.example.com", "", "go.example.com.evil.example", "a b"] {
        assert_eq!(get(redirect.addr, "/abc", &[("host", host)]).await.status, 404, "{host}");
    }
    for host in ["Go.Example.Com:8080", "go.example.com."] {
        assert_eq!(get(redirect.addr, "/abc", &[("host", host)]).await.status, 302, "{host}");
    }
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_link_leads_to_its_fallback_or_to_a_page_and_is_not_a_click() {
    let house = House::new().await;
    let now = Utc::now();
    let fallback = || Some("https://example.com/over".parse().expect("a URL"));
    house.link("disabled", LinkOptions { enabled: false, ..options() }).await;
    house.link("expired", LinkOptions { expires_at: Some(now - TimeDelta::hours(1)), ..options() }).await;
    house.link("early", LinkOptions { starts_at: Some(now + TimeDelta::hours(1)), ..options() }).await;
    house.link("over", LinkOptions { enabled: false, expired_url: fallback(), ..options() }).await;
    house.link("open", options()).await;
    let redirect = house.start().await;

    for (path, status) in [("/disabled", 410), ("/expired", 410), ("/early", 404)] {
        let answer = get(redirect.addr, path, &[]).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("cache-control"), Some("private, no-store, max-age=0"));
    }
    let answer = get(redirect.addr, "/over?a=1", &[]).await;
    assert_eq!((answer.status, answer.location()), (302, "https://example.com/over"));

    get(redirect.addr, "/open", &[]).await;
    assert_eq!(house.clicks_when(1).await[0].link.slug, "open");
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspaces_fallback_serves_links_without_their_own() {
    let house = House::new().await;
    let fallback_url = Some("https://example.com/all-over".parse().expect("a URL"));
    house.decide(LinkSettings { fallback_url, ..LinkSettings::default() }).await;
    house.link("disabled", LinkOptions { enabled: false, ..options() }).await;
    let redirect = house.start().await;

    assert_eq!(get(redirect.addr, "/disabled", &[]).await.location(), "https://example.com/all-over");
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domains_fallback_serves_its_closed_links_and_slugs_that_no_link_has() {
    let house = House::new().await;
    let url = |path: &str| format!("https://example.com/{path}").parse::<DestinationUrl>().expect("a URL");
    let fallback_url = Some(url("of-settings"));
    house.decide(LinkSettings { fallback_url, ..LinkSettings::default() }).await;
    house.link("disabled", LinkOptions { enabled: false, ..options() }).await;
    let own = LinkOptions { enabled: false, expired_url: Some(url("of-link")), ..options() };
    house.link("own", own).await;
    house.domain_of_its_own("plain.example.com", "x1").await;
    house.fall_back_to(Some(&url("of-domain"))).await;
    let mut settings = house.settings();
    // neither does age help, nor is anybody slowed
    settings.links.refresh = std::time::Duration::from_secs(3600);
    settings.redirect.not_found_per_minute = 0;
    let redirect = Running::start(settings).await;

    let go = "go.example.com";
    // whoever asks first does not wait for long to learn what the host says
    until(LIMIT, async || (get(redirect.addr, "/unknown", &[]).await.status == 302).then_some(())).await;
    for (method, path, host, status, leads_to) in [
        ("GET", "/disabled", go, 302, "of-domain"),
        ("GET", "/own", go, 302, "of-link"),
        ("GET", "/unknown?a=1", go, 302, "of-domain"),
        ("HEAD", "/unknown", go, 302, "of-domain"),
        ("POST", "/unknown", go, 404, ""),
        ("GET", "/unknown+", go, 404, ""),
        ("GET", "/.env", go, 404, ""),
        ("GET", "/", go, 404, ""),
        ("GET", "/unknown", "plain.example.com", 404, ""),
        ("GET", "/unknown", "nobody.example", 404, ""),
    ] {
        let answer = send(redirect.addr, method, path, &[("host", host), ("content-length", "0")]).await;
        let location = answer.header("location").and_then(|url| url.strip_prefix("https://example.com/"));
        assert_eq!(
            (answer.status, location.unwrap_or_default()),
            (status, leads_to),
            "{method} {path} {host}"
        );
        assert_eq!(answer.header("cache-control"), Some("private, no-store, max-age=0"), "{method} {path}");
    }
    let orphans = house.orphans_when(1).await;
    assert!(orphans.iter().any(|(_, orphan)| orphan.path == "/unknown"), "it is still told of");

    house.fall_back_to(None).await;
    let bus = house.nats.bus("test").await;
    let changed = Changed { table: Table::Settings, workspace_id: house.workspace_id, keys: vec![] };
    until(LIMIT, async || {
        bus.notify(&changed).await;
        let gone = get(redirect.addr, "/unknown", &[]).await.status == 404;
        let closed = get(redirect.addr, "/disabled", &[]).await;
        (gone && closed.header("location") == Some("https://example.com/of-settings")).then_some(())
    })
    .await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_to_the_host_that_is_asked_for_sends_nobody_round_in_circles() {
    let house = House::new().await;
    house.link("closed", LinkOptions { enabled: false, ..options() }).await;
    // nobody's domain, and it points here
    let url = "https://alias.example.net./unknown".parse::<DestinationUrl>().expect("a URL");
    house.fall_back_to(Some(&url)).await;
    let mut settings = house.settings();
    settings.links.any_host = true;
    settings.redirect.not_found_per_minute = 0;
    let redirect = Running::start(settings).await;

    until(LIMIT, async || (get(redirect.addr, "/unknown", &[]).await.status == 302).then_some(())).await;
    for (path, host, status) in [
        ("/closed", "go.example.com", 302),
        ("/unknown", "other.example.net", 302),
        ("/unknown", "alias.example.net", 404),
        ("/unknown", "alias.example.net.", 404),
        ("/closed", "alias.example.net", 410),
    ] {
        assert_eq!(get(redirect.addr, path, &[("host", host)]).await.status, status, "{path} {host}");
    }
    redirect.stop().await;
}
