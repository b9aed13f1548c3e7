//! What a visitor gets, and what is told of the visit.

use bus::{Changed, Table};
use chrono::{TimeDelta, Utc};
use model::click::IpQuality;
use model::link::{QueryMode, RedirectStatus, Tracking};
use model::{AddressTreatment, DestinationUrl, Utm};
use redirect::settings::Prefetch;
use store::links::LinkOptions;
use store::settings::LinkSettings;
use testkit::until;

use crate::client::{get, post, send};
use crate::house::{House, LIMIT, Running, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_followed_with_headers_that_nobody_keeps() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = house.start().await;

    let answer = get(redirect.addr, "/abc", &[]).await;

    insta::assert_snapshot!(format!("{}\n\n{}", answer.head, answer.body), @r#"
    HTTP/1.1 302 Found
    cache-control: private, no-store, max-age=0
    content-length: 111
    content-security-policy: default-src 'none'
    content-type: text/html; charset=utf-8
    location: https://example.com/offer?utm_source=sms
    referrer-policy: strict-origin-when-cross-origin
    x-content-type-options: nosniff
    x-robots-tag: noindex, nofollow

    <!doctype html>
    <title>Redirect</title>
    <p><a href="https://example.com/offer?utm_source=sms">Continue</a></p>
    "#);
    for other in ["/abc/", "/ABC", "/a%62c"] {
        assert_eq!(get(redirect.addr, other, &[]).await, answer, "{other}");
    }
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_tells_what_the_visitor_sent() {
    let house = House::new().await;
    house.decide(LinkSettings { address_treatment: AddressTreatment::Keep, ..LinkSettings::default() }).await;
    let id = house.link("abc", options()).await;
    let redirect = house.start().await;

    let headers = [
        ("user-agent", "Mozilla/5.0"),
        ("referer", "https://chat.example.com/room?token=1"),
        ("accept-language", "sv-SE"),
        ("x-forwarded-for", "198.51.100.7"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let answer = get(redirect.addr, "/abc?utm_source=other&ref=7", &headers).await;

    assert_eq!(answer.location(), "https://example.com/offer?utm_source=sms&ref=7");
    let clicks = house.clicks_when(1).await;
    let click = &clicks[0];
    assert_eq!(click.workspace_id, house.workspace_id);
    assert_eq!((click.link.id, click.link.revision), (id, 1));
    assert_eq!(click.link.tracked_url, "https://go.example.com/abc");
    assert_eq!(click.link.original_url, "https://example.com/offer?utm_source=sms");
    assert_eq!(click.link.labels.contact_id.as_deref(), Some("cont_9"));
    assert_eq!(click.destination_url, answer.location());
    assert_eq!(click.address_treatment, AddressTreatment::Keep);
    assert_eq!(click.traceparent.as_deref(), Some(headers[4].1));
    assert_eq!(click.request.method, "GET");
    assert_eq!(click.request.user_agent.as_deref(), Some("Mozilla/5.0"));
    assert_eq!(click.request.referrer.as_deref(), Some("https://chat.example.com/room"));
    assert_eq!(click.request.language(), Some("sv-SE"));
    // nobody vouches for the header
    assert_eq!(click.request.ip, Some("127.0.0.1".parse().expect("an address")));
    assert_eq!(click.request.ip_quality, IpQuality::Direct);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_names_the_visitor() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.trusted_proxies =
        vec!["127.0.0.0/8".parse().expect("a network"), "10.0.0.0/8".parse().expect("a network")];
    let redirect = Running::start(settings).await;

    get(redirect.addr, "/abc", &[("x-forwarded-for", "1.1.1.1, 198.51.100.7, 10.0.0.2")]).await;

    let clicks = house.clicks_when(1).await;
    assert_eq!(clicks[0].request.ip, Some("198.51.100.7".parse().expect("an address")));
    assert_eq!(clicks[0].request.ip_quality, IpQuality::Proxied);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_like_get_and_recorded() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = house.start().await;

    let got = get(redirect.addr, "/abc", &[]).await;
    let headed = send(redirect.addr, "HEAD", "/abc", &[]).await;

    assert_eq!((headed.status, &headed.head), (302, &got.head));
    assert_eq!(headed.body, "");
    for path in ["/unknown", "/robots.txt", "/abc+"] {
        let (got, headed) =
            (get(redirect.addr, path, &[]).await, send(redirect.addr, "HEAD", path, &[]).await);
        assert_eq!((headed.head, headed.body.as_str()), (got.head, ""), "{path}");
    }
    let clicks = house.clicks_when(2).await;
    let methods: Vec<_> = clicks.iter().map(|click| click.request.method.as_str()).collect();
    assert_eq!(methods, ["GET", "HEAD"]);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_ahead_is_served_and_recorded_with_the_evidence() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = house.start().await;

    let answer = get(redirect.addr, "/abc", &[("sec-purpose", "prefetch;prerender")]).await;

    assert_eq!((answer.status, answer.location()), (302, options().original_url.as_str()));
    let clicks = house.clicks_when(1).await;
    assert_eq!(clicks[0].request.header("sec-purpose"), Some("prefetch;prerender"));
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_ahead_is_refused_when_settings_say_so() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.prefetch = Prefetch::Refuse;
    let redirect = Running::start(settings).await;

    for (name, value) in [("sec-purpose", "prefetch"), ("purpose", "prefetch"), ("x-moz", "prefetch")] {
        let answer = get(redirect.addr, "/abc", &[(name, value)]).await;
        assert_eq!((answer.status, answer.header("location")), (503, None), "{name}");
        assert_eq!(answer.header("cache-control"), Some("private, no-store, max-age=0"));
    }
    assert_eq!(redirect.count("answers", "prefetch_refused"), 3);
    assert_eq!(get(redirect.addr, "/abc", &[("user-agent", "a person")]).await.status, 302);
    assert_eq!(house.clicks_when(1).await[0].request.user_agent.as_deref(), Some("a person"));
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_keep_the_method_take_any_and_record_it() {
    let house = House::new().await;
    for (slug, status_code) in [
        ("found", RedirectStatus::Found),
        ("temporary", RedirectStatus::TemporaryRedirect),
        ("permanent", RedirectStatus::PermanentRedirect),
    ] {
        house.link(slug, LinkOptions { status_code, ..options() }).await;
    }
    let redirect = house.start().await;

    assert_eq!(post(redirect.addr, "/temporary", "a=1", &[]).await.status, 307);
    for (method, path, status) in [
        ("DELETE", "/permanent", 308),
        ("PROPFIND", "/temporary", 307),
        ("DELETE", "/found", 405),
        ("TRACE", "/temporary", 405),
        ("XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX", "/temporary", 405),
        ("POST", "/unknown", 404),
        ("POST", "/robots.txt", 405),
        ("POST", "/temporary+", 405),
    ] {
        let answer = send(redirect.addr, method, path, &[("content-length", "0")]).await;
        assert_eq!(answer.status, status, "{method} {path}");
    }

    let clicks = house.clicks_when(3).await;
    let methods: Vec<_> = clicks.iter().map(|click| click.request.method.as_str()).collect();
    assert_eq!(methods, ["POST", "DELETE", "PROPFIND"]);
    redirect.stop().await;
}

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
async fn a_domain_may_be_written_in_any_script() {
    let house = House::new().await;
    let host = "bücher.example";
    house.domain_of_its_own(host, "abc").await;
    let redirect = house.start().await;

    for host in [host, "xn--bcher-kva.example", "BÜCHER.example.:8080"] {
        assert_eq!(get(redirect.addr, "/abc", &[("host", host)]).await.status, 302, "{host}");
    }
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 404);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_to_use_https_alone_when_settings_say_so() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.hsts = std::time::Duration::from_secs(31_536_000);
    let redirect = Running::start(settings).await;

    for path in ["/abc", "/abc+", "/unknown", "/robots.txt", "/favicon.ico", "/livez", "/.env", "/", "/a/b"] {
        let answer = get(redirect.addr, path, &[]).await;
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"), "{path}");
    }
    let put = send(redirect.addr, "PUT", "/robots.txt", &[("content-length", "0")]).await;
    assert_eq!((put.status, put.header("strict-transport-security")), (405, Some("max-age=31536000")));
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
async fn any_host_leads_to_the_default_domain_when_settings_say_so() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.links.any_host = true;
    let redirect = Running::start(settings).await;

    for host in ["localhost:8080", "127.0.0.1", "go.example.com"] {
        assert_eq!(get(redirect.addr, "/abc", &[("host", host)]).await.status, 302, "{host}");
    }

    let clicks = house.clicks_when(3).await;
    assert!(clicks.iter().all(|click| click.link.domain == "go.example.com"));
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
async fn a_link_that_is_not_tracked_redirects_and_records_nothing() {
    let house = House::new().await;
    house.link("off", LinkOptions { tracking: Tracking::Off, ..options() }).await;
    house.link("on", options()).await;
    let redirect = house.start().await;

    assert_eq!(get(redirect.addr, "/off", &[]).await.status, 302);
    assert_eq!(get(redirect.addr, "/on", &[]).await.status, 302);

    assert_eq!(house.clicks_when(1).await[0].link.slug, "on");
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_that_caches_keep_are_kept_briefly_and_by_the_visitor_alone() {
    let house = House::new().await;
    for (slug, status_code) in [
        ("moved", RedirectStatus::MovedPermanently),
        ("permanent", RedirectStatus::PermanentRedirect),
        ("temporary", RedirectStatus::TemporaryRedirect),
    ] {
        house.link(slug, LinkOptions { status_code, query_mode: QueryMode::Drop, ..options() }).await;
    }
    let redirect = house.start().await;

    for (path, status, cache_control) in [
        ("/moved?a=1", 301, "private, max-age=90"),
        ("/permanent?a=1", 308, "private, max-age=90"),
        ("/temporary?a=1", 307, "private, no-store, max-age=0"),
    ] {
        let answer = get(redirect.addr, path, &[]).await;
        assert_eq!((answer.status, answer.header("cache-control")), (status, Some(cache_control)));
        assert_eq!(answer.location(), "https://example.com/offer?utm_source=sms");
    }
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn campaign_parameters_and_the_visitors_query_meet_as_the_link_says() {
    let house = House::new().await;
    let utm = || Utm { source: Some("mail".into()), campaign: Some("spring".into()), ..Utm::default() };
    let modes = [
        ("fill", QueryMode::FillMissing, "?utm_source=mail&utm_campaign=spring&ref=7"),
        ("drop", QueryMode::Drop, "?utm_source=mail&utm_campaign=spring"),
        ("append", QueryMode::Append, "?utm_source=mail&utm_campaign=spring&utm_source=me&ref=7"),
        ("override", QueryMode::Override, "?utm_source=me&utm_campaign=spring&ref=7"),
    ];
    for (slug, query_mode, _) in modes {
        house.link(slug, LinkOptions { utm: utm(), query_mode, ..options() }).await;
    }
    let redirect = house.start().await;

    for (slug, _, expected) in modes {
        let plain = get(redirect.addr, &format!("/{slug}"), &[]).await;
        assert_eq!(plain.location(), "https://example.com/offer?utm_source=mail&utm_campaign=spring");
        let answer = get(redirect.addr, &format!("/{slug}?utm_source=me&ref=7"), &[]).await;
        assert_eq!(answer.location(), format!("https://example.com/offer{expected}"), "{slug}");
    }
    let clicks = house.clicks_when(8).await;
    assert_eq!(clicks[0].link.original_url, "https://example.com/offer?utm_source=sms");
    assert_eq!(clicks[0].destination_url, "https://example.com/offer?utm_source=mail&utm_campaign=spring");
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_follow_links_is_refused() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = house.start().await;

    let posted = send(redirect.addr, "POST", "/abc", &[("content-length", "0")]).await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    let asked = send(redirect.addr, "OPTIONS", "/abc", &[]).await;
    assert_eq!((asked.status, asked.header("allow")), (204, Some("GET, HEAD")));
    let long = get(redirect.addr, &format!("/abc?a={}", "x".repeat(20_000)), &[]).await;
    assert_eq!((long.status, long.header("cache-control")), (414, Some("private, no-store, max-age=0")));
    let too_much_query = get(redirect.addr, &format!("/abc?a={}", "x".repeat(9_000)), &[]).await;
    assert_eq!(too_much_query.location(), "https://example.com/offer?utm_source=sms");
    assert_eq!(get(redirect.addr, "/robots.txt", &[]).await.body, "User-agent: *\nDisallow:\n");
    assert_eq!(get(redirect.addr, "/favicon.ico", &[]).await.status, 204);
    redirect.stop().await;
}
