//! Visits that led nowhere.

use chrono::{TimeDelta, Utc};
use model::link::Tracking;
use model::orphan::OrphanReason;
use model::privacy::{SignalPolicies, SignalPolicy};
use store::links::LinkOptions;
use store::settings::LinkSettings;
use testkit::until;

use crate::client::{get, send};
use crate::house::{House, LIMIT, Running, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_that_led_nowhere_is_told_of_with_its_reason() {
    let house = House::new().await;
    let now = Utc::now();
    let fallback = || Some("https://example.com/over".parse().expect("a URL"));
    let id = house.link("disabled", LinkOptions { enabled: false, ..options() }).await;
    house
        .link(
            "expired",
            LinkOptions { expires_at: Some(now - TimeDelta::hours(1)), expired_url: fallback(), ..options() },
        )
        .await;
    house.link("early", LinkOptions { starts_at: Some(now + TimeDelta::hours(1)), ..options() }).await;
    let redirect = house.start().await;

    let headers = [("user-agent", "Mozilla/5.0"), ("referer", "https://chat.example.com/room?token=1")];
    for path in ["/disabled?a=1", "/expired", "/early", "/unknown", "/a/b", "/"] {
        get(redirect.addr, path, &headers).await;
    }
    send(redirect.addr, "HEAD", "/gone", &[("host", "nobodys.example")]).await;

    let orphans = house.orphans_when(7).await;
    let told: Vec<_> = orphans.iter().map(|(_, orphan)| (orphan.path.as_str(), orphan.reason)).collect();
    assert_eq!(
        told,
        [
            ("/disabled", OrphanReason::Disabled),
            ("/expired", OrphanReason::Expired),
            ("/early", OrphanReason::NotStarted),
            ("/unknown", OrphanReason::UnknownSlug),
            ("/a/b", OrphanReason::BadPath),
            ("/", OrphanReason::BaseUrl),
            ("/gone", OrphanReason::UnknownSlug),
        ]
    );
    let (subject, first) = &orphans[0];
    assert_eq!(*subject, format!("clickwire.clicks.orphan.{}", house.workspace_id));
    assert_eq!(
        (first.link_id, first.host.as_str(), first.method.as_str()),
        (Some(id), "go.example.com", "GET")
    );
    assert_eq!(first.user_agent.as_deref(), Some("Mozilla/5.0"));
    assert_eq!(first.referrer.as_deref(), Some("https://chat.example.com/room"));
    assert!(orphans[..6].iter().all(|(_, orphan)| orphan.workspace_id == Some(house.workspace_id)));
    let (subject, last) = &orphans[6];
    assert_eq!((subject.as_str(), last.workspace_id), ("clickwire.clicks.orphan.none", None));
    assert_eq!((last.host.as_str(), last.method.as_str()), ("nobodys.example", "HEAD"));
    assert_eq!(redirect.count("orphans", "unknown_slug"), 2);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_network_is_told_of_up_to_its_limit_and_counted_whole() {
    let house = House::new().await;
    let mut settings = house.settings();
    settings.redirect.not_found_per_minute = 0;
    settings.redirect.orphans.per_source = 5;
    settings.redirect.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let redirect = Running::start(settings).await;
    let from = |client| [("x-forwarded-for", client)];

    for number in 0..40 {
        get(
            redirect.addr,
            &format!("/flood{number}"),
            &from(if number % 2 == 0 { "198.51.100.7" } else { "198.51.100.8" }),
        )
        .await;
    }
    get(redirect.addr, "/last", &from("203.0.113.9")).await;

    let orphans = house.orphans_when(6).await;
    let paths: Vec<_> = orphans.iter().map(|(_, orphan)| orphan.path.as_str()).collect();
    assert_eq!(paths, ["/flood0", "/flood1", "/flood2", "/flood3", "/flood4", "/last"]);
    assert_eq!(redirect.count("orphans", "unknown_slug"), 41);
    assert_eq!(redirect.count("orphans_dropped", "source_limit"), 35);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_everywhere_is_told_of_up_to_the_limit_in_all() {
    let house = House::new().await;
    let mut settings = house.settings();
    settings.redirect.orphans.per_minute = 5;
    settings.redirect.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let redirect = Running::start(settings).await;

    for number in 0..20 {
        get(redirect.addr, "/flood", &[("x-forwarded-for", &format!("198.51.{number}.7"))]).await;
    }

    assert_eq!(house.orphans_when(5).await.len(), 5);
    assert_eq!(redirect.count("orphans_dropped", "total_limit"), 15);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_workspace_that_wants_nothing_recorded_nothing_is_told() {
    let house = House::new().await;
    house.decide(LinkSettings { is_tracking: false, ..LinkSettings::default() }).await;
    house.link("closed", LinkOptions { enabled: false, ..options() }).await;
    let redirect = house.start().await;

    get(redirect.addr, "/closed", &[]).await;
    get(redirect.addr, "/unknown", &[]).await;
    get(redirect.addr, "/x", &[("host", "nobodys.example")]).await;

    assert_eq!(house.orphans_when(1).await[0].1.path, "/x");
    assert_eq!(redirect.count("orphans_dropped", "tracking_off"), 1);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_link_that_is_anonymous_nothing_is_told_that_says_who_it_was() {
    let house = House::new().await;
    let anonymous = LinkOptions { enabled: false, tracking: Tracking::Anonymous, ..options() };
    house.link("anonymous", anonymous).await;
    house.link("off", LinkOptions { enabled: false, tracking: Tracking::Off, ..options() }).await;
    house.link("full", LinkOptions { enabled: false, ..options() }).await;
    let redirect = house.start().await;

    for path in ["/off", "/anonymous", "/full"] {
        get(redirect.addr, path, &[("user-agent", "Mozilla/5.0")]).await;
    }

    let orphans = house.orphans_when(2).await;
    let told: Vec<_> =
        orphans.iter().map(|(_, orphan)| (orphan.path.as_str(), orphan.user_agent.as_deref())).collect();
    assert_eq!(told, [("/anonymous", None), ("/full", Some("Mozilla/5.0"))]);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_visitor_who_wants_nothing_recorded_nothing_is_told() {
    let house = House::new().await;
    let signals = SignalPolicies { gpc: SignalPolicy::Off, dnt: SignalPolicy::Redact };
    house.decide(LinkSettings { signals, ..LinkSettings::default() }).await;
    house.link("closed", LinkOptions { enabled: false, ..options() }).await;
    house.link("limited", LinkOptions { enabled: false, max_clicks: Some(5), ..options() }).await;
    let redirect = house.start().await;
    let with = |wish: (&'static str, &'static str)| {
        [("user-agent", "Mozilla/5.0"), ("referer", "https://chat.example.com/room"), wish]
    };

    for path in ["/closed", "/limited"] {
        get(redirect.addr, path, &with(("sec-gpc", "1"))).await;
        get(redirect.addr, &format!("{path}?a=1&no_track"), &with(("sec-gpc", "0"))).await;
    }
    get(redirect.addr, "/limited", &with(("dnt", "1"))).await;
    get(redirect.addr, "/closed", &with(("dnt", "0"))).await;

    let orphans = house.orphans_when(2).await;
    let told: Vec<_> = orphans
        .iter()
        .map(|(_, orphan)| (orphan.path.as_str(), orphan.user_agent.as_deref(), orphan.referrer.as_deref()))
        .collect();
    assert_eq!(
        told,
        [("/limited", None, None), ("/closed", Some("Mozilla/5.0"), Some("https://chat.example.com/room"))]
    );
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_visit_to_be_told_of() {
    let house = House::new().await;
    house.link("abc", options()).await;
    house.nats.stop().await;
    let mut settings = house.settings();
    settings.redirect.not_found_per_minute = 0;
    settings.redirect.drain_timeout = std::time::Duration::from_millis(10);
    let redirect = Running::start(settings).await;

    assert_eq!(get(redirect.addr, "/unknown", &[]).await.status, 404);
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);

    until(LIMIT, async || (redirect.count("orphans_dropped", "unpublished") == 1).then_some(())).await;
    redirect.stop().await;
}
