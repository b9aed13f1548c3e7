//! Clicks with the headers that browsers and the browsers of apps send, for tests.

use std::sync::LazyLock;

use chrono::TimeDelta;
use model::Click;
use model::automation::Automation;
use model::location::Location;

use super::{Case, Declared, KEPT_CRAWLERS, KEPT_LINK_FETCHERS, Rules, Shown};
use crate::device::{Devices, KEPT_RULES, Models};
use crate::sample;

/// The rules and devices that are compiled in.
pub static KEPT: LazyLock<(Rules, Devices)> = LazyLock::new(|| {
    let declared = Declared::new(KEPT_CRAWLERS, KEPT_LINK_FETCHERS).expect("kept lists");
    (Rules::new(declared), Devices::new(KEPT_RULES, Models::kept()).expect("kept rules"))
});

pub const CHROME_WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
                                  (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
pub const CHROME_ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 \
                                  (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36";
pub const SAFARI_MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 \
                              (KHTML, like Gecko) Version/18.1 Safari/605.1.15";
pub const SAFARI_IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                                 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";
const SAMSUNG: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                       SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36";
const FIREFOX_LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const FIREFOX_ANDROID: &str = "Mozilla/5.0 (Android 14; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0";
const SLACK_WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                             Slack/4.38.125 Chrome/124.0.6367.207 Electron/30.0.5 Safari/537.36 Slack_SSB/4.38.125";

type Headers = [(&'static str, &'static str)];

/// What all of them send.
const PAGE: &Headers = &[
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "de-DE,de;q=0.9,en;q=0.8"),
];

/// A navigation as Safari tells it.
const NAVIGATION: &Headers =
    &[("sec-fetch-dest", "document"), ("sec-fetch-mode", "navigate"), ("sec-fetch-site", "cross-site")];

/// What the others add to it when a person touched the link.
const TOUCHED: &Headers = &[("sec-fetch-user", "?1")];

const HINTS_WINDOWS: &Headers = &[
    ("sec-ch-ua", r#""Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99""#),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", r#""Windows""#),
];
const HINTS_ANDROID: &Headers = &[
    ("sec-ch-ua", r#""Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99""#),
    ("sec-ch-ua-mobile", "?1"),
    ("sec-ch-ua-platform", r#""Android""#),
];
const HINTS_SAMSUNG: &Headers = &[
    ("sec-ch-ua", r#""Chromium";v="130", "Samsung Internet";v="28.0", "Not?A_Brand";v="99""#),
    ("sec-ch-ua-mobile", "?1"),
    ("sec-ch-ua-platform", r#""Android""#),
];
const HINTS_WEBVIEW: &Headers = &[
    ("sec-ch-ua", r#""Android WebView";v="126", "Chromium";v="126", "Not/A)Brand";v="8""#),
    ("sec-ch-ua-mobile", "?1"),
    ("sec-ch-ua-platform", r#""Android""#),
];

/// Android's WebView names the app that shows it.
const OF_AN_APP: &Headers = &[("x-requested-with", "com.example.messenger")];

/// A click, and what its User-Agent shows.
pub struct Visit {
    /// Whose it is.
    pub name: &'static str,
    /// An hour after the message was sent, on an HTTPS link.
    pub click: Click,
    /// What its User-Agent and hints show.
    pub shown: Shown,
    /// Nothing is known of the place.
    pub location: Location,
}

impl Visit {
    /// With this User-Agent and these other headers.
    pub fn of(name: &'static str, agent: &str, headers: &[(&str, &str)]) -> Self {
        let mut click = sample::click();
        click.link.sent_at = Some(click.clicked_at - TimeDelta::hours(1));
        click.request.user_agent = Some(agent.to_owned());
        click.request.headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (rules, devices) = &*KEPT;
        let described = devices.describe(agent, &click.request);
        let shown = rules.of_agent(Some(agent), &click.request, &described);
        Self { name, click, shown, location: Location::default() }
    }

    pub fn chrome() -> Self {
        let headers = [PAGE, NAVIGATION, TOUCHED, HINTS_WINDOWS].concat();
        Self::of("Chrome on Windows", CHROME_WINDOWS, &headers)
    }

    pub fn firefox() -> Self {
        Self::of("Firefox on Linux", FIREFOX_LINUX, &[PAGE, NAVIGATION, TOUCHED].concat())
    }

    pub fn safari() -> Self {
        Self::of("Safari on macOS", SAFARI_MAC, &[PAGE, NAVIGATION].concat())
    }

    /// Takes a header away that is no hint: those are read once.
    pub fn without(&mut self, header: &str) {
        self.click.request.headers.retain(|(name, _)| name != header);
    }

    pub fn agent(&self) -> &str {
        self.click.request.user_agent.as_deref().expect("every visit has one")
    }

    pub fn case(&self) -> Case<'_> {
        Case {
            link: Some(&self.click.link),
            clicked_at: Some(self.click.clicked_at),
            location: Some(&self.location),
            ..Case::of_request(&self.click.request, &self.shown)
        }
    }

    pub fn judge(&self) -> Automation {
        KEPT.0.judge(&self.case())
    }

    /// The codes of the verdict's reasons.
    pub fn codes(&self) -> Vec<String> {
        self.judge().reasons.into_iter().map(|reason| reason.code).collect()
    }
}

/// People with the browsers that most have.
pub fn ordinary() -> Vec<Visit> {
    vec![
        Visit::chrome(),
        in_chrome_on_android(CHROME_ANDROID),
        Visit::of("Samsung Internet", SAMSUNG, &[PAGE, NAVIGATION, TOUCHED, HINTS_SAMSUNG].concat()),
        Visit::safari(),
        Visit::of("Safari on an iPhone", SAFARI_IPHONE, &[PAGE, NAVIGATION].concat()),
        Visit::firefox(),
        Visit::of("Firefox on Android", FIREFOX_ANDROID, &[PAGE, NAVIGATION, TOUCHED].concat()),
    ]
}

/// A person with Chrome on a phone that has this User-Agent.
pub fn in_chrome_on_android(agent: &str) -> Visit {
    Visit::of("Chrome on Android", agent, &[PAGE, NAVIGATION, TOUCHED, HINTS_ANDROID].concat())
}

/// A person in an Android app: what its WebView sends, what an old one sends, and what is left where none is kept.
pub fn in_webview(agent: &str) -> [Visit; 3] {
    let whole = [PAGE, OF_AN_APP, NAVIGATION, TOUCHED, HINTS_WEBVIEW].concat();
    [
        Visit::of("a WebView", agent, &whole),
        Visit::of("an old WebView", agent, &[PAGE, OF_AN_APP].concat()),
        Visit::of("a WebView without headers", agent, &[]),
    ]
}

/// A person in an iPhone's app: what its view sends, what an old one sends, and what is left where none is kept.
pub fn in_wkwebview(agent: &str) -> [Visit; 3] {
    [
        Visit::of("a WKWebView", agent, &[PAGE, NAVIGATION].concat()),
        Visit::of("an old WKWebView", agent, PAGE),
        Visit::of("a WKWebView without headers", agent, &[]),
    ]
}

/// A person in Slack's program for Windows.
pub fn in_slack() -> [Visit; 2] {
    [
        Visit::of("Slack", SLACK_WINDOWS, &[PAGE, NAVIGATION, TOUCHED, HINTS_WINDOWS].concat()),
        Visit::of("Slack without headers", SLACK_WINDOWS, &[]),
    ]
}
