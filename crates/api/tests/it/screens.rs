//! Pictures of every page, light and dark, wide and narrow, to be looked at.
//!
//! Runs when `CLICKWIRE_TEST_BROWSER` is 1. The pictures go to the directory that `CLICKWIRE_SCREENSHOTS` names, else to one below the
//! system's directory for temporary files, which is printed. A page that has to be scrolled sideways on a phone fails it.

use std::path::PathBuf;

use fantoccini::{Client, Locator};
use serde_json::{Value, json};
use testkit::ScratchDir;

use crate::browser::{browser_with, fill, press};
use crate::harness::Api;
use crate::world::{World, world};

/// Every page by the name of its picture. Who adds a page adds it here.
fn pages(world: &World) -> Vec<(&'static str, String)> {
    let World { link, expired, click, endpoint, delivery } = world;
    vec![
        ("overview", "/".to_owned()),
        ("overview-30d", "/?range=30d".to_owned()),
        ("links", "/links".to_owned()),
        ("links-most-clicked", "/links?sort=clicks".to_owned()),
        ("links-nothing-found", "/links?q=nothing".to_owned()),
        ("link", format!("/links/{link}")),
        ("link-90d", format!("/links/{link}?range=90d")),
        ("link-expired", format!("/links/{expired}")),
        ("link-new", "/links/new".to_owned()),
        ("link-edit", format!("/links/{link}/edit")),
        ("link-import", "/links/import".to_owned()),
        ("clicks", "/clicks".to_owned()),
        ("click", format!("/clicks/{click}")),
        ("delivery", format!("/deliveries/{delivery}")),
        ("webhooks", "/settings/webhooks".to_owned()),
        ("webhook", format!("/settings/webhooks/{endpoint}")),
        ("webhook-new", "/settings/webhooks/new".to_owned()),
        ("replays", format!("/settings/webhooks/{endpoint}/replays")),
        ("settings", "/settings/links".to_owned()),
        ("keys", "/settings/keys".to_owned()),
    ]
}

/// A sheet with something wrong in it.
const SHEET: &str = "url,slug,campaign,tags,max_clicks,colour\n\
    https://shop.example.com/a,summer-a,Summer,\"vip, sms\",100,red\n\
    shop.example.com/b,summer-b,Summer,,,\nhttps://shop.example.com/c,,Summer,,many,\n\
    https://shop.example.com/d,spring-collection,,,,\n";

#[tokio::test]
async fn every_page_is_pictured_and_none_is_wider_than_a_phone() {
    if std::env::var("CLICKWIRE_TEST_BROWSER").as_deref() != Ok("1") {
        println!("not asked for: set CLICKWIRE_TEST_BROWSER=1 to have pictures of every page");
        return;
    }
    let directory = match std::env::var_os("CLICKWIRE_SCREENSHOTS") {
        Some(named) => PathBuf::from(named),
        None => std::env::temp_dir().join(format!("clickwire-screens-{}", std::process::id())),
    };
    std::fs::create_dir_all(&directory).expect("a directory");
    println!("pictures are in {}", directory.display());
    let api = Api::start_with_nats().await;
    let world = world(&api).await;

    let mut wide = Vec::new();
    for (scheme, flag) in [
        ("light", "--blink-settings=preferredColorScheme=1"),
        ("dark", "--blink-settings=preferredColorScheme=0"),
    ] {
        let phone = json!({"mobileEmulation": {"deviceMetrics": {"width": 375, "height": 2400, "pixelRatio": 1, "touch": true}}});
        for (width, options, flags) in [
            (1280, json!({}), vec![flag, "--window-size=1280,1900", "--hide-scrollbars"]),
            (375, phone, vec![flag, "--hide-scrollbars"]),
        ] {
            let profile = ScratchDir::new("chromium");
            let (_driver, browser) = browser_with(&profile, &flags, options).await;
            browser.goto(&format!("{}/login", api.url)).await.expect("the console opens");
            picture(&browser, &directory, &format!("sign-in-{scheme}-{width}")).await;
            fill(&browser, "#key", &api.key).await;
            press(&browser, "Sign in").await;
            browser.wait().for_element(Locator::Css("nav")).await.expect("signed in");
            for (name, path) in pages(&world) {
                browser.goto(&format!("{}{path}", api.url)).await.expect("the page opens");
                picture(&browser, &directory, &format!("{name}-{scheme}-{width}")).await;
                if width == 375 && is_too_wide(&browser).await {
                    wide.push(name);
                }
            }
            browser.goto(&format!("{}/links/import", api.url)).await.expect("the page opens");
            fill_text(&browser, SHEET).await;
            press(&browser, "Show what was read").await;
            browser.wait().for_element(Locator::Css("table.sheet")).await.expect("a preview");
            picture(&browser, &directory, &format!("link-import-preview-{scheme}-{width}")).await;
            if width == 375 && is_too_wide(&browser).await {
                wide.push("link-import-preview");
            }
            browser.close().await.expect("the browser closes");
        }
    }
    assert!(wide.is_empty(), "to be scrolled sideways on a phone: {wide:?}");
}

/// Sets the text at once: typed, each comma would take its time.
async fn fill_text(browser: &Client, text: &str) {
    let script = "document.getElementById('text').value = arguments[0]";
    browser.execute(script, vec![Value::from(text)]).await.expect("a script");
}

async fn is_too_wide(browser: &Client) -> bool {
    let script = "return document.documentElement.scrollWidth > window.innerWidth";
    browser.execute(script, Vec::new()).await.expect("a script") == Value::Bool(true)
}

async fn picture(browser: &Client, directory: &std::path::Path, name: &str) {
    let png = browser.screenshot().await.expect("a picture");
    std::fs::write(directory.join(format!("{name}.png")), png).expect("it is written");
}
