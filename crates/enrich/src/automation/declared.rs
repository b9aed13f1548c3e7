//! Programs that say what they are: two kept lists, and the programs that uap-core knows.

use model::automation::MachineClass;
use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize;

use super::Signal;
use super::verdict::{DECISIVE, STRONG};
use crate::device::Described;

/// crawler-user-agents without the patterns that hit people (`data/README.md`).
pub const KEPT_CRAWLERS: &str = include_str!("../../data/agents/crawler-user-agents.json");

/// What fetches links that people send: previews, mail scanners, libraries. Ours.
pub const KEPT_LINK_FETCHERS: &str = include_str!("../../data/agents/link-fetchers.json");

/// Room for the compiled patterns, in bytes.
const COMPILED_BYTES_MAX: usize = 64 << 20;

/// A program that every list knows.
const A_CRAWLER: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

/// A browser that no list may know.
const A_PERSON: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                        (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";

/// The lists, compiled into one pass over a User-Agent.
pub struct Declared {
    patterns: RegexSet,
    /// The signal of each pattern, in the same order.
    signals: Vec<Signal>,
    /// How many of the patterns are those of link fetchers, which come first.
    link_fetchers: usize,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It is not the JSON that was expected.
    #[error("failed to parse the list")]
    Parse(#[from] serde_json::Error),
    /// A pattern does not compile.
    #[error("failed to compile the list")]
    Compile(#[from] regex::Error),
    /// It is no list of programs.
    #[error("the lists are no lists of programs: {0}")]
    Useless(&'static str),
}

/// An entry of crawler-user-agents.
#[derive(Deserialize)]
struct Crawler {
    pattern: String,
    #[serde(default)]
    tags: Vec<String>,
}

/// An entry of our list of link fetchers.
#[derive(Deserialize)]
struct LinkFetcher {
    pattern: String,
    kind: String,
    confidence: String,
}

impl Declared {
    /// Compiles both lists, link fetchers first: they know best what a link meets.
    ///
    /// # Errors
    /// When a list is not the JSON of its kind, or a pattern does not compile.
    pub fn new(crawlers: &str, link_fetchers: &str) -> Result<Self, ListError> {
        let crawlers: Vec<Crawler> = serde_json::from_str(crawlers)?;
        let link_fetchers: Vec<LinkFetcher> = serde_json::from_str(link_fetchers)?;
        let count = link_fetchers.len();
        let entries: Vec<(String, Signal)> = link_fetchers
            .into_iter()
            .map(LinkFetcher::into_entry)
            .chain(crawlers.into_iter().map(Crawler::into_entry))
            .collect();
        let patterns = RegexSetBuilder::new(entries.iter().map(|(pattern, _)| pattern))
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .build()?;
        let signals = entries.into_iter().map(|(_, signal)| signal).collect();
        Ok(Self { patterns, signals, link_fetchers: count })
    }

    /// Refuses lists that know nothing, or everything.
    ///
    /// # Errors
    /// What they should know.
    pub fn check(&self) -> Result<(), ListError> {
        if self.signal(A_CRAWLER).is_none() {
            return Err(ListError::Useless("they do not know Googlebot"));
        }
        if self.signal(A_PERSON).is_some() {
            return Err(ListError::Useless("they take an iPhone for a machine"));
        }
        Ok(())
    }

    /// Fires on a User-Agent that one of the lists knows.
    pub fn signal(&self, agent: &str) -> Option<Signal> {
        let first = self.patterns.matches(agent).iter().next()?;
        // crawlers have the names of apps whose pages they fetch: where an app shows a page, it is the app's name
        let is_an_app = first >= self.link_fetchers && is_shown_in_an_app(agent);
        (!is_an_app).then(|| self.signals[first])
    }
}

/// Whether it is the browser of an app: a view without Safari on iOS, one on Android, or a desktop program's.
pub(super) fn is_shown_in_an_app(agent: &str) -> bool {
    let is_on_ios = agent.starts_with("Mozilla/5.0 (iP") && !agent.contains("Safari/");
    let is_plain = !agent.contains("compatible;");
    is_plain && (is_on_ios || agent.contains("; wv)") || agent.contains(" Electron/"))
}

/// Fires on a User-Agent that uap-core knows as a program's, but for apps that it takes for one by their name.
pub fn spider(agent: &str, described: &Described) -> Option<Signal> {
    let signal = Signal { code: "ua_spider", weight: DECISIVE, class: MachineClass::Crawler };
    (described.is_spider && !is_shown_in_an_app(agent)).then_some(signal)
}

impl Crawler {
    fn into_entry(self) -> (String, Signal) {
        // an entry has several tags: the most telling one decides
        let has = |tag: &str| self.tags.iter().any(|t| t == tag);
        let class = if has("social-preview") {
            MachineClass::Preview
        } else if has("ai-crawler") {
            MachineClass::Ai
        } else if has("scanner") {
            MachineClass::Scanner
        } else if has("monitoring") {
            MachineClass::Monitor
        } else if has("http-library") {
            MachineClass::Library
        } else if has("browser-automation") {
            MachineClass::Other
        } else {
            MachineClass::Crawler
        };
        (self.pattern, Signal { code: "ua_declared", weight: DECISIVE, class })
    }
}

impl LinkFetcher {
    fn into_entry(self) -> (String, Signal) {
        let class = match self.kind.as_str() {
            "link-preview" | "image-proxy" | "user-triggered fetch" => MachineClass::Preview,
            "mail-scanner" => MachineClass::Scanner,
            "http-library" => MachineClass::Library,
            "ai-fetch" | "ai-crawler" => MachineClass::Ai,
            "link-check" | "monitor" => MachineClass::Monitor,
            "crawler" => MachineClass::Crawler,
            _ => MachineClass::Other,
        };
        let weight = if self.confidence == "low" { STRONG } else { DECISIVE };
        (self.pattern, Signal { code: "ua_declared", weight, class })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Declared {
        Declared::new(KEPT_CRAWLERS, KEPT_LINK_FETCHERS).expect("kept lists")
    }

    #[test]
    fn programs_that_say_what_they_are_have_their_class() {
        let declared = kept();
        let class = |agent| declared.signal(agent).map(|signal| signal.class);

        for (agent, expected) in [
            ("WhatsApp/2.24.20.89 A", MachineClass::Preview),
            ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", MachineClass::Preview),
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                MachineClass::Crawler,
            ),
            ("curl/8.5.0", MachineClass::Library),
            ("python-requests/2.32.3", MachineClass::Library),
            (
                "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ChatGPT-User/1.0)",
                MachineClass::Ai,
            ),
            ("Barracuda Sentinel (EE)", MachineClass::Scanner),
        ] {
            assert_eq!(class(agent), Some(expected), "{agent}");
        }
    }

    #[test]
    fn an_app_that_shows_a_page_is_not_the_crawler_of_its_name() {
        let declared = kept();
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Mobile/15E148";
        let android = "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv) AppleWebKit/537.36 \
                       (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.71 Mobile Safari/537.36";
        let desktop = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/114.0.0.0 Electron/25.8.0 Safari/537.36";

        for app in
            ["Tumblr/32.6", "Feedly/70.0", "Asana/7.3", "Notion/2.2.3", "PayPal/8.50", "RocketChat/4.44"]
        {
            assert!(declared.signal(app).is_some(), "{app}");
            for browser in [iphone, android, desktop] {
                assert_eq!(declared.signal(&format!("{browser} {app}")), None, "{browser} {app}");
            }
        }
        let preview = format!("{iphone} facebookexternalhit/1.1 Facebot Twitterbot/1.0");
        assert!(declared.signal(&preview).is_some());
        let crawler = format!("{iphone} (compatible; Goodreads; +https://www.goodreads.com)");
        assert!(declared.signal(&crawler).is_some());
    }

    #[test]
    fn every_example_of_a_link_fetcher_is_known() {
        #[derive(Deserialize)]
        struct Example {
            example: Option<String>,
        }
        let declared = kept();
        let examples: Vec<Example> = serde_json::from_str(KEPT_LINK_FETCHERS).expect("kept list");

        for agent in examples.into_iter().filter_map(|example| example.example) {
            assert!(declared.signal(&agent).is_some(), "{agent}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_used_says_why() {
        assert!(matches!(Declared::new("{", "[]"), Err(ListError::Parse(_))));
        let check = |crawlers| Declared::new(crawlers, "[]").expect("patterns").check();
        assert!(matches!(check("[]"), Err(ListError::Useless(_))));
        assert!(matches!(check(r#"[{"pattern": "Mozilla"}]"#), Err(ListError::Useless(_))));
        kept().check().expect("kept lists");
        assert!(matches!(Declared::new(r#"[{"pattern": "("}]"#, "[]"), Err(ListError::Compile(_))));
    }
}
