//! A real browser: Chromium, driven by chromedriver. Its tests run when `CLICKWIRE_TEST_BROWSER` is 1 (`scripts/test --all`).

use std::process::Stdio;
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::{ScratchDir, until};

/// How long something may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Whether tests that need a browser were asked for; says so when they were not.
pub fn is_asked_for() -> bool {
    let is_asked_for = std::env::var("CLICKWIRE_TEST_BROWSER").as_deref() == Ok("1");
    if !is_asked_for {
        println!("not asked for: set CLICKWIRE_TEST_BROWSER=1 to walk through the console in Chromium");
    }
    is_asked_for
}

/// What a browser is started with.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Width and height of its window, in pixels.
    pub size: (u32, u32),
    /// Whether it runs the scripts of pages.
    pub has_scripts: bool,
    /// Whether it asks for dark pages.
    pub is_dark: bool,
    /// Whether it has a touch screen of that size, and no narrowest window.
    pub is_phone: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { size: (1280, 900), has_scripts: true, is_dark: false, is_phone: false }
    }
}

/// Starts chromedriver and says its port; `None` when it ended at once: a port that is free for one of IPv4 and IPv6 may be
/// taken for the other.
async fn start_driver() -> Option<(Child, String)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("chromedriver is installed");
    let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
    while let Some(line) = lines.next_line().await.expect("chromedriver speaks") {
        if let Some((_, port)) = line.split_once("successfully on port ") {
            return Some((driver, port.trim_end_matches('.').to_owned()));
        }
    }
    None
}

/// A browser with a profile of its own. It ends with the test.
#[derive(Debug)]
pub struct Browser {
    /// What drives it.
    pub client: Client,
    _driver: Child,
    _profile: ScratchDir,
}

impl Browser {
    /// Starts Chromium.
    ///
    /// # Panics
    /// When Chromium or chromedriver is not there.
    pub async fn start(options: Options) -> Self {
        let profile = ScratchDir::new("chromium");
        let (driver, port) = until(LIMIT, start_driver).await;
        let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let (width, height) = options.size;
        flags.push(format!("--window-size={width},{height}"));
        flags.push("--hide-scrollbars".to_owned());
        // 0 is dark, 1 is light
        flags.push(format!("--blink-settings=preferredColorScheme={}", u8::from(!options.is_dark)));
        // 2 is "block"
        let scripts = if options.has_scripts { 1 } else { 2 };
        let mut chrome = json!({
            "args": flags, "binary": "/usr/bin/chromium",
            "prefs": {"profile.managed_default_content_settings.javascript": scripts},
        });
        if options.is_phone {
            let metrics = json!({"width": width, "height": height, "pixelRatio": 1, "touch": true});
            chrome["mobileEmulation"] = json!({"deviceMetrics": metrics});
        }
        let script_ms = u64::try_from(LIMIT.as_millis()).expect("a minute");
        let capabilities = json!({"goog:chromeOptions": chrome, "timeouts": {"script": script_ms}});
        let url = format!("http://127.0.0.1:{port}");
        let client = until(LIMIT, || async {
            let capabilities = capabilities.as_object().expect("an object").clone();
            let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
            builder.capabilities(capabilities).connect(&url).await.ok()
        })
        .await;
        Self { client, _driver: driver, _profile: profile }
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.expect(url);
    }

    /// Types into a field.
    pub async fn fill(&self, selector: &str, value: &str) {
        let field = self.client.wait().for_element(Locator::Css(selector)).await.expect(selector);
        field.clear().await.expect("a field");
        field.send_keys(value).await.expect("a field");
    }

    /// Presses a button of the page's content.
    pub async fn press(&self, label: &str) {
        let button = format!("//main//button[normalize-space()='{label}']");
        let button = self.client.wait().for_element(Locator::XPath(&button)).await.expect(label);
        button.click().await.expect(label);
    }

    /// Follows a link by its text.
    pub async fn follow(&self, label: &str) {
        let link = self.client.wait().for_element(Locator::LinkText(label)).await.expect(label);
        link.click().await.expect(label);
    }

    /// Clicks on what a selector finds first.
    pub async fn click(&self, selector: &str) {
        let element = self.client.wait().for_element(Locator::Css(selector)).await.expect(selector);
        element.click().await.expect(selector);
    }

    /// The text of what a selector finds first.
    pub async fn text(&self, selector: &str) -> String {
        let element = self.client.wait().for_element(Locator::Css(selector)).await.expect(selector);
        element.text().await.expect(selector)
    }

    /// Whether the page has what a selector names.
    pub async fn has(&self, selector: &str) -> bool {
        self.client.find(Locator::Css(selector)).await.is_ok()
    }

    /// Waits until a part of the page says something.
    pub async fn until_text(&self, selector: &str, expected: &str) {
        until(LIMIT, || async {
            let element = self.client.find(Locator::Css(selector)).await.ok()?;
            element.text().await.ok()?.contains(expected).then_some(())
        })
        .await;
    }

    /// How far the page can be scrolled sideways, in pixels.
    pub async fn overflow(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.client.execute(script, Vec::new()).await.expect("a script").as_i64().expect("a number")
    }

    /// Sets a field's text at once: typed, each letter takes its time.
    pub async fn set(&self, id: &str, text: &str) {
        let script = "document.getElementById(arguments[0]).value = arguments[1]";
        self.client.execute(script, vec![id.into(), text.into()]).await.expect("a script");
    }

    /// Keeps a picture of the page in the folder that `CLICKWIRE_TEST_PICTURES` names, if it does.
    pub async fn picture(&self, name: &str) {
        if let Some(folder) = std::env::var_os("CLICKWIRE_TEST_PICTURES") {
            let png = self.client.screenshot().await.expect("a picture");
            let path = std::path::Path::new(&folder).join(format!("{name}.png"));
            std::fs::write(path, png).expect("the folder is there");
        }
    }

    /// Ends it properly.
    pub async fn close(self) {
        self.client.close().await.expect("the browser closes");
    }
}
