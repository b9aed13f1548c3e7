//! The part of a tracked URL that names the link: `k7m2xq9ra` in `https://go.example.com/k7m2xq9ra`.
//!
//! A slug is kept and compared in one folded form (case-folded, NFC), so that a link is found
//! whichever way its letters were typed.

use std::fmt;
use std::str::FromStr;

use icu_casemap::CaseMapper;
use rand::RngExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;

use crate::link::LinkKind;

/// Lower case without what looks alike: no 0, 1, i, l, o.
const ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";

/// Length of a generated slug of a link for anybody: 31^9 = 2.6e13, too many to guess one in use.
pub const GENERATED_CHARS: usize = 9;

/// Length of a generated slug of a link for one recipient, of which there are many: 31^12 = 7.9e17.
pub const GENERATED_MESSAGE_CHARS: usize = 12;

/// Longest custom slug, in characters.
pub const CHARS_MAX: usize = 100;

/// First path segments that are ours or that clients ask for by themselves.
const RESERVED: [&str; 12] = [
    "robots.txt",
    "favicon.ico",
    "sitemap.xml",
    "apple-app-site-association",
    "assetlinks.json",
    "livez",
    "readyz",
    "healthz",
    "metrics",
    "api",
    "v1",
    "docs",
];

/// Ends of names that scanners for weak servers ask for.
const NOISE_ENDS: [&str; 8] = [".php", ".asp", ".aspx", ".jsp", ".cgi", ".env", ".sql", ".bak"];

/// Beginnings of such names.
const NOISE_BEGINNINGS: [&str; 3] = ["wp-", "phpmyadmin", "cgi-bin"];

/// Names that browsers and crawlers ask for by themselves.
const ASKED_BY_CLIENTS: [&str; 3] = ["browserconfig.xml", "ads.txt", "app-ads.txt"];

/// A slug in its folded form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(Box<str>);

/// Why a text cannot be a slug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Nothing, or nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// More than [`CHARS_MAX`] characters.
    #[error("must be at most {CHARS_MAX} characters long")]
    TooLong,
    /// Something other than a letter, a digit, `-`, `_`, `.` or a symbol beyond ASCII.
    #[error("must consist of letters, digits, `-`, `_` and `.`; `{0}` is not allowed")]
    Character(char),
    /// A name that the redirect keeps for itself, or one with `_` or `.` in front.
    #[error("`{0}` is reserved")]
    Reserved(String),
    /// A name that scanners for weak servers ask for.
    #[error("`{0}` is a name that scanners ask for; it is never looked up")]
    ScannerNoise(String),
}

impl Slug {
    /// A random slug of [`GENERATED_CHARS`] or [`GENERATED_MESSAGE_CHARS`] characters.
    pub fn generate(kind: LinkKind) -> Self {
        let chars = match kind {
            LinkKind::Shareable | LinkKind::Honeypot => GENERATED_CHARS,
            LinkKind::Message => GENERATED_MESSAGE_CHARS,
        };
        let mut rng = rand::rng();
        let text: String =
            (0..chars).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect();
        Self(text.into())
    }

    /// A slug that somebody chooses for a new link: one that visitors can reach.
    ///
    /// # Errors
    /// [`SlugError`], also for [`is_asked_by_clients`] and [`is_scanner_noise`].
    pub fn chosen(text: &str) -> Result<Self, SlugError> {
        let slug: Self = text.parse()?;
        if is_asked_by_clients(slug.as_str()) {
            return Err(SlugError::Reserved(slug.0.into()));
        }
        if is_scanner_noise(slug.as_str()) {
            return Err(SlugError::ScannerNoise(slug.0.into()));
        }
        Ok(slug)
    }

    /// The slug of a link that there is, as it was kept: links of before a rule stay readable, whether or not visitors reach
    /// them.
    pub fn kept(text: String) -> Self {
        Self(text.into())
    }

    /// The folded form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        // folding may lengthen a text, but never by so much
        if text.len() > CHARS_MAX * 4 {
            return Err(SlugError::TooLong);
        }
        let folded = fold(text);
        if folded.is_empty() {
            return Err(SlugError::Empty);
        }
        if folded.chars().count() > CHARS_MAX {
            return Err(SlugError::TooLong);
        }
        if let Some(wrong) = folded.chars().find(|&c| !is_allowed(c)) {
            return Err(SlugError::Character(wrong));
        }
        if is_reserved(&folded) {
            return Err(SlugError::Reserved(folded));
        }
        Ok(Self(folded.into()))
    }
}

/// What is compared of a name, or of a part of one: without case (Unicode's canonical caseless matching, definition D145), composed.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let decomposed: String = text.nfd().collect();
    CaseMapper::new().fold_string(&decomposed).nfc().collect()
}

/// Whether a folded name is kept from links: it is ours, or clients ask for it by themselves.
pub fn is_reserved(folded: &str) -> bool {
    folded.starts_with(['_', '.']) || RESERVED.contains(&folded)
}

/// Whether a folded name is one that browsers and crawlers ask for by themselves: the redirect answers it without looking for
/// a link. Phones ask for icons in several sizes (`apple-touch-icon-120x120-precomposed.png`).
pub fn is_asked_by_clients(folded: &str) -> bool {
    let is_icon = folded.starts_with("apple-touch-icon") && folded.ends_with(".png");
    is_icon || ASKED_BY_CLIENTS.contains(&folded)
}

/// Whether a folded name, or one part of a path, is what scanners for weak servers ask for (`wp-login.php`, `.git`):
/// the redirect answers it without looking for a link.
pub fn is_scanner_noise(folded: &str) -> bool {
    let is_hidden = folded.starts_with('.') && folded != ".well-known";
    is_hidden
        || NOISE_BEGINNINGS.iter().any(|beginning| folded.starts_with(beginning))
        || NOISE_ENDS.iter().any(|end| folded.ends_with(end))
}

fn is_allowed(c: char) -> bool {
    match c {
        '-' | '_' | '.' => true,
        c if c.is_ascii() => c.is_ascii_alphanumeric(),
        c => !c.is_control() && !c.is_whitespace() && !is_invisible(c),
    }
}

/// Characters that nobody can see or that turn the direction of writing: two slugs would look the same.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}'
        | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Slug {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_generated_slug_is_a_slug() {
        for (kind, chars) in [(LinkKind::Shareable, 9), (LinkKind::Message, 12), (LinkKind::Honeypot, 9)] {
            let slug = Slug::generate(kind);

            assert_eq!(slug.as_str().len(), chars);
            assert_eq!(slug.as_str().parse(), Ok(slug));
        }
    }

    #[test]
    fn letters_are_folded() {
        for (typed, kept) in
            [("Spring-Sale", "spring-sale"), ("Cafe\u{301}", "café"), ("ÅRE", "åre"), ("🎉", "🎉")]
        {
            assert_eq!(typed.parse::<Slug>().expect(typed).as_str(), kept);
        }
    }

    #[test]
    fn one_word_is_one_slug_however_its_letters_are_written() {
        for (one, other) in [("ΟΔΟΣ", "οδος"), ("STRASSE", "Straße"), ("ſale", "SALE"), ("\u{b5}g", "ΜG")]
        {
            assert_eq!(one.parse::<Slug>(), other.parse::<Slug>(), "{one} {other}");
        }
    }

    #[test]
    fn what_cannot_be_a_slug_is_refused_with_the_rule() {
        let cases = [
            ("", "must not be empty"),
            ("a b", "must consist of letters, digits, `-`, `_` and `.`; ` ` is not allowed"),
            ("a/b", "must consist of letters, digits, `-`, `_` and `.`; `/` is not allowed"),
            ("Robots.txt", "`robots.txt` is reserved"),
            ("_x", "`_x` is reserved"),
            (".well-known", "`.well-known` is reserved"),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<Slug>().expect_err(text).to_string(), message);
        }
        assert_eq!("x".repeat(101).parse::<Slug>(), Err(SlugError::TooLong));
        assert!("pay\u{200b}pal".parse::<Slug>().is_err());
        assert!("x\u{202e}y".parse::<Slug>().is_err());
    }

    #[test]
    fn what_scanners_ask_for_is_not_chosen_for_a_link() {
        for noise in ["wp-login.php", "WP-admin", "index.php", "phpMyAdmin", "backup.sql"] {
            assert!(matches!(Slug::chosen(noise), Err(SlugError::ScannerNoise(_))), "{noise}");
            // one that was chosen before this rule can still be read
            assert!(noise.parse::<Slug>().is_ok());
        }
        for asked in ["ads.txt", "Browserconfig.XML", "apple-touch-icon.png", "apple-touch-icon-120x120.png"]
        {
            assert!(matches!(Slug::chosen(asked), Err(SlugError::Reserved(_))), "{asked}");
        }
        assert!(is_scanner_noise(".git") && is_scanner_noise(".env") && !is_scanner_noise(".well-known"));
        for fine in ["spring-sale", "wp", "php", "v1.2", "a.html", "apple-touch-icons", "ads.txt.html"] {
            assert!(Slug::chosen(fine).is_ok(), "{fine}");
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,120}") {
            if let Ok(slug) = text.parse::<Slug>() {
                prop_assert_eq!(slug.as_str().parse::<Slug>(), Ok(slug.clone()));
            }
        }
    }
}
