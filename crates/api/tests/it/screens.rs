//! Pictures of every page, light and dark, wide and narrow, to be looked at.
//!
//! Runs when `CLICKWIRE_TEST_BROWSER` is 1. The pictures go to the folder that `CLICKWIRE_TEST_PICTURES` names, if it does. A page that
//! has to be scrolled sideways on a phone fails it.

use testkit::browser::{self, Browser, Options};

use crate::harness::Api;
use crate::pages;
use crate::people::invite;
use crate::world::world;

/// A sheet with something wrong in it.
const SHEET: &str = "url,slug,campaign,tags,max_clicks,colour\n\
    https://shop.example.com/a,summer-a,Summer,\"vip, sms\",100,red\n\
    shop.example.com/b,summer-b,Summer,,,\nhttps://shop.example.com/c,,Summer,,many,\n\
    https://shop.example.com/d,spring-collection,,,,\n";

#[tokio::test]
async fn every_page_is_pictured_and_none_is_wider_than_a_phone() {
    if !browser::is_asked_for() {
        return;
    }
    let api = Api::start_with_nats().await;
    let world = world(&api).await;
    let key = api.key_with(&["*", "admin"], None).await;
    let invitation = invite(&api, &api.key, "ada@example.com", "operator").await;

    let mut wide = Vec::new();
    for is_dark in [false, true] {
        for size in [(1280, 1900), (375, 2400)] {
            let is_phone = size.0 == 375;
            let name = |page: &str| {
                let scheme = if is_dark { "dark" } else { "light" };
                format!("{page}-{scheme}-{}", size.0)
            };
            let browser = Browser::start(Options { size, is_dark, is_phone, ..Options::default() }).await;
            for (page, path) in pages::signed_out(&invitation) {
                browser.open(&format!("{}{path}", api.url)).await;
                browser.picture(&name(page)).await;
            }
            browser.open(&format!("{}/login?with=key", api.url)).await;
            browser.fill("#key", &key).await;
            browser.press("Sign in").await;
            browser.text("nav").await;
            for (page, path) in pages::signed_in(&world) {
                browser.open(&format!("{}{path}", api.url)).await;
                browser.picture(&name(page)).await;
                if is_phone && browser.overflow().await > 0 {
                    wide.push(page);
                }
            }
            browser.open(&format!("{}/links/import", api.url)).await;
            browser.set("text", SHEET).await;
            browser.press("Show what was read").await;
            browser.text("table.sheet").await;
            browser.picture(&name("link-import-preview")).await;
            if is_phone && browser.overflow().await > 0 {
                wide.push("link-import-preview");
            }
            browser.close().await;
        }
    }
    assert!(wide.is_empty(), "to be scrolled sideways on a phone: {wide:?}");
}
