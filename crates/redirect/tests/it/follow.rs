//! What a visitor gets, and what is told of the visit.

use model::click::IpQuality;
use model::link::{QueryMode, RedirectStatus, Tracking};
use model::{AddressTreatment, Utm};
use redirect::settings::Prefetch;
use store::links::LinkOptions;
use store::settings::LinkSettings;

use crate::client::{get, send};
use crate::house::{House, Running, options};

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

/// Acceptance test 5 of links and clicks.
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
