//! Domains that tell capital letters in slugs apart.

use std::time::Duration;

use store::links::LinkOptions;

use crate::client::get;
use crate::house::{House, Running, options};

fn to(url: &str) -> LinkOptions {
    LinkOptions::to(url.parse().expect("a URL"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensitive_domain_leads_by_slugs_as_they_are_typed() {
    let house = House::new().await;
    house.make_sensitive().await;
    house.link("Sale", to("https://example.com/capital")).await;
    house.link("sale", to("https://example.com/small")).await;
    house.link("ÅRE", to("https://example.com/place")).await;
    house.domain_of_its_own("plain.example.com", "Offer").await;
    for any_host in [false, true] {
        let mut settings = house.settings();
        settings.links.any_host = any_host;
        let redirect = Running::start(settings).await;

        for (path, location) in [
            ("/Sale", "https://example.com/capital"),
            ("/%53ale/", "https://example.com/capital"),
            ("/sale", "https://example.com/small"),
            ("/%C3%85RE", "https://example.com/place"),
            ("/A%CC%8ARE", "https://example.com/place"),
        ] {
            assert_eq!(get(redirect.addr, path, &[]).await.header("location"), Some(location), "{path}");
        }
        for path in ["/SALE", "/saLe", "/%C3%A5re", "/Sal%45"] {
            assert_eq!(get(redirect.addr, path, &[]).await.status, 404, "{path}");
        }
        assert!(get(redirect.addr, "/Sale+", &[]).await.body.contains("<p>go.example.com/Sale</p>"));
        // reserved is reserved however it is written
        assert_eq!(get(redirect.addr, "/Robots.txt", &[]).await.status, 404);
        let plain = [("host", "plain.example.com")];
        for path in ["/offer", "/OFFER", "/Offer"] {
            assert_eq!(get(redirect.addr, path, &plain).await.status, 302, "{path}");
        }
        redirect.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_memory_is_found_by_capital_letters_while_the_database_is_away() {
    let database = testkit::TestDatabase::cluster().await;
    let house = House::with(database.settings()).await;
    house.link("offer", options()).await;
    let mut settings = house.settings();
    settings.redirect.lookup_timeout = Duration::from_millis(200);
    let redirect = Running::start(settings).await;
    assert_eq!(get(redirect.addr, "/offer", &[]).await.status, 302);

    database.stop().await;

    for path in ["/OFFER", "/Offer/", "/offer"] {
        assert_eq!(get(redirect.addr, path, &[]).await.status, 302, "{path}");
    }
    redirect.stop().await;
}
