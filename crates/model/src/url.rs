//! URLs that others give us, parsed once and safe from then on.
//!
//! A [`DestinationUrl`] may stand in `Location`, also one of an app ([`DestinationUrl::of_any_scheme`]) if its workspace allows
//! the scheme; an [`EndpointUrl`] may be posted to (which addresses
//! its name may lead to is [`crate::EgressPolicy`]'s question). Both keep the form that the WHATWG
//! parser wrote, never the text that was typed: that form has no line break and no raw control character.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::text::as_text;

/// Longest URL that is accepted, in bytes.
pub const URL_BYTES_MAX: usize = 8 * 1024;

/// Schemes that no workspace can allow: they run or show what the link itself brings, or what lies on the visitor's machine.
pub const REFUSED_SCHEMES: [&str; 7] =
    ["javascript", "data", "vbscript", "file", "blob", "about", "filesystem"];

/// Longest scheme of an app, in bytes.
pub const SCHEME_BYTES_MAX: usize = 32;

/// A scheme beside `https` and `http` that links may lead to: `mailto`, `tel`, or an app's own. In lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppScheme(Box<str>);

/// Why a text is not the scheme of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppSchemeError {
    /// RFC 3986 section 3.1, and [`SCHEME_BYTES_MAX`].
    #[error(
        "must be a scheme like `mailto`: a letter, then letters, digits, `+`, `-` and `.`, at most {SCHEME_BYTES_MAX} in all"
    )]
    NotAScheme,
    /// `https` and `http`.
    #[error("is always allowed")]
    Web,
    /// One of [`REFUSED_SCHEMES`].
    #[error("is never allowed: it runs or shows what the link itself brings")]
    Refused,
}

impl AppScheme {
    /// The scheme, without `:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppScheme {
    type Err = AppSchemeError;

    fn from_str(text: &str) -> Result<Self, AppSchemeError> {
        let scheme = text.to_ascii_lowercase();
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        let begins_well = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if !begins_well || scheme.len() > SCHEME_BYTES_MAX || !scheme.bytes().all(is_allowed) {
            return Err(AppSchemeError::NotAScheme);
        }
        match scheme.as_str() {
            "https" | "http" => Err(AppSchemeError::Web),
            refused if REFUSED_SCHEMES.contains(&refused) => Err(AppSchemeError::Refused),
            _ => Ok(Self(scheme.into())),
        }
    }
}

impl fmt::Display for AppScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`URL_BYTES_MAX`].
    #[error("must be at most {URL_BYTES_MAX} bytes long")]
    TooLong,
    /// A line break, tab or other control character; a parser would delete it silently.
    #[error("must not contain control characters")]
    ControlCharacter,
    /// Not a URL with a scheme and a host.
    #[error("must be an absolute URL like `https://example.com/offer`")]
    NotAUrl,
    /// `javascript:`, `data:`, `file:` and everything else but `http` and `https`.
    #[error("must begin with `https://` or `http://`; `{0}:` is not allowed")]
    Scheme(String),
    /// A blank or a quote in the URL of an app, where a parser leaves it as it is.
    #[error("must have blanks and other signs escaped, as in `%20`")]
    Unescaped,
    /// `https://user@host`: people read the user as the host.
    #[error("must not contain a user name or password")]
    UserInfo,
    /// `#part` on a URL that is posted to.
    #[error("must not contain a fragment (`#…`)")]
    Fragment,
}

/// Where a visitor is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DestinationUrl(Url);

/// Where webhooks are posted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl(Url);

impl DestinationUrl {
    /// A URL for a browser, or one of an app: of any scheme but [`REFUSED_SCHEMES`]. Whoever asks for it has to see to it that the
    /// workspace allows the scheme.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn of_any_scheme(text: &str) -> Result<Self, UrlError> {
        let url = parse_any(text)?;
        if is_web(&url) {
            return checked_web(url).map(Self);
        }
        if REFUSED_SCHEMES.contains(&url.scheme()) || url.scheme().len() > SCHEME_BYTES_MAX {
            return Err(UrlError::Scheme(url.scheme().to_owned()));
        }
        if !url.as_str().bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'`')) {
            return Err(UrlError::Unescaped);
        }
        Ok(Self(url))
    }

    /// Whether it is for a browser: `https` or `http`.
    pub fn is_web(&self) -> bool {
        is_web(&self.0)
    }

    /// The parsed URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The URL as it goes into `Location`: ASCII, no control characters.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same URL with another query; scheme, host, port, path and fragment cannot change.
    pub fn with_query(&self, query: Option<&str>) -> Self {
        let mut url = self.0.clone();
        url.set_query(query);
        Self(url)
    }
}

impl EndpointUrl {
    /// The parsed URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The URL as it is posted to.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host: a name or an address. `0x7f.1` and `2130706433` are addresses here.
    pub fn host(&self) -> Host<&str> {
        self.0.host().expect("parse() refuses URLs without a host")
    }

    /// The port that is connected to.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().expect("parse() refuses other schemes than http and https")
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether what was meant for this one may go to the next: it is at the same host and port, and encrypted if this one is. In the
    /// clear anybody on the way is the server.
    pub fn stays_at_server(&self, next: &Self) -> bool {
        let drops_encryption = self.is_https() && !next.is_https();
        self.host() == next.host() && self.port() == next.port() && !drops_encryption
    }
}

impl FromStr for DestinationUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        parse(text).map(Self)
    }
}

impl FromStr for EndpointUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = parse(text)?;
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        Ok(Self(url))
    }
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn parse(text: &str) -> Result<Url, UrlError> {
    let url = parse_any(text)?;
    if !is_web(&url) {
        return Err(UrlError::Scheme(url.scheme().to_owned()));
    }
    checked_web(url)
}

fn checked_web(url: Url) -> Result<Url, UrlError> {
    if !url.has_host() || url.host_str().is_none_or(str::is_empty) {
        return Err(UrlError::NotAUrl);
    }
    Ok(url)
}

/// What holds for URLs of every scheme.
fn parse_any(text: &str) -> Result<Url, UrlError> {
    if text.len() > URL_BYTES_MAX {
        return Err(UrlError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(UrlError::ControlCharacter);
    }
    let url = Url::parse(text).map_err(|_| UrlError::NotAUrl)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::UserInfo);
    }
    // escaping may have made it three times as long
    if url.as_str().len() > URL_BYTES_MAX {
        return Err(UrlError::TooLong);
    }
    Ok(url)
}

as_text! { DestinationUrl EndpointUrl }

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_ordinary_url_is_kept_in_the_form_of_the_parser() {
        let cases = [
            ("https://example.com", "https://example.com/"),
            ("HTTPS://Example.COM/A b", "https://example.com/A%20b"),
            ("https://bücher.example/ü?q=ü#ü", "https://xn--bcher-kva.example/%C3%BC?q=%C3%BC#%C3%BC"),
            ("http:\\\\example.com\\x", "http://example.com/x"),
        ];
        for (typed, kept) in cases {
            assert_eq!(typed.parse::<DestinationUrl>().expect(typed).as_str(), kept);
        }
    }

    /// Acceptance test 6 of links and clicks.
    #[test]
    fn a_dangerous_url_is_refused_with_the_rule() {
        let cases = [
            ("javascript:alert(1)", UrlError::Scheme("javascript".into())),
            ("JavaScript:alert(1)", UrlError::Scheme("javascript".into())),
            ("java\tscript:alert(1)", UrlError::ControlCharacter),
            ("data:text/html,x", UrlError::Scheme("data".into())),
            ("file:///etc/passwd", UrlError::Scheme("file".into())),
            ("//evil.example/x", UrlError::NotAUrl),
            ("/path", UrlError::NotAUrl),
            ("https://", UrlError::NotAUrl),
            ("https://bank.example@evil.example/", UrlError::UserInfo),
            ("https://example.com/\r\nSet-Cookie: a=b", UrlError::ControlCharacter),
            ("", UrlError::NotAUrl),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<DestinationUrl>(), Err(error), "{text}");
        }
        let long = format!("https://example.com/{}", "x".repeat(URL_BYTES_MAX));
        assert_eq!(long.parse::<DestinationUrl>(), Err(UrlError::TooLong));
    }

    #[test]
    fn a_url_of_an_app_is_one_of_any_scheme_but_those_that_are_dangerous() {
        for accepted in
            ["mailto:a@example.com?subject=x", "tel:+4612345", "sms:+4612345", "myapp://open/offer?id=7"]
        {
            let url = DestinationUrl::of_any_scheme(accepted).expect(accepted);
            assert_eq!((url.as_str(), url.is_web()), (accepted, false));
            assert!(matches!(accepted.parse::<DestinationUrl>(), Err(UrlError::Scheme(_))), "{accepted}");
        }
        assert!(DestinationUrl::of_any_scheme("HTTPS://example.com").expect("a URL").is_web());
        for refused in REFUSED_SCHEMES {
            for text in [format!("{refused}:x"), format!("{}:x", refused.to_uppercase())] {
                let scheme = UrlError::Scheme(refused.to_owned());
                assert_eq!(DestinationUrl::of_any_scheme(&text), Err(scheme), "{text}");
            }
            assert_eq!(refused.parse::<AppScheme>(), Err(AppSchemeError::Refused));
        }
        for (text, error) in [
            ("java\tscript:alert(1)", UrlError::ControlCharacter),
            ("mailto:a b", UrlError::Unescaped),
            ("mailto:\"a\"", UrlError::Unescaped),
            ("myapp://a@b/", UrlError::UserInfo),
            ("https:///", UrlError::NotAUrl),
            ("nothing", UrlError::NotAUrl),
        ] {
            assert_eq!(DestinationUrl::of_any_scheme(text), Err(error), "{text}");
        }
        assert_eq!("MailTo".parse::<AppScheme>().expect("a scheme").as_str(), "mailto");
        assert_eq!("https".parse::<AppScheme>(), Err(AppSchemeError::Web));
        for wrong in ["", "mailto:", "1a", "a b", &"x".repeat(33)] {
            assert_eq!(wrong.parse::<AppScheme>(), Err(AppSchemeError::NotAScheme), "{wrong}");
        }
    }

    #[test]
    fn another_path_is_at_the_same_server_and_one_in_the_clear_is_not() {
        let stays = |from: &str, to: &str| {
            let [from, to] = [from, to].map(|url| url.parse::<EndpointUrl>().expect(url));
            from.stays_at_server(&to)
        };

        for (from, to) in [
            ("https://example.com/a", "https://EXAMPLE.com:443/b?c"),
            ("http://example.com/a", "http://example.com/b"),
            ("http://example.com:8443/", "https://example.com:8443/"),
            ("http://127.0.0.1:9/", "http://0x7f.1:9/"),
        ] {
            assert!(stays(from, to), "{from} {to}");
        }
        for (from, to) in [
            ("https://example.com/", "https://www.example.com/"),
            ("https://example.com/", "https://example.com:8443/"),
            ("https://example.com/", "http://example.com/"),
            ("https://example.com:8443/", "http://example.com:8443/"),
            ("https://127.0.0.1:9/", "http://127.0.0.1:9/"),
            ("http://127.0.0.1:9/", "http://[::1]:9/"),
        ] {
            assert!(!stays(from, to), "{from} {to}");
        }
    }

    #[test]
    fn an_endpoint_url_has_no_fragment() {
        assert_eq!("https://example.com/#x".parse::<EndpointUrl>(), Err(UrlError::Fragment));
    }

    proptest! {
        #[test]
        fn a_query_cannot_move_the_destination(query in "\\PC{0,200}") {
            let url: DestinationUrl = "https://example.com:8443/offer?a=1".parse().expect("a URL");

            let moved = url.with_query(Some(&query));

            prop_assert_eq!(moved.url().origin(), url.url().origin());
            prop_assert_eq!(moved.url().path(), "/offer");
            prop_assert!(moved.as_str().bytes().all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn what_was_accepted_is_accepted_again(text in "https?://\\PC{0,60}") {
            if let Ok(url) = text.parse::<DestinationUrl>() {
                prop_assert_eq!(url.as_str().parse::<DestinationUrl>(), Ok(url.clone()));
            }
        }
    }
}
