//! Links that are not followed at once: their only click is asked for, messengers are shown a preview, operators block.

use bus::{Changed, Table};
use chrono::Utc;
use model::link::{LinkKind, LinkPreview, RedirectStatus, Tracking};
use model::orphan::OrphanReason;
use model::{DestinationUrl, Utm};
use store::blocks;
use store::links::LinkOptions;
use store::settings::LinkSettings;
use testkit::until;

use crate::client::{get, post, send};
use crate::house::{House, LIMIT, Running, options};

const SLACKBOT: [(&str, &str); 1] =
    [("user-agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)")];
const PERSON: [(&str, &str); 1] = [(
    "user-agent",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
)];

fn for_one_click() -> LinkOptions {
    LinkOptions { max_clicks: Some(1), ..options() }
}

fn with_preview() -> LinkOptions {
    let preview = LinkPreview {
        title: "Spring & sale".into(),
        description: Some("Half price".into()),
        image_url: Some("https://example.com/a.png".parse().expect("a URL")),
    };
    LinkOptions { preview: Some(preview), ..options() }
}

/// Acceptance test 12 of links and clicks.
#[tokio::test(flavor = "multi_thread")]
async fn with_one_click_and_a_slackbot_preview_first_the_person_still_gets_through() {
    let house = House::new().await;
    house.link("abc", for_one_click()).await;
    let redirect = house.start().await;

    let previewed = get(redirect.addr, "/abc", &SLACKBOT).await;
    let asked = get(redirect.addr, "/abc?ref=7", &PERSON).await;
    let followed = post(redirect.addr, "/abc?ref=7", "", &PERSON).await;

    assert_eq!((previewed.status, previewed.header("location")), (200, None));
    insta::assert_snapshot!(asked.shown(), @r#"
    HTTP/1.1 200 OK
    cache-control: private, no-store, max-age=0
    content-length: 1260
    content-security-policy: default-src 'none'; style-src 'sha256-vRrB2rGxkwKLP1Axcay9W31764tzkzH6WBrYwBPI7rA='; base-uri 'none'; frame-ancestors 'none'
    content-type: text/html; charset=utf-8
    referrer-policy: no-referrer
    x-content-type-options: nosniff
    x-robots-tag: noindex, nofollow

    <!doctype html>
    <html lang="en">
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Follow this link?</title>
    <style></style>
    <main>
    <h1>This link can be followed once</h1>
    <form method="post">
    <p><button type="submit">Continue</button></p>
    </form>
    </main>
    </html>
    "#);
    assert_eq!(
        (followed.status, followed.location()),
        (303, "https://example.com/offer?utm_source=sms&ref=7")
    );
    assert_eq!(followed.header("cache-control"), Some("private, no-store, max-age=0"));
    // who only looked is no click, unless it says that it is a machine
    let clicks = house.clicks_when(2).await;
    let told: Vec<_> = clicks.iter().map(|click| click.request.method.as_str()).collect();
    assert_eq!(told, ["GET", "POST"]);
    assert_eq!(clicks[0].request.user_agent.as_deref(), Some(SLACKBOT[0].1));
    assert_eq!(redirect.count("answers", "confirm_asked"), 2);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_link_for_one_recorded_click_asks_first() {
    let house = House::new().await;
    house.link("two", LinkOptions { max_clicks: Some(2), ..options() }).await;
    house.link("off", LinkOptions { tracking: Tracking::Off, ..for_one_click() }).await;
    house.link("pot", LinkOptions { kind: LinkKind::Honeypot, ..for_one_click() }).await;
    house
        .link("post", LinkOptions { status_code: RedirectStatus::TemporaryRedirect, ..for_one_click() })
        .await;
    let redirect = house.start().await;

    assert_eq!(get(redirect.addr, "/two", &PERSON).await.status, 302);
    assert_eq!(get(redirect.addr, "/off", &PERSON).await.status, 302);
    assert_eq!(get(redirect.addr, "/pot", &PERSON).await.status, 302, "a scanner would press no button");
    assert_eq!(get(redirect.addr, "/post", &PERSON).await.status, 200);
    assert_eq!(post(redirect.addr, "/post", "", &PERSON).await.status, 303);
    let headed = send(redirect.addr, "HEAD", "/post", &PERSON).await;
    assert_eq!((headed.status, headed.header("location")), (200, None));
    let put = send(redirect.addr, "PUT", "/post", &[("content-length", "0")]).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD, POST")));
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messengers_are_shown_the_links_preview_and_people_are_redirected() {
    let house = House::new().await;
    house.link("abc", with_preview()).await;
    house.link("plain", options()).await;
    let redirect = house.start().await;

    let shown = get(redirect.addr, "/abc", &SLACKBOT).await;

    insta::assert_snapshot!(format!("{}\n\n{}", shown.head, shown.body), @r#"
    HTTP/1.1 200 OK
    cache-control: private, no-store, max-age=0
    content-length: 479
    content-security-policy: default-src 'none'
    content-type: text/html; charset=utf-8
    referrer-policy: no-referrer
    x-content-type-options: nosniff
    x-robots-tag: noindex, nofollow

    <!doctype html>
    <meta charset="utf-8">
    <title>Spring &amp; sale</title>
    <meta property="og:type" content="website">
    <meta property="og:url" content="https://go.example.com/abc">
    <meta property="og:title" content="Spring &amp; sale">
    <meta property="og:description" content="Half price">
    <meta name="description" content="Half price">
    <meta property="og:image" content="https://example.com/a.png">
    <meta name="twitter:card" content="summary_large_image">
    <p>Spring &amp; sale</p>
    "#);
    assert_eq!(get(redirect.addr, "/abc", &PERSON).await.status, 302);
    assert_eq!(get(redirect.addr, "/plain", &SLACKBOT).await.status, 302);
    let clicks = house.clicks_when(3).await;
    let told: Vec<_> = clicks.iter().map(|click| click.link.slug.as_str()).collect();
    assert_eq!(told, ["abc", "abc", "plain"]);
    assert_eq!(redirect.count("answers", "previewed"), 1);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_honeypots_click_says_so() {
    let house = House::new().await;
    house.link("abc", LinkOptions { kind: LinkKind::Honeypot, ..options() }).await;
    let redirect = house.start().await;

    assert_eq!(get(redirect.addr, "/abc", &PERSON).await.status, 302);

    assert_eq!(house.clicks_when(1).await[0].link.kind, LinkKind::Honeypot);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_link_says_which_methods_it_takes() {
    let house = House::new().await;
    let any = "GET, HEAD, POST, PUT, PATCH, DELETE";
    house.link("found", options()).await;
    house.link("once", for_one_click()).await;
    house.link("any", LinkOptions { status_code: RedirectStatus::PermanentRedirect, ..options() }).await;
    let redirect = house.start().await;

    for (path, allow) in [
        ("/found", "GET, HEAD"),
        ("/once", "GET, HEAD, POST"),
        ("/any", any),
        ("/any+", "GET, HEAD"),
        ("*", "GET, HEAD"),
    ] {
        let answer = send(redirect.addr, "OPTIONS", path, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (204, Some(allow)), "{path}");
        assert_eq!(answer.header("cache-control"), Some("private, no-store, max-age=0"), "{path}");
    }
    let traced = send(redirect.addr, "TRACE", "/any", &[]).await;
    assert_eq!((traced.status, traced.header("allow")), (405, Some(any)));
    assert_eq!(send(redirect.addr, "OPTIONS", "/unknown", &[]).await.status, 404);
    assert!(house.clicks().await.is_empty());
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_link_leads_nowhere_whatever_its_owner_says() {
    let house = House::new().await;
    let expired_url = Some("https://example.com/over".parse().expect("a URL"));
    let id = house.link("abc", LinkOptions { expired_url, ..options() }).await;
    house.domain_of_its_own("all.example.com", "x1").await;
    let mut conn = house.pool.get().await.expect("the database runs");
    let now = Some(Utc::now());
    blocks::set_link(&mut conn, id, now).await.expect("no error").expect("a link");
    let host = "all.example.com".parse().expect("a host");
    blocks::set_domain(&mut conn, &host, now).await.expect("no error").expect("a domain");
    let redirect = house.start().await;

    for (path, host) in [("/abc", "go.example.com"), ("/x1", "all.example.com")] {
        let answer = get(redirect.addr, path, &[("host", host)]).await;
        assert_eq!((answer.status, answer.header("location")), (451, None), "{host}");
        assert_eq!(answer.header("cache-control"), Some("private, no-store, max-age=0"));
    }
    let looked = get(redirect.addr, "/abc+", &[]).await;
    assert!(looked.body.contains("It is not active: it was blocked."), "{}", looked.body);

    let orphans = house.orphans_when(2).await;
    assert!(orphans.iter().all(|(_, orphan)| orphan.reason == OrphanReason::Blocked));
    assert_eq!(redirect.count("answers", "blocked"), 2);
    blocks::set_link(&mut conn, id, None).await.expect("no error").expect("a link");
    drop(conn);
    redirect.stop().await;
    let redirect = house.start().await;
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_has_a_say_of_its_own_in_how_long_browsers_keep_to_https() {
    let house = House::new().await;
    house.link("abc", options()).await;
    house.link("gone", LinkOptions { enabled: false, ..options() }).await;
    house.domain_of_its_own("plain.example.com", "x1").await;
    let mut conn = house.pool.get().await.expect("the database runs");
    store::domains::set_hsts(&mut conn, house.workspace_id, house.domain.id, Some(600)).await.expect("saved");
    drop(conn);
    let mut settings = house.settings();
    settings.redirect.hsts = std::time::Duration::from_secs(60);
    // age does not help
    settings.links.refresh = std::time::Duration::from_secs(3600);
    let redirect = Running::start(settings).await;

    let (own, usual) = (Some("max-age=600"), Some("max-age=60"));
    for (method, path, host, status, expected) in [
        ("GET", "/abc", "go.example.com", 302, own),
        ("GET", "/abc+", "go.example.com", 200, own),
        ("GET", "/gone", "go.example.com", 410, own),
        ("PUT", "/abc", "go.example.com", 405, own),
        ("PUT", "/abc+", "go.example.com", 405, own),
        ("GET", "/x1", "plain.example.com", 302, usual),
        ("PUT", "/x1", "plain.example.com", 405, usual),
        ("GET", "/favicon.ico", "go.example.com", 204, own),
        ("GET", "/unknown", "go.example.com", 404, own),
        ("GET", "/livez", "go.example.com", 404, own),
        ("GET", "/.env", "go.example.com", 404, own),
        ("OPTIONS", "/", "go.example.com", 204, own),
        ("PUT", "/robots.txt", "go.example.com", 405, own),
        ("GET", "/robots.txt", "plain.example.com", 200, usual),
        ("GET", "/unknown", "plain.example.com", 404, usual),
        ("GET", "/unknown", "nobody.example", 404, usual),
    ] {
        let answer = send(redirect.addr, method, path, &[("host", host), ("content-length", "0")]).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("strict-transport-security"), expected, "{method} {path}");
    }

    let mut conn = house.pool.get().await.expect("the database runs");
    store::domains::set_hsts(&mut conn, house.workspace_id, house.domain.id, Some(0)).await.expect("saved");
    drop(conn);
    let bus = house.nats.bus("test").await;
    let changed = Changed { table: Table::Settings, workspace_id: house.workspace_id, keys: vec![] };
    until(LIMIT, async || {
        bus.notify(&changed).await;
        let answer = get(redirect.addr, "/favicon.ico", &[]).await;
        (answer.header("strict-transport-security") == Some("max-age=0")).then_some(())
    })
    .await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_an_app_leads_there_as_it_is_and_nowhere_when_its_scheme_is_not_allowed() {
    let house = House::new().await;
    let original_url = DestinationUrl::of_any_scheme("mailto:a@example.com?subject=x").expect("a URL");
    let utm = Utm { source: Some("sms".into()), ..Utm::default() };
    house.link("abc", LinkOptions { original_url, utm, ..options() }).await;
    let app_schemes = vec!["mailto".parse().expect("a scheme")];
    house.decide(LinkSettings { app_schemes, ..LinkSettings::default() }).await;
    let redirect = house.start().await;

    let answer = get(redirect.addr, "/abc?body=y", &PERSON).await;

    assert_eq!((answer.status, answer.location()), (302, "mailto:a@example.com?subject=x"));
    redirect.stop().await;
    house.decide(LinkSettings::default()).await;
    let redirect = house.start().await;
    assert_eq!(get(redirect.addr, "/abc", &PERSON).await.status, 410);
    redirect.stop().await;
}
