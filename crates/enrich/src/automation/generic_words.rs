//! Words that programs have in their names: no list knows all of them, but most are called `…bot`.

use model::automation::MachineClass;
use regex::Regex;

use super::Signal;
use super::verdict::STRONG;

/// A word that ends in one of these, or a program that gives the address of its page. Not `scanner`: people scan
/// codes.
const WORDS: &str = r"(?xi)
    (?: bot | crawl | crawler | spider | scraper | fetcher | archiver | validator | linkcheck | checker
      | monitor | monitoring | headless | preview | feedfetcher | screenshot | httpclient
    ) (?: [/;:)\]+\-_0-9] | \s* $ | \s [^a-z] )
  | \(\+?https?://
  | \+https?://
  | [;,]\s*https?://
";

/// Phones whose name ends in such a word.
const EXCEPTIONS: &str = r"(?i)cubot";

/// The words, compiled.
pub struct GenericWords {
    words: Regex,
    exceptions: Regex,
}

impl GenericWords {
    /// Compiles them.
    pub fn new() -> Self {
        let compile = |pattern| Regex::new(pattern).expect("a test uses every pattern");
        Self { words: compile(WORDS), exceptions: compile(EXCEPTIONS) }
    }

    /// Fires on a User-Agent with such a word.
    pub fn signal(&self, agent: &str) -> Option<Signal> {
        let rest = self.exceptions.replace_all(agent, "");
        let signal = Signal { code: "ua_bot_word", weight: STRONG, class: MachineClass::Crawler };
        self.words.is_match(&rest).then_some(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_have_such_words_and_phones_do_not() {
        let words = GenericWords::new();

        for agent in [
            "Mozilla/5.0 (compatible; Unheardbot/1.0)",
            "Mozilla/5.0 (compatible; somecrawler; +https://example.com)",
            "Mozilla/5.0 (Windows NT 10.0) Link Preview",
            "Mozilla/5.0 (compatible; Thing/2.0; https://example.com/thing)",
        ] {
            assert!(words.signal(agent).is_some(), "{agent}");
        }
        for agent in [
            "Mozilla/5.0 (Linux; Android 14; CUBOT KINGKONG 9) AppleWebKit/537.36 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 9; CUBOT_NOTE_S Build/PPR1; wv) Mobile Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Mobile/15E148 Safari/604.1",
        ] {
            assert_eq!(words.signal(agent), None, "{agent}");
        }
    }
}
