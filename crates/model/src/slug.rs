//! The part of a tracked URL that names the link: `k7m2xq9ra` in `https://go.example.com/k7m2xq9ra`.
//!
//! A slug is kept and compared in one form: folded (case-folded, NFC), so that a link is found whichever way its letters
//! were typed; or, under a domain that tells capital letters apart, as it was typed (NFC).

use std::str::FromStr;

use icu_casemap::CaseMapper;
use rand::RngExt;
use unicode_normalization::UnicodeNormalization;

use crate::link::LinkKind;
use crate::text::as_text;

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

/// A slug in the form in which its domain compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(Box<str>);

/// Whether a domain tells capital letters in slugs apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SlugCase {
    /// `/Sale` and `/sale` are one link.
    #[default]
    Insensitive,
    /// They are two.
    Sensitive,
}

/// A slug as somebody typed it, before it is known how its domain compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedSlug {
    folded: Slug,
    exact: Slug,
}

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

    /// The slug of a link that there is, as it was kept: links of before a rule stay readable, whether or not visitors reach
    /// them.
    pub fn kept(text: String) -> Self {
        Self(text.into())
    }

    /// The form that is compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A form of a text, if that can be one.
    fn checked(form: String) -> Result<Self, SlugError> {
        if form.is_empty() {
            return Err(SlugError::Empty);
        }
        if form.chars().count() > CHARS_MAX {
            return Err(SlugError::TooLong);
        }
        match form.chars().find(|&c| !is_allowed(c)) {
            Some(wrong) => Err(SlugError::Character(wrong)),
            None => Ok(Self(form.into())),
        }
    }
}

impl SlugCase {
    /// As it is kept and told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insensitive => "insensitive",
            Self::Sensitive => "sensitive",
        }
    }
}

impl TypedSlug {
    /// A slug that somebody chooses for a new link: one that visitors can reach.
    ///
    /// # Errors
    /// [`SlugError`], also for [`is_asked_by_clients`] and [`is_scanner_noise`].
    pub fn chosen(text: &str) -> Result<Self, SlugError> {
        let slug: Self = text.parse()?;
        if is_asked_by_clients(slug.folded.as_str()) {
            return Err(SlugError::Reserved(slug.folded.0.into()));
        }
        if is_scanner_noise(slug.folded.as_str()) {
            return Err(SlugError::ScannerNoise(slug.folded.0.into()));
        }
        Ok(slug)
    }

    /// Whether every domain compares it alike.
    pub fn is_folded(&self) -> bool {
        self.folded == self.exact
    }

    /// The form that a domain compares.
    pub const fn of(&self, case: SlugCase) -> &Slug {
        match case {
            SlugCase::Insensitive => &self.folded,
            SlugCase::Sensitive => &self.exact,
        }
    }
}

impl FromStr for TypedSlug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        let folded: Slug = text.parse()?;
        // what is kept from links is so however it is written
        let exact = Slug::checked(compose(text))?;
        Ok(Self { folded, exact })
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    /// Folds it: the form that domains compare unless they tell capital letters apart.
    fn from_str(text: &str) -> Result<Self, SlugError> {
        // folding may lengthen a text, but never by so much
        if text.len() > CHARS_MAX * 4 {
            return Err(SlugError::TooLong);
        }
        let folded = Self::checked(fold(text))?;
        if is_reserved(folded.as_str()) {
            return Err(SlugError::Reserved(folded.0.into()));
        }
        Ok(folded)
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

/// A name as it was typed, composed: what looks alike is alike.
fn compose(text: &str) -> String {
    if text.is_ascii() { text.to_owned() } else { text.nfc().collect() }
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

as_text! { Slug }

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
            assert!(matches!(TypedSlug::chosen(noise), Err(SlugError::ScannerNoise(_))), "{noise}");
            // one that was chosen before this rule can still be read
            assert!(noise.parse::<Slug>().is_ok());
        }
        for asked in ["ads.txt", "Browserconfig.XML", "apple-touch-icon.png", "apple-touch-icon-120x120.png"]
        {
            assert!(matches!(TypedSlug::chosen(asked), Err(SlugError::Reserved(_))), "{asked}");
        }
        assert!(is_scanner_noise(".git") && is_scanner_noise(".env") && !is_scanner_noise(".well-known"));
        for fine in ["spring-sale", "wp", "php", "v1.2", "a.html", "apple-touch-icons", "ads.txt.html"] {
            assert!(TypedSlug::chosen(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_typed_slug_has_the_form_that_its_domain_compares() {
        let forms = |text: &str| {
            let typed: TypedSlug = text.parse().expect("a slug");
            [SlugCase::Insensitive, SlugCase::Sensitive].map(|case| typed.of(case).to_string())
        };

        assert_eq!(forms("Spring-Sale"), ["spring-sale", "Spring-Sale"]);
        assert_eq!(forms("CAFE\u{301}"), ["café", "CAFÉ"]);
        assert_eq!(forms("Straße"), ["strasse", "Straße"]);
        assert_eq!(forms("plain"), ["plain", "plain"]);
        for kept in ["Robots.txt", "_X", "a b", "", "x\u{200b}"] {
            assert!(kept.parse::<TypedSlug>().is_err(), "{kept}");
        }
        // composed it has room, folded it has not
        assert_eq!("ß".repeat(51).parse::<TypedSlug>(), Err(SlugError::TooLong));
    }

    proptest! {
        #[test]
        fn an_exact_slug_typed_again_is_the_same(text in "\\PC{0,120}") {
            if let Ok(typed) = text.parse::<TypedSlug>() {
                for case in [SlugCase::Insensitive, SlugCase::Sensitive] {
                    let again: TypedSlug = typed.of(case).as_str().parse().expect("a slug");
                    prop_assert_eq!(again.of(case), typed.of(case));
                    prop_assert_eq!(again.of(SlugCase::Insensitive), typed.of(SlugCase::Insensitive));
                }
            }
        }

        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,120}") {
            if let Ok(slug) = text.parse::<Slug>() {
                prop_assert_eq!(slug.as_str().parse::<Slug>(), Ok(slug.clone()));
            }
        }
    }
}
