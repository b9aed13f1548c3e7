//! Words that programs have in their names: no list knows all of them, but most are called `…bot`.

use model::automation::MachineClass;
use regex::{Captures, Regex};

use super::Signal;
use super::declared::is_shown_in_an_app;
use super::verdict::STRONG;

/// Words of programs' names. Some stand inside of longer ones, some count only at the end of one; not `scanner` by
/// itself: people scan codes.
const WORDS: &[&str] = &[
    r"crawl|crwlr|spider|scrap(?:e|ing|y)|robot|harvest|extractor|indexer|archiver|retrieval|fetcher|grabber|collector",
    r"-bot\b | \bsiege/ | http[\s_-]?client | download(?:er|manager)\b",
    r"(?:bot|checker) (?: [/;:)\]+\-_0-9] | \s* $ | \s [^a-z] )",
    r"headless|selenium|puppeteer|playwright|phantomjs|webdriver|wkhtmlto|lighthouse|page\s?speed|\bptst\b|\bwpm\b",
    r"mozlila|slimerjs|casperjs|jsdom|htmlunit|\bsplash\s+version/|\bcypress/|assetnote",
    r"monitor(?:ing)?\b|uptime|\bping(?:dom)?|statuscake|watchdog|\bprobe|linkcheck|\bchecklink|verifier|validat(?:e|or)|\baudit",
    r"analy[sz]er|analytics|insights|survey|\bresearch|\bseo\b|seo[a-z]*[/-]|backlink|sitemap|[a-z-]scan\b|-scanner\b",
    r"preview|unfurl|expander|screenshot|screenie|mshots|thumbnail|webthumb|snapsearch|\bsnapshot|web-?capture",
    r"httprequest|httpstatus|winhttp|znhttp|feedfetch|feed\s?parser|feed\s?validator|page\s?translat|yandex\.translate",
];

/// Addresses where one can complain about a program, or read about it; and a product inside of WebKit's brackets.
const ADDRESSES: &[&str] = &[
    r"https?:/ | \bwww\.",
    r"[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}\b | \bat\s(?:gmail|g\smail)\b | \bdot\scom\b",
    r"\b[a-z][a-z0-9-]+\.(?:com|net|org|io)\b(?:[^.\]\w-]|$)",
    // a second pair of brackets, after those of the browser that it wants to look like
    r"\).*\(compatible;\s*(?:[a-ln-z]|m[a-rt-z])",
    r"\bgoogle-[a-z] | [a-z]-google\b",
    r"khtml,\slike\sgecko[;,]\s*(?:google|compatible|[a-z]+bot)",
];

/// What Android phones are called and built of, for some of it sounds like a program or tells where it is from, and
/// browsers for people that tell their address.
const EXCEPTIONS: [&str; 5] = [
    r"\(Linux; (?:U; )?Android [\d.]+; [^;()/:@]*(?<end>\))",
    r"[^;(]*\bBuild/[^;)]*",
    "cubot",
    r"(?:https?://)?(?:www\.)?(?:bsalsa\.com|qtweb\.net)",
    r"\bcom\.[a-z.]+",
];

/// Names with a version. Where an app shows a page they are the app's: `Crypto.com/3.9`, `BabyMonitor/2.1`.
const NAMES: &str = r"[A-Za-z][\w.-]*/\d[\w.]*";

/// Those of programs that show pages so, too.
const PROGRAMS: &str = r"(?i)bot/|crawler|spider/|headless|selenium|puppeteer|playwright|cypress|pingdom|lighthouse|ptst|mozlila";

/// The words, compiled.
pub struct GenericWords {
    words: Regex,
    exceptions: Regex,
    names: Regex,
    programs: Regex,
}

impl GenericWords {
    /// Compiles them.
    pub fn new() -> Self {
        let words = [WORDS, ADDRESSES].concat().join("|");
        let compile = |pattern: &str| Regex::new(pattern).expect("a test uses every pattern");
        Self {
            words: compile(&format!("(?xi)(?:{words})")),
            exceptions: compile(&format!("(?i){}", EXCEPTIONS.join("|"))),
            names: compile(NAMES),
            programs: compile(PROGRAMS),
        }
    }

    /// Fires on a User-Agent with such a word.
    pub fn signal(&self, agent: &str) -> Option<Signal> {
        let mut rest = self.exceptions.replace_all(agent, "${end}");
        if is_shown_in_an_app(agent) {
            let programs = |found: &Captures<'_>| match self.programs.is_match(&found[0]) {
                true => found[0].to_owned(),
                false => String::new(),
            };
            rest = self.names.replace_all(&rest, programs).into_owned().into();
        }
        let signal = Signal { code: "ua_bot_word", weight: STRONG, class: MachineClass::Crawler };
        self.words.is_match(&rest).then_some(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_not_judged_by_its_name_where_it_shows_a_page() {
        let words = GenericWords::new();
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148";
        let android = "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv) AppleWebKit/537.36 \
                       (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.71 Mobile Safari/537.36";

        for app in
            ["SurveyMonkey/6.1.0", "Crypto.com/3.9", "PingID/1.18", "iRobotHome/7.2", "BabyMonitor/2.1"]
        {
            for browser in [iphone, android] {
                assert_eq!(words.signal(&format!("{browser} {app}")), None, "{app}");
            }
            assert!(words.signal(&format!("Thing/1.0 {app}")).is_some(), "{app}");
        }
        for program in ["Somebot/2.0", "HeadlessThing/1.0", "Pingdom.com/1.4"] {
            assert!(words.signal(&format!("{iphone} {program}")).is_some(), "{program}");
        }
    }

    #[test]
    fn programs_have_such_words_and_phones_do_not() {
        let words = GenericWords::new();

        for agent in [
            "Mozilla/5.0 (compatible; Unheardbot/1.0)",
            "Mozilla/5.0 (compatible; somecrawler; +https://example.com)",
            "Mozilla/5.0 (Windows NT 10.0) Link Preview",
            "Mozilla/5.0 (compatible; Thing/2.0; https://example.com/thing)",
            "Mozilla/5.0 (Windows NT 10.0; Thing; someone@mail.example.com) Chrome/58.0 Safari/537.36",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.21 (KHTML, like Gecko) web-capture/0.9 Safari/537.21",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; Google Thing) Chrome/27.0",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/534.34 (KHTML, like Gecko) Safari/534.34 SitemapGenerator",
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) Chrome/120.0 Mobile Safari/537.36 (compatible; Thing-AMP)",
            "Mozilla/5.0 (Linux; Android 9; Somebot/2.0) Chrome/120.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Windows NT 6.1; Thing WPM) Gecko/20100101 Firefox/38.0",
        ] {
            assert!(words.signal(agent).is_some(), "{agent}");
        }
        for agent in [
            "Mozilla/5.0 (Linux; Android 14; CUBOT KINGKONG 9) AppleWebKit/537.36 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 12; Spider Monitor X7) AppleWebKit/537.36 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 9; CUBOT_NOTE_S Build/PPR1; wv) Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 7.0; ID bot 53 Build/NRD90M) AppleWebKit/537.36 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 4.1.2; IM-A850 S/K Build/VEGAVIET.COM V1.0) Chrome/30.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 4.0.3; Novo 7 (https://novo.example) Build/IML74K) Version/4.0 Safari/534.30",
            "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0; Avant Browser [avantbrowser.com]; Hotbar 4.4.5.0)",
            "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; Embedded Web Browser from: http://bsalsa.com/)",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 11_1 like Mac OS X) Mobile/15C153 (Ecosia ios@3.0.2.609)",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 16_0 like Mac OS X) Mobile/15E148 com.example.net.io/7.1",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Mobile/15E148 Safari/604.1",
        ] {
            assert_eq!(words.signal(agent), None, "{agent}");
        }
    }
}
