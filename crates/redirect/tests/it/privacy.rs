//! What visitors ask for, and what is told of them then.

use model::link::{LinkLabels, Tracking};
use model::privacy::{SignalPolicies, SignalPolicy};
use store::links::LinkOptions;
use store::settings::LinkSettings;

use crate::client::get;
use crate::house::{House, options};

/// Acceptance test 9 of links and clicks.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitors_wish_is_told_with_the_click_as_the_workspace_heeds_it() {
    let house = House::new().await;
    let signals = SignalPolicies { gpc: SignalPolicy::Redact, dnt: SignalPolicy::Anonymous };
    house.decide(LinkSettings { signals, ..LinkSettings::default() }).await;
    house.link("abc", options()).await;
    let redirect = house.start().await;

    for headers in [&[][..], &[("sec-gpc", "1")], &[("dnt", "1")], &[("sec-gpc", "0"), ("dnt", "0")]] {
        assert_eq!(get(redirect.addr, "/abc", headers).await.status, 302);
    }

    let mut told: Vec<_> =
        house.clicks_when(4).await.iter().map(|click| (click.is_redacted, click.is_anonymous)).collect();
    told.sort();
    assert_eq!(told, [(false, false), (false, false), (false, true), (true, false)]);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_not_to_be_tracked_is_redirected_without_a_trace() {
    let house = House::new().await;
    house.link("abc", options()).await;
    house.link("limited", LinkOptions { max_clicks: Some(5), ..options() }).await;
    let redirect = house.start().await;

    let unseen = get(redirect.addr, "/abc?no_track&ref=7", &[]).await;
    assert_eq!(unseen.location(), "https://example.com/offer?utm_source=sms&ref=7");
    // a limit that could be passed unseen would be none
    get(redirect.addr, "/limited?no_track=1", &[]).await;
    get(redirect.addr, "/abc?ref=8", &[]).await;

    let clicks = house.clicks_when(2).await;
    let mut told: Vec<_> =
        clicks.iter().map(|click| (click.link.slug.as_str(), click.is_anonymous)).collect();
    told.sort();
    assert_eq!(told, [("abc", false), ("limited", true)]);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_may_have_all_of_its_clicks_anonymous_and_no_link_says_more() {
    let house = House::new().await;
    house.decide(LinkSettings { is_anonymous: true, ..LinkSettings::default() }).await;
    house.link("abc", options()).await;
    house.link("off", LinkOptions { tracking: Tracking::Off, ..options() }).await;
    let redirect = house.start().await;

    get(redirect.addr, "/off", &[]).await;
    get(redirect.addr, "/abc", &[]).await;

    assert!(house.clicks_when(1).await[0].is_anonymous);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_click_has_no_trace_of_the_visitors_own() {
    let house = House::new().await;
    house.link("full", options()).await;
    house.link("anonymous", LinkOptions { tracking: Tracking::Anonymous, ..options() }).await;
    let redirect = house.start().await;

    let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for path in ["/full", "/anonymous"] {
        assert_eq!(get(redirect.addr, path, &[("traceparent", theirs)]).await.status, 302, "{path}");
    }

    let clicks = house.clicks_when(2).await;
    let mut told: Vec<_> =
        clicks.iter().map(|click| (click.link.slug.as_str(), click.traceparent.as_deref())).collect();
    told.sort();
    assert_eq!(told, [("anonymous", None), ("full", Some(theirs))]);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_of_link_campaign_and_channel_says_what_is_recorded() {
    let house = House::new().await;
    let says = |name: &str, tracking| [(name.to_owned(), tracking)].into();
    house
        .decide(LinkSettings {
            channel_tracking: says("sms", Tracking::Off),
            campaign_tracking: says("spring", Tracking::Anonymous),
            ..LinkSettings::default()
        })
        .await;
    let labelled = |campaign_id: Option<&str>, tracking| {
        let labels = LinkLabels {
            channel: Some("sms".to_owned()),
            campaign_id: campaign_id.map(str::to_owned),
            ..options().labels
        };
        LinkOptions { labels, tracking, ..options() }
    };
    house.link("by-channel", labelled(None, Tracking::Inherit)).await;
    house.link("by-campaign", labelled(Some("spring"), Tracking::Inherit)).await;
    house.link("by-link", labelled(Some("spring"), Tracking::Full)).await;
    house.link("usual", options()).await;
    let redirect = house.start().await;

    for path in ["/by-channel", "/by-campaign", "/by-link", "/usual"] {
        assert_eq!(get(redirect.addr, path, &[]).await.status, 302);
    }

    let clicks = house.clicks_when(3).await;
    let mut told: Vec<_> =
        clicks.iter().map(|click| (click.link.slug.as_str(), click.is_anonymous)).collect();
    told.sort();
    assert_eq!(told, [("by-campaign", true), ("by-link", false), ("usual", false)]);
    assert_eq!(redirect.count("answers", "followed_untracked"), 1);
    redirect.stop().await;
}
