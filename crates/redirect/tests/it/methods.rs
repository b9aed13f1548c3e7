//! Requests by other methods than GET.

use model::link::RedirectStatus;
use store::links::LinkOptions;

use crate::client::{get, post, send};
use crate::house::{House, options};

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
async fn a_webhook_that_leads_to_a_tracked_link_is_refused_and_is_no_click() {
    let house = House::new().await;
    house.link("abc", LinkOptions { status_code: RedirectStatus::TemporaryRedirect, ..options() }).await;
    house.link("once", LinkOptions { max_clicks: Some(1), ..options() }).await;
    let redirect = house.start().await;
    let ours =
        [("content-length", "0"), ("clickwire-attempt", "1"), ("clickwire-event-type", "link.clicked")];

    for path in ["/abc", "/once"] {
        let refused = send(redirect.addr, "POST", path, &ours).await;
        assert_eq!((refused.status, refused.header("location")), (508, None), "{path}");
        assert!(refused.body.contains("Give the webhook the address"), "{}", refused.body);
    }

    assert_eq!(redirect.count("answers", "refused"), 2);
    assert_eq!(get(redirect.addr, "/abc", &ours[1..]).await.status, 307);
    let clicks = house.clicks_when(1).await;
    assert_eq!(clicks.iter().map(|click| click.request.method.as_str()).collect::<Vec<_>>(), ["GET"]);
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
